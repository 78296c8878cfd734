"""Launches of ``kernels/gemm_gpu.cl``: which tile a work-group makes, and whether a long sum is split.

Large tiles read less from memory, small ones keep more compute units busy; the estimate weighs both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from graphrun.graph.descriptor import Capabilities, KernelPlan
from graphrun.ops.plans.gemm_cpu import sum_launch
from graphrun.ops.plans.gemm_problem import (
    REAL_BYTES,
    Problem,
    ceil_div,
    product_launches,
    storage_defines,
)

FILE = "gemm_gpu.cl"


class GpuTile(NamedTuple):
    """A work-group's tile, a work-item's part of it, and the share of the best tile's speed."""

    tm: int
    tn: int
    tk: int
    rm: int
    rn: int
    weight: float

    @property
    def group(self) -> tuple[int, int, int]:
        """The local size."""
        return self.tn // self.rn, self.tm // self.rm, 1

    def local_bytes(self, real_bytes: int) -> int:
        """Local memory that a work-group takes."""
        return 2 * self.tk * (self.tm + self.tn + 8) * real_bytes


# Each that is chosen is one more kernel to build.
TILES = (
    GpuTile(128, 128, 16, 8, 8, 1.0), GpuTile(128, 128, 8, 8, 8, 0.95), GpuTile(128, 64, 16, 8, 4, 0.8),
    GpuTile(64, 64, 16, 4, 4, 0.65), GpuTile(32, 64, 16, 2, 4, 0.45), GpuTile(16, 64, 32, 1, 4, 0.3),
    GpuTile(64, 16, 32, 4, 1, 0.3), GpuTile(16, 16, 32, 1, 1, 0.12), GpuTile(32, 32, 16, 4, 4, 0.3),
    GpuTile(8, 32, 16, 1, 4, 0.15), GpuTile(32, 8, 16, 4, 1, 0.15),
)  # fmt: skip
_LAUNCH_STEPS = 1 << 19  # multiply-adds of one compute unit in the time of a launch


def label_of(tile: GpuTile) -> str:
    """The name of a tile, as tuning has it: of a work-group, and of a work-item."""
    return f"{tile.tm}x{tile.tn}x{tile.tk} {tile.rm}x{tile.rn}"


def ways_gpu(problem: Problem, capabilities: Capabilities) -> list[str]:
    """Return the names of the tiles that `problem` can be done with, the one that is chosen first."""
    costs = ((_best(problem, capabilities, (tile,)), tile) for tile in TILES)
    found = sorted((best[0], label_of(tile)) for best, tile in costs if best is not None)
    return [label for _, label in found]


def plan_gpu(problem: Problem, capabilities: Capabilities, wanted: str = "") -> KernelPlan | None:
    """Return the launches of `problem`, with the tile named `wanted` if it fits; None where none does."""
    named = tuple(tile for tile in TILES if label_of(tile) == wanted)
    best = _best(problem, capabilities, named) or _best(problem, capabilities, TILES)
    return None if best is None else plan_with(problem, best[1], best[2])


def _best(
    problem: Problem, capabilities: Capabilities, tiles: tuple[GpuTile, ...]
) -> tuple[float, GpuTile, int] | None:
    """The estimate of the best tile and number of parts, and what these are."""
    real_bytes = REAL_BYTES[problem.real]
    units = max(capabilities.compute_units, 1)
    best: tuple[float, GpuTile, int] | None = None
    for tile in tiles:
        if tile.group[0] * tile.group[1] > capabilities.max_work_group_size:
            continue
        if tile.local_bytes(real_bytes) > capabilities.local_mem_bytes:
            continue
        groups = ceil_div(problem.m, tile.tm) * ceil_div(problem.n, tile.tn) * problem.batch_count
        splits = 1
        while True:
            # Groups that share a unit hide each other's waiting: one alone runs at half the speed.
            rounds = max(ceil_div(groups * splits, units), 2)
            cost = rounds * tile.tm * tile.tn * (ceil_div(problem.k, splits) + 32) / tile.weight
            if splits > 1:
                cost += _LAUNCH_STEPS + 4 * problem.m * problem.n * problem.batch_count * splits / units
            if best is None or cost < best[0]:
                best = cost, tile, splits
            if groups * splits >= 2 * units or problem.k < 512 * splits or len(problem.batch) > 3:
                break
            splits *= 2
    return best


def plan_with(problem: Problem, tile: GpuTile, splits: int) -> KernelPlan:
    """Return the launches with this tile and about so many parts of each sum."""
    length = ceil_div(ceil_div(problem.k, splits), tile.tk) * tile.tk if splits > 1 else problem.k
    splits = max(ceil_div(problem.k, length), 1) if length else 1
    stored = problem if splits == 1 else replace(problem, out_half=False, by_lane=False)
    lanes = 4 if tile.rn % 4 == 0 else 1
    defines: dict[str, Any] = {
        **storage_defines(stored, problem.a, problem.b),
        "TM": tile.tm, "TN": tile.tn, "TK": tile.tk, "RM": tile.rm, "RN": tile.rn, "W": lanes,
    }  # fmt: skip
    if REAL_BYTES[problem.real] < 4:
        defines["NARROW"] = 1
    groups = ceil_div(problem.n, tile.tn), ceil_div(problem.m, tile.tm)
    target = ("out", 0) if splits == 1 else ("scratch", 0)
    launches = product_launches(
        stored, problem.a, problem.b, problem.batch, (FILE, "gemm_local"), defines, groups, tile.group,
        target=target, parts=(splits, length),
    )  # fmt: skip
    if splits == 1:
        return KernelPlan(tuple(launches))
    launches.append(sum_launch(problem, target, splits, 4, 1))
    size = splits * problem.batch_count * problem.m * problem.n * REAL_BYTES[problem.real]
    return KernelPlan(tuple(launches), (size,))
