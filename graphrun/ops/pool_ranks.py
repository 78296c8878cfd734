"""Pooling of sequences and volumes, `pool` of any rank, and the places of maxima."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphrun import dtypes
from graphrun.dtypes import as_dtype
from graphrun.errors import ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.array import expand_dims, reshape, shape, squeeze, transpose
from graphrun.ops.blocks import batch_to_space_nd, space_to_batch_nd
from graphrun.ops.convert import cast
from graphrun.ops.families import require_kind
from graphrun.ops.host import pool as host
from graphrun.ops.host.conv import windows
from graphrun.ops.pool import avg_pool_op, max_pool, max_pool_op, pooled_shape
from graphrun.ops.window import (
    VOLUMES,
    check_data_format,
    check_padding,
    check_same_or_valid,
    order_of_sequences,
    pair,
    steps,
)
from graphrun.shapes import format_shape

# -- one dimension ------------------------------------------------------------------------------------


def _pool_1d(
    opdef: OpDef, input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any, label: str, where: str
) -> Tensor:
    order = order_of_sequences(data_format, where)
    axis = 1 if order == "NHWC" else 2
    size, step = (steps(v, w, where, order[:2] + order[3:])[0] for v, w in _named(ksize, strides))
    attrs = {
        "ksize": (1, size), "strides": (1, step), "padding": check_same_or_valid(padding, where),
        "data_format": order,
    }  # fmt: skip
    x = convert_to_tensor(input)
    with x.graph.name_scope(label):
        return squeeze(apply(opdef, (expand_dims(x, axis),), attrs), [axis])


def _named(ksize: Any, strides: Any) -> tuple[tuple[Any, str], tuple[Any, str]]:
    return (ksize, "ksize"), (strides, "strides")


def max_pool1d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NWC", name: Any = None
) -> Tensor:
    """Return the maximum of each window of sequences.

    Parameters
    ----------
    input : tensor
        (sequences, steps, channels), or (sequences, channels, steps) with ``"NCW"``.
    ksize, strides : int or list of 1 or 3 ints
    padding : {"SAME", "VALID"}
    data_format : {"NWC", "NCW"}
    name : str, optional

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.nn.max_pool1d(gr.zeros([2, 10, 3]), 2, 2, "VALID").shape.as_list()
    [2, 5, 3]
    """
    label = name or "MaxPool1d"
    return _pool_1d(max_pool_op, input, ksize, strides, padding, data_format, label, "max_pool1d")


def avg_pool1d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NWC", name: Any = None
) -> Tensor:
    """Return the mean of each window of sequences; the parameters are those of `max_pool1d`."""
    label = name or "AvgPool1D"
    return _pool_1d(avg_pool_op, input, ksize, strides, padding, data_format, label, "avg_pool1d")


# -- three dimensions: images first, then along the depth ------------------------------------------------
#
# The maximum is that of the maxima of images.  The mean is that of their means, since all images of a window
# have equally many pixels in it.  The first maximum in row-major order stays the first.


def _pool_3d(
    opdef: OpDef, input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any, label: str, where: str
) -> Tensor:
    order = check_data_format(data_format, where, VOLUMES)
    size, step = (steps(v, w, where, order) for v, w in _named(ksize, strides))
    rule = check_same_or_valid(padding, where)
    x = convert_to_tensor(input)
    if x._shape is not None and len(x._shape) != 5:
        raise ShapeError(
            message(
                f"the input has rank {len(x._shape)}",
                where=where,
                site=user_site(),
                expected="rank 5 (volumes, depth, rows, columns, channels), in the order of data_format",
            )
        )
    with x.graph.name_scope(label) as scope:
        if order == "NCDHW":
            x = transpose(x, [0, 2, 3, 4, 1])
        volume = shape(x)
        _, depth, rows, columns, channels = (
            [volume[i] if d is None else d for i, d in enumerate(x._shape)]
            if x._shape is not None
            else [volume[i] for i in range(5)]
        )
        attrs = {"padding": rule, "data_format": "NHWC"}
        images = reshape(x, [-1, rows, columns, channels])
        flat = apply(opdef, (images,), {"ksize": size[1:], "strides": step[1:], **attrs})
        image = shape(flat)
        height, width = (image[i] if d is None else d for i, d in enumerate(flat._shape[1:3], 1))
        lines = reshape(flat, [-1, depth, height * width, channels])
        deep = apply(opdef, (lines,), {"ksize": (size[0], 1), "strides": (step[0], 1), **attrs})
        layers = deep._shape[1] if deep._shape is not None else None
        layers = shape(deep)[1] if layers is None else layers
        sizes = [-1, layers, height, width, channels]
        if order == "NDHWC":
            return reshape(deep, sizes, name=scope)
        return transpose(reshape(deep, sizes), [0, 4, 1, 2, 3], name=scope)


def max_pool3d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NDHWC", name: Any = None
) -> Tensor:
    """Return the maximum of each window of volumes.

    Parameters
    ----------
    input : tensor
        (volumes, depth, rows, columns, channels), or channels second with ``"NCDHW"``.
    ksize, strides : int or list of 1, 3 or 5 ints
    padding : {"SAME", "VALID"}
    data_format : {"NDHWC", "NCDHW"}
    name : str, optional

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.nn.max_pool3d(gr.zeros([1, 4, 6, 6, 2]), 2, 2, "VALID").shape.as_list()
    [1, 2, 3, 3, 2]
    """
    return _pool_3d(
        max_pool_op, input, ksize, strides, padding, data_format, name or "MaxPool3D", "max_pool3d"
    )


def avg_pool3d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NDHWC", name: Any = None
) -> Tensor:
    """Return the mean of each window of volumes; the parameters are those of `max_pool3d`."""
    return _pool_3d(
        avg_pool_op, input, ksize, strides, padding, data_format, name or "AvgPool3D", "avg_pool3d"
    )


# -- any number of dimensions --------------------------------------------------------------------------


def pool(
    input: Any,
    window_shape: Any,
    pooling_type: str,
    padding: Any,
    dilation_rate: Any = None,
    strides: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """Pool sequences, images or volumes.

    Parameters
    ----------
    input : tensor
        Of rank 3, 4 or 5, channels last unless `data_format` starts with ``"NC"``.
    window_shape : list of 1, 2 or 3 ints
    pooling_type : {"MAX", "AVG"}
    padding : {"SAME", "VALID"}
    dilation_rate, strides : list of ints, optional
        One of them is 1 everywhere; where windows are dilated, `padding` is VALID.
    name : str, optional
    data_format : str, optional
    dilations
        Newer name of `dilation_rate`.
    """
    where = "pool"
    rank = len(window_shape)
    functions = {"MAX": (max_pool1d, max_pool, max_pool3d), "AVG": (avg_pool1d, _avg_pool, avg_pool3d)}
    if pooling_type not in functions or not 1 <= rank <= 3:
        raise ShapeError(
            message(
                f"pooling_type={pooling_type!r}, a window of {rank} dimensions",
                where=where,
                site=user_site(),
                expected='"MAX" or "AVG", over 1, 2 or 3 dimensions',
            )
        )
    channels_first = data_format is not None and data_format.startswith("NC")
    layout = "N" + ("C" if channels_first else "") + "DHW"[3 - rank :] + ("" if channels_first else "C")
    rates, step = (
        steps(v, w, where, layout, default=1)
        for v, w in (
            (dilation_rate if dilations is None else dilations, "dilation_rate"),
            (strides, "strides"),
        )
    )
    function: Any = functions[pooling_type][rank - 1]
    order = {1: "NCW" if channels_first else "NWC"}.get(rank, layout)
    size = steps(list(window_shape), "window_shape", where, layout)
    x = convert_to_tensor(input)
    with x.graph.name_scope(name or "pool"):
        if max(rates) == 1:
            return function(x, list(size), list(step), padding, data_format=order)
        if max(step) > 1:
            raise ShapeError(
                message(
                    f"strides={step} with dilation_rate={rates}",
                    where=where,
                    site=user_site(),
                    expected="strides of 1 where windows are dilated",
                )
            )
        if check_same_or_valid(padding, where) == "SAME":
            raise ShapeError(
                message(
                    f'padding="SAME" with dilation_rate={rates}',
                    where=where,
                    site=user_site(),
                    expected='padding="VALID" where windows are dilated',
                    fix="pad with gr.pad first",
                )
            )
        return _dilated(function, x, size, rates, channels_first)


def _avg_pool(x: Any, ksize: Any, strides: Any, padding: Any, data_format: str) -> Tensor:
    return apply(
        avg_pool_op,
        (convert_to_tensor(x),),
        {
            "ksize": pair(ksize, "ksize", "pool", data_format),
            "strides": pair(strides, "strides", "pool", data_format),
            "padding": check_padding(padding, "pool", data_format),
            "data_format": data_format,
        },
    )


def _dilated(
    function: Any, x: Tensor, size: Sequence[int], rates: Sequence[int], channels_first: bool
) -> Tensor:
    """Each remainder of the coordinates modulo the rates is an image of its own."""
    rank = len(size)
    if channels_first:
        x = transpose(x, [0, *range(2, rank + 2), 1])
    known = x._shape or (None,) * (rank + 2)
    spatial: list[Any] = [shape(x)[i] if known[i] is None else known[i] for i in range(1, rank + 1)]
    over = [-d % rate for d, rate in zip(spatial, rates, strict=True)]
    pairs = [[0, o] for o in over]
    order = ("NWC", "NHWC", "NDHWC")[rank - 1]
    parts = space_to_batch_nd(x, list(rates), pairs)
    y = batch_to_space_nd(
        function(parts, list(size), [1] * rank, "VALID", data_format=order), list(rates), pairs
    )
    return transpose(y, [0, rank + 1, *range(1, rank + 1)]) if channels_first else y


# -- where the maxima are --------------------------------------------------------------------------------


def _argmax_rule(x: Spec, *, batch: bool, **window: Any) -> tuple[Spec]:
    require_kind(x, "numeric", "the input")
    return (Spec(pooled_shape(x.shape, data_format="NHWC", **window), dtypes.int64),)


def _argmax_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    _, height, width, channels = specs[0].dims
    r, c = windows(
        (height, width), attrs["ksize"], attrs["strides"], (1, 1), attrs["padding"], "max_pool_with_argmax"
    )
    kind = specs[0].dtype.compute
    image = f"c0 * {height * width * channels}L"
    return f"""r = -1; {kind} best = 0;
