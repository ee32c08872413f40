"""What lowering knows while it walks: frames of the functions being lowered, errors at the user's line, allocation."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import DerivationError
from .build import Builder, Names
from .ir import ONE, Alloc, Atom, Base, Block, Const, For, If, Raise, Stmt, Var, While, is_float
from .liveness import Liveness
from .source import Source
from .spec import ones_of
from .values import Axis, Ref, Value, atoms_in, refs_in, shape_of

__all__ = [
    "BREAK",
    "CONTINUE",
    "EXIT",
    "GO_ON",
    "RET",
    "RETURN",
    "UNBOUND",
    "Context",
    "Env",
    "Frame",
    "RaiseSite",
    "WrittenParameter",
    "common_dtype",
    "with_sites",
    "wrap_of",
]

GO_ON, CONTINUE, BREAK, RETURN = (Const(k, "i8") for k in range(4))
EXIT, RET = "%exit", "%return"
Env = dict[str, Value]
NEVER = object()  #: the value returned by a path that raises
HELD = "%held"  #: names of operands that are evaluated and not used yet
UNBOUND = object()  #: a name that a loop body binds for the first time, where it is read before


@dataclass(frozen=True)
class RaiseSite:
    """Where a user's exception comes from: enough to raise it again from Python."""

    filename: str
    lineno: int
    function: str
    text: str  # the expression after ``raise``
    local: bool = False  # it names local values, which compiled code does not keep

    def literal(self) -> tuple[str, int, str, str]:
        return (self.filename, self.lineno, self.function, self.text)


class WrittenParameter(Exception):
    """A parameter's memory is written: the caller decides between a copy at entry and a refusal."""

    def __init__(self, base: Base, error: DerivationError) -> None:
        super().__init__(base.name)
        self.base, self.error = base, error


@dataclass
class Frame:
    """One function being lowered (inlined ones have frames of their own)."""

    source: Source
    live: Liveness
    env: Env = field(default_factory=dict)
    loops: int = 0  # how many loops are open
    current: ast.stmt | None = None  # the statement being lowered
    slots: set[Base] = field(default_factory=set)  # memory outside of loops for arrays that are returned from them
    lists: dict[Base, Any] = field(default_factory=dict)  # memory of lists that grow, and what it has room for


