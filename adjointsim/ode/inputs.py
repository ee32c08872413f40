"""What a generated step and a generated integration are given besides the state: fixed structures with the user's p inside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from adjointsim.derive.spec import ArraySpec, NoneSpec, ScalarSpec, TupleSpec
from adjointsim.forms import Form, Known, form_of

from .times import room_for

__all__ = [
    "ACCUMULATE", "DONE", "EVENT", "FIXED", "LANDS", "NOT_FINITE", "STOPPED", "TOGETHER", "TOO_SMALL", "UNKNOWN", "Control",
    "Inputs", "Timed", "WithCost", "in_room", "inputs_of",
]  # fmt: skip

#: how a call of the generated integration ends
DONE, TOO_SMALL, NOT_FINITE, STOPPED, TOGETHER, ACCUMULATE, UNKNOWN = range(7)

#: kinds of steps: of a fixed length, as long as it takes to the target, and from here on to an event
FIXED, LANDS, EVENT = 0, 1, 2


class Inputs(NamedTuple):
    """The parameters of a generated step: the user's, and the steps to take.  What is not needed is None.

    Step n goes from ``time[n]`` over ``length[n]`` to ``time[n + 1]``; the right-hand side sees ``begin[n]`` and ``end[n]``
    there, which lie between the two where it may jump at one of them.  A step with ``fire[n]`` other than 0 stands still, and
    has the effects of the jumps whose bits are set.

    Where the state carries the time (:class:`Timed`), step n goes over ``length[n]`` if its ``kind`` is FIXED, to
    ``target[n]`` if it is LANDS, and else until the condition of event kind - EVENT is 0, which is after about ``length[n]``;
    ``begin`` and ``end`` are then what is added to the times for the right-hand side.
    """

    p: Any
    time: np.ndarray | None
    length: np.ndarray
    begin: np.ndarray | None = None
    end: np.ndarray | None = None
    fire: np.ndarray | None = None
    kind: np.ndarray | None = None
    target: np.ndarray | None = None
    seed: int | None = None  # of the noise that steps draw


def in_room(a: np.ndarray, steps: int) -> np.ndarray:
    """The array with zeros behind it, of the length that arrays for so many steps have."""
    out = np.zeros(room_for(steps), a.dtype)
    out[: len(a)] = a
    return out


#: the structures of what an :class:`Inputs` has besides p, if it is there
_FIELDS = (*[ArraySpec("f8", 1)] * 4, *[ArraySpec("i8", 1)] * 2, ArraySpec("f8", 1), ScalarSpec("i8"))


@lru_cache(maxsize=256)
def _form(p: Form, room: int, there: tuple[bool, ...]) -> Form:
    """The form of an :class:`Inputs` with arrays of one length."""
    items = [spec if on else NoneSpec() for spec, on in zip(_FIELDS, there, strict=True)]
    shapes = [(room,) if isinstance(item, ArraySpec) else (1,) for item in items if not isinstance(item, NoneSpec)]
    return form_of(TupleSpec((p.spec, *items), Inputs), (*p.shapes, *shapes))


def inputs_of(p: Known, arrays: Sequence[np.ndarray | None], seed: int | None) -> Known:
    """An :class:`Inputs` of arrays of one length, from ``time`` to ``target``."""
    own = [a for a in arrays if a is not None]
    there = (*[a is not None for a in arrays], seed is not None)
    form = _form(p.form, len(own[0]), there)
    return Known(form, [*p.leaves, *own, *([] if seed is None else [np.array([seed], np.int64)])])


class Control(NamedTuple):
    """What an integration is given that finds its steps: the user's p, the times to step onto, and what bounds a step.

    ``room`` and ``marks`` say by their lengths how many steps may be recorded in one call, ``logged`` for how many states there
    is room: from the first one on, before jumps and after them.
    """

    p: Any
    knots: np.ndarray  # the times to step onto, from t0 on
    begins: np.ndarray  # the same as the right-hand side sees them after,
    ends: np.ndarray  # ... and before
    fire: np.ndarray  # the jumps there, a bit each
    fresh: np.ndarray  # 1 where the right-hand side or the state jumps, else 0
    sign: float  # of the direction of time
    rtol: Any
    atol: Any
    longest: float
    room: np.ndarray
    marks: np.ndarray
    logged: np.ndarray


class WithCost(NamedTuple):
    """A state, and the integral of the running cost up to it."""

    y: Any
    cost: Any


class Timed(NamedTuple):
    """A state (with its cost, if there is one) and its time, which depends on what events were."""

    y: Any
    t: Any
