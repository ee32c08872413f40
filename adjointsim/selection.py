"""Which derivatives are asked for: the names of ``wrt``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from adjointsim.derive.spec import NoneSpec, ScalarSpec, Spec, TupleSpec, differentiable, leaf_specs
from adjointsim.errors import ArgumentError, StructureError

__all__ = ["named_part", "select"]


def _names(spec: Spec, path: str) -> Iterator[tuple[str, Spec]]:
    """A structure's own name and those of all its parts that have leaves, with the parts."""
    yield path, spec
    if isinstance(spec, TupleSpec):
        for k, item in enumerate(spec.items):
            if not isinstance(item, NoneSpec):
                yield from _names(item, f"{path}.{spec.fields[k]}" if spec.fields is not None else f"{path}[{k}]")


@lru_cache(maxsize=256)
def named_part(name: str, y_spec: Spec, p_spec: Spec) -> tuple[Spec, int]:
    """The part of (y0, p) that a name of ``wrt`` stands for, and the number of its first leaf among those of both."""
    found = dict([*_names(y_spec, "y0"), *_names(p_spec, "p")])[name]
    before = [path for path, _ in (*leaf_specs(y_spec, "y0"), *leaf_specs(p_spec, "p"))]
    return found, next((k for k, path in enumerate(before) if _within(path, name)), 0)


def _within(path: str, name: str) -> bool:
    return path == name or path.startswith((f"{name}.", f"{name}["))


def select(wrt: str | Iterable[str], y_spec: Spec, p_spec: Spec) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """For each leaf of y0 and of p whether its derivative is asked for (and exists).

    Names are "y0", "p" and their parts as in Python, "p.c", "p.layers[0].rho".  Raises ArgumentError for a name that is
    none of these, or of a part without floating leaves, and StructureError if nothing at all can be differentiated.
    """
    return _select((wrt,) if isinstance(wrt, str) else tuple(wrt), y_spec, p_spec)


@lru_cache(maxsize=256)
def _select(names: tuple[str, ...], y_spec: Spec, p_spec: Spec) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    known = [name for name, _ in (*_names(y_spec, "y0"), *_names(p_spec, "p"))]
    leaves = [*leaf_specs(y_spec, "y0"), *leaf_specs(p_spec, "p")]
    if not names:
        raise ArgumentError("Got wrt=(), but expected at least one name")
    for name in names:
        if name not in known:
            shown = ", ".join(map(repr, known[:20])) + (", ..." if len(known) > 20 else "")
            raise ArgumentError(f"Got wrt name {name!r}, but expected one of {shown}")
        found = [leaf for path, leaf in leaves if _within(path, name)]
        if name not in ("y0", "p") and not any(map(differentiable, found)):
            kinds = ", ".join(sorted({_kind(leaf) for leaf in found})) or "no numbers"
            raise ArgumentError(f"Got wrt name {name!r}, but it is {kinds}: integers and bools have no derivative")
    chosen = [differentiable(leaf) and any(_within(path, name) for name in names) for path, leaf in leaves]
    if not any(chosen):
        raise StructureError(f"Got y0 of structure {y_spec} and p of {p_spec}, but wrt={names} names no float in them")
    split = len(list(leaf_specs(y_spec)))
    return tuple(chosen[:split]), tuple(chosen[split:])


def _kind(leaf: object) -> str:
    names = {"i8": "int64", "i4": "int32", "b1": "bool"}
    name = names.get(getattr(leaf, "dt", ""), str(leaf))
    return name if isinstance(leaf, ScalarSpec) else f"an {name} array"
