"""From a function object to its syntax tree, with the user's file and lines; and what the function refers to.

The text is trusted only if it compiles to the bytecode that the function object runs: a file edited after import would
otherwise give the gradient of a program that is not running.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ..errors import DerivationError, SourceUnavailableError, UnsupportedError

__all__ = ["MISSING", "Namespace", "Source", "plain_function", "read", "reachable"]

#: marks a name that resolves to nothing
MISSING: Any = object()


@dataclass(frozen=True, eq=False)
class Source:
    """A function with its syntax tree."""

    fn: types.FunctionType
    filename: str
    lines: tuple[str, ...] = field(repr=False)
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda = field(repr=False)
    text: str

    @property
    def name(self) -> str:
        return self.fn.__name__

    @property
    def body(self) -> list[ast.stmt]:
        if isinstance(self.node, ast.Lambda):
            return [ast.copy_location(ast.Return(value=self.node.body), self.node.body)]
        return self.node.body

    def cell(self, name: str) -> types.CellType:
        """The cell of a free name that is one of an enclosing function."""
        return self.fn.__closure__[self.fn.__code__.co_freevars.index(name)]  # type: ignore[index]

    def lookup(self, name: str) -> Any:
        """What a free name means now: closure cell, global or builtin; MISSING if nothing."""
        if name in self.fn.__code__.co_freevars:
            try:
                return self.cell(name).cell_contents
            except ValueError:
                return MISSING
        if name in self.fn.__globals__:
            return self.fn.__globals__[name]
        return getattr(builtins, name, MISSING)

    def error(
        self, message: str, node: ast.AST | int | None = None, kind: type[DerivationError] = UnsupportedError
    ) -> DerivationError:
        """An error that points at the user's line."""
        lineno = node if isinstance(node, int) else getattr(node, "lineno", None) or self.node.lineno
        offset = getattr(node, "col_offset", None)
        text = self.lines[lineno - 1] if 0 < lineno <= len(self.lines) else None
        return kind(f"{self.name}: {message}", self.filename, lineno, None if offset is None else offset + 1, text)


def plain_function(obj: Any) -> types.FunctionType | None:
    """The Python function behind a function, a Numba dispatcher or one of our own wrappers; None if there is none."""
    for _ in range(8):
        if isinstance(obj, types.FunctionType):
            return obj
        obj = getattr(obj, "py_func", None) or getattr(obj, "__adjointsim_function__", None)
        if obj is None:
            return None
    return None


_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Place = tuple[str, int]  # a function's name and first line


@lru_cache(maxsize=256)
def _parse(filename: str, text: str) -> tuple[dict[_Place, list[_Function]], dict[_Place, list[types.CodeType]]]:
    """The functions of a file and their code, by place: a file is walked once, however many of its functions are read."""
    nodes: dict[_Place, list[_Function]] = {}
    for node in ast.walk(ast.parse(text, filename)):
        if isinstance(node, _Function):
            name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
            nodes.setdefault((name, _first_line(node)), []).append(node)
    codes: dict[_Place, list[types.CodeType]] = {}
    for code in _codes(compile(text, filename, "exec", dont_inherit=True)):
        codes.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    return nodes, codes


def _same_code(a: types.CodeType, b: types.CodeType) -> bool:
    if (a.co_code, a.co_names, a.co_varnames, a.co_freevars) != (b.co_code, b.co_names, b.co_varnames, b.co_freevars):
        return False
    if len(a.co_consts) != len(b.co_consts):
        return False
    for x, y in zip(a.co_consts, b.co_consts, strict=True):
        if isinstance(x, types.CodeType) and isinstance(y, types.CodeType):
            if not _same_code(x, y):
                return False
        elif type(x) is not type(y) or repr(x) != repr(y):
            return False
    return True


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _first_line(node: _Function) -> int:
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])


def read(fn: types.FunctionType) -> Source:
    """The source of a function.

    Raises SourceUnavailableError if there is no text or if the text is not that of the running function.
    """
    code = fn.__code__
    filename = code.co_filename
    advice = "put the function in a file, or give its text: adj.step(source='def step(n, y, p): ...')"
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, fn.__globals__)
    if not lines:
        raise SourceUnavailableError(f"{fn.__name__}: its source text cannot be read ({filename}); {advice}")
    try:
        nodes, codes = _parse(filename, "".join(lines))
    except SyntaxError:  # IPython magics, or a file edited into something else
        raise SourceUnavailableError(f"{fn.__name__}: {filename} does not parse; {advice}") from None
    place = code.co_name, code.co_firstlineno
    if not any(_same_code(c, code) for c in codes.get(place, ())):
        wrong = f"{fn.__name__}: the text in {filename} is not what is running"
        message = f"{wrong}; was the file edited after it was imported? Restart or reload"
        if "@pytest_ar" in fn.__globals__:
            message = f"{wrong}: pytest rewrites the asserts of test modules; put the function in another module"
        raise SourceUnavailableError(message, filename, code.co_firstlineno)
    found = nodes.get(place, [])
    if len(found) > 1:  # several lambdas on a line: the column of the body tells them apart
        columns = {(p[0], p[2]) for p in code.co_positions() if p[2] is not None}
        found = [n for n in found if isinstance(n, ast.Lambda) and (n.body.lineno, n.body.col_offset) in columns]
    if len(found) != 1:
        raise SourceUnavailableError(f"{fn.__name__}: not found in {filename}; {advice}", filename, code.co_firstlineno)
    node = found[0]
    segment = "".join(lines[_first_line(node) - 1 : node.end_lineno])
    return Source(fn, filename, tuple(line.rstrip("\n") for line in lines), node, textwrap.dedent(segment))


class Namespace(dict[str, Any]):
    """The globals of generated functions: a name is given once, to what it will always mean."""


def from_text(text: str, filename: str, namespace: dict[str, Any]) -> types.FunctionType:
    """Define the one function of ``text`` and make its lines readable for :func:`read` and for tracebacks."""
    text = textwrap.dedent(text).strip("\n") + "\n"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    tree = ast.parse(text, filename)
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if not names:
        raise SourceUnavailableError("source= defines no function", filename, 1)
    exec(compile(tree, filename, "exec", dont_inherit=True), namespace)
    return namespace[names[-1]]


def free_names(source: Source) -> list[str]:
    """Names that the function reads from outside, in order of first appearance."""
    code = source.fn.__code__
    local = set(code.co_varnames) | set(code.co_cellvars)
    seen: dict[str, None] = {}
    for node in ast.walk(source.node):
        if isinstance(node, ast.Name) and node.id not in local:
            seen[node.id] = None
    return list(seen)


def reachable(fn: types.FunctionType, special: Callable[[Any], bool] = lambda obj: False) -> list[Source]:
    """The function and every plain or @njit function that it can call, by name or module attribute, in a fixed order.

    ``special`` marks objects that are not to be entered (functions with a rule of their own).
    """
    order: dict[types.FunctionType, Source] = {}

    def visit(f: types.FunctionType) -> None:
        if f in order:
            return
        source = read(f)
        order[f] = source
        for node in ast.walk(source.node):
            obj = MISSING
            if isinstance(node, ast.Name):
                obj = source.lookup(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = source.lookup(node.value.id)
                if isinstance(owner, types.ModuleType):
                    obj = getattr(owner, node.attr, MISSING)
            if obj is MISSING or special(obj):
                continue
            inner = plain_function(obj)
            if inner is not None:
                visit(inner)

    visit(fn)
    return list(order.values())
