"""What the layers above use of this one: compiled kernels of functions, on flat lists of leaves.

A *leaf* is an array; a scalar is an array of one cell.  Integers that are passed by value (``n``, ``k``) are leaves too,
as far as the lists here are concerned.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import StructureError
from .emit import HEADER, NEED, emit
from .entry import Entry, lower_entry
from .ir import Base, is_float
from .kernel import Kernel, primal_kernel, vjp_kernel
from .module import load_module
from .scratch import Scratch, scratch_of
from .spec import Spec, leaf_specs
from .tangent import Tangent, Tangents

__all__ = ["FunctionKernel", "function_kernel", "raise_site"]

Leaves = Sequence[np.ndarray]


def raise_site(entry: Entry, status: int) -> BaseException:
    """The user's exception for a positive status, made again from its text where it stands."""
    site = entry.sites[status - 1]
    namespace = dict(entry.globals_of(site))
    try:
        exc = None if site.local else eval(compile(site.text, site.filename, "eval"), namespace)
        if exc is None:
            raise NameError(site.text)
        if isinstance(exc, type):
            exc = exc()
    except Exception:  # the message needs local values, which compiled code does not keep
        name = site.text.partition("(")[0]
        cls = namespace.get(name) or getattr(__import__("builtins"), name, RuntimeError)
        exc = cls(site.text) if isinstance(cls, type) and issubclass(cls, BaseException) else RuntimeError(site.text)
    if not isinstance(exc, BaseException):
        exc = TypeError(f"exceptions must derive from BaseException: {site.text}")
    exc.add_note(f'adjointsim: raised in {site.function}, File "{site.filename}", line {site.lineno}')
    return exc


class Compiled:
    """A kernel with its text, its scratch memory and its compiled function."""

    def __init__(self, kernel: Kernel, entry: Entry, fixed: Sequence[Base]) -> None:
        self.kernel = kernel
        self.entry = entry
        self.scratch: Scratch = scratch_of(kernel.fn, fixed)
        reassociate = {"fastmath": {"nsz", "reassoc"}}
        sums = [emit(f, source=entry.lines, options=reassociate, bare=True) for f in kernel.functions]
        self.text = "\n\n".join([*sums, emit(kernel.fn, self.scratch.bases, entry.lines)])

    @cached_property
    def function(self) -> Any:
        return getattr(load_module(HEADER + "\n\n" + self.text), self.kernel.fn.name)


