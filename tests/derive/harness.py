"""Runs a function through the deriver, interpreted or compiled, on the arguments and cotangents that the reference takes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType
from typing import Any

import numpy as np
from reference import reference_jvp, reference_vjp

from adjointsim.derive import api, interp
from adjointsim.derive.doubled import Doubled, doubled
from adjointsim.derive.emit import NEED
from adjointsim.derive.entry import Entry, lower_entry
from adjointsim.derive.ir import Base, Fn, is_float
from adjointsim.derive.keeping import given_kept, kept_memory, needed_notes, readable_arrays
from adjointsim.derive.kernel import Kernel, primal_kernel, tangent_kernel, tangents_of, vjp_kernel
from adjointsim.derive.notes import notes_of
from adjointsim.derive.source import plain_function
from adjointsim.derive.spec import NoneSpec, ScalarSpec, Spec, TupleSpec, leaves_of
from adjointsim.derive.verify import verify
from adjointsim.errors import OverlapWarning
from adjointsim.leaves import flatten, spec_of, unflatten, unflatten_bar

__all__ = ["Derived", "assert_close", "assert_same_function", "functions", "interpreter"]

Arrays = list[np.ndarray]
Bars = list[np.ndarray | None]


def assert_close(ours: Arrays | Bars, theirs: Arrays | Bars, single: bool = False) -> None:
    """Equal to 1e-12, relatively or (where sums cancel) to the largest of the leaf; float32 to 2e-5."""
    tolerance = 2e-5 if single else 1e-12
    assert len(ours) == len(theirs)
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a is None or b is None:
            assert a is None and b is None, f"leaf {k}"
            continue
        finite = np.abs(b[np.isfinite(b)].astype(float))
        scale = max(1.0, finite.max()) if finite.size else 1.0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=f"leaf {k}")


def functions(kernel: Kernel) -> dict[str, Fn]:
    """A kernel's function and those that it calls, by name."""
    return {fn.name: fn for fn in (kernel.fn, *kernel.functions)}


def interpreter(kernel: Kernel) -> Callable[..., int]:
    """What stands for a kernel's compiled function: the interpreter, which insists on arrays as compiled code takes them."""

    def run(*args: Any) -> int:
        given = args[: len(kernel.fn.params)]  # what follows is scratch memory, which the interpreter allocates
        for param, arg in zip(kernel.fn.params, given, strict=True):
            if isinstance(param, Base):
                assert type(arg) is np.ndarray and arg.dtype.isnative and arg.dtype == param.dt, param
                assert arg.flags.c_contiguous and arg.flags.aligned, f"{param} has strides {arg.strides}"
        try:
            interp.run(functions(kernel), kernel.fn.name, given, poison=True)
        except interp.NeedMore:
            return NEED
        except interp.StepRaised as left:
            return left.site + 1
        return 0

    return run


