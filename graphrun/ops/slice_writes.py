"""``v[2:5].assign(value)``: a part of a variable is set, and the rest of it stays as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Descriptor, Index, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import add
from graphrun.ops.attributes import attr_value, dims_of, shape_attr
from graphrun.ops.convert import cast
from graphrun.ops.families import require_same_dtype
from graphrun.ops.fill import broadcast_to, ones_like, shape, zeros_like
from graphrun.ops.indexing import read_key
from graphrun.ops.joining import concat, stack
from graphrun.ops.reduce import sum_to_shape
from graphrun.ops.reshape import reshape
from graphrun.ops.scatter import scatter_nd_update
from graphrun.ops.slicing import MASKS, NEW_AXIS, SliceAxis, numpy_key, slice_axes, slice_shape, within
from graphrun.ops.state import constant, write_state
from graphrun.shapes import Shape, format_shape, is_static, row_major_strides

_BOUNDS = ("begin", "end", "strides")
# More rows than these are not written one by one.
_MAX_ROWS = 65536


def _assign_rule(x: Spec, value: Spec, **attrs: Any) -> tuple[Spec]:
    require_same_dtype(x, value)
    inner = slice_shape(x.shape, attrs)
    if not _fits(value.shape, inner):
        raise RuleError(
            f"the value's shape {format_shape(value.shape)} does not fit the slice's, {format_shape(inner)}",
            expected=f"a value of shape {format_shape(inner)}, or one that broadcasts to it",
        )
    return (x,)


def _fits(value: Shape, inner: Shape) -> bool:
    if value is None or inner is None:
        return True
    surplus = len(value) - len(inner)
    if surplus > 0 and any(d not in (None, 1) for d in value[:surplus]):
        return False
    pairs = zip(reversed(value), reversed(inner), strict=False)
    return all(v is None or d is None or v in (1, d) for v, d in pairs)


class SliceWrite:
    """Writes a slice into an array of one shape.  What can go wrong does so while it is made."""

    def __init__(self, target: Spec, value: Any, **attrs: Any) -> None:
        self._key = numpy_key(dims_of(target), attrs)
        self._value = np.array(value)

    def __call__(self, target: np.ndarray) -> None:
        """Write into `target`."""
        target[self._key] = self._value


def _assign_numpy(x: np.ndarray, value: np.ndarray, **attrs: Any) -> np.ndarray:
    result = np.array(x, order="C")
    result[numpy_key(x.shape, attrs)] = value
    return result


def _rows(specs: Sequence[Spec], attrs: Mapping[str, Any]) -> np.ndarray | None:
    """Coordinates of the rows that the slice is made of, where these are few of all."""
    axes = [a for a in slice_axes(dims_of(specs[0]), attrs) if a is not NEW_AXIS]
    ranges = _ranges(axes, dims_of(specs[0]))
    count = math.prod(len(r) for r in ranges)
    few = 0 < 2 * count <= math.prod(dims_of(specs[0])[: len(ranges)]) and count <= _MAX_ROWS
    return _coordinates(ranges) if ranges and few else None


def _ranges(axes: Sequence[SliceAxis], dims: Sequence[int], least: int = 0) -> list[range]:
    """The indices along each axis, up to the last one of which not all is taken; `least` axes or more."""
    found = [range(a.start, a.start + a.step * a.length, a.step) for a in axes]
    while len(found) > least and found[-1] == range(dims[len(found) - 1]):
        found.pop()
    return found


def _coordinates(ranges: Sequence[range]) -> np.ndarray:
    grid = np.meshgrid(*[np.array(r, np.int32) for r in ranges], indexing="ij")
    return np.stack(grid, -1).reshape(-1, len(ranges))


def _assign_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    shape, value = dims_of(out), dims_of(specs[1])
    axes = slice_axes(shape, attrs)
    if any(a.length == 0 for a in axes if a.kept):
        return "r = LOAD0(i);"
    rank = sum(1 for a in axes if a.kept)
    value = (1,) * (rank - len(value)) + value[max(0, len(value) - rank) :]
    strides = [0 if n == 1 else s for n, s in zip(value, row_major_strides(value), strict=True)]
    tests, place = within(axes, shape, strides)
    write = f"r = LOAD1({place});"
    return f"if ({' && '.join(tests)}) {{ {write} }} else {{ r = LOAD0(i); }}" if tests else write


def _assign_descriptor(specs: Sequence[Spec], attrs: Mapping[str, Any]) -> Descriptor | None:
    # Few rows are written where they lie: see `_assign_expand`.
    return Index(_assign_code) if _rows(specs, attrs) is None else None


def _assign_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    rows = _rows(specs, attrs)
    if rows is None:
        return None
    x, value = inputs
    dims, inner = dims_of(specs[0]), slice_shape(dims_of(specs[0]), attrs)
    if math.prod(dims_of(specs[1])) == 1:
        updates = build("reshape", [value], {"shape": ()})
    else:
        lengths = dims_of(specs[1])
        if len(lengths) > len(inner or ()):
            value = build("reshape", [value], {"shape": lengths[len(lengths) - len(inner or ()) :]})
        updates = build("broadcast_to", [value], {"shape": inner})
        updates = build("reshape", [updates], {"shape": (len(rows), *dims[rows.shape[1] :])})
    places = build("const", [], {"value": Constant(rows), "dtype": dtypes.int32})
    return build("scatter_rows", [x, places, updates], {"mode": "update", "nd": True})


def _assign_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    value = op.inputs[1]
    attrs = {key: attr_value(op, key) for key in _BOUNDS}
    attrs.update({m: op.attrs[m] for m in MASKS})
    taken = apply("strided_slice", (dy,), attrs)
    dims, inner = shape_attr(value), shape_attr(taken)
    # Dimensions of 1 may stand in front of the slice's: NumPy lets them pass, and so does TensorFlow.
    if value._shape is None or taken._shape is None:
        taken = reshape(taken, concat([ones_like(shape(value)), shape(taken)], 0))
    elif len(value._shape) > len(taken._shape):
        front = (1,) * (len(value._shape) - len(taken._shape))
        taken = reshape(taken, concat([constant(front), inner], 0))
    d_value = sum_to_shape(taken, dims)
    return apply(slice_assigned_op, (dy, zeros_like(value)), attrs), d_value


slice_assigned_op = register(
    OpDef(
        "slice_assigned", _assign_rule, _assign_numpy, _assign_descriptor, _assign_gradient,
        value_attrs=_BOUNDS, expand=_assign_expand, node_name="SliceAssigned", input_names=("x", "value"),
        rewrite=SliceWrite,
    )
)  # fmt: skip
slice_assign_op = register(
    OpDef(
        "slice_assign", _assign_rule, None, value_attrs=_BOUNDS, stateful=True, side_effect=True,
        node_name="StridedSliceAssign", input_names=("variable", "value"), writes="slice_assigned",
    )
)  # fmt: skip


def assign_slice(self: Tensor, value: Any, name: str | None = None) -> Tensor:
    """Return a tensor that sets a slice of a variable when it runs, and is the variable's new value.

    The tensor must be a slice that was just taken, as in ``v[2:5].assign(value)``; `value` has its shape, or
    broadcasts to it.  The rest of the variable stays as it is.

    Raises
    ------
    DTypeError
        If the tensor is not a slice of a variable, or `value` has another dtype.
    ShapeError
        If `value` does not fit.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     v = gr.Variable([1.0, 2.0, 3.0])
    ...     sess.run(v.initializer)
    ...     print(sess.run(v[1:].assign([7.0, 8.0])))
    [1. 7. 8.]
    """
    found = getattr(self, "_slice_of", None)
    if found is None:
        raise DTypeError(
            message(
                f"assign to '{self.name}', which is no variable and no slice of one", where="assign",
                site=user_site(), expected="a gr.Variable, or a slice that was taken of one, as v[2:5]",
            )
        )  # fmt: skip
    variable, key = found
    items = key if isinstance(key, tuple) else (key,)
    x = variable._as_graph_element()
    attrs, picks, _ = read_key(x, items)
    with x.graph.name_scope(self.op.name + "/"):
        label = name or "_assign"
        if picks:
            return _assign_at(variable, x, attrs, picks, convert_to_tensor(value, x.dtype), label)
        return write_state(slice_assign_op, variable, value, attrs, label)


def _assign_at(
    variable: Any, x: Tensor, attrs: dict[str, Any], picks: list[tuple[int, Tensor]], value: Tensor, name: str
) -> Tensor:
    """Where indices are tensors: rows are named by coordinates, so that no plan depends on their values."""
    dims = x._shape
    if not is_static(dims) or any(isinstance(attrs[b], Tensor) for b in _BOUNDS):
        raise DTypeError(
            message(
                "indices and bounds of slices that are tensors, in one key", where="assign", site=user_site(),
                got=f"variable '{x.op.name}' of shape {format_shape(dims)}",
                expected="bounds that are ints where an index is a tensor, and a variable of known shape",
                fix="use gr.scatter_nd_update(v, indices, updates)",
            )
        )  # fmt: skip
    sizes = tuple(n or 0 for n in dims or ())
    items = len(attrs["begin"])
    named = [i for i in range(items) if not (attrs["ellipsis_mask"] | attrs["new_axis_mask"]) >> i & 1]
    if len(named) > len(sizes):
        raise ShapeError(
            message(f"{len(named)} indices for rank {len(sizes)}", where="assign", site=user_site())
        )
    skipped = len(sizes) - len(named)
    before = (1 << items) if not attrs["ellipsis_mask"] else attrs["ellipsis_mask"]
    axis_of = {i: k + (skipped if 1 << i > before else 0) for k, i in enumerate(named)}
    # Index 0 stands for each tensor, whose value is then added to the coordinates.
    one, offsets = dict(attrs), [constant(0)] * len(sizes)
    begin = list(attrs["begin"])
    for position, index in picks:
        begin[position] = 0
        one["shrink_axis_mask"] |= 1 << position
        axis = axis_of[position]
        at = cast(index, dtypes.int32)
        offsets[axis] = at + cast(at < 0, dtypes.int32) * sizes[axis]
    one["begin"] = tuple(begin)
    inner = slice_shape(sizes, one)
    if not _fits(value._shape, inner):
        raise ShapeError(
            message(
                f"the value's shape {format_shape(value._shape)} does not fit the slice's,"
                f" {format_shape(inner)}", where="assign", site=user_site(),
                expected=f"a value of shape {format_shape(inner)}, or one that broadcasts to it",
            )
        )  # fmt: skip
    axes = [a for a in slice_axes(sizes, one) if a is not NEW_AXIS]
    ranges = _ranges(axes, sizes, max(axis_of[p] for p, _ in picks) + 1)
    rows, depth = _coordinates(ranges), len(ranges)
    if value._shape is not None and len(value._shape) > len(inner or ()):
        value = reshape(value, value._shape[len(value._shape) - len(inner or ()) :])
    updates = reshape(broadcast_to(value, inner), (len(rows), *sizes[depth:]))
    places = add(constant(rows), stack(offsets[:depth]))
    result: Tensor = scatter_nd_update(variable, places, updates, name=name)
    return result