class FunctionKernel:
    """A function of several arguments, lowered for given structures; compiled when it is first called."""

    def __init__(
        self, fn: types.FunctionType, specs: Sequence[Spec], result: Spec | None, role: str, names: Sequence[str], counters: Sequence[str]
    ) -> None:
        self.fn = fn
        self.names = tuple(names)
        self.counters = tuple(counters)
        self.paths = [path for name, spec in zip(names, specs, strict=True) for path, _ in leaf_specs(spec, name)]
        like = "y" if role == "step" else None
        self.entry = lower_entry(
            fn, list(zip(names, specs, strict=True)), counters=counters, result=result, like=like, frozen=("p",) if role == "step" else ()
        )
        self.result_spec: Spec = self.entry.result_spec

    @cached_property
    def _primal(self) -> Compiled:
        return Compiled(primal_kernel(self.entry), self.entry, [b for _, b in self.entry.leaves])

    @cached_property
    def _vjp(self) -> Compiled:
        active = {path for path, base in self.entry.leaves if is_float(base.dt)}
        return Compiled(vjp_kernel(self.entry, active), self.entry, [b for _, b in self.entry.leaves])

    @cached_property
    def _jvp(self) -> tuple[Compiled, Tangent]:
        kernel = primal_kernel(self.entry)
        made = Tangents({}).of(kernel.fn, {base.name for _, base in self.entry.leaves if is_float(base.dt)})
        return Compiled(replace(kernel, fn=made.fn), self.entry, [b for _, b in self.entry.leaves]), made

    # --------------------------------------------------------------------------------------------------------- calls
    def _split(self, leaves: Leaves) -> tuple[list[int], list[np.ndarray]]:
        """By-value ints, and the leaves of the other arguments."""
        counters: list[int] = []
        rest: list[np.ndarray] = []
        for path, leaf in zip(self.paths, leaves, strict=True):
            if path in self.counters:
                counters.append(int(leaf[0]))
            else:
                rest.append(leaf)
        return counters, rest

    def _env(self, rest: Leaves, captures: Leaves) -> dict[Base, np.ndarray]:
        bases = [b for _, b in self.entry.leaves] + [c.base for c in self.entry.captures]
        return dict(zip(bases, [*rest, *captures], strict=True))

    def _check(self, status: int) -> None:
        if status > 0:
            raise raise_site(self.entry, status)

    def _results(self, env: dict[Base, np.ndarray], rest: Leaves) -> list[np.ndarray]:
        shapes = self.entry.result_shapes(env)
        if shapes is None:
            raise StructureError(
                f"{self.fn.__name__} returns an array whose shape is known only while it runs: return a scalar, or take an argument of that shape"
            )
        return [np.zeros(shape, dtype=base.dt) for shape, (_, base) in zip(shapes, self.entry.results, strict=True)]

    def value(self, leaves: Leaves) -> list[np.ndarray]:
        """Result leaves, fresh."""
        counters, rest = self._split(leaves)
        captures = [c.value() for c in self.entry.captures]
        env = self._env(rest, captures)
        results = self._results(env, rest)
        self._check(self._primal.function(*counters, *rest, *captures, *results, *self._primal.scratch.allocate(env)))
        return results

    def vjp(self, leaves: Leaves, result_bars: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        """Cotangents of all leaves, fresh; None for inert ones.  ``result_bars`` are not modified."""
        counters, rest = self._split(leaves)
        captures = [c.value() for c in self.entry.captures]
        env = self._env(rest, captures)
        compiled = self._vjp
        kernel = compiled.kernel
        bars = [None if bar is None else np.zeros_like(leaf) for bar, leaf in zip(kernel.leaf_bars, rest, strict=True)]
        scratch = compiled.scratch.allocate(env)
        tapes = [np.zeros(2 if base.name.startswith("tops") else 64, dtype=base.dt) for base in kernel.arenas]
        while True:
            given = [np.array(bar, dtype=base.dt) for bar, base in zip(result_bars, kernel.result_bars, strict=True) if base is not None]
            status = compiled.function(*counters, *rest, *captures, *given, *(b for b in bars if b is not None), *tapes, *scratch)
            if status != NEED:
                break
            tapes = [t if t.size == 2 else np.zeros(4 * t.size, dtype=t.dtype) for t in tapes]
        self._check(status)
        found = iter(bars)
        return [None if path in self.counters else next(found) for path in self.paths]

    def jvp(self, leaves: Leaves, dots: Sequence[np.ndarray | None]) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
        """Result leaves and their tangents; ``dots`` has None (or anything) for inert leaves."""
        counters, rest = self._split(leaves)
        captures = [c.value() for c in self.entry.captures]
        env = self._env(rest, captures)
        compiled, made = self._jvp
        results = self._results(env, rest)
        given: dict[Base, np.ndarray] = {}
        inputs = [(path, dot) for path, dot in zip(self.paths, dots, strict=True) if path not in self.counters]
        for (_, dot), leaf, base in zip(inputs, rest, compiled.kernel.inputs, strict=True):
            if is_float(base.dt):
                given[base] = np.zeros_like(leaf) if dot is None else np.ascontiguousarray(dot, dtype=base.dt)
        out: list[np.ndarray | None] = []
        for result, (_, base) in zip(results, self.entry.results, strict=True):
            out.append(np.zeros_like(result) if is_float(base.dt) else None)
            if out[-1] is not None:
                given[base] = out[-1]
        tangents = [given[p] for p in made.dots]  # type: ignore[index]
        env.update(zip([base for _, base in self.entry.results], results, strict=True))
        status = compiled.function(*counters, *rest, *captures, *results, *tangents, *compiled.scratch.allocate(env))
        self._check(status)
        return results, out

    def source(self, kind: str = "vjp") -> str:
        """The derived code, readable: "primal", "vjp" or "jvp"."""
        compiled = {"primal": lambda: self._primal, "vjp": lambda: self._vjp, "jvp": lambda: self._jvp[0]}[kind]()
        return HEADER + "\n\n" + compiled.text


_kernels: dict[tuple[Any, ...], FunctionKernel] = {}


def function_kernel(fn: types.FunctionType, specs: Sequence[Spec], *, result: Spec | None = None, role: str = "function") -> FunctionKernel:
    """The kernel of ``fn`` for arguments of the given structures.

    role "step": arguments (n, y, p), the result has the structure and shapes of y, and writing p is refused;
    "cost", "function": the arguments are those of the function itself, and it may overwrite them (it has copies).
    Kernels are kept until a name that the function uses from outside means something else.
    """
    key = (fn, tuple(specs), result, role)
    kernel = _kernels.get(key)
    if kernel is None or kernel.entry.stale():
        if role == "step":
            kernel = FunctionKernel(fn, specs, result if result is not None else specs[1], role, ("n", "y", "p"), ("n",))
        else:
            names = fn.__code__.co_varnames[: fn.__code__.co_argcount][: len(specs)]
            names = (*names, *(f"argument_{k}" for k in range(len(names), len(specs))))
            kernel = FunctionKernel(fn, specs, result, role, names, ())
        _kernels[key] = kernel
    return kernel
