"""`IndexedSlices`: a tensor by few of its rows, which is what the gradient of an embedding is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, ShapeError, message
from graphrun.graph.apply import apply, constant_value, convert_to_tensor, register_tensor_conversion_function
from graphrun.graph.default import session_for
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.operators import Operators
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import multiply, truediv
from graphrun.ops.attributes import shape_attr
from graphrun.ops.elementwise import negative
from graphrun.ops.fill import shape, size
from graphrun.ops.gather import gather_grad_op
from graphrun.ops.joining import concat
from graphrun.ops.reshape import reshape
from graphrun.shapes import Shape, TensorShape, format_shape, is_compatible


class IndexedSlicesValue(NamedTuple):
    """What a fetched `IndexedSlices` is, and what may be fed for one."""

    values: Any
    indices: Any
    dense_shape: Any


class IndexedSlices(Operators):
    """Rows of a tensor that is 0 in all others; what several entries say of one row is added up.

    Parameters
    ----------
    values : tensor of shape (n, ...)
        The rows.
    indices : integer tensor of shape (n,)
        Where they belong; one index may come several times.
    dense_shape : integer tensor of one dimension, optional
        The shape of the whole; without it there is no way to a tensor.

    Notes
    -----
    `gr.gradients` returns it for what rows were gathered from, and optimizers then touch these rows alone.
    Used as a tensor it becomes one, of the whole shape; the negative, and products and quotients with a
    number, are rows again.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     table = gr.Variable(gr.zeros([4, 2]))
    ...     rows = gr.nn.embedding_lookup(table, [3, 1, 3])
    ...     slope, = gr.gradients(gr.reduce_sum(rows), table)
    ...     print(slope.indices.shape, sess.run(gr.convert_to_tensor(slope), {table: [[0, 0]] * 4})[:, 0])
    (3,) [0. 1. 0. 2.]
    """

    __slots__ = ("_dense_shape", "_indices", "_values")

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self._values = convert_to_tensor(values, name="values")
        graph = self._values.graph
        self._indices = convert_to_tensor(indices, name="indices", graph=graph)
        if isinstance(dense_shape, TensorShape):
            dense_shape = dense_shape.as_list()
        self._dense_shape = (
            None if dense_shape is None else convert_to_tensor(dense_shape, name="dense_shape", graph=graph)
        )
        self._check()

    def _check(self) -> None:
        rows, places = self._values._shape, self._indices._shape
        if not self._indices.dtype.is_integer:
            raise DTypeError(
                message(f"indices has dtype {self._indices.dtype}", where="IndexedSlices", site=user_site(),
                        expected="an integer dtype")
            )  # fmt: skip
        count = None if rows is None or not rows else rows[0]
        if rows == () or not is_compatible(places, (count,)):
            raise ShapeError(
                message(
                    f"values of shape {format_shape(rows)} with indices of shape {format_shape(places)}",
                    where="IndexedSlices", site=user_site(), expected="values (n, ...) and indices (n,)",
                )
            )  # fmt: skip

    @property
    def values(self) -> Tensor:
        """The rows."""
        return self._values

    @property
    def indices(self) -> Tensor:
        """The number of each row."""
        return self._indices

    @property
    def dense_shape(self) -> Tensor | None:
        """The shape of the whole as a tensor, or None."""
        return self._dense_shape

    @property
    def shape(self) -> TensorShape:
        """What is known of the shape of the whole."""
        return TensorShape(self._shape)

    def get_shape(self) -> TensorShape:
        """The same as `shape`."""
        return self.shape

    @property
    def _shape(self) -> Shape:
        known = None if self._dense_shape is None else constant_value(self._dense_shape)
        if known is not None:
            return tuple(int(n) for n in known)
        rows = self._values._shape
        return None if rows is None else (None, *rows[1:])

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    @property
    def name(self) -> str:
        return self._values.name

    @property
    def op(self) -> Operation:
        return self._values.op

    @property
    def graph(self) -> Any:
        return self._values.graph

    @property
    def device(self) -> str:
        return self._values.op.device

    def eval(self, feed_dict: Any = None, session: Any = None) -> IndexedSlicesValue:
        """The value in `session`, or in the default session."""
        return session_for(session, "IndexedSlices.eval()").run(self, feed_dict)

    def consumers(self) -> list[Operation]:
        """The operations that read the rows."""
        return self._values.consumers()

    def _parts(self) -> tuple[Tensor, ...]:
        """What the session feeds and fetches."""
        if self._dense_shape is None:
            return self._values, self._indices
        return self._values, self._indices, self._dense_shape

    def _assembled(self, values: Sequence[Any]) -> IndexedSlicesValue:
        return IndexedSlicesValue(*values, *(() if len(values) == 3 else (None,)))

    def _with_values(self, values: Tensor) -> IndexedSlices:
        return IndexedSlices(values, self._indices, self._dense_shape)

    def _rows_apply(self, function: Callable[[Tensor], Tensor]) -> IndexedSlices:
        """`function` of the rows, as rows again."""
        return self._with_values(function(self._values))

    # -- arithmetic that leaves zeros where they are --------------------------------------------

    def __neg__(self) -> Any:
        return self._with_values(negative(self._values))

    def __mul__(self, other: Any) -> Any:
        factor = _scalar(other, self)
        if factor is not None:
            return self._with_values(multiply(self._values, factor))
        return multiply(convert_to_tensor(self), other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        divisor = _scalar(other, self)
        if divisor is not None:
            return self._with_values(truediv(self._values, divisor))
        return truediv(convert_to_tensor(self), other)

    def _as_graph_element(self) -> Tensor:
        return self._values  # what control dependencies wait for

    def _no_value(self, *what: Any) -> Any:
        return self._values._no_value(*what)

    def __bool__(self) -> bool:
        return bool(self._values)

    def __repr__(self) -> str:
        return (
            f"<gr.IndexedSlices '{self.name}' shape={format_shape(self._shape)} dtype={self.dtype}"
            f" rows={format_shape(self._values._shape)}>"
        )


def _scalar(other: Any, like: IndexedSlices) -> Tensor | None:
    """`other` as a tensor where it is one number."""
    if isinstance(other, IndexedSlices):
        return None
    t = convert_to_tensor(other, preferred_dtype=like.dtype, graph=like.graph)
    return t if t._shape == () else None


def as_dense(slices: IndexedSlices) -> Tensor:
    """The whole, as a tensor."""
    if slices.dense_shape is None:
        raise ShapeError(
            message(
                f"'{slices.name}' does not say the shape of the whole", where="IndexedSlices",
                site=slices.op.site, expected="IndexedSlices(values, indices, dense_shape)",
            )
        )  # fmt: skip
    known = constant_value(slices.dense_shape)
    whole = slices.dense_shape if known is None else tuple(int(n) for n in known)
    attrs = {"axis": 0, "batch_dims": 0, "negative": False, "shape": whole}
    result: Tensor = apply(gather_grad_op, (slices.values, slices.indices), attrs)
    return result


register_tensor_conversion_function(IndexedSlices, as_dense)


def convert_to_tensor_or_indexed_slices(value: Any, dtype: Any = None, name: str | None = None) -> Any:
    """`value` as a tensor, unless it is an `IndexedSlices`, or an `IndexedSlicesValue`, which becomes one."""
    if isinstance(value, IndexedSlicesValue):
        value = IndexedSlices(*value)
    if not isinstance(value, IndexedSlices):
        return convert_to_tensor(value, dtype, name)
    if dtype is not None and as_dtype(dtype) is not value.dtype:
        raise DTypeError(
            message(f"'{value.name}' has dtype {value.dtype}", site=value.op.site,
                    expected=f"dtype {as_dtype(dtype)}")
        )  # fmt: skip
    return value


def rows_gradient(op: Operation, dy: Tensor) -> IndexedSlices:
    """The gradient of what `op`, a gather along the first axis, takes rows from."""
    params, indices = op.inputs[:2]
    dense_shape = shape_attr(params)
    if isinstance(dense_shape, tuple):
        dense_shape = list(dense_shape)
    if indices._shape is not None and len(indices._shape) == 1:
        return IndexedSlices(dy, indices, dense_shape)
    known = params._shape
    if known is not None and all(known[1:]):  # all lengths are known, and none is 0
        rows = reshape(dy, (-1, *known[1:]))
    else:
        rows = reshape(dy, concat([reshape(size(indices), [1]), shape(params)[1:]], 0))
    return IndexedSlices(rows, reshape(indices, (-1,)), dense_shape)


def joined(parts: Sequence[IndexedSlices]) -> IndexedSlices:
    """The sum, which is the rows of all behind each other."""
    if len(parts) == 1:
        return parts[0]
    indices = [p.indices for p in parts]
    if len({i.dtype for i in indices}) > 1:
        indices = [apply("cast", (i,), {"dtype": dtypes.int64}) for i in indices]
    known = [p.dense_shape for p in parts if p.dense_shape is not None]
    return IndexedSlices(
        concat([p.values for p in parts], 0), concat(indices, 0), known[0] if known else None
    )  # fmt: skip
