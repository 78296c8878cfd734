"""Three-dimensional convolution, its two gradients, and the transposed convolution.

On devices it is a sum of two-dimensional convolutions, one for each depth of the filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphrun.errors import RuleError
from graphrun.graph.apply import apply, convert_operands
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, register
from graphrun.ops.attributes import ints, scalar, shape_attr
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.host import conv3d as host
from graphrun.ops.host.conv import Window
from graphrun.ops.slicing import MASKS
from graphrun.ops.window import (
    VOLUMES,
    check_data_format,
    check_same_or_valid,
    one_filter,
    output_length,
    steps,
)
from graphrun.shapes import Dim, Shape, format_shape, is_compatible

_ONES = (1, 1, 1, 1, 1)
_UNKNOWN = (None,) * 5
Dims = tuple[Dim, ...]


def _known_rank_5(shape: Any, what: str) -> Dims:
    if shape is None:
        return _UNKNOWN
    if len(shape) != 5:
        raise RuleError(
            f"{what} has rank {len(shape)}",
            expected="rank 5: volumes are (volumes, depth, rows, columns, channels), filters (depth, rows,"
            " columns, in channels, out channels)",
        )
    return tuple(shape)


def _last(dims: Dims, data_format: str) -> Dims:
    """Dimensions with channels last."""
    return dims if data_format == "NDHWC" else (dims[0], *dims[2:], dims[1])


def _in_order(dims: Dims, data_format: str) -> Dims:
    """Dimensions with channels last in the order of `data_format`."""
    return dims if data_format == "NDHWC" else (dims[0], dims[4], *dims[1:4])


def _result(
    volume: Shape, filter: Shape, strides: Any, padding: str, dilations: Any, data_format: str
) -> Dims:
    """The shape of the convolution."""
    n, *spatial, channels = _last(_known_rank_5(volume, "the input"), data_format)
    *kernel, inner, outer = _known_rank_5(filter, "the filter")
    if channels is not None and inner is not None and channels != inner:
        raise RuleError(
            f"the input has {channels} channels and the filter takes {inner}",
            expected="equal numbers",
            fix="a filter is (depth, rows, columns, in channels, out channels), whatever data_format is",
        )
    out = [
        output_length(d, k, s, padding, r)
        for d, k, s, r in zip(spatial, kernel, strides, dilations, strict=True)
    ]
    return _in_order((n, *out, outer), data_format)


def _conv3d_rule(x: Spec, w: Spec, **window: Any) -> tuple[Spec]:
    dtype = require_same_dtype(x, w)
    require_kind(x, "floating", "the input")
    return (Spec(_result(x.shape, w.shape, **window), dtype),)


def _check_gradient(dy: Spec, volume: Shape, filter: Shape, window: Mapping[str, Any]) -> Dims:
    """Raise unless `dy` has the shape of the forward convolution's result; return what is known of it."""
    expected = _result(volume, filter, **window)
    given = _known_rank_5(dy.shape, "the output's gradient")
    if not is_compatible(given, expected):
        raise RuleError(
            f"an input of shape {format_shape(volume)} gives an output of shape {format_shape(expected)},"
            f" not {format_shape(dy.shape)}",
            expected="sizes that the convolution of that filter, these strides and this padding has",
        )
    return given


def _backprop_input_rule(w: Spec, dy: Spec, *, shape: Any, **window: Any) -> tuple[Spec]:
    require_same_dtype(dy, w)
    require_kind(dy, "floating", "the output's gradient")
    volume = _known_rank_5(shape, "the input's shape")
    given = _check_gradient(dy, volume, w.shape, window)
    if volume[0] is None:
        volume = (given[0], *volume[1:])
    return (Spec(volume, dy.dtype),)


