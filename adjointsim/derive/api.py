"""What the layers above use of this one: compiled kernels of functions, on flat lists of leaves.

A *leaf* is an array; a scalar is an array of one cell.  Integers that are passed by value (``n``, ``k``) are leaves too,
as far as the lists here are concerned.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numba.core import config

from ..errors import StructureError
from .cache import Cache
from .context import RaiseSite
from .doubled import doubled
from .emit import HEADER, NEED, emit
from .entry import Entry, lower_entry
from .ir import Alloc, Base, Fn, Foreign, Var, effects, is_float, walk
from .kernel import Kernel, primal_kernel, tangent_kernel, tangents_of, vjp_kernel
from .lanes import LanesError
from .module import load_module
from .native import STUBS, Program, needs_text
from .notes import same_bits
from .registry import registered
from .returned import ShapeSite
from .roots import RootSite
from .scratch import Memory, Scratch, scratch_of, together, zeros_of
from .shared import SUFFIX, shared
from .spec import Spec, leaf_specs, leaves_of
from .stored import stored
from .tangent import Tangent
from .tapes import ARENAS, FIRST_TAPE, TapeCount, arena_of

__all__ = ["FIRST_TAPE", "Compiled", "FunctionKernel", "Kept", "function_kernel", "longer", "new_tapes", "raise_site"]

Leaves = Sequence[np.ndarray]
Bars = Sequence[np.ndarray | None]
Env = dict[Base | Var, np.ndarray]
T = TypeVar("T")

#: functions that only generated code calls need no way in from Python
INTERNAL = {"no_cpython_wrapper": True}


def raise_site(
    entry: Entry, status: int, counters: Sequence[int] = (), arrays: Mapping[Base, np.ndarray] | None = None
) -> BaseException:
    """The exception for a positive status: the user's, made again from its text where it stands, or that of a wrong shape."""
    site = entry.sites[status - 1]
    if isinstance(site, ShapeSite):
        exc: BaseException = entry.shape_error(site, counters, arrays or {})
    elif isinstance(site, RootSite):
        exc = site.exception()
    else:
        exc = _user_exception(site, dict(entry.globals_of(site)))
    exc.add_note(f'adjointsim: raised in {site.function}, File "{site.filename}", line {site.lineno}')
    return exc


def _user_exception(site: RaiseSite, namespace: dict[str, Any]) -> BaseException:
    try:
        exc = None if site.local else eval(compile(site.text, site.filename, "eval"), namespace)
        if exc is None:
            raise NameError(site.text)
        if isinstance(exc, type):
            exc = exc()
    except Exception:  # the message needs local values, which compiled code does not keep
        name = site.text.partition("(")[0]
        cls = namespace.get(name) or getattr(builtins, name, RuntimeError)
        exc = cls(site.text) if isinstance(cls, type) and issubclass(cls, BaseException) else RuntimeError(site.text)
    if not isinstance(exc, BaseException):
        exc = TypeError(f"exceptions must derive from BaseException: {site.text}")
    return exc


