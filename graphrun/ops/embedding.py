"""Embeddings whose rows are spread over several tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphrun.errors import GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import floordiv, floormod, maximum
from graphrun.ops.compare import equal, less, select
from graphrun.ops.convert import cast
from graphrun.ops.fill import shape
from graphrun.ops.joining import concat
from graphrun.ops.math import add_n
from graphrun.ops.reduce import reduce_max
from graphrun.ops.reshape import expand_dims, reshape


def lookup_in_parts(
    parts: Sequence[Any], ids: Any, strategy: str, name: str, lookup: Callable[[Any, Tensor], Tensor]
) -> Tensor:
    """The rows that `ids` name in an embedding of several parts; `lookup` finds those of one part.

    Every part is asked for as many rows as there are ids, and what is not its own is left aside: lengths
    that depend on values would have the rest of the graph planned anew for each batch.
    """
    if strategy not in ("mod", "div"):
        raise GraphError(
            message(f"partition_strategy={strategy!r}", where="embedding_lookup", site=user_site(),
                    expected="'mod' or 'div'")
        )  # fmt: skip
    tables = [convert_to_tensor(p) for p in parts]
    i = convert_to_tensor(ids)
    rank = None if tables[0]._shape is None else len(tables[0]._shape)
    if i._shape is None or rank is None:
        raise ShapeError(
            message("parts or ids of unknown rank", where="embedding_lookup", site=user_site(),
                    fix="state the rank with set_shape")
        )  # fmt: skip
    with i.graph.as_default(), i.graph.name_scope(name) as scope:
        part, row = (_modulo if strategy == "mod" else _blocks)(i, tables)
        found: Tensor | None = None
        for n, table in enumerate(tables):
            own = equal(part, n)
            rows = lookup(table, select(own, row, _stand_in(own, row)))
            if found is not None:
                wide = own
                for _ in range(rank - 1):
                    wide = expand_dims(wide, -1)
                rows = select(wide, rows, found, name=scope if n == len(tables) - 1 else None)
            found = rows
        assert found is not None
        return found


def _stand_in(own: Tensor, row: Tensor) -> Tensor:
    """A row that is looked up anyway, to ask for in the place of rows of other parts.

    Its gradient is 0 there; of a row that nobody asked for, that would still let momentum move it.
    """
    mine = reshape(select(own, row, 0), [-1])
    return reduce_max(concat([mine, convert_to_tensor([0], row.dtype, graph=row.graph)], 0))


def _modulo(ids: Tensor, tables: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Row k stands in part ``k % n``."""
    return floormod(ids, len(tables)), floordiv(ids, len(tables))


def _blocks(ids: Tensor, tables: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows stand in order, one more in each of the first parts where they do not divide evenly."""
    count = len(tables)
    known = [t._shape[0] if t._shape else None for t in tables]
    if None in known:
        total: Any = cast(add_n([shape(t)[0] for t in tables]), ids.dtype)
    else:
        total = convert_to_tensor(sum(n for n in known if n is not None), ids.dtype)
    each, more = floordiv(total, count), floormod(total, count)
    part = maximum(floordiv(ids, each + 1), floordiv(ids - more, maximum(each, 1)))
    row = select(less(part, more), floormod(ids, each + 1), floormod(ids - more, maximum(each, 1)))
    return part, row
