"""What a function is, told from others across processes: a run that goes on must be the one that was begun."""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from numbers import Number
from typing import Any

import numpy as np

from .registry import CustomFunction, Described, is_known

__all__ = ["identity_of"]

_DEEP = 50  # values within values; what is deeper is looked into afterwards, lest Python's stack overflow


def identity_of(function: Any) -> str:
    """A hash of what something that can be called is: its bytecode, that of what it calls and of the rules of custom
    functions, and the values that all these use from outside.

    Containers, objects and their classes are looked into as far as Python can: what an extension's object holds is not known,
    such are told by their types.
    """
    return _Identity(function, "function").digest


class _Identity(Described):
    """With the contents of arrays, containers and objects, and with the rules of custom functions."""

    def __init__(self, function: Any, name: str) -> None:
        self._objects: list[Any] = []  # that were looked into; held, so that no other one gets their ids
        self._depth, self._later = 0, deque[tuple[str, Any, Sequence[str]]]()
        super().__init__(function, name)
        while self._later:
            self._value(*self._later.popleft())

    def _value(self, name: str, obj: Any, names: Sequence[str]) -> None:
        if self._depth > _DEEP:
            self._later.append((name, obj, names))
            return
        self._depth += 1
        try:
            self._look_into(name, obj, names)
        finally:
            self._depth -= 1

    def _look_into(self, name: str, obj: Any, names: Sequence[str]) -> None:
        super()._value(name, obj, names)
        if isinstance(obj, CustomFunction):
            for kind in ("vjp_rule", "jvp_rule", "shape"):
                self._value(f"{name}.{kind}", getattr(obj, kind), ())
        elif hasattr(obj, "hand_vjp"):  # a step
            self._value(f"{name}.vjp", obj.hand_vjp, ())
        elif isinstance(obj, types.BuiltinFunctionType) and not isinstance(obj.__self__, (types.ModuleType, type)):
            self._value(f"{name}.__self__", obj.__self__, ())  # a method of a container

    def _array(self, name: str, obj: np.ndarray) -> None:
        if obj.dtype.hasobject:
            self._items(name, obj.reshape(-1).tolist())
        else:
            held = hashlib.sha256(np.ascontiguousarray(obj).view(np.uint8)).hexdigest()
            self.parts.append(f"{name}: {obj.dtype} {obj.shape} {held}")

    def _class(self, name: str, obj: type, names: Sequence[str]) -> None:
        super()._class(name, obj, names)
        if not self._is_new(obj):
            return
        for cls in obj.__mro__:
            if not (_is_library(cls.__module__) or hasattr(cls, "_fields")):
                for attr, value in sorted(vars(cls).items()):
                    if attr not in _OF_CLASSES:
                        self._value(f".{attr}", value, ())

    def _other(self, name: str, obj: Any) -> None:
        self.parts.append(f"{name} is a {type(obj).__module__}.{type(obj).__qualname__}")
        if not self._is_new(("object", id(obj))):
            return
        self._objects.append(obj)
        if isinstance(obj, Number):
            self.parts.append(repr(obj))
        elif isinstance(obj, Mapping):
            self._items(name, [part for item in obj.items() for part in item])
        elif isinstance(obj, Set):
            self._items(name, sorted(obj, key=repr))
        elif isinstance(obj, Sequence):
            self._items(name, obj)
        else:
            self._class(name, type(obj), ())
            for attr, value in _state(obj):
                self._value(f".{attr}", value, ())

    def _items(self, name: str, items: Sequence[Any]) -> None:
        self.parts.append(f"{name} has {len(items)}")
        for k, item in enumerate(items):
            self._value(f"[{k}]", item, ())  # not with ``name``: names would grow with the depth


#: what every class has, or what its functions say as well
_OF_CLASSES = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__firstlineno__"})

_WRAPPERS = (functools.partial, types.MethodType, staticmethod, classmethod, property, functools._lru_cache_wrapper)
_PARTS = ("func", "args", "keywords", "__func__", "__self__", "fget", "__wrapped__")


def _is_python(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _is_library(module: str) -> bool:
    """Whether a class comes with Python, or from a package that is told by its version."""
    return is_known(module) or _is_python(module) or module.partition(".")[0] == "adjointsim"


def _state(obj: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an object.  What it has computed and kept is not what it is, nor is a logger, a lock or a file."""
    if isinstance(obj, _WRAPPERS):
        yield from ((part, getattr(obj, part)) for part in _PARTS if hasattr(obj, part))
        return
    if _is_python(type(obj).__module__) and not isinstance(obj, types.SimpleNamespace):
        return
    slots = [slot for cls in type(obj).__mro__ for slot in getattr(cls, "__slots__", ())]
    for attr in sorted({*getattr(obj, "__dict__", {}), *slots} - _OF_CLASSES):
        if hasattr(obj, attr) and not isinstance(getattr(type(obj), attr, None), functools.cached_property):
            yield attr, getattr(obj, attr)
