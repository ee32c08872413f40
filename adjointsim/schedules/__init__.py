"""Schedules: in which order a sweep stores, recomputes and reverses.  Integers only: no arrays, no model."""

from __future__ import annotations

from adjointsim.schedules.actions import (
    ADVANCE,
    END,
    KINDS,
    LOAD,
    RECORD,
    REVERSE,
    STORE,
    Action,
    Schedule,
    Stream,
    actions,
)  # fmt: skip
from adjointsim.schedules.binomial import Binomial, F, G, P, beta, repetitions
from adjointsim.schedules.foreign import from_actions
from adjointsim.schedules.listed import Listed
from adjointsim.schedules.mixed import M, Mixed
from adjointsim.schedules.online import Online, OnlineStream
from adjointsim.schedules.periodic import Periodic
from adjointsim.schedules.periodic_disk import PeriodicDisk
from adjointsim.schedules.segmented import Segmented
from adjointsim.schedules.store_all import StoreAll
from adjointsim.schedules.store_all_disk import StoreAllDisk
from adjointsim.schedules.two_level import TwoLevel

__all__ = [
    "ADVANCE", "END", "KINDS", "LOAD", "RECORD", "REVERSE", "STORE", "Action", "Binomial", "F", "G", "Listed", "M", "Mixed",
    "Online", "OnlineStream", "P", "Periodic", "PeriodicDisk", "Schedule", "Segmented", "StoreAll", "StoreAllDisk", "Stream",
    "TwoLevel", "actions", "beta", "from_actions", "repetitions",
]  # fmt: skip
