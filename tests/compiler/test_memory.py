"""Memory plan: values that live at the same time never share a slot."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from graphrun.compiler.memory import Interval, assign_slots, peak_bytes


@st.composite
def intervals(draw: st.DrawFn) -> list[Interval]:
    lives = draw(
        st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 30), st.integers(0, 12)), max_size=40)
    )
    return [Interval(k, size, start, start + length) for k, (size, start, length) in enumerate(lives)]


@given(intervals())
@settings(max_examples=300, deadline=None)
def test_no_two_lives_that_overlap_share_a_slot(values: list[Interval]) -> None:
    slots, sizes = assign_slots(values)
    assert set(slots) == {v.key for v in values} and set(slots.values()) == set(range(len(sizes)))
    for i, a in enumerate(values):
        assert sizes[slots[a.key]] >= a.size_bytes
        for b in values[:i]:
            if slots[a.key] == slots[b.key]:
                assert a.end < b.start or b.end < a.start, (a, b)


@given(intervals())
@settings(max_examples=200, deadline=None)
def test_bounds(values: list[Interval]) -> None:
    """Whole slots take at least the peak and at most everything; none is larger than its largest value."""
    slots, sizes = assign_slots(values)
    assert peak_bytes(values) <= sum(sizes) <= sum(v.size_bytes for v in values)
    for k, size in enumerate(sizes):
        assert size == max(v.size_bytes for v in values if slots[v.key] == k)


@given(intervals())
@settings(max_examples=100, deadline=None)
def test_peak_is_the_largest_sum(values: list[Interval]) -> None:
    steps = range(max((v.end for v in values), default=0) + 1)
    assert peak_bytes(values) == max(
        sum(v.size_bytes for v in values if v.start <= s <= v.end) for s in steps
    )


@given(intervals())
@settings(max_examples=50, deadline=None)
def test_same_plan_for_the_same_values(values: list[Interval]) -> None:
    assert assign_slots(values) == assign_slots(list(values))


def test_chain_needs_two_slots() -> None:
    """Each step reads one value and writes the next."""
    values = [Interval(k, 100, k, k + 1) for k in range(50)]
    _, sizes = assign_slots(values)
    assert sizes == [100, 100] and peak_bytes(values) == 200


def test_best_fit() -> None:
    values = [
        Interval("large", 100, 0, 0), Interval("small", 10, 0, 0),
        Interval("medium", 50, 1, 1), Interval("tiny", 5, 1, 1),
    ]  # fmt: skip
    slots, sizes = assign_slots(values)
    assert (
        slots["medium"] == slots["large"] and slots["tiny"] == slots["small"] and sorted(sizes) == [10, 100]
    )


def test_largest_free_slot_grows() -> None:
    values = [Interval("a", 10, 0, 0), Interval("b", 60, 0, 0), Interval("c", 80, 1, 1)]
    slots, sizes = assign_slots(values)
    assert slots["c"] == slots["b"] and sorted(sizes) == [10, 80]


def test_nothing() -> None:
    assert assign_slots([]) == ({}, []) and peak_bytes([]) == 0
