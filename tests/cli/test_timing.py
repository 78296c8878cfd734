"""Timing several things in turns, with a clock that the test moves."""

from __future__ import annotations

import pytest

from graphrun.cli.timing import Timing, alternate, settle


class Clock:
    def __init__(self):
        self.now = 0.0
        self.log = ""

    def __call__(self):
        return self.now

    def pause(self):
        self.log += "."

    def runs(self, name, *seconds):
        durations = iter(seconds)

        def run():
            self.now += next(durations, seconds[-1])
            self.log += name

        return run


def test_turns_and_medians():
    clock = Clock()
    # The first run, and one before each turn, do not count.
    a = clock.runs("a", 9.0, 9.0, 1.0, 9.0, 5.0, 9.0, 2.0)
    b = clock.runs("b", 4.0)
    timings = alternate([a, b], budget_s=0.0, turns=3, clock=clock, pause=clock.pause)
    assert clock.log == "ab" + ".aa.bb" * 3
    assert timings == [Timing(2.0, 1.0, 3), Timing(4.0, 4.0, 3)]


def test_budget_and_bounds():
    clock = Clock()
    (timing,) = alternate([clock.runs("a", 0.25)], budget_s=2.0, turns=2, clock=clock)
    assert timing.repeats == 2 * 5  # a turn ends with the run after which its second is over
    assert "." not in clock.log, "one alone disturbs nobody"
    (timing,) = alternate([clock.runs("a", 0.001)], budget_s=2.0, turns=2, max_repeats=20, clock=clock)
    assert timing.repeats == 20
    assert alternate([]) == []


def test_warm_up_goes_on_for_its_time():
    clock = Clock()
    a = clock.runs("a", 9.0, 0.5, 0.5, 0.5, 7.0)  # checked once; three runs until a second is over; timed
    (timing,) = alternate([a], budget_s=0.0, turns=1, warm_up_s=1.25, clock=clock)
    assert clock.log == "aaaaa" and timing == Timing(7.0, 7.0, 1)


def test_settling_ends_when_the_process_is_idle():
    spent = iter([0.0, 0.02, 0.02, 0.035, 0.035, 0.036, 0.036, 0.036])
    naps = []
    settle(lambda: next(spent), naps.append)
    assert len(naps) == 3
    busy = iter(range(1000))
    naps.clear()
    settle(lambda: next(busy), naps.append)
    assert sum(naps) == pytest.approx(0.5), "and it ends in any case"
