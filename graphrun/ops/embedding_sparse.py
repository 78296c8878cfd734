"""Embeddings of sets of words: each row of a `SparseTensor` names rows, which become one."""

from __future__ import annotations

from typing import Any

from graphrun import dtypes
from graphrun.errors import GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import div_no_nan, multiply
from graphrun.ops.compare import select
from graphrun.ops.convert import cast
from graphrun.ops.duplicates import first_places
from graphrun.ops.elementwise import sqrt, square
from graphrun.ops.fill import ones_like, shape
from graphrun.ops.gather import embedding_lookup, take
from graphrun.ops.joining import concat
from graphrun.ops.reduce import reduce_prod
from graphrun.ops.reshape import reshape
from graphrun.ops.segments import segment_sum, unsorted_segment_sum
from graphrun.ops.sparse import sparse_reshape, sparse_retain
from graphrun.ops.sparse_tensor import SparseTensor, as_sparse
from graphrun.ops.state import identity

_COMBINERS = ("sum", "mean", "sqrtn")


def embedding_lookup_sparse(
    params: Any,
    sp_ids: Any,
    sp_weights: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    combiner: str | None = None,
    max_norm: float | None = None,
) -> Tensor:
    """Return, for each row of `sp_ids`, the combined rows of `params` that it names.

    Parameters
    ----------
    params : tensor or variable, or a list of those whose rows make one embedding
    sp_ids : SparseTensor of integers, of rank 2
        In row-major order.
    sp_weights : SparseTensor or None
        What each row is multiplied by, at the same places; 1 for None.
    partition_strategy, max_norm
        As for `embedding_lookup`.
    name : str, optional
    combiner : {"mean", "sum", "sqrtn"}
        The weighted sum; divided by the sum of the weights (the default); or by the root of the sum of
        their squares.

    Returns
    -------
    Tensor
        With a row for each number up to the largest row of `sp_ids` that is not empty; empty ones give 0.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     words = gr.SparseTensor([[0, 0], [0, 1], [1, 0]], [1, 3, 0], [2, 2])
    ...     table = gr.constant([[1.0], [2.0], [3.0], [4.0]])
    ...     print(sess.run(gr.nn.embedding_lookup_sparse(table, words, None)).tolist())
    [[3.0], [1.0]]
    """
    where = "embedding_lookup_sparse"
    ids, weights = _checked(sp_ids, sp_weights, combiner, where)
    with ids.graph.as_default(), ids.graph.name_scope(name or where) as scope:
        rows = _rows(params, ids, partition_strategy, max_norm)
        numbers = ids.indices[:, 0]
        found = _combined(
            rows, weights, combiner or "mean", lambda x: segment_sum(x, numbers)
        )  # fmt: skip
        return identity(found, name=scope)


def safe_embedding_lookup_sparse(
    embedding_weights: Any,
    sparse_ids: Any,
    sparse_weights: Any = None,
    combiner: str = "mean",
    default_id: int | None = None,
    name: str | None = None,
    partition_strategy: str = "div",
    max_norm: float | None = None,
) -> Tensor:
    """As `embedding_lookup_sparse`, where ids may be missing or wrong.

    Parameters
    ----------
    embedding_weights : tensor or variable, or a list of those whose rows make one embedding
    sparse_ids : SparseTensor of integers
        Of rank 2 or more, in row-major order; the last dimension is combined.  Negative ids are left out.
    sparse_weights : SparseTensor, optional
        Unless they are only summed, ids of a weight that is not above 0 are left out.
    combiner, partition_strategy, max_norm
        As for `embedding_lookup_sparse`.
    default_id : int, optional
        The row that an entry without ids gets; 0 in all its elements for None.

    Returns
    -------
    Tensor
        Of shape ``sparse_ids.dense_shape[:-1] + embedding_weights.shape[1:]``.
    """
    where = "safe_embedding_lookup_sparse"
    ids, weights = _checked(sparse_ids, sparse_weights, combiner, where)
    rank = ids.dense_shape._shape[0] if ids.dense_shape._shape else None
    if rank is None:
        raise ShapeError(message("ids of unknown rank", where=where, site=user_site()))
    with ids.graph.as_default(), ids.graph.name_scope(name or "embedding_lookup") as scope:
        outer = ids.dense_shape[: rank - 1]
        static = tuple(ids.shape.as_list()[:-1])
        flat = concat([reshape(reduce_prod(outer), [1]), ids.dense_shape[rank - 1 :]], 0)
        ids = sparse_reshape(ids, flat)
        kept = ids.values >= 0
        if weights is not None:
            weights = SparseTensor(ids.indices, weights.values, ids.dense_shape)
        for _ in range(2):
            ids = sparse_retain(ids, kept)
            if weights is None:
                break
            weights = sparse_retain(weights, kept)
            if combiner == "sum":
                break
            kept = weights.values > 0
        numbers, count = ids.indices[:, 0], ids.dense_shape[0]

        def total(x: Tensor) -> Tensor:
            return unsorted_segment_sum(x, numbers, count)

        rows = _rows(embedding_weights, ids, partition_strategy, max_norm)
        found = _combined(rows, weights, combiner, total)
        if default_id is not None:
            filled = total(ones_like(numbers)) > 0
            column = reshape(filled, [-1] + [1] * (len(rows._shape or ()) - 1))
            default = embedding_lookup(embedding_weights, [default_id], partition_strategy, max_norm=max_norm)
            found = select(column, found, default)
        dims = concat([cast(outer, dtypes.int32), shape(found)[1:]], 0)
        result = reshape(found, dims, name=scope)
        if rows._shape is not None:
            result.set_shape((*static, *rows._shape[1:]))
        return result


def _checked(ids: Any, weights: Any, combiner: Any, where: str) -> tuple[SparseTensor, SparseTensor | None]:
    if combiner not in (None, *_COMBINERS):
        raise GraphError(
            message(f"combiner={combiner!r}", where=where, site=user_site(),
                    expected="'mean', 'sum' or 'sqrtn'")
        )  # fmt: skip
    return as_sparse(ids, where), None if weights is None else as_sparse(weights, where)


def _rows(params: Any, ids: SparseTensor, strategy: str, max_norm: float | None) -> Tensor:
    """The row of each id.  What the gradient says of one id is its sum, as in TensorFlow."""
    found = embedding_lookup(params, ids.values, strategy, max_norm=max_norm)
    return take(found, first_places(ids.values))


def _combined(rows: Tensor, weights: SparseTensor | None, combiner: str, total: Any) -> Tensor:
    narrow = rows.dtype
    if narrow is dtypes.float16:
        rows = cast(rows, dtypes.float32)
    if weights is None:
        factors = ones_like(reshape(rows, [shape(rows)[0], -1])[:, 0]) if combiner != "sum" else None
    else:
        factors = cast(convert_to_tensor(weights.values), rows.dtype)
    if factors is not None:
        if rows._shape is None:
            raise ShapeError(
                message("an embedding of unknown rank", where="embedding_lookup_sparse", site=user_site(),
                        fix="state it with set_shape")
            )  # fmt: skip
        factors = reshape(factors, [-1] + [1] * (len(rows._shape) - 1))
        if weights is not None:
            rows = multiply(rows, factors)
    found = total(rows)
    if combiner != "sum":
        assert factors is not None
        by = total(factors) if combiner == "mean" else sqrt(total(square(factors)))
        found = div_no_nan(found, by)
    return cast(found, narrow)
