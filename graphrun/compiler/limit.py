"""A session's limit on memory, with which each plan is compared before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

from graphrun.compiler.fusion import FUSED
from graphrun.compiler.ir import Node, Program, Value
from graphrun.compiler.lives import Lives
from graphrun.compiler.lower import lower
from graphrun.compiler.order import sparing_order
from graphrun.compiler.placement import Target
from graphrun.compiler.plan import Plan
from graphrun.compiler.schedule import schedule
from graphrun.compiler.spare import Snapshot, spare
from graphrun.compiler.steps import size_bytes
from graphrun.device_names import NUMPY
from graphrun.errors import GraphError, MemoryLimitError, format_site, message
from graphrun.shapes import format_shape

# What is asked of `spare`, as shares of what seems to be enough.
GOALS = (1.0, 0.9, 0.7, 0.4)
NAMED_VALUES = 5
_UNITS = {
    "b": 1, "bytes": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip


@dataclass(frozen=True)
class MemoryLimit:
    """The most bytes that a run may need on a device, and whether values may be recomputed for that."""

    size_bytes: int
    recompute: bool = False


def memory_limit(limit: Any, recompute: bool = False) -> MemoryLimit | None:
    """Return the limit that a session was given, as a number of bytes or as text; None for None.

    Raises
    ------
    GraphError
        If it cannot be understood.

    Examples
    --------
    >>> memory_limit("1.5 KiB")
    MemoryLimit(size_bytes=1536, recompute=False)
    """
    if limit is None and not recompute:
        return None
    size: float = -1
    if isinstance(limit, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", limit)
        if found and (unit := _UNITS.get(found[2].lower() or "b")):
            size = float(found[1]) * unit
    elif isinstance(limit, Real) and not isinstance(limit, bool) and limit == limit:
        size = float(limit)
    if not 1 <= size < 1 << 63:
        why = "with recompute=True and no memory_limit" if limit is None else f"with memory_limit={limit!r}"
        raise GraphError(
            message(
                f"gr.Session {why}", expected="a number of bytes, or text as '512 MiB' or '2 GB'",
                fix="recompute=True saves as much memory as memory_limit asks for",
            )
        )  # fmt: skip
    return MemoryLimit(int(size), recompute)


def within_limit(
    program: Program, plan: Plan, target: Target, done: Callable[..., Program], stay: bool = False
) -> Plan:
    """Return `plan`, or one that needs less memory, if it keeps to the limit of `target`.

    Parameters
    ----------
    program : Program
        What `plan` was made of.
    plan : Plan
    target : Target
    done : function
        Told of the program after ``spare``.
    stay : bool
        As for `lower`.

    Raises
    ------
    MemoryLimitError
        If it does not.
    """
    limit = target.memory
    if limit is None or not (over := _over(plan, limit)):
        return plan
    program.nodes = schedule(program)
    first = {device: needed_bytes(plan, device) for device in (NUMPY, *plan.devices)}
    zero_copy = {d: d != NUMPY and target.capabilities[d].zero_copy for d in first}

    def estimated(device: str) -> int:
        return Lives(program, device, zero_copy[device]).peak_bytes

    def better_order() -> None:
        old, before = program.nodes, {d: estimated(d) for d in over}
        program.nodes = sparing_order(program)
        if any(estimated(d) >= before[d] for d in over):
            program.nodes = old

    better_order()
    plan = lower(program, target, stay, ordered=True)
    if not (over := _over(plan, limit)):
        return plan
    if limit.recompute:
        begun = Snapshot(program)
        best = plan, over, begun
        # The exact peak is known of a plan alone, so that the goals are a guess: lower ones follow.
        goals = {d: max(estimated(d) - excess, 0) for d, excess in over.items()}
        for share in GOALS:
            begun.restore(program)
            tried = {d: (int(share * goal), zero_copy[d]) for d, goal in goals.items()}
            program = done("spare", spare(program, tried), placed=True)
            better_order()
            plan = lower(program, target, stay, ordered=True)
            if not (over := _over(plan, limit)):
                return plan
            if max(over.values()) < max(best[1].values()):
                best = plan, over, Snapshot(program)
        plan, over, found = best
        found.restore(program)
    device = max(over, key=lambda d: over[d])
    raise _error(program, plan, limit, device, first[device], zero_copy[device])


def needed_bytes(plan: Plan, device: str) -> int:
    """What a run needs on a device: for its own values at the peak, and for the variables that it touches."""
    return plan.peak_bytes(device) + variable_bytes(plan, device)


def variable_bytes(plan: Plan, device: str) -> int:
    """Bytes of the variables that a plan reads or writes on a device."""
    if device != NUMPY:
        return sum(b.size_bytes for b in plan.buffers if b.device == device and b.kind == "state")
    keys = {key for _, key in plan.host_states} | {key for key, _ in plan.host_updates}
    return sum(size_bytes(plan.state_specs[key]) for key in keys)


def _over(plan: Plan, limit: MemoryLimit) -> dict[str, int]:
    """By how many bytes the limit is exceeded, on each device on which it is."""
    excess = {d: needed_bytes(plan, d) - limit.size_bytes for d in (NUMPY, *plan.devices)}
    return {d: e for d, e in excess.items() if e > 0}


def _error(
    program: Program, plan: Plan, limit: MemoryLimit, device: str, first: int, zero_copy: bool
) -> MemoryLimitError:
    needed, variables = needed_bytes(plan, device), variable_bytes(plan, device)
    got = [f"{needed - variables:,} bytes of values at the peak, {variables:,} of variables"]
    if limit.recompute:
        got.append(
            f"recomputing has brought it down from {first:,} bytes, and finds no more to drop"
            if needed < first
            else "recomputing would not lower it"
        )
    lives = Lives(program, device, zero_copy)
    at = lives.peak_at
    if at < len(program.nodes):
        got.append(f"the peak is at {_described(program.nodes[at])}")
    else:
        got.append("the peak is at the end, where results are handed out")
    there = [life for life in lives.of.values() if life.start <= at <= life.end and life.size_bytes]
    there.sort(key=lambda life: -life.size_bytes)
    got.append("the largest values there:")
    got += [f"  {life.size_bytes:,} bytes: {_value(life.value)}" for life in there[:NAMED_VALUES]]
    ways = ["feed a smaller batch", "use gr.float16 for what is large"]
    if not limit.recompute:
        ways.insert(1, "pass Session(recompute=True) to compute cheap values again instead of keeping them")
    ways.append("raise memory_limit")
    what = (
        f"a run needs {needed:,} bytes on {device}, {needed - limit.size_bytes:,} more than the session's"
        f" memory_limit of {limit.size_bytes:,}"
    )
    return MemoryLimitError(message(what, got=got, fix=", or ".join([", ".join(ways[:-1]), ways[-1]])))


def _described(node: Node) -> str:
    # A group is known to the user by its last operation.
    op = node.origin.opdef.name if node.origin is not None else node.op.name
    return f"{op} '{node.name}' {format_site(node.site)}".rstrip()


def _value(value: Value) -> str:
    node, i = value
    spec = node.specs[i]
    on_the_way = ""
    if node.op is FUSED and i:
        group: Any = node.attrs["group"]
        on_the_way = f"{group.instructions[group.results[i]].op} on the way to "
    return f"{format_shape(spec.shape)} {spec.dtype}, {on_the_way}{_described(node)}"
