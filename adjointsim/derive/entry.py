"""An entry function (a step, a cost, a function to differentiate) as one IR function over leaves.

Every leaf of an argument is a base: a scalar leaf is memory of one cell.  So the adjoint of a kernel needs no case for
scalars: their cotangents are shadows like any other.  Integers that the driver counts (``n``, ``k``) come by value.

The function never writes its inputs: an argument that it overwrites is copied at entry, and the copy, if it is what the
function returns, is the result's own memory.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import DerivationError, StructureError
from . import fence
from .build import Names, const
from .complexpairs import is_complex
from .context import NEVER, Frame, RaiseSite, WrittenParameter, with_sites
from .emit import RESERVED
from .ir import CAPTURED, ONE, Alloc, Atom, Base, Block, Const, Fn, For, Var, While, bases_of, blocks_of, substitute
from .liveness import Liveness
from .lower import Lowering
from .opaque import Opaque
from .outline import Helper, Helpers
from .outside import Outside, getter
from .ranges import never_negative
from .returned import Finish, Model, ShapeSite, identifier
from .scratch import Scratch, scratch_of
from .source import Source, read
from .spec import ArraySpec, ComplexSpec, NoneSpec, ScalarSpec, Spec, TupleSpec, leaf_specs, leaves_of, ones_of
from .values import Ref, Static, Tup, Value, describe

__all__ = ["Capture", "Entry", "lower_entry", "outside_of", "spec_of_capture"]

INT = ScalarSpec("i8")
_AS_LEAF = ["C_CONTIGUOUS", "ALIGNED", "ENSUREARRAY"]


@dataclass(frozen=True)
class Capture:
    """A number or array that the function reads from outside: a hidden, inactive input, looked up at every run."""

    base: Base
    path: str
    source: Source
    pick: tuple[int, ...] = ()  # into a captured tuple
    ones: tuple[int, ...] = ()  # axes that have length 1

    @property
    def identity(self) -> tuple[object, ...]:
        """What is equal for captures of the same value as the same leaf."""
        return self.source.fn, self.path, self.pick, self.base.dt, self.base.rank, self.ones

    def getter(self) -> Callable[[], Any]:
        """A function that says what the name means now."""
        return getter(self.source, self.path)

    def now(self) -> Any:
        """What is captured of that now."""
        return self._picked(self.getter()())

    def _picked(self, obj: Any) -> Any:
        for k in self.pick:
            obj = obj[k]
        return obj

    def value(self) -> np.ndarray:
        """What is captured now, as a leaf."""
        return self.leaf(self.getter()())

    def leaf(self, obj: Any) -> np.ndarray:
        """What is captured of what the name means, as a leaf."""
        obj = self._picked(obj) if self.pick else obj
        if type(obj) is np.ndarray and obj.dtype == self.base.dt and obj.ndim == self.base.rank and not self.ones:
            if obj.ndim and obj.flags.c_contiguous and obj.flags.aligned:
                return obj  # as below, in less time
        elif type(obj) is float and self.base.dt == "f8" and self.base.rank == 1 and not self.ones:
            return np.array([obj])
        if np.asarray(obj).dtype.kind == "c":
            array = np.require(obj, "c16" if self.base.dt == "f8" else "c8", _AS_LEAF)
            obj = array.reshape(-1).view(self.base.dt).reshape(*np.shape(obj), 2)
        leaf = np.asarray(obj, dtype=self.base.dt) if not isinstance(obj, np.ndarray) else obj
        where = f"'{self.path}', captured by {self.source.name} ({self.source.filename})"
        rank = self.base.rank if isinstance(obj, np.ndarray) else 0
        if leaf.dtype.newbyteorder("=").str[1:] != self.base.dt or leaf.ndim != rank:
            raise StructureError(f"{where} has become {leaf.dtype} of rank {leaf.ndim}; expected {self.base.dt} of rank {rank}")
        if any(leaf.shape[k] != 1 for k in self.ones):
            raise StructureError(f"{where} has become an array of shape {leaf.shape}; expected length 1 along axes {self.ones}")
        return np.require(leaf.reshape(1) if leaf.ndim == 0 else leaf, self.base.dt, _AS_LEAF)


@dataclass(frozen=True)
class Entry:
    """An entry function in the IR.  ``fn.params`` are, in order: the by-value ints, the leaves of the other arguments,
    the captures and the result leaves."""

    fn: Fn
    counters: tuple[Var, ...]
    leaves: tuple[tuple[str, Base], ...]  # (path, base) over all arguments that are not counters
    captures: tuple[Capture, ...]
    results: tuple[tuple[str, Base], ...]
    origins: tuple[Base | Const | None, ...]  # of each result leaf: the input, capture or literal that it is as it stands
    result_spec: Spec
    dims: dict[Base, tuple[Atom, ...]]
    sites: tuple[RaiseSite, ...]
    names: Names = field(repr=False)
    source: Source = field(repr=False)
    globals: dict[str, dict[str, Any]] = field(repr=False)  # of each file that can raise
    outside: dict[tuple[Source, str], Any] = field(repr=False)  # what names from outside meant
    overwritten: frozenset[str] = frozenset()  # the paths of leaves that the function writes, in copies of its own
    helpers: tuple[Helper, ...] = field(default=(), repr=False)  # functions that it calls; what is called comes first
    opaques: tuple[Opaque, ...] = field(default=(), repr=False)  # custom functions that these, it or their rules call
    _probes: dict[frozenset[Base] | None, Scratch] = field(default_factory=dict, init=False, repr=False, compare=False)

    def stale(self) -> bool:
        """Whether a name from outside now means something that the derivation did not see: another function or class, a
        number of another type (another *value* is no matter: it is an input).

        Raises ArgumentError for a value that a custom function has frozen."""
        return self._outside.changed()

    @cached_property
    def _outside(self) -> Outside:
        return outside_of([self])

    @property
    def lines(self) -> tuple[str, ...]:
        return self.source.lines

    def globals_of(self, site: RaiseSite) -> dict[str, Any]:
        return self.globals.get(site.filename, {})

    def anew(self) -> Entry:
        """The same with names of its own: what is derived from it does not depend on what else was derived before."""
        return replace(self, names=self.names.copy())

    def result_shapes(
        self, arrays: Mapping[Base, np.ndarray], fixed: Collection[Base] | None = None
    ) -> list[tuple[int, ...]] | None:
        """The shapes of the result leaves for given inputs; None if they are known only while the function runs.

        Lengths may depend on the contents of ``fixed`` inputs only, which are all inputs unless it is given.
        """
        plan = self.plan(fixed)
        results = [b for _, b in self.results]
        if any(b not in plan.bases for b in results):
            return None
        found = dict(zip(plan.bases, plan.shapes(arrays), strict=True))
        return [found[b] for b in results]

    def plan(self, fixed: Collection[Base] | None = None) -> Scratch:
        """What :meth:`result_shapes` are found by."""
        key = None if fixed is None else frozenset(fixed)
        plan = self._probes.get(key)
        if plan is None:
            plan = self._probes[key] = self._probe(fixed)
        return plan

    def _probe(self, fixed: Collection[Base] | None) -> Scratch:
        """The lengths of the result leaves."""
        results = tuple(b for _, b in self.results)
        kept = {s.base: s for s in self.fn.body if isinstance(s, Alloc)}
        allocs = tuple(kept.get(b) or Alloc(b, self.dims.get(b, (const(1, "i8"),))) for b in results)
        body = (*(s for s in self.fn.body if not isinstance(s, (Alloc, For, While))), *allocs)
        params = tuple(p for p in self.fn.params if p not in results)
        known = [p for p in params if isinstance(p, Base)] if fixed is None else fixed
        return scratch_of(Fn(self.fn.name, params, body), known, [x.fn for x in (*self.opaques, *self.helpers)])

    def shape_error(self, site: ShapeSite, counters: Sequence[int], arrays: Mapping[Base, np.ndarray]) -> StructureError:
        """What to raise where a step's result is not like its state."""
        numbers: dict[Atom, Atom] = {v: const(k, "i8") for v, k in zip(self.counters, counters, strict=False)}
        here = replace(self, fn=replace(self.fn, body=substitute(self.fn.body, lambda a: numbers.get(a, a))))
        fixed = [b for path, b in self.leaves if b in arrays and path.partition(".")[0].partition("[")[0] == "p"]
        shapes = here.result_shapes(arrays, [*fixed, *(c.base for c in self.captures)])
        got = f"shape {shapes[site.result]}" if shapes is not None else "another shape"
        leaf = self.results[site.result][0].replace("result", "y_next", 1)
        step = f", step n={counters[0]}" if counters else ""
        return StructureError(f"{site.function}{step}: Got {leaf} of {got}, but expected {arrays[site.like].shape}")  # type: ignore[index]