class Compiled:
    """A kernel with its text, its scratch memory and its compiled function.

    ``fixed`` are the inputs whose contents are known before the first step; the scalars of ``p``, which go by value, are
    among them in any case.  An ``internal`` one is called by a driver only.
    """

    def __init__(
        self, kernel: Kernel, entry: Entry, fixed: Sequence[Base], internal: bool = False, threads: bool = False
    ) -> None:
        """With ``threads``, a team of them may share its loops."""
        if threads:
            fn, functions = shared(kernel.fn, kernel.functions)
            lines = {**kernel.lines, **{f"{name}{SUFFIX}": text for name, text in kernel.lines.items()}}
            kernel = replace(kernel, fn=fn, functions=functions, lines=lines)
        self.kernel = kernel
        self.entry = entry
        parameters = kernel.fn.params[len(entry.counters) :]
        #: inputs that go by value, with the base that they stand for
        self.values = {v: b for v, b in zip(parameters, kernel.inputs, strict=False) if isinstance(v, Var)}
        own = {b for path, b in entry.leaves if path.partition(".")[0].partition("[")[0] == "p"}
        known = [*fixed, *(v for v, b in self.values.items() if b in own)]
        self.scratch: Scratch = scratch_of(kernel.fn, known, kernel.functions)
        self.tape = TapeCount(kernel.fn, known, kernel.functions)
        self._programs: list[Program] = []  # kept for as long as they may be built
        self._stubs: list[str] = []
        #: the functions that the kernel calls, by name
        self.called = {f.name: self._text(f) for f in kernel.functions}
        self.own_text = self._written(kernel.fn, INTERNAL if internal else None, self.scratch.bases, entry.lines)
        self.text = "\n\n".join([*self.called.values(), self.own_text])
        #: what the module holds, stubs around programs that are built when they are compiled
        self.module_text = "\n\n".join(self._stubs)

    def _text(self, f: Fn) -> str:
        lines = self.kernel.lines.get(f.name)
        if lines is None:  # a sum
            return self._written(f, {**INTERNAL, "fastmath": {"nsz", "reassoc"}}, (), self.entry.lines, bare=True)
        return self._written(f, INTERNAL, (), lines, bare=not effects(f.params, f.body)[1])

    def _written(
        self, f: Fn, options: Mapping[str, object] | None, scratch: Sequence[Base], lines: Sequence[str], bare: bool = False
    ) -> str:
        """The text of a function, for people; the module has a stub of it, unless it calls code of others."""
        text = emit(f, scratch, lines, options, bare=bare)
        if needs_text(f):
            self._stubs.append(text)
            return text
        program = Program.of(f, scratch, text, bare)
        self._programs.append(program)
        self._stubs.append(program.part() if options is INTERNAL else program.stub(options))
        return text

    def arrays(self, inputs: Leaves, captures: Leaves, results: Leaves = ()) -> Env:
        """Arrays for the kernel's parameters, by their bases; cotangents are given the arrays that they belong to."""
        k = self.kernel
        leaves = [*inputs, *captures, *(inputs if k.leaf_bars else ()), *results]
        bases = (*k.inputs, *k.captures, *k.leaf_bars, *(k.results or k.result_bars))
        env: Env = {base: leaf for base, leaf in zip(bases, leaves, strict=False) if base is not None}
        env.update((v, env[b]) for v, b in self.values.items())
        return env

    @cached_property
    def settled(self) -> bool:
        """Whether the same operations give the same bits elsewhere: no sum is in an order that a compiler chooses, and where
        there is a library with functions of vectors nothing may call these."""
        bodies = [f.body for f in (self.kernel.fn, *self.kernel.functions)]
        ordered = all(f.name in self.kernel.lines for f in self.kernel.functions)
        return ordered and (not config.USING_SVML or all(map(same_bits, bodies)))

    @cached_property
    def preallocated(self) -> bool:
        """Whether the kernel allocates nothing while it runs."""
        known = {*self.kernel.fn.params, *self.scratch.bases}
        inner = (s for fn in self.kernel.functions for s in walk(fn.body) if isinstance(s, (Alloc, Foreign)))
        if any(s.base.role == "local" if isinstance(s, Alloc) else not registered(s.key).made for s in inner):
            return False
        return all(s.base in known for s in walk(self.kernel.fn.body) if isinstance(s, Alloc))

    @cached_property
    def function(self) -> Any:
        return getattr(load_module(STUBS + "\n\n" + self.module_text), self.kernel.fn.name)


def new_tapes(cells: tuple[int, int], tangents: bool = False) -> list[np.ndarray]:
    """Tapes of so many floats and integers, and their tops; with ``tangents`` also the tape of the floats' tangents."""
    more = [np.zeros(cells[0])] if tangents else []
    return [np.zeros(cells[0]), np.zeros(cells[1], np.int64), np.zeros(2, np.int64), *more]


def longer(tapes: list[np.ndarray]) -> list[np.ndarray]:
    """Tapes of twice the length."""
    cells = 2 * max(tapes[0].size, FIRST_TAPE), 2 * max(tapes[1].size, FIRST_TAPE)
    return new_tapes(cells, len(tapes) == len(ARENAS))


class Kept:
    """The results and the scratch memory of one kernel's values, for one caller at a time.

    Results of one cell and one dtype lie side by side, in the array of ``cells`` with that name: so all are read at once.
    """

    def __init__(self) -> None:
        self.looks: list[Any] | None = None
        self.results: list[np.ndarray] = []
        self.scratch: list[np.ndarray] = []
        self.cells: dict[str, np.ndarray] = {}

    def keep(self, looks: list[Any] | None, results: list[np.ndarray], scratch: list[np.ndarray]) -> None:
        """Memory for arguments of these looks; None: for once."""
        cells, self.cells = together([(a.shape, a.dtype) for a in results if a.shape == (1,)])
        side_by_side = iter(cells)
        self.results = [next(side_by_side) if a.shape == (1,) else a for a in results]
        self.looks, self.scratch = looks, scratch