def _backprop_filter_rule(x: Spec, dy: Spec, *, shape: Any, **window: Any) -> tuple[Spec]:
    require_same_dtype(x, dy)
    require_kind(x, "floating", "the input")
    filter = _known_rank_5(shape, "the filter's shape")
    given = _check_gradient(dy, x.shape, filter, window)
    if filter[4] is None:
        filter = (*filter[:4], _last(given, window["data_format"])[4])
    return (Spec(filter, x.dtype),)


# -- on devices: a sum over the filter's depth -----------------------------------------------------------


class _Volumes:
    """Volumes as images of single depths, for one convolution whose shapes are concrete."""

    def __init__(self, build: Any, volume: Any, filter: Any, attrs: Mapping[str, Any], dtype: Any) -> None:
        self.build = build
        self.filter = tuple(filter)
        self.data_format = attrs["data_format"]
        self.volume = host.ndhwc_shape(tuple(volume), self.data_format)
        three = attrs["strides"], attrs["padding"], attrs["dilations"]
        self.over: Window = host.depth_window(self.volume[1], self.filter[0], *three)
        self.flat = {
            "strides": attrs["strides"][1:], "padding": attrs["padding"], "dilations": attrs["dilations"][1:],
            "data_format": "NHWC",
        }  # fmt: skip
        self.dtype = dtype

    @property
    def depth(self) -> int:
        """Of the padded volumes: at least what the filter reads."""
        return self.over.before + self.volume[1] + self.over.after

    @property
    def image(self) -> tuple[int, ...]:
        """Shape of the inputs of one depth of the filter."""
        return (self.volume[0] * self.over.output, *self.volume[2:])

    def to_ndhwc(self, x: Any) -> Any:
        if self.data_format == "NDHWC":
            return x
        return self.build("transpose", [x], {"perm": (0, 2, 3, 4, 1)})

    def from_ndhwc(self, x: Any) -> Any:
        if self.data_format == "NDHWC":
            return x
        return self.build("transpose", [x], {"perm": (0, 4, 1, 2, 3)})

    def padded(self, x: Any) -> Any:
        """Volumes with zeros before and behind in depth."""
        x, over = self.to_ndhwc(x), self.over
        if not over.before and not over.after:
            return x
        zero: Constant = scalar(0, self.dtype, "conv3d", "zero")
        pads = {"before": (0, over.before, 0, 0, 0), "after": (0, over.after, 0, 0, 0)}
        return self.build("pad", [x], {**pads, "mode": "CONSTANT", "value": zero})

    def places(self, k: int) -> dict[str, Any]:
        """The depths that depth k of the filter reads, as attributes of strided_slice."""
        start, step = k * self.over.dilation, self.over.stride
        stop = start + (self.over.output - 1) * step + 1
        bounds = {"begin": (0, start), "end": (self.volume[0], stop), "strides": (1, step)}
        return {**bounds, **dict.fromkeys(MASKS, 0)}

    def slice(self, padded: Any, k: int) -> Any:
        """The images that depth k of the filter reads."""
        part = self.build("strided_slice", [padded], self.places(k))
        return self.build("reshape", [part], {"shape": self.image})

    def filter_at(self, w: Any, k: int) -> Any:
        part = self.build("slice", [w], {"begin": (k, 0, 0, 0, 0), "size": (1, *self.filter[1:])})
        return self.build("reshape", [part], {"shape": self.filter[1:]})

    def total(self, parts: Sequence[Any]) -> Any:
        total = parts[0]
        for part in parts[1:]:
            total = self.build("add", [total, part])
        return total


def _is_empty(*specs: Spec) -> bool:
    return any(0 in spec.dims for spec in specs)


def _conv3d_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Mapping[str, Any]) -> Any:
    (x, w), (out,) = inputs, _conv3d_rule(*specs, **attrs)
    if _is_empty(*specs, out):
        return None
    v = _Volumes(build, specs[0].dims, specs[1].dims, attrs, out.dtype)
    padded = v.padded(x)
    y = v.total(
        [build("conv2d", [v.slice(padded, k), v.filter_at(w, k)], v.flat) for k in range(v.over.kernel)]
    )
    shape = host.ndhwc_shape(out.dims, v.data_format)
    return v.from_ndhwc(build("reshape", [y], {"shape": shape}))


