"""Slices: `strided_slice`, which is under `x[key]`, and `slice`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrun.errors import RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor, partial_value
from graphrun.graph.descriptor import AffineMap, Index, Spec, View
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import (
    as_vectors,
    attr_value,
    dims_of,
    ints,
    known_ints,
    scalar,
    shape_attr,
    static_ints,
)
from graphrun.shapes import Dim, Shape, format_shape, is_static, row_major_strides

# -- strided_slice ------------------------------------------------------------------------------


class SliceAxis(NamedTuple):
    """What a slice does with one axis of the input; None: not known yet."""

    start: Any
    step: Any
    length: Any
    kept: bool = True  # False where an index takes the axis away


NEW_AXIS = SliceAxis(None, None, 1)  # a new axis of the result

MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def slice_axes(shape: tuple[Dim, ...], attrs: Mapping[str, Any]) -> list[SliceAxis]:
    """Work out a slice for an input of that shape; `NEW_AXIS` entries stand where axes are added."""
    begin, end, strides = (known_ints(attrs[k]) for k in ("begin", "end", "strides"))
    lengths = {len(v) for v in (begin, end, strides) if v is not None}
    if len(lengths) != 1:
        raise RuleError(
            f"begin, end and strides have lengths {sorted(lengths)}", expected="one length, at most the rank"
        )
    n = lengths.pop()
    unknown = (None,) * n
    begin, end, strides = begin or unknown, end or unknown, strides or unknown
    begin_mask, end_mask, ellipsis, new, shrink = (attrs[m] for m in MASKS)
    if ellipsis & (ellipsis - 1):
        raise RuleError("several ellipses", expected="at most one `...`")
    named = sum(1 for i in range(n) if not (ellipsis >> i & 1) and not (new >> i & 1))
    rank = len(shape)
    if named > rank:
        raise RuleError(f"{named} indices for rank {rank}", expected=f"at most {rank}")
    axes: list[SliceAxis] = []
    k = 0
    for i in range(n):
        if ellipsis >> i & 1:
            for _ in range(rank - named):
                axes.append(SliceAxis(0, 1, shape[k]))
                k += 1
        elif new >> i & 1:
            axes.append(NEW_AXIS)
        elif shrink >> i & 1:
            axes.append(_index(begin[i], shape[k], k))
            k += 1
        else:
            first = (begin[i], True) if not begin_mask >> i & 1 else (None, False)
            last = (end[i], True) if not end_mask >> i & 1 else (None, False)
            axes.append(_range(shape[k], first, last, strides[i]))
            k += 1
    axes.extend(SliceAxis(0, 1, d) for d in shape[k:])
    return axes


def _index(at: int | None, length: Dim, axis: int) -> SliceAxis:
    if at is None or length is None:
        return SliceAxis(at, 1, 1, False)
    if not -length <= at < length:
        raise RuleError(
            f"index {at} is out of range for axis {axis} of length {length}",
            expected=f"{-length} <= index < {length}" if length else "an axis that is not empty",
        )
    return SliceAxis(at % length, 1, 1, False)


def _range(
    length: Dim, begin: tuple[int | None, bool], end: tuple[int | None, bool], step: int | None
) -> SliceAxis:
    if step == 0:
        raise RuleError("a step of 0", expected="a step other than 0")
    if step is None:
        return SliceAxis(None, None, None)
    if length is None:
        full = step in (1, -1) and not begin[1] and not end[1]
        return SliceAxis(0 if full and step == 1 else None, step, None)
    if (begin[1] and begin[0] is None) or (end[1] and end[0] is None):
        return SliceAxis(None, step, None)
    r = range(*slice(begin[0], end[0], step).indices(length))
    return SliceAxis(r.start if len(r) else 0, step, len(r))


def slice_shape(shape: Shape, attrs: Mapping[str, Any]) -> Shape:
    if shape is None or all(attrs[k] is None for k in ("begin", "end", "strides")):
        return None
    return tuple(a.length for a in slice_axes(shape, attrs) if a.kept)


def _strided_slice_rule(x: Spec, **attrs: Any) -> tuple[Spec]:
    return (Spec(slice_shape(x.shape, attrs), x.dtype),)


def numpy_key(shape: tuple[int, ...], attrs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The key that NumPy takes."""
    key: list[Any] = []
    for a in slice_axes(shape, attrs):
        if a is NEW_AXIS:
            key.append(None)
        elif not a.kept:
            key.append(a.start)
        else:
            stop = a.start + a.step * a.length
            key.append(slice(a.start, None if stop < 0 else stop, a.step))
    return (*key, ...)  # the ellipsis keeps the result of full indexing an array


def _strided_slice_numpy(x: np.ndarray, **attrs: Any) -> np.ndarray:
    return x[numpy_key(x.shape, attrs)]


def _strided_slice_map(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int) -> AffineMap:
    shape = dims_of(specs[0])
    steps = iter(row_major_strides(shape))
    strides: list[int] = []
    offset = 0
    for a in slice_axes(shape, attrs):
        if a is NEW_AXIS:
            strides.append(0)
            continue
        s = next(steps)
        offset += a.start * s
        if a.kept:
            strides.append(a.step * s)
    empty = 0 in out.shape  # type: ignore[operator]
    return AffineMap(dims_of(out), tuple(strides), 0 if empty else offset)


