"""What cannot be derived is refused by name, with the user's file, line and text."""

from __future__ import annotations

import numpy as np
import pytest
from refused import REFUSED, Refused
from strategies import load

from adjointsim.derive import interp
from adjointsim.derive.api import function_kernel, raise_site
from adjointsim.derive.source import plain_function
from adjointsim.errors import DerivationError
from adjointsim.leaves import spec_of

from .harness import Derived

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


@pytest.mark.parametrize("entry", REFUSED, ids=lambda r: r.name)
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
