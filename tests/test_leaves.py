"""Values and their leaves."""

from __future__ import annotations

import pickle
from collections import namedtuple
from typing import NamedTuple

import numpy as np
import pytest

from adjointsim.derive.spec import ArraySpec, NoneSpec, ScalarSpec, TupleSpec
from adjointsim.errors import StructureError
from adjointsim.forms import read, read_all
from adjointsim.leaves import (
    bar_leaves,
    finite,
    first_nonfinite,
    flatten,
    nbytes,
    require_like,
    shapes_of,
    spec_of,
    stacked_spec,
    unflatten,
    unflatten_bar,
    zeros_like_leaves,
)


class P(NamedTuple):
    c: float
    w: np.ndarray
    k: int = 3


Empty = namedtuple("Empty", "")


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        (1.5, ScalarSpec("f8")),
        (np.float64(1.5), ScalarSpec("f8")),
        (np.float32(1.5), ScalarSpec("f4")),
        (3, ScalarSpec("i8")),
        (np.int32(3), ScalarSpec("i4")),
        (np.int64(3), ScalarSpec("i8")),
        (True, ScalarSpec("b1")),
        (np.bool_(True), ScalarSpec("b1")),
        (np.array(2.0), ScalarSpec("f8")),
        (np.array(2, ">i4"), ScalarSpec("i4")),
        (None, NoneSpec()),
        (np.zeros((2, 3)), ArraySpec("f8", 2)),
        (np.zeros(3, ">f4"), ArraySpec("f4", 1)),
        (np.zeros((0, 3)), ArraySpec("f8", 2)),
        (np.zeros(2, bool), ArraySpec("b1", 1)),
        ((), TupleSpec(())),
        ((1.0, (None, 2)), TupleSpec((ScalarSpec("f8"), TupleSpec((NoneSpec(), ScalarSpec("i8")))))),
        (P(1.0, np.zeros(2)), TupleSpec((ScalarSpec("f8"), ArraySpec("f8", 1), ScalarSpec("i8")), P)),
        (Empty(), TupleSpec((), Empty)),
    ],
    ids=repr,
)
def test_structure_and_round_trip(value, spec):
    assert spec_of(value, "x") == spec
    leaves = flatten(value, spec, "x")
    for leaf in leaves:
        assert leaf.flags.carray
        assert leaf.dtype.isnative
    back = unflatten(spec, leaves)
    assert spec_of(back, "x") == spec
    assert type(back) is type(value) or np.ndim(value) == 0
    for a, b in zip(flatten(back, spec, "x"), leaves, strict=True):
        assert np.array_equal(a, b)


def test_scalars_come_back_as_python_numbers():
    assert type(unflatten(ScalarSpec("f8"), [np.ones(1)])) is float
    assert type(unflatten(ScalarSpec("i8"), [np.ones(1, np.int64)])) is int
    assert type(unflatten(ScalarSpec("b1"), [np.ones(1, bool)])) is bool
    assert type(unflatten(ScalarSpec("f4"), [np.ones(1, np.float32)])) is np.float32


class Series:
    """Stands for a pandas.Series."""

    def __array__(self, dtype=None, copy=None):
        return np.zeros(2)

    def to_numpy(self):
        return np.zeros(2)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.float16(1), ["float16", "float64 or float32"]),
        (np.zeros(2, np.float16), ["float16"]),
        (np.longdouble(1), [str(np.dtype(np.longdouble))]),
        (np.zeros(2, np.longdouble), [str(np.dtype(np.longdouble))]),
        (np.zeros(2, np.uint8), ["uint8"]),
        (np.array([1, None]), ["object"]),
        (np.clongdouble(1), [str(np.dtype(np.clongdouble))]),
        ("text", ["str"]),
        (np.array("text"), ["<U4"]),
        (np.datetime64("2020-01-01"), ["datetime64"]),
        ([1.0], ["list", "tuple", "np.array(p.c)"]),
        ({"a": 1.0}, ["dict", "NamedTuple"]),
        (Series(), ["Series", "p.c.to_numpy()"]),
        (np.ma.zeros(2), ["MaskedArray"]),
        (2**63, [str(2**63), "int64"]),
        (object(), ["object"]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_refused_by_name(bad, words):
    with pytest.raises(StructureError) as error:
        spec_of(P(bad, np.zeros(2)), "p")
    for word in ("p.c", *words):
        assert word in str(error.value)


def test_a_tuple_of_another_kind_is_refused():
    class Pair(tuple):
        pass

    with pytest.raises(StructureError, match=r"Got y\[1\] as a .*Pair, but expected a tuple"):
        spec_of((1.0, Pair((1.0, 2.0))), "y")


def frozen(a):
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        frozen(np.arange(3.0)),
        np.arange(3.0).astype(">f8"),
        np.frombuffer(bytearray(25), np.uint8)[1:].view(np.float64),  # unaligned
    ],
    ids=["strided", "fortran", "read-only", "big-endian", "unaligned"],
)
def test_unusual_arrays_are_copied(array):
    (leaf,) = flatten(array, spec_of(array, "y"), "y")
    assert leaf.flags.carray
    assert leaf.dtype == np.float64 and leaf.dtype.isnative
    assert np.array_equal(leaf, array)
    assert not np.shares_memory(leaf, array)


