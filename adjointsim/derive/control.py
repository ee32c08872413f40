"""What a compiled driver and its executor say to each other: actions beyond a schedule's, statuses, and places in ``ctl``."""

from __future__ import annotations

__all__ = [
    "BUDGET", "DONE", "DRIVER_VERBS", "FORWARD", "HIGH", "KEPT", "LOOK_ACTION", "MOST_THREADS", "MOVED", "MOVED_BARS", "N",
    "OBSERVED",
    "PAUSE", "PLACE", "PLACES", "REVERSED", "ROW", "SEED_ACTION", "SHARED", "STAGE", "STOP", "TURN", "TURNED", "TURN_ACTION",
    "UNOBSERVED",
    "VJPS", "WATCHED",
]  # fmt: skip

DONE, TURN, PAUSE, STOP = 0, -2, -3, -4
LOOK_ACTION = 8  #: a row (LOOK_ACTION, a, b, slot): what RECORD does, where slots hold the states already
SEED_ACTION = 7  #: a row (SEED_ACTION, N, N, slot): add the cotangents of the observations at y_N; y_{N-1} is as at the turn
TURN_ACTION = 6  #: a row (TURN_ACTION, n, n + 1, slot): from y_n in the slot (-1: current), run the last step, keep both states

#: places in ``ctl``; MOVED and MOVED_BARS count how often the buffers of the state and of its cotangent have moved on, and
#: with SHARED a leaf of a slot that is another leaf of the slot before it is the same memory; the last row of all slots has what
#: VJPs need of state KEPT
ROW, N, HIGH, MOVED, MOVED_BARS, BUDGET, FORWARD, VJPS, OBSERVED, UNOBSERVED, TURNED, PLACE, REVERSED, STAGE, WATCHED = range(15)
KEPT, SHARED, PLACES = 15, 16, 17
MOST_THREADS = 64  #: that may share loops
#: what ``ctl[PLACE]`` says: which kernel was running
DRIVER_VERBS = ("step", "running", "observe", "misfit", "step_vjp", "running_vjp", "observe_vjp", "misfit_vjp", "until")
