"""The tests that run only with ``CORPUS=all``."""

from __future__ import annotations

#: tests that compile models of their own for ten seconds and more; others of their kind are in the sample
HEAVY = {
    "fitting/test_bad_input.py": ["test_a_parameter_that_changes_nothing"],
    "fitting/test_experiments.py": ["test_initial_states_by_different_functions"],
    "fitting/test_gradients.py": ["test_hessian_products_of_an_ode", "test_many_unknowns_without_a_covariance"],
    "fitting/test_least_squares.py": [
        "test_a_parameter_that_is_called_y0_is_not_the_initial_state", "test_complex_states_are_no_unknowns",
        "test_nested_parameters_of_several_kinds", "test_observations_of_every_form_give_the_same",
    ],
    "fitting/test_losses.py": ["test_hubers_covariance_by_simulation"],
    "fitting/test_nist.py": ["test_certified_values[Misra1b]", "test_certified_values[Rat42]", "test_steps_that_adapt"],
    "fitting/test_repeats.py": ["test_pictures", "test_predictions_of_experiments_and_structures"],
    "fitting/test_together.py": [
        "test_fewer_observations_than_numbers", "test_the_bits_of_calls_one_by_one[initial]",
        "test_the_bits_of_calls_one_by_one[one]",
    ],
    "ode/test_event_times.py": [
        "test_in_the_first_step_after_a_discontinuity",
        "test_a_ball_that_does_not_bounce_does_not_fall_through[chosen--1]", "test_at_the_end_and_at_the_beginning[bosh3]",
        "test_at_the_time_of_an_observation_and_a_jump[bosh3]", "test_at_the_time_of_an_observation_and_a_jump[rodas5p]",
        "test_two_hundred_events",
    ],
    "ode/test_events.py": [
        "test_a_terminal_event_ends_the_run_and_what_is_observed", "test_events_beside_jumps_and_a_running_cost",
    ],
    "ode/test_explicit.py": [
        "test_errors_follow_the_tolerance[1e-05-dop853]",
        "test_errors_follow_the_tolerance[1e-05-dopri5]", "test_gradients_of_adaptive_steps_are_those_of_the_steps_taken[tsit5]",
        "test_gradients_of_fixed_steps_are_those_of_the_same_steps_at_fifty_digits[heun]",
        "test_order[bosh3]", "test_order[dopri5]", "test_order[rk4]",
        "test_splittings_are_symplectic_and_of_their_order[leapfrog]",
        "test_as_accurate_as_scipy_for_the_same_arguments[RK45-RK45]", "test_states_of_any_structure",
    ],
    "ode/test_failures.py": [
        "test_a_stage_that_is_not_found_says_when", "test_entries_elsewhere_are_an_error_with_newton[jac_sparsity]",
    ],
    "ode/test_fixed_events.py": [
        "test_a_condition_that_is_not_a_number[chosen]", "test_an_end_at_an_event", "test_implicit_steps[crank_nicolson]",
        "test_implicit_steps[rodas5p]", "test_values_and_gradients_are_those_of_the_steps[leapfrog]",
    ],
    "ode/test_lane.py": [
        "test_doses",
        "test_a_stiff_method_whose_stages_have_a_rule_of_their_own", "test_a_right_hand_side_that_jumps_and_a_running_cost",
    ],
    "ode/test_functions.py": [
        "test_lists_of_numbers_stand_for_vectors", "test_problems_that_differ_by_times_and_bounds_share_what_is_generated",
    ],
    "ode/test_implicit.py": [
        "test_adaptive_gradients_are_those_of_the_steps_taken",
        "test_entries_outside_of_the_bands_are_an_error_with_a_rosenbrock_method",
        "test_gradients_are_those_of_the_same_steps_at_fifty_digits[crank_nicolson]", "test_order[crank_nicolson]",
        "test_order[trbdf2]", "test_states_of_any_structure",
    ],
    "ode/test_moments.py": ["test_beside_an_event", "test_the_derivative_of_the_steps_taken[equal]"],
    "ode/test_round_trip.py": ["test_the_bits_of_calls_by_themselves[mixed-trbdf2]"],
    "ode/test_sde.py": [
        "test_observations_jacobian_and_tangent_against_complex_steps_of_the_discrete_map",
        "test_strong_order_against_the_exact_solution_on_the_same_path[milstein-1.0]",
        "test_value_and_gradient_against_complex_steps_of_the_discrete_map[heun-9]",
        "test_without_diffusion_it_is_the_method_of_the_drift",
    ],
    "ode/test_sparse_lu.py": [
        "test_the_same_bits_whatever_is_stored_and_forgotten",
        "test_derivatives[implicit_euler]", "test_entries_elsewhere_are_an_error", "test_mass_vectors[implicit_euler]",
    ],
    "ode/test_verbs.py": [
        "test_complex_states", "test_programs_of_many_structures_are_not_all_kept", "test_several_threads",
        "test_tolerances_for_each_component",
    ],
    "schedules/test_two_level.py": [
        f"test_the_cheapest_of_the_family_for_all_numbers_of_steps[{slots}]" for slots in (1, 2, 50)
    ],
    "test_at_once.py": ["test_parts_of_what_is_asked_for"],
    "test_examples.py": [
        "test_split_step_has_the_gradient_of_dense_transforms",
        "test_banded_rod_recovers_the_conductivities", "test_split_step_shapes_the_pulse",
        "test_theophylline_fits_the_first_subject",
    ],
    "test_resume.py": ["test_what_a_vjp_reads_of_the_next_state_is_had_again[all]", "test_killed[1]"],
    "test_simulation_second.py": [
        "test_leaves_that_change_hands_and_tapes_of_unknown_length[swaps]",
        "test_short_runs",
    ],
    "test_threads.py": [
        "test_the_same_bits[react-2]",
        "test_the_same_bits_of_second_order", "test_an_ode", "test_the_same_bits_from_other_verbs",
    ],
    "test_until.py": ["test_other_verbs[numbers]"],
    "test_until_resume.py": [
        "test_the_same_bits[numbers-1]",
        "test_killed[0]",
        "test_killed[1]", *(f"test_interrupted_after_any_record[{kind}-few]" for kind in ("array", "numbers", "python")),
    ],
    "test_written_first.py": [
        "test_states_that_share_memory[1-mixed]", "test_second_order",
        *(f"test_states_that_share_memory[{n}-copied]" for n in (1, 2, 3, 9)),
    ],
    "test_simulation_jacobian.py": ["test_rows_of_buffers_that_change_hands_and_of_tapes_that_grow"],
    "test_root.py": ["test_compiled"],
    "ode/test_sparsity.py": ["test_the_same_as_dense[detected-{'method': 'implicit_euler', 'dt': 0.05}]"],
    "derive/test_factored.py": ["test_compiled"],
    "ode/test_dae.py": [
        "test_events_of_an_algebraic_variable",
    ],
    "test_disk.py": ["test_all_verbs"],
    "derive/test_forward.py": ["test_in_a_sweep"],
    "test_simulation_routes.py": [
        "test_the_same_as_with_copies[saturated]",
        "test_the_same_as_from_python[swaps]",
    ],
    "derive/test_arrays.py": [
        "test_random_array_nests[65]",
    ],
    "derive/test_dependence.py": [
        "test_triangular_nests[1]",
        "test_triangular_nests[2]",
        "test_triangular_nests[3]",
    ],
    "derive/test_opaque.py": [
        "test_compiled_linear_algebra[march]",
    ],
}  # fmt: skip


#: sweeps over the whole corpus of which every third case runs, beginning with these: so that each sees other cases
THIRDS = {
    "test_adjoints_with_each": 0, "test_callers": 1, "test_layouts": 2, "test_many_cotangents_through_one_recording": 1,
    "test_some_leaves_active": 2, "test_tangent": 2, "test_tangent_of_the_adjoint": 0, "test_python_and_reference_agree": 0,
    "test_reference_against_finite_differences": 1,
}  # fmt: skip