def _strided_slice_partial(op: Operation) -> Any:
    value, attrs = partial_value(op.inputs[0]), op.attrs
    if not isinstance(value, tuple) or op.value_attrs:
        return None
    axes = slice_axes((len(value),), attrs)
    if len(axes) != 1 or axes[0] is NEW_AXIS:
        return None
    (a,) = axes
    if not a.kept:
        return value[a.start]
    return tuple(value[a.start + i * a.step] for i in range(a.length))


def _strided_slice_gradient(op: Operation, dy: Tensor) -> Tensor:
    attrs = {key: attr_value(op, key) for key in ("begin", "end", "strides")}
    attrs.update({m: op.attrs[m] for m in MASKS}, shape=shape_attr(op.inputs[0]))
    return apply(strided_slice_grad_op, (dy,), attrs)


strided_slice_op = register(
    OpDef(
        "strided_slice", _strided_slice_rule, _strided_slice_numpy, View(_strided_slice_map),
        _strided_slice_gradient, value_attrs=("begin", "end", "strides"), partial=_strided_slice_partial,
        node_name="strided_slice", input_names=("input",),
    )
)  # fmt: skip


# -- its gradient: the values at their places, zeros elsewhere --------------------------------------


def _grad_rule(dy: Spec, *, shape: Any, **attrs: Any) -> tuple[Spec]:
    dims = known_ints(shape)
    if dims is not None and is_static(dims) and is_static(dy.shape):
        inner = slice_shape(dims, attrs)
        if inner is not None and is_static(inner) and inner != dy.shape:
            raise RuleError(
                f"the slice of {format_shape(dims)} has shape {format_shape(inner)}", expected="that of dy"
            )
    return (Spec(dims, dy.dtype),)


def _grad_numpy(dy: np.ndarray, *, shape: Any, **attrs: Any) -> np.ndarray:
    result = np.zeros(shape, dy.dtype)
    result[numpy_key(tuple(shape), attrs)] = dy
    return result


def within(axes: Sequence[SliceAxis], shape: Sequence[int], strides: Sequence[int]) -> tuple[list[str], str]:
    """In OpenCL C: what coordinates c0, c1, ... of the whole lie in the slice, and where in it.

    `strides` are those of the slice, an entry for each axis that it keeps or that is new.
    """
    steps = iter(strides)
    tests, terms = [], []
    k = 0
    for a in axes:
        if a is NEW_AXIS:
            next(steps)
            continue
        length, start, step, count = shape[k], a.start, a.step, a.length
        c = f"c{k}"
        k += 1
        if not a.kept:
            if length > 1:
                tests.append(f"{c} == {start}L")
            continue
        s = next(steps)
        last = start + (count - 1) * step
        low, high = min(start, last), max(start, last)
        tests += [f"{c} >= {low}L"] if low else []
        tests += [f"{c} <= {high}L"] if high < length - 1 else []
        if abs(step) > 1:
            tests.append(f"({c} - {low}L) % {abs(step)}L == 0")
        if s:
            terms.append(f"({c} - {start}L) / {step}L * {s}L")
    return tests, " + ".join(terms) or "0"


def _grad_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    shape = dims_of(out)
    axes = slice_axes(shape, attrs)
    if any(a.length == 0 for a in axes if a.kept):
        return "r = 0;"
    tests, place = within(axes, shape, row_major_strides(dims_of(specs[0])))
    return f"r = 0; if ({' && '.join(tests)}) r = LOAD0({place});" if tests else f"r = LOAD0({place});"


def _grad_gradient(op: Operation, ddy: Tensor) -> Tensor:
    attrs = {key: attr_value(op, key) for key in ("begin", "end", "strides")}
    attrs.update({m: op.attrs[m] for m in MASKS})
    return apply(strided_slice_op, (ddy,), attrs)


strided_slice_grad_op = register(
    OpDef(
        "strided_slice_grad", _grad_rule, _grad_numpy, Index(_grad_code), _grad_gradient,
        value_attrs=("begin", "end", "strides", "shape"), node_name="StridedSliceGrad", input_names=("dy",),
    )
)  # fmt: skip


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Tensor:
    """Return a slice of `input_`; ``x[...]`` is the same in a form that is easier to read.

    Parameters
    ----------
    input_ : tensor
    begin, end, strides : ints or tensor
        One entry for each axis from the first; strides are 1 by default and may be negative.
    begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask : int
        Bit i says that ``begin[i]`` is left out, that ``end[i]`` is, that entry i is ``...``, that it is a
        new axis, or that it is the index ``begin[i]``, which takes its axis away.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.strided_slice(gr.zeros([4, 5]), [1, 0], [3, 5], [1, 2]).shape.as_list()
    [2, 3]
    """
    x = convert_to_tensor(input_)
    attrs: dict[str, Any] = {
        "begin": ints(begin, "strided_slice", "begin"),
        "end": ints(end, "strided_slice", "end"),
        "begin_mask": int(begin_mask), "end_mask": int(end_mask), "ellipsis_mask": int(ellipsis_mask),
        "new_axis_mask": int(new_axis_mask), "shrink_axis_mask": int(shrink_axis_mask),
    }  # fmt: skip
    if strides is None:
        count = next((_length(attrs[k]) for k in ("begin", "end") if _length(attrs[k]) is not None), None)
        if count is None:
            raise ShapeError(
                message("the length of begin is not known", where="strided_slice", site=user_site(),
                        fix="pass strides, or vectors of known length")
            )  # fmt: skip
        attrs["strides"] = (1,) * count
    else:
        attrs["strides"] = ints(strides, "strided_slice", "strides")
    return apply(strided_slice_op, (x,), attrs, name or "StridedSlice")


