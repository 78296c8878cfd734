"""Arrays of which loops read and write one row at a time: below `TensorArray`, and below gradients of loops.

A row is ``array[index]``, with a scalar index.  An array that has not been written has shape ``(size, 0)``,
since nobody knows yet how large a row is; the first write makes all rows, of zeros, in the shape of the one
written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import DType
from graphrun.errors import InvalidArgumentError, RuleError
from graphrun.graph.apply import apply
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, no_gradient, register
from graphrun.ops.attributes import dims_of
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.fill import zeros_like
from graphrun.shapes import Shape, format_shape, is_compatible, num_elements


def _checked(index: Any, size: int) -> int:
    i = int(index)
    if not 0 <= i < size:
        raise RuleError(
            f"row {i} of an array of {size}",
            expected=f"0 <= index < {size}",
            fix="TensorArray(..., dynamic_size=True) grows as it is written",
            kind=InvalidArgumentError,
        )
    return i


def _scalar(index: Spec) -> None:
    require_kind(index, "integer", "index")
    if index.shape not in ((), None):
        raise RuleError(f"index has shape {format_shape(index.shape)}", expected="a scalar")


def unwritten(array: Shape) -> bool:
    """Whether it is the shape of an array whose rows have no shape yet."""
    return array is not None and len(array) == 2 and array[1] == 0


# -- a new array --------------------------------------------------------------------------------------


def _new_rule(*, size: Any, dtype: DType) -> tuple[Spec]:
    n = size if isinstance(size, int) else None
    if n is not None and n < 0:
        raise RuleError(f"an array of {n} rows", expected="a size of 0 or more")
    return (Spec((n, 0), dtype),)


new_rows_op = register(
    OpDef(
        "new_rows",
        _new_rule,
        lambda *, size, dtype: np.zeros((size, 0), dtype.numpy),
        gradient=no_gradient,
        value_attrs=("size",),
        node_name="TensorArray",
    )
)

# -- reading ------------------------------------------------------------------------------------------


def _read_rule(array: Spec, index: Spec) -> tuple[Spec]:
    _scalar(index)
    if array.shape == ():
        raise RuleError("a scalar has no rows", expected="rank 1 or more")
    return (Spec(None if array.shape is None else array.shape[1:], array.dtype),)


def _read_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    size, row = dims_of(specs[0])[0], num_elements(out.shape)
    if not size:
        return "r = 0;"
    return f"long j = (long)LOAD1(0); r = 0; if (j >= 0 && j < {size}L) r = LOAD0(j * {row}L + (long)i);"


def _read_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    array, index = op.inputs
    return apply(add_row_op, (zeros_like(array), index, dy)), None


read_row_op = register(
    OpDef(
        "read_row",
        _read_rule,
        lambda array, index: array[_checked(index, len(array))],
        Index(_read_code),
        _read_gradient,
        node_name="ReadRow",
        input_names=("array", "index"),
    )
)

# -- writing ------------------------------------------------------------------------------------------


def _write_rule(array: Spec, index: Spec, row: Spec) -> tuple[Spec]:
    _scalar(index)
    require_same_dtype(array, row)
    shape = array.shape
    if shape is None:
        return (array,)
    if row.shape is None:
        maybe_unwritten = len(shape) == 2 and not shape[1]
        return (Spec(None if maybe_unwritten else shape, array.dtype),)
    if not shape:
        raise RuleError("a scalar has no rows to write", expected="rank 1 or more")
    if unwritten(shape) and row.shape != (0,):
        return (Spec((shape[0], *row.shape), array.dtype),)
    if not is_compatible(shape[1:], row.shape):
        raise RuleError(
            f"a row of shape {format_shape(row.shape)}",
            expected=f"{format_shape(shape[1:])}, as those written before",
        )
    return (array,)


def _opened(array: np.ndarray, row: Any) -> np.ndarray:
    """A copy that can hold the row."""
    if unwritten(array.shape) and np.shape(row) != (0,):
        return np.zeros((len(array), *np.shape(row)), array.dtype)
    return np.array(array, order="C")


def _write_numpy(array: np.ndarray, index: Any, row: Any) -> np.ndarray:
    result = _opened(array, row)
    result[_checked(index, len(array))] = row
    return result


def _add_numpy(array: np.ndarray, index: Any, row: Any) -> np.ndarray:
    result = np.array(array, order="C")
    result[_checked(index, len(array))] += row
    return result


class _RowChange:
    """Changes one row in place; the index has been checked."""

    def __init__(self, array: Spec, index: Any, row: Any, add: bool) -> None:
        self._at = _checked(index, dims_of(array)[0])
        self._row = row
        self._add = add

    def __call__(self, array: np.ndarray) -> None:
        if self._add:
            array[self._at] += self._row
        else:
            array[self._at] = self._row


def _by_scattering(mode: str) -> Any:
    def expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
        array, index, row = inputs
        shape, part = dims_of(specs[0]), dims_of(specs[2])
        if unwritten(shape) and part != (0,):
            shape = (shape[0], *part)
            zero = Constant(np.zeros((), specs[0].dtype.numpy))
            array = build("fill", [], {"shape": shape, "value": zero, "dtype": specs[0].dtype})
        at = build("reshape", [index], {"shape": (1,)})
        rows = build("reshape", [row], {"shape": (1, *part)})
        return build("scatter_rows", [array, at, rows], {"mode": mode, "nd": False})

    return expand


def _write_gradient(op: Operation, dy: Tensor) -> tuple[Any, ...]:
    # What was in the row before is of no interest: each row is written once before it is read.
    return dy, None, apply(read_row_op, (dy, op.inputs[1]))


write_row_op = register(
    OpDef(
        "write_row",
        _write_rule,
        _write_numpy,
        None,
        _write_gradient,
        expand=_by_scattering("update"),
        rewrite=lambda array, index, row: _RowChange(array, index, row, add=False),
        node_name="WriteRow",
        input_names=("array", "index", "row"),
    )
)

add_row_op = register(
    OpDef(
        "add_row",
        _write_rule,
        _add_numpy,
        None,
        lambda op, dy: (dy, None, apply(read_row_op, (dy, op.inputs[1]))),
        expand=_by_scattering("add"),
        rewrite=lambda array, index, row: _RowChange(array, index, row, add=True),
        node_name="AddRow",
        input_names=("array", "index", "row"),
    )
)


def _grow_rule(array: Spec, index: Spec, row: Spec) -> tuple[Spec]:
    (spec,) = _write_rule(array, index, row)
    return (Spec(None if spec.shape is None else (None, *spec.shape[1:]), spec.dtype),)


def _grow_numpy(array: np.ndarray, index: Any, row: Any) -> np.ndarray:
    i = int(index)
    if i < 0:
        raise RuleError(f"row {i} of an array", expected="index >= 0", kind=InvalidArgumentError)
    opened = _opened(array, row)
    result = np.zeros((max(len(array), i + 1), *opened.shape[1:]), array.dtype)
    result[: len(array)] = opened
    result[i] = row
    return result


# Its result's shape depends on the index, so that a plan is made for each size.
grow_row_op = register(
    OpDef(
        "grow_row",
        _grow_rule,
        _grow_numpy,
        None,
        _write_gradient,
        node_name="WriteRow",
        input_names=("array", "index", "row"),
    )
)
