"""Memory plan: values whose lives do not overlap share a buffer.

A value lives from the step that writes it to the last step that reads it, itself or through an alias.
Buffers are whole, since sub-buffers would have to be aligned; the best fit among the free ones is taken,
and of several the smallest that is large enough, else the largest is made larger.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphrun.compiler.plan import Plan
from graphrun.compiler.steps import (
    BufferInfo,
    DownloadStep,
    HostStep,
    UploadStep,
    places_of,
    resolved,
    size_bytes,
)  # fmt: skip
from graphrun.graph.descriptor import Spec


@dataclass(frozen=True)
class Interval:
    """A value's life, in step numbers: written at `start`, read for the last time at `end`."""

    key: object
    size_bytes: int
    start: int
    end: int


def assign_slots(intervals: Sequence[Interval]) -> tuple[dict[object, int], list[int]]:
    """Return the slot of each value and the size of each slot in bytes.

    Examples
    --------
    >>> slots, sizes = assign_slots([Interval("a", 8, 0, 1), Interval("b", 8, 1, 2), Interval("c", 4, 2, 3)])
    >>> slots["a"] == slots["c"] != slots["b"], sizes
    (True, [8, 8])
    """
    slot_of: dict[object, int] = {}
    sizes: list[int] = []
    free: list[tuple[int, int]] = []  # (size, slot), sorted
    active: list[tuple[int, int]] = []  # (end, slot), a heap
    for interval in sorted(intervals, key=lambda v: (v.start, -v.size_bytes)):
        # A value that is read in the step in which another is written cannot share with it.
        while active and active[0][0] < interval.start:
            slot = heapq.heappop(active)[1]
            bisect.insort(free, (sizes[slot], slot))
        if free:
            best = bisect.bisect_left(free, (interval.size_bytes, -1))
            slot = free.pop(min(best, len(free) - 1))[1]
            sizes[slot] = max(sizes[slot], interval.size_bytes)
        else:
            slot = len(sizes)
            sizes.append(interval.size_bytes)
        slot_of[interval.key] = slot
        heapq.heappush(active, (interval.end, slot))
    return slot_of, sizes


def peak_bytes(intervals: Sequence[Interval]) -> int:
    """The largest sum of sizes that live in one step."""
    change: dict[int, int] = {}
    for v in intervals:
        change[v.start] = change.get(v.start, 0) + v.size_bytes
        change[v.end + 1] = change.get(v.end + 1, 0) - v.size_bytes
    total = most = 0
    for step in sorted(change):
        total += change[step]
        most = max(most, total)
    return most


def assign_buffers(
    plan: Plan, slot_bytes: Mapping[Any, int], device_of: Mapping[Any, str], fixed: Mapping[Any, BufferInfo]
) -> None:
    """Give each key that stands for a buffer in a plan's steps its number, and the plan its buffers.

    Parameters
    ----------
    slot_bytes, device_of : mapping
        Of the keys that may share slots: their size and their device.
    fixed : mapping
        The buffers of the other keys.
    """
    lives: dict[Any, list[int]] = {}
    for number, step in enumerate(plan.steps):
        for place in places_of(step):
            if place.buffer in slot_bytes:
                lives.setdefault(place.buffer, []).append(number)
    number_of: dict[Any, int] = {}
    for device in dict.fromkeys(device_of.values()):
        intervals = [
            Interval(key, slot_bytes[key], steps[0], steps[-1])
            for key, steps in lives.items()
            if device_of[key] == device
        ]
        slots, slot_sizes = assign_slots(intervals)
        first = len(plan.buffers)
        plan.buffers += [BufferInfo(device, "slot", s) for s in slot_sizes]
        number_of.update({key: first + slot for key, slot in slots.items()})
    for key, info in fixed.items():
        number_of[key] = len(plan.buffers)
        plan.buffers.append(info)
    plan.steps = [resolved(step, number_of) for step in plan.steps]


def host_peak_bytes(plan: Plan, register_specs: Sequence[Spec]) -> int:
    """The most memory that what a run itself makes on the host takes at one time."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, step in enumerate(plan.steps):
        if isinstance(step, HostStep):
            touched = (*step.inputs, *step.outputs)
        elif isinstance(step, UploadStep | DownloadStep):
            touched = (step.register,)
        else:
            continue
        for r in touched:
            first.setdefault(r, number)
            last[r] = number
    end = len(plan.steps)
    kept = {r for r in plan.fetches if r is not None} | {r for _, r in plan.host_updates}
    owned = set(first) - {r for r, _ in plan.feeds} - {r for r, _ in plan.constants}
    in_place = {s.outputs[0] for s in plan.steps if isinstance(s, HostStep) and s.rewrites}
    owned -= {r for r, _ in plan.host_states} | in_place
    return peak_bytes(
        [
            Interval(r, size_bytes(register_specs[r]), first[r], end if r in kept else last[r])
            for r in sorted(owned)
        ]
    )
