"""Random programs in the language of scalars, array elements and array statements, as source text with arguments.

``programs()`` is a Hypothesis strategy of :class:`Program`; :func:`load` makes its function.  A program

* uses valid indices only (the generator tracks the interval of every integer), positive and negative;
* terminates: every ``while`` has a counter, every ``range`` is short;
* keeps values bounded and errors tame: each update is a smooth function with slopes of about one at most;
* compares floats with irrational constants only, so that no sample lies near a tie;
* never reads a variable or a cell that may be undefined.
"""

from __future__ import annotations

import hashlib
import linecache
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Any

import numpy as np
from hypothesis import strategies as st

__all__ = ["Program", "load", "programs"]

PREAMBLE = """\
import math

import numpy as np


def blend(v, w=0.25):
    if v > 0.6180339887:
        return 0.5 * (v + w)
    return math.sin(v) * 0.7 + 0.3 * w


def relax(z, v):
    for i in range(len(z)):
        z[i] += 0.4 * (v - z[i]) / (1.0 + z[i - 1] ** 2)
    return 0.25 * z[0] * z[-1]
"""

#: constants that floats are compared with, and constants for min and max
THRESHOLDS = (0.3141592653, -0.2718281828, 0.1414213562, -0.5772156649, 0.8660254037, -0.0693147180, 1.2020569031)
LIMITS = (0.1644934066, -0.4342944819, 0.5671432904, -0.9159655941)
TERMS = (
    "{v}", "0.5 * ({v} + {w})", "math.sin(0.6 * {v} + {w} * 0.4)", "1.5 * np.tanh(0.5 * {v} - {w} / 4.0)", "0.25 * {v} * {w}",
    "0.4 * {v} * {w} / (1.0 + {w} * {w})", "math.cos({v}) - 0.2 * {w}", "-({v})", "0.25 * ({v}) ** 2", "math.exp(-({v}) ** 2)",
    "0.5 * math.sqrt(1.0 + {v} * {v})", "abs({v} - 0.1234567) * 0.7", "max({v}, {d})", "np.minimum({d}, {v})",
    "math.atan({v}) * np.cos({w})", "({v} if {q} else {w})",
)  # fmt: skip
CALLS = ("blend({v}, {w})", "blend({v})", "blend(w={v}, v=0.5 * {w})")
CONDITIONS = (
    "{v} < {c}", "{v} > {c}", "{v} * {w} <= {c}", "{v} * {w} >= {c}", "-0.7390851332 < {v} < 0.5671432904", "{i} % 2 == 0",
    "{i} % 2 == 1", "{i} < {j}", "{i} != {j}", "{i} == {k}",
)  # fmt: skip
UPDATES = (
    "{x} = {t}", "{x} = {t}", "{x} += 0.5 * ({t} - {x})", "{x} *= 0.5 * math.cos({v}) + 0.25", "{x} /= 1.0 + ({v}) ** 2",
    "{x} -= 0.2 * {x} ** 3", "{x} = 0.5 * {x} * {v}",
)  # fmt: skip
SWAPS = ("{x}, {y} = {y}, {x}", "{x}, {y} = {y}, 0.5 * ({x} + {y})", "{x} = {y} = {t}")
#: of a vector {V} or {W} of the length that is wanted
VECTORS = (
    "{V}", "0.5 * ({V} + {W})", "np.sin(0.6 * {V} + {W} * 0.4)", "0.25 * {V} * {W}", "np.where({V} > {c}, {W}, 0.5 * {V})",
    "0.4 * {V} / (1.0 + {W} ** 2)", "0.5 * ({V} - {v})", "np.minimum({d}, {V})", "-{V}", "0.2 * np.cumsum({V})",
)  # fmt: skip
#: overwrite a part {T} of an array, by vectors {E} or numbers
STORES = (
    "{T} = {E}", "{T} = {E}", "{T} += 0.5 * ({E} - {T})", "{T} *= 0.5 * np.cos({V}) + 0.25", "{T} -= 0.2 * {T} ** 3", "{T} = {v}",
    "{T} /= 1.0 + {V} ** 2",
)  # fmt: skip
REDUCTIONS = (
    "{x} = 0.7 * np.tanh(np.sum({E}))", "{x} = 0.25 * ({V} * {W}).mean()", "{x} += 0.3 * np.tanh(np.dot({V}, {W}))",
    "{x} = 0.2 * np.sum(np.where({V} > {c}, {W}, 0.1))", "{x} -= 0.1 * ({E})[0]",
)  # fmt: skip
MASKED = ("{a}[{a} > {c}] = {d}", "{a}[{V} < {c}] = {v}", "{a}[{a} > {c}] *= 0.5", "{a}[({V} > {c}) | ({a} < {c})] = 0.25")
RESULTS = ("(x, s), (a, b)", "s, a, b", "a, s * y + x", "b, a, x", "s", "s + x * y - 0.5 * a[0] * a[-1]", "a", "b")
#: integer variables that are always reduced modulo this bound, so that their interval is known everywhere
MODULUS = 4