class Context:
    """The state of a lowering.

    ``capture(self, name, obj, node, source)`` is asked for every number or array found in a global, closure or module
    attribute; it answers with a Value (a hidden input).
    """

    def __init__(self, names: Names, capture: Callable[[Any, str, Any, ast.AST, Source], Value]) -> None:
        self.names = names
        self.b = Builder(names)
        self.capture = capture
        self.frames: list[Frame] = []
        self.dims: dict[Base, tuple[Atom, ...]] = {}  # of allocated bases
        self.ones: dict[Base, Sequence[int]] = {}  # axes of length 1 of bases that come from outside
        self.carriers: dict[Base, Base] = {}  # memory of rebound array names -> the array that the name had before the loop
        self.partners: dict[Base, set[Base]] = {}  # a copy that stands for an array -> that array, and the reverse
        self.sites: list[RaiseSite] = []
        self.outside: dict[tuple[Source, str], Any] = {}  # what names from outside meant
        self.merged: list[tuple[Base, Base, Base]] = []  # copies made where the branch being closed ends, with their sources
        self.changing: Collection[str] = ()  # names that the branch being closed binds
        self.leaving: tuple[Var | None, Var | None] = None, None  # how its sides end, if they may have left the function
        self.seen: list[Frame] = []  # every function entered
        self.writes = 0  # calls that have written arrays from outside of them
        self.singles: set[Atom] = set()  # lengths that are 1 or 0: of x[1:2], say
        self.inner: list[set[Var]] = []  # of each open loop, its index and what it carries

    # ------------------------------------------------------------------------------------------------------ helpers
    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    @property
    def env(self) -> Env:
        return self.frame.env

    @env.setter
    def env(self, env: Env) -> None:
        self.frame.env = env

    def error(self, message: str, node: ast.AST | None = None, kind: type[DerivationError] | None = None) -> DerivationError:
        source = self.frame.source
        return source.error(message, node, kind) if kind else source.error(message, node)

    def mark(self, node: ast.AST) -> None:
        """Statements written from here on come from this line (inlined code keeps the caller's line)."""
        if len(self.frames) == 1:
            self.b.line = getattr(node, "lineno", self.b.line)

    def site(self, node: ast.AST, text: str) -> int:
        source = self.frame.source
        names = {n.id for n in ast.walk(ast.parse(text, mode="eval")) if isinstance(n, ast.Name)}
        local = bool(names & {*source.fn.__code__.co_varnames, *source.fn.__code__.co_cellvars})
        self.sites.append(RaiseSite(source.filename, getattr(node, "lineno", 0), source.name, text, local))
        return len(self.sites) - 1

    # ------------------------------------------------------------------------------------------------------- aliases
    def seen_by(self, base: Base, besides: Collection[str] = ()) -> str | None:
        """A live name, in any frame, through which an array can be seen."""
        for frame in self.frames:
            live = frame.live.after.get(frame.current, frozenset()) if frame.current is not None else frozenset(frame.env)
            for name, value in frame.env.items():
                if (
                    (name in live or name.startswith(HELD))
                    and not (frame is self.frame and name in besides)
                    and any(r.base == base for r in refs_in(value))
                ):
                    return name
        return None

    def may_be(self, x: Base, y: Base) -> bool:
        """Whether two bases may stand for one array."""
        return x == y or y in self.partners.get(x, ())

    def link(self, x: Base, y: Base) -> bool:
        """From now on two bases may stand for one array: where both can be seen, neither may be written.  True if new."""
        if self.may_be(x, y):
            return False
        self.partners.setdefault(x, set()).add(y)
        self.partners.setdefault(y, set()).add(x)
        return True

    def stands_for(self, copy: Base, source: Base, besides: Collection[Base]) -> bool:
        """``copy`` may be ``source`` and whatever that may be; True if any of it is new."""
        new = [self.link(copy, z) for z in {source, *self.partners.get(source, ())} if z != copy and z not in besides]
        return any(new)

    def check(self, bad: Atom, node: ast.AST, text: str) -> None:
        """Leave with an exception if ``bad``."""
        if isinstance(bad, Const) and not bad.value:
            return
        self.b.add(If(bad, (Raise(self.site(node, text), self.b.line),), (), (), self.b.line))

    def shape(self, ref: Ref) -> tuple[Atom, ...]:
        """The lengths of an array's axes."""
        return tuple(self.length(ref.base, ref.axis(k)) if n is None else n for k, n in enumerate(ref.lens))

    def length(self, base: Base, axis: int) -> Atom:
        """The length of a base's axis."""
        known = self.dims.get(base)
        if known:
            return known[axis]
        return ONE if axis in self.ones.get(base, ()) else self.b.dim(base, axis)

    def single_axes(self, base: Base) -> tuple[int, ...]:
        """The axes of a base that are known to have length 1."""
        return ones_of(self.dims[base], ONE) if base in self.dims else tuple(self.ones.get(base, ()))

    def place(self, ref: Ref, at: Sequence[Atom]) -> tuple[Atom, ...]:
        """The base's index of a view's element."""
        return tuple(self.along(i, at[i.k]) if isinstance(i, Axis) else i for i in ref.index)

    def along(self, axis: Axis, at: Atom) -> Atom:
        """The base's index for an index along a view's axis."""
        if axis.step == Const(-1, "i8"):
            return self.b.op("sub", axis.lo, at)
        return self.b.op("add", self.b.op("mul", at, axis.step), axis.lo)  # i + c, as a person writes it

    def alloc(self, root: str, dt: str, dims: tuple[Atom, ...], fill: str) -> Ref:
        base = Base(self.names.fresh(root), dt, len(dims), "local")
        self.dims[base] = dims
        self.b.add(Alloc(base, dims, fill, self.b.line))
        return Ref.of(base)

    def element(self, src: Ref, at: Sequence[Atom]) -> Atom:
        """A view's element at indices within its axes."""
        return self.b.load(src.base, self.place(src, at), wrap=wrap_of(src))

    def unify(self, a: Value, c: Value, in_a: list[Stmt], in_c: list[Stmt]) -> tuple[tuple[Any, ...], list[tuple[Atom, Atom]]]:
        """Bring two values of one shape to common dtypes; casts are written at the end of either block."""
        pairs: list[tuple[Atom, Atom]] = []
        for x, y in zip(atoms_in(a), atoms_in(c), strict=True):
            dt = common_dtype(x.dt, y.dt)
            with self.b.into(in_a):
                x = self.b.cast(x, dt)
            with self.b.into(in_c):
                y = self.b.cast(y, dt)
            pairs.append((x, y))
        return shape_of(a), pairs

    # what the classes built on this one provide
    def value(self, node: ast.expr, root: str | None = None) -> Value:
        raise NotImplementedError

    def function(self, fn: Any, args: dict[str, Value], node: ast.AST | None = None) -> Value:
        raise NotImplementedError


def wrap_of(view: Ref) -> str:
    """Whether elements of a view within its axes may have a negative index of the base."""
    inside = all(isinstance(i, Axis) or (isinstance(i, Const) and i.value >= 0) for i in view.index)  # type: ignore[operator]
    return "never" if inside else "maybe"


def common_dtype(a: str, b: str) -> str:
    """The dtype of a name that has dtype ``a`` on one path and ``b`` on another (Numba's unification)."""
    if a == b:
        return a
    if is_float(a) or is_float(b):
        return "f4" if {a, b} <= {"f4", "b1"} else "f8"
    return "i8"


def with_sites(block: Block, first: int) -> Block:
    """The block with its raises counted from ``first``."""
    out = []
    for s in block:
        if isinstance(s, Raise):
            s = replace(s, site=s.site + first)
        elif isinstance(s, If):
            s = replace(s, then=with_sites(s.then, first), orelse=with_sites(s.orelse, first))
        elif isinstance(s, (For, While)):
            s = replace(s, body=with_sites(s.body, first))
        out.append(s)
    return tuple(out)
