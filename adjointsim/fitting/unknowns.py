"""The vector of unknowns: which numbers of p and of each experiment's y0 are fitted, by name, with their bounds and transforms.

This is the only place that knows how a user's structures and that vector correspond.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from adjointsim.derive.spec import ScalarSpec, differentiable, leaf_specs
from adjointsim.errors import ArgumentError
from adjointsim.forms import Form, read
from adjointsim.leaves import Leaves, unflatten, unflatten_bar

from .names import Element, Names, as_dict, complex_leaves, leaf_items, unknown_name
from .transforms import Transforms

__all__ = ["Placement", "Side", "Start", "Unknowns"]


class Placement(NamedTuple):
    """Where unknowns go in one leaf of one experiment's p or y0 (``root``), which a model calls ``path``."""

    root: str
    leaf: int
    path: str
    places: np.ndarray
    unknowns: np.ndarray


class Start(NamedTuple):
    """What an experiment begins with: its name, p as the model gets it, and y0, which may be a function of p."""

    name: str
    p: Any
    y0: Any


class Side:
    """A structure (p, or the y0 of an experiment) with its start, its names and the elements of it that can be fitted."""

    def __init__(self, value: Any, root: str) -> None:
        self.form: Form
        self.form, self.leaves = read(value, root, copy=True)
        self.names, self.paths, self.real = _described(self.form, root)

    def holding(self, leaf: int, places: np.ndarray, value: float) -> Side:
        """The same with another value at some places."""
        other = copy.copy(self)
        other.leaves = [own.copy() for own in self.leaves]
        other.leaves[leaf].reshape(-1)[places] = value
        return other

    def start(self, element: Element) -> float:
        """The number that is there."""
        return float(self.leaves[element.leaf].reshape(-1)[element.place])


@lru_cache(maxsize=64)
def _described(form: Form, root: str) -> tuple[Names, tuple[str, ...], tuple[bool, ...]]:
    """The names in a structure, its leaves' paths, and which of these are real floats."""
    paths = tuple(path for path, _ in leaf_specs(form.spec, root))
    pairs = zip(form.leaves, complex_leaves(form.spec), strict=True)
    return Names(form.spec, form.shapes, root), paths, tuple(differentiable(leaf) and not imaginary for leaf, imaginary in pairs)


@dataclass(frozen=True)
class _Named:
    """Finds an unknown by its own name only."""

    names: list[str]

    def __call__(self, name: str) -> list[int] | None:
        return [self.names.index(name)] if name in self.names else None


