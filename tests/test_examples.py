"""The examples at a reduced size, with the numbers they must reach."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

import adjointsim as adj

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    """Import an example by its path, registered as a module so that its steps have source text and a name."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lynx_hare():
    return load("lynx_hare")


@pytest.fixture(scope="module")
def wave_inversion():
    return load("wave_inversion")


@pytest.fixture(scope="module")
def banded_rod():
    return load("banded_rod")


def test_banded_rod_recovers_the_conductivities(banded_rod, capsys):
    banded_rod.main(["--cells", "60", "--steps", "120"])
    printed = capsys.readouterr().out
    assert "2     2.0000     2.0" in printed
    assert float(printed.split()[-2]) < 0.5


def test_banded_rod_has_the_gradient_of_scipy(banded_rod):
    """The same steps by SciPy's banded solver, differentiated by a complex step."""
    cells, steps = 24, 3
    truth = banded_rod.rod(cells)

    def value(log_k):
        u, k = np.zeros(cells, complex), np.exp(log_k)
        a = np.eye(cells, dtype=complex)
        for face in range(cells + 1):
            flux = np.zeros(cells)
            if 2 <= face <= cells - 2:
                flux[face - 2 : face + 2] = np.array([1.0, -27.0, 27.0, -1.0]) / 24.0
            else:
                flux[max(face - 1, 0) : face + 1] = np.array([-1.0, 1.0])[0 if 0 < face else 1 : None if face < cells else 1]
            here = banded_rod.DT * k[min(face, cells - 1) * banded_rod.PIECES // cells] * flux
            if face > 0:
                a[face - 1] -= here
            if face < cells:
                a[face] += here
        bands = np.zeros((5, cells), complex)
        for i, j in np.argwhere(a):
            bands[2 + i - j, j] = a[i, j]
        for _ in range(steps):
            u = scipy.linalg.solve_banded((2, 2), bands, u + banded_rod.DT * truth.heating)
        return np.sum(u * u)

    sim = adj.Simulation(banded_rod.implicit_step, steps, terminal=lambda u, p: np.sum(u * u))
    found, grad = sim.value_and_grad(np.zeros(cells), truth, wrt="p.log_k")
    assert found == pytest.approx(value(truth.log_k).real, rel=1e-12)
    h = 1e-100j
    exact = [value(truth.log_k + h * np.eye(banded_rod.PIECES)[i]).imag / 1e-100 for i in range(banded_rod.PIECES)]
    np.testing.assert_allclose(grad.p.log_k, exact, rtol=1e-11)


@pytest.fixture(scope="module")
def split_step():
    return load("split_step")


def test_split_step_shapes_the_pulse(split_step, tmp_path, capsys):
    path = tmp_path / "pulse.png"
    split_step.main(["--steps", "30", "--output", str(path)])
    first, last = (float(word) for word in capsys.readouterr().out.split()[1:5:3])
    assert first == pytest.approx(18.9, abs=0.3) and last < 1e-6
    assert path.read_bytes().startswith(b"\x89PNG")


def dense_step(n, psi, p):
    """The step of the example with the transform written as a matrix."""
    forward, dispersion, kick = p
    back = np.conj(forward).T / len(psi)
    psi = back @ (dispersion * (forward @ psi))
    psi = psi * np.exp(1j * kick * np.abs(psi) ** 2)
    return back @ (dispersion * (forward @ psi))


def test_split_step_has_the_gradient_of_dense_transforms(split_step):
    wanted, fibre = split_step.target(), split_step.fibre(4)
    matrix = np.fft.fft(np.eye(split_step.POINTS))

    def misfit(psi, p):
        return np.sum(np.abs(psi - wanted) ** 2)

    value, grad = adj.Simulation(split_step.propagate, 4, terminal=misfit).value_and_grad(0.9 * wanted, fibre)
    dense = adj.Simulation(dense_step, 4, terminal=misfit)
    expected, exact = dense.value_and_grad(0.9 * wanted, (matrix, *fibre), wrt=("y0", "p[1]", "p[2]"))
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(grad.y0, exact.y0, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(grad.p.dispersion, exact.p[1], rtol=1e-11, atol=1e-12)
    assert grad.p.kick == pytest.approx(exact.p[2], rel=1e-11)


def test_lynx_hare_reaches_the_optimum(lynx_hare):
    """The numbers come from a least-squares fit of an independent implementation with differences for derivatives."""
    fit = lynx_hare.fit(lynx_hare.read(), steps_per_year=20)
    assert fit.rss == pytest.approx(2.0 * 0.25**2 * 16.149289564227, rel=1e-10)
    np.testing.assert_allclose(fit.params, [0.540159000, 0.0271653576, 0.796386045, 0.0236946383], rtol=2e-6)
    np.testing.assert_allclose(fit.y0, [34.6024243, 5.84450619], rtol=2e-6)
    for name, (mean, sd) in lynx_hare.PUBLISHED.items():
        assert abs(getattr(fit.params, name) - mean) < sd
        assert getattr(fit.stderr, name) == pytest.approx(sd, rel=0.25)


def test_lynx_hare_reads_the_columns_by_name(lynx_hare):
    pelts = lynx_hare.read()
    assert pelts.years[0] == 1900 and pelts.years[-1] == 1920 and pelts.counts.shape == (21, 2)
    np.testing.assert_array_equal(pelts.counts[0], [30.0, 4.0])


def test_lynx_hare_prints_a_table_and_saves_a_picture(lynx_hare, tmp_path, capsys):
    path = tmp_path / "fit.png"
    lynx_hare.main(["--steps-per-year", "5", "--output", str(path)])
    printed = capsys.readouterr().out
    assert "alpha       0.5402   0.0595       0.550   0.0650" in printed
    assert path.read_bytes().startswith(b"\x89PNG")


def test_wave_inversion_recovers_the_anomaly(wave_inversion):
    """Six iterations on a small survey; a hand-written adjoint takes the same path."""
    result = wave_inversion.invert(
        wave_inversion.survey(cells=36, shots=4), wave_inversion.hidden_medium(36), checkpoints=20, iterations=6
    )
    assert result.misfits[0] == pytest.approx(0.2130, rel=1e-3)
    assert result.misfits[-1] < 0.002
    assert result.error == pytest.approx(0.183, abs=0.02)


def test_wave_inversion_memory_shrinks_and_the_bits_stay(wave_inversion):
    report = wave_inversion.memory_report(wave_inversion.survey(cells=30, shots=2), np.ones((30, 30)), checkpoints=12)
    assert report.endswith("the two gradients: the same bits")
    used = [float(line.split("used")[1].split("MB")[0]) for line in report.splitlines()[:2]]
    assert used[1] < used[0]


def test_wave_inversion_draws(wave_inversion, tmp_path, capsys):
    path = tmp_path / "wave.png"
    wave_inversion.main(["--cells", "30", "--shots", "2", "--iterations", "1", "--output", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "the same bits" in capsys.readouterr().out


@pytest.fixture(scope="module")
def pendulum():
    return load("pendulum")


def swung(commands, motor):
    """The last state by the same steps in NumPy, for commands (n, lanes)."""
    h = 0.05

    def rate(y, torque):
        return np.stack([y[1], torque - motor.gravity * np.sin(y[0]) - motor.friction * y[1]])

    y = np.zeros((2, commands.shape[1]), commands.dtype)
    for torque in motor.limit * np.tanh(commands / motor.limit):
        k1 = rate(y, torque)
        k2 = rate(y + 0.5 * h * k1, torque)
        k3 = rate(y + 0.5 * h * k2, torque)
        k4 = rate(y + h * k3, torque)
        y = y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return y


def test_pendulum_swings_up(pendulum, tmp_path, capsys):
    """The commands are stationary, by a complex step of the cost."""
    path = tmp_path / "pendulum.png"
    swings = pendulum.main(["--steps", "50", "--limit", "6.0", "--output", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG") and "weak motor" in capsys.readouterr().out
    for own, limit, cost, effort in zip(
        swings.values(), (30.0, 6.0), (470.212122, 972.946007), (46.4635, 91.764), strict=True
    ):
        assert own.found.success and own.found.cost == pytest.approx(cost, rel=1e-8)
        commands = own.found.params.command + 1e-30j * np.eye(50)
        end = swung(commands, pendulum.start(50, limit))
        np.testing.assert_allclose(end.real[:, 0], own.states[-1], atol=1e-11, rtol=0.0)
        away = (end - np.array([[np.pi], [0.0]])) / 0.01
        gradient = 0.5 * (np.sum(commands**2, axis=0) + np.sum(away**2, axis=0)).imag / 1e-30
        assert np.abs(gradient).max() < 1e-7
        assert own.effort == pytest.approx(effort, abs=1e-3)
        assert np.abs(own.states[-1] - [np.pi, 0.0]).max() < 0.12 and np.abs(own.torques).max() < min(limit, 7.0)


def test_pendulum_moves_a_little_by_the_least_commands(pendulum):
    """A move so small that the pendulum is linear: the least squares of that in closed form."""
    goal, count, motor = pendulum.Pendulum(2e-5, 1e-5), 50, pendulum.start(50, 30.0)
    found = pendulum.control(motor, goal)
    response = swung(1e-9 * np.eye(count), motor) / 1e-9  # (2, count); what bends it is below rounding
    gain = response.T @ np.linalg.inv(response @ response.T + 1e-4 * np.eye(2))
    np.testing.assert_allclose(found.params.command[:, 0], gain @ np.array(goal), rtol=1e-7)


@pytest.fixture(scope="module")
def theophylline():
    return load("theophylline")


def test_theophylline_fits_the_first_subject(theophylline, tmp_path, capsys):
    """The closed form's optimum; R's ``nls(conc ~ SSfol(Dose, Time, lKe, lKa, lCl))`` has it in its documentation."""
    path = tmp_path / "theophylline.png"
    found = theophylline.main(["--output", str(path)])
    closed = theophylline.fit_closed(theophylline.read(1))
    np.testing.assert_allclose(found.params, closed[0], rtol=2e-6)
    errors = np.array(found.stderr) / np.array(found.params)  # of logarithms
    np.testing.assert_allclose(errors, closed[1], rtol=1e-5)
    assert found.rss == pytest.approx(closed[2], rel=1e-8)
    lka, lke = np.log(found.params.ka), np.log(found.params.ke)
    np.testing.assert_allclose([lka, lke, *errors[:2]], [0.5752, -2.9196, 0.1728, 0.1709], atol=1e-4)
    printed = capsys.readouterr().out
    assert "ka          1.7774" in printed and "ka, ke, volume                     36         47.0658" in printed
    assert path.read_bytes().startswith(b"\x89PNG")


def test_theophylline_fits_all_subjects(theophylline):
    """Constants of their own are twelve fits in one; shared ones, the closed form's fit to all data."""
    own = theophylline.fit_all(theophylline.Kinetics._fields)
    closed = [theophylline.fit_closed(theophylline.read(k)) for k in range(1, 13)]
    np.testing.assert_allclose(own.params, [kinetics for kinetics, _, _ in closed], rtol=1e-5)
    assert own.rss == pytest.approx(sum(rss for _, _, rss in closed), rel=1e-8) and own.names[:2] == ("ka@1", "ke@1")
    shared = theophylline.fit_all()
    subjects = [theophylline.read(k) for k in range(1, 13)]

    def residuals(z):
        p = theophylline.Kinetics(*np.exp(z))
        return np.concatenate([theophylline.bateman(s.times, s.dose, p) - s.concentrations for s in subjects])

    best = scipy.optimize.least_squares(residuals, np.log(theophylline.START), "3-point", xtol=1e-13, ftol=1e-13, gtol=1e-13)
    np.testing.assert_allclose(np.log(shared.params), best.x, atol=1e-6)
    covariance = np.linalg.inv(best.jac.T @ best.jac) * shared.rss / 129
    np.testing.assert_allclose(np.array(shared.stderr) / np.array(shared.params), np.sqrt(np.diag(covariance)), rtol=1e-5)
    assert shared.aic > own.aic


def test_theophylline_has_the_jacobian_of_the_closed_form(theophylline):
    """By a complex step."""
    data, p = theophylline.read(3), theophylline.START
    columns = theophylline.model(data.times, 1e-10).jacobian(theophylline.Amounts(data.dose, 0.0), p, "p")
    for name, column in zip(p._fields, columns, strict=True):
        moved = p._replace(**{name: getattr(p, name) + 1e-100j})
        exact = theophylline.bateman(data.times, data.dose, moved).imag / 1e-100
        np.testing.assert_allclose(column, exact, rtol=1e-7, atol=1e-8 * np.abs(exact).max())
    with pytest.raises(ValueError, match="13"):
        theophylline.read(13)


@pytest.fixture(scope="module")
def flu():
    return load("flu")


def test_flu_reaches_the_optimum(flu, tmp_path, capsys):
    """The numbers come from SciPy alone: DOP853 at 1e-12, and differences for derivatives."""
    path = tmp_path / "flu.png"
    found = flu.main(["--output", str(path)])
    flu = found.params
    np.testing.assert_allclose([flu.r0 * flu.gamma, flu.gamma, flu.i0], [1.78810587, 0.455700981, 2.09342905], rtol=1e-6)
    assert found.rss == pytest.approx(3589.8506931735, rel=1e-9) and flu.r0 == pytest.approx(3.92385785, rel=1e-6)
    low, high = found.confidence()["r0"]
    assert low < flu.r0 < high and (high - low) / flu.r0 < 0.3
    printed = capsys.readouterr().out
    assert "R0        3.9239" in printed and f"R0 is in {low:.3f} .. {high:.3f} (95 %), by the profile in" in printed
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def stiff_reactions():
    return load("stiff_reactions")


def test_stiff_reactions_have_published_sensitivities(stiff_reactions):
    """At t = 0.4, as CVODES prints them in its example cvsRoberts_FSA_dns, to its tolerances."""
    found = stiff_reactions.sensitivities(stiff_reactions.stiff([0.4, 40.0]))
    np.testing.assert_allclose(found.concentrations[0], [9.8517e-01, 3.3864e-05, 1.4794e-02], rtol=1e-4)
    published = [
        [-3.5595e-01, -1.5832e-11, 9.5428e-08],
        [3.9025e-04, -5.2900e-13, -2.1310e-10],
        [3.5556e-01, 1.6361e-11, -9.5218e-08],
    ]
    np.testing.assert_allclose(found.exact[0] / np.array(stiff_reactions.ROBERTSON), published, rtol=1e-4)
    np.testing.assert_allclose(found.exact.sum(axis=1), 0.0, atol=1e-12)  # nothing is lost
    scale = np.abs(found.exact).max(axis=2, keepdims=True)
    assert np.all(np.abs(found.differences - found.exact) < 3e-5 * scale)
    assert found.steps < 400 and "differences" in stiff_reactions.report(found, [0.4, 40.0])


@pytest.mark.heavy
def test_stiff_reactions_are_too_stiff_for_explicit_steps(stiff_reactions):
    implicit, explicit = stiff_reactions.steps_on_a_short_interval(2.0)
    assert 10 * implicit < explicit


@pytest.fixture(scope="module")
def reaction_diffusion():
    return load("reaction_diffusion")


@pytest.mark.heavy
def test_reaction_diffusion_recovers_the_feed(reaction_diffusion, tmp_path, capsys):
    path = tmp_path / "feed.png"
    found = reaction_diffusion.main(["--cells", "24", "--time", "0.5", "--iterations", "25", "--output", str(path)])
    printed = capsys.readouterr().out.splitlines()
    assert found.misfits[-1] < 1e-4 * found.misfits[0]
    truth = reaction_diffusion.problem(24, 0.5).truth.feed
    assert np.abs(found.feed - truth).max() < 0.1 * np.abs(truth - 1.0).max()
    rows = [line.split() for line in printed[3:9]]
    assert [row[0] for row in rows] == ["feed[0]", "feed[8]", "feed[23]", "b", "d_u", "d_v"]
    for _, gradient, differences in rows:
        assert float(gradient) == pytest.approx(float(differences), rel=1e-3, abs=1e-8)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def bouncing_ball():
    return load("bouncing_ball")


def test_bouncing_ball_has_the_analytic_derivatives(bouncing_ball, tmp_path, capsys):
    path = tmp_path / "ball.png"
    found = bouncing_ball.main(["--time", "4.0", "--restitution", "0.75", "--output", str(path)])
    assert len(found.bounces) == 8 and f"{found.bounces[-1]:.6f}" in capsys.readouterr().out
    np.testing.assert_allclose(found.bounces, found.exact_bounces, rtol=1e-12)
    assert found.value == pytest.approx(found.exact_value, rel=1e-9)
    np.testing.assert_allclose(found.derivatives, found.exact, rtol=1e-9)
    assert abs(found.held.restitution) < 0.1 * abs(found.exact.restitution)  # the times of the bounces are most of it
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("end", [0.5, 1.5, 4.0])
def test_bouncing_ball_by_a_complex_step(bouncing_ball, end):
    """The formulas of the example beside the parabolas themselves."""
    p = bouncing_ball.Ball(0.75, 9.81, 2.0)

    def value(e, g, h):
        t, y, v = 0.0, h, 0.0
        while True:
            wait = (v + np.sqrt(v * v + 2.0 * g * y)) / g
            if (t + wait).real > end:
                return y + v * (end - t) - 0.5 * g * (end - t) ** 2
            t, y, v = t + wait, 0.0, e * (g * wait - v)

    found, exact, _ = bouncing_ball.analytic(end, p)
    assert found == pytest.approx(value(*p), rel=1e-12)
    moved = [value(*(np.array(p) + 1e-30j * unit)).imag / 1e-30 for unit in np.eye(3)]
    np.testing.assert_allclose(exact, moved, rtol=1e-12, atol=1e-14)
