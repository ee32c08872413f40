"""Workloads in JAX and PyTorch: functional steps, repeated and differentiated as these libraries do it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from benchmarks.workload import Workload, leaves

Contender = tuple[Callable[[], object], Callable[[], tuple[Any, Any]]]  # to compile, to call


def period(n_steps: int) -> int:
    """The divisor that is closest to the square root."""
    divisors = [k for k in range(1, n_steps + 1) if n_steps % k == 0]
    return min(divisors, key=lambda k: abs(math.log(k * k / n_steps)))


class _Jax:
    """What steps need beyond jax.numpy."""

    def __init__(self) -> None:
        import jax

        self._jax, self.scan, self.tridiagonal_solve = jax, jax.lax.scan, self._tridiagonal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jax.numpy, name)

    def _tridiagonal(self, low, middle, up, right):  # type: ignore[no-untyped-def]
        return self._jax.lax.linalg.tridiagonal_solve(low, middle, up, right[:, None])[:, 0]

    def plus(self, x, at, value):  # type: ignore[no-untyped-def]
        return x.at[at].add(value)

    def wrapped(self, x):  # type: ignore[no-untyped-def]
        return self._jax.numpy.pad(x, 1, mode="wrap")


def jax_contenders(workload: Workload, n_steps: int, y0: Any, p: Any) -> dict[str, Contender]:
    """The value, and its gradient where a scan stores what it likes, where it stores states only, and where scans are nested,
    with a checkpoint for every inner one, which takes memory for some 2 sqrt(n) states."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    contenders: dict[str, Contender] = {}
    y0, p = jax.tree.map(jnp.asarray, (y0, p))
    chosen = workload.chosen(y0, p)

    def add(name: str, function: Callable[..., Any]) -> None:
        compiled: list[Any] = []

        def compile() -> None:
            compiled.append(jax.jit(function).lower(chosen).compile())

        contenders[name] = compile, lambda: jax.block_until_ready(compiled[0](chosen))

    for form, (advance, last) in workload.functional(_Jax()).items():

        def body(p: Any, carry: Any, n: Any, advance: Callable[..., Any] = advance) -> tuple[Any, None]:
            y, total = carry
            y, cost = advance(n, y, p)
            return (y, total + cost), None

        def simulate(chosen: Any, scan: Callable[..., Any], last: Any = last) -> Any:
            y, q = workload.with_chosen(y0, p, chosen)
            y, total = scan(q, (y, jnp.zeros(())))
            return total if last is None else total + last(y, q)

        def plain(q: Any, carry: Any, body: Any = body) -> Any:
            return jax.lax.scan(lambda c, n: body(q, c, n), carry, jnp.arange(n_steps))[0]

        def states(q: Any, carry: Any, body: Any = body) -> Any:
            return jax.lax.scan(jax.checkpoint(lambda c, n: body(q, c, n)), carry, jnp.arange(n_steps))[0]

        def nested(q: Any, carry: Any, body: Any = body) -> Any:
            inner = jax.checkpoint(lambda c, ns: jax.lax.scan(lambda c, n: body(q, c, n), c, ns))
            return jax.lax.scan(inner, carry, jnp.arange(n_steps).reshape(-1, period(n_steps)))[0]

        add(f"run, {form}", lambda c, s=simulate, scan=plain: s(c, scan))
        for name, scan in (("scan", plain), ("states", states), ("nested", nested)):
            add(f"{name}, {form}", jax.value_and_grad(lambda c, s=simulate, scan=scan: s(c, scan)))
    return contenders


class _Torch:
    """What steps need beyond torch, under NumPy's names."""

    def __init__(self) -> None:
        import torch

        self._torch = torch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)

    def exp(self, x):  # type: ignore[no-untyped-def]
        return math.exp(x)  # of the number of the step, which is Python's

    def pad(self, x, width):  # type: ignore[no-untyped-def]
        rows, columns = ((width, width), (width, width)) if isinstance(width, int) else width
        return self._torch.nn.functional.pad(x, (*columns, *rows))

    def plus(self, x, at, value):  # type: ignore[no-untyped-def]
        one = self._torch.zeros_like(x)
        one[at] = value
        return x + one

    def wrapped(self, x):  # type: ignore[no-untyped-def]
        return self._torch.nn.functional.pad(x[None], (1, 1, 1, 1), mode="circular")[0]


def torch_contenders(workload: Workload, n_steps: int, y0: Any, p: Any) -> dict[str, Contender]:
    """The value and its gradient by PyTorch's tape, a loop in Python."""
    import numpy as np
    import torch

    if workload.name == "implicit_heat":
        return {}  # PyTorch has no tridiagonal solver, and a thousand operations a step of its own are no contender
    advance, last = next(iter(workload.functional(_Torch()).values()))

    def gradient() -> tuple[Any, Any]:
        def tensor(leaf: Any) -> Any:
            return torch.tensor(np.asarray(leaf), dtype=torch.float64)

        def tensors(tree: Any) -> Any:
            if not isinstance(tree, tuple):
                return tensor(tree)
            parts = [tensors(part) for part in tree]
            return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)

        y, q = tensors(y0), tensors(p)
        inputs = leaves(workload.chosen(y, q))
        for leaf in inputs:
            leaf.requires_grad_()
        total = torch.zeros((), dtype=torch.float64)
        for n in range(n_steps):
            y, cost = advance(n, y, q)
            total = total + cost
        if last is not None:
            total = total + last(y, q)
        found = torch.autograd.grad(total, inputs, allow_unused=True)
        return total.item(), tuple([np.zeros(x.shape) if g is None else g.numpy() for x, g in zip(inputs, found)])

    return {"tape": (lambda: None, gradient)}
