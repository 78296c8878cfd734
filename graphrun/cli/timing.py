"""Timing several things against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_SETTLE_STEP_S = 0.02
_LONGEST_SETTLE_S = 0.5
_IDLE_SHARE = 0.1


@dataclass(frozen=True)
class Timing:
    """How long one thing took.

    Attributes
    ----------
    median_s, min_s : float
    repeats : int
    """

    median_s: float
    min_s: float
    repeats: int

    @classmethod
    def of(cls, samples_s: Sequence[float]) -> Timing:
        """Return the timing of these measurements."""
        return cls(statistics.median(samples_s), min(samples_s), len(samples_s))


def settle(
    cpu_time: Callable[[], float] = time.process_time, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Wait until the threads of whatever ran before have fallen asleep.

    OpenBLAS's spin for about a tenth of a second when they have nothing to do; an OpenCL device that is the
    same processor would be measured with what they leave of it, at half its speed or less.
    """
    for _ in range(round(_LONGEST_SETTLE_S / _SETTLE_STEP_S)):
        before_s = cpu_time()
        sleep(_SETTLE_STEP_S)
        if cpu_time() - before_s < _IDLE_SHARE * _SETTLE_STEP_S:
            return


def alternate(
    runs: Sequence[Callable[[], object]],
    *,
    budget_s: float = 0.4,
    turns: int = 4,
    max_repeats: int = 100,
    warm_up_s: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[], object] = settle,
) -> list[Timing]:
    """Time `runs` in turns, so that a machine that slows down or speeds up does so for all of them.

    Parameters
    ----------
    runs : sequence of callables
        Each returns when its work is done.
    budget_s : float
        Time for each of them, in all its turns.
    turns : int
        Each has so many, with a pause and an untimed run before each.  In a turn it runs at least once.
    max_repeats : int
        The most timed runs of each, in all its turns.
    warm_up_s : float
        So long the untimed runs before each turn go on.  After a pause, the threads of a driver may wake up
        on one core together, and it takes a while until the system has moved them apart.
    """
    for run in runs:
        run()
    samples: list[list[float]] = [[] for _ in runs]
    for _ in range(turns):
        for run, taken in zip(runs, samples):
            if len(runs) > 1:
                pause()
            begin = clock()
            run()
            while clock() - begin < warm_up_s:
                run()
            spent_s = 0.0
            for _ in range(max(1, max_repeats // turns)):
                begin = clock()
                run()
                elapsed_s = clock() - begin
                taken.append(elapsed_s)
                spent_s += elapsed_s
                if spent_s > budget_s / turns:
                    break
    return [Timing.of(taken) for taken in samples]
