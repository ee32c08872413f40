"""Where states live, and how many of them fit."""

from __future__ import annotations

from adjointsim.storage.planner import Plan, choose, forward_steps, parse_bytes, plan

__all__ = ["Plan", "choose", "forward_steps", "parse_bytes", "plan"]
