"""Data of an experiment beside the observations of its model: which numbers were measured, and how well they are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adjointsim.derive.spec import NoneSpec, Spec, TupleSpec, differentiable, leaf_specs
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.forms import Form, read

from .names import complex_leaves, leaf_items, unknown_name

__all__ = ["Measured"]


class Measured:
    """The numbers that were measured, n of them: leaf by leaf in the order of the observations, and what belongs to each.

    ``data`` are they, ``sigma`` their standard deviations (None if they are not known), both of shape (n,).
    """

    def __init__(self, data: Any, sigma: Any, observations: Any, what: str) -> None:
        """``observations`` of a run tell the structure and the shapes; ``what`` names the experiment in errors ("" if it is one).

        Raises StructureError for data of another structure or shape, ArgumentError for infinities, channels without a number,
        and standard deviations that are not positive.
        """
        self.form, leaves = read(observations, "observations")
        self.what = what
        self.paths = [path for path, _ in leaf_specs(self.form.spec, "data")]
        self.packed = _packed(self.form)
        given = self._leaves(data, "data")
        self.masks: list[np.ndarray | None] = []
        numbers: list[np.ndarray] = []
        at_leaf: list[np.ndarray] = []
        at_place: list[np.ndarray] = []
        imaginary = complex_leaves(self.form.spec)
        for k, (path, spec, leaf, own) in enumerate(zip(self.paths, self.form.leaves, leaves, given, strict=True)):
            if own is None:
                self.masks.append(None)
                continue
            if imaginary[k]:
                expected = "real ones: observe real and imaginary parts as numbers"
                raise StructureError(f"Got {path}{self.what} of complex observations, but expected {expected}")
            if not differentiable(spec):
                raise ArgumentError(f"Got {path}{self.what}, but the model observes {spec} there, without derivative: give None")
            array = _floats(path, own, self.what)
            if array.shape != leaf.shape:
                raise StructureError(f"Got {path} of shape {array.shape}{self.what}, but the model observes shape {leaf.shape}")
            mask = np.isfinite(array)
            whole = np.count_nonzero(mask) == mask.size
            if not whole and np.any(np.isinf(array)):
                at = tuple(int(i) for i in np.argwhere(np.isinf(array))[0])
                number = f"{path}{list(at)} = {array[at]}{self.what}"
                raise ArgumentError(f"Got {number}, but expected finite numbers, or NaN where they are missing")
            if not whole:
                self._check_channels(path, mask)
            self.masks.append(mask)
            numbers.append(array.reshape(-1) if whole else array[mask])
            at_place.append(np.arange(mask.size) if whole else np.flatnonzero(mask))
            at_leaf.append(np.full(len(at_place[-1]), k))
        if all(mask is None for mask in self.masks):
            raise ArgumentError(f"Got data without a number{self.what}, but expected measurements")
        self.data = np.concatenate(numbers)
        #: the leaf of each of them, and the place there, as if it had one axis
        self.leaf_of_all, self.place_of_all = np.concatenate(at_leaf), np.concatenate(at_place)
        self.sigma = None if sigma is None else self._sigma(sigma)

    @property
    def n(self) -> int:
        """How many numbers were measured."""
        return len(self.data)

    def place(self, k: int) -> str:
        """Where the k-th of the numbers stands in the data."""
        leaf, at = int(self.leaf_of_all[k]), int(self.place_of_all[k])
        shape = self.form.shapes[leaf]
        index = [int(i) for i in np.unravel_index(at, shape)]
        return f"{self.paths[leaf]}{index}"

    def picked(self, observations: Any) -> np.ndarray:
        """The observations of the numbers that were measured, (n,); ArithmeticError if their shapes are not those of the first
        run."""
        form, leaves = read(observations, "observations")
        if form is not self.form and form.shapes != self.form.shapes:
            text = f"the run ended before the last observation: shapes {form.shapes}, but expected {self.form.shapes}"
            raise ArithmeticError(text)
        return np.concatenate([leaf[mask] for leaf, mask in zip(leaves, self.masks, strict=True) if mask is not None])

    def rows(self, jacobian: Any, columns: np.ndarray) -> np.ndarray:
        """A Jacobian by one leaf, as a model gives it, for the numbers that were measured and so many elements: (n, columns)."""
        blocks = list(leaf_items(jacobian, self.form.spec))
        out = []
        for block, mask in zip(blocks, self.masks, strict=True):
            if mask is not None:
                whole = np.asarray(block, np.float64).reshape(mask.size, -1)
                out.append(whole[mask.reshape(-1)][:, columns])
        return np.concatenate(out) if len(out) > 1 else out[0]

    def bars(self, weights: np.ndarray) -> Any:
        """Cotangents of the observations with these numbers for those that were measured, zeros elsewhere."""
        return self._structure(weights, 0.0, np.float64)

    def unpacked(self, numbers: np.ndarray) -> Any:
        """Numbers in the structure of the observations, NaN where data are missing, None for leaves without any."""
        return self._structure(numbers, np.nan, np.float64)

    def spread(self, numbers: np.ndarray) -> Any:
        """Numbers like the data, NaN where they are missing; as the user's data: one array where leaves are its columns."""
        made = self.unpacked(numbers)
        if not self.packed:
            return made
        columns = list(leaf_items(made, self.form.spec))
        missing = np.full(self.form.shapes[0], np.nan)
        return np.stack([missing if column is None else column for column in columns], axis=1) if self._one else made

    def _structure(self, numbers: np.ndarray, empty: float, dtype: Any) -> Any:
        leaves: list[np.ndarray | None] = []
        first = 0
        for mask, shape in zip(self.masks, self.form.shapes, strict=True):
            if mask is None:
                leaves.append(None)
                continue
            count = int(np.count_nonzero(mask))
            own = numbers[first : first + count]
            if count == mask.size:
                leaves.append(own.astype(dtype).reshape(shape))
            else:
                leaves.append(np.full(shape, empty, dtype))
                leaves[-1][mask] = own  # type: ignore[index]
            first += count
        return _nested(self.form.spec, iter(leaves))

    # ------------------------------------------------------------------------------------------------ what a user gives
    def _leaves(self, value: Any, name: str) -> list[Any]:
        """One item for each leaf of the observations, None where there is nothing."""
        self._one = not isinstance(value, (tuple, Mapping))
        spec = self.form.spec
        if not isinstance(spec, TupleSpec):
            if isinstance(value, (tuple, Mapping)):
                kind = type(value).__name__
                raise StructureError(f"Got {name} as a {kind}{self.what}, but the model observes one array, {self.form.spec}")
            return [value]
        if self._one:
            array = _floats(name, value, self.what)
            many = len(self.form.leaves)
            count = self.form.shapes[0][0]
            if self.packed and array.shape in ((count, many), (many,)):
                return [np.array(array[..., k]) for k in range(many)]
            if name == "sigma" and array.ndim == 0:
                return [array] * many
            expected = f"an array of shape ({count}, {many}), or " if self.packed else ""
            raise StructureError(f"Got {name} of shape {array.shape}{self.what}, but expected {expected}the structure {spec}")
        return list(_items(value, spec, name, self.what))

    def _sigma(self, sigma: Any) -> np.ndarray:
        out = []
        for path, own, mask in zip(self.paths, self._sigma_leaves(sigma), self.masks, strict=True):
            if mask is None:
                continue
            name = f"sigma{path[4:]}"
            if own is None:
                raise ArgumentError(f"Got no {name}{self.what}, but there are data: expected a standard deviation")
            array = _floats(name, own, self.what)
            try:
                whole = np.broadcast_to(array, mask.shape)
            except ValueError:
                raise StructureError(
                    f"Got {name} of shape {array.shape}{self.what}, but expected a number, shape {mask.shape} as the data, or "
                    f"{mask.shape[1:]}, one of each channel"
                ) from None
            wrong = mask & ~((whole > 0.0) & np.isfinite(whole))
            if np.any(wrong):
                at = tuple(int(i) for i in np.argwhere(wrong)[0])
                number = f"{name}{list(at)} = {whole[at]:g}{self.what}"
                raise ArgumentError(f"Got {number}, but expected positive finite standard deviations")
            out.append(whole[mask])
        return np.concatenate(out)

    def _sigma_leaves(self, sigma: Any) -> list[Any]:
        one = self._one
        leaves = self._leaves(sigma, "sigma")
        self._one = one
        return leaves

    def _check_channels(self, path: str, mask: np.ndarray) -> None:
        """ArgumentError for a channel that has no number."""
        if mask.size and not np.any(mask):
            raise ArgumentError(f"Got {path} that is all NaN{self.what}, but expected measurements: leave it out otherwise")
        if mask.ndim > 1 and len(mask) > 1:
            empty = np.argwhere(~np.any(mask, axis=0))
            if len(empty):
                index = ", ".join(map(str, empty[0]))
                raise ArgumentError(
                    f"Got {path}[:, {index}] that is all NaN{self.what}, but expected measurements in each channel: take it out "
                    "of observe="
                )