@dataclass(frozen=True, eq=False)
class Unknowns:
    """The unknowns of a fit, a vector x of n numbers.

    ``names`` are theirs, ``x0`` their start, ``transforms`` what the optimiser makes of them, ``z0`` what it makes of the start.
    The order: what the experiments share, as in p; then, experiment by experiment, what each has of its own of p and of y0.
    """

    names: list[str]
    x0: np.ndarray
    z0: np.ndarray
    transforms: Transforms
    starts: list[Start]
    placements: list[list[Placement]]  # of each experiment
    sides: list[tuple[Side, Side | None]]
    given: tuple[Any, list[Any]]  # p0, and the y0s, as the user wrote them
    local: bool  # whether p differs between experiments
    finder: Callable[[str], list[int] | None]
    known: list[str]

    @property
    def n(self) -> int:
        return len(self.names)

    def wrt(self, experiment: int) -> tuple[str, ...]:
        """The leaves by which an experiment's observations are differentiated, as a model calls them."""
        return tuple(placement.path for placement in self.placements[experiment])

    def columns(self, experiment: int) -> int:
        """How many numbers those leaves have."""
        sides = dict(zip(("p", "y0"), self.sides[experiment], strict=True))
        total = 0
        for placement in self.placements[experiment]:
            side = sides[placement.root]
            assert side is not None
            total += side.leaves[placement.leaf].size
        return total

    def values(self, experiment: int, x: np.ndarray) -> tuple[Any, Any]:
        """(y0, p) of an experiment, as its model gets them."""
        own_p, own_y0 = self.sides[experiment]
        p = unflatten(own_p.form.spec, self._filled(own_p, experiment, "p", x))
        if own_y0 is None:
            return self.starts[experiment].y0, p
        return unflatten(own_y0.form.spec, self._filled(own_y0, experiment, "y0", x)), p

    def direction(self, experiment: int, dot: np.ndarray) -> tuple[Any, Any]:
        """(y0_dot, p_dot) of an experiment for a direction of x; None for y0 if it does not depend on x by itself."""
        out: list[Any] = []
        for root, side in zip(("y0", "p"), self.sides[experiment][::-1], strict=True):
            if side is None:
                out.append(None)
                continue
            leaves = [np.zeros_like(leaf) if on else None for leaf, on in zip(side.leaves, side.form.floats, strict=True)]
            for placement in self.placements[experiment]:
                if placement.root == root:
                    leaf = leaves[placement.leaf]
                    assert leaf is not None
                    leaf.reshape(-1)[placement.places] = dot[placement.unknowns]
            out.append(unflatten_bar(side.form.spec, leaves))
        return out[0], out[1]

    def bars(self, experiment: int, y0_bar: Any, p_bar: Any) -> list[Any]:
        """Of derivatives in the structures of y0 and p those of the leaves that an experiment's unknowns are in."""
        p, y0 = self.sides[experiment]
        parts = {"p": list(leaf_items(p_bar, p.form.spec)), "y0": [] if y0 is None else list(leaf_items(y0_bar, y0.form.spec))}
        return [parts[placement.root][placement.leaf] for placement in self.placements[experiment]]

    def _filled(self, side: Side, experiment: int, root: str, x: np.ndarray) -> Leaves:
        leaves = [leaf.copy() for leaf in side.leaves]
        for placement in self.placements[experiment]:
            if placement.root == root:
                leaves[placement.leaf].reshape(-1)[placement.places] = x[placement.unknowns]
        return leaves

    def starting(self, x0: np.ndarray) -> Unknowns:
        """The same with another start, within the bounds."""
        z0 = self.transforms.to_z(x0)
        return replace(self, z0=z0, x0=self.transforms.to_x(z0))

    def holding(self, k: int, value: float) -> Unknowns:
        """The same without an unknown, which has this value from now on."""
        keep = np.arange(self.n) != k
        sides, placements = [], []
        for (p, y0), own in zip(self.sides, self.placements, strict=True):
            pair: dict[str, Side | None] = {"p": p, "y0": y0}
            left = []
            for placement in own:
                held = placement.unknowns == k
                if np.any(held):
                    side = pair[placement.root]
                    assert side is not None
                    pair[placement.root] = side.holding(placement.leaf, placement.places[held], value)
                renumbered = placement.unknowns[~held] - (placement.unknowns[~held] > k)
                if len(renumbered):
                    left.append(placement._replace(places=placement.places[~held], unknowns=renumbered))
            assert pair["p"] is not None
            sides.append((pair["p"], pair["y0"]))
            placements.append(left)
        t, names = self.transforms, [name for j, name in enumerate(self.names) if j != k]
        return replace(
            self, names=names, x0=self.x0[keep], z0=self.z0[keep],
            finder=_Named(names),
            transforms=Transforms(t.logs[keep], t.logits[keep], t.low[keep], t.high[keep]), sides=sides, placements=placements,
        )  # fmt: skip

    def indices(self, what: str, name: str) -> list[int]:
        """The unknowns that a name stands for; ArgumentError for none, with the nearest name."""
        found = self.finder(name)
        if found is None:
            raise unknown_name(what, name, self.known)
        if not found:
            known = ", ".join(map(repr, self.names[:20]))
            raise ArgumentError(f"Got {what} of {name!r}, but it is not fitted: expected one of {known}")
        return found

    # ------------------------------------------------------------------------------------- back to the user's structures
    def params(self, x: np.ndarray) -> Any:
        """p as the user wrote it; a tuple of one for each experiment where they differ."""
        return self._per_experiment(lambda e: as_dict(self.values(e, x)[1], self.given[0]))

    def y0(self, x: np.ndarray) -> Any:
        """y0 as the user wrote it, functions of p called; for several experiments a tuple of theirs."""
        found = []
        for e, given in enumerate(self.given[1]):
            y0, p = self.values(e, x)
            found.append(y0(p) if callable(y0) else as_dict(y0, given))
        return tuple(found) if len(found) > 1 else found[0]

    def spread(self, values: np.ndarray, root: str) -> Any:
        """A number for each unknown in the structure of p or y0: None for leaves that are not fitted, NaN for such elements."""
        if root == "p":
            return self._per_experiment(lambda e: as_dict(self._spread(e, 0, values), self.given[0]))
        found = [as_dict(self._spread(e, 1, values), given) for e, given in enumerate(self.given[1])]
        return tuple(found) if len(found) > 1 else found[0]

    def _spread(self, experiment: int, which: int, values: np.ndarray) -> Any:
        side, root = self.sides[experiment][which], ("p", "y0")[which]
        if side is None:
            return None
        bars: list[np.ndarray | None] = [None] * len(side.leaves)
        for placement in self.placements[experiment]:
            if placement.root == root:
                bar = np.full(side.leaves[placement.leaf].shape, np.nan)
                bar.reshape(-1)[placement.places] = values[placement.unknowns]
                bars[placement.leaf] = bar
        return unflatten_bar(side.form.spec, bars)

    def _per_experiment(self, of: Callable[[int], Any]) -> Any:
        return tuple(of(e) for e in range(len(self.starts))) if self.local else of(0)

    def fixed(self) -> dict[str, Any]:
        """The numbers of p that are not fitted, by name (arrays as one), of the first experiment."""
        side = self.sides[0][0]
        taken = {placement.leaf for placement in self.placements[0] if placement.root == "p"}
        out = {}
        for k, (path, leaf) in enumerate(leaf_specs(side.form.spec, "p")):
            if k not in taken:
                out[side.names.said(path)] = side.leaves[k][0] if isinstance(leaf, ScalarSpec) else side.leaves[k]
        return out