@dataclass(frozen=True)
class Program:
    """The text of a module that defines ``f``, and arguments for it."""

    source: str
    args: tuple

    def __repr__(self) -> str:
        return f"Program(args={self.args!r}, source='''\n{self.source}''')"


def load(program: Program | str) -> Callable[..., Any]:
    """The function ``f`` of a program; its text can be read with :mod:`inspect`."""
    source = program if isinstance(program, str) else program.source
    filename = f"<program {hashlib.sha256(source.encode()).hexdigest()[:12]}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    scope: dict[str, Any] = {"__name__": "program"}
    exec(compile(source, filename, "exec"), scope)
    return scope["f"]


_integers = lru_cache(None)(st.integers)


class _Writer:
    """Writes one function; every choice is drawn, so that Hypothesis can shrink it."""

    def __init__(self, draw: Callable, calls: bool, whole: bool) -> None:
        self.draw, self.calls, self.whole = draw, calls, whole
        self.lines: list[str] = []
        self.depth = 1
        self.floats: list[str] = []
        self.ints: dict[str, tuple[int, int]] = {}
        self.arrays: dict[str, tuple[int, ...]] = {}
        self.fixed: set[str] = set()  # integers that only their own loop may change
        self.loops = 0
        self.result = ""
        self.counter = 0
        self.budget = self.number(4, 16)

    # ------------------------------------------------------------------------------------------------- small choices
    def number(self, low: int, high: int) -> int:
        return self.draw(_integers(low, high))

    def pick(self, options: Collection[Any]) -> Any:
        options = list(options)
        return options[self.number(0, len(options) - 1)]

    def expand(self, template: str, **fixed: str) -> str:
        """Fill in a template: {v} and {w} atoms, {t} a term, {q} a condition, {c} and {d} constants, {i}, {j}, {k} integers."""
        makers = {"v": self.atom, "w": self.atom, "t": self.term, "q": self.condition, "i": self.integer, "j": self.integer}
        makers |= {"c": lambda: self.pick(THRESHOLDS), "d": lambda: self.pick(LIMITS), "k": lambda: self.number(0, 3)}
        wanted = dict.fromkeys(field for _, field, _, _ in Formatter().parse(template) if field)
        return template.format(**{field: fixed[field] if field in fixed else makers[field]() for field in wanted})

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    @contextmanager
    def block(self, loop: bool = False) -> Iterator[None]:
        """An indented block; what is first defined inside is forgotten afterwards."""
        floats, ints, arrays = list(self.floats), dict(self.ints), dict(self.arrays)
        self.depth += 1
        self.loops += loop
        yield
        self.depth -= 1
        self.loops -= loop
        self.floats, self.ints, self.arrays = floats, ints, arrays

    # --------------------------------------------------------------------------------------------------- expressions
    def index(self, size: int) -> str:
        """An integer expression in [-size, size)."""
        options = [str(c) for c in range(-size, size)]
        for name, (low, high) in self.ints.items():
            for text, lo, hi in (
                (name, low, high), (f"{name} - 1", low - 1, high - 1), (f"{name} + 1", low + 1, high + 1),
                (f"-1 - {name}", -1 - high, -1 - low), (f"{size - 1} - {name}", size - 1 - high, size - 1 - low),
            ):  # fmt: skip
                if -size <= lo and hi < size:
                    options += [text] * 3
            options.append(f"(2 * {name} + {self.number(0, 3)}) % {size}")
            options.append(f"({name} + {self.pick(self.ints)}) % {size} - {size}")
        return self.pick(options)

    def integer(self) -> str:
        return self.pick(self.ints)

    def cell(self) -> str:
        name = self.pick(self.arrays)
        return f"{name}[{', '.join(self.index(size) for size in self.arrays[name])}]"

    def atom(self) -> str:
        kind = self.number(0, 7)
        if kind <= 2:
            return self.pick(self.floats)
        if kind <= 5:
            return self.cell()
        return f"0.125 * {self.integer()}" if kind == 6 else str(self.number(-8, 8) / 8)

    def term(self) -> str:
        """A float expression, at most 2 in absolute value, with slopes of about one at most."""
        return self.expand(self.pick(TERMS + CALLS if self.calls else TERMS))

    def condition(self) -> str:
        if self.number(0, 4) == 0:
            return self.expand(self.pick(("{q} and {r}", "{q} or {r}", "not ({q})")), q=self.simple(), r=self.simple())
        return self.simple()

    def simple(self) -> str:
        return self.expand(self.pick(CONDITIONS))

    # -------------------------------------------------------------------------------------------------------- vectors
    def parts(self, name: str) -> list[tuple[str, int]]:
        """Views of one axis of an array, with their lengths."""
        *rows, size = self.arrays[name]
        found = [(f"{name}[{self.index(rows[0])}, {{}}]" if rows else f"{name}[{{}}]", size)]
        if rows:
            found.append((f"{name}[{{}}, {self.index(size)}]", rows[0]))
        texts = []
        for text, n in found:
            slices = [(":", n), ("::-1", n), ("::2", (n + 1) // 2), ("1:", n - 1), (":-1", n - 1), ("-2:", 2), (":2", 2)]
            slices += [(f"{i}:{i} + 2", 2) for i, (low, high) in self.ints.items() if 0 <= low and high + 2 <= n]
            texts += [(text.format(part), length) for part, length in slices if 0 < length <= n]
        return texts

    def vector(self, size: int) -> str:
        """A view of ``size`` elements, or as many equal ones."""
        fitting = [text for name in self.arrays for text, length in self.parts(name) if length == size]
        fitting += [name for name, shape in self.arrays.items() if shape == (size,)] * 2
        return self.pick(fitting) if fitting else f"np.full({size}, {self.atom()})"

    def fill(self, template: str, size: int, **fixed: str) -> str:
        """Fill in a template with vectors of a length."""
        names = [field for _, field, _, _ in Formatter().parse(template) if field]
        if "E" in names:
            fixed["E"] = self.fill(self.pick(VECTORS), size)
        return self.expand(template, **{name: self.vector(size) for name in ("V", "W") if name in names}, **fixed)

    # ---------------------------------------------------------------------------------------------------- statements
    def array_statement(self) -> None:
        """Slices, masks, reductions and operators in place."""
        name = self.pick(self.arrays)
        kind = self.number(0, 6)
        if kind <= 2:
            target, size = self.pick(self.parts(name))
            self.put(self.fill(self.pick(STORES), size, T=target))
        elif kind == 3:
            _, size = self.pick(self.parts(name))
            self.put(self.fill(self.pick(REDUCTIONS), size, x=self.pick(self.floats)))
        elif kind == 4 and len(self.arrays[name]) == 1:
            self.put(self.fill(self.pick(MASKED), self.arrays[name][0], a=name))
        elif kind == 5:
            _, size = self.pick(self.parts(name))
            new = self.fresh("v")
            self.put(f"{new} = {self.fill(self.pick(VECTORS), size)}")
            if self.lines[-1].endswith("]"):  # else it might be a view, and what is seen under two names must stay
                self.lines[-1] += " + 0.0"
            self.arrays[new] = (size,)
        else:
            form = self.pick(("{a} *= 0.75", "{a} += 0.1 * np.sin({a})", "{a}[1:] = 0.5 * {a}[:-1]", "{a} -= 0.3 * {v}"))
            self.put(self.expand(form, a=name))

    def each(self) -> None:
        """A loop over the elements of a vector, which it may change as it goes."""
        vectors = [name for name, shape in self.arrays.items() if len(shape) == 1]
        e, i = self.fresh("e"), self.fresh("i")
        name = self.pick(vectors)
        heads = (f"for {e} in {name}:", f"for {i}, {e} in enumerate({name}):", f"for {e} in {name}[::-1]:")
        head = self.pick(heads)
        self.put(head)
        with self.block(loop=True):
            self.floats.append(e)
            if head == heads[1]:
                self.ints[i] = (0, self.arrays[name][0] - 1)
                self.fixed.add(i)
            self.body()

    def update(self) -> None:
        """Overwrite a scalar or a cell."""
        target = self.cell() if self.number(0, 2) else self.pick(self.floats)
        self.put(self.expand(self.pick(UPDATES), x=target))

    def define(self) -> None:
        name = self.fresh("t")
        self.put(f"{name} = {self.term()}")
        self.floats.append(name)

    def define_in_both_branches(self) -> None:
        name = self.fresh("t")
        self.put(f"if {self.condition()}:")
        with self.block():
            self.put(f"{name} = {self.term()}")
            self.update()
        self.put("else:")
        with self.block():
            self.put(f"{name} = {self.term()}")
        self.floats.append(name)

    def swap(self) -> None:
        x, y = (self.pick(self.floats), self.pick(self.floats)) if self.number(0, 1) else (self.cell(), self.cell())
        self.put(self.expand(self.pick(SWAPS), x=x, y=y))

    def count(self) -> None:
        """Change a free integer variable, within its bound."""
        free = [name for name in self.ints if name not in self.fixed]
        if free:
            value = self.pick(("{x} + 1", "3 * {i} - {x}", "{i} // 2", "int(abs({v}) * 1.7 + 0.31)"))
            self.put(self.expand(f"{{x}} = ({value}) % {MODULUS}", x=self.pick(free)))

    def array(self) -> None:
        """A new array: a copy, an alias or fresh memory, written completely."""
        name, old = self.fresh("w"), self.pick(self.arrays)
        shape = self.arrays[old]
        kind = self.number(0, 4)
        if kind <= 1:
            self.put(f"{name} = {old}" if kind else f"{name} = {old}.copy()")
        elif kind == 2 or len(shape) > 1:
            self.put(f"{name} = {self.pick((f'np.zeros_like({old})', f'np.ones({shape})', f'np.zeros({old}.shape)'))}")
        else:
            i = self.fresh("i")
            self.put(f"{name} = np.empty({self.pick((f'len({old})', f'{old}.shape', f'{shape[0]}'))})")
            self.put(f"for {i} in range({shape[0]}):")
            with self.block():
                self.ints[i] = (0, shape[0] - 1)
                self.put(f"{name}[{i}] = {self.term()}")
        self.arrays[name] = shape

    def branch(self) -> None:
        self.put(f"if {self.condition()}:")
        with self.block():
            self.body()
        if self.number(0, 3) == 0:
            self.put(f"elif {self.condition()}:")
            with self.block():
                self.body()
        if self.number(0, 1):
            self.put("else:")
            with self.block():
                self.body()

    def for_loop(self) -> None:
        i = self.fresh("i")
        size = self.pick(self.arrays.values())[0]
        choices = [
            ("n", 0, 2, False), (f"{size}", 0, size - 1, True), (f"1, {size}", 1, size - 1, True), ("4, 0, -1", 1, 4, True),
            ("0, 5, 2", 0, 4, True), (f"{size - 1}, -1, -1", 0, size - 1, True), ("-3, 0", -3, -1, True), ("2, 2", 2, 2, False),
            ("2, n, -1", 1, 2, False),
        ]  # fmt: skip
        choices += [(f"{j} + 1", 0, hi, False) for j, (lo, hi) in self.ints.items() if 0 <= lo and hi <= 4]
        choices += [(f"{j}, 3", lo, 2, False) for j, (lo, hi) in self.ints.items() if 0 <= lo <= 2]
        bounds, low, high, runs = self.pick(choices)
        self.put(f"for {i} in range({bounds}):")
        with self.block(loop=True):
            self.ints[i] = (low, high)
            self.fixed.add(i)
            self.body()
        if runs:
            self.ints[i] = (low, high)  # its last value may be used

    def while_loop(self) -> None:
        k, trips = self.fresh("k"), self.number(1, 4)
        self.put(f"{k} = 0")
        self.put(self.expand(self.pick((f"while {k} < {trips}:", f"while {k} < {trips} and ({{q}}):"))))
        with self.block(loop=True):
            self.put(f"{k} += 1")
            self.ints[k] = (1, trips)
            self.fixed.add(k)
            self.body()
        self.ints[k] = (0, trips)

    def leave(self) -> None:
        """A guarded break, continue or return, sometimes after a last store."""
        how = self.pick(("break", "continue", "break", "return") if self.loops else ("return",))
        self.put(f"if {self.condition()}:")
        with self.block():
            if self.number(0, 1):
                self.update()
            self.put(f"return {self.result}" if how == "return" else how)

    def call(self) -> None:
        vectors = [name for name, shape in self.arrays.items() if len(shape) == 1]
        template = self.pick(("{x} = relax({z}, {v})", "relax({z}, {x})"))
        self.put(self.expand(template, x=self.pick(self.floats), z=self.pick(vectors)))

    def body(self) -> None:
        """One to four statements, fewer when the budget is short."""
        for _ in range(self.number(1, 4)):
            self.budget -= 1
            kinds = [self.update] * 6 + [self.define, self.swap, self.count, self.leave, self.define_in_both_branches]
            if self.calls:
                kinds.append(self.call)
            if self.loops == 0:
                kinds.append(self.array)
            if self.whole:
                kinds += [self.array_statement] * 5
                kinds += [self.each] * (self.depth <= 4 and self.budget > 0 and self.loops < 3)
            if self.depth <= 4 and self.budget > 0:
                kinds += [self.branch] * 3 + [self.while_loop] + [self.for_loop] * (4 if self.loops < 3 else 0)
            self.pick(kinds)()


@st.composite
def programs(draw: Callable, calls: bool | None = None, whole: bool | None = None) -> Program:
    """Programs ``f(a, b, x, y, n)``: two float arrays (``b`` of rank 1 or 2), two floats, an integer 0..3.

    ``calls`` says whether helper functions are called, and ``whole`` whether there are statements on whole arrays and their
    slices (None: drawn).  The result is a float, an array or a tuple.
    """

    def values(*shape: int) -> np.ndarray:
        size = math.prod(shape)
        ticks = draw(st.lists(st.integers(-9, 9), min_size=size, max_size=size))
        return np.array([0.1379 * k + 0.0193 for k in ticks]).reshape(shape)

    writer = _Writer(draw, *(draw(st.booleans()) if on is None else on for on in (calls, whole)))
    shapes = {"a": (writer.number(3, 5),), "b": writer.pick(((3,), (2, 3), (4,)))}
    writer.arrays, writer.ints, writer.floats = dict(shapes), {"n": (0, 3), "m": (0, MODULUS - 1)}, ["x", "y", "s"]
    writer.fixed.add("n")
    writer.result = writer.pick(RESULTS)
    writer.put("m = n")
    writer.put(f"s = {writer.pick(('0.0', 'x * y', 'a[0]', '0.5 * y'))}")
    while writer.budget > 0:
        writer.body()
    writer.put(f"return {writer.result}")
    head = PREAMBLE if writer.calls else PREAMBLE.partition("\n\n\ndef")[0] + "\n"
    source = f"{head}\n\ndef f(a, b, x, y, n):\n" + "\n".join(writer.lines) + "\n"
    args = (values(*shapes["a"]), values(*shapes["b"]), *map(float, values(2)), draw(st.integers(0, 3)))
    return Program(source, args)
