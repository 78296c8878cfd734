"""Entries at other places along an axis: roll, repeat, reverse_sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import InvalidArgumentError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import attr_value, dims_of, ints, require_rank, static_int
from graphrun.ops.families import require_kind
from graphrun.ops.fill import broadcast_to, shape
from graphrun.ops.gather import take
from graphrun.ops.joining import concat
from graphrun.ops.reshape import expand_dims, reshape
from graphrun.shapes import is_compatible, normalize_axis, row_major_strides

# -- roll -----------------------------------------------------------------------------------------


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, int) else value


def _roll_rule(x: Spec, *, shift: Any, axis: Any) -> tuple[Spec]:
    shift, axis = _as_tuple(shift), _as_tuple(axis)
    if shift is not None and axis is not None and len(shift) != len(axis):
        raise RuleError(f"{len(shift)} shifts for {len(axis)} axes", expected="one for each axis")
    if x.shape is not None and axis is not None:
        for a in axis:
            if a is not None:
                normalize_axis(a, len(x.shape))
    return (x,)


def _roll_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    dims = dims_of(out)
    total = [0] * len(dims)
    for s, a in zip(_as_tuple(attrs["shift"]), _as_tuple(attrs["axis"]), strict=True):
        total[a] += s
    terms = []
    for k, (n, step) in enumerate(zip(dims, row_major_strides(dims), strict=True)):
        back = -total[k] % n if n else 0
        place = f"(c{k} + {back}L < {n}L ? c{k} + {back}L : c{k} + {back - n}L)" if back else f"c{k}"
        terms.append(f"{place} * {step}L")
    return f"r = LOAD0({' + '.join(terms) or '0'});"


def _roll_gradient(op: Operation, dy: Tensor) -> Tensor:
    shift, axis = attr_value(op, "shift"), attr_value(op, "axis")
    back = -shift if isinstance(shift, Tensor) else tuple(-s for s in _as_tuple(shift))
    return apply(roll_op, (dy,), {"shift": back, "axis": axis})


roll_op = register(
    OpDef(
        "roll", _roll_rule, lambda x, *, shift, axis: np.roll(x, _as_tuple(shift), _as_tuple(axis)),
        Index(_roll_code), _roll_gradient, value_attrs=("shift", "axis"), node_name="Roll",
        input_names=("x",),
    )
)  # fmt: skip


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Tensor:
    """Move the entries along axes; what leaves at the end comes in at the front.

    Parameters
    ----------
    input : tensor
    shift : int, several, or an integer tensor
        How far towards higher indices.
    axis : int, or as many as shifts

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.roll([0, 1, 2, 3], 1, 0)))
    [3 0 1 2]
    """
    attrs = {"shift": ints(shift, "roll", "shift"), "axis": ints(axis, "roll", "axis")}
    return apply(roll_op, (convert_to_tensor(input),), attrs, name)


# -- reverse_sequence -------------------------------------------------------------------------------


def _reverse_rule(x: Spec, lengths: Spec, *, seq_axis: int, batch_axis: int) -> tuple[Spec]:
    require_kind(lengths, "integer", "seq_lengths")
    require_rank(lengths.shape, 1, "seq_lengths")
    if x.shape is None:
        return (x,)
    seq, batch = (normalize_axis(a, len(x.shape)) for a in (seq_axis, batch_axis))
    if seq == batch:
        raise RuleError(f"seq_axis and batch_axis are both {seq}", expected="two axes")
    if lengths.shape is not None and not is_compatible((x.shape[batch],), lengths.shape):
        raise RuleError(f"{lengths.shape[0]} lengths for {x.shape[batch]} sequences", expected="one for each")
    if lengths.shape is None or x.shape[batch] is not None:
        return (x,)
    return (Spec((*x.shape[:batch], lengths.shape[0], *x.shape[batch + 1 :]), x.dtype),)


def _reverse_numpy(x: np.ndarray, lengths: np.ndarray, *, seq_axis: int, batch_axis: int) -> np.ndarray:
    seq, batch = seq_axis % x.ndim, batch_axis % x.ndim
    if lengths.size and (lengths.min() < 0 or lengths.max() > x.shape[seq]):
        raise RuleError(
            f"a length of {lengths.min() if lengths.min() < 0 else lengths.max()}",
            expected=f"0 to {x.shape[seq]}", kind=InvalidArgumentError,
        )  # fmt: skip
    place = np.arange(x.shape[seq]).reshape([-1 if k == seq else 1 for k in range(x.ndim)])
    ends = lengths.astype(np.int64).reshape([-1 if k == batch else 1 for k in range(x.ndim)])
    return np.take_along_axis(x, np.where(place < ends, ends - 1 - place, place), seq)


def _reverse_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    dims = dims_of(out)
    seq, batch = attrs["seq_axis"] % len(dims), attrs["batch_axis"] % len(dims)
    step = row_major_strides(dims)[seq]
    return (
        f"const long n = (long)LOAD1(c{batch}); long at = c{seq} < n ? n - 1 - c{seq} : c{seq};"
        f" if (at >= {dims[seq]}L) at = c{seq}; r = LOAD0((long)i + (at - c{seq}) * {step}L);"
    )


reverse_sequence_op = register(
    OpDef(
        "reverse_sequence", _reverse_rule, _reverse_numpy, Index(_reverse_code),
        lambda op, dy: (apply("reverse_sequence", (dy, op.inputs[1]), dict(op.attrs)), None),
        node_name="ReverseSequence", onnx="ReverseSequence", input_names=("x", "seq_lengths"),
    )
)  # fmt: skip


def reverse_sequence(
    input: Any,
    seq_lengths: Any,
    seq_axis: Any = None,
    batch_axis: Any = None,
    name: str | None = None,
    seq_dim: Any = None,
    batch_dim: Any = None,
) -> Tensor:
    """Reverse the first ``seq_lengths[b]`` entries of each sequence b; the others keep their places.

    Parameters
    ----------
    input : tensor
    seq_lengths : int32 or int64 tensor of rank 1
    seq_axis, batch_axis : int
        The axis that is reversed, and that of the sequences (0 by default); `seq_dim` and `batch_dim` are
        the older names.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.reverse_sequence([[1, 2, 3], [4, 5, 6]], [2, 3], seq_axis=1)))
    [[2 1 3]
     [6 5 4]]
    """
    seq = seq_dim if seq_axis is None else seq_axis
    batch = batch_dim if batch_axis is None else batch_axis
    if seq is None:
        raise ShapeError(
            message("reverse_sequence without seq_axis", site=user_site(), fix="pass seq_axis=1")
        )
    attrs = {
        "seq_axis": static_int(seq, "reverse_sequence", "seq_axis"),
        "batch_axis": static_int(0 if batch is None else batch, "reverse_sequence", "batch_axis"),
    }
    inputs = (convert_to_tensor(input), convert_to_tensor(seq_lengths))
    return apply(reverse_sequence_op, inputs, attrs, name)


# -- repeat -----------------------------------------------------------------------------------------


def _places_rule(repeats: Spec) -> tuple[Spec]:
    require_kind(repeats, "integer", "repeats")
    require_rank(repeats.shape, 1, "repeats")
    return (Spec((None,), dtypes.int32),)


def _places_numpy(repeats: np.ndarray) -> np.ndarray:
    if repeats.size and repeats.min() < 0:
        raise RuleError(f"repeats holds {repeats.min()}", expected="0 or more", kind=InvalidArgumentError)
    return np.repeat(np.arange(repeats.size, dtype=np.int32), repeats)


# Which entry each entry of the result is.
repeat_places_op = register(
    OpDef(
        "repeat_places", _places_rule, _places_numpy, None, no_gradient, node_name="RepeatPlaces",
        input_names=("repeats",),
    )
)  # fmt: skip


def repeat(input: Any, repeats: Any, axis: Any = None, name: str | None = None) -> Tensor:
    """Repeat each entry along an axis.

    Parameters
    ----------
    input : tensor
        Flattened where no axis is given.
    repeats : int, or a tensor of rank 0 or 1
        How often; with one number for each entry, what follows is planned when they are known.
    axis : int, optional

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run([gr.repeat([3, 4], 2), gr.repeat([3, 4], [1, 3])]))
    [array([3, 3, 4, 4], dtype=int32), array([3, 4, 4, 4], dtype=int32)]
    """
    x, count = convert_to_tensor(input), convert_to_tensor(repeats)
    with x.graph.name_scope(name or "Repeat"):
        if axis is None:
            x, axis = reshape(x, [-1]), 0
        if x._shape is None:
            raise ShapeError(
                message("a tensor of unknown rank", where="repeat", site=user_site(), fix="use x.set_shape")
            )
        if not x._shape:
            x = reshape(x, [1])
        rank = len(x._shape)  # type: ignore[arg-type]
        at = normalize_axis(static_int(axis, "repeat", "axis"), rank)
        if count._shape is not None and (count._shape == () or count._shape == (1,)):
            times = reshape(count, [1])
            dims = shape(x, out_type=times.dtype)
            wide = broadcast_to(expand_dims(x, at + 1), concat([dims[: at + 1], times, dims[at + 1 :]], 0))
            return reshape(wide, concat([dims[:at], dims[at : at + 1] * times, dims[at + 1 :]], 0))
        if count._shape is None:
            raise ShapeError(
                message("repeats of unknown rank", where="repeat", site=user_site(), fix="use set_shape")
            )
        return take(x, apply(repeat_places_op, (count,)), axis=at)
