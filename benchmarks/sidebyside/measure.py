"""Checks works in every system, then times them in turns."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphrun.cli.peaks import Peak
from graphrun.cli.timing import Timing, alternate
from sidebyside.system import Run, System
from sidebyside.work import CHECKED_STEPS, Kernel, Step, Work, reference_results, reference_steps

TURNS = 5
MAX_REPEATS = 400
WARM_UP_S = 0.08


@dataclass
class Row:
    """One work: what each system took, by key.

    Attributes
    ----------
    data : str
        One of `DATA`.
    error : dict
        As a multiple of what is tolerated: up to 1 is right.
    launches : dict
        Kernels that graphrun's plans launch in a run.
    """

    work: Work
    data: str
    timing: dict[str, Timing] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)
    problem: dict[str, str] = field(default_factory=dict)
    launches: dict[str, int] = field(default_factory=dict)

    def best_peer(self, peers: Sequence[str], minimum: bool = False) -> tuple[str, float] | None:
        """Return the fastest of these systems and its seconds."""
        times = [(self.seconds(k, minimum), k) for k in peers if k in self.timing]
        if not times:
            return None
        seconds, key = min(times)
        return key, seconds

    def seconds(self, key: str, minimum: bool = False) -> float:
        """Return a system's median or minimum."""
        return self.timing[key].min_s if minimum else self.timing[key].median_s

    def limit_s(self, peak: Peak) -> float:
        """Return what the work takes at least on a device with these peaks: arithmetic or traffic."""
        return max(self.work.flops / peak.gflop_per_s, self.work.traffic_bytes / peak.gb_per_s) / 1e9


def measure(work: Work, systems: Sequence[System], seconds: float, data: str) -> Row:
    """Check a work in all systems, then time those that are right, each for about so many seconds."""
    if isinstance(work, Step) or (isinstance(work, Kernel) and work.only_fed):
        data = "fed"
    row = Row(work, data)
    check = _checker(work)
    runs: dict[str, Run] = {}
    for system in systems:
        try:
            run = system.kernel(work, data) if isinstance(work, Kernel) else system.step(work)
            runs[system.key] = run
            row.error[system.key] = check(run)
            if run.planned is not None:
                row.launches[system.key] = run.planned().launches
        # Whatever one library raises, the others go on, and the report says it.
        except Exception as error:  # noqa: BLE001
            row.problem[system.key] = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            continue
        if not row.error[system.key] <= 1:  # also where it is NaN
            row.problem[system.key] = f"wrong: {row.error[system.key]:.1f} times the tolerated error"
    right = {k: run for k, run in runs.items() if k not in row.problem}
    calls = work.calls if isinstance(work, Kernel) else 1
    timings = alternate(
        [_repeated(run.run, calls) for run in right.values()], budget_s=seconds, turns=TURNS,
        max_repeats=MAX_REPEATS,
        warm_up_s=min(WARM_UP_S, seconds),
    )  # fmt: skip
    for key, timing in zip(right, timings):
        row.timing[key] = Timing(timing.median_s / calls, timing.min_s / calls, timing.repeats)
    for run in runs.values():
        run.close()
    runs.clear()
    right.clear()
    gc.collect()
    return row


def _checker(work: Work) -> Callable[[Any], float]:
    if isinstance(work, Kernel):
        right = reference_results(work)
        return lambda run: work.error(run.values(), right) / work.tolerance
    assert isinstance(work, Step)
    right_steps = reference_steps(work)

    def check(run: Run) -> float:
        losses = [float(run.run()) for _ in range(CHECKED_STEPS)]
        state: Any = run.values()
        return work.error(losses, state, right_steps)

    return check


def _repeated(run: Callable[[], object], calls: int) -> Callable[[], object]:
    if calls == 1:
        return run

    def several() -> None:
        for _ in range(calls):
            run()

    return several
