"""Tables that people read."""

from __future__ import annotations

from graphrun.cli.table import Column, number, render

COLUMNS = [
    Column("n"), Column("device", right=False), Column("ms", group="fed"), Column("GB/s", group="fed"),
    Column("ms", group="resident on it"),
]  # fmt: skip


def test_groups_stand_over_their_columns():
    text = render(COLUMNS, [["8", "cpu:0", "0.5", "1,000", "2"], ["", "opencl:0", "12.25", "3", "1"]])
    assert text.splitlines() == [
        "               --- fed ----  resident on it",
        "  n  device       ms   GB/s              ms",
        "  -  --------  -----  -----  --------------",
        "  8  cpu:0       0.5  1,000               2",
        "     opencl:0  12.25      3               1",
    ]


def test_text_instead_of_numbers_runs_on():
    text = render(COLUMNS, [["8", "cpu:0", "1", "2", "3"], [], ["9", "cpu:0", "failed, and this is why"]])
    *_, numbers, empty, failed = text.splitlines()
    assert numbers.split() == ["8", "cpu:0", "1", "2", "3"]
    assert empty == ""
    assert failed == "  9  cpu:0   failed, and this is why"


def test_lines_do_not_end_in_spaces():
    text = render([Column("a", right=False), Column("b", right=False)], [["long text", ""]])
    assert all(line == line.rstrip() for line in text.splitlines())


def test_numbers_have_three_digits():
    values = [0, 0.0001234, 0.01234, 0.999, 9.996, 12.34, 999.4, 1234567.0, -2.5]
    assert [number(v) for v in values] == [
        "0", "0.000123", "0.0123", "0.999", "10.00", "12.3", "999", "1,234,567", "-2.50",
    ]  # fmt: skip
