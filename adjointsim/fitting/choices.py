"""From what users say, the unknowns of a fit: names in ``wrt``, ``local``, ``bounds`` and ``transform``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, StructureError

from .names import Element, as_structure, complex_leaves, unknown_name
from .transforms import KINDS, Transforms
from .unknowns import Placement, Side, Start, Unknowns

__all__ = ["unknowns_of"]

Wrt = str | Iterable[str] | None


def unknowns_of(
    p0: Any,
    experiments: Sequence[tuple[str, Any, Mapping[str, Any]]],
    wrt: Wrt,
    local: Iterable[str],
    bounds: Any,
    transform: Any,
) -> Unknowns:
    """The unknowns of a fit that starts at ``p0``; ``experiments`` are (name, y0, values of p of their own).

    Raises ArgumentError and StructureError for names and numbers that make no sense, naming them.
    """
    several = len(experiments) > 1
    shared = Side(as_structure(p0, "p0"), "p")
    y_sides = [None if callable(y0) else Side(as_structure(y0, "y0"), "y0") for _, y0, _ in experiments]
    wrt_names = ("p",) if wrt is None else (wrt,) if isinstance(wrt, str) else tuple(wrt)
    p_chosen, y_chosen = _chosen(wrt_names, shared, y_sides, wrt is None)
    own = _named_elements("local", local, shared)
    if stray := own - set(p_chosen):
        raise ArgumentError(f"Got local name {_said(shared, min(stray))!r}, but it is not fitted: expected it in wrt=, too")
    makers: list[tuple[str, float]] = []  # name and start of each unknown
    index: dict[tuple[str, int, Element], int] = {}  # of (root, experiment or -1, element)

    def add(root: str, experiment: int, element: Element, side: Side) -> None:
        index[root, experiment, element] = len(makers)
        name = side.names.said(side.names.elements[element])
        makers.append((f"{name}@{experiments[experiment][0]}" if several and experiment >= 0 else name, side.start(element)))

    p_sides = [_moved(shared, values, p0, set(p_chosen) - own, name) for name, _, values in experiments]
    for element in p_chosen:
        if element not in own:
            add("p", -1, element, shared)
    for e in range(len(experiments)):
        for element in p_chosen:
            if element in own:
                add("p", e, element, p_sides[e])
        side = y_sides[e]
        if side is not None:
            for element in y_chosen[e]:
                add("y0", e, element, side)

    common = None if own else _placements("p", -1, shared, p_chosen, index)
    placements = [
        [
            *(_placements("p", e, p_sides[e], p_chosen, index) if common is None else common),
            *_placements("y0", e, y_sides[e], y_chosen[e], index),
        ]
        for e in range(len(experiments))
    ]
    names = [name for name, _ in makers]
    finder = _Finder(shared, y_sides, {name: e for e, (name, _, _) in enumerate(experiments)}, index)
    known = [*dict.fromkeys([*names, *_known(shared, y_sides)])]
    x0 = np.array([start for _, start in makers])
    made = Unknowns(
        names, x0, x0, Transforms.of(["identity"] * len(x0), np.full(len(x0), -np.inf), np.full(len(x0), np.inf)),
        [Start(name, p0, y0) for name, y0, _ in experiments], placements, list(zip(p_sides, y_sides, strict=True)),
        (p0, [y0 for _, y0, _ in experiments]), bool(own) or any(values for _, _, values in experiments), finder, known,
    )  # fmt: skip
    transforms = _transforms(made, shared, index, bounds, transform)
    transforms.check(x0, names)
    z0 = transforms.to_z(x0)
    return replace(made, transforms=transforms, z0=z0, x0=transforms.to_x(z0))


def _said(side: Side, element: Element) -> str:
    return side.names.said(side.names.elements[element])


def _chosen(
    names: Sequence[str], shared: Side, y_sides: Sequence[Side | None], default: bool
) -> tuple[list[Element], list[list[Element]]]:
    """The elements that ``wrt`` names: of p, and of each y0."""
    p: set[Element] = set()
    ys: list[set[Element]] = [set() for _ in y_sides]
    for name in names:
        found = False
        if (elements := shared.names.find(name)) is not None:
            found = True
            p |= _real("wrt", name, elements, shared, name == "p")
        for chosen, side in zip(ys, y_sides, strict=True):
            if side is not None and (name == "y0" or name.startswith(("y0.", "y0["))):
                if (elements := side.names.find(name)) is not None:
                    found = True
                    chosen |= _real("wrt", name, elements, side, name == "y0")
        if not found and name == "p":
            raise ArgumentError("Got wrt name 'p', but p0 is None: expected parameters to fit, or wrt='y0'")
        if not found and name.startswith("y0") and all(side is None for side in y_sides):
            raise ArgumentError(f"Got wrt name {name!r}, but y0 is a function of p: fit the parameters that it depends on")
        if not found:
            raise unknown_name("wrt", name, _known(shared, y_sides))
    if not p and not any(ys):
        what = f"p0 of structure {shared.form.spec}" if default else f"wrt={tuple(names)}"
        raise StructureError(f"Got {what}, which has no float to fit: write 1.0 instead of 1, or name others in wrt=")
    return sorted(p), [sorted(chosen) for chosen in ys]


def _real(what: str, name: str, elements: Sequence[Element], side: Side, whole: bool) -> set[Element]:
    """Those that can be fitted; where a part is named, its integers are an error, and complex numbers always are."""
    kinds = complex_leaves(side.form.spec)
    for element in elements:
        if kinds[element.leaf]:
            path = side.paths[element.leaf]
            raise ArgumentError(f"Got {what} name {name!r}, but {path} is complex, and only real numbers are fitted: name others")
    good = {element for element in elements if side.real[element.leaf]}
    if not good and not whole:
        raise ArgumentError(f"Got {what} name {name!r}, but integers and bools are not fitted: write 1.0 instead of 1")
    return good


def _named_elements(what: str, names: Iterable[str], side: Side) -> set[Element]:
    out: set[Element] = set()
    for name in (names,) if isinstance(names, str) else tuple(names):
        elements = side.names.find(name)
        if elements is None:
            raise unknown_name(what, name, _known(side, ()))
        out |= _real(what, name, elements, side, False)
    return out


def _known(shared: Side, y_sides: Iterable[Side | None]) -> list[str]:
    first = next((side for side in y_sides if side is not None), None)
    return [*shared.names.parts, *shared.names.short, *(first.names.parts if first is not None else ())]


def _moved(shared: Side, values: Mapping[str, Any], p0: Any, fitted: set[Element], experiment: str) -> Side:
    """The p of an experiment that has values of its own."""
    if not values:
        return shared
    side = Side(as_structure(p0, "p0"), "p")
    for name, value in values.items():
        elements = shared.names.find(name)
        if elements is None:
            raise unknown_name(f"p of experiment {experiment!r}:", name, _known(shared, ()))
        if taken := fitted & set(elements):
            said = _said(shared, min(taken))
            raise ArgumentError(
                f"Got a value of {said!r} for experiment {experiment!r}, but all experiments share it: name it in local="
            )
        numbers = np.ravel(np.array(value, np.float64))
        if np.ndim(value) == 0:
            numbers = np.repeat(numbers, len(elements))
        if len(numbers) != len(elements) or not np.all(np.isfinite(numbers)):
            expected = f"{len(elements)} finite numbers"
            raise ArgumentError(f"Got {name}={value!r} for experiment {experiment!r}, but expected {expected}")
        for element, number in zip(elements, numbers, strict=True):
            side.leaves[element.leaf].reshape(-1)[element.place] = number
    return side


def _placements(
    root: str, experiment: int, side: Side | None, chosen: Sequence[Element], index: Mapping[tuple[str, int, Element], int]
) -> list[Placement]:
    if side is None:
        return []
    out = []
    for leaf in sorted({element.leaf for element in chosen}):
        places = [element for element in chosen if element.leaf == leaf]
        at = [index.get((root, -1, element), index.get((root, experiment, element), -1)) for element in places]
        out.append(Placement(root, leaf, side.paths[leaf], np.array([element.place for element in places]), np.array(at)))
    return out


@dataclass(frozen=True, eq=False)
class _Finder:
    """Finds the unknowns of a name; None for one that stands for nothing."""

    shared: Side
    y_sides: Sequence[Side | None]
    experiments: Mapping[str, int]
    index: Mapping[tuple[str, int, Element], int]

    def __call__(self, name: str) -> list[int] | None:
        base, at, experiment = name.partition("@")
        if at and experiment not in self.experiments:
            return None
        count = len(self.experiments)
        wanted = [self.experiments[experiment]] if at else [-1, *range(count)]
        out: list[int] = []
        seen = False
        for root, sides in (("p", [self.shared] * count), ("y0", list(self.y_sides))):
            for e in wanted:
                side = sides[max(e, 0)]
                elements = side.names.find(base) if side is not None and (root == "p" or base.startswith("y0")) else None
                if elements is not None:
                    seen = True
                    out += [self.index[root, e, element] for element in elements if (root, e, element) in self.index]
        return sorted(set(out)) if seen else None


def _transforms(
    made: Unknowns, shared: Side, index: Mapping[tuple[str, int, Element], int], bounds: Any, transform: Any
) -> Transforms:
    """Bounds and transforms by name; what names fewer numbers goes before what names more."""
    n = made.n
    low, high, kinds = np.full(n, -np.inf), np.full(n, np.inf), ["identity"] * n
    if transform is not None:
        if isinstance(transform, str):
            transform = dict.fromkeys(made.names, transform)
        if not isinstance(transform, Mapping):
            raise StructureError(f"Got transform as a {type(transform).__name__}, but expected a dict such as {{'k': 'log'}}")
        for chosen, kind, name in _by_size(made, "transform", transform):
            if kind is not None and kind not in KINDS:
                near = unknown_name("transform", kind, KINDS)
                raise ArgumentError(f"Got transform {kind!r} of {name!r}, but expected 'log', 'logit' or 'identity'") from near
            for k in chosen:
                kinds[k] = kind or "identity"
    if bounds is None:
        return Transforms.of(kinds, low, high)
    if not isinstance(bounds, Mapping):
        bounds = _paired(bounds, made, shared)
    for chosen, pair, name in _by_size(made, "bounds", bounds):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ArgumentError(f"Got bounds {pair!r} of {name!r}, but expected a pair (lower, upper), None for no bound")
        for side, limits, none in ((pair[0], low, -np.inf), (pair[1], high, np.inf)):
            numbers = np.array(none if side is None else side, np.float64)
            if numbers.ndim and numbers.size != len(chosen):
                expected = f"a number or {len(chosen)} numbers"
                raise ArgumentError(f"Got a bound of shape {numbers.shape} for {name!r}, but expected {expected}")
            if np.any(np.isnan(numbers)):
                raise ArgumentError(f"Got a bound of {name!r} that is NaN, but expected a number, or None for no bound")
            limits[chosen] = np.broadcast_to(numbers.reshape(-1), (len(chosen),))
    return Transforms.of(kinds, low, high)


def _by_size(made: Unknowns, what: str, given: Mapping[str, Any]) -> list[tuple[list[int], Any, str]]:
    found = [(made.indices(what, name), value, name) for name, value in given.items()]
    return sorted(found, key=lambda item: -len(item[0]))


def _paired(bounds: Any, made: Unknowns, shared: Side) -> dict[str, tuple[Any, Any]]:
    """Bounds (lower, upper), each a number or something like p0, by name."""
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise StructureError(
            f"Got bounds={bounds!r}, but expected a dict such as {{'k': (0, None)}}, or a pair (lower, upper) of things like p0"
        )
    sides: list[dict[str, Any]] = []
    for bound, none in zip(bounds, (-np.inf, np.inf), strict=True):
        if bound is None or np.ndim(bound) == 0 and not isinstance(bound, (dict, tuple)):
            number = none if bound is None else float(bound)
            sides.append(dict.fromkeys(shared.names.elements.values(), number))
            continue
        like = Side(as_structure(bound, "bounds"), "p")
        if list(like.names.elements) != list(shared.names.elements):
            own = like.form.spec
            raise StructureError(f"Got bounds of structure {own}, but expected numbers, or that of p0, {shared.form.spec}")
        sides.append({shared.names.elements[element]: like.start(element) for element in like.names.elements})
    fitted = {name for name in sides[0] if made.finder(name)}
    return {name: (sides[0][name], sides[1][name]) for name in sides[0] if name in fitted}
