"""The reverse of calls: a helper that records on the way there, and one that walks back.

``f_rec(args.., arenas..) -> results`` is the primal, recording; where nothing needs to be recorded the primal itself is
called.  ``f_rev(args.., shadows.., result_bars.., arenas..) -> arg_bars`` walks back.  Cotangents of arrays are added to in
place, those of scalars returned; the shadow of an array that f writes is the cotangent of its values after the call on
entry, and of those before it on exit.  The tops of the arenas live in memory, so that nothing is handed through.

A helper's body is reversed as a loop of exactly one iteration: which of its values are recorded, and which are replayed
from memory that is never overwritten, is decided as for any loop.  What the caller may overwrite after the call, or in a
later call from the same loop, is *volatile* for the helper.  There is one pair of functions for each set of active
arguments and at most three sets of volatile ones: two as they occur, and all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .analysis import Layout, varied
from .build import Names, zero
from .carried import carried
from .context import with_sites
from .deadcode import remove_dead
from .fission import split_loops
from .hoist import hoist
from .ir import (
    CAPTURED,
    ONE,
    ZERO,
    Alloc,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Each,
    Fn,
    For,
    Foreign,
    If,
    Load,
    Stmt,
    Store,
    Var,
    While,
    bases_of,
    defined,
    effects,
    free_vars,
    inner_defined,
    is_float,
    read_by,
    substitute,
    walk,
    written_by,
)  # fmt: skip
from .loops import each_to_loops
from .opaque import Opaque, Rule
from .outline import Helper
from .promote import promote
from .raising import raise_loops
from .ranges import mark_indices
from .reverse import Reverser, bar_name
from .setting import set_instead
from .tangent import outs_of

if TYPE_CHECKING:
    from .entry import Entry

__all__ = ["Calls", "unwrapped"]

Places = frozenset[int]  # of parameters


@dataclass(frozen=True)
class _Split:
    """What a call becomes; the parameters of ``rev`` are ``given`` (places in the call), shadows, bars and arenas."""

    rec: Fn | None  # None: the helper itself
    rec_arenas: tuple[str, ...]  # "f8", "i8" or "tops"
    rev: Fn | None  # None: nothing flows back
    given: tuple[int, ...] = ()
    shadows: tuple[int, ...] = ()
    bars: tuple[int, ...] = ()  # places of results
    rev_arenas: tuple[str, ...] = ()
    scalars: tuple[int, ...] = ()  # places of the arguments whose cotangents it returns


class Calls:
    """The helpers of an entry function, and the functions made of them for its reverse."""

    def __init__(self, entry: Entry, level: int) -> None:
        self.level = level
        helpers = entry.helpers
        self.helpers = {h.fn.name: h for h in helpers}
        self.opaques = {o.fn.name: o for o in entry.opaques}
        self.nonnegative = {
            entry.fn.name: set(entry.counters),
            **{o: set() for o in self.opaques},
            **{h.fn.name: set(h.nonnegative) for h in helpers},
        }
        self.bodies = {o.fn.name: o.fn for o in entry.opaques}
        self.names = {h.fn.name: h.names.copy() for h in helpers}  # with those of the loops that preparing makes
        self.bodies.update({h.fn.name: replace(h.fn, body=self._prepared(h)) for h in helpers})
        self.sums: list[Fn] = []
        self.made: list[Fn] = []
        self.lines = {
            entry.fn.name: entry.lines,
            **dict.fromkeys(self.opaques, ()),
            **{h.fn.name: h.source.lines for h in helpers},
        }
        self._splits: dict[tuple[str, Places], dict[Places, _Split]] = {}
        self._rules: dict[tuple[str, Places], Fn] = {}
        self._settled: dict[str, Places] = {}
        self._varied: dict[tuple[str, Places], tuple[Places, Places]] = {}

    def _prepared(self, helper: Helper) -> Block:
        names = self.names[helper.fn.name]
        body = each_to_loops(helper.fn.body, names)
        return hoist(body, names) if self.level else body

    def functions(self) -> list[Fn]:
        """The helpers themselves and what was made of them; what is called comes first."""
        return [*(self._finished(fn) for fn in self.bodies.values()), *self.made]

    def _finished(self, fn: Fn) -> Fn:
        writes, _ = effects(fn.params, fn.body)
        body = remove_dead(fn.body, [fn.params[k] for k in writes], fn.results)  # type: ignore[misc]
        return replace(fn, body=self._marked(body, fn.name))

    def _marked(self, body: Block, name: str) -> Block:
        return mark_indices(body, self.nonnegative[name]) if self.level else body

    # ------------------------------------------------------------------------------------------------------- summaries
    def varied(self, call: Call, active: Places) -> tuple[Places, Places]:
        """For the places of active arguments: the places of the results, and of the arrays, that vary."""
        key = call.fn, active
        if key not in self._varied:
            fn = self.bodies[call.fn]
            if call.fn in self.opaques:
                outs = outs_of(fn) if active - self.opaques[call.fn].silent else ()
                found = ([k for k, x in enumerate(xs) if x in outs] for xs in (fn.results, fn.params))
                self._varied[key] = tuple(map(frozenset, found))  # type: ignore[assignment]
                return self._varied[key]
            bases, given = _split_params(fn, active)
            scalars, memory = varied(fn.body, bases, given=given, callees=self)
            results = frozenset(k for k, r in enumerate(fn.results) if r in scalars)
            self._varied[key] = results, frozenset(k for k, p in enumerate(fn.params) if p in memory)
        return self._varied[key]

    def reads(self, s: Stmt) -> set[Base]:
        """The arrays whose contents a statement itself reads."""
        if isinstance(s, Load):
            return {s.base}
        if isinstance(s, Foreign):
            return set(read_by(s))
        if not isinstance(s, Call):
            return set()
        fn = self.bodies[s.fn] if s.fn in self.bodies else next(f for f in self.made if f.name == s.fn)
        inner = {b for st in walk(fn.body) for b in self.reads(st)} | self._meant(s.fn)
        return {a for a, p in zip(s.args, fn.params, strict=True) if isinstance(a, Base) and p in inner}

    def _meant(self, name: str) -> set[Base]:
        """The arrays on which the results of a custom function depend, whether or not its body reads them: derivatives with
        respect to the matrix of ``factored.lu_solve`` go through an argument that it takes for that alone."""
        own = self.opaques.get(name)
        return set() if own is None else {p for p in own.args if isinstance(p, Base) and is_float(p.dt)}

    def _reloaded(self, name: str) -> Places:
        """The places of the arrays of which a function reads what it does not overwrite afterwards, all of it or some cells:
        unless its caller does, that need not be recorded."""
        if name not in self._settled:
            fn = self.bodies[name]
            layout = Layout.of(fn.body)
            found = {b for s in walk(fn.body) for b in self.reads(s) if layout.settled(s, b)}
            found |= {s.base for s in walk(fn.body) if isinstance(s, Load) and layout.final(s)} | self._meant(name)
            self._settled[name] = frozenset(k for k, p in enumerate(fn.params) if p in found)
        return self._settled[name]

    def swept(self, body: Block) -> set[Base]:
        """Arrays that loops inside a body run over as a whole: accessed at indices all of which the loops vary."""
        found: set[Base] = set()
        for s in walk(body):
            if isinstance(s, Foreign):
                found.update(bases_of(s))
            elif isinstance(s, (For, While, Each)):
                own = {v for st in walk((s,)) for v in (*defined(st), *inner_defined(st))}
                for st in walk((s,)):
                    if isinstance(st, (Load, Store)) and all(a in own for a in st.index):
                        found.add(st.base)
                    elif isinstance(st, Call) and any(a in own for a in st.args):
                        found.update(bases_of(st))
            elif isinstance(s, Call) and s.fn in self.bodies:
                fn = self.bodies[s.fn]
                inner = self.swept(fn.body)
                found.update(a for a, p in zip(s.args, fn.params, strict=True) if isinstance(a, Base) and p in inner)
        return found

    def recorded(self, block: Block, inner: bool = False) -> int:
        """How many values the innermost loops inside of a recording block record in an iteration: what others record is little
        beside the work of an iteration."""
        total = 0
        inner = inner and not any(isinstance(s, (For, While, Each)) for s in walk(block))
        for s in block:
            if isinstance(s, Store):
                total += inner and s.base.role == "arena" and not s.base.name.startswith("tops")
            elif isinstance(s, (For, While)):
                total += self.recorded(s.body, True)
            elif isinstance(s, If):
                total += self.recorded((*s.then, *s.orelse), inner)
            elif isinstance(s, Call):
                total += sum(self.recorded(fn.body, inner) for fn in self.made if fn.name == s.fn)
        return total

    # --------------------------------------------------------------------------------------------------------- reversal
    def reverse(self, back: Reverser, s: Call) -> list[Stmt]:
        """Write the reverse of a call; returns what must run on the way there."""
        bars = [back.take(v) for v in s.results]
        active = frozenset(k for k, a in enumerate(s.args) if a in back.scalars or a in back.memory)
        if not active or (all(bar is None for bar in bars) and active.isdisjoint(s.writes)):
            return [s]
        if s.fn in self.opaques:
            return self._reverse_opaque(back, s, self.opaques[s.fn], bars, active)
        reloaded = self._reloaded(s.fn) if self.level else ()
        volatile = frozenset(k for k in reloaded if not back.layout.settled(s, s.args[k]))  # type: ignore[arg-type]
        split = self._split(s.fn, active, volatile)
        arenas = {**back.arenas, "tops": back.tops}
        if split.rev is not None:
            back.used.update(arenas[kind] for kind in split.rev_arenas)
            args: list[Atom | Base] = [s.args[k] for k in split.given]
            args += [back.shadow(s.args[k]) for k in split.shadows]  # type: ignore[arg-type]
            args += [bars[k] or zero(s.results[k].dt) for k in split.bars]
            args += [arenas[kind] for kind in split.rev_arenas]
            returned = [(s.args[k], split.rev.results[j]) for j, k in enumerate(split.scalars)]
            results = [back.b.new(bar_name(a) if isinstance(a, Var) else "t", r.dt) for a, r in returned]
            effect = effects(split.rev.params, split.rev.body)
            back.b.line = s.line
            back.b.add(Call(split.rev.name, tuple(args), tuple(results), s.line, "linear", *effect))
            for (a, _), bar in zip(returned, results, strict=True):
                back.add(a, bar)  # type: ignore[arg-type]
        if split.rec is None:
            return [s]
        back.used.update(arenas[kind] for kind in split.rec_arenas)
        writes, leaves = effects(split.rec.params, split.rec.body)
        given = (*s.args, *(arenas[kind] for kind in split.rec_arenas))
        return [replace(s, fn=split.rec.name, args=given, writes=writes, leaves=leaves)]

    def _reverse_opaque(self, back: Reverser, s: Call, opaque: Opaque, bars: list[Atom | None], active: Places) -> list[Stmt]:
        """The reverse of a call of a custom function: a call of its rule.  What the rule reads and somebody overwrites later
        is kept on the tape, and taken from there into memory of its own."""
        wanted = {k for k, p in enumerate(opaque.args) if k in active - opaque.silent and is_float(p.dt)}
        if not wanted:
            for b in (s.args[k] for k in s.writes):
                if b in back.memory:
                    back.zero_shadow(b)  # type: ignore[arg-type]
            return [s]
        rule, fn = opaque.vjp, self._rule(opaque, frozenset(wanted))
        assert rule is not None
        args: dict[Var | Base, Atom | Base] = dict(zip(rule.args, s.args, strict=False))
        arrays, numbers = iter(s.args[len(rule.args) :]), iter(zip(s.results, bars, strict=True))
        for p, seed in zip(rule.out, rule.seeds, strict=True):
            if isinstance(p, Base):
                args[p] = base = next(arrays)
                if seed is not None:
                    args[seed] = back.shadow(base)  # type: ignore[arg-type]
            else:
                args[p], bar = next(numbers)
                if seed is not None:
                    args[seed] = bar or zero(seed.dt)
        args.update((b, b) for b in opaque.captures)
        args.update((x, back.shadow(s.args[k])) for k, x in rule.made.items() if isinstance(x, Base) and k in wanted)  # type: ignore[arg-type]
        read = [p for p in (*rule.args, *rule.out) if p in fn.params and isinstance(p, Base)]
        kept = {p: args[p] for p in read if not self.level or not back.layout.settled(s, args[p])}  # type: ignore[arg-type]
        save, load = back.kept([b for b in dict.fromkeys(kept.values()) if isinstance(b, Base)], s.line)
        args.update((p, load[b]) for p, b in kept.items())  # type: ignore[index]
        returned = [k for k, x in rule.made.items() if not isinstance(x, Base) and k in wanted]
        results = [back.b.new(bar_name(a) if isinstance(a := s.args[k], Var) else "t", rule.args[k].dt) for k in returned]
        back.b.line = s.line
        given = tuple(args[p] for p in fn.params)
        back.b.add(Call(fn.name, given, tuple(results), s.line, "linear", *effects(fn.params, fn.body)))
        for b in (s.args[k] for k in s.writes):
            if b in back.memory:
                back.zero_shadow(b)  # type: ignore[arg-type]
        for k, bar in zip(returned, results, strict=True):
            back.add(s.args[k], bar)  # type: ignore[arg-type]
        return [s, *save]

    def _rule(self, opaque: Opaque, wanted: Places) -> Fn:
        """The rule of a custom function for the places of the arguments whose cotangents matter."""
        rule = opaque.vjp
        if rule is None:
            raise opaque.missing("defvjp")
        lacking = [opaque.args[k].name.split(".")[0] for k in sorted(wanted) if k not in rule.made]
        if lacking:
            raise opaque.missing("defvjp", f"gives None for {', '.join(lacking)}, whose derivative is needed")
        key = opaque.fn.name, wanted
        if key not in self._rules:
            name = f"{opaque.fn.name}_vjp{self._suffix(opaque.fn.name, 'vjp')}"
            memory = [x for k, x in rule.made.items() if isinstance(x, Base) and k in wanted]
            results = tuple(x for k, x in rule.made.items() if not isinstance(x, Base) and k in wanted)
            body = rule.fn.body
            if body and isinstance(body[0], Foreign):  # it computes all of them in any case
                body, results, params = self._foreign(body[0], rule, wanted)
            else:
                body = remove_dead(with_sites(body, opaque.first_site(rule)), memory, results)
                used = {*free_vars(body), *results, *(b for st in walk(body) for b in bases_of(st))}
                params = tuple(p for p in rule.fn.params if p in used)
                body = self._optimised(body, rule.names.copy(), name, opaque.fn.name)
            self._rules[key] = fn = Fn(name, params, body, results, rule=True)
            self.made.append(fn)
            self.lines[name] = rule.lines
        return self._rules[key]

    @staticmethod
    def _foreign(s: Foreign, rule: Rule, wanted: Places) -> tuple[Block, tuple[Atom, ...], tuple[Var | Base, ...]]:
        """A rule that is foreign code, for some of its results."""
        chosen = [x for k, x in rule.made.items() if k in wanted]
        outs = tuple(pair for pair in s.outs if pair[1] in chosen)
        numbers = tuple(pair for pair in s.results if pair[1] in chosen)
        s = replace(s, outs=outs, results=numbers)
        used = {*bases_of(s), *free_vars((s,))}
        return (s,), tuple(v for _, v in numbers), tuple(p for p in rule.fn.params if p in used)

    def _split(self, name: str, active: Places, volatile: Places) -> _Split:
        made = self._splits.setdefault((name, active), {})
        if volatile not in made and len(made) >= 2:
            volatile = frozenset(
                k for k, p in enumerate(self.bodies[name].params) if isinstance(p, Base) and p.role not in CAPTURED
            )
        if volatile not in made:
            made[volatile] = self._made(name, active, volatile)
        return made[volatile]

    def _made(self, name: str, active: Places, volatile: Places) -> _Split:
        fn, names = self.bodies[name], self.names[name].copy()
        results = tuple(names.var(self.helpers[name].root(r), r.dt) for r in fn.results)
        carries = tuple((names.var(r.name, r.dt), zero(r.dt)) for r in results)
        loop = For(names.var("once", "i8"), ZERO, ONE, ONE, carries, fn.body, fn.results, results)
        bases, given = _split_params(fn, active)
        layout = Layout.of((loop,), {p for k, p in enumerate(fn.params) if k in volatile and isinstance(p, Base)})
        scalars, memory = varied((loop,), bases, self.level == 0, given=given, callees=self)
        back = Reverser(names, name, (loop,), layout, scalars, memory, self.level, self)
        bars: dict[Var, int] = {}
        for k, r in enumerate(results):
            if r in scalars:
                back.loop.bars[r] = bar = back.b.new(bar_name(r), r.dt)
                bars[bar] = k
        shadows = {back.shadow(p): k for k, p in enumerate(fn.params) if isinstance(p, Base) and k in active}
        record, ends = unwrapped(tuple(back.statement(loop)))
        outs = {k: back.take(p) for k, p in enumerate(fn.params) if isinstance(p, Var) and k in active}
        returned = {k: out for k, out in outs.items() if out is not None}
        reverse, last = unwrapped(tuple(back.b.stmts))
        suffix = self._suffix(name, "rec", "rev")
        arenas = {**back.arenas, "tops": back.tops}
        rec, kinds = self._recording(fn, f"{name}_rec{suffix}", record, [ends.get(r, r) for r in results], arenas)
        out = tuple(last.get(a, a) for a in returned.values())
        reverse = remove_dead(reverse, [*shadows, back.tops], out)
        body = self._optimised(reverse, back.names, f"{name}_rev{suffix}", name, bars)
        if not body and not out:
            assert rec is None, "what is recorded is taken back"
            return _Split(rec, kinds, None)
        used = {*free_vars(body), *out, *(b for s in walk(body) for b in bases_of(s))}
        places = tuple(k for k, p in enumerate(fn.params) if p in used)
        mine = {shadow: k for shadow, k in shadows.items() if shadow in used}
        wanted = {bar: k for bar, k in bars.items() if bar in used}
        own = {kind: arena for kind, arena in arenas.items() if arena in used}
        params = (*(fn.params[k] for k in places), *mine, *wanted, *own.values())
        rev = Fn(f"{name}_rev{suffix}", params, body, out)
        self._keep(rev, name)
        return _Split(rec, kinds, rev, places, tuple(mine.values()), tuple(wanted.values()), tuple(own), tuple(returned))

    def iteration(self, block: Block, results: Sequence[Var], line: int, names: Names, root: str) -> Call:
        """An iteration of a loop of the function ``root`` as a function, and its call.

        Arrays that the block allocates are parameters, which the function fills; ``results`` are those of its values that
        are used after it, or others, which are none of its own.
        """
        made = {v for s in block for v in defined(s)}
        out = tuple(dict.fromkeys(v for v in results if v in made))
        bases = tuple(dict.fromkeys(b for s in walk(block) for b in bases_of(s)))
        own = {b: Base(b.name, b.dt, b.rank, "inout") if b.role == "local" else b for b in bases}
        params = (*free_vars(block), *own.values())
        name = f"{root}_iteration{self._suffix(root, 'iteration')}"
        body = substitute(block, lambda a: a, lambda b: own[b])
        body = remove_dead(body, {b for s in walk(body) for b in written_by(s)}, out)
        fn = Fn(name, params, self._optimised(body, names, name, root), out)
        self._keep(fn, root)
        return Call(name, (*free_vars(block), *bases), out, line, "primal", *effects(params, fn.body))

    def _suffix(self, name: str, *kinds: str) -> str:
        """What tells functions made of one from the others made of it, and from helpers."""
        number, suffix = 1, ""
        while any(f"{name}_{kind}{suffix}" in self.lines for kind in kinds):
            number += 1
            suffix = str(number)
        return suffix

    def _recording(
        self, fn: Fn, name: str, record: Block, results: Iterable[Atom], arenas: dict[str, Base]
    ) -> tuple[Fn | None, tuple[str, ...]]:
        """The function that records; None if nothing is."""
        results = tuple(results)
        writes, _ = effects(fn.params, fn.body)
        body = remove_dead(record, [*(fn.params[k] for k in writes), *arenas.values()], results)  # type: ignore[list-item]
        written = {b for s in walk(body) for b in written_by(s)}
        own = {kind: arena for kind, arena in arenas.items() if arena in written}
        if not own:
            return None, ()
        rec = Fn(name, (*fn.params, *own.values()), self._marked(body, fn.name), results)
        self._keep(rec, fn.name)
        return rec, tuple(own)

    def _optimised(self, body: Block, names: Names, name: str, root: str, bars: Collection[Var] = ()) -> Block:
        """The body of a function ``name`` made of the function ``root``; ``bars`` are its cotangents that are numbers."""
        if self.level:
            body = raise_loops(set_instead(self._marked(hoist(body, names), root)), names)
            body, sums = split_loops(body, names, name, bars=bars)
            body = carried(promote(body, names), names)
            self.sums += [replace(f, body=mark_indices(f.body, set())) for f in sums]
        return self._marked(body, root)

    def _keep(self, fn: Fn, name: str) -> None:
        assert all(s.base in fn.params for s in walk(fn.body) if isinstance(s, Alloc)), "memory belongs to the entry function"
        self.made.append(fn)
        self.lines[fn.name] = self.lines[name]


def _split_params(fn: Fn, places: Places) -> tuple[set[Base], set[Var]]:
    chosen = [p for k, p in enumerate(fn.params) if k in places]
    return {p for p in chosen if isinstance(p, Base)}, {p for p in chosen if isinstance(p, Var)}


def unwrapped(block: Block) -> tuple[Block, dict[Atom, Atom]]:
    """A block with its own loops of exactly one iteration written out, and what the results of these are."""
    out: list[Stmt] = []
    new: dict[Atom, Atom] = {}

    def now(a: Atom) -> Atom:
        return new.get(a, a)

    for s in block:
        s = substitute((s,), now)[0] if new else s
        if isinstance(s, For) and s.stop is None and s.trips is None and isinstance(s.count, Const) and s.count.value == 1:
            new.update({s.var: s.lo, **dict(s.carries)})
            out += substitute(s.body, now)
            new.update({r: now(y) for r, y in zip(s.results, s.yields, strict=True)})
        else:
            out.append(s)
    return tuple(out), new