def spec_of_capture(obj: Any) -> Spec | None:
    """The structure of a captured object; None if it is not made of numbers and arrays."""
    if isinstance(obj, (bool, np.bool_)):
        return ScalarSpec("b1")
    if isinstance(obj, (int, np.integer)) and not isinstance(obj, np.timedelta64):
        return ScalarSpec("i8") if -(2**63) <= int(obj) < 2**63 else None
    if isinstance(obj, np.float32):
        return ScalarSpec("f4")
    if isinstance(obj, (float, np.floating)):
        return ScalarSpec("f8")
    if isinstance(obj, (complex, np.complexfloating)):
        return ComplexSpec("c8" if isinstance(obj, np.complex64) else "c16", 0)
    if isinstance(obj, np.ndarray) and obj.dtype.kind == "c":
        return ComplexSpec(obj.dtype.newbyteorder("=").str[1:], obj.ndim, ones_of(obj.shape)) if obj.ndim else None
    if isinstance(obj, np.ndarray):
        dt = obj.dtype.newbyteorder("=").str[1:]
        return ArraySpec(dt, obj.ndim, ones_of(obj.shape)) if dt in ("f8", "f4", "i8", "i4", "u8", "b1") and obj.ndim else None
    if isinstance(obj, tuple):
        items = [spec_of_capture(o) for o in obj]
        return TupleSpec(tuple(items), type(obj) if hasattr(obj, "_fields") else None) if None not in items else None  # type: ignore[arg-type]
    return None


