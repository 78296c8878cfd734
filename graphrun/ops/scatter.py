"""Rows of a tensor or a variable by their indices: reading them by `gather_nd`, writing by `scatter_*`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import as_dtype
from graphrun.errors import DTypeError, GradientError, InvalidArgumentError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import Index, Kernel, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import dims_of, ints, known_ints, shape_attr
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.fill import zeros_like
from graphrun.ops.gather import sum_rows
from graphrun.ops.indexed_slices import IndexedSlices
from graphrun.ops.joining import concat
from graphrun.ops.plans.scatter import plan_scatter_rows
from graphrun.ops.reduce import sum_to_shape
from graphrun.ops.reshape import reshape
from graphrun.ops.sequences import range_
from graphrun.ops.state import Variable, write_state
from graphrun.shapes import Shape, format_shape, is_compatible, row_major_strides

# -- places ---------------------------------------------------------------------------------------


def _rows_shape(target: Shape, indices: Shape) -> Shape:
    """The shape of the rows that `indices` name: what is gathered, and what is scattered."""
    if target is None or indices is None:
        return None
    if not indices:
        raise RuleError("indices is a scalar", expected="rank 1 or more")
    depth = indices[-1]
    if depth is None:
        return None
    if depth > len(target):
        raise RuleError(
            f"indices of {depth} coordinates into a shape of rank {len(target)}",
            expected=f"at most {len(target)}",
        )
    return (*indices[:-1], *target[depth:])


def _flat_rows(indices: np.ndarray, dims: Sequence[int]) -> np.ndarray:
    """The number of the row that each entry of `indices` names; one out of range is told with its place."""
    depth = indices.shape[-1]
    sizes = np.array(dims[:depth], np.int64)
    places = indices.astype(np.int64)
    wrong = ((places < 0) | (places >= sizes)).any(-1)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = "indices" + (f"[{', '.join(map(str, at))}]" if at else "")
        raise RuleError(
            f"{where} is {indices[at].tolist()}, out of range for dimensions {format_shape(dims[:depth])}",
            kind=InvalidArgumentError,
        )
    return places @ np.array(row_major_strides(dims[:depth]), np.int64)


# -- gather_nd ------------------------------------------------------------------------------------


def _gather_nd_rule(params: Spec, indices: Spec) -> tuple[Spec]:
    require_kind(indices, "integer", "indices")
    return (Spec(_rows_shape(params.shape, indices.shape), params.dtype),)


def _gather_nd_numpy(params: np.ndarray, indices: np.ndarray) -> np.ndarray:
    depth = indices.shape[-1]
    rows = _flat_rows(indices, params.shape)
    table = params.reshape(math.prod(params.shape[:depth]), *params.shape[depth:])
    return table[rows]


def _gather_nd_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    params, indices = dims_of(specs[0]), dims_of(specs[1])
    depth, columns = indices[-1], math.prod(params[indices[-1] :])
    if math.prod(params) == 0:
        return "r = 0;"
    lines = [f"long at = (long)(i / {columns}UL) * {depth}L, row = 0; int inside = 1;"]
    for k in range(depth):
        lines.append(f"{{ const long j = (long)LOAD1(at + {k}L);")
        lines.append(f"inside &= j >= 0 && j < {params[k]}L; row = row * {params[k]}L + j; }}")
    lines.append(f"r = 0; if (inside) r = LOAD0(row * {columns}L + (long)(i % {columns}UL));")
    return " ".join(lines)


def _gather_nd_gradient(op: Operation, dy: Tensor) -> tuple[Any, None]:
    params, indices = op.inputs
    if indices._shape is not None and len(indices._shape) == 2 and indices._shape[1] == 1:
        dims = shape_attr(params)  # a list of rows, as for `gather`
        whole = list(dims) if isinstance(dims, tuple) else dims
        return IndexedSlices(dy, reshape(indices, (-1,)), whole), None
    return apply(scatter_nd_op, (indices, dy), {"shape": shape_attr(params)}), None


gather_nd_op = register(
    OpDef(
        "gather_nd", _gather_nd_rule, _gather_nd_numpy, Index(_gather_nd_code), _gather_nd_gradient,
        node_name="GatherNd", onnx="GatherND", input_names=("params", "indices"),
    )
)  # fmt: skip


def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Tensor:
    """Return the rows of `params` that the coordinates in the last dimension of `indices` name.

    Parameters
    ----------
    params : tensor
    indices : integer tensor of shape (..., depth)
        Each entry names an element of `params` where `depth` is its rank, else a row of the dimensions
        behind the first `depth`.
    batch_dims : int
        So many first dimensions are common to both, and not part of the coordinates.

    Returns
    -------
    Tensor
        Of shape ``indices.shape[:-1] + params.shape[depth:]``.

    Notes
    -----
    A place that is out of range is an error on the host.  On OpenCL it gives zeros, as TensorFlow does on
    a GPU.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.constant([[1, 2], [3, 4]])
    ...     print(sess.run([gr.gather_nd(x, [[0, 0], [1, 1]]), gr.gather_nd(x, [[1]])]))
    [array([1, 4], dtype=int32), array([[3, 4]], dtype=int32)]
    """
    x, i = convert_to_tensor(params), convert_to_tensor(indices)
    if batch_dims:
        i = _with_batch(i, batch_dims)
    return apply(gather_nd_op, (x, i), None, name)


def _with_batch(indices: Tensor, batch_dims: int) -> Tensor:
    """Coordinates with those of the batch in front."""
    from graphrun.ops.array import broadcast_to, shape

    if indices._shape is None or len(indices._shape) <= batch_dims:
        raise ShapeError(
            message(f"indices of shape {format_shape(indices._shape)} with batch_dims={batch_dims}",
                    where="gather_nd", site=user_site(), expected="a known rank above batch_dims")
        )  # fmt: skip
    rank = len(indices._shape)
    dims = shape(indices)
    column = concat([dims[:-1], [1]], 0)
    parts = []
    for k in range(batch_dims):
        along = reshape(range_(dims[k]), [-1 if j == k else 1 for j in range(rank)])
        if indices.dtype is not dtypes.int32:
            along = apply("cast", (along,), {"dtype": indices.dtype})
        parts.append(broadcast_to(along, column))
    return concat([*parts, indices], -1)


# -- writing rows -----------------------------------------------------------------------------------

MODES = ("update", "add", "sub", "mul", "div", "min", "max")
_FUNCTIONS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


def _scatter_rule(target: Spec, indices: Spec, updates: Spec, *, mode: str, nd: bool) -> tuple[Spec]:
    require_same_dtype(target, updates)
    require_kind(indices, "integer", "indices")
    if mode != "update":
        require_kind(target, "numeric", "the tensor")
    if target.shape == ():
        raise RuleError("a scalar has no rows to write", expected="rank 1 or more")
    places = indices.shape if nd or indices.shape is None else (*indices.shape, 1)
    rows = _rows_shape(target.shape, places)
    if updates.shape != () and not is_compatible(rows, updates.shape):
        raise RuleError(f"updates has shape {format_shape(updates.shape)}", expected=format_shape(rows))
    return (target,)


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a / b if a.dtype.kind == "f" else np.trunc(a / b).astype(a.dtype)


class RowWrite:
    """Writes rows into an array of one shape, in the order of the indices where several name one row.

    What can go wrong does so while it is made.
    """

    def __init__(self, target: Spec, indices: Any, updates: Any, *, mode: str, nd: bool) -> None:
        dims, places = dims_of(target), indices if nd else np.asarray(indices)[..., None]
        depth = places.shape[-1]
        self._mode = mode
        self._rows = _flat_rows(places, dims).reshape(-1)
        self._shape = (math.prod(dims[:depth]), math.prod(dims[depth:]))
        updates = np.asarray(updates)
        self._values = updates if updates.ndim == 0 else updates.reshape(self._rows.size, self._shape[1])
        if mode == "div" and target.dtype.is_integer and (self._values == 0).any():
            raise RuleError("division of integers by 0", kind=InvalidArgumentError)

    def __call__(self, target: np.ndarray) -> None:
        """Write into `target`, which is contiguous."""
        table, rows, values = target.reshape(self._shape), self._rows, self._values
        if self._mode == "update":
            table[rows] = values
        elif np.unique(rows).size == rows.size:
            table[rows] = (_FUNCTIONS.get(self._mode) or _quotient)(table[rows], values)
        elif self._mode in _FUNCTIONS:
            _FUNCTIONS[self._mode].at(table, rows, values)
        else:
            for k, row in enumerate(rows):
                table[row] = _quotient(table[row], values if values.ndim == 0 else values[k])


def _scatter_numpy(
    target: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, mode: str, nd: bool
) -> np.ndarray:
    result = np.array(target, order="C")
    RowWrite(Spec(result.shape, as_dtype(result.dtype)), indices, updates, mode=mode, nd=nd)(result)
    return result


def _scatter_gradient(op: Operation, dy: Tensor) -> tuple[Any, ...]:
    mode, nd = op.attrs["mode"], op.attrs["nd"]
    _, indices, updates = op.inputs
    if mode not in ("update", "add", "sub"):
        raise GradientError(
            message(f"no gradient of scattering with {mode!r}", where=op.label, site=op.site,
                    fix="cut the path with gr.stop_gradient")
        )  # fmt: skip
    if not nd:
        indices = apply("expand_dims", (indices,), {"axis": -1})
    d_updates = apply(gather_nd_op, (dy, indices))
    if updates._shape is None or updates._shape == ():  # it may be one number for all rows
        d_updates = sum_to_shape(d_updates, shape_attr(updates))
    if mode == "update":  # as in TensorFlow, each row counts as named once
        zeros = zeros_like(updates)
        return apply(scatter_rows_op, (dy, op.inputs[1], zeros), dict(op.attrs)), None, d_updates
    return dy, None, d_updates if mode == "add" else -d_updates


# What writes to variables become once they are values; of tensors, `tensor_scatter_*`.
scatter_rows_op = register(
    OpDef(
        "scatter_rows", _scatter_rule, _scatter_numpy,
        Kernel("scatter", plan_scatter_rows, ("scatter_rows.cl",), overwrites=0), _scatter_gradient,
        node_name="TensorScatterUpdate", input_names=("tensor", "indices", "updates"), rewrite=RowWrite,
    )
)  # fmt: skip
scatter_write_op = register(
    OpDef(
        "scatter_write", _scatter_rule, None, stateful=True, side_effect=True, node_name="ScatterUpdate",
        input_names=("variable", "indices", "updates"), writes="scatter_rows",
    )
)  # fmt: skip


def _write(ref: Any, indices: Any, updates: Any, mode: str, nd: bool, name: str | None) -> Tensor:
    label = name or f"Scatter{'Nd' if nd else ''}{mode.capitalize()}"
    i = convert_to_tensor(indices)
    return write_state(scatter_write_op, ref, updates, {"mode": mode, "nd": nd}, label, between=(i,))


def _scatter(mode: str, nd: bool) -> Any:
    def function(
        ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        return _write(ref, indices, updates, mode, nd, name)

    what = {
        "update": "Replace", "add": "Add to", "sub": "Subtract from", "mul": "Multiply", "div": "Divide",
        "min": "Take the minimum with", "max": "Take the maximum with",
    }[mode]  # fmt: skip
    function.__name__ = function.__qualname__ = f"scatter_{'nd_' if nd else ''}{mode}"
    places = "coordinates in the last dimension of `indices`" if nd else "entries of `indices`"
    function.__doc__ = (
        f"{what} the rows of variable `ref` that the {places} name.\n\n"
        "    `updates` has a row for each of them, or is a scalar.  Where several name one row, they are\n"
        "    applied in their order.  Returns a tensor that does it when it runs and is the variable's new\n"
        "    value; only the rows named are touched.\n"
    )
    return function


scatter_update = _scatter("update", False)
scatter_add = _scatter("add", False)
scatter_sub = _scatter("sub", False)
scatter_mul = _scatter("mul", False)
scatter_div = _scatter("div", False)
scatter_min = _scatter("min", False)
scatter_max = _scatter("max", False)
scatter_nd_update = _scatter("update", True)
scatter_nd_add = _scatter("add", True)
scatter_nd_sub = _scatter("sub", True)


def _method(mode: str, nd: bool) -> Any:
    what = f"scatter_{'nd_' if nd else ''}{mode}"

    def of_slices(
        self: Variable, sparse_delta: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        if not isinstance(sparse_delta, IndexedSlices):
            raise DTypeError(
                message(
                    f"{what} of {sparse_delta!r}", where=f"variable '{self.name}'", site=user_site(),
                    expected="gr.IndexedSlices", fix=f"gr.{what}(v, indices, updates) takes both apart",
                )
            )  # fmt: skip
        return _write(self, sparse_delta.indices, sparse_delta.values, mode, False, name)

    def of_places(self: Variable, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        return _write(self, indices, updates, mode, True, name)

    function = of_places if nd else of_slices
    function.__name__, function.__qualname__ = what, f"Variable.{what}"
    function.__doc__ = f"As `{what}` of this variable" + ("." if nd else ", with an `IndexedSlices`.")
    return function


for _mode in MODES:
    setattr(Variable, f"scatter_{_mode}", _method(_mode, False))
for _mode in ("update", "add", "sub"):
    setattr(Variable, f"scatter_nd_{_mode}", _method(_mode, True))


def _tensor_scatter(mode: str) -> Any:
    def function(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        x, u = convert_operands((tensor, updates))
        label = name or f"TensorScatter{mode.capitalize()}"
        attrs = {"mode": mode, "nd": True}
        return apply(scatter_rows_op, (x, convert_to_tensor(indices), u), attrs, label)

    function.__name__ = function.__qualname__ = f"tensor_scatter_{mode}"
    function.__doc__ = (
        f"Return `tensor` with `updates` applied ({mode}) where the coordinates in the last dimension of"
        "\n    `indices` say.\n"
    )
    return function


tensor_scatter_update = _tensor_scatter("update")
tensor_scatter_add = _tensor_scatter("add")
tensor_scatter_sub = _tensor_scatter("sub")
tensor_scatter_min = _tensor_scatter("min")
tensor_scatter_max = _tensor_scatter("max")

# -- scatter_nd -------------------------------------------------------------------------------------


def _scatter_nd_rule(indices: Spec, updates: Spec, *, shape: Any) -> tuple[Spec]:
    require_kind(indices, "integer", "indices")
    require_kind(updates, "numeric", "updates")
    dims = known_ints(shape)
    rows = _rows_shape(dims, indices.shape)
    if not is_compatible(rows, updates.shape):
        raise RuleError(f"updates has shape {format_shape(updates.shape)}", expected=format_shape(rows))
    return (Spec(dims, updates.dtype),)


def _scatter_nd_numpy(indices: np.ndarray, updates: np.ndarray, *, shape: Any) -> np.ndarray:
    depth = indices.shape[-1]
    rows = _flat_rows(indices, shape).reshape(-1)
    count, columns = math.prod(shape[:depth]), math.prod(shape[depth:])
    if rows.size == 0 or count * columns == 0:
        return np.zeros(shape, updates.dtype)
    return sum_rows(updates.reshape(rows.size, columns), rows, count).reshape(shape)


def _scatter_nd_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    indices, updates = inputs
    shape, depth = attrs["shape"], dims_of(specs[0])[-1]
    count, columns = math.prod(shape[:depth]), math.prod(shape[depth:])
    rows = math.prod(dims_of(specs[0])[:-1])
    if depth == 0 or rows * count * columns == 0:
        return None
    flat = build("reshape", [indices], {"shape": (rows, depth)})
    if depth > 1:
        flat = build("cast", [flat], {"dtype": dtypes.int64})
        flat = build("row_numbers", [flat], {"dims": tuple(shape[:depth])})
    else:
        flat = build("reshape", [flat], {"shape": (rows,)})
    table = build("reshape", [updates], {"shape": (rows, columns)})
    sums = build(
        "gather_grad", [table, flat],
        {"shape": (count, columns), "axis": 0, "batch_dims": 0, "negative": False},
    )  # fmt: skip
    return build("reshape", [sums], {"shape": tuple(shape)})


def _row_numbers_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    lines = ["long row = 0; int inside = 1;"]
    for k, n in enumerate(attrs["dims"]):
        lines.append(f"{{ const long j = (long)LOAD0(i * {len(attrs['dims'])}UL + {k}UL);")
        lines.append(f"inside &= j >= 0 && j < {n}L; row = row * {n}L + j; }}")
    return " ".join([*lines, "r = inside ? row : -1L;"])


# Only inside of `scatter_nd`; -1 for what is out of range, which the sum leaves out.
register(
    OpDef(
        "row_numbers", lambda indices, *, dims: (Spec(indices.shape and indices.shape[:-1], dtypes.int64),),
        lambda indices, *, dims: _flat_rows(indices, dims), Index(_row_numbers_code),
        node_name="RowNumbers", input_names=("indices",),
    )
)  # fmt: skip


def _scatter_nd_gradient(op: Operation, dy: Tensor) -> tuple[None, Tensor]:
    return None, apply(gather_nd_op, (dy, op.inputs[0]))


scatter_nd_op = register(
    OpDef(
        "scatter_nd", _scatter_nd_rule, _scatter_nd_numpy, None, _scatter_nd_gradient, value_attrs=("shape",),
        expand=_scatter_nd_expand, node_name="ScatterNd", onnx="ScatterND",
        input_names=("indices", "updates"),
    )
)  # fmt: skip


def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    """Return zeros of `shape` to which `updates` are added where `indices` say; the inverse of `gather_nd`.

    Parameters
    ----------
    indices : integer tensor of shape (..., depth)
    updates : tensor of shape ``indices.shape[:-1] + shape[depth:]``
    shape : shape or integer tensor

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.scatter_nd([[4], [1], [4]], [9, 10, 1], [6])))
    [ 0 10  0  0 10  0]
    """
    i, u = convert_to_tensor(indices), convert_to_tensor(updates)
    return apply(scatter_nd_op, (i, u), {"shape": ints(shape, "scatter_nd", "shape")}, name)
