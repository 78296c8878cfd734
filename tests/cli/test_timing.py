"""Timing several things in turns, with a clock that the test moves."""

from __future__ import annotations

from graphrun.cli.timing import Timing, alternate


class Clock:
    def __init__(self):
        self.now = 0.0
        self.log = ""

    def __call__(self):
        return self.now

    def runs(self, name, *seconds):
        durations = iter(seconds)

        def run():
            self.now += next(durations, seconds[-1])
            self.log += name

        return run


def test_turns_and_medians():
    clock = Clock()
    a = clock.runs("a", 9.0, 9.0, 1.0, 5.0, 2.0)  # the first two are warm-ups
    b = clock.runs("b", 4.0)
    timings = alternate([a, b], budget_s=0.0, min_repeats=3, clock=clock)
    assert clock.log == "aabb" + "ab" * 3
    assert timings == [Timing(2.0, 1.0, 3), Timing(4.0, 4.0, 3)]


def test_budget_and_bounds():
    clock = Clock()
    (timing,) = alternate([clock.runs("a", 0.25)], budget_s=2.0, min_repeats=2, max_repeats=100, clock=clock)
    assert timing.repeats == 9  # the turn after which 2 s are over
    (timing,) = alternate([clock.runs("a", 0.001)], budget_s=2.0, max_repeats=20, clock=clock)
    assert timing.repeats == 20
    assert alternate([]) == []