def _length(value: Any) -> int | None:
    if isinstance(value, Tensor):
        return value._shape[0] if value._shape else None
    return len(value)


# -- slice --------------------------------------------------------------------------------------


def _bounds(shape: Shape, begin: Any, size: Any) -> tuple[tuple[int | None, ...], Shape]:
    """Begin and length of each axis, as far as they are known."""
    first, count = known_ints(begin), known_ints(size)
    lengths = {len(v) for v in (shape, first, count) if v is not None}
    if len(lengths) > 1:
        raise RuleError(
            "begin has {} entries, size {}, and the rank is {}".format(
                *("?" if v is None else len(v) for v in (first, count, shape))
            ),
            expected="one entry for each axis",
        )
    if not lengths:
        return (), None
    n = lengths.pop()
    unknown = (None,) * n
    dims, first, count = shape or unknown, first or unknown, count or unknown
    out: list[Dim] = []
    for k, (d, b, c) in enumerate(zip(dims, first, count, strict=True)):
        if b is not None and (b < 0 or (d is not None and b > d)):
            raise RuleError(f"begin is {b} for axis {k} of length {d}", expected="0 <= begin <= length")
        if c is not None and c < -1:
            raise RuleError(f"size is {c} for axis {k}", expected="0 or more, or -1 for all that is left")
        if c == -1:
            out.append(None if d is None or b is None else d - b)
            continue
        if c is not None and d is not None and (b or 0) + c > d:
            raise RuleError(
                f"begin {b} and size {c} go beyond axis {k} of length {d}",
                expected="begin + size <= length",
                fix="size -1 takes all that is left",
            )
        out.append(c)
    return first, tuple(out)


def _slice_rule(x: Spec, *, begin: Any, size: Any) -> tuple[Spec]:
    return (Spec(_bounds(x.shape, begin, size)[1], x.dtype),)


def _slice_numpy(x: np.ndarray, *, begin: Any, size: Any) -> np.ndarray:
    first, count = _bounds(x.shape, begin, size)
    key = tuple(slice(b, b + c) for b, c in zip(first, count or (), strict=True))  # type: ignore[operator]
    return x[(*key, ...)]


def _slice_map(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int) -> AffineMap:
    strides = row_major_strides(dims_of(specs[0]))
    begin = static_ints(attrs["begin"])
    offset: int = sum(b * s for b, s in zip(begin, strides, strict=True))
    return AffineMap(dims_of(out), strides, 0 if 0 in dims_of(out) else offset)


def _slice_partial(op: Operation) -> Any:
    value, out = partial_value(op.inputs[0]), op.outputs[0]._shape
    if not isinstance(value, tuple) or "begin" in op.value_attrs or not out or out[0] is None:
        return None
    (first,) = static_ints(op.attrs["begin"])
    return value[first : first + out[0]]


def _slice_gradient(op: Operation, dy: Tensor) -> Tensor:
    x, begin = op.inputs[0], attr_value(op, "begin")
    shape, inner = shape_attr(x), shape_attr(dy)
    if isinstance(shape, tuple) and isinstance(inner, tuple) and not isinstance(begin, Tensor):
        before = static_ints(begin)
        after: Any = tuple(n - b - c for n, b, c in zip(shape, before, inner, strict=True))
    else:
        before = begin
        parts = as_vectors(shape, begin, inner, graph=x.graph)
        left = apply("subtract", (parts[0], parts[1]))
        after = apply("subtract", (left, parts[2]))
    return apply(
        "pad",
        (dy,),
        {"before": before, "after": after, "mode": "CONSTANT", "value": scalar(0, dy.dtype, "slice", "zero")},
    )


slice_op = register(
    OpDef(
        "slice", _slice_rule, _slice_numpy, View(_slice_map), _slice_gradient, value_attrs=("begin", "size"),
        partial=_slice_partial, node_name="Slice", onnx="Slice", input_names=("input",),
    )
)  # fmt: skip


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """Return `size` elements from `begin` of each axis; a size of -1 takes all that is left.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.slice(gr.zeros([4, 5]), [1, 0], [2, -1]).shape.as_list()
    [2, 5]
    """
    attrs = {"begin": ints(begin, "slice", "begin"), "size": ints(size, "slice", "size")}
    return apply(slice_op, (convert_to_tensor(input_),), attrs, name)


slice_.__name__ = slice_.__qualname__ = "slice"
