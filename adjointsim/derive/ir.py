"""The intermediate representation: a small, typed, structured, *closed* language.

Primal, tangent, adjoint and the tangent of an adjoint are all programs of it (:class:`Fn`), so that every pass and
every optimisation serves all of them.  Three ideas carry it:

* **Scalars are SSA, memory is effects on bases.**  A :class:`Var` is defined once; a :class:`Base` is one block of
  memory (a parameter leaf, an allocation site, a captured constant, a shadow, an arena).  There are no array versions:
  :class:`Load` and :class:`Store` name a base and a full index.  Views are composed while lowering and never appear.
* **Control flow is structured.**  :class:`If` merges scalars by phis; :class:`For` and :class:`While` carry them.  An
  early exit is a ``stop`` flag that the body yields, together with the number of iterations actually run (``trips``).
* **Every statement knows its source line and its part**, ``primal`` or ``linear`` (linear statements act on cotangents
  or tangents and are linear in them).

Programs are frozen dataclasses; :func:`show` prints them, and that text is what the tests of passes compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from operator import is_

__all__ = [
    "CAPTURED", "ONE", "READ_ONLY", "ZERO",
    "Alloc", "Atom", "Base", "Block", "Call", "Const", "Dim", "Each", "Fn", "For", "Foreign", "If", "Let", "Load",
    "Need", "Raise",
    "Stmt", "Store", "Var", "While", "atoms_of", "bases_of", "defined", "effects", "is_float", "may_leave", "show", "substitute",
    "touches", "walk", "written_by",
]  # fmt: skip

#: dtypes of scalars and of array elements, by their NumPy short names
FLOATS = frozenset({"f4", "f8", "c8", "c16"})
INTS = frozenset({"i4", "i8", "u8"})

#: roles of memory from outside of the user's functions, and of all that they only read
CAPTURED = frozenset({"const", "number"})
READ_ONLY = CAPTURED | {"in"}


def is_float(dt: str) -> bool:
    """Whether a value of this dtype can carry a derivative."""
    return dt in FLOATS


# ---------------------------------------------------------------------------------------------------------- operands
@dataclass(frozen=True, slots=True)
class Var:
    """An SSA scalar.  ``name`` is unique in its function, ``<user's name>.<counter>``."""

    name: str
    dt: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Const:
    """A literal: float, int, bool (or complex)."""

    value: float | int | bool | complex
    dt: str

    def __str__(self) -> str:
        return repr(self.value)


Atom = Var | Const

ZERO, ONE = Const(0, "i8"), Const(1, "i8")


@dataclass(frozen=True, slots=True)
class Base:
    """One block of memory of fixed rank and element dtype, C order; identified by ``name``.

    role is one of

    ========  ==========================================================================================
    in        a parameter leaf that the function reads only
    inout     a parameter leaf that the function may overwrite (the driver hands it a copy it owns)
    result    memory of the caller that receives a result leaf
    local     an allocation site of the function itself
    const     a captured array: read only and inactive
    number    a captured number, in an array of one cell: the same, and it may be read at any time
    shadow    the cotangent (or tangent) of another base, same shape
    arena     a rank-1 stack of recorded values
    ========  ==========================================================================================
    """

    name: str
    dt: str
    rank: int
    role: str

    def __str__(self) -> str:
        return self.name


# -------------------------------------------------------------------------------------------------------- statements
@dataclass(frozen=True, slots=True)
class Let:
    """``var = op(args)``: a pure scalar operation of the table in :mod:`.rules`; ``cast`` converts to ``var.dt``."""

    var: Var
    op: str
    args: tuple[Atom, ...]
    line: int = 0
    part: str = "primal"


@dataclass(frozen=True, slots=True)
class Dim:
    """``var = base.shape[axis]``."""

    var: Var
    base: Base
    axis: int
    line: int = 0
    part: str = "primal"


@dataclass(frozen=True, slots=True)
class Load:
    """``var = base[index]``; ``wrap`` is "maybe" where a negative index may occur (Python's wraparound), else "never"."""

    var: Var
    base: Base
    index: tuple[Atom, ...]
    wrap: str = "maybe"
    line: int = 0
    part: str = "primal"