class FunctionKernel:
    """A function of several arguments, lowered for given structures; compiled when it is first called."""

    def __init__(self, fn: types.FunctionType, specs: Sequence[Spec], result: Spec | None, role: str) -> None:
        code = fn.__code__
        names = ("n", "y", "p") if role == "step" else code.co_varnames[: code.co_argcount][: len(specs)]
        self.fn = fn
        self.names = (*names, *(f"argument_{k}" for k in range(len(names), len(specs))))
        counters = ("n",) if role == "step" else ()
        self.paths = [path for name, spec in zip(self.names, specs, strict=True) for path, _ in leaf_specs(spec, name)]
        self._counted = [path in counters for path in self.paths]
        self._counts = any(self._counted)
        args = list(zip(self.names, specs, strict=True))
        if role == "step":
            like = specs[1] if result is None else result
            self.entry = lower_entry(fn, args, counters=counters, result=like, like="y", frozen=("p",))
            self._like = len(leaves_of(specs[1]))  # the first leaves, y's, have the shapes of the result's
        else:
            self.entry = lower_entry(fn, args, result=result)
            self._like = 0
        self.result_spec: Spec = self.entry.result_spec
        self._memory: dict[Any, Any] = {}  # what was needed for inputs of some shapes
        self.idle: list[Kept] = []  #: that nobody uses, for the next who calls this often

    def stale(self) -> bool:
        """Whether a name that the function uses from outside means something else than when it was lowered."""
        return self.entry.stale()

    def _compiled(self, what: str, make: Callable[[Entry], Kernel]) -> Compiled:
        entry = self.entry.anew()
        return stored([entry], [what], lambda: Compiled(make(entry), entry, [b for _, b in entry.leaves]))

    @cached_property
    def _primal(self) -> Compiled:
        return self._compiled("primal", primal_kernel)

    @cached_property
    def _vjp(self) -> Compiled:
        active = {path for path, base in self.entry.leaves if is_float(base.dt)}
        return self._compiled("vjp", lambda entry: vjp_kernel(entry, active))

    @cached_property
    def _value_and_vjp(self) -> Compiled:
        active = {path for path, base in self.entry.leaves if is_float(base.dt)}
        return self._compiled("value and vjp", lambda entry: vjp_kernel(entry, active, valued=True))

    @cached_property
    def _vjp_in_lanes(self) -> Compiled | None:
        active = {path for path, base in self.entry.leaves if is_float(base.dt)}
        try:
            return self._compiled("lanes", lambda entry: vjp_kernel(entry, active, lanes=True))
        except LanesError:
            return None

    @cached_property
    def _hvp(self) -> Compiled:
        return self._doubled(seeded=False)

    @cached_property
    def _seeded_hvp(self) -> Compiled:
        return self._doubled(seeded=True)

    def _doubled(self, seeded: bool) -> Compiled:
        """The tangent of the VJP kernel; cotangents of the results vary if it is ``seeded``."""
        active = {path for path, base in self.entry.leaves if is_float(base.dt)}
        groups, outcome = [len(self.entry.leaves)], [b for _, b in self.entry.results]
        what = "seeded hvp" if seeded else "hvp"
        return self._compiled(what, lambda entry: doubled(vjp_kernel(entry, active), groups, outcome, seeded=seeded).kernel)

    @cached_property
    def _jvp(self) -> tuple[Compiled, Tangent]:
        entry = self.entry.anew()
        kernel = primal_kernel(entry)
        module = tangents_of(kernel)
        made = module.of(kernel.fn, {base.name for _, base in entry.leaves if is_float(base.dt)})
        return Compiled(tangent_kernel(kernel, module, made), entry, [b for _, b in entry.leaves]), made

    # --------------------------------------------------------------------------------------------------------- calls
    def captured(self) -> list[np.ndarray]:
        """What the function reads from outside, as it is now."""
        return [c.value() for c in self.entry.captures]

    @property
    def measured(self) -> list[str]:
        """The leaves of arguments whose shapes say how much memory a value takes, results included."""
        used = {*self.entry.plan().program.params, *self._primal.scratch.program.params}
        return [path for path, base in self.entry.leaves if base in used]

    @property
    def compiled_value(self) -> Any:
        """The compiled function: of the leaves of the arguments, captures, results and scratch memory; it returns a status."""
        return self._primal.function

    def _arguments(self, leaves: Leaves) -> tuple[list[int], list[np.ndarray], list[np.ndarray]]:
        """By-value ints, the leaves of the other arguments, and the captures."""
        captures = self.captured()
        if not self._counts:
            return [], list(leaves), captures
        counters = [int(leaf[0]) for leaf, on in zip(leaves, self._counted, strict=True) if on]
        return counters, [leaf for leaf, on in zip(leaves, self._counted, strict=True) if not on], captures

    def _env(self, rest: Leaves, captures: Leaves) -> Env:
        """The last two of :meth:`_arguments` by their bases; ``rest`` may have more at its end."""
        env: Env = {base: leaf for (_, base), leaf in zip(self.entry.leaves, rest, strict=False)}
        env.update((c.base, value) for c, value in zip(self.entry.captures, captures, strict=False))
        return env

    def _check(self, status: int, counters: Sequence[int], rest: Leaves, captures: Leaves) -> None:
        if status > 0:
            raise raise_site(self.entry, status, counters, self._env(rest, captures))

    def result_shapes(self, leaves: Leaves) -> list[tuple[int, ...]]:
        """The shapes of the result leaves; StructureError if they are known only while it runs."""
        _, rest, captures = self._arguments(leaves)
        return self._shapes(rest, captures)

    @property
    def by_shape(self) -> bool:
        """Whether the shapes of the results follow from those of the arguments alone."""
        return not self.entry.captures and (bool(self._like) or self.entry.plan().by_shape)

    def _remembered(self, key: tuple[Any, ...], arrays: Leaves, by_shape: bool, make: Callable[[], T]) -> T:
        """What ``make`` says is needed: found once for arrays of some shapes, if it follows from these alone."""
        if not by_shape:
            return make()
        key = (*key, *[a.shape for a in arrays])
        found = self._memory.get(key)
        if found is None:
            if len(self._memory) >= 64:
                self._memory.clear()
            found = self._memory[key] = make()
        return found

    def _results(self, rest: Leaves, captures: Leaves) -> list[np.ndarray]:
        """Memory for the result leaves."""

        def make() -> Memory:
            return [(s, np.dtype(base.dt)) for s, (_, base) in zip(self._shapes(rest, captures), self.entry.results, strict=True)]

        by_shape = bool(self._like) or self.entry.plan().by_shape
        return zeros_of(self._remembered(("results",), [*rest, *captures], by_shape, make))

    def _scratch(self, compiled: Compiled, rest: Leaves, captures: Leaves, results: Leaves) -> list[np.ndarray]:
        """Scratch memory of a kernel with results and no cotangents."""
        scratch = compiled.scratch
        if not scratch.bases:
            return []

        def make() -> Memory:
            bases = [base for _, base in self.entry.results]
            return scratch.memory({**self._env(rest, captures), **dict(zip(bases, results, strict=True))})

        return zeros_of(self._remembered((compiled,), [*rest, *captures, *results], scratch.by_shape, make))

    def _shapes(self, rest: Leaves, captures: Leaves) -> list[tuple[int, ...]]:
        shapes = [x.shape for x in rest[: self._like]] if self._like else self.entry.result_shapes(self._env(rest, captures))
        if shapes is None:
            raise StructureError(
                f"{self.fn.__name__} returns an array whose shape is known only while it runs: return a scalar, "
                "or take an argument of that shape"
            )
        return shapes

    def value(self, leaves: Leaves, kept: Kept | None = None, looks: Sequence[object] | None = None) -> list[np.ndarray]:
        """Result leaves; fresh, or those ``kept``, which the next call that is given them overwrites.

        ``looks`` say what the leaves look like: leaves of other shapes have others.
        """
        counters, rest, captures = self._arguments(leaves)
        if kept is not None:
            now: list[Any] = [*([leaf.shape for leaf in rest] if looks is None else looks), *[c.shape for c in captures]]
        if kept is not None and kept.looks == now:
            results, scratch = kept.results, kept.scratch
        else:
            results = self._results(rest, captures)
            scratch = self._scratch(self._primal, rest, captures, results)
            if kept is not None:
                again = self.entry.plan().by_shape and self._primal.scratch.by_shape
                kept.keep(now if again else None, results, scratch)
                results = kept.results
        status = self._primal.function(*counters, *rest, *captures, *results, *scratch)
        if status > 0:
            self._check(status, counters, rest, captures)
        return results

    def vjp(self, leaves: Leaves, result_bars: Bars) -> list[np.ndarray | None]:
        """Cotangents of all leaves, fresh; None for inert ones.  ``result_bars`` are not modified."""
        counters, rest, captures = self._arguments(leaves)
        found = iter(self._back(self._vjp, counters, rest, captures, result_bars))
        return [None if counted else next(found) for counted in self._counted]

    def value_and_vjp(self, leaves: Leaves, result_bars: Bars) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
        """What :meth:`value` and :meth:`vjp` give, of a function that returns numbers, from one run of it."""
        counters, rest, captures = self._arguments(leaves)
        results = self._results(rest, captures)
        found = iter(self._back(self._value_and_vjp, counters, rest, [*captures, *results], result_bars))
        return results, [None if counted else next(found) for counted in self._counted]

    def _back(
        self,
        compiled: Compiled,
        counters: list[int],
        inputs: Leaves,
        others: Leaves,
        result_bars: Bars,
        lanes: tuple[int, ...] = (),
    ) -> list[np.ndarray | None]:
        """Run a VJP kernel, or one that is doubled or has ``lanes`` or results, with new memory; ``others`` are captures, and
        memory for the results."""
        kernel = compiled.kernel
        pairs = [(bar, base) for bar, base in zip(result_bars, kernel.result_bars, strict=True) if base is not None]
        wanted = list(zip(kernel.leaf_bars, inputs, strict=True))

        def fresh() -> list[np.ndarray | None]:
            return [None if bar is None else np.zeros((*lanes, *leaf.shape), leaf.dtype) for bar, leaf in wanted]

        bars = fresh()

        def env() -> Env:
            lengths = zip((*(base for _, base in pairs), *kernel.leaf_bars), (*(b for b, _ in pairs), *bars), strict=True)
            known = {base: bar for base, bar in lengths if base is not None and bar is not None}
            results = dict(zip([b for _, b in self.entry.results], others[len(self.entry.captures) :], strict=False))
            return {**self._env(inputs, others), **results, **known}

        shaped = [*inputs, *others, *(bar for bar, _ in pairs if bar is not None)]
        make = compiled.scratch.memory
        scratch = zeros_of(self._remembered((compiled, lanes), shaped, compiled.scratch.by_shape, lambda: make(env())))
        places = [ARENAS.index(arena_of(base)) for base in kernel.arenas]
        tapes = new_tapes(compiled.tape.first(env()), len(ARENAS) - 1 in places) if places else []
        while True:  # all anew if a tape was too short: it may have run out half-way back
            given = [np.array(bar, dtype=base.dt) for bar, base in pairs]
            memory = [*(b for b in bars if b is not None), *(tapes[k] for k in places), *scratch]
            status = compiled.function(*counters, *inputs, *others, *given, *memory)
            if status != NEED:
                break
            tapes, bars = longer(tapes), fresh()
            compiled.tape.grew(env(), (tapes[0].size, tapes[1].size))
        self._check(status, counters, inputs, others)
        return bars

    def vjps(self, leaves: Leaves, result_bars: Bars, lanes: int) -> list[np.ndarray | None]:
        """What :meth:`vjp` gives for many cotangents, stacked along a first axis of ``lanes``, from one recording.

        Where the way back cannot be walked twice, the recording is made again for each.
        """
        compiled = self._vjp_in_lanes
        if compiled is None or not any(b is not None for b in compiled.kernel.result_bars):
            each = [self.vjp(leaves, [None if b is None else b[k] for b in result_bars]) for k in range(lanes)]
            return [None if column[0] is None else np.stack(column) for column in zip(*each, strict=True)]  # type: ignore[arg-type]
        counters, rest, captures = self._arguments(leaves)
        found = iter(self._back(compiled, counters, rest, captures, result_bars, (lanes,)))
        return [None if counted else next(found) for counted in self._counted]

    def hvp(
        self, leaves: Leaves, dots: Bars, result_bars: Bars, result_bar_dots: Bars | None = None
    ) -> tuple[list[np.ndarray | None], list[np.ndarray | None]]:
        """What :meth:`vjp` gives, and its derivative along ``dots`` (None: zero), and ``result_bar_dots`` unless these are 0."""
        counters, rest, captures = self._arguments(leaves)
        compiled = self._seeded_hvp if result_bar_dots is not None else self._hvp
        given = [d for d, counted in zip(dots, self._counted, strict=True) if not counted]
        floats = [(d, leaf) for d, leaf in zip(given, rest, strict=True) if leaf.dtype.kind == "f"]
        inputs = [*rest, *(np.zeros_like(x) if d is None else np.ascontiguousarray(d, x.dtype) for d, x in floats)]
        seeds = [*result_bars, *(d for d in result_bar_dots or () if d is not None)]
        bars = self._back(compiled, counters, inputs, captures, seeds)
        one, two = iter(bars[: len(rest)]), iter(bars[len(rest) :])
        first = [None if counted else next(one) for counted in self._counted]
        return first, [None if bar is None else next(two) for bar in first]

    def vjp_bytes(self, leaves: Leaves) -> tuple[int, bool]:
        """What :meth:`vjp` allocates, and whether that is exact: a tape may become longer."""
        return self._back_bytes(self._vjp, leaves, 1)

    def hvp_bytes(self, leaves: Leaves) -> tuple[int, bool]:
        """The same for :meth:`hvp`."""
        return self._back_bytes(self._hvp, leaves, 2)

    def _back_bytes(self, compiled: Compiled, leaves: Leaves, order: int) -> tuple[int, bool]:
        _, rest, captures = self._arguments(leaves)

        def make() -> tuple[int, bool]:
            env, own = self._env(rest, captures), zip(compiled.kernel.leaf_bars, rest, strict=False)
            bars = sum(order * leaf.nbytes for bar, leaf in own if bar is not None)
            cells = compiled.tape.sizes(env)
            floats, integers = compiled.tape.first(env)
            tapes = 8 * (order * floats + integers + 2)
            return bars + compiled.scratch.nbytes(env) + tapes, cells is not None and compiled.preallocated

        by_shape = compiled.scratch.by_shape and not compiled.kernel.arenas
        return self._remembered((compiled, order), [*rest, *captures], by_shape, make)

    def jvp(self, leaves: Leaves, dots: Sequence[np.ndarray | None]) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
        """Result leaves and their tangents; ``dots`` has None (or anything) for inert leaves."""
        counters, rest, captures = self._arguments(leaves)
        compiled, made = self._jvp
        results = self._results(rest, captures)
        given: Env = {}
        inputs = [dot for dot, counted in zip(dots, self._counted, strict=True) if not counted]
        for dot, leaf, base in zip(inputs, rest, compiled.kernel.inputs, strict=True):
            if is_float(base.dt):
                given[base] = np.zeros_like(leaf) if dot is None else np.ascontiguousarray(dot, dtype=base.dt)
        bases = [base for _, base in self.entry.results]
        out = [np.zeros_like(result) if is_float(base.dt) else None for result, base in zip(results, bases, strict=True)]
        given.update((base, dot) for base, dot in zip(bases, out, strict=True) if dot is not None)
        tangents = [given[p] for p in made.dots]  # type: ignore[index]
        scratch = self._scratch(compiled, rest, captures, results)
        status = compiled.function(*counters, *rest, *captures, *results, *tangents, *scratch)
        self._check(status, counters, rest, captures)
        return results, out

    def source(self, kind: str = "vjp") -> str:
        """The derived code, readable: "primal", "vjp" or "jvp"."""
        compiled = self._primal if kind == "primal" else self._vjp if kind == "vjp" else self._jvp[0]
        return HEADER + "\n\n" + compiled.text


_kernels: Cache[FunctionKernel] = Cache(256)


def function_kernel(
    fn: types.FunctionType, specs: Sequence[Spec], *, result: Spec | None = None, role: str = "function"
) -> FunctionKernel:
    """The kernel of ``fn`` for arguments of the given structures.

    role "step": arguments (n, y, p), the result has the structure and shapes of y, and writing p is refused;
    "cost", "function": the arguments are those of the function itself, and it may overwrite them (it has copies).
    Kernels are kept until a name that the function uses from outside means something else.
    """
    return _kernels.get((fn, tuple(specs), result, role), lambda: FunctionKernel(fn, specs, result, role))
