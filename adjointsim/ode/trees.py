"""The text of expressions on states: an integrator's formula, written out for every leaf of a structure.

A formula such as ``y + h * (a21 * k1)`` is meant for states of any structure.  Tuples have no arithmetic in Python, so it is
written once a leaf: ``Y(y.u + h * (a21 * k1.u), y.v + h * (a21 * k1.v))``.  A short vector is written once a component, so that
the compiler sees numbers and no loops: ``np.array([y[0] + h * (a21 * k1[0]), y[1] + h * (a21 * k1[1])])``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from adjointsim.derive.spec import ComplexSpec, NoneSpec, ScalarSpec, Spec, TupleSpec
from adjointsim.errors import StructureError

__all__ = ["SHORT", "Tree", "items", "paths"]

#: vectors up to this length are written component by component
SHORT = 8


class Tree:
    """A structure with the lengths of its short vectors, by their paths (``".u"``, ``"[0]"``; ``""`` is the whole).

    ``namespace`` has what the text refers to: the classes of NamedTuples, and NumPy.
    """

    def __init__(self, spec: Spec, lengths: dict[str, int], namespace: dict[str, Any]) -> None:
        self.spec, self.lengths, self.namespace = spec, lengths, namespace

    def of(self, formula: Callable[[str], str]) -> str:
        """A value of this structure, whose part at a path is ``formula(path)``."""
        return self._written(self.spec, "", formula)

    def copy(self, name: str) -> str:
        """What is called ``name``, in memory of its own and in double precision, as all that follows is."""
        return self.of(lambda path: f"{name}{path} * 1.0")

    def own(self, name: str) -> str:
        """The same in memory of its own."""
        numbers = {path for path, number, _ in self.parts() if number}
        return self.of(lambda path: f"{name}{path}" if path in numbers else f"{name}{path}.copy()")

    def parts(self) -> Iterator[tuple[str, bool, bool]]:
        """What formulas are written for: (path, whether it is a number, whether it is complex)."""
        for path, leaf in paths(self.spec):
            number, is_complex = isinstance(leaf, ScalarSpec) or getattr(leaf, "rank", 1) == 0, isinstance(leaf, ComplexSpec)
            if path in self.lengths:
                yield from ((f"{path}[{k}]", True, is_complex) for k in range(self.lengths[path]))
            else:
                yield path, number, is_complex

    def _written(self, spec: Spec, path: str, formula: Callable[[str], str]) -> str:
        if isinstance(spec, NoneSpec):
            return "None"
        if not isinstance(spec, TupleSpec):
            if path not in self.lengths:
                return formula(path)
            return f"np.array([{', '.join(formula(f'{path}[{k}]') for k in range(self.lengths[path]))}])"
        inner = [self._written(item, path + step, formula) for step, item in items(spec)]
        if spec.cls is None:
            return f"({', '.join(inner)}{',' * (len(inner) == 1)})"
        name = f"{spec.cls.__name__}_{len(self.namespace)}"
        name = next((known for known, thing in self.namespace.items() if thing is spec.cls), name)
        self.namespace[name] = spec.cls
        return f"{name}({', '.join(inner)})"


def items(spec: TupleSpec) -> Iterator[tuple[str, Spec]]:
    """The parts of a tuple, with what follows its name to get them."""
    for k, item in enumerate(spec.items):
        yield (f".{spec.fields[k]}" if spec.fields is not None else f"[{k}]"), item


def paths(spec: Spec, path: str = "") -> Iterator[tuple[str, Spec]]:
    """The leaves, complex ones whole, with their paths."""
    if isinstance(spec, TupleSpec):
        for step, item in items(spec):
            yield from paths(item, path + step)
    elif not isinstance(spec, NoneSpec):
        yield path, spec


def vectors_in_tuples(spec: Spec, found: Spec, name: str, path: str = "") -> dict[str, int]:
    """The lengths of what ``name`` returns as tuples of numbers where the state has vectors, by path.

    StructureError unless ``found`` has the structure ``spec`` of the state otherwise.
    """
    whose = f"y{path}" if path else "y"
    if isinstance(spec, TupleSpec):
        if not isinstance(found, TupleSpec) or len(found.items) != len(spec.items):
            raise StructureError(f"Got {found} from {name}, but expected the structure of {whose}, {spec}")
        if spec.fields is not None and found.fields != spec.fields:  # formulas read them by their names
            got = "a plain tuple" if found.fields is None else f"fields {', '.join(found.fields)}"
            wanted = f"a {getattr(spec.cls, '__name__', '')}, like {whose}: {', '.join(spec.fields)}"
            raise StructureError(f"Got {got} from {name}, but expected {wanted}")
        out: dict[str, int] = {}
        for (step, item), other in zip(items(spec), found.items, strict=True):
            out |= vectors_in_tuples(item, other, name, path + step)
        return out
    rank = getattr(spec, "rank", 0)
    if rank == 1 and isinstance(found, TupleSpec) and all(getattr(item, "rank", 0) == 0 for item in found.items):
        return {path: len(found.items)}
    alike = not isinstance(found, (TupleSpec, NoneSpec)) and getattr(found, "rank", 0) == rank
    if not alike or (isinstance(found, ComplexSpec) and not isinstance(spec, ComplexSpec)):
        raise StructureError(f"Got {found} from {name}, but expected something like {whose}, {spec}")
    return {}