def test_leaves_are_not_copied_unless_asked():
    array = np.arange(3.0)
    spec = spec_of(array, "y")
    assert flatten(array, spec, "y")[0] is array
    assert not np.shares_memory(flatten(array, spec, "y", copy=True)[0], array)
    assert unflatten(spec, [array]) is array


def test_another_structure_is_refused_where_it_differs():
    spec = spec_of(P(1.0, np.zeros(2)), "p")
    with pytest.raises(StructureError, match="Got p.w of dtype int64, but expected float64"):
        flatten(P(1.0, np.zeros(2, int)), spec, "p")
    with pytest.raises(StructureError, match="Got p.w with structure "):
        flatten(P(1.0, np.zeros((2, 1))), spec, "p")
    with pytest.raises(StructureError, match=r"Got p with structure \(f8, f8\[:\], i8\), but expected P\("):
        flatten((1.0, np.zeros(2), 3), spec, "p")
    with pytest.raises(StructureError, match="Got p with structure None"):
        flatten(None, spec, "p")


def test_require_like():
    value = P(1.0, np.zeros(2))
    spec = spec_of(value, "p")
    shapes = shapes_of(flatten(value, spec, "p"))
    assert require_like(value, spec, shapes, "p")[1] is value.w
    narrow = require_like(P(np.float32(1.0), np.ones(2, np.float32)), spec, shapes, "p")
    assert [leaf.dtype.str[1:] for leaf in narrow] == ["f8", "f8", "i8"]
    with pytest.raises(StructureError, match=r"Got p.w of shape \(3,\), but expected shape \(2,\)"):
        require_like(P(1.0, np.zeros(3)), spec, shapes, "p")
    with pytest.raises(StructureError, match="Got p.c of dtype int64, but expected float64"):
        require_like(P(1, np.zeros(2)), spec, shapes, "p")
    with pytest.raises(StructureError, match="Got p with structure None"):
        require_like(None, spec, shapes, "p")


def test_bars_have_none_for_what_has_no_derivative():
    value = (P(1.0, np.zeros(2)), (1, True), None, 2.0)
    spec = spec_of(value, "y")
    bars = zeros_like_leaves(spec, shapes_of(flatten(value, spec, "y")))
    assert [None if b is None else b.shape for b in bars] == [(1,), (2,), None, None, None, (1,)]
    back = unflatten_bar(spec, bars)
    assert type(back[0]) is P
    assert back[0].c == 0.0 and back[0].k is None
    assert back[1:] == (None, None, 0.0)  # (1, True) has no derivative at all
    assert unflatten_bar(spec, [None] * 6) is None
    assert unflatten_bar(spec_of((), "p"), []) is None


def test_cotangents_given_by_the_user():
    value = P(np.float32(1.0), np.zeros((2, 1)))
    spec = spec_of(value, "y")
    shapes = shapes_of(flatten(value, spec, "y"))

    def bars(bar):
        return bar_leaves(bar, spec, shapes, "y_bar")

    for bar in (None, (None, None, None), P(0, None, "ignored")):
        c, w, k = bars(bar)
        assert (c.dtype, c.shape, w.shape, k) == (np.float32, (1,), (2, 1), None)
        assert not c.any() and not w.any()
    given = np.ones((2, 1), np.int64)
    c, w, _ = bars((2, given, None))
    assert c[0] == 2.0 and w.dtype == np.float64 and w.sum() == 2.0
    assert bars(P(0.0, w, 0))[1] is not w  # always new
    with pytest.raises(StructureError, match=r"Got y_bar.w of shape \(2,\), but expected shape \(2, 1\)"):
        bars((1.0, np.ones(2), None))
    with pytest.raises(StructureError, match=r"Got y_bar.c of shape \(1,\), but expected a number"):
        bars((np.ones(1), None, None))
    with pytest.raises(StructureError, match="Got y_bar.c of dtype complex128"):
        bars((np.complex128(1), None, None))
    with pytest.raises(StructureError, match="Got y_bar.w as a list"):
        bars((1.0, [1.0, 2.0], None))
    with pytest.raises(StructureError, match="Got y_bar as a tuple of 2 items"):
        bars((1.0, 2.0))
    with pytest.raises(StructureError, match="Got y_bar as a float"):
        bars(1.0)
    with pytest.raises(StructureError, match="Got p_bar as a float, but expected None"):
        bar_leaves(1.0, NoneSpec(), (), "p_bar")