@dataclass(frozen=True)
class Derived:
    """A function with sample arguments, and everything that the deriver makes of it."""

    fn: Callable[..., Any]
    args: tuple

    @cached_property
    def plain(self) -> FunctionType:
        return plain_function(self.fn)

    @cached_property
    def specs(self) -> list[Spec]:
        return [spec_of(a, f"argument {k}") for k, a in enumerate(self.args)]

    @cached_property
    def entry(self) -> Entry:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OverlapWarning)  # has a test of its own; results are NumPy's
            return lower_entry(self.plain, list(zip(self.plain.__code__.co_varnames, self.specs, strict=False)))

    @property
    def leaves(self) -> Arrays:
        """Fresh leaves of the arguments."""
        return [leaf for a, s in zip(self.args, self.specs, strict=True) for leaf in flatten(a, s, "argument", copy=True)]

    @cached_property
    def single(self) -> bool:
        """Whether float32 is among the arguments."""
        return any(leaf.dtype == np.float32 for leaf in self.leaves)

    # ------------------------------------------------------------------------------------- what Python and reference say
    @cached_property
    def expected(self) -> Arrays:
        """The result leaves of the function, run by Python."""
        spec = self.entry.result_spec
        with np.errstate(all="ignore"):
            value = self.plain(*copy.deepcopy(self.args))
        return flatten(_declared(value, spec), spec, "result", copy=True)

    @cached_property
    def bars(self) -> Arrays:
        """Random cotangents of the result leaves; those of integers are no zeros either, and must not matter."""
        rng = np.random.default_rng(1)
        return [rng.standard_normal(r.shape).astype(r.dtype) for r in self.expected]

    @cached_property
    def reference_bars(self) -> Bars:
        """The cotangents of the leaves for these, by the reference."""
        found = reference_vjp(self.fn, self.args, unflatten(self.entry.result_spec, [b.copy() for b in self.bars]))
        return [leaf for bar, spec in zip(found, self.specs, strict=True) for leaf in _flat(bar, spec)]

    @cached_property
    def dots(self) -> Bars:
        """Random tangents of the leaves; None for inert ones."""
        rng = np.random.default_rng(2)
        return [rng.standard_normal(x.shape).astype(x.dtype) if x.dtype.kind == "f" else None for x in self.leaves]

    @cached_property
    def reference_dots(self) -> Bars:
        """The tangents of the result leaves for these, by the reference."""
        parts = iter(self.dots)
        args = [unflatten_bar(spec, [next(parts) for _ in leaves_of(spec)]) for spec in self.specs]
        found = _flat(reference_jvp(self.fn, self.args, tuple(args))[1], self.entry.result_spec)
        # (a number that is an int on the path taken and a float on another has the tangent zero)
        return [np.zeros(r.shape) if d is None and r.dtype.kind == "f" else d for d, r in zip(found, self.expected, strict=True)]

    # ------------------------------------------------------------------------------------------------------- interpreted
    @cached_property
    def captures(self) -> Arrays:
        return [c.value() for c in self.entry.captures]

    def primal(self, level: int) -> Kernel:
        return primal_kernel(self.entry, level)

    @property
    def active(self) -> list[str]:
        """The paths of the leaves that have a derivative."""
        return [path for path, base in self.entry.leaves if is_float(base.dt)]

    def vjp(self, level: int, active: Collection[str] | None = None) -> Kernel:
        return vjp_kernel(self.entry, self.active if active is None else active, level)

    def run_primal(self, kernel: Kernel, leaves: Arrays) -> Arrays:
        """The result leaves, by the interpreter."""
        results = [np.zeros_like(r) for r in self.expected]
        interp.run(functions(kernel), kernel.fn.name, [*leaves, *self.captures, *results], poison=True)
        return results

    def run_vjp(
        self, kernel: Kernel, leaves: Arrays, bars: Arrays, number: type = float, lanes: tuple[int, ...] = (),
        more: Sequence[np.ndarray] = (),
    ) -> Bars:  # fmt: skip
        """The cotangents of the inputs, by the interpreter; arenas start with one cell and grow on demand.

        ``bars`` are those of all result leaves (and more, for a doubled kernel), stacked if there are ``lanes``.  On complex
        numbers, leaves and bars may be complex arrays.  ``more`` is what was kept.
        """
        sizes = {a.name: 2 if a.name.startswith("tops") else 1 for a in kernel.arenas}
        while True:
            pairs = zip(kernel.leaf_bars, leaves, strict=True)
            out = [None if b is None else np.zeros((*lanes, *leaf.shape), leaf.dtype) for b, leaf in pairs]
            given = [bar.copy() for bar, base in zip(bars, kernel.result_bars, strict=True) if base is not None]
            arenas = [
                np.full(sizes[a.name], np.nan if is_float(a.dt) else -(2**62), number if is_float(a.dt) else a.dt)
                for a in kernel.arenas
            ]
            arguments = [*leaves, *self.captures, *more, *given, *(b for b in out if b is not None), *arenas]
            try:
                interp.run(functions(kernel), kernel.fn.name, arguments, poison=True, number=number)
                return out
            except interp.NeedMore as need:
                sizes[need.base] = 8 * need.size

    def run_kept(self, bars: Arrays) -> Bars | None:
        """The cotangents of the inputs where the primal keeps all arrays that the VJP could read, and all numbers that it says
        are worth keeping; None where that is none."""
        lasting, notes = readable_arrays(self.entry, self.vjp(1)), notes_of(self.entry)
        found = vjp_kernel(self.entry, self.active, lasting=lasting, noted=notes is not None)
        notes = needed_notes(self.entry, found, notes)
        rows = kept_memory(self.entry, readable_arrays(self.entry, found), notes)
        if not rows.bases:
            return None
        own, leaves = self.entry.leaves, self.leaves
        known = {base: leaf for (_, base), leaf in zip(own, leaves, strict=True)}
        kept = [np.full(shape, np.nan if dtype.kind == "f" else 0, dtype) for shape, dtype in rows.memory(known)]
        primal = primal_kernel(self.entry, kept=rows.bases, notes=notes)
        vjp = given_kept(found, rows.bases, notes)
        for kernel in (primal, vjp):
            for fn in functions(kernel).values():
                verify(fn, functions(kernel))
        results = [np.zeros_like(r) for r in self.expected]
        interp.run(functions(primal), primal.fn.name, [*leaves, *self.captures, *results, *kept], poison=True)
        assert_close(results, self.expected, self.single)
        return self.run_vjp(vjp, self.leaves, bars, more=kept)

    # ------------------------------------------------------------------------------------------------------ second order
    @cached_property
    def bar_dots(self) -> Bars:
        """Random tangents of the cotangents of the result leaves; None for inert ones."""
        rng = np.random.default_rng(3)
        return [rng.standard_normal(b.shape).astype(b.dtype) if b.dtype.kind == "f" else None for b in self.bars]

    def second(self, level: int = 1) -> Doubled:
        """The VJP kernel with its tangent."""
        return doubled(self.vjp(level), [len(self.leaves)], [b for _, b in self.entry.results])

    def run_second(self, kernel: Kernel, leaves: Arrays) -> tuple[Bars, Bars]:
        """The cotangents of the leaves and their tangents, along ``dots`` and ``bar_dots``, by the interpreter."""
        dots = [d.copy() for d in self.dots if d is not None]
        found = self.run_vjp(kernel, [*leaves, *dots], [*self.bars, *(d for d in self.bar_dots if d is not None)])
        more = iter(found[len(leaves) :])
        return found[: len(leaves)], [None if b is None else next(more) for b in found[: len(leaves)]]

    def complex_step(self, level: int = 1) -> Bars:
        """The same tangents, by a complex step of the VJP kernel."""
        step = 1e-40

        def lifted(values: Bars, dots: Bars) -> Arrays:
            return [v if d is None else v.astype(complex) + 1j * step * d for v, d in zip(values, dots, strict=True)]

        with np.errstate(all="ignore"):
            found = self.run_vjp(self.vjp(level), lifted(self.leaves, self.dots), lifted(self.bars, self.bar_dots), complex)
        return [None if b is None else b.imag / step for b in found]

    def run_jvp(self, leaves: Arrays, dots: Bars) -> Bars:
        """The tangents of the result leaves, by the interpreter; None for inert ones."""
        kernel = self.primal(1)
        module = tangents_of(kernel)
        made = module.of(kernel.fn, {base.name for base in kernel.inputs if is_float(base.dt)})
        results = [np.zeros_like(r) for r in self.expected]
        out = [np.zeros_like(r) if r.dtype.kind == "f" else None for r in results]
        given = dict(zip((*kernel.inputs, *kernel.results), (*dots, *out), strict=True))
        arguments = [*leaves, *self.captures, *results, *(given[base] for base in made.dots)]
        fns = functions(tangent_kernel(kernel, module, made))
        for fn in fns.values():
            verify(fn, fns)
        interp.run(fns, made.fn.name, arguments, poison=True)
        return out

    # ---------------------------------------------------------------------------------------------------------- compiled
    @cached_property
    def compiled(self) -> api.FunctionKernel:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OverlapWarning)
            return api.function_kernel(self.plain, self.specs)


