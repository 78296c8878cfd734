"""Boxes drawn into images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import RuleError
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.ops.families import require_kind
from graphrun.shapes import Dim, format_shape

# Red, green, blue and opacity of one box after the other, as TensorFlow has them.
_COLORS = np.array(
    [
        [1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0.5, 0, 0.5, 1],
        [0.5, 0.5, 0, 1], [0.5, 0, 0, 1], [0, 0, 0.5, 1], [0, 1, 1, 1], [1, 0, 1, 1],
    ],
    np.float32,
)  # fmt: skip


def _rule(images: Spec, boxes: Spec, colors: Spec) -> tuple[Spec]:
    require_kind(images, "floating", "images")
    wanted: tuple[tuple[str, Spec, tuple[Dim, ...]], ...] = (
        ("images", images, (None, None, None, None)),
        ("boxes", boxes, (None, None, 4)),
        ("colors", colors, (None, None)),
    )
    for what, spec, dims in wanted:
        if spec.shape is None:
            continue
        fits = len(spec.shape) == len(dims) and all(
            d is None or e is None or d == e for d, e in zip(spec.shape, dims, strict=True)
        )
        if not fits:
            raise RuleError(f"{what} has shape {format_shape(spec.shape)}", expected=format_shape(dims))
    if images.shape and colors.shape and None not in (images.shape[3], colors.shape[1], colors.shape[0]):
        if colors.shape[1] < images.shape[3] or colors.shape[0] < 1:  # type: ignore[operator]
            raise RuleError(
                f"colors of shape {format_shape(colors.shape)} for {images.shape[3]} channels",
                expected="at least one colour, with a number for each channel",
            )
    return (images,)


def _numpy(images: np.ndarray, boxes: np.ndarray, colors: np.ndarray) -> np.ndarray:
    result = images.copy()
    _, height, width, channels = images.shape
    size = np.array([height - 1, width - 1] * 2, np.float32)
    for image, its in zip(result, boxes, strict=True):
        for k, box in enumerate(its):
            top, left, bottom, right = (int(v) for v in box * size)
            if top > bottom or left > right:
                continue
            color = colors[k % len(colors), :channels]
            rows = slice(max(top, 0), max(bottom + 1, 0))
            columns = slice(max(left, 0), max(right + 1, 0))
            for row in (top, bottom):
                if 0 <= row < height:
                    image[row, columns] = color
            for column in (left, right):
                if 0 <= column < width:
                    image[rows, column] = color
    return result


def _code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    _, height, width, channels = out.dims
    count, (colors, per_color) = specs[1].dims[1], specs[2].dims
    corners = (("top", height), ("left", width), ("bottom", height), ("right", width))
    loads = " ".join(
        f"const long {name} = (long)(LOAD1((c0 * {count}L + k) * 4 + {i}) * {side - 1}.0f);"
        for i, (name, side) in enumerate(corners)
    )
    return f"""r = LOAD0(i);
for (long k = 0; k < {count}L; ++k) {{
    {loads}
    if (c1 < top || c1 > bottom || c2 < left || c2 > right) continue;
    if (c1 == top || c1 == bottom || c2 == left || c2 == right)
        r = LOAD2(k % {colors}L * {per_color}L + c3);
}}"""


draw_bounding_boxes_op = register(
    OpDef(
        "draw_bounding_boxes", _rule, _numpy, Index(_code), no_gradient, node_name="DrawBoundingBoxes",
        input_names=("images", "boxes", "colors"),
    )
)  # fmt: skip


def draw_bounding_boxes(images: Any, boxes: Any, name: str | None = None, colors: Any = None) -> Tensor:
    """Draw the outlines of boxes, one pixel wide.

    Parameters
    ----------
    images : floating tensor
        (images, rows, columns, channels).
    boxes : float32 tensor
        (images, boxes, 4): top, left, bottom and right, from 0 at the first pixel to 1 at the last.
    name : str, optional
    colors : float32 tensor, optional
        (colours, channels or more); box k has colour k modulo their number.  By default there are ten, and
        white alone for images of one channel.
    """
    x = convert_to_tensor(images)
    table = _COLORS
    if x._shape is not None and len(x._shape) == 4 and x._shape[3] == 1:
        table = np.ones((1, 1), np.float32)
    given = convert_to_tensor(table if colors is None else colors, dtypes.float32, graph=x.graph)
    places = convert_to_tensor(boxes, dtypes.float32, graph=x.graph)
    return apply(draw_bounding_boxes_op, (x, places, given), None, name)