def _packed(form: Form) -> bool:
    """Whether the observations are several numbers at each time, which may be given as the columns of an array."""
    several = isinstance(form.spec, TupleSpec) and len(form.leaves) > 0
    return several and all(len(shape) == 1 for shape in form.shapes) and not any(complex_leaves(form.spec))


def _items(value: Any, spec: Spec, name: str, what: str) -> Any:
    """The items of a structure given as a tuple, NamedTuple or dict, for each leaf of ``spec``; None stands for all inside."""
    if isinstance(spec, NoneSpec):
        return
    if not isinstance(spec, TupleSpec):
        yield value
        return
    keys = list(spec.fields) if spec.fields is not None else list(range(len(spec.items)))
    if value is None:
        items = [None] * len(keys)
    elif isinstance(value, Mapping):
        for key in value:
            if key not in keys:
                raise unknown_name(name, key, map(str, keys))
        items = [value.get(key) for key in keys]
    elif isinstance(value, tuple) and len(value) == len(keys):
        items = list(value)
    else:
        raise StructureError(f"Got {name} as a {type(value).__name__}{what}, but expected the structure {spec}")
    for key, item, sub in zip(keys, items, spec.items, strict=True):
        yield from _items(item, sub, f"{name}.{key}" if spec.fields is not None else f"{name}[{key}]", what)


def _nested(spec: Spec, leaves: Any) -> Any:
    if isinstance(spec, TupleSpec):
        items = [_nested(item, leaves) for item in spec.items]
        return spec.cls._make(items) if spec.cls else tuple(items)  # type: ignore[attr-defined]
    return None if isinstance(spec, NoneSpec) else next(leaves)


def _floats(name: str, value: Any, what: str) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        value = np.where(np.ma.getmaskarray(value), np.nan, np.ma.getdata(value))
    try:
        array = np.array(value)
        if array.dtype.kind != "c":
            array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise StructureError(f"Got {name} as a {type(value).__name__}{what}, but expected numbers") from None
    if array.dtype.kind == "c":
        raise StructureError(f"Got complex {name}{what}, but expected real numbers: observe both their parts")
    return array
