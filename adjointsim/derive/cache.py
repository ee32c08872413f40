"""Derived things kept from one call to the next: the latest few, made by one thread at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

__all__ = ["Cache"]


class _Derived(Protocol):
    def stale(self) -> bool: ...


T = TypeVar("T", bound=_Derived)


class Cache(Generic[T]):
    """At most ``size`` things, the least recently used forgotten first.

    What is stale is made again.  Threads that ask for the same thing at the same time get the same thing.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.RLock()  # the making of one thing may need another
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing of this key, made by ``make`` if it is not there or stale."""
        with self._lock:
            found = self._kept.get(key)
            if found is None or found.stale():
                found = self._kept[key] = make()
                while len(self._kept) > self.size:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return found