def _declared(value: Any, spec: Spec) -> Any:
    """A result of Python's in the dtypes that Numba would give it: an int from one path may be a float from all."""
    if isinstance(spec, TupleSpec):
        items = [_declared(v, s) for v, s in zip(value, spec.items, strict=True)]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(spec, NoneSpec):
        return value
    return np.dtype(spec.dt).type(value) if isinstance(spec, ScalarSpec) else value.astype(spec.dt)


def _flat(bar: Any, spec: Spec) -> Bars:
    """The leaves of a cotangent as the reference gives it."""
    if isinstance(spec, TupleSpec) and bar is not None:
        return [leaf for b, s in zip(bar, spec.items, strict=True) for leaf in _flat(b, s)]
    return [None if bar is None else np.atleast_1d(np.asarray(bar, float)) for _ in leaves_of(spec)]


def assert_same_function(fn: Callable[..., Any], plainly: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Derived, Derived]:
    """Both functions have the same values, cotangents, tangents and tangents of cotangents: ``fn`` at both levels, interpreted
    and verified, ``plainly`` at the lowest one."""
    derived, plain = Derived(fn, args), Derived(plainly, args)
    derived.__dict__.update(expected=plain.expected, bars=plain.bars)
    for level in (0, 1):
        for kernel in (derived.primal(level), derived.vjp(level)):
            for f in functions(kernel).values():
                verify(f, functions(kernel))
        kernel = derived.second(level).kernel
        for f in functions(kernel).values():  # in which cotangents are numbers like others
            verify(f, functions(kernel), linear=[p.name for p in f.params if p.name.split(".")[0].endswith("_dot")])
        assert_close(derived.run_primal(derived.primal(level), derived.leaves), plain.expected)
        bars = plain.run_vjp(plain.vjp(0), plain.leaves, plain.bars)
        assert_close(derived.run_vjp(derived.vjp(level), derived.leaves, derived.bars), bars)
        second = derived.run_second(derived.second(level).kernel, derived.leaves)
        for ours, theirs in zip(second, plain.run_second(plain.second(0).kernel, plain.leaves), strict=True):
            assert_close(ours, theirs)
    assert_close(derived.run_jvp(derived.leaves, derived.dots), plain.run_jvp(plain.leaves, plain.dots))
    return derived, plain
