"""Which names are read later: backward liveness of local names on the structured syntax tree.

Lowering merges and carries only live names, so that a temporary used in two loops is not a value that one hands the
other (which would make both look sequential).
"""

from __future__ import annotations

import ast

__all__ = ["Liveness", "assigned"]

Names = frozenset[str]
NONE: Names = frozenset()


def reads(node: ast.AST | None) -> Names:
    """Names loaded anywhere in an expression or target (``a[i] = x`` reads ``a`` and ``i``)."""
    if node is None:
        return NONE
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))


def binds(node: ast.AST) -> Names:
    """Names bound by an assignment target."""
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def assigned(body: list[ast.stmt]) -> list[str]:
    """Names bound anywhere in a list of statements, in order of first binding."""
    seen: dict[str, None] = {}
    for stmt in body:
        for n in ast.walk(stmt):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
                seen[n.id] = None
    return list(seen)


def _leaves_by(s: ast.If, kind: type[ast.stmt]) -> bool:
    """Whether an if contains a break (or continue) of the loop around it."""
    return any(isinstance(x, kind) or (isinstance(x, ast.If) and _leaves_by(x, kind)) for x in (*s.body, *s.orelse))


class Liveness:
    """``after[node]``: names live after a statement; ``head[node]``: names live where a loop's next test begins."""

    def __init__(self, body: list[ast.stmt]) -> None:
        self.after: dict[ast.AST, Names] = {}
        self.head: dict[ast.AST, Names] = {}
        self._block(body, NONE, NONE, NONE)

    def _block(self, body: list[ast.stmt], out: Names, brk: Names, cont: Names) -> Names:
        for stmt in reversed(body):
            out = self._stmt(stmt, out, brk, cont)
        return out

    def _stmt(self, s: ast.stmt, out: Names, brk: Names, cont: Names) -> Names:
        self.after[s] = out
        if isinstance(s, ast.Assign):
            for target in s.targets:
                out -= binds(target)
            return out.union(reads(s.value), *(reads(t) for t in s.targets))
        if isinstance(s, ast.AnnAssign):
            return (out - binds(s.target)) | reads(s.value) | reads(s.target)
        if isinstance(s, ast.AugAssign):
            return out | reads(s.value) | reads(s.target) | binds(s.target)
        if isinstance(s, ast.If):
            # what is live where a break or continue in it goes is live after it, too, on the paths that leave
            self.after[s] = out.union(brk if _leaves_by(s, ast.Break) else NONE, cont if _leaves_by(s, ast.Continue) else NONE)
            return self._block(s.body, out, brk, cont) | self._block(s.orelse, out, brk, cont) | reads(s.test)
        if isinstance(s, (ast.For, ast.While)):
            test = reads(s.test) if isinstance(s, ast.While) else NONE
            bound = binds(s.target) if isinstance(s, ast.For) else NONE
            head = out | test
            while True:  # to the fixpoint over the back edge
                top = self._block(s.body, head, out, head)
                new = head | (top - bound)
                if new == head:
                    break
                head = new
            self.head[s] = head
            return head | (reads(s.iter) if isinstance(s, ast.For) else NONE)
        if isinstance(s, ast.Break):
            return brk
        if isinstance(s, ast.Continue):
            return cont
        if isinstance(s, ast.Return):
            return reads(s.value)
        if isinstance(s, ast.Raise):
            return NONE
        if isinstance(s, (ast.Expr, ast.Assert)):
            return out | reads(s)
        return out
