"""``adjointsim plan``: what a gradient will store and recompute, from sizes alone."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn, TypeVar

from adjointsim.errors import ArgumentError
from adjointsim.ledger import readable, readable_seconds
from adjointsim.schedules.actions import checked_steps
from adjointsim.storage import Plan, Sizes, Times, parse_bytes, parse_memory, plan
from adjointsim.storage.machine import STREAM, WRITE, cache_bytes, free_memory
from adjointsim.storage.planner import candidates, choose
from adjointsim.storage.staging import buffers

__all__ = ["main"]

_VJP = 2.0  # primal steps that a VJP takes where nothing is said
_WIDTHS = (16, 12, 10, 16, 8, 10, 10, 12)
_HEADS = ("schedule", "slots", "on disk", "primal steps", "factor", "memory", "disk", "time")

T = TypeVar("T")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def _argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser of an argument that argparse reports."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ArgumentError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def _size(name: str) -> Callable[[str], int]:
    return _argument(lambda text: parse_bytes(text, name))


def _steps(text: str) -> int:
    """``1000``, ``1_000`` or ``1e6``: an integer."""
    number: int | None = None
    with contextlib.suppress(ValueError, OverflowError):
        number = int(text) if re.fullmatch(r"\s*[-+]?[\d_]+\s*", text) else int(float(text))
    if number is None or number != float(text) and number < 2**53:
        raise ArgumentError(f"Got {text!r}, but expected an integer number of steps: 1000, 1e6")
    return checked_steps(number)


def _memory(text: str) -> int:
    """Bytes, or a fraction of what is free: "0.5"."""
    return parse_memory(float(text) if re.fullmatch(r"\d+\.\d*|\.\d+", text) else text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0.0):
        raise ArgumentError(f"Got {text!r}, but expected a positive number of seconds")
    return number


def _bandwidth(text: str) -> float:
    """Seconds a byte."""
    return 1.0 / parse_bytes(text.removesuffix("/s"), "bandwidth", "bytes a second, such as '1GB/s'")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="adjointsim", description="Exact gradients of time-stepping simulations.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    about = "What a gradient stores and recomputes in a budget, for states of a given size; no model is needed."
    add = commands.add_parser("plan", help="plan a gradient", description=about).add_argument
    add("--steps", type=_argument(_steps), required=True, metavar="N", help="time steps: 1000, 1e6")
    add("--state", type=_size("state"), required=True, metavar="BYTES", help="of a state: 80MB")
    add("--memory", type=_argument(_memory), metavar="BYTES", help="the budget: 4GB, or 0.5, a part of what is free")
    add("--working", type=_size("working"), metavar="BYTES", help="needed besides stored states (7 states)")
    add("--disk", type=_size("disk"), metavar="BYTES", help="room on a disk: 200GB")
    add("--step-seconds", type=_argument(_seconds), metavar="S", help="of a primal step")
    add("--vjp-seconds", type=_argument(_seconds), metavar="S", help="of the VJP of a step (2 primal steps)")
    add("--disk-bandwidth", type=_argument(_bandwidth), default=WRITE, metavar="RATE", help="of the disk (1GB/s)")
    return parser


def _rows(plans: Sequence[Plan], taken: Plan) -> list[str]:
    """A table of plans, with a mark at the one that would be taken."""
    lines = [" ".join(["  ", *(f"{head:>{width}}" for head, width in zip(_HEADS, _WIDTHS, strict=True))])]
    for one in plans:
        cells = [one.schedule, one.slots, one.disk_slots or "-", one.forward_steps, f"{one.recomputation_factor:.2f}"]
        cells += [readable(one.bytes), readable(one.disk_bytes) if one.disk_slots else "-"]
        cells += ["?" if one.seconds is None else readable_seconds(one.seconds)]
        mark = "->" if one is taken else "  "
        lines.append(" ".join([mark, *(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))]))
    return lines


def _plan(options: argparse.Namespace) -> list[str]:
    """The lines to be printed."""
    n, state = options.steps, options.state
    working = 7 * state if options.working is None else options.working
    if options.disk is not None:
        working += buffers(state) * state
    memory = free_memory() // 2 if options.memory is None else options.memory
    sizes = Sizes(n, state, working, memory, options.disk)
    times = None
    if options.step_seconds is not None:
        vjp = options.vjp_seconds or _VJP * options.step_seconds
        times = Times(options.step_seconds, vjp, STREAM, options.disk_bandwidth, options.disk_bandwidth, cache_bytes())
    best = choose(n, state, working, memory=memory, disk=options.disk, times=times)
    others = candidates(sizes, sizes.slots, times or Times(1.0, _VJP, cache=cache_bytes()))
    if options.disk is not None:  # what there would be without it
        others += candidates(replace(sizes, disk=None), sizes.slots)
    plans = {_seen(one): one for one in (plan(s, state, working, times=times) for s in [best, *others])}
    budget = f"memory {readable(memory)}" + (" (half of what is free)" if options.memory is None else "")
    disk = "" if options.disk is None else f", disk {readable(options.disk)}"
    head = f"{n} steps, states of {readable(state)}, {budget}{disk}; {readable(sizes.in_all)} to store every state"
    fewest = "steps" if options.disk is None else "steps, and states written and read, together"
    why = "the fastest" if times is not None else f"the fewest {fewest}; with --step-seconds the fastest"
    if options.disk is not None:
        why += ", and what is on the disk lets a run that is killed go on"
    taken = next(iter(plans))
    return [head, "", *_rows(list(plans.values()), plans[taken]), "", f"-> would be taken: {why}"]


def _seen(one: Plan) -> tuple[str, int, int, int]:
    """What is told apart in a table."""
    return one.schedule, one.slots, one.disk_slots, one.forward_steps


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; what cannot be is one line, and exit code 2."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.vjp_seconds is not None and options.step_seconds is None:
        parser.error("--vjp-seconds needs --step-seconds")
    try:
        lines = _plan(options)
    except ArgumentError as error:
        parser.error(str(error))
    print("\n".join(lines))
    return 0
