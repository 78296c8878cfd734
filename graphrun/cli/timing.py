"""Timing several things against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WARM_UPS = 2


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


def alternate(
    runs: Sequence[Callable[[], object]],
    *,
    budget_s: float = 0.4,
    min_repeats: int = 5,
    max_repeats: int = 100,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Time `runs` in turns, so that a machine that slows down or speeds up does so for all of them.

    Parameters
    ----------
    runs : sequence of callables
        Each returns when its work is done.
    budget_s : float
        Time for each of them, after which no further turn begins.
    min_repeats, max_repeats : int
        Bounds that hold whatever the budget.
    """
    for run in runs:
        for _ in range(_WARM_UPS):
            run()
    samples: list[list[float]] = [[] for _ in runs]
    spent_s = 0.0
    for turn in range(max_repeats):
        if turn >= min_repeats and spent_s > budget_s * len(runs):
            break
        for run, taken in zip(runs, samples):
            begin = clock()
            run()
            elapsed_s = clock() - begin
            taken.append(elapsed_s)
            spent_s += elapsed_s
    return [Timing.of(taken) for taken in samples]