def _backprop_input_expand(
    build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Mapping[str, Any]
) -> Any:
    (w, dy), volume = inputs[:2], tuple(attrs["shape"])
    if _is_empty(*specs[:2], Spec(volume, specs[0].dtype)):
        return None
    v = _Volumes(build, volume, specs[0].dims, attrs, specs[1].dtype)
    shape = host.ndhwc_shape(specs[1].dims, v.data_format)
    images = build("reshape", [v.to_ndhwc(dy)], {"shape": (shape[0] * shape[1], *shape[2:])})
    parts = []
    for k in range(v.over.kernel):
        part = build("conv2d_backprop_input", [v.filter_at(w, k), images], {"shape": v.image, **v.flat})
        part = build("reshape", [part], {"shape": (v.volume[0], v.over.output, *v.volume[2:])})
        whole = (v.volume[0], v.depth, *v.volume[2:])
        parts.append(build("strided_slice_grad", [part], {**v.places(k), "shape": whole}))
    dx = v.total(parts)
    if v.over.before or v.over.after:
        dx = build("slice", [dx], {"begin": (0, v.over.before, 0, 0, 0), "size": v.volume})
    return v.from_ndhwc(dx)


def _backprop_filter_expand(
    build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Mapping[str, Any]
) -> Any:
    (x, dy), filter = inputs[:2], tuple(attrs["shape"])
    if _is_empty(*specs[:2], Spec(filter, specs[0].dtype)):
        return None
    v = _Volumes(build, specs[0].dims, filter, attrs, specs[0].dtype)
    padded = v.padded(x)
    shape = host.ndhwc_shape(specs[1].dims, v.data_format)
    images = build("reshape", [v.to_ndhwc(dy)], {"shape": (shape[0] * shape[1], *shape[2:])})
    more = {"shape": filter[1:], **v.flat}
    parts = [
        build("conv2d_backprop_filter", [v.slice(padded, k), images], more) for k in range(v.over.kernel)
    ]
    return build("stack", parts, {"axis": 0})


# -- the records: each is linear in both inputs, and the three are each other's derivatives ---------------


def _window(op: Operation) -> dict[str, Any]:
    return {key: op.attrs[key] for key in ("strides", "padding", "dilations", "data_format")}


def _input_gradient(w: Tensor, dy: Tensor, x: Tensor, attrs: dict[str, Any]) -> Tensor:
    return apply(conv3d_backprop_input_op, (w, dy), {"shape": shape_attr(x), **attrs})


def _filter_gradient(x: Tensor, dy: Tensor, w: Tensor, attrs: dict[str, Any]) -> Tensor:
    return apply(conv3d_backprop_filter_op, (x, dy), {"shape": shape_attr(w), **attrs})


def _conv3d_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    (x, w), attrs = op.inputs, _window(op)
    return _input_gradient(w, dy, x, attrs), _filter_gradient(x, dy, w, attrs)


def _backprop_input_gradient(op: Operation, ddx: Tensor) -> tuple[Tensor, Tensor]:
    (w, dy), attrs = op.inputs[:2], _window(op)
    return _filter_gradient(ddx, dy, w, attrs), apply(conv3d_op, (ddx, w), dict(attrs))


def _backprop_filter_gradient(op: Operation, ddw: Tensor) -> tuple[Tensor, Tensor]:
    (x, dy), attrs = op.inputs[:2], _window(op)
    return _input_gradient(ddw, dy, x, attrs), apply(conv3d_op, (x, ddw), dict(attrs))