def outside_of(entries: Iterable[Entry]) -> Outside:
    """What names from outside meant to all of some entries."""
    found = [(source, path, then) for entry in entries for (source, path), then in entry.outside.items()]
    return Outside(found, [opaque for entry in entries for opaque in entry.opaques], spec_of_capture)


class _Captures:
    """Hidden inputs, one base for each name of each function."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.found: dict[tuple[Any, str], tuple[Spec, list[Capture]]] = {}

    def __call__(self, low: Lowering, path: str, obj: Any, node: ast.AST, source: Source) -> Value:
        key = (source.fn, path)
        if key not in self.found:
            spec = spec_of_capture(obj)
            if spec is None:
                kind = _kind(obj)
                raise source.error(f"captured '{path}' is {kind}: only numbers, arrays of numbers and tuples of these", node)
            captures: list[Capture] = []
            self._make(spec, path, source, (), captures)
            self.found[key] = spec, captures
        spec, captures = self.found[key]
        bases = iter([c.base for c in captures])
        return leaf_value(spec, bases, low)

    def _make(self, spec: Spec, path: str, source: Source, pick: tuple[int, ...], out: list[Capture]) -> None:
        if isinstance(spec, TupleSpec):
            for k, item in enumerate(spec.items):
                self._make(item, path, source, (*pick, k), out)
        elif isinstance(spec, ComplexSpec):
            base = Base(self.names.fresh("c_" + identifier(path)), spec.leaf.dt, spec.leaf.rank, "const")
            out.append(Capture(base, path, source, pick, spec.ones))
        elif not isinstance(spec, NoneSpec):
            rank, ones, role = (spec.rank, spec.ones, "const") if isinstance(spec, ArraySpec) else (1, (), "number")
            out.append(Capture(Base(self.names.fresh("c_" + identifier(path)), spec.dt, rank, role), path, source, pick, ones))

    def all(self) -> tuple[Capture, ...]:
        return tuple(c for _, captures in self.found.values() for c in captures)

    def numbers(self) -> list[Base]:
        """The bases of captured numbers."""
        pairs = [pair for spec, captures in self.found.values() for pair in zip(leaves_of(spec), captures, strict=True)]
        return [c.base for leaf, c in pairs if isinstance(leaf, ScalarSpec)]


def _kind(obj: Any) -> str:
    if isinstance(obj, np.ndarray):
        return f"an array of dtype {obj.dtype} and rank {obj.ndim}"
    return f"a {type(obj).__name__}"


def leaf_value(spec: Spec, bases: Any, lowering: Lowering) -> Value:
    """The value of a structure whose leaves are bases: scalars are loaded, arrays referred to."""
    if isinstance(spec, TupleSpec):
        return Tup(tuple(leaf_value(item, bases, lowering) for item in spec.items), spec.cls)
    if isinstance(spec, NoneSpec):
        return Static(None)
    base = next(bases)
    if not isinstance(spec, ScalarSpec):
        lowering.ones.setdefault(base, spec.ones)
    if isinstance(spec, ArraySpec):
        return Ref.of(base)
    if isinstance(spec, ComplexSpec):
        return lowering.complex_array(base) if spec.rank else lowering.complex_number(base)
    return lowering.b.load(base, (const(0, "i8"),), base.name.split(".")[0], "never")


def lower_entry(
    fn: types.FunctionType,
    args: Sequence[tuple[str, Spec]],
    *,
    counters: Sequence[str] = (),
    result: Spec | None = None,
    like: str | None = None,
    frozen: Sequence[str] = (),
    name: str | None = None,
) -> Entry:
    """Lower ``fn`` for arguments of the given structures.

    ``counters`` are arguments passed by value; ``result`` is the structure that it must return (None: whatever it
    returns); with ``like`` the result's arrays must have the shapes of that argument's; ``frozen`` arguments must not be
    written; ``name`` is what it is called, if not by its own name.  Raises DerivationError at the user's line.
    """
    copied: set[str] = set()
    name = name or (fn.__name__ if fn.__name__.isidentifier() else "function")
    name += "_" * (name in RESERVED)
    helpers = Helpers(name)
    while True:
        try:
            entry = _lower(fn, args, counters, result, like, copied, helpers)
            short = helpers.not_worth_it(entry.fn.body)
            if not short:
                return entry
            helpers = Helpers(name, helpers.inlined | short)
        except WrittenParameter as written:
            base = written.base
            owner = base.name.split(".")[0]
            if base.role in CAPTURED or owner.split("__")[0] in frozen or base.name in copied:
                raise written.error from None
            copied.add(base.name)
            helpers = Helpers(name, helpers.inlined)


def _lower(
    fn: types.FunctionType,
    args: Sequence[tuple[str, Spec]],
    counters: Sequence[str],
    result: Spec | None,
    like: str | None,
    copied: set[str],
    helpers: Helpers,
) -> Entry:
    names = Names()
    captures = _Captures(names)
    low = Lowering(names, captures)
    low.helpers = helpers
    source = read(fn)
    fence.check(source)  # before its parameters are bound
    code = fn.__code__
    own = code.co_varnames[: code.co_argcount]
    if code.co_kwonlyargcount or len(own) < len(args) or len(own) - len(fn.__defaults__ or ()) > len(args):
        wanted = ", ".join(name for name, _ in args)
        message = f"must take {len(args)} arguments ({wanted}), it takes ({', '.join(own)})"
        raise source.error(message, source.node, DerivationError)
    bound: dict[str, Value] = {}
    by_value: list[Var] = []
    leaves: list[tuple[str, Base]] = []
    models: list[Model] = []
    cells: list[Base] = []  # leaves that are numbers
    for (name, spec), own_name in zip(args, own, strict=False):
        if name in counters:
            var = names.var(own_name, "i8")
            by_value.append(var)
            bound[own_name] = var
            continue
        bases: list[Base] = []
        for path, leaf in leaf_specs(spec, name):
            root = f"{name}__{identifier(path)}" if path != name else name
            base = Base(names.fresh(root), leaf.dt, getattr(leaf, "rank", 1), "in")
            leaves.append((path, base))
            if isinstance(leaf, ScalarSpec):
                cells.append(base)
            else:
                low.ones[base] = leaf.ones
            if name == like:
                models.append((base, tuple(low.length(base, k) for k in range(base.rank)) if isinstance(leaf, ArraySpec) else ()))
            bases.append(base)
        used = iter([_copied(low, b) if b.name in copied else b for b in bases])
        bound[own_name] = leaf_value(spec, used, low)
    for own_name in own[len(args) :]:
        bound[own_name] = low.literal(fn.__defaults__[own.index(own_name) - len(own)], f"default:{own_name}", source.node)  # type: ignore[index]
    low.b.line = source.node.lineno
    value = low.function(fn, bound)
    low.frames.append(_pseudo_frame(low, source))
    spec = result if result is not None else _spec_of(value, low)
    finish = Finish(low, source, like, models, {*cells, *captures.numbers()})
    finish(value, spec, "result")
    finish.check_next(copied)
    out, rename = finish.out, finish.rename
    body = substitute(tuple(low.b.stmts), lambda a: a, lambda b: rename.get(b, b))
    dims = {rename.get(b, b): d for b, d in low.dims.items()}
    params = (*by_value, *(b for _, b in leaves), *(c.base for c in captures.all()), *(b for _, b in out))
    fn_ir = Fn(helpers.prefix, params, body)
    _check_escapes(body, source)
    used = []
    for helper in helpers.used(body):
        used.append(replace(helper, fn=replace(helper.fn, body=with_sites(helper.fn.body, len(low.sites)))))
        low.sites += helper.sites
    opaques = helpers.used_opaques(body)
    for opaque in opaques:
        opaque.number_sites(len(low.sites))
        low.sites += opaque.sites
    known = never_negative(body, set(by_value), [x.fn for x in (*opaques, *used)])
    used = [replace(h, nonnegative=frozenset(known[h.fn.name])) for h in used]
    files = {s.source.filename: s.source.fn.__globals__ for s in low.seen}
    return Entry(
        fn_ir, tuple(by_value), tuple(leaves), captures.all(), tuple(out), tuple(finish.origins), spec, dims, tuple(low.sites),
        names, source, files, low.outside, frozenset(path for path, b in leaves if b.name in copied), tuple(used),
        tuple(opaques),
    )  # fmt: skip


def _check_escapes(body: Block, source: Source) -> None:
    """Refuse an array that is made in a loop and used after it: which iteration's array it is depends on the run."""
    made: dict[Base, tuple[int, Alloc]] = {}

    def visit(block: Block, loops: tuple[int, ...]) -> None:
        for s in block:
            if isinstance(s, Alloc) and loops:
                made[s.base] = (loops[-1], s)
            for b in bases_of(s):
                if b in made and made[b][0] not in loops:
                    line = made[b][1].line or source.node.lineno
                    raise source.error("an array that is made in a loop is used after it: make it before the loop", line)
            inner = (*loops, id(s)) if isinstance(s, (For, While)) else loops
            for nested in blocks_of(s):
                visit(nested, inner)

    visit(body, ())


def _pseudo_frame(low: Lowering, source: Source) -> Any:
    return Frame(source, Liveness([]))


def _copied(low: Lowering, base: Base) -> Base:
    return low.evaluated(Ref.of(base), base.name).base


def _spec_of(value: Value, low: Lowering) -> Spec:
    if is_complex(value):
        return low.complex_spec(value)
    if isinstance(value, Tup):
        return TupleSpec(tuple(_spec_of(i, low) for i in value.items), value.cls)
    if isinstance(value, (Var, Const)):
        return ScalarSpec(value.dt)
    if isinstance(value, Ref):
        return ArraySpec(value.base.dt, value.rank, ones_of(low.shape(value), ONE))
    if isinstance(value, Static) and value.obj is None:
        return NoneSpec()
    if isinstance(value, Static) and value.obj is NEVER:
        raise low.error("returns nothing: every path raises")
    raise low.error(f"returns {describe(value)}: only numbers, arrays and tuples of these can be returned")
