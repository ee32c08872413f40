"""Gradients timed beside hand-written Numba adjoints of the same steps: ``python -m benchmarks.run``."""
