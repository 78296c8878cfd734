"""Dilation and erosion of images by a kernel of offsets: the largest and the least of shifted sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import int32
from graphrun.errors import RuleError
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.ops.attributes import attr_value, c_literal, shape_attr
from graphrun.ops.compare import equal, select
from graphrun.ops.elementwise import negative
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.fill import shape
from graphrun.ops.host.conv import Window, windows
from graphrun.ops.reduce import reduce_sum
from graphrun.ops.reshape import expand_dims, reshape
from graphrun.ops.sequences import range_
from graphrun.ops.transpose import reverse
from graphrun.ops.window import check_same_or_valid, output_lengths, pair, require_rank_4
from graphrun.shapes import format_shape, is_compatible


def _shape(x: Spec, kernel: Spec, strides: Any, rates: Any, padding: str) -> tuple[Any, ...]:
    require_rank_4(x.shape, "the input", "NHWC")
    n, rows, columns, channels = x.shape or (None,) * 4
    if not is_compatible(kernel.shape, (None, None, channels)):
        raise RuleError(
            f"the filter has shape {format_shape(kernel.shape)}",
            expected=f"(rows, columns, channels), with {channels if channels is not None else 'the'} channels"
            " of the input",
        )
    height, width, depth = kernel.shape or (None,) * 3
    channels = depth if channels is None else channels
    if height is None or width is None:
        return n, None, None, channels
    return (n, *output_lengths(rows, columns, (height, width), strides, padding, rates, "filter"), channels)


def _rule(x: Spec, kernel: Spec, **window: Any) -> tuple[Spec]:
    dtype = require_same_dtype(x, kernel)
    require_kind(x, "numeric", "the input")
    return (Spec(_shape(x, kernel, **window), dtype),)


def _places_rule(x: Spec, kernel: Spec, **window: Any) -> tuple[Spec]:
    return (Spec(_rule(x, kernel, **window)[0].shape, int32),)


def _windows(specs: Sequence[Any], window: Mapping[str, Any]) -> tuple[Window, Window]:
    image, kernel = specs
    return windows(
        (image[1], image[2]), (kernel[0], kernel[1]), window["strides"], window["rates"], window["padding"],
        "dilation2d",
    )  # fmt: skip


def _lowest(dtype: np.dtype[Any]) -> Any:
    return np.finfo(dtype).min if dtype.kind == "f" else np.iinfo(dtype).min


def _numpy(x: np.ndarray, kernel: np.ndarray, *, places: bool = False, **window: Any) -> np.ndarray:
    rows, columns = _windows((x.shape, kernel.shape), window)
    kind = x.dtype
    if kind == np.float16:  # compared as on devices, before rounding
        x, kernel = x.astype(np.float32), kernel.astype(np.float32)
    best = np.full((x.shape[0], rows.output, columns.output, x.shape[3]), _lowest(kind), x.dtype)
    found = np.zeros(best.shape, np.int32)
    for i, j in np.ndindex(rows.kernel, columns.kernel):
        (p, h), (q, v) = rows.overlap(i), columns.overlap(j)
        with np.errstate(over="ignore"):
            value = x[:, h, v] + kernel[i, j]
        higher = value > best[:, p, q]
        best[:, p, q] = np.where(higher, value, best[:, p, q])
        if places:
            found[:, p, q][higher] = i * columns.kernel + j
    return found if places else best.astype(kind, copy=False)


def _code(specs: Sequence[Spec], attrs: Mapping[str, Any], places: bool) -> str:
    _, height, width, channels = specs[0].dims
    r, c = _windows((specs[0].dims, specs[1].dims), attrs)
    dtype = specs[0].dtype
    return f"""{dtype.compute} best = {c_literal(_lowest(dtype.numpy), dtype)};
