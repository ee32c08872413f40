"""Several rows at once, so that sums whose order is the user's do not wait for one another.

    for i: { s = a[i];  for j: s += f(i, j);  out[i] = g(s) }

adds once in the time an addition takes from its operands to its result.  Where neighbouring rows are neighbours in memory, the
loops change places, with a sum for every row of a chunk: the inner loop becomes vectors, as does what is made of the sums,

    for chunks of rows: { for i: sum[i] = a[i];  for j: for i: sum[i] += f(i, j);  for i: out[i] = g(sum[i]) }

and where they are not, four rows go through one inner loop side by side (unroll and jam).  The additions of a row are the same
ones in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from .build import Builder, Names, const
from .deadcode import remove_dead
from .gather import fresh
from .ir import (
    ONE,
    ZERO,
    Alloc,
    Atom,
    Base,
    Block,
    Each,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    atoms_of,
    defined,
    substitute,
    walk,
)  # fmt: skip
from .raising import independent
from .waiting import repeatable

__all__ = ["by_rows", "has_rows"]

_ROWS = 4
_CHUNK = 256  # rows whose sums are held: a few arrays of so many stay in the nearest cache
_FEW = 16  # rows that are better taken one after the other
_LARGEST = 60  # statements of a body that is written out five times


def has_rows(s: Stmt) -> bool:
    """Whether a statement is a loop of rows that are independent and hold sums of their own."""
    if not (isinstance(s, For) and s.part == "primal" and s.step == ONE and s.stop is None and s.trips is None and not s.carries):
        return False
    inside = {s.var, *(v for x in walk(s.body) for v in defined(x))}
    sums = [x for x in s.body if isinstance(x, Each)]
    if not sums or not all(_adds_up(x, inside) for x in sums) or sum(1 for _ in walk(s.body)) > _LARGEST:
        return False
    if not all(isinstance(x, (Each, Let, Load)) or (isinstance(x, If) and _pure(x)) or _sets(x) for x in s.body):
        return False
    return independent(s.body, [s.var])


def _adds_up(s: Each, inside: set[Var]) -> bool:
    """Whether an Each does nothing but add up what is cheap, over a range that is the same in every row."""
    if len(s.axes) != 1 or s.stores or not s.sums or s.part != "primal" or not repeatable(s.body):
        return False
    return inside.isdisjoint(s.axes[0][1:]) and not any(isinstance(x, If) for x in s.body)


def _pure(s: If) -> bool:
    return all(isinstance(x, (If, Let, Load)) for x in walk((*s.then, *s.orelse)))


def _sets(s: Stmt) -> bool:
    return isinstance(s, Store) and s.mode == "set"


def by_rows(
    s: For, names: Names, owner: bool, runs: Mapping[Atom, Atom], finish: Callable[[Block], Block]
) -> list[Stmt]:
    """Such a loop with many rows at once.  ``owner``: memory may be made for sums; ``runs`` are the counts of which some tests
    are whether they are positive; ``finish`` makes loops of what is no loop yet."""
    chunks = _Chunks(s, names, runs, finish)
    stages = chunks.interchanged() if owner else None
    if stages is not None:
        b = Builder(names)
        b.line = s.line
        test = b.op("ge", s.count, const(_FEW, "i8"))
        one_by_one = replace(s, body=finish(s.body))
        return [*b.stmts, If(test, tuple(chunks.statements(stages)), (one_by_one,), (), s.line, s.part)]
    stages = chunks.jammed() if owner else None
    return _jammed(s, names, finish) if stages is None else chunks.statements(stages)


def _renamed(body: Block, new: Mapping[Atom, Atom], names: Names) -> Block:
    """A copy of statements with new names for what they define, and ``new`` ones for other things."""
    return substitute(fresh(body, (), names)[0], lambda a: new.get(a, a))


# -------------------------------------------------------------------------------------------------- chunks, with sums in memory
class _Chunks:
    """The rows of a loop in chunks: stages that make the sums, and then what is made of them, for all rows of a chunk."""

    def __init__(self, s: For, names: Names, runs: Mapping[Atom, Atom], finish: Callable[[Block], Block]) -> None:
        self.s, self.names, self.runs, self.finish = s, names, runs, finish
        self.memory: dict[Var, Base] = {}  # the sums of all rows of a chunk
        self.first, self.length = names.var("t", "i8"), names.var("t", "i8")
        self.known: list[Stmt] = []  # what is known in a row, its sums loaded
        stored = {x.base for x in s.body if isinstance(x, Store)}
        self.apart = not any(isinstance(x, Load) and x.base in stored for x in walk(s.body))

    def statements(self, stages: Sequence[Stmt]) -> list[Stmt]:
        """What replaces the loop, with such stages in every chunk."""
        s = self.s
        b = Builder(self.names)
        b.line = s.line
        size = const(_CHUNK, "i8")
        many = b.op("floordiv", b.op("add", s.count, const(_CHUNK - 1, "i8")), size)
        chunk = self.names.var("chunk", "i8")
        with b.block(loop=True) as head:
            start = b.op("mul", chunk, size)
            b.add(Let(self.first, "add", (s.lo, start), s.line))
            b.add(Let(self.length, "min2", (b.op("sub", s.count, start), size), s.line))
        last = self._rows(self.known, tuple(x for x in self.known if isinstance(x, Store)))
        loop = For(chunk, ZERO, many, ONE, (), (*head, *stages, *self.finish((last,))), (), (), None, None, s.line, s.part)
        return [*(Alloc(base, (size,), "none", s.line, s.part) for base in self.memory.values()), *b.stmts, loop]

    def interchanged(self) -> list[Stmt] | None:
        """Stages with the rows as inner loops; None if neighbouring rows are not neighbours in memory."""
        stages: list[Stmt] = []
        for x in self.s.body if self.apart else ():
            if not isinstance(x, Each):
                self.known.append(x)
                continue
            stage = self._stage(x, self.known)
            if stage is None:
                break
            stages += stage
            self.known += [self._held(v) for v, _, _ in x.sums]
        else:
            return [*self.finish(tuple(stages))] if stages else None
        self.known, self.memory = [], {}
        return None

    def jammed(self) -> list[Stmt] | None:
        """Stages with several rows side by side; None if nothing that is worth it is made of the sums."""
        s = self.s
        last = max(k for k, x in enumerate(s.body) if isinstance(x, Each))
        if not self.apart or not any(isinstance(x, Let) and x.op in ("tanh", "div", "sqrt") for x in walk(s.body[last + 1 :])):
            return None
        sums = [v for x in s.body if isinstance(x, Each) for v, _, _ in x.sums]
        used = {a for x in walk(s.body) if not isinstance(x, Each) for a in atoms_of(x)}
        held = [v for v in sums if v in used]
        self.memory = {v: Base(self.names.fresh("held"), v.dt, 1, "local") for v in held}
        for x in s.body:
            self.known += [self._held(v) for v, _, _ in x.sums if v in held] if isinstance(x, Each) else [x]
        place = self.names.var("row", "i8")
        keep = [Store(base, (place,), v, "set", "never", s.line) for v, base in self.memory.items()]
        pure = tuple(x for x in s.body if not isinstance(x, Store))
        body = remove_dead((*pure, Let(place, "sub", (s.var, self.first), s.line), *keep), set(self.memory.values()))
        return _jammed(replace(s, lo=self.first, count=self.length, body=body), self.names, self.finish)

    def _stage(self, s: Each, before: Sequence[Stmt]) -> list[Stmt] | None:
        """The sums of one Each, for all rows of a chunk."""
        terms = [t for _, _, each in s.sums for t in each]
        found = self._running([*(x for x in before if not isinstance(x, Store)), *s.body], s)
        if found is None:
            return None
        body, new = found
        body = remove_dead(body, (), [new.get(t, t) for t in terms])
        moved = self._moved(body)
        if moved is None:
            return None
        held = [(Base(self.names.fresh("held"), v.dt, 1, "local"), self.names.var(v.name, v.dt)) for v, _, _ in s.sums]
        adding: list[Stmt] = [Load(total, base, (self._place,), "never", self.s.line) for base, total in held]
        ends: list[Store] = []
        for (base, total), (v, _, each) in zip(held, s.sums, strict=True):
            self.memory[v] = base
            for t in each:
                more = self.names.var(total.name, total.dt)
                adding.append(Let(more, "add", (total, new.get(t, t)), s.line))
                total = more
            ends.append(self._keep(base, total))
        start = self._rows(before, [self._keep(self.memory[v], init) for v, init, _ in s.sums])
        ((var, lo, count),) = s.axes
        same = tuple(x for x in body if moved.isdisjoint(defined(x)))
        inner = self._rows([*(x for x in body if x not in same), *adding], ends)
        own = self.names.var(var.name, "i8")
        inside = _renamed((*same, inner), {var: own}, self.names)
        return [start, For(own, lo, count, ONE, (), inside, (), (), None, None, s.line, s.part)]

    @property
    def _place(self) -> Var:
        """The place of a row in its chunk; defined by :meth:`_rows`."""
        return Var("row", "i8")

    def _held(self, v: Var) -> Load:
        return Load(v, self.memory[v], (self._place,), "never", self.s.line)

    def _keep(self, base: Base, value: Atom) -> Store:
        return Store(base, (self._place,), value, "set", "never", self.s.line)

    def _rows(self, body: Iterable[Stmt], stores: Sequence[Store]) -> Each:
        """Statements for all rows of a chunk."""
        place = Let(self._place, "sub", (self.s.var, self.first), self.s.line)
        needed = {x.base for x in stores}
        whole = remove_dead((place, *(x for x in body if not isinstance(x, Store)), *stores), needed)
        own = self.names.var(self.s.var.name, "i8")
        made = _renamed(whole, {self.s.var: own}, self.names)
        pure = tuple(x for x in made if not isinstance(x, Store))
        last = tuple(x for x in made if isinstance(x, Store))
        return Each(((own, self.first, self.length),), pure, last, "any", (), self.s.line, self.s.part)

    def _running(self, body: Iterable[Stmt], s: Each) -> tuple[Block, dict[Atom, Atom]] | None:
        """Statements where the loop of ``s`` runs, which branches ask, and what stands for the values of these; None if they
        ask something else."""
        new: dict[Atom, Atom] = {}
        out: list[Stmt] = []
        for x in body:
            if not isinstance(x, If):
                out.append(x)
            elif self.runs.get(x.test) == s.axes[0][2]:
                out += x.then
                new.update((v, new.get(a, a)) for v, a, _ in x.phis)
            else:
                return None
        return substitute(tuple(out), lambda a: new.get(a, a)), new

    def _moved(self, body: Block) -> set[Atom] | None:
        """What differs from row to row; None if what they load is neither the same for all nor neighbours."""
        moved: set[Atom] = {self.s.var, self._place}
        shifted: set[Atom] = {self.s.var, self._place}
        for x in body:
            if moved.isdisjoint(atoms_of(x)):
                continue
            if isinstance(x, Load) and (
                not moved.isdisjoint(x.index[:-1]) or x.index[-1] not in shifted or x.wrap != "never"
            ):  # fmt: skip
                return None
            if isinstance(x, Let) and x.op in ("add", "sub") and x.args[0] in shifted and x.args[1] not in moved:
                shifted.update(defined(x))
            moved.update(defined(x))
        return moved


# ------------------------------------------------------------------------------------------------------------ unroll and jam
def _jammed(s: For, names: Names, finish: Callable[[Block], Block]) -> list[Stmt]:
    """The loop by so many rows at once, and one for the rows that are left."""
    b = Builder(names)
    b.line = s.line
    size = const(_ROWS, "i8")
    many = b.op("floordiv", b.op("max2", s.count, ZERO), size)
    done = b.op("mul", many, size)
    group = names.var(s.var.name, "i8")
    with b.block(loop=True) as head:
        first = b.op("add", s.lo, b.op("mul", group, size))
        own = [first if k == 0 else b.op("add", first, const(k, "i8")) for k in range(_ROWS)]
    copies = [_renamed(s.body, {s.var: row}, names) for row in own]
    body: list[Stmt] = []
    for same in zip(*copies, strict=True):
        body += [_together(same)] if isinstance(same[0], Each) else same  # type: ignore[arg-type]
    whole = For(group, ZERO, many, ONE, (), (*head, *finish(tuple(body))), (), (), None, None, s.line, s.part)
    start, left = b.op("add", s.lo, done), b.op("sub", s.count, done)
    var = names.var(s.var.name, "i8")
    rest = finish(_renamed(s.body, {s.var: var}, names))
    return [*b.stmts, whole, replace(s, var=var, lo=start, count=left, body=rest)]


def _together(rows: Sequence[Each]) -> Each:
    """The sums of several rows as those of one Each."""
    ((var, _, _),) = rows[0].axes
    moved = [substitute((x,), lambda a, own=x.axes[0][0]: var if a == own else a)[0] for x in rows]  # type: ignore[misc]
    body = tuple(x for row in moved for x in row.body)  # type: ignore[union-attr]
    return replace(rows[0], body=body, sums=tuple(x for row in moved for x in row.sums))  # type: ignore[union-attr]