@dataclass(frozen=True, slots=True)
class Store:
    """``base[index] = value`` (mode "set") or ``base[index] += value`` (mode "add"): one cell.

    ``free``: the order in which what is added to a cell is rounded is not said by anybody (linear additions always are so).
    """

    base: Base
    index: tuple[Atom, ...]
    value: Atom
    mode: str = "set"
    wrap: str = "maybe"
    line: int = 0
    part: str = "primal"
    free: bool = False


@dataclass(frozen=True, slots=True)
class Alloc:
    """Fresh memory of the given shape; ``fill`` is "none", "zero" or "one".

    The memory belongs to the driver: an allocation is a parameter of the emitted kernel, which fills it if asked to.
    """

    base: Base
    dims: tuple[Atom, ...]
    fill: str = "none"
    line: int = 0
    part: str = "primal"


@dataclass(frozen=True, slots=True)
class Each:
    """A dense domain of independent iterations, in which all reads happen before all writes.

    ``axes`` are (index var, lo, count): lo, lo + 1, .. ; ``body`` holds only Let, Dim, Load and pure Ifs; ``stores`` are
    applied once an index.  ``order`` is "any" when every store is injective over the domain (or its adds commute by
    proof), else "seq": ascending row-major order.  ``sums`` are (result, initial value, terms): the terms of every index
    are added to the initial value one after the other, in row-major order (linear ones in any order that is always the
    same).
    """

    axes: tuple[tuple[Var, Atom, Atom], ...]
    body: Block
    stores: tuple[Store, ...]
    order: str = "any"
    sums: tuple[tuple[Var, Atom, tuple[Atom, ...]], ...] = ()
    line: int = 0
    part: str = "primal"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of another function of the module: scalars and bases in, scalars out; arrays are mutated in place.

    Its effects are part of it: ``writes`` are the places in ``args`` of the bases that the function may write, ``leaves``
    says whether it may leave by a Raise or a Need, in which case the caller leaves with the same status.
    """

    fn: str
    args: tuple[Atom | Base, ...]
    results: tuple[Var, ...]
    line: int = 0
    part: str = "primal"
    writes: tuple[int, ...] = ()
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class Foreign:
    """A call of compiled code that is not of the module: its text is unknown, its effects are these.

    ``key`` names it in :mod:`.registry`; ``args``, which it only reads, may hold None and tuples of arguments.  It returns a
    number, an array or a tuple: ``outs`` are (place in the tuple, or -1 where it returns that alone; an array that receives
    the result) and ``results`` the same for numbers; with ``fills`` it returns nothing, and takes the arrays that it writes after
    its arguments.  The whole body of a function is one of these, so that no pass meets it.
    """

    key: str
    args: tuple[object, ...]
    outs: tuple[tuple[int, Base], ...]
    results: tuple[tuple[int, Var], ...]
    mode: str = "set"
    complexes: tuple[Base, ...] = ()  # of args and outs: those whose last axis is the part of a complex number
    fills: bool = False
    line: int = 0
    part: str = "primal"


@dataclass(frozen=True, slots=True)
class If:
    """``if test: then else: orelse``; each phi is (var, value from then, value from orelse)."""

    test: Atom
    then: Block
    orelse: Block
    phis: tuple[tuple[Var, Atom, Atom], ...] = ()
    line: int = 0
    part: str = "primal"


@dataclass(frozen=True, slots=True)
class For:
    """``count`` iterations with ``var = lo + k * step``, k = 0, 1, ...

    ``carries`` are (var inside the body, initial value); the body ends by giving them the values ``yields``; after the
    loop the last of these are ``results``.  If ``stop`` is not None the loop ends after the first iteration in which it
    is true; ``trips`` is then the number of iterations run (an iteration that stops counts).

    ``team`` is None, or the memory of a team of threads and an estimate of the work: then the team may share the iterations
    (see :mod:`.shared`, which is the last to change a function).
    """

    var: Var
    lo: Atom
    count: Atom
    step: Atom
    carries: tuple[tuple[Var, Atom], ...]
    body: Block
    yields: tuple[Atom, ...]
    results: tuple[Var, ...]
    stop: Atom | None = None
    trips: Var | None = None
    line: int = 0
    part: str = "primal"
    team: tuple[Base, Atom] | None = None


@dataclass(frozen=True, slots=True)
class While:
    """``while test: body``; ``head`` computes ``test`` from the carries and is inert; ``trips`` counts runs of the body."""

    carries: tuple[tuple[Var, Atom], ...]
    head: Block
    test: Atom
    body: Block
    yields: tuple[Atom, ...]
    results: tuple[Var, ...]
    trips: Var
    stop: Atom | None = None
    line: int = 0
    part: str = "primal"


@dataclass(frozen=True, slots=True)
class Raise:
    """Leave the function with status ``code`` (> 0): a ``raise`` of the user's; ``site`` indexes the module's table."""

    site: int
    line: int = 0
    part: str = "primal"


@dataclass(frozen=True, slots=True)
class Need:
    """Leave the function with status NEED unless ``base`` (an arena) has at least ``size`` cells."""

    base: Base
    size: Atom
    line: int = 0
    part: str = "primal"


Stmt = Let | Dim | Load | Store | Alloc | Each | Call | Foreign | If | For | While | Raise | Need
Block = tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Fn:
    """A function: ``params`` are scalars by value and bases by reference, ``results`` scalars; one exit.

    ``rule``: it is a rule of somebody's, to whom (co)tangents are numbers like others: no statement of it is linear.
    """

    name: str
    params: tuple[Var | Base, ...]
    body: Block
    results: tuple[Atom, ...] = ()
    rule: bool = False


#: the parts of a statement that hold operands or statements
_PARTS: dict[type, tuple[str, ...]] = {
    kind: tuple(f.name for f in fields(kind) if f.type not in ("str", "int", "bool", "tuple[int, ...]"))
    for kind in (Let, Dim, Load, Store, Alloc, Each, Call, Foreign, If, For, While, Raise, Need)
}


_FLAT = frozenset({Let, Dim, Load, Store, Alloc, Call, Foreign, Raise, Need})  # statements without nested blocks


# ----------------------------------------------------------------------------------------------------------- queries
def blocks_of(s: Stmt) -> tuple[Block, ...]:
    """The blocks nested directly in a statement."""
    if type(s) in _FLAT:  # most are
        return ()
    if isinstance(s, If):
        return (s.then, s.orelse)
    if isinstance(s, For):
        return (s.body,)
    if isinstance(s, While):
        return (s.head, s.body)
    if isinstance(s, Each):
        return (s.body, s.stores)
    return ()


def walk(block: Block) -> Iterator[Stmt]:
    """Every statement of a block, nested ones included, outer before inner, in program order."""
    for s in block:
        yield s
        if type(s) not in _FLAT:
            for inner in blocks_of(s):
                yield from walk(inner)


def atoms_of(s: Stmt) -> Iterator[Atom]:
    """The atoms that a statement itself uses (those of nested blocks not included; yields and phis are)."""
    if isinstance(s, Let):
        yield from s.args
    elif isinstance(s, Load):
        yield from s.index
    elif isinstance(s, Store):
        yield from s.index
        yield s.value
    elif isinstance(s, Alloc):
        yield from s.dims
    elif isinstance(s, Each):
        for _, lo, count in s.axes:
            yield from (lo, count)
        for _, init, terms in s.sums:
            yield from (init, *terms)
    elif isinstance(s, Call):
        yield from (a for a in s.args if not isinstance(a, Base))
    elif isinstance(s, Foreign):
        yield from (a for a in _flat(s.args) if not isinstance(a, Base))
    elif isinstance(s, If):
        yield s.test
        for _, a, b in s.phis:
            yield a
            yield b
    elif isinstance(s, For):
        yield from (s.lo, s.count, s.step)
        if s.team is not None:
            yield s.team[1]
    elif isinstance(s, Need):
        yield s.size
    if isinstance(s, While):
        yield s.test
    if isinstance(s, (For, While)):
        yield from (a for _, a in s.carries)
        yield from s.yields
        if s.stop is not None:
            yield s.stop


def defined(s: Stmt) -> Iterator[Var]:
    """The variables that a statement defines in its own block."""
    if isinstance(s, (Let, Dim, Load)):
        yield s.var
    elif isinstance(s, Call):
        yield from s.results
    elif isinstance(s, Foreign):
        yield from (v for _, v in s.results)
    elif isinstance(s, If):
        yield from (v for v, _, _ in s.phis)
    elif isinstance(s, Each):
        yield from (v for v, _, _ in s.sums)
    elif isinstance(s, (For, While)):
        yield from s.results
        if s.trips is not None:
            yield s.trips


def inner_defined(s: Stmt) -> Iterator[Var]:
    """The variables that a compound statement defines at the head of its body (indices and carries)."""
    if isinstance(s, Each):
        yield from (v for v, _, _ in s.axes)
    elif isinstance(s, For):
        yield s.var
    if isinstance(s, (For, While)):
        yield from (v for v, _ in s.carries)


def bases_of(s: Stmt) -> Iterator[Base]:
    """The bases that a statement itself names."""
    if isinstance(s, (Load, Store, Alloc, Dim, Need)):
        yield s.base
    elif isinstance(s, Call):
        yield from (a for a in s.args if isinstance(a, Base))
    elif isinstance(s, Foreign):
        yield from (a for a in (*_flat(s.args), *(b for _, b in s.outs)) if isinstance(a, Base))
    elif isinstance(s, For) and s.team is not None:
        yield s.team[0]


def _flat(args: tuple[object, ...]) -> Iterator[Atom | Base]:
    """The arguments inside tuples of arguments."""
    for a in args:
        if isinstance(a, tuple):
            yield from _flat(a)
        elif a is not None:
            yield a  # type: ignore[misc]


def read_by(s: Foreign) -> Iterator[Base]:
    """The bases that foreign code reads."""
    yield from (a for a in _flat(s.args) if isinstance(a, Base))


def touches(s: Stmt, base: Base) -> bool:
    """Whether a statement, or one in it, reads or writes memory: more than its shape."""
    return any(base in bases_of(x) for x in walk((s,)) if not isinstance(x, Dim))


def written_by(s: Stmt) -> Iterator[Base]:
    """The bases whose contents a statement itself may change (nested blocks not included)."""
    if isinstance(s, (Store, Alloc)):
        yield s.base
    elif isinstance(s, Call):
        yield from (s.args[k] for k in s.writes)  # type: ignore[misc]
    elif isinstance(s, Foreign):
        yield from (b for _, b in s.outs)


def may_leave(s: Stmt) -> bool:
    """Whether a statement itself may leave the function (nested blocks not included)."""
    return isinstance(s, (Raise, Need)) or (isinstance(s, Call) and s.leaves)


def effects(params: Sequence[Var | Base], body: Block) -> tuple[tuple[int, ...], bool]:
    """The effects of a function, as a :class:`Call` of it has them: the places of the written parameters, and ``leaves``."""
    written = {b for s in walk(body) for b in written_by(s)}
    return tuple(k for k, p in enumerate(params) if p in written), any(may_leave(s) for s in walk(body))


def free_vars(block: Block) -> dict[Var, None]:
    """Variables that a block uses and does not define, in order of first use (a dict serves as an ordered set)."""
    bound = {v for s in walk(block) for v in (*defined(s), *inner_defined(s))}
    return {a: None for s in walk(block) for a in atoms_of(s) if isinstance(a, Var) and a not in bound}


# ---------------------------------------------------------------------------------------------------------- rewriting
def substitute(block: Block, atom: Callable[[Atom], Atom], base: Callable[[Base], Base] = lambda b: b) -> Block:
    """A copy of a block with every *used or defined* variable and every base mapped; ``atom`` must map Var to Var where
    the variable is defined in the block."""

    def value(x: object) -> object:
        if isinstance(x, (Var, Const)):
            return atom(x)
        if isinstance(x, Base):
            return base(x)
        if isinstance(x, tuple):
            found = tuple([value(i) for i in x])
            return x if all(map(is_, x, found)) else found
        return x if x is None or isinstance(x, int) else stmt(x)  # type: ignore[arg-type]

    def stmt(s: Stmt) -> Stmt:
        parts = _PARTS[type(s)]
        changes = {name: found for name in parts if (found := value(old := getattr(s, name))) is not old}
        return replace(s, **changes) if changes else s  # type: ignore[arg-type]

    return tuple(stmt(s) for s in block)


# ----------------------------------------------------------------------------------------------------------- printing
def show(x: Fn | Block, indent: int = 0) -> str:
    """Deterministic readable text of a function or block."""
    if isinstance(x, Fn):
        params = ", ".join(
            f"{p}: {p.dt}" + (f"[{','.join(':' * p.rank)}] {p.role}" if isinstance(p, Base) else "") for p in x.params
        )
        results = " -> " + ", ".join(map(str, x.results)) if x.results else ""
        return f"fn {x.name}({params}){results}\n" + show(x.body, 1)
    return "".join(_show(s, "    " * indent, indent) for s in x)


def _index(base: Base, index: tuple[Atom, ...]) -> str:
    return f"{base}[{', '.join(map(str, index))}]"


def _nested(a: object) -> str:
    return f"({', '.join(map(_nested, a))},)" if isinstance(a, tuple) else str(a)


def _carry(pairs: tuple[tuple[Var, Atom], ...]) -> str:
    return " carry(" + ", ".join(f"{v} = {a}" for v, a in pairs) + ")" if pairs else ""


def _ends(s: For | While, pad: str) -> str:
    text = ""
    if s.results:
        text += f"{pad}    yield {', '.join(map(str, s.yields))} -> {', '.join(map(str, s.results))}\n"
    if s.stop is not None:
        text += f"{pad}    stop {s.stop}\n"
    if s.trips is not None:
        text += f"{pad}    trips {s.trips}\n"
    return text


def _show(s: Stmt, pad: str, depth: int) -> str:
    tag = " ~" if s.part == "linear" else ""
    if isinstance(s, Let):
        return f"{pad}{s.var}: {s.var.dt} = {s.op}({', '.join(map(str, s.args))}){tag}\n"
    if isinstance(s, Dim):
        return f"{pad}{s.var} = dim({s.base}, {s.axis})\n"
    if isinstance(s, Load):
        return f"{pad}{s.var}: {s.var.dt} = {_index(s.base, s.index)}{tag}\n"
    if isinstance(s, Store):
        return f"{pad}{_index(s.base, s.index)} {'+=' if s.mode == 'add' else '='} {s.value}{tag}\n"
    if isinstance(s, Alloc):
        return f"{pad}alloc {s.base}: {s.base.dt}({', '.join(map(str, s.dims))}) fill {s.fill}{tag}\n"
    if isinstance(s, Call):
        return f"{pad}{', '.join(map(str, s.results)) or '_'} = call {s.fn}({', '.join(map(str, s.args))}){tag}\n"
    if isinstance(s, Raise):
        return f"{pad}raise site {s.site}\n"
    if isinstance(s, Need):
        return f"{pad}need {s.base} {s.size}\n"
    if isinstance(s, If):
        text = f"{pad}if {s.test}{tag}\n" + show(s.then, depth + 1)
        if s.orelse:
            text += f"{pad}else\n" + show(s.orelse, depth + 1)
        return text + "".join(f"{pad}phi {v} = {a} | {b}\n" for v, a, b in s.phis)
    if isinstance(s, Each):
        axes = ", ".join(f"{v} in {c}" if lo == Const(0, "i8") else f"{v} in {lo} + {c}" for v, lo, c in s.axes)
        text = f"{pad}each ({axes}) {s.order}{tag}\n" + show(s.body, depth + 1) + show(s.stores, depth + 1)
        return text + "".join(f"{pad}    sum {v} = {init} + {' + '.join(map(str, terms))}\n" for v, init, terms in s.sums)
    if isinstance(s, Foreign):
        got = [f"{'+' * (s.mode == 'add')}{x}@{k}" for k, x in (*s.outs, *s.results)]
        return f"{pad}{', '.join(got)} = foreign {s.key}({', '.join(map(_nested, s.args))}){tag}\n"
    if isinstance(s, For):
        head = f"{pad}for {s.var} in ({s.lo}, count {s.count}, step {s.step}){_carry(s.carries)}{tag}\n"
        return head + show(s.body, depth + 1) + _ends(s, pad)
    head = f"{pad}while {s.test}{_carry(s.carries)}{tag}\n"
    return head + show(s.head, depth + 2) + f"{pad}  do\n" + show(s.body, depth + 1) + _ends(s, pad)