int place = 0;
for (int i = 0; i < {r.kernel}; ++i) {{
    const long h = c1 * {r.stride}L + i * {r.dilation}L - {r.before}L;
    if (h < 0 || h >= {height}L) continue;
    for (int j = 0; j < {c.kernel}; ++j) {{
        const long v = c2 * {c.stride}L + j * {c.dilation}L - {c.before}L;
        if (v < 0 || v >= {width}L) continue;
        const {dtype.compute} value = LOAD0(((c0 * {height}L + h) * {width}L + v) * {channels}L + c3)
            + LOAD1((i * {c.kernel}L + j) * {channels}L + c3);
        if (value > best) {{ best = value; place = i * {c.kernel} + j; }}
    }}
}}
r = {"place" if places else "best"};"""


def _size(kernel: Tensor) -> Any:
    """Rows and columns of the filter, as an attribute."""
    dims = (kernel._shape or (None, None))[:2]
    return dims if None not in dims else shape(kernel)[:2]


def _gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Each gradient goes to the first pixel, and the first entry of the filter, that were the largest sum."""
    x, kernel = op.inputs
    places = apply(places_op, (x, kernel), dict(op.attrs))
    size = _size(kernel)
    dx = apply(moved_back_op, (dy, places), {**op.attrs, "size": size, "shape": shape_attr(x)})
    # (images, rows, columns, entries of the filter, channels), with zeros in all entries but one.
    entry = reshape(range_(size[0] * size[1]), [-1, 1])
    own = equal(expand_dims(places, 3), entry)
    return dx, reshape(reduce_sum(select(own, expand_dims(dy, 3), 0), [0, 1, 2]), shape_attr(kernel))


# -- from windows to the pixels that were chosen, and back ------------------------------------------------


def _moved_back_rule(dy: Spec, places: Spec, *, shape: Any, size: Any, **_: Any) -> tuple[Spec]:
    require_kind(dy, "numeric", "the output's gradient")
    return (Spec((None,) * 4 if shape is None else tuple(shape), dy.dtype),)


def _moved_back(dy: np.ndarray, places: np.ndarray, *, shape: Any, size: Any, **window: Any) -> np.ndarray:
    rows, columns = _windows((shape, size), window)
    dx = np.zeros(shape, np.float32 if dy.dtype == np.float16 else dy.dtype)
    for i, j in np.ndindex(rows.kernel, columns.kernel):
        (p, h), (q, v) = rows.overlap(i), columns.overlap(j)
        dx[:, h, v] += np.where(places[:, p, q] == i * columns.kernel + j, dy[:, p, q], 0)
    return dx.astype(dy.dtype, copy=False)


def _moved_back_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    r, c = _windows((out.dims, attrs["size"]), attrs)
    return f"""r = 0;
for (int i = 0; i < {r.kernel}; ++i) {{
    const long p = c1 + {r.before}L - i * {r.dilation}L;
    if (p < 0 || p % {r.stride}L || p / {r.stride}L >= {r.output}L) continue;
    for (int j = 0; j < {c.kernel}; ++j) {{
        const long q = c2 + {c.before}L - j * {c.dilation}L;
        if (q < 0 || q % {c.stride}L || q / {c.stride}L >= {c.output}L) continue;
        const long at =
            ((c0 * {r.output}L + p / {r.stride}L) * {c.output}L + q / {c.stride}L) * {out.dims[3]}L + c3;
        if (LOAD1(at) == i * {c.kernel} + j) r += LOAD0(at);
    }}
}}"""


def _chosen_rule(x: Spec, places: Spec, *, size: Any, **_: Any) -> tuple[Spec]:
    require_kind(x, "numeric", "the input")
    return (Spec(places.shape, x.dtype),)


def _chosen(x: np.ndarray, places: np.ndarray, *, size: Any, **window: Any) -> np.ndarray:
    rows, columns = _windows((x.shape, size), window)
    y = np.zeros(places.shape, x.dtype)
    for i, j in np.ndindex(rows.kernel, columns.kernel):
        (p, h), (q, v) = rows.overlap(i), columns.overlap(j)
        y[:, p, q] = np.where(places[:, p, q] == i * columns.kernel + j, x[:, h, v], y[:, p, q])
    return y


def _chosen_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    _, height, width, channels = specs[0].dims
    r, c = _windows((specs[0].dims, attrs["size"]), attrs)
    return f"""const int place = LOAD1(((c0 * {r.output}L + c1) * {c.output}L + c2) * {channels}L + c3);
const long h = c1 * {r.stride}L + place / {c.kernel} * {r.dilation}L - {r.before}L;
const long v = c2 * {c.stride}L + place % {c.kernel} * {c.dilation}L - {c.before}L;
r = 0;
if (h >= 0 && h < {height}L && v >= 0 && v < {width}L)
    r = LOAD0(((c0 * {height}L + h) * {width}L + v) * {channels}L + c3);"""


