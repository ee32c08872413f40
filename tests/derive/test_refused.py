"""What cannot be derived is refused by name, with the user's file, line and text; and nothing but refused."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import misuse
import numpy as np
import pytest
from refused import REFUSED, Refused
from refused_custom import CUSTOM
from refused_expressions import ARGS, EXPRESSIONS
from refused_verbs import VERBS
from strategies import load

import adjointsim as adj
from adjointsim import derive as package
from adjointsim.derive import fence, interp
from adjointsim.derive.api import function_kernel, raise_site
from adjointsim.derive.context import Context
from adjointsim.derive.entry import lower_entry
from adjointsim.derive.kernel import vjp_kernel
from adjointsim.derive.source import Source, plain_function
from adjointsim.derive.verify import verify
from adjointsim.errors import DerivationError, SourceUnavailableError
from adjointsim.leaves import spec_of

from .harness import Derived, functions

PROGRAMS = [*REFUSED, *EXPRESSIONS, *CUSTOM, *VERBS]
#: refusals that no program reaches: the beginnings of their messages
UNREACHED = {
    "entry.py": ("an array that is made in a loop is used after it",),  # a guard: who lets such an array out is refused before
    "expr.py": ("{type(node).__name__} expressions are not supported",),  # what a later Python may bring, like the next
    "lower.py": ("{type(s).__name__} statements are not supported",),  # (3.12: type X = int, which has a program there)
}

#: names that are bound on some paths only are no reason to refuse: where they are not bound, Python's own error is raised
UNBOUND = {
    "after a branch": """
def f(x):
    if x > 1.0:
        y = x * x
    return y + x
""",
    "after a while loop": """
def f(x):
    while x < 0.5:
        x = x * 2.0
        y = x
    return x * y
""",
    "after a for loop": """
def f(x):
    for i in range(int(x)):
        y = x * i
    return y
""",
}  # fmt: skip


def derive(entry: Refused) -> None:
    """Derive the function of an entry, or the step."""
    fn = load(entry.source)
    specs = [spec_of(a, f"argument {k}") for k, a in enumerate(entry.args)]
    function_kernel(plain_function(fn), specs, role="step" if entry.step else "function")


@pytest.mark.parametrize("entry", PROGRAMS, ids=lambda r: r.name)
def test_refused(entry):
    with pytest.raises(DerivationError) as caught:
        derive(entry)
    error = caught.value
    lines = entry.source.splitlines()
    assert error.filename == load(entry.source).__code__.co_filename
    assert error.lineno in entry.linenos, f"line {error.lineno}: {lines[error.lineno - 1]}\n{error}"
    assert error.text == lines[error.lineno - 1]
    assert any(word.lower() in error.msg.lower() for word in entry.mentions), error.msg


@pytest.mark.parametrize("entry", REFUSED[:3], ids=lambda r: r.name)
def test_the_message_shows_where(entry):
    with pytest.raises(SyntaxError) as caught:
        derive(entry)
    first, text, message = str(caught.value).splitlines()
    assert first == f'File "{caught.value.filename}", line {caught.value.lineno}'
    assert text.strip() == caught.value.text.strip()
    assert message == caught.value.msg


def refusals() -> Iterator[tuple[str, range, str]]:
    """Every place of the deriver that makes a refusal: file, lines and text."""
    for path in sorted(Path(package.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "error" and path.name != "context.py":
                yield path.name, range(node.lineno, node.end_lineno + 1), ast.unparse(node.args[0])


def test_every_refusal_has_a_program(monkeypatch):
    """Whoever writes a new one, or makes one unreachable, is told here."""
    reached, said, error = set(), set(), Source.error

    def noted(self, message, *args):
        frame = sys._getframe(1)
        frame = frame.f_back if frame.f_code is Context.error.__code__ else frame
        reached.add((Path(frame.f_code.co_filename).name, frame.f_lineno))
        said.add(message)
        return error(self, message, *args)

    monkeypatch.setattr(Source, "error", noted)
    for entry in PROGRAMS:
        with pytest.raises(DerivationError):
            derive(entry)
    missing = [
        f"{name}:{lines[0]} {text}"
        for name, lines, text in refusals()
        if reached.isdisjoint((name, line) for line in lines) and not any(words in text for words in UNREACHED.get(name, ()))
    ]
    assert not missing, "without a program: " + "\n".join(missing)
    assert set(fence.REFUSED.values()) <= said


def check_misuse(seed: int) -> bool:
    """A program without sense is refused, or derived to something well-formed; whether it was."""
    source = misuse.program(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fn = load(source)
            entry = lower_entry(fn, [(name, spec_of(a, name)) for name, a in zip(fn.__code__.co_varnames, ARGS, strict=False)])
            kernel = vjp_kernel(entry, [path for path, base in entry.leaves if base.dt == "f8"])
        for made in functions(kernel).values():
            verify(made, functions(kernel))
    except DerivationError:
        return False
    except Exception as error:
        error.add_note(source)
        raise
    return True


@pytest.mark.parametrize("first", range(0, 500, 50))
def test_misuse(first):
    assert 0 < sum(map(check_misuse, range(first, first + 50))) < 50


@pytest.mark.heavy
@pytest.mark.skipif(os.environ.get("CORPUS") != "all", reason="takes minutes: CORPUS=all")
def test_much_misuse():
    for seed in range(1000, 20_000):
        check_misuse(seed)


@pytest.mark.parametrize(
    "shown, words",
    [
        (None, "its source text cannot be read (<shown>); put the function in a file, or give its text"),
        ("def f(x:\n", "<shown> does not parse; put the function in a file"),
        ("def f(x):\n    return 2.0 * x\n", "the text in <shown> is not what is running; was the file edited"),
    ],
)
def test_text_that_is_not_there(shown, words, monkeypatch):
    scope: dict = {}
    exec(compile("def f(x):\n    return x\n", "<shown>", "exec"), scope)
    if shown is not None:
        monkeypatch.setitem(linecache.cache, "<shown>", (len(shown), None, shown.splitlines(keepends=True), "<shown>"))
    with pytest.raises(SourceUnavailableError) as caught:
        function_kernel(scope["f"], [spec_of(0.5, "x")])
    assert words in caught.value.msg
    with pytest.raises(SourceUnavailableError, match="source= defines no function"):
        adj.step(source="x = 1")


@pytest.mark.parametrize("name", UNBOUND)
def test_names_that_are_not_bound_at_run_time(name):
    derived = Derived(load(UNBOUND[name]), (0.7,))
    primal = derived.primal(1)
    with pytest.raises(interp.StepRaised) as caught:
        interp.run({primal.fn.name: primal.fn}, primal.fn.name, [np.array([0.7]), np.zeros(1)])
    error = raise_site(derived.entry, caught.value.site + 1)
    assert isinstance(error, UnboundLocalError) and "'y'" in str(error)
    (note,) = error.__notes__
    assert f"line {len(UNBOUND[name].splitlines())}" in note