def test_stacking_adds_an_axis():
    spec = spec_of((1.0, np.zeros((2, 2)), None), "o")
    assert stacked_spec(spec) == TupleSpec((ArraySpec("f8", 1), ArraySpec("f8", 3), NoneSpec()))


def test_the_first_non_finite_number():
    value = (np.zeros((2, 3)), 1.0, 7)
    spec = spec_of(value, "y")
    leaves = flatten(value, spec, "y")
    assert first_nonfinite(leaves, spec, "y") is None
    leaves[1][0] = np.inf
    assert first_nonfinite(leaves, spec, "y") == ("y[1]", (), np.inf)
    leaves[0][1, 2] = np.nan
    path, index, number = first_nonfinite(leaves, spec, "y")
    assert (path, index) == ("y[0]", (1, 2)) and np.isnan(number)
    assert first_nonfinite([None, None, None], spec, "y") is None


def test_bytes():
    assert nbytes([np.zeros(3), None, np.zeros(2, np.float32)]) == 32


MATRIX = np.array([[1 + 2j, 3.0], [0.5j, -1.0]])


@pytest.mark.parametrize("value", [1.5 - 2j, np.complex64(0.5 + 1j), MATRIX, np.ones(0, np.complex64)])
def test_complex_numbers_are_pairs_of_real_ones(value):
    spec = spec_of(value, "z")
    (leaf,) = flatten(value, spec, "z")
    assert leaf.dtype.kind == "f" and leaf.shape == (*np.shape(value), 2)
    assert np.array_equal(leaf[..., 0], np.real(value)) and np.array_equal(leaf[..., 1], np.imag(value))
    back = unflatten(spec, [leaf])
    assert np.array_equal(back, value) and np.asarray(back).dtype == np.asarray(value).dtype
    if isinstance(value, np.ndarray) and value.size:
        assert np.shares_memory(leaf, value) and np.shares_memory(back, value)
        assert flatten(value, spec, "z", copy=True)[0] is not leaf
        (strided,) = flatten(value.T[::-1], spec, "z")
        assert np.array_equal(unflatten(spec, [strided]), value.T[::-1])
    (bar,) = bar_leaves(2.0 * np.real(value), spec, (leaf.shape,), "z_bar")
    assert np.array_equal(bar[..., 0], 2.0 * np.real(value)) and not bar[..., 1].any()


def test_where_a_complex_number_is_not_finite():
    spec = spec_of((1.0, np.zeros(3, complex)), "y")
    leaves = flatten((1.0, np.array([1.0, 2.0 + np.inf * 1j, 0.0])), spec, "y")
    path, index, value = first_nonfinite(leaves, spec, "y")
    assert (path, index) in {("y[1].imag", (1,)), ("y[1].real", (1,))} and not np.isfinite(value)


def test_numbers_that_are_finite():
    large = np.full((2, 3), 1e308)  # whose sum is not
    assert finite([large, None, np.array([2**62, 2**62]), np.zeros(0)])
    for wrong in (np.nan, np.inf, -np.inf):
        for count in (3, 1000):
            leaf = np.ones(count)
            leaf[1] = wrong
            assert not finite([large, leaf])
    assert not finite([np.array([np.inf, -np.inf], np.float32)])


def test_numbers_are_read_together():
    value = (1.5, P(2.0, np.arange(3.0), 7), np.float32(0.5), True, ((), None, 3.0))
    form, leaves, numbers = read_all(value, "v", True)
    assert [leaf.tolist() for leaf in leaves] == [[1.5], [2.0], [0.0, 1.0, 2.0], [7], [0.5], [True], [3.0]]
    assert [leaf.dtype.str[1:] for leaf in leaves] == ["f8", "f8", "f8", "i8", "f4", "b1", "f8"]
    assert sum(part.size for part in numbers) == 9 and len(numbers) == 5
    assert all(any(np.shares_memory(leaf, part) for part in numbers) for leaf in leaves)
    assert not np.shares_memory(leaves[2], value[1].w)
    assert read(value, "v")[0] is form
    assert pickle.loads(pickle.dumps(form)) is form
