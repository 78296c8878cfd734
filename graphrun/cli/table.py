"""Plain-text tables: aligned, ASCII, without colours, so that they look the same in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_GAP = "  "


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    title : str
    right : bool
        Align to the right, as numbers are.
    group : str
        A heading over several neighbours.
    """

    title: str
    right: bool = True
    group: str = ""


def render(columns: Sequence[Column], rows: Sequence[Sequence[str]], indent: int = 2) -> str:
    """Return the table as lines.

    Parameters
    ----------
    columns : sequence of Column
    rows : sequence of sequences of str
        A row that is shorter than `columns` ends in a text that may run on to the right.
        An empty row is an empty line.

    Examples
    --------
    >>> print(render([Column("n"), Column("device", right=False), Column("ms")],
    ...              [["64", "cpu:0", "0.25"], ["1024", "cpu:0", "10.50"]], indent=0))
       n  device     ms
    ----  ------  -----
      64  cpu:0    0.25
    1024  cpu:0   10.50
    """
    widths = [len(c.title) for c in columns]
    for row in rows:
        whole = len(row) == len(columns)
        for k, cell in enumerate(row if whole else row[:-1]):
            widths[k] = max(widths[k], len(cell))
    for first, last in _groups(columns):
        needed = len(columns[first].group) - (sum(widths[first:last]) + len(_GAP) * (last - first - 1))
        widths[first] += max(0, needed)

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(cells, widths, columns)
        ]
        if 0 < len(cells) < len(columns):
            padded[-1] = cells[-1]
        return (" " * indent + _GAP.join(padded)).rstrip()

    lines = []
    if any(c.group for c in columns):
        lines.append(_group_line(columns, widths, indent))
    lines.append(line([c.title for c in columns]))
    lines.append(" " * indent + _GAP.join("-" * width for width in widths))
    lines += [line(row) for row in rows]
    return "\n".join(lines)


def _groups(columns: Sequence[Column]) -> list[tuple[int, int]]:
    """Ranges of neighbours with the same group."""
    ranges = []
    first = 0
    for k in range(1, len(columns) + 1):
        if k == len(columns) or columns[k].group != columns[first].group:
            if columns[first].group:
                ranges.append((first, k))
            first = k
    return ranges


def _group_line(columns: Sequence[Column], widths: Sequence[int], indent: int) -> str:
    starts = [indent + sum(widths[:k]) + len(_GAP) * k for k in range(len(widths))]
    text = ""
    for first, last in _groups(columns):
        width = sum(widths[first:last]) + len(_GAP) * (last - first - 1)
        group = columns[first].group
        framed = f" {group} ".center(width, "-") if len(group) + 4 <= width else group.center(width)
        text = text.ljust(starts[first]) + framed
    return text.rstrip()


def number(value: float, digits: int = 3) -> str:
    """Return `value` with about `digits` significant digits and no exponent.

    Examples
    --------
    >>> [number(v) for v in (0.01234, 0.5, 12.345, 1234.5)]
    ['0.0123', '0.500', '12.3', '1,234']
    """
    if value == 0:
        return "0"
    size = abs(value)
    decimals = 0
    while decimals < digits + 3 and size < 10 ** (digits - 1):
        size *= 10
        decimals += 1
    return f"{value:,.{decimals}f}"
