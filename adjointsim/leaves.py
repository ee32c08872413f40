"""Values and their leaves: a state, a parameter set or an argument as a flat list of arrays, and back.

A *leaf* is a C-contiguous, aligned, writable array in native byte order.  A scalar is a leaf of shape ``(1,)``.  A
*bar* list has the same order, with None for the leaves that carry no derivative (integers and bools, or not asked for).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from adjointsim.derive.spec import (
    ArraySpec,
    ComplexSpec,
    NoneSpec,
    ScalarSpec,
    Spec,
    TupleSpec,
    differentiable,
    leaf_specs,
    leaves_of,
    ones_of,
    shapeless,
)
from adjointsim.errors import StructureError

__all__ = [
    "Bars", "Leaves", "Shapes", "bar_leaves", "builder", "finite", "first_nonfinite", "flatten", "leaves_in", "nbytes", "overlap",
    "parts", "reader", "require_like", "shapes_of", "spec_of", "stacked_spec", "unflatten", "unflatten_bar", "with_dots",
    "with_tangent", "zeros_like_leaves",
]  # fmt: skip

T = TypeVar("T")
Leaves = list[np.ndarray]
Bars = list[np.ndarray | None]
Shapes = tuple[tuple[int, ...], ...]

_CODES = {np.dtype(name): name for name in ("f8", "f4", "i8", "i4")} | {np.dtype(bool): "b1"}
_COMPLEX = {np.dtype(np.complex128): "c16", np.dtype(np.complex64): "c8"}
_ACCEPTED = "float64 or float32, complex128 or complex64 (int64, int32 and bool ride along without a derivative)"
_STRUCTURES = f"a number, an array of {_ACCEPTED}, a tuple or NamedTuple of these, or None"
_FEW = 64  # numbers that are summed, which may overflow but hides no NaN and no Inf: an operation on arrays takes longer
_NUMBERS = {float: ScalarSpec("f8"), bool: ScalarSpec("b1")}


# ------------------------------------------------------------------------------------------------ structures of values
def spec_of(value: Any, path: str) -> Spec:
    """The structure of ``value``; ``path`` is its name in messages.

    Raises StructureError, naming the leaf, for anything but numbers and arrays of the accepted dtypes, tuples,
    NamedTuples and None.
    """
    if type(value) in _NUMBERS:
        return _NUMBERS[type(value)]
    if isinstance(value, np.ndarray):
        if isinstance(value, (np.ma.MaskedArray, np.matrix)):
            raise StructureError(f"Got {path} as a {_type_name(value)}, but expected a plain array: np.asarray({path})")
        if value.dtype.kind == "c":
            return ComplexSpec(_code(value.dtype, path), value.ndim, ones_of(value.shape))
        code = _code(value.dtype, path)
        return ArraySpec(code, value.ndim, ones_of(value.shape)) if value.ndim else ScalarSpec(code)
    if value is None:
        return NoneSpec()
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise StructureError(f"Got {path}={value}, but expected an integer that fits int64")
        return ScalarSpec("i8")
    if isinstance(value, complex) and not isinstance(value, np.generic):
        return ComplexSpec("c16", 0)
    if isinstance(value, np.complexfloating):
        return ComplexSpec(_code(value.dtype, path), 0)
    if isinstance(value, np.generic):
        return ScalarSpec(_code(value.dtype, path))
    if isinstance(value, float):
        return ScalarSpec("f8")
    if isinstance(value, tuple):
        fields = getattr(type(value), "_fields", None)
        if fields is None and type(value) is not tuple:
            raise StructureError(f"Got {path} as a {_type_name(value)}, but expected a tuple or a NamedTuple: tuple({path})")
        names = [f"{path}.{field}" for field in fields] if fields is not None else [f"{path}[{k}]" for k in range(len(value))]
        return TupleSpec(tuple(map(spec_of, value, names)), None if fields is None else type(value))
    raise StructureError(f"Got {path} as a {_type_name(value)}, but expected {_STRUCTURES}{_repair(value, path)}")


def _code(dtype: np.dtype, path: str) -> str:
    native = dtype if dtype.isnative else dtype.newbyteorder("=")
    code = _CODES.get(native) or _COMPLEX.get(native)
    if code is None:
        raise StructureError(f"Got {path} of dtype {dtype}, but expected {_ACCEPTED}")
    return code


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _repair(value: Any, path: str) -> str:
    """The call that would turn ``value`` into something accepted."""
    if isinstance(value, list):
        return f": use a tuple for a structure, np.array({path}) for numbers"
    if isinstance(value, dict) or hasattr(value, "__dataclass_fields__"):
        return ": use a NamedTuple"
    if hasattr(value, "to_numpy"):
        return f": pass {path}.to_numpy()"
    if hasattr(value, "__array__"):
        return f": pass np.asarray({path})"
    return ""


def stacked_spec(spec: Spec) -> Spec:
    """The structure of several values stacked along a new first axis."""
    if isinstance(spec, TupleSpec):
        return TupleSpec(tuple(map(stacked_spec, spec.items)), spec.cls)
    if isinstance(spec, NoneSpec):
        return spec
    if isinstance(spec, ComplexSpec):
        return ComplexSpec(spec.dt, spec.rank + 1)
    return ArraySpec(spec.dt, (spec.rank if isinstance(spec, ArraySpec) else 0) + 1)


class _WithTangent(NamedTuple):
    """The class of the structure of a value with its tangent."""

    value: Any
    tangent: Any


def with_tangent(spec: Spec, lanes: int = 1) -> Spec:
    """The structure of a value and its tangent, or so many: the leaves, and then again the floating ones."""
    return TupleSpec((spec, *[_floats(spec)] * lanes), _WithTangent if lanes == 1 else None)


def _floats(spec: Spec) -> Spec:
    if isinstance(spec, TupleSpec):
        return TupleSpec(tuple(map(_floats, spec.items)), spec.cls)
    return spec if not isinstance(spec, NoneSpec) and differentiable(spec) else NoneSpec()


def with_dots(leaves: Sequence[T], dots: Iterable[T | None]) -> list[T]:
    """Leaves and then the tangents of the floating ones; there is None for the others."""
    return [*leaves, *(dot for dot in dots if dot is not None)]


def _paths(spec: Spec, name: str) -> list[tuple[str, ScalarSpec | ArraySpec]]:
    """The leaves with their paths; those of a tangent of y are called y_dot."""
    if isinstance(spec, TupleSpec) and spec.cls is _WithTangent:
        return [*leaf_specs(spec.items[0], name), *leaf_specs(spec.items[1], f"{name}_dot")]
    return list(leaf_specs(spec, name))


# --------------------------------------------------------------------------------------------------- values and leaves
def flatten(value: Any, spec: Spec, path: str, *, copy: bool = False) -> Leaves:
    """The leaves of ``value``, whose structure must be ``spec`` but for lengths (else StructureError).

    An array that is a leaf already is returned as it is, unless ``copy``; read-only, strided, unaligned and byte-swapped
    arrays are copied.
    """
    got = spec_of(value, path)
    if got != spec and shapeless(got) != shapeless(spec):
        raise StructureError(_difference(shapeless(got), shapeless(spec), path))
    return leaves_in(value, spec, copy)


def leaves_in(value: Any, spec: Spec, copy: bool) -> Leaves:
    """What :func:`flatten` gives for a value that is known to have this structure."""
    return reader(spec)(value, copy)[0]


@lru_cache(maxsize=256)
def reader(spec: Spec) -> Callable[[Any, bool], tuple[Leaves, Leaves]]:
    """What :func:`leaves_in` does for a structure, as a function of the value and of whether to copy; and all numbers in fewer
    arrays, for those of one dtype are read together.

    A text for each structure: going through a structure takes longer than reading it.
    """
    lines: list[str] = []
    scope: dict[str, Any] = {"array": np.array, "leaf_of": _leaf, "real": real_view}
    numbers: dict[str, list[str]] = {}  # the names of numbers of each dtype
    leaves: list[str] = []
    arrays: list[str] = []

    def take(spec: Spec, name: str) -> None:
        if isinstance(spec, TupleSpec):
            items = [f"{name}_{k}" for k in range(len(spec.items))]
            if items:
                lines.append(f"({', '.join(items)},) = {name}")
            for item, own in zip(spec.items, items, strict=True):
                take(item, own)
        elif isinstance(spec, ScalarSpec):
            same = numbers.setdefault(spec.dt, [])
            leaves.append(f"{spec.dt}[{len(same)}:{len(same) + 1}]")
            same.append(name)
        elif not isinstance(spec, NoneSpec):
            given = f"real({name}, {spec.dt!r})" if isinstance(spec, ComplexSpec) else name
            scope[f"spec_{name}"] = spec.leaf if isinstance(spec, ComplexSpec) else spec
            arrays.append(f"leaf_{name}")
            lines.append(f"leaf_{name} = leaf_of({given}, spec_{name}, copy)")
            leaves.append(f"leaf_{name}")

    take(spec, "v")
    lines += [f"{dt} = array([{', '.join(names)}], {dt!r})" for dt, names in numbers.items()]
    lines.append(f"return [{', '.join(leaves)}], [{', '.join([*numbers, *arrays])}]")
    exec("def read(v, copy):\n    " + "\n    ".join(lines), scope)
    return scope["read"]


def parts(value: Any, spec: Spec) -> Iterator[Any]:
    """The leaves of a value as they were given."""
    if isinstance(spec, TupleSpec):
        for item, sub in zip(value, spec.items, strict=True):
            yield from parts(item, sub)
    elif isinstance(spec, ComplexSpec):
        yield real_view(value, spec.dt)
    elif not isinstance(spec, NoneSpec):
        yield value


def real_view(value: Any, dt: str) -> np.ndarray:
    """A complex number or array as its leaf, of the same memory if it can be."""
    array = np.asarray(value)
    native = array.dtype == np.dtype(dt)
    if not (native and array.flags.c_contiguous and array.flags.aligned):
        array = np.array(array, dt, order="C")
    return array.reshape(-1).view(f"f{int(dt[1:]) // 2}").reshape(*array.shape, 2)


def _complex(leaf: np.ndarray, spec: ComplexSpec) -> Any:
    """The complex number or array of a leaf, of the same memory."""
    array = np.ascontiguousarray(leaf).reshape(-1).view(spec.dt).reshape(leaf.shape[:-1])
    return array if spec.rank else array[()] if spec.dt == "c8" else complex(array)


def overlap(a: Any, b: Any) -> bool:
    """Whether two leaves, as they were given, share memory; also if that is too hard to tell."""
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return False
    try:
        return np.shares_memory(a, b, max_work=10_000)
    except np.exceptions.TooHardError:
        return True


def _leaf(value: Any, spec: ScalarSpec | ArraySpec, copy: bool) -> np.ndarray:
    if isinstance(spec, ScalarSpec):
        return np.array([value], spec.dt)
    if copy or not (value.dtype.isnative and value.flags.carray):
        return np.array(value, spec.dt, order="C")
    return value if type(value) is np.ndarray else value.view(np.ndarray)


def unflatten(spec: Spec, leaves: Iterable[np.ndarray]) -> Any:
    """The value whose leaves are given; array leaves are handed over, not copied.

    Scalars come back as Python numbers, those of 4 bytes as ``np.float32`` and ``np.int32``, so that they keep their
    structure.
    """
    return builder(spec, None)(list(leaves))


def unflatten_bar(spec: Spec, bars: Iterable[np.ndarray | None]) -> Any:
    """The structure of cotangents (or tangents): as ``spec``, with None for each leaf or whole part that has none."""
    given = list(bars)
    return builder(spec, tuple([bar is not None for bar in given]))(given)


@lru_cache(maxsize=256)
def builder(spec: Spec, there: tuple[bool, ...] | None, copy: bool = False) -> Callable[[Sequence[Any]], Any]:
    """What :func:`unflatten` does for a structure (``there`` is None), or :func:`unflatten_bar` for bars that are ``there``, as a
    function of the leaves alone; it gives arrays of their own with ``copy``.

    A text for each structure: going through a structure takes longer than making it.
    """
    lines: list[str] = []
    scope: dict[str, Any] = {"complex_of": _complex}
    leaves = iter(range(len(leaves_of(spec))))

    def made(spec: Spec) -> str:
        """The name of what is made."""
        if isinstance(spec, NoneSpec):
            return "None"
        if isinstance(spec, TupleSpec):
            items = [made(item) for item in spec.items]
            if there is not None and all(item == "None" for item in items):
                return "None"
            name, text = f"t{len(lines)}", f"({''.join(f'{item}, ' for item in items)})"
            if spec.cls:
                scope[f"make_{name}"] = spec.cls._make  # type: ignore[attr-defined]
                text = f"make_{name}({text})"
            lines.append(f"    {name} = {text}\n")
            return name
        k = next(leaves)
        if there is not None and not there[k]:
            return "None"
        whole = f"leaves[{k}].copy()" if copy else f"leaves[{k}]"
        if isinstance(spec, ArraySpec):
            return whole
        if isinstance(spec, ComplexSpec):
            scope[f"spec_{k}"] = spec
            return f"complex_of({whole}, spec_{k})"
        return f"leaves[{k}][0]" if spec.dt in ("f4", "i4") else f"leaves[{k}].item(0)"

    result = made(spec)
    exec(f"def build(leaves):\n{''.join(lines)}    return {result}", scope)
    return scope["build"]


def shapes_of(leaves: Sequence[np.ndarray]) -> Shapes:
    """The shapes of leaves."""
    return tuple(leaf.shape for leaf in leaves)


def nbytes(leaves: Iterable[np.ndarray | None]) -> int:
    """The bytes of leaves or bars."""
    return sum(leaf.nbytes for leaf in leaves if leaf is not None)


def require_like(value: Any, spec: Spec, shapes: Shapes, name: str) -> Leaves:
    """The leaves of ``value`` (not copied), which must have this structure and these shapes.

    A floating leaf may have the other width, and is cast.  Raises StructureError, naming the leaf, otherwise.
    """
    got, spec = shapeless(spec_of(value, name)), shapeless(spec)
    if got != spec and _same_but_width(got, spec):
        leaves = [_leaf(v, s, s != g) for v, s, g in zip(parts(value, spec), leaves_of(spec), leaves_of(got), strict=True)]
    else:
        leaves = flatten(value, spec, name)
    for leaf, shape, (path, _) in zip(leaves, shapes, leaf_specs(spec, name), strict=True):
        if leaf.shape != shape:
            raise StructureError(f"Got {path} of shape {leaf.shape}, but expected shape {shape}")
    return leaves


def _same_but_width(got: Spec, want: Spec) -> bool:
    if isinstance(got, TupleSpec) and isinstance(want, TupleSpec):
        same = got.cls is want.cls and len(got.items) == len(want.items)
        return same and all(map(_same_but_width, got.items, want.items))
    if isinstance(got, ArraySpec) and isinstance(want, ArraySpec):
        return got.rank == want.rank and (got.dt == want.dt or (differentiable(got) and differentiable(want)))
    if isinstance(got, ComplexSpec) and isinstance(want, ComplexSpec):
        return got.rank == want.rank
    if isinstance(got, ScalarSpec) and isinstance(want, ScalarSpec):
        return got.dt == want.dt or (differentiable(got) and differentiable(want))
    return isinstance(got, NoneSpec) and isinstance(want, NoneSpec)


def _difference(got: Spec, want: Spec, path: str) -> str:
    """A sentence about the first place where two structures differ."""
    if isinstance(got, TupleSpec) and isinstance(want, TupleSpec) and got.cls is want.cls and len(got.items) == len(want.items):
        for k, (g, w) in enumerate(zip(got.items, want.items, strict=True)):
            if g != w:
                return _difference(g, w, f"{path}.{want.fields[k]}" if want.fields is not None else f"{path}[{k}]")
    numbers = all(isinstance(s, (ScalarSpec, ArraySpec, ComplexSpec)) for s in (got, want))
    if numbers and getattr(got, "rank", 0) == getattr(want, "rank", 0):
        return f"Got {path} of dtype {np.dtype(got.dt)}, but expected {np.dtype(want.dt)}"  # type: ignore[union-attr]
    return f"Got {path} with structure {got}, but expected {want}"


# ---------------------------------------------------------------------------------------------- cotangents and tangents
def zeros_like_leaves(spec: Spec, shapes: Shapes) -> Bars:
    """A zero for each floating leaf, None for the others."""
    return [np.zeros(shape, s.dt) if differentiable(s) else None for s, shape in zip(leaves_of(spec), shapes, strict=True)]


def bar_leaves(value: Any, spec: Spec, shapes: Shapes, name: str) -> Bars:
    """The leaves of a cotangent or tangent of a value with this structure: fresh arrays in the dtypes of ``spec``.

    None stands for zeros, for the whole or any part.  What is given for integer and bool leaves is ignored.  A
    NamedTuple may be given as a plain tuple.  Raises StructureError, naming the leaf, if the structure or a shape differs.
    """
    bars: Bars = []
    _collect_bars(value, spec, iter(shapes), name, bars)
    return bars


def _collect_bars(value: Any, spec: Spec, shapes: Iterator[tuple[int, ...]], path: str, out: Bars) -> None:
    if isinstance(spec, NoneSpec):
        if value is not None:
            raise StructureError(f"Got {path} as a {_type_name(value)}, but expected None")
    elif isinstance(spec, TupleSpec):
        if value is None:
            value = (None,) * len(spec.items)
        plain = isinstance(value, tuple) and (type(value) is tuple or getattr(value, "_fields", None) == spec.fields)
        if not plain or len(value) != len(spec.items):
            got = f"a {_type_name(value)}" + (f" of {len(value)} items" if isinstance(value, tuple) else "")
            raise StructureError(f"Got {path} as {got}, but expected the structure {spec}")
        for k, (item, sub) in enumerate(zip(value, spec.items, strict=True)):
            _collect_bars(item, sub, shapes, f"{path}.{spec.fields[k]}" if spec.fields is not None else f"{path}[{k}]", out)
    elif isinstance(spec, ComplexSpec):
        shape = next(shapes)
        numbers = isinstance(value, (bool, int, float, complex, np.generic, np.ndarray))
        if numbers and np.asarray(value).dtype.kind in "fiubc":
            value = real_view(value, spec.dt)
        out.append(_bar(value, spec.leaf, shape, path))
    else:
        shape = next(shapes)
        out.append(_bar(value, spec, shape, path) if differentiable(spec) else None)


def _bar(value: Any, spec: ScalarSpec | ArraySpec, shape: tuple[int, ...], path: str) -> np.ndarray:
    if value is None:
        return np.zeros(shape, spec.dt)
    if not isinstance(value, (bool, int, float, np.generic, np.ndarray)):
        raise StructureError(f"Got {path} as a {_type_name(value)}, but expected {spec}{_repair(value, path)}")
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise StructureError(f"Got {path} of dtype {array.dtype}, but expected {np.dtype(spec.dt)}")
    expected = () if isinstance(spec, ScalarSpec) else shape
    if array.shape != expected:
        raise StructureError(f"Got {path} of shape {array.shape}, but expected {f'shape {expected}' if expected else 'a number'}")
    return np.array(array, spec.dt, order="C").reshape(shape)


def first_nonfinite(leaves: Sequence[np.ndarray | None], spec: Spec, name: str) -> tuple[str, tuple[int, ...], float] | None:
    """Path, index and value of the first NaN or Inf in a list of leaves or bars; the index of a scalar is ()."""
    if finite(leaves):
        return None  # at once: this is asked several times in every call
    for leaf, (path, s), pairs in zip(leaves, _paths(spec, name), _pairs(spec), strict=True):
        if leaf is None or _finite(leaf):
            continue
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(leaf))[0])
        if pairs:
            return f"{path}.{('real', 'imag')[index[-1]]}", index[:-1], float(leaf[index])
        return path, index if isinstance(s, ArraySpec) else (), float(leaf[index])
    return None


def _pairs(spec: Spec) -> list[bool]:
    """Which leaves are those of complex numbers."""
    if isinstance(spec, TupleSpec):
        return [on for item in spec.items for on in _pairs(item)]
    return [] if isinstance(spec, NoneSpec) else [isinstance(spec, ComplexSpec)]


def finite(leaves: Sequence[np.ndarray | None]) -> bool:
    """Whether leaves or bars have no NaN and no Inf."""
    return all(map(_finite, leaves))


def _finite(leaf: np.ndarray | None) -> bool:
    if leaf is None or leaf.dtype.kind != "f":
        return True
    if leaf.size <= _FEW and math.isfinite(sum(leaf.ravel().tolist())):
        return True
    return bool(np.isfinite(leaf).all())
