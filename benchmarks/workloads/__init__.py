"""What gradients are timed on: one file a workload, with the step, its adjoint by hand, and the same for other libraries."""
