"""The shipped table of result types is what the installed Numba says; ``python tests/derive/test_typing.py`` rewrites it."""

from __future__ import annotations

import itertools
import math
import pathlib
import textwrap
import warnings

import numba
import numpy as np
import pytest
from numba.core import compiler, compiler_machinery, errors, typed_passes

from adjointsim.derive import special, typing_table
from adjointsim.derive.rules import FIXED, FUNCTIONS, OPS, TYPED, result_dtype

NUMBA = {"b1": numba.boolean, "i4": numba.int32, "i8": numba.int64, "u8": numba.uint64, "f4": numba.float32, "f8": numba.float64}
DTYPES = tuple(NUMBA)
#: operations whose type is not asked for: an identity, the type of its target, and what takes arguments of one kind only
UNTYPED = {"copy", "cast", "noted", *TYPED}
FILE = pathlib.Path(typing_table.__file__)


class _Inferred(Exception):
    """Carries the result of type inference out of the compiler."""


@compiler_machinery.register_pass(mutates_CFG=False, analysis_only=True)
class _Stop(compiler_machinery.AnalysisPass):
    _name = "stop_after_inference"

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        raise _Inferred(state.return_type)


class _Inference(compiler.CompilerBase):
    """Numba's own front end and rewrites up to type inference, and no further (compilation is 20 times dearer)."""

    def define_pipelines(self):
        build = compiler.DefaultPassBuilder
        pm = build.define_untyped_pipeline(self.state)
        pm.add_pass(typed_passes.NopythonTypeInference, "type inference")
        pm.add_pass(_Stop, "stop")
        pm.finalize()
        return [pm]


def infer(template: str, dts: tuple[str, ...], literal: int | None = None, call: object = None) -> str:
    """The dtype Numba gives to the text of an operation, "" if it refuses."""
    names = [f"x{i}" for i in range(len(dts))]
    args = ["3" if i == literal else n for i, n in enumerate(names)]
    params = [n for i, n in enumerate(names) if i != literal]
    f = eval(f"lambda {', '.join(params)}: {template.format(*args)}", {"math": math, "np": np, "special": special, "call": call})
    given = tuple(NUMBA[d] for i, d in enumerate(dts) if i != literal)
    try:
        numba.njit(error_model="numpy", pipeline_class=_Inference)(f).compile(given)
    except _Inferred as found:
        type_ = numba.types.unliteral(found.args[0])
        return next((d for d, t in NUMBA.items() if t == type_), "")
    except errors.NumbaError:
        return ""
    raise AssertionError("the compiler went past type inference")


def combinations(op) -> list[tuple[str, ...]]:
    """The dtypes to ask for, the last argument fastest."""
    place, only = FIXED.get(op.name, (-1, ""))
    return list(itertools.product(*((only,) if i == place else DTYPES for i in range(len(op.params)))))


def ask(op) -> tuple[str, ...]:
    place, only = FIXED.get(op.name, (-1, ""))
    return tuple(infer(op.emit, dts, place if only == "i8" else None) for dts in combinations(op))


def generate() -> str:
    """The text of the table: operations with the same types share an entry."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for op in OPS.values():
        if op.name not in UNTYPED:
            groups.setdefault(ask(op), []).append(op.name)
    lines = []
    for found, names in groups.items():
        rows = ["".join(f"{d or '--'} " for d in found[i : i + 6]) for i in range(0, len(found), 6)]
        results = [" ".join(rows[i : i + 3]) for i in range(0, len(rows), 3)]
        lines.append("    (")
        for part in (textwrap.wrap(" ".join(names), 110), results):
            lines += [f'        "{line.strip()} "' for line in part[:-1]] + [f'        "{part[-1].strip()}",']
        lines.append("    ),")
    head, start, rest = FILE.read_text().partition("_TABLE = (\n")
    _, end, tail = rest.partition(")\n# fmt: on\n")
    return head + start + "\n".join(lines) + "\n" + end + tail


@pytest.fixture(scope="module", autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", [n for n in OPS if n not in UNTYPED])
def test_the_shipped_types_are_those_of_the_installed_numba(name):
    assert typing_table.RESULTS[name] == ask(OPS[name])


def test_every_operation_has_types_and_no_other():
    assert set(typing_table.RESULTS) | UNTYPED == set(OPS)


def test_result_dtype_answers():
    assert result_dtype("add", ("f4", "f4")) == "f4"
    assert result_dtype("mul", ("f4", "i8")) == "f8"  # not NumPy's answer
    assert result_dtype("powi", ("f4", "i8")) == "f4"
    assert result_dtype("select", ("b1", "f8", "f4")) == "f8"
    assert result_dtype("polygamma", ("i8", "f8")) == "f8"
    assert result_dtype("copy", ("i4",)) == "i4"
    assert result_dtype("normal", ("i8", "i8", "i8")) == "f8"
    with pytest.raises(TypeError, match="normal has no value"):
        result_dtype("normal", ("f8", "i8", "i8"))


@pytest.mark.parametrize(
    ("op", "dts"),
    [("band", ("f8", "i8")), ("select", ("i8", "f8", "f8")), ("powi", ("f8", "f8")), ("sin", ("c16",)), ("sin", ())],
)
def test_result_dtype_refuses(op, dts):
    with pytest.raises(TypeError, match=f"{op} has no value for arguments of dtype {', '.join(dts)}"):
        result_dtype(op, dts)


def compared(op) -> list[tuple[str, ...]]:
    """Arguments for which a function must have the type of its operation.

    Left out: booleans and integers of other widths, and a float32 with an integer, where Numba's ufuncs keep float32 and its
    operators give float64 (we take float64).
    """
    if op.name.startswith("l") and op.name[1:] in ("and", "or", "xor", "not"):
        return [("b1",) * len(op.params)]
    return [dts for dts in combinations(op) if {*dts} <= {"i8", "f4", "f8"} and not {*dts} >= {"i8", "f4"}]


@pytest.mark.parametrize("call", FUNCTIONS, ids=lambda c: f"{getattr(c, '__module__', 'numpy')}.{c.__name__}")
def test_functions_have_the_type_of_their_operation(call):
    op = OPS[FUNCTIONS[call]]
    text = "call(" + ", ".join(f"{{{i}}}" for i in range(len(op.params))) + ")"
    for dts in compared(op):
        theirs = infer(text, dts, call=call)
        assert not theirs or theirs == result_dtype(op.name, dts), dts  # we may accept more


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    FILE.write_text(generate())