for (int i = 0; i < {r.kernel}; ++i) {{
    const long h = c1 * {r.stride} + i - {r.before}; if (h < 0 || h >= {height}) continue;
    for (int j = 0; j < {c.kernel}; ++j) {{
        const long v = c2 * {c.stride} + j - {c.before}; if (v < 0 || v >= {width}) continue;
        const long at = (h * {width}L + v) * {channels}L + c3;
        const {kind} x = LOAD0({image} + at);
        if (r < 0 || x > best || (x != x && best == best)) {{ best = x; r = at; }}
    }}
}}
r += {image if attrs["batch"] else "0"};"""


max_pool_argmax_op = register(
    OpDef(
        "max_pool_argmax", _argmax_rule, host.max_pool_argmax, Index(_argmax_code), no_gradient,
        node_name="MaxPoolArgmax", input_names=("input",),
    )
)  # fmt: skip


class MaxPoolWithArgmax(NamedTuple):
    """What `max_pool_with_argmax` returns."""

    output: Tensor
    argmax: Tensor


def max_pool_with_argmax(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    Targmax: Any = None,
    name: str | None = None,
    output_dtype: Any = None,
    include_batch_in_index: bool = False,
) -> MaxPoolWithArgmax:
    """Return the maximum of each window, and where it is.

    Parameters
    ----------
    input : tensor
        (images, rows, columns, channels).
    ksize, strides : int or list of 1, 2 or 4 ints
    padding : {"SAME", "VALID"}
    data_format : {"NHWC"}
    Targmax, output_dtype : int32 or int64, optional
        dtype of the places; two names of the same.
    name : str, optional
    include_batch_in_index : bool
        Whether places count from the first image, and not from the start of each.

    Returns
    -------
    output, argmax : Tensor
        ``argmax`` is ``(row * columns + column) * channels + channel``.
    """
    where = "max_pool_with_argmax"
    x = convert_to_tensor(input)
    if data_format != "NHWC":
        raise ShapeError(
            message(f"data_format={data_format!r}", where=where, site=user_site(), expected='"NHWC"',
                    got=f"input: {format_shape(x._shape)}")
        )  # fmt: skip
    attrs = {
        "ksize": pair(ksize, "ksize", where, "NHWC"), "strides": pair(strides, "strides", where, "NHWC"),
        "padding": check_same_or_valid(padding, where),
    }  # fmt: skip
    kind = as_dtype(output_dtype if Targmax is None else Targmax) if Targmax or output_dtype else dtypes.int64
    with x.graph.name_scope(name or "MaxPoolWithArgmax") as scope:
        y = apply(max_pool_op, (x,), {**attrs, "data_format": "NHWC"}, scope)
        at = apply(max_pool_argmax_op, (x,), {**attrs, "batch": bool(include_batch_in_index)})
        return MaxPoolWithArgmax(y, at if kind is dtypes.int64 else cast(at, kind))
