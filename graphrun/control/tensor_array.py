"""`TensorArray`: tensors of one shape by number, which loops write and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, GraphError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor, partial_value
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import reshape, shape
from graphrun.ops.gather import take
from graphrun.ops.rows import grow_row_op, new_rows_op, read_row_op, write_row_op
from graphrun.ops.state import identity
from graphrun.shapes import Shape, TensorShape, as_shape, format_shape, is_compatible, is_static, merge


class TensorArray:
    """Tensors of one dtype and shape, by number.

    `write` and the like return a new `TensorArray`; use that one, and pass it on as a loop variable.  Each
    entry is to be written once, before it is read.

    Parameters
    ----------
    dtype : dtype
    size : int or int32 scalar tensor, optional
        How many there are.
    dynamic_size : bool
        Whether writing beyond the end makes it longer.
    clear_after_read, colocate_with_first_write_call
        Accepted for TensorFlow's sake.
    tensor_array_name, name : str, optional
    flow : tensor, optional
        All entries in one tensor, in place of a new array.
    infer_shape : bool
        Whether all entries have the shape of the first one written.
    element_shape : shape, optional
        What is known of an entry's shape.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     squares = gr.TensorArray(gr.int32, size=4)
    ...     _, squares = gr.while_loop(
    ...         lambda i, a: i < 4, lambda i, a: (i + 1, a.write(i, i * i)), (gr.constant(0), squares))
    ...     print(sess.run(squares.stack()))
    [0 1 4 9]
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Any = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        self._dtype = as_dtype(dtype)
        self._dynamic = bool(dynamic_size)
        self._infer = bool(infer_shape)
        # Shared with the arrays that writing makes: what is known of an entry.
        self._element: list[Shape] = [as_shape(element_shape)]
        # How many entries there are, where that is known and stays so.
        self._count = int(size) if isinstance(size, int | np.integer) and not self._dynamic else None
        if flow is not None:
            self._flow = convert_to_tensor(flow)
            self._count = None
            if self._flow._shape:
                self._know(self._flow._shape[1:], "flow")
        else:
            if size is None and not self._dynamic:
                raise GraphError(
                    message("TensorArray without a size", site=user_site(),
                            fix="pass size=n, or size=0 and dynamic_size=True")
                )  # fmt: skip
            count = 0 if size is None else size
            attrs = {"size": int(count) if isinstance(count, np.integer) else count, "dtype": self._dtype}
            self._flow = apply(new_rows_op, (), attrs, name or tensor_array_name)

    # -- what it is -------------------------------------------------------------------------------

    @property
    def flow(self) -> Tensor:
        """All entries in one tensor; its shape is known once one is written."""
        return self._flow

    @property
    def handle(self) -> Tensor:
        """The same, for TensorFlow's sake."""
        return self._flow

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def dynamic_size(self) -> bool:
        return self._dynamic

    @property
    def element_shape(self) -> TensorShape:
        """What is known of an entry's shape."""
        return TensorShape(self._element[0])

    def size(self, name: str | None = None) -> Tensor:
        """How many entries there are, as an int32 scalar."""
        return shape(self._flow, name)[0]

    def identity(self) -> TensorArray:
        """The same; inside `control_dependencies` it waits for them."""
        return self._with(identity(self._flow))

    def close(self, name: str | None = None) -> Any:
        """An operation that does nothing; memory is freed once it is not needed."""
        from graphrun.ops.state import no_op

        return no_op(name)

    def _with(self, flow: Tensor) -> TensorArray:
        new = object.__new__(TensorArray)
        new._dtype, new._dynamic, new._infer = self._dtype, self._dynamic, self._infer
        new._element, new._flow = self._element, flow
        new._count = self._count
        return new

    def _know(self, part: Shape, where: str) -> None:
        """Take in the shape of an entry."""
        if not is_compatible(self._element[0], part):
            raise ShapeError(
                message(
                    f"an entry of shape {format_shape(part)}",
                    where=f"TensorArray.{where}",
                    site=user_site(),
                    expected=f"the shape of the others, {format_shape(self._element[0])}",
                )
            )
        if self._infer or self._element[0] is None:
            self._element[0] = merge(self._element[0], part)

    def _entries(self, value: Any, where: str) -> Tensor:
        x = convert_to_tensor(value, self._dtype) if not isinstance(value, Tensor) else value
        if x.dtype is not self._dtype:
            raise DTypeError(
                message(
                    f"'{x.name}' has dtype {x.dtype}",
                    where=f"TensorArray.{where}",
                    site=user_site(),
                    expected=f"the array's dtype {self._dtype}",
                )
            )
        return x

    # -- single entries ---------------------------------------------------------------------------

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """The entry with that number."""
        result: Tensor = apply(read_row_op, (self._flow, _index(index)), None, name)
        if self._element[0] is not None and result._shape != self._element[0]:
            result.set_shape(self._element[0])
        return result

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with `value` at that place."""
        x = self._entries(value, "write")
        self._know(x._shape, "write")
        op = grow_row_op if self._dynamic else write_row_op
        return self._with(apply(op, (self._flow, _index(index), x), None, name))

    def _size(self) -> int | None:
        """How many entries there are, as far as that is known."""
        if self._count is None and self._flow._shape:
            size = partial_value(shape(self._flow)[0])
            return size if isinstance(size, int) else None
        return self._count

    # -- many -------------------------------------------------------------------------------------

    def stack(self, name: str | None = None) -> Tensor:
        """All entries in one tensor, of shape ``(size, *element_shape)``."""
        part, size = self._element[0], self._size()
        if part is not None and is_static(part) and not size:
            # A loop over no rows writes none, so nothing but this says how large an entry is.
            return reshape(self._flow, [shape(self._flow)[0], *part], name or "TensorArrayStack")
        result = identity(self._flow, name or "TensorArrayStack")
        if part is not None and (result._shape is None or not is_static(result._shape)):
            result.set_shape((size, *part))
        return result

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """The entries with these numbers, in one tensor."""
        result = take(self._flow, indices, name=name)
        i = convert_to_tensor(indices)
        if self._element[0] is not None:
            count = i._shape[0] if i._shape else None
            result.set_shape((count, *self._element[0]))
        return result

    def concat(self, name: str | None = None) -> Tensor:
        """All entries behind each other, along their first axis."""
        part = self._element[0]
        if part is None or not part:
            raise ShapeError(
                message("the shape of an entry is not known, or it is a scalar", where="TensorArray.concat",
                        site=user_site(), expected="entries of rank 1 or more")
            )  # fmt: skip
        rest = [d if d is not None else shape(self._flow)[k + 2] for k, d in enumerate(part[1:])]
        count = self._size()
        first = -1 if count is None or part[0] is None else count * part[0]
        return reshape(self._flow, [first, *rest], name or "TensorArrayConcat")

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The array whose entries are the rows of `value`."""
        x = self._entries(value, "unstack")
        if x._shape == ():
            raise ShapeError(message("unstack of a scalar", where="TensorArray.unstack", site=user_site(),
                                     expected="rank 1 or more"))  # fmt: skip
        if x._shape is not None:
            self._know(x._shape[1:], "unstack")
        count = x._shape[0] if x._shape is not None and not self._dynamic else None
        unstacked = self._with(identity(x, name or "TensorArrayUnstack"))
        unstacked._count = count
        return unstacked

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with the rows of `value` at these places."""
        x, i = self._entries(value, "scatter"), convert_to_tensor(indices)
        if not i._shape or i._shape[0] is None:
            raise ShapeError(
                message("the number of indices is not known", where="TensorArray.scatter", site=user_site(),
                        fix="unstack(value) writes all rows in their order")
            )  # fmt: skip
        result = self
        for k in range(i._shape[0]):
            result = result.write(i[k], x[k])
        return result

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """The array whose entries are pieces of `value` of these lengths, which must be equal."""
        x = self._entries(value, "split")
        known = partial_value(convert_to_tensor(lengths))
        if not isinstance(known, tuple) or len(set(known)) != 1 or known[0] is None or x._shape is None:
            raise ShapeError(
                message("the lengths differ or are not known", where="TensorArray.split", site=user_site(),
                        got=f"lengths: {known}", expected="equal lengths, known while the graph is built")
            )  # fmt: skip
        dims = shape(x)
        rest: Sequence[Any] = [d if d is not None else dims[k + 1] for k, d in enumerate(x._shape[1:])]
        return self.unstack(reshape(x, [len(known), known[0], *rest]))

    def __repr__(self) -> str:
        shape_ = format_shape(self._element[0])
        return f"<gr.TensorArray '{self._flow.op.name}' element_shape={shape_} dtype={self._dtype}>"


def _index(index: Any) -> Tensor:
    i = convert_to_tensor(index)
    if not i.dtype.is_integer:
        raise DTypeError(
            message(f"an index of dtype {i.dtype}", where="TensorArray", site=user_site(),
                    expected=f"an integer, as {dtypes.int32}")
        )  # fmt: skip
    return i
