"""`SparseTensor`: a tensor by the places and values of its elements that are not 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, ShapeError, message
from graphrun.graph.apply import constant_value, convert_to_tensor, holds_tensor
from graphrun.graph.default import session_for
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.site import user_site
from graphrun.ops.state import placeholder, placeholder_with_default
from graphrun.shapes import Shape, TensorShape, as_shape, format_shape, is_compatible


class SparseTensorValue(NamedTuple):
    """What a fetched `SparseTensor` is, and what may be fed for one."""

    indices: Any
    values: Any
    dense_shape: Any


class SparseTensor:
    """A tensor by the places and values of its elements that are not 0.

    Parameters
    ----------
    indices : int64 tensor of shape (n, rank)
        The place of each element; most operations want them in row-major order (`sparse_reorder`).
    values : tensor of shape (n,)
    dense_shape : int64 tensor of shape (rank,)

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.SparseTensor([[0, 1], [1, 0]], [3.0, 4.0], [2, 2])
    ...     print(sess.run(gr.sparse_tensor_to_dense(x)))
    [[0. 3.]
     [4. 0.]]
    """

    def __init__(self, indices: Any, values: Any, dense_shape: Any) -> None:
        if isinstance(dense_shape, TensorShape):
            dense_shape = dense_shape.as_list()
        self._indices = _whole(indices, "indices")
        self._values = convert_to_tensor(values, graph=self._indices.graph)
        self._stated: Shape = None
        self._dense_shape = _whole(dense_shape, "dense_shape", self._indices.graph)
        places, sizes = self._indices._shape, self._dense_shape._shape
        rank = None if sizes is None or len(sizes) != 1 else sizes[0]
        for found, wanted, what in (
            (places, (None, rank), "indices"),
            (self._values._shape, (None if not places else places[0],), "values"),
            (sizes, (None,), "dense_shape"),
        ):
            if not is_compatible(found, wanted):
                raise ShapeError(
                    message(
                        f"{what} has shape {format_shape(found)}", where="SparseTensor", site=user_site(),
                        expected=f"shape {format_shape(wanted)}: indices (n, rank), values (n,), dense_shape"
                        " (rank,)",
                    )
                )  # fmt: skip

    @classmethod
    def from_value(cls, sparse_tensor_value: Any) -> SparseTensor:
        """A constant of a `SparseTensorValue`; a `SparseTensor` itself."""
        if isinstance(sparse_tensor_value, SparseTensor):
            return sparse_tensor_value
        return cls(*sparse_tensor_value)

    @property
    def indices(self) -> Tensor:
        return self._indices

    @property
    def values(self) -> Tensor:
        return self._values

    @property
    def dense_shape(self) -> Tensor:
        return self._dense_shape

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    @property
    def op(self) -> Operation:
        return self._values.op

    @property
    def name(self) -> str:
        return self._values.name

    @property
    def graph(self) -> Any:
        return self._values.graph

    @property
    def shape(self) -> TensorShape:
        """What is known of `dense_shape`."""
        if self._stated is not None:
            return TensorShape(self._stated)
        known = constant_value(self._dense_shape)
        if known is not None:
            return TensorShape([None if n < 0 else n for n in known.tolist()])
        rank = None if self._dense_shape._shape is None else self._dense_shape._shape[0]
        if rank is None and self._indices._shape is not None:
            rank = self._indices._shape[1]
        return TensorShape(None if rank is None else [None] * rank)

    def get_shape(self) -> TensorShape:
        """The same as `shape`."""
        return self.shape

    def eval(self, feed_dict: Any = None, session: Any = None) -> SparseTensorValue:
        """The value in `session`, or in the default session."""
        return session_for(session, "SparseTensor.eval()").run(self, feed_dict)

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the session feeds and fetches."""
        return self._indices, self._values, self._dense_shape

    def _assembled(self, values: Sequence[Any]) -> SparseTensorValue:
        return SparseTensorValue(*values)

    def _with_values(self, values: Tensor) -> SparseTensor:
        found = SparseTensor(self._indices, values, self._dense_shape)
        found._stated = self._stated
        return found

    def __mul__(self, dense: Any) -> SparseTensor:
        from graphrun.ops.sparse import sparse_dense_multiply

        return sparse_dense_multiply(self, dense)

    def __truediv__(self, dense: Any) -> SparseTensor:
        from graphrun.ops.sparse import sparse_dense_multiply

        return sparse_dense_multiply(self, 1 / convert_to_tensor(dense, self.dtype))

    def __repr__(self) -> str:
        return f"<gr.SparseTensor '{self.name}' shape={self.shape} dtype={self.dtype}>"


def _whole(value: Any, what: str, graph: Any = None) -> Tensor:
    """`value` as an int64 tensor."""
    if not holds_tensor(value):
        array = np.asarray(value)
        if array.size == 0:
            array = array.reshape((0, 0) if what == "indices" and array.ndim < 2 else array.shape)
        elif array.dtype.kind not in "iu":
            raise DTypeError(
                message(f"{what} is of {array.dtype}", where="SparseTensor", site=user_site(),
                        expected="whole numbers")
            )  # fmt: skip
        value = array.astype(np.int64)
    return convert_to_tensor(value, dtypes.int64, what, graph=graph)


def sparse_placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> SparseTensor:
    """Return a `SparseTensor` whose parts are given at each run.

    Parameters
    ----------
    dtype : dtype
    shape : shape, optional
        None, or None in a dimension, for what is not known.
    name : str, optional

    Notes
    -----
    It is fed with a `SparseTensorValue` or a tuple (indices, values, dense_shape).

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.sparse_placeholder(gr.float32)
    ...     y = gr.sparse_reduce_sum(x)
    ...     print(sess.run(y, {x: ([[0, 1], [5, 2]], [1.0, 2.0], [6, 3])}))
    3.0
    """
    known = as_shape(shape)
    rank = None if known is None else len(known)
    labels = [None if name is None else f"{name}/{part}" for part in ("shape", "values", "indices")]
    if known is not None:
        stated = np.array([-1 if n is None else n for n in known], np.int64)
        sizes = placeholder_with_default(stated, (rank,), labels[0])
    else:
        sizes = placeholder(dtypes.int64, (None,), labels[0])
    values = placeholder(as_dtype(dtype), (None,), labels[1])
    indices = placeholder(dtypes.int64, (None, rank), labels[2])
    found = SparseTensor(indices, values, sizes)
    found._stated = known
    return found


def convert_to_tensor_or_sparse_tensor(value: Any, dtype: Any = None, name: str | None = None) -> Any:
    """`value` as a tensor, or, if it is sparse, as a `SparseTensor`."""
    if isinstance(value, SparseTensorValue):
        return SparseTensor.from_value(value)
    return value if isinstance(value, SparseTensor) else convert_to_tensor(value, dtype, name)


def as_sparse(value: Any, where: str) -> SparseTensor:
    """`value` as a `SparseTensor`, or an error."""
    if isinstance(value, SparseTensorValue):
        return SparseTensor.from_value(value)
    if not isinstance(value, SparseTensor):
        raise DTypeError(
            message(f"{value!r} is not sparse", where=where, site=user_site(), expected="a gr.SparseTensor",
                    fix="make it one with gr.sparse.from_dense")
        )  # fmt: skip
    return value
