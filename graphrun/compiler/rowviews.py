"""Values that are rows of another one: found, and made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from graphrun.compiler.ir import Node, Value
from graphrun.compiler.views import block_of
from graphrun.graph.opdef import get_op


class Rows(NamedTuple):
    """A matrix that is some rows of what `source` is as a matrix of `width` columns."""

    source: Value
    first: int
    rows: int
    width: int


def rows_of(value: Value) -> Rows | None:
    """Which rows of another value a matrix is; None where it is none of that."""
    dims = value[0].specs[value[1]].dims
    if len(dims) != 2 or 0 in dims:
        return None
    source, offset = block_of(value)
    all_elements = math.prod(source[0].specs[source[1]].dims)
    if source == value or offset % dims[1] or all_elements % dims[1]:
        return None
    return Rows(source, offset // dims[1], dims[0], dims[1])


def in_one_piece(parts: Sequence[Value]) -> Rows | None:
    """The rows that some matrices are together, where each begins where the one before it ends."""
    found = [rows_of(v) for v in parts]
    first = found[0]
    at = first.first if first is not None else 0
    for part in found:
        if part is None or first is None or part.first != at:
            return None
        if part.source != first.source or part.width != first.width:
            return None
        at += part.rows
    assert first is not None
    return first._replace(rows=at - first.first)


def as_matrix(source: Value, width: int, like: Node, made: list[Node]) -> Value:
    """`source` as a matrix of `width` columns; nodes are added to `made`, and stand for `like`."""
    spec = source[0].specs[source[1]]
    dims = (math.prod(spec.dims) // width, width)
    return source if spec.dims == dims else _built("reshape", source, {"shape": dims}, like, made)


def some_rows(matrix: Value, first: int, count: int, like: Node, made: list[Node]) -> Value:
    """Rows of a matrix."""
    if (first, count) == (0, matrix[0].specs[matrix[1]].dims[0]):
        return matrix
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    bounds = {"begin": (first,), "end": (first + count,), "strides": (1,)}
    return _built("strided_slice", matrix, bounds | dict.fromkeys(masks, 0), like, made)


def some_columns(matrix: Value, first: int, last: int, turned: bool, like: Node, made: list[Node]) -> Value:
    """Columns of a matrix, or rows where its transpose is meant."""
    rows, columns = matrix[0].specs[matrix[1]].dims
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    begin, end = ((first, 0), (last, columns)) if turned else ((0, first), (rows, last))
    bounds = {"begin": begin, "end": end, "strides": (1, 1)}
    return _built("strided_slice", matrix, bounds | dict.fromkeys(masks, 0), like, made)


def _built(name: str, value: Value, attrs: dict[str, object], like: Node, made: list[Node]) -> Value:
    new = Node(get_op(name), [value], attrs, (), like.origin, like.device)
    new.specs = tuple(new.op.check(like.name, like.site, new.input_specs, attrs))
    made.append(new)
    return new, 0
