"""`extract_image_patches`, and the sum of patches at their places, each of which is the other's gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.errors import RuleError
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.ops.attributes import shape_attr
from graphrun.ops.families import require_kind
from graphrun.ops.host.conv import Window, windows
from graphrun.ops.window import check_same_or_valid, output_lengths, pair, require_rank_4
from graphrun.shapes import Shape, format_shape, is_compatible


def _patched(image: Shape, ksizes: Any, strides: Any, rates: Any, padding: str) -> tuple[Any, ...]:
    require_rank_4(image, "images", "NHWC")
    n, rows, columns, channels = image or (None,) * 4
    out = output_lengths(rows, columns, ksizes, strides, padding, rates, "patch")
    return (n, *out, None if channels is None else channels * ksizes[0] * ksizes[1])


def _rule(x: Spec, **window: Any) -> tuple[Spec]:
    require_kind(x, "numeric", "images")
    return (Spec(_patched(x.shape, **window), x.dtype),)


def _grad_rule(dy: Spec, *, shape: Any, **window: Any) -> tuple[Spec]:
    image = (None,) * 4 if shape is None else tuple(shape)
    expected = _patched(image, **window)
    if not is_compatible(dy.shape, expected):
        raise RuleError(
            f"patches of shape {format_shape(dy.shape)} for images of shape {format_shape(image)}",
            expected=f"patches of shape {format_shape(expected)}",
        )
    return (Spec(image, dy.dtype),)


def _windows(shape: Sequence[int], window: Mapping[str, Any]) -> tuple[Window, Window]:
    size = (shape[1], shape[2])
    where = "extract_image_patches"
    return windows(size, window["ksizes"], window["strides"], window["rates"], window["padding"], where)


def _numpy(x: np.ndarray, **window: Any) -> np.ndarray:
    rows, columns = _windows(x.shape, window)
    n, channels = x.shape[0], x.shape[3]
    out = np.zeros((n, rows.output, columns.output, rows.kernel, columns.kernel, channels), x.dtype)
    for i, j in np.ndindex(rows.kernel, columns.kernel):
        (p, h), (q, v) = rows.overlap(i), columns.overlap(j)
        out[:, p, q, i, j] = x[:, h, v]
    return out.reshape(*out.shape[:3], -1) if out.size else out.reshape(*out.shape[:3], _depth(out.shape))


def _depth(shape: tuple[int, ...]) -> int:
    return shape[3] * shape[4] * shape[5]


def _grad_numpy(dy: np.ndarray, *, shape: Any, **window: Any) -> np.ndarray:
    rows, columns = _windows(shape, window)
    patches = dy.reshape(*dy.shape[:3], rows.kernel, columns.kernel, shape[3])
    dx = np.zeros(shape, np.float32 if dy.dtype == np.float16 else dy.dtype)
    for i, j in np.ndindex(rows.kernel, columns.kernel):
        (p, h), (q, v) = rows.overlap(i), columns.overlap(j)
        dx[:, h, v] += patches[:, p, q, i, j]
    return dx.astype(dy.dtype, copy=False)


def _code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    _, height, width, channels = specs[0].dims
    r, c = _windows(specs[0].dims, attrs)
    return f"""const long tap = c3 / {channels}L;
const long h = c1 * {r.stride}L + tap / {c.kernel}L * {r.dilation}L - {r.before}L;
const long v = c2 * {c.stride}L + tap % {c.kernel}L * {c.dilation}L - {c.before}L;
r = 0;
if (h >= 0 && h < {height}L && v >= 0 && v < {width}L)
    r = LOAD0(((c0 * {height}L + h) * {width}L + v) * {channels}L + c3 % {channels}L);"""


def _grad_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    channels = out.dims[3]
    r, c = _windows(out.dims, attrs)
    return f"""r = 0;
for (int i = 0; i < {r.kernel}; ++i) {{
    const long p = c1 + {r.before}L - i * {r.dilation}L;
    if (p < 0 || p % {r.stride}L || p / {r.stride}L >= {r.output}L) continue;
    for (int j = 0; j < {c.kernel}; ++j) {{
        const long q = c2 + {c.before}L - j * {c.dilation}L;
        if (q < 0 || q % {c.stride}L || q / {c.stride}L >= {c.output}L) continue;
        const long pixel = (c0 * {r.output}L + p / {r.stride}L) * {c.output}L + q / {c.stride}L;
        r += LOAD0((pixel * {r.kernel * c.kernel}L + i * {c.kernel}L + j) * {channels}L + c3);
    }}
}}"""


def _window(op: Operation) -> dict[str, Any]:
    return {key: op.attrs[key] for key in ("ksizes", "strides", "rates", "padding")}


def _gradient(op: Operation, dy: Tensor) -> Tensor:
    return apply(patches_grad_op, (dy,), {"shape": shape_attr(op.inputs[0]), **_window(op)})


extract_image_patches_op = register(
    OpDef(
        "extract_image_patches", _rule, _numpy, Index(_code), _gradient, node_name="ExtractImagePatches",
        input_names=("images",),
    )
)  # fmt: skip
patches_grad_op = register(
    OpDef(
        "extract_image_patches_grad", _grad_rule, _grad_numpy, Index(_grad_code),
        lambda op, ddx: apply(extract_image_patches_op, (ddx,), _window(op)), value_attrs=("shape",),
        node_name="ExtractImagePatchesGrad", input_names=("patches",),
    )
)  # fmt: skip


def extract_image_patches(
    images: Any,
    ksizes: Any = None,
    strides: Any = None,
    rates: Any = None,
    padding: Any = None,
    name: str | None = None,
    sizes: Any = None,
) -> Tensor:
    """Put the pixels of each window of images side by side.

    Parameters
    ----------
    images : tensor
        (images, rows, columns, channels).
    ksizes, strides, rates : list of 4 ints, 1 for the first and the last
        Size and step of the window, and the distance of its pixels.
    padding : {"SAME", "VALID"}
    name : str, optional
    sizes
        Another name of `ksizes`.

    Returns
    -------
    Tensor
        (images, windows down, windows across, window rows * window columns * channels).

    Examples
    --------
    >>> import graphrun as gr
    >>> x = gr.zeros([1, 6, 6, 3])
    >>> gr.extract_image_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID").shape.as_list()
    [1, 3, 3, 12]
    """
    where = "extract_image_patches"
    attrs = {
        "ksizes": pair(sizes if ksizes is None else ksizes, "ksizes", where, "NHWC"),
        "strides": pair(strides, "strides", where, "NHWC"),
        "rates": pair(rates, "rates", where, "NHWC", default=1),
        "padding": check_same_or_valid(padding, where),
    }
    return apply(extract_image_patches_op, (convert_to_tensor(images),), attrs, name)
