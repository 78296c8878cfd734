"""Operations on sparse tensors, made of gathers, scatters and sums of segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import RuleError, ShapeError, message
from graphrun.graph.apply import apply, constant_value, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import maximum, minimum
from graphrun.ops.attributes import known_ints, static_int
from graphrun.ops.compare import equal, greater_equal, less, not_equal, where
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import abs as abs_
from graphrun.ops.elementwise import exp
from graphrun.ops.families import require_same_dtype
from graphrun.ops.fill import broadcast_to, fill, shape, size
from graphrun.ops.gather import gather, take
from graphrun.ops.joining import concat, stack
from graphrun.ops.ranking import argsort, cumprod, cumsum
from graphrun.ops.reduce import reduce_all, reduce_prod, reduce_sum
from graphrun.ops.reshape import expand_dims, reshape
from graphrun.ops.scatter import gather_nd, scatter_nd, scatter_rows_op
from graphrun.ops.segments import unsorted_segment_max, unsorted_segment_sum
from graphrun.ops.sets import unique
from graphrun.ops.sparse_tensor import SparseTensor, as_sparse
from graphrun.ops.transpose import matrix_transpose
from graphrun.shapes import normalize_axis

# -- dense ------------------------------------------------------------------------------------------


def sparse_to_dense(
    sparse_indices: Any,
    output_shape: Any,
    sparse_values: Any,
    default_value: Any = 0,
    validate_indices: bool = True,
    name: str | None = None,
) -> Tensor:
    """Return a tensor of `default_value` with `sparse_values` at the places that `sparse_indices` name.

    Parameters
    ----------
    sparse_indices : integer tensor
        A scalar or a vector for a vector; for more dimensions (n, rank).
    output_shape : integer tensor or shape
    sparse_values : tensor of shape (n,), or scalar
    default_value : scalar
    validate_indices
        Accepted for TensorFlow's sake.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.sparse_to_dense([[0, 1], [1, 0]], [2, 2], [5, 6], -1)))
    [[-1  5]
     [ 6 -1]]
    """
    places, values = convert_to_tensor(sparse_indices), convert_to_tensor(sparse_values)
    with values.graph.name_scope(name or "SparseToDense"):
        if places._shape is None:
            raise ShapeError(
                message("indices of unknown rank", where="sparse_to_dense", site=user_site(),
                        fix="state it with set_shape")
            )  # fmt: skip
        if len(places._shape) < 2:
            places = reshape(places, [-1, 1])
        default = convert_to_tensor(default_value, values.dtype, graph=values.graph)
        background = fill(output_shape, default)
        return apply(scatter_rows_op, (background, places, values), {"mode": "update", "nd": True})


def sparse_tensor_to_dense(
    sp_input: Any, default_value: Any = None, validate_indices: bool = True, name: str | None = None
) -> Tensor:
    """Return the tensor itself, with `default_value` (0, or an empty string) at all other places."""
    x = as_sparse(sp_input, "sparse_tensor_to_dense")
    if default_value is None:
        default_value = b"" if x.dtype.kind == "O" else np.zeros((), x.dtype.numpy)
    return sparse_to_dense(x.indices, x.dense_shape, x.values, default_value, validate_indices, name)


def from_dense(tensor: Any, name: str | None = None) -> SparseTensor:
    """Return what is not 0 of a tensor as a `SparseTensor`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.sparse.from_dense([[0, 3], [4, 0]])).values)
    [3 4]
    """
    x = convert_to_tensor(tensor)
    with x.graph.name_scope(name or "dense_to_sparse"):
        places = where(not_equal(x, convert_to_tensor(_nothing(x), graph=x.graph)))
        return SparseTensor(places, gather_nd(x, places), shape(x, out_type=dtypes.int64))


def _nothing(x: Tensor) -> Any:
    return b"" if x.dtype.kind == "O" else np.zeros((), x.dtype.numpy)


# -- products and sums --------------------------------------------------------------------------------


def sparse_tensor_dense_matmul(
    sp_a: Any, b: Any, adjoint_a: bool = False, adjoint_b: bool = False, name: str | None = None
) -> Tensor:
    """Return the product of a sparse matrix and a dense one.

    Parameters
    ----------
    sp_a : SparseTensor of rank 2
    b : tensor of rank 2, or sparse itself
    adjoint_a, adjoint_b : bool
        Multiply with the transposed matrix.

    Notes
    -----
    Gradients flow to the values of `sp_a` and to `b`; neither is made dense.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     a = gr.SparseTensor([[0, 1], [1, 0]], [2.0, 3.0], [2, 2])
    ...     print(sess.run(gr.sparse_tensor_dense_matmul(a, [[1.0], [10.0]])))
    [[20.]
     [ 3.]]
    """
    if isinstance(b, SparseTensor) and not isinstance(sp_a, SparseTensor):
        turned = sparse_tensor_dense_matmul(b, sp_a, not adjoint_b, not adjoint_a, name)
        return matrix_transpose(turned)
    a = as_sparse(sp_a, "sparse_tensor_dense_matmul")
    dense = convert_to_tensor(b, a.dtype, graph=a.graph)
    with a.graph.name_scope(name or "SparseTensorDenseMatMul"):
        if adjoint_b:
            dense = matrix_transpose(dense)
        row, column = (1, 0) if adjoint_a else (0, 1)
        products = take(dense, a.indices[:, column], axis=0) * expand_dims(a.values, 1)
        return unsorted_segment_sum(products, a.indices[:, row], a.dense_shape[row])


def sparse_dense_multiply(sp: Any, dense: Any, name: str | None = None) -> SparseTensor:
    """Return the product with a dense tensor, which broadcasts to the shape of the sparse one."""
    a = as_sparse(sp, "multiply")
    with a.graph.name_scope(name or "mul"):
        d = convert_to_tensor(dense, a.dtype, graph=a.graph)
        if d._shape != ():
            d = gather_nd(broadcast_to(d, a.dense_shape), a.indices)
        return SparseTensor(a.indices, a.values * d, a.dense_shape)


def _kept_axes(x: SparseTensor, axis: Any, where_: str) -> tuple[list[int], int]:
    """The axes that are not reduced, and the rank."""
    dims = x.shape.as_list() if x.shape.ndims is not None else None
    if dims is None:
        raise ShapeError(
            message("axes of a sparse tensor of unknown rank", where=where_, site=user_site(),
                    fix="give the placeholder a shape, as [None, None]")
        )  # fmt: skip
    n = len(dims)
    listed = [static_int(a, where_, "axis") for a in (axis if isinstance(axis, list | tuple) else [axis])]
    try:
        reduced = {normalize_axis(a, n) for a in listed}
    except RuleError as fault:
        raise ShapeError(
            message(fault.what, where=where_, site=user_site(), expected=fault.expected)
        ) from None
    return [k for k in range(n) if k not in reduced], n


def sparse_reduce_sum(
    sp_input: Any, axis: Any = None, keepdims: Any = None, reduction_axes: Any = None, keep_dims: Any = None
) -> Tensor:
    """Return the sum over axes, as a dense tensor; the arguments are those of `reduce_sum`."""
    x = as_sparse(sp_input, "sparse_reduce_sum")
    axis = reduction_axes if axis is None else axis
    keep = bool(keepdims if keepdims is not None else keep_dims)
    with x.graph.name_scope("SparseReduceSum"):
        if axis is None and not keep:
            return reduce_sum(x.values)
        kept, n = _kept_axes(
            x, list(range(x.shape.ndims or 0)) if axis is None else axis, "sparse_reduce_sum"
        )
        if not kept:
            total = reduce_sum(x.values)
            return reshape(total, [1] * n) if keep else total
        places = take(x.indices, kept, axis=1)
        sizes = take(x.dense_shape, kept, axis=0)
        total = scatter_nd(places, x.values, sizes)
        if keep:
            total = reshape(total, stack([x.dense_shape[k] if k in kept else 1 for k in range(n)]))
        return total


def sparse_add(a: Any, b: Any, threshold: Any = None, thresh: Any = None) -> Any:
    """Return the sum of two tensors of which one or both are sparse; it is sparse where both are.

    Sums whose size is below `threshold` are left out (`thresh` is the older name).
    """
    limit = thresh if threshold is None else threshold
    if not isinstance(a, SparseTensor):
        a, b = b, a
    x = as_sparse(a, "sparse_add")
    if not isinstance(b, SparseTensor):
        dense = convert_to_tensor(b, x.dtype, graph=x.graph)
        attrs = {"mode": "add", "nd": True}
        with x.graph.name_scope("SparseTensorDenseAdd"):
            return apply(scatter_rows_op, (dense, x.indices, x.values), attrs)
    with x.graph.name_scope("SparseAdd"):
        numbers = concat([_numbers(x), _numbers(b)], 0)
        values = concat([x.values, b.values], 0)
        order = argsort(numbers)
        distinct, place = unique(take(numbers, order))
        total = unsorted_segment_sum(take(values, order), place, size(distinct))
        result = SparseTensor(_places(distinct, x.dense_shape), total, x.dense_shape)
        if limit is None:
            return result
        big = greater_equal(abs_(total), convert_to_tensor(limit, dtype=abs_(total).dtype, graph=x.graph))
        return sparse_retain(result, big)


# -- the same elements elsewhere ------------------------------------------------------------------------


def _strides(dense_shape: Tensor) -> Tensor:
    return cumprod(dense_shape, exclusive=True, reverse=True)


def _numbers(x: SparseTensor) -> Tensor:
    """The number of each place in row-major order."""
    return reduce_sum(x.indices * _strides(x.dense_shape), 1)


def _places(numbers: Tensor, dense_shape: Tensor) -> Tensor:
    return expand_dims(numbers, 1) // _strides(dense_shape) % dense_shape


def sparse_reorder(sp_input: Any, name: str | None = None) -> SparseTensor:
    """Return the same tensor with its elements in row-major order."""
    x = as_sparse(sp_input, "sparse_reorder")
    with x.graph.name_scope(name or "SparseReorder"):
        order = argsort(_numbers(x))
        return SparseTensor(take(x.indices, order), take(x.values, order), x.dense_shape)


def sparse_reshape(sp_input: Any, shape: Any, name: str | None = None) -> SparseTensor:
    """Return the same elements in another shape, of which one dimension may be -1."""
    x = as_sparse(sp_input, "sparse_reshape")
    with x.graph.name_scope(name or "SparseReshape"):
        if isinstance(shape, Tensor):
            new = cast(shape, dtypes.int64)
        else:
            new = convert_to_tensor(np.array(shape, np.int64), graph=x.graph)
        # The product of -1 and the others, with the other sign, is what the others make.
        total, others = reduce_prod(x.dense_shape), -reduce_prod(new)
        open_ = where(less(new, 0), broadcast_to(total // maximum(others, 1), _shape_of(new)), new)
        return SparseTensor(_places(_numbers(x), open_), x.values, open_)


def _shape_of(x: Tensor) -> Any:
    return shape(x)


def sparse_transpose(sp_input: Any, perm: Any = None, name: str | None = None) -> SparseTensor:
    """Return the tensor with its dimensions in another order, reversed by default."""
    x = as_sparse(sp_input, "sparse_transpose")
    with x.graph.name_scope(name or "SparseTranspose"):
        if perm is None:
            perm = list(range(_rank(x, "sparse_transpose")))[::-1]
        turned = SparseTensor(take(x.indices, perm, axis=1), x.values, take(x.dense_shape, perm))
        return sparse_reorder(turned)


def _rank(x: SparseTensor, where_: str) -> int:
    if x.shape.ndims is None:
        raise ShapeError(
            message("a sparse tensor of unknown rank", where=where_, site=user_site(),
                    fix="give the placeholder a shape, as [None, None]")
        )  # fmt: skip
    return x.shape.ndims


def sparse_concat(
    axis: Any,
    sp_inputs: Sequence[Any],
    name: str | None = None,
    expand_nonconcat_dim: bool = False,
    concat_dim: Any = None,
) -> SparseTensor:
    """Join sparse tensors along an axis; with `expand_nonconcat_dim` the other dimensions may differ."""
    parts = [as_sparse(x, "sparse_concat") for x in sp_inputs]
    with parts[0].graph.name_scope(name or "SparseConcat"):
        n = _rank(parts[0], "sparse_concat")
        at = normalize_axis(
            static_int(axis if concat_dim is None else concat_dim, "sparse_concat", "axis"), n
        )
        along = convert_to_tensor(np.eye(n, dtype=np.int64)[at], graph=parts[0].graph)
        offset: Any = along * 0
        moved, sizes = [], parts[0].dense_shape
        for k, x in enumerate(parts):
            moved.append(x.indices + offset)
            offset = offset + x.dense_shape * along
            if k and expand_nonconcat_dim:
                sizes = maximum(sizes, x.dense_shape)
        sizes = sizes * (1 - along) + offset
        joined = SparseTensor(concat(moved, 0), concat([x.values for x in parts], 0), sizes)
        return sparse_reorder(joined)


def sparse_retain(sp_input: Any, to_retain: Any) -> SparseTensor:
    """Return the elements for which `to_retain`, a bool vector, is true."""
    x = as_sparse(sp_input, "sparse_retain")
    kept = reshape(where(convert_to_tensor(to_retain)), [-1])
    return SparseTensor(take(x.indices, kept), gather(x.values, kept), x.dense_shape)


def sparse_softmax(sp_input: Any, name: str | None = None) -> SparseTensor:
    """Return the softmax along the last axis of what each row holds; places without an element stay empty.

    Parameters
    ----------
    sp_input : SparseTensor
        Of rank 2 or more, floating-point, its elements in row-major order (`sparse_reorder`).
    name : str, optional

    Raises
    ------
    ShapeError
        If it is known to have a rank below 2.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.SparseTensor([[0, 0], [0, 2], [1, 1]], [0.0, 0.0, 5.0], [2, 3])
    ...     print(sess.run(gr.sparse_softmax(x)).values)
    [0.5 0.5 1. ]
    """
    x = as_sparse(sp_input, "sparse_softmax")
    columns = x.indices._shape
    if columns is not None and columns[1] is not None and columns[1] < 2:
        raise ShapeError(
            message(
                f"a sparse tensor of rank {columns[1]}", where="sparse_softmax", site=user_site(),
                expected="rank 2 or more: rows, and what they hold",
            )
        )  # fmt: skip
    with x.graph.name_scope(name or "SparseSoftmax"):
        rows = x.indices[:, :-1]
        begins = 1 - cast(reduce_all(equal(rows[1:], rows[:-1]), 1), dtypes.int32)
        count = size(x.values)
        row = concat([fill(reshape(minimum(count, 1), [1]), 0), cumsum(begins)], 0)
        # There are at most as many rows as elements, so no shape depends on what the indices are.
        largest = unsorted_segment_max(x.values, row, count)
        # The largest moves nothing: it cancels.
        powers = exp(x.values - gather(apply("stop_gradient", (largest,)), row))
        values = powers / gather(unsorted_segment_sum(powers, row, count), row)
        return SparseTensor(x.indices, values, x.dense_shape)


def sparse_slice(sp_input: Any, start: Any, size: Any, name: str | None = None) -> SparseTensor:
    """Return a part of the tensor, of shape `size` from `start` on."""
    x = as_sparse(sp_input, "sparse_slice")
    with x.graph.name_scope(name or "SparseSlice"):
        first = cast(convert_to_tensor(start, graph=x.graph), dtypes.int64)
        count = cast(convert_to_tensor(size, graph=x.graph), dtypes.int64)
        inside = reduce_all(
            apply("logical_and", (greater_equal(x.indices, first), less(x.indices, first + count))), 1
        )
        part = sparse_retain(x, inside)
        room = x.dense_shape - first
        return SparseTensor(part.indices - first, part.values, where(less(room, count), room, count))


# -- edit distance --------------------------------------------------------------------------------------


def _edit_rule(
    h_places: Spec, h_values: Spec, h_shape: Spec, t_places: Spec, t_values: Spec, t_shape: Spec,
    *, shape: Any, normalize: bool,
) -> tuple[Spec]:  # fmt: skip
    require_same_dtype(h_values, t_values)
    return (Spec(known_ints(shape), dtypes.float32),)


def _sequences(places: np.ndarray, values: np.ndarray) -> dict[tuple[int, ...], list[Any]]:
    found: dict[tuple[int, ...], list[Any]] = {}
    for place, value in zip(places.tolist(), values.tolist(), strict=True):
        found.setdefault(tuple(place[:-1]), []).append(value)
    return found


def _levenshtein(a: Sequence[Any], b: Sequence[Any]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def _edit_numpy(
    h_places: np.ndarray, h_values: np.ndarray, h_shape: np.ndarray, t_places: np.ndarray,
    t_values: np.ndarray, t_shape: np.ndarray, *, shape: Any, normalize: bool,
) -> np.ndarray:  # fmt: skip
    result = np.zeros(shape, np.float32)
    hypotheses, truths = _sequences(h_places, h_values), _sequences(t_places, t_values)
    for place in {*hypotheses, *truths}:
        a, b = hypotheses.get(place, []), truths.get(place, [])
        distance = float(_levenshtein(a, b))
        if normalize:
            distance = distance / len(b) if b else float("inf") if a else 0.0
        result[place] = distance
    return result


edit_distance_op = register(
    OpDef(
        "edit_distance", _edit_rule, _edit_numpy, None, no_gradient, value_attrs=("shape",),
        node_name="EditDistance",
        input_names=("hypothesis indices", "values", "shape", "truth indices", "values", "shape"),
    )
)  # fmt: skip


def edit_distance(hypothesis: Any, truth: Any, normalize: bool = True, name: str = "edit_distance") -> Tensor:
    """Return how many insertions, deletions and substitutions lead from each hypothesis to its truth.

    Parameters
    ----------
    hypothesis, truth : SparseTensor
        Of one dtype and rank; the last dimension holds the sequences.
    normalize : bool
        Divide by the length of the truth; infinite where that is empty and the hypothesis is not.

    Returns
    -------
    float32 Tensor
        Its rank is one less.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     h = gr.SparseTensor([[0, 0], [0, 1]], [1, 2], [1, 2])
    ...     t = gr.SparseTensor([[0, 0], [0, 1]], [1, 3], [1, 2])
    ...     print(sess.run(gr.edit_distance(h, t)))
    [0.5]
    """
    h, t = as_sparse(hypothesis, "edit_distance"), as_sparse(truth, "edit_distance")
    sizes = maximum(h.dense_shape, t.dense_shape)[:-1]
    known = [constant_value(x.dense_shape) for x in (h, t)]
    dims: Any = sizes
    if known[0] is not None and known[1] is not None:
        dims = tuple(np.maximum(known[0], known[1])[:-1].tolist())
    attrs = {"shape": dims, "normalize": bool(normalize)}
    return apply(edit_distance_op, (*h._parts(), *t._parts()), attrs, name)
