"""`pad`: zeros or another number around a tensor, or its own elements mirrored at the edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.errors import RuleError, ShapeError, message
from graphrun.graph.apply import apply, constant_value, convert_to_tensor
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import (
    attr_value,
    dims_of,
    ints,
    is_tensor,
    known_ints,
    scalar,
    shape_attr,
    static_ints,
)
from graphrun.shapes import Dim, format_shape, row_major_strides

MODES = ("CONSTANT", "REFLECT", "SYMMETRIC")


def _limit(mode: str, length: Dim) -> int | None:
    """How many elements can be mirrored at each end of an axis."""
    if length is None or mode == "CONSTANT":
        return None
    return max(length - 1, 0) if mode == "REFLECT" else length


def _paddings(before: Any, after: Any, rank: int | None) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
    first, last = known_ints(before), known_ints(after)
    lengths = {
        n
        for n in (None if first is None else len(first), None if last is None else len(last), rank)
        if n is not None
    }
    if len(lengths) > 1:
        raise RuleError(
            f"paddings for {len(first or last or ())} axes, the rank is {rank}",
            expected="one pair (before, after) for each axis",
            fix="write (0, 0) for an axis that is not padded",
        )
    if not lengths:
        return None
    unknown = (None,) * lengths.pop()
    return first or unknown, last or unknown


def _pad_rule(x: Spec, *, before: Any, after: Any, mode: str, value: Constant) -> tuple[Spec]:
    pads = _paddings(before, after, None if x.shape is None else len(x.shape))
    if pads is None:
        return (Spec(None, x.dtype),)
    dims: tuple[Dim, ...] = (None,) * len(pads[0]) if x.shape is None else x.shape
    out: list[Dim] = []
    for k, (d, b, a) in enumerate(zip(dims, *pads, strict=True)):
        limit = _limit(mode, d)
        for p in (b, a):
            if p is not None and p < 0:
                raise RuleError(f"padding {p} of axis {k}", expected="0 or more", fix="use a slice to cut")
            if p is not None and limit is not None and p > limit:
                raise RuleError(
                    f"padding {p} of axis {k} of length {d} by {mode}",
                    expected=f"at most {limit}, since the axis is mirrored once",
                )
        out.append(None if d is None or b is None or a is None else d + b + a)
    return (Spec(tuple(out), x.dtype),)


def _pad_numpy(x: np.ndarray, *, before: Any, after: Any, mode: str, value: Constant) -> np.ndarray:
    pads = list(zip(static_ints(before), static_ints(after), strict=True))
    if mode == "CONSTANT":
        return np.pad(x, pads, constant_values=value.array.item()) if pads else x
    return np.pad(x, pads, mode.lower()) if pads else x  # type: ignore[call-overload]


def _pad_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    from graphrun.ops.attributes import c_literal

    source = dims_of(specs[0])
    mode = attrs["mode"]
    fill = f"r = {c_literal(attrs['value'].array.item(), out.dtype)};"
    if 0 in source:
        return fill
    before, after = static_ints(attrs["before"]), static_ints(attrs["after"])
    lines, tests, terms = [], [], []
    for k, (n, s, b, a) in enumerate(zip(source, row_major_strides(source), before, after, strict=True)):
        if not b and not a:
            terms.append(f"c{k} * {s}L")
            continue
        lines.append(f"long k{k} = c{k} - {b}L;")
        terms.append(f"k{k} * {s}L")
        if mode == "CONSTANT":
            tests += [f"k{k} >= 0"] if b else []
            tests += [f"k{k} < {n}L"] if a else []
            continue
        edge = 0 if mode == "REFLECT" else 1
        lines += [f"if (k{k} < 0) k{k} = -k{k} - {edge}L;"] if b else []
        lines += [f"if (k{k} >= {n}L) k{k} = {2 * n - 2 + edge}L - k{k};"] if a else []
    load = f"r = LOAD0({' + '.join(terms) or '0'});"
    if tests:
        load = f"{fill} if ({' && '.join(tests)}) {load}"
    return " ".join([*lines, load])


def _pad_gradient(op: Operation, dy: Tensor) -> Tensor:
    attrs = {key: attr_value(op, key) for key in ("before", "after")}
    if op.attrs["mode"] == "CONSTANT":
        return apply("slice", (dy,), {"begin": attrs["before"], "size": shape_attr(op.inputs[0])})
    return apply(mirror_pad_grad_op, (dy,), {**attrs, "mode": op.attrs["mode"]})


pad_op = register(
    OpDef(
        "pad", _pad_rule, _pad_numpy, Index(_pad_code), _pad_gradient, value_attrs=("before", "after"),
        node_name="Pad", onnx="Pad", input_names=("tensor",),
    )
)  # fmt: skip


# -- gradient of the mirroring modes: fold the edges back -------------------------------------------


def _fold_rule(dy: Spec, *, before: Any, after: Any, mode: str) -> tuple[Spec]:
    pads = _paddings(before, after, None if dy.shape is None else len(dy.shape))
    if pads is None:
        return (Spec(None, dy.dtype),)
    dims: tuple[Dim, ...] = (None,) * len(pads[0]) if dy.shape is None else dy.shape
    out = tuple(
        None if d is None or b is None or a is None else d - b - a
        for d, b, a in zip(dims, *pads, strict=True)
    )
    if any(d is not None and d < 0 for d in out):
        raise RuleError(f"shape {format_shape(dy.shape)} is smaller than the paddings")
    return (Spec(out, dy.dtype),)


def _fold_numpy(dy: np.ndarray, *, before: Any, after: Any, mode: str) -> np.ndarray:
    result = dy
    edge = 0 if mode == "SYMMETRIC" else 1
    for k, (b, a) in enumerate(zip(static_ints(before), static_ints(after), strict=True)):
        if not b and not a:
            continue
        moved = np.moveaxis(result, k, 0)
        n = moved.shape[0] - b - a
        inner = moved[b : b + n].copy()
        if b:
            inner[edge : edge + b] += moved[b - 1 :: -1] if b else 0
        if a:
            inner[n - edge - a : n - edge] += moved[: b + n - 1 : -1]
        result = np.moveaxis(inner, 0, k)
    return result


def _fold_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    """Sum over the places that each element was copied to: up to three along each padded axis."""
    source = dims_of(specs[0])
    before, after = static_ints(attrs["before"]), static_ints(attrs["after"])
    edge = 1 if attrs["mode"] == "REFLECT" else 0
    open_, terms, close = ["r = 0;"], [], ""
    for k, (s, b, a) in enumerate(zip(row_major_strides(source), before, after, strict=True)):
        if not b and not a:
            terms.append(f"c{k} * {s}L")
            continue
        n = source[k] - b - a
        terms.append(f"k{k} * {s}L")
        open_.append(
            f"for (int m{k} = 0; m{k} < 3; m{k}++) {{ long k{k} = c{k} + {b}L; "
            f"if (m{k} == 1) {{ if (c{k} < {edge}L || c{k} >= {b + edge}L) continue; "
            f"k{k} = {b - 1 + edge}L - c{k}; }} "
            f"if (m{k} == 2) {{ if (c{k} >= {n - edge}L || c{k} < {n - edge - a}L) continue; "
            f"k{k} = {b + 2 * n - 1 - edge}L - c{k}; }}"
        )
        close += " }"
    return " ".join(open_) + f" r += LOAD0({' + '.join(terms) or '0'});" + close


def _fold_gradient(op: Operation, ddx: Tensor) -> Tensor:
    attrs = {key: attr_value(op, key) for key in ("before", "after")}
    return apply(pad_op, (ddx,), {**attrs, "mode": op.attrs["mode"], "value": _zero(ddx)})


mirror_pad_grad_op = register(
    OpDef(
        "mirror_pad_grad", _fold_rule, _fold_numpy, Index(_fold_code), _fold_gradient,
        value_attrs=("before", "after"), node_name="MirrorPadGrad", input_names=("dy",),
    )
)  # fmt: skip


def _zero(x: Tensor) -> Constant:
    return scalar(0, x.dtype, "pad", "zero") if not x.dtype.is_bool else Constant(np.array(False))


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None, constant_values: Any = 0
) -> Tensor:
    """Add elements before and after along each axis.

    Parameters
    ----------
    tensor : tensor
    paddings : pairs of ints, or tensor of shape (rank, 2)
        How many before and after, for each axis.
    mode : {"CONSTANT", "REFLECT", "SYMMETRIC"}
        `constant_values`, or the tensor's elements mirrored at the edge: without the edge itself, or with it.
    constant_values : number

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.pad([[1, 2, 3]], [[0, 0], [2, 1]], "REFLECT")))
    [[3 2 1 2 3 2]]
    """
    kind = mode.upper()
    if kind not in MODES:
        raise ShapeError(message(f"mode={mode!r}", where="pad", site=user_site(), expected=f"one of {MODES}"))
    x = convert_to_tensor(tensor)
    before, after = _columns(paddings)
    if is_tensor(constant_values):
        known = constant_value(convert_to_tensor(constant_values))
        constant_values = constant_values if known is None else known
    value = scalar(constant_values, x.dtype, "pad", "constant_values") if constant_values else _zero(x)
    attrs = {"before": before, "after": after, "mode": kind, "value": value}
    return apply(pad_op, (x,), attrs, name or ("Pad" if kind == "CONSTANT" else "MirrorPad"))


def _columns(paddings: Any) -> tuple[Any, Any]:
    """The numbers before, and those after."""
    if is_tensor(paddings):
        t = convert_to_tensor(paddings)
        known = constant_value(t)
        if known is None:
            if t._shape is not None and (len(t._shape) != 2 or t._shape[1] not in (2, None)):
                raise _not_pairs(f"shape {format_shape(t._shape)}")
            from graphrun.ops.joining import unstack

            first, last = unstack(t, 2, 1)
            return first, last
        paddings = known
    if isinstance(paddings, np.ndarray):
        paddings = paddings.tolist()
    try:
        pairs = [(b, a) for b, a in paddings]
    except (TypeError, ValueError):
        raise _not_pairs(repr(paddings)) from None
    return ints([b for b, _ in pairs], "pad", "paddings"), ints([a for _, a in pairs], "pad", "paddings")


def _not_pairs(what: str) -> ShapeError:
    return ShapeError(
        message(f"paddings: {what}", where="pad", site=user_site(),
                expected="a pair (before, after) for each axis, as [[0, 0], [1, 2]]")
    )  # fmt: skip