conv3d_op = register(
    OpDef(
        "conv3d", _conv3d_rule, host.conv3d, None, _conv3d_gradient, expand=_conv3d_expand,
        node_name="Conv3D", onnx="Conv", input_names=("input", "filter"),
    )
)  # fmt: skip
conv3d_backprop_input_op = register(
    OpDef(
        "conv3d_backprop_input", _backprop_input_rule, host.conv3d_backprop_input, None,
        _backprop_input_gradient, value_attrs=("shape",), expand=_backprop_input_expand,
        node_name="Conv3DBackpropInputV2", onnx="ConvTranspose",
        input_names=("filter", "output's gradient"),
    )
)  # fmt: skip
conv3d_backprop_filter_op = register(
    OpDef(
        "conv3d_backprop_filter", _backprop_filter_rule, host.conv3d_backprop_filter, None,
        _backprop_filter_gradient, value_attrs=("shape",), expand=_backprop_filter_expand,
        node_name="Conv3DBackpropFilterV2", input_names=("input", "output's gradient"),
    )
)  # fmt: skip


def _attrs(strides: Any, padding: Any, dilations: Any, data_format: Any, where: str) -> dict[str, Any]:
    order = check_data_format(data_format, where, VOLUMES)
    return {
        "strides": steps(strides, "strides", where, order, default=1),
        "padding": check_same_or_valid(padding, where),
        "dilations": steps(dilations, "dilations", where, order, default=1),
        "data_format": order,
    }


def conv3d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str | None = "NDHWC",
    dilations: Any = _ONES,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """Convolve volumes with a filter.

    Parameters
    ----------
    input : tensor
        (volumes, depth, rows, columns, channels), or (volumes, channels, depth, rows, columns) with
        ``"NCDHW"``.
    filter : tensor
        (depth, rows, columns, in channels, out channels).
    strides, dilations : int or list of 1, 3 or 5 ints
        Five are in the order of `data_format`.
    padding : {"SAME", "VALID"}
    data_format : {"NDHWC", "NCDHW"}
    name : str, optional
    filters : tensor, optional
        Newer name of `filter`.

    Examples
    --------
    >>> import graphrun as gr
    >>> x = gr.placeholder(gr.float32, (None, 16, 32, 32, 1))
    >>> w = gr.placeholder(gr.float32, (3, 3, 3, 1, 8))
    >>> gr.nn.conv3d(x, w, strides=[1, 1, 2, 2, 1], padding="SAME").shape.as_list()
    [None, 16, 16, 16, 8]
    """
    attrs = _attrs(strides, padding, dilations, data_format, "conv3d")
    return apply(conv3d_op, convert_operands((input, one_filter(filter, filters, "conv3d"))), attrs, name)


def conv3d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = "NDHWC",
    dilations: Any = _ONES,
    name: str | None = None,
) -> Tensor:
    """Return the gradient of `conv3d` with respect to its filter, of shape `filter_sizes`."""
    where = "conv3d_backprop_filter"
    attrs = _attrs(strides, padding, dilations, data_format, where)
    attrs["shape"] = ints(filter_sizes, where, "filter_sizes")
    return apply(conv3d_backprop_filter_op, convert_operands((input, out_backprop)), attrs, name)


def conv3d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: str | None = "NDHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """Return the transposed convolution of volumes: the gradient of `conv3d` as a layer.

    Parameters
    ----------
    value : tensor
        (volumes, depth, rows, columns, channels).
    filter : tensor
        (depth, rows, columns, out channels, in channels): that of the convolution which it reverses.
    output_shape : tensor or list of 5 ints and tensors
    strides, padding, data_format, dilations
        As for `conv3d`.
    name : str, optional
    input, filters : tensor, optional
        Newer names of `value` and `filter`.
    """
    where = "conv3d_transpose"
    attrs = _attrs(strides, padding, dilations, data_format, where)
    attrs["shape"] = ints(output_shape, where, "output_shape")
    operands = convert_operands((one_filter(filter, filters, where), input if value is None else value))
    return apply(conv3d_backprop_input_op, operands, attrs, name or where)
