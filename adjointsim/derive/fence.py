"""The accepted language: one table of what is refused, one sentence each, and a walk that points at the line.

Everything not named here is lowered by :mod:`.lower`, which refuses calls and types that it does not know.
"""

from __future__ import annotations

import ast

from .source import Source

__all__ = ["REFUSED", "check"]

#: syntax that cannot be derived -> why, and what to do
REFUSED: dict[type[ast.AST], str] = {
    ast.Try: "try/except is not supported: derivatives of exception paths are not defined",
    ast.TryStar: "try/except* is not supported: derivatives of exception paths are not defined",
    ast.With: "'with' is not supported inside a step",
    ast.AsyncFunctionDef: "async code is not supported: write 'def'",
    ast.Yield: "generators are not supported: return the value instead",
    ast.YieldFrom: "generators are not supported: return the value instead",
    ast.GeneratorExp: "generator expressions are not supported: write a loop",
    ast.Global: "'global' is not supported: a step must not change anything but its own state; return the value instead",
    ast.Nonlocal: "'nonlocal' is not supported: a step must not change anything but its own state; return the value instead",
    ast.ClassDef: "a class definition is not supported inside a step",
    ast.FunctionDef: "a function defined inside a step is not supported: define it outside and call it",
    ast.Lambda: "a lambda inside a step is not supported: define a function outside and call it",
    ast.Dict: "dictionaries are not supported: use a NamedTuple or an array",
    ast.DictComp: "dictionaries are not supported: use a NamedTuple or an array",
    ast.Set: "sets are not supported",
    ast.SetComp: "sets are not supported",
    ast.JoinedStr: "f-strings are not supported inside a step, except as the message of a raise",
    ast.Import: "'import' is not supported inside a step: import at the top of the file",
    ast.ImportFrom: "'import' is not supported inside a step: import at the top of the file",
    ast.Delete: "'del' is not supported",
    ast.Match: "'match' is not supported: use if/elif",
    ast.Starred: "starred expressions are not supported",
    ast.NamedExpr: "':=' is not supported: assign on a line of its own",
}


def check(source: Source) -> None:
    """Refuse what the language does not contain.

    Raises UnsupportedError with the user's file, line and text.
    """
    node = source.node
    if isinstance(node, ast.AsyncFunctionDef):
        raise source.error(REFUSED[ast.AsyncFunctionDef], node)
    args = node.args
    if args.vararg or args.kwarg:
        raise source.error("*args and **kwargs are not supported: name every parameter", node)
    stack: list[ast.AST] = list(source.body)
    while stack:
        item = stack.pop()
        if isinstance(item, ast.Raise):
            continue  # an exception is made by Python from its text: its message may be anything
        sentence = REFUSED.get(type(item))
        if sentence:
            raise source.error(sentence, item)
        if isinstance(item, (ast.For, ast.While)) and item.orelse:
            raise source.error("'else' of a loop is not supported", item.orelse[0])
        if isinstance(item, ast.Assert):
            stack.append(item.test)
            continue
        if isinstance(item, ast.AnnAssign):
            stack.extend(x for x in (item.target, item.value) if x is not None)
            continue
        stack.extend(ast.iter_child_nodes(item))