def _window(op: Operation) -> dict[str, Any]:
    return {**{key: op.attrs[key] for key in ("strides", "rates", "padding")}, "size": attr_value(op, "size")}


def _moved_back_gradient(op: Operation, ddx: Tensor) -> tuple[Tensor, None]:
    return apply(chosen_op, (ddx, op.inputs[1]), _window(op)), None


def _chosen_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    attrs = {**_window(op), "shape": shape_attr(op.inputs[0])}
    return apply(moved_back_op, (dy, op.inputs[1]), attrs), None


moved_back_op: OpDef = register(
    OpDef(
        "dilation2d_grad", _moved_back_rule, _moved_back, Index(_moved_back_code),
        _moved_back_gradient, value_attrs=("shape", "size"), node_name="Dilation2DBackpropInput",
        input_names=("gradient", "places"),
    )
)  # fmt: skip
chosen_op: OpDef = register(
    OpDef(
        "dilation2d_chosen", _chosen_rule, _chosen, Index(_chosen_code), _chosen_gradient,
        value_attrs=("size",), input_names=("input", "places"),
    )
)  # fmt: skip
dilation2d_op = register(
    OpDef(
        "dilation2d", _rule, _numpy, Index(lambda specs, out, attrs: _code(specs, attrs, False)), _gradient,
        node_name="Dilation2D", input_names=("input", "filter"),
    )
)  # fmt: skip
places_op = register(
    OpDef(
        "dilation2d_places", _places_rule, lambda x, k, **window: _numpy(x, k, places=True, **window),
        Index(lambda specs, out, attrs: _code(specs, attrs, True)), no_gradient,
        input_names=("input", "filter"),
    )
)  # fmt: skip


def dilation2d(
    input: Any, filter: Any = None, strides: Any = None, rates: Any = None, padding: Any = None,
    name: str | None = None, filters: Any = None, dilations: Any = None,
) -> Tensor:  # fmt: skip
    """Return the largest sum of a pixel and its entry of the filter, for each window and channel.

    Parameters
    ----------
    input : numeric tensor of shape (images, rows, columns, channels)
    filter : tensor of shape (rows, columns, channels)
        `filters` is another name of it.
    strides : list of 4 ints, 1 for the first and the last
    rates : list of 4 ints, 1 for the first and the last
        The distance of the pixels of a window; `dilations` is another name of it.
    padding : {"SAME", "VALID"}
        What is padded is never the largest.
    name : str, optional

    Returns
    -------
    Tensor of shape (images, windows down, windows across, channels)

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.reshape(gr.constant([1.0, 5.0, 2.0, 0.0]), [1, 1, 4, 1])
    ...     y = gr.nn.dilation2d(x, gr.zeros([1, 3, 1]), [1, 1, 1, 1], [1, 1, 1, 1], "SAME")
    ...     print(sess.run(y).ravel())
    [5. 5. 5. 2.]
    """
    where = "dilation2d"
    attrs = {
        "strides": pair(strides, "strides", where, "NHWC"),
        "rates": pair(dilations if rates is None else rates, "rates", where, "NHWC", default=1),
        "padding": check_same_or_valid(padding, where),
    }
    x = convert_to_tensor(input)
    kernel = convert_to_tensor(filters if filter is None else filter, x.dtype)
    return apply(dilation2d_op, (x, kernel), attrs, name)


def erosion2d(
    value: Any, kernel: Any, strides: Any, rates: Any, padding: Any, name: str | None = None
) -> Tensor:
    """Return the least difference of a pixel and its entry of the kernel, which is turned around.

    The parameters are those of `dilation2d`: it is minus the dilation of ``-value`` by the turned kernel.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.reshape(gr.constant([1.0, 5.0, 2.0, 3.0]), [1, 1, 4, 1])
    ...     y = gr.nn.erosion2d(x, gr.zeros([1, 3, 1]), [1, 1, 1, 1], [1, 1, 1, 1], "SAME")
    ...     print(sess.run(y).ravel())
    [1. 1. 2. 2.]
    """
    x = convert_to_tensor(value)
    with x.graph.as_default(), x.graph.name_scope(name or "erosion2d"):
        turned = reverse(convert_to_tensor(kernel, x.dtype), [0, 1])
        return negative(dilation2d(negative(x), turned, strides, rates, padding))
