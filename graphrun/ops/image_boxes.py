"""Random crops that hold part of a box, for training on images of objects."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from graphrun.dtypes import float32
from graphrun.errors import DTypeError, InvalidArgumentError, RuleError
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.ops.families import require_kind
from graphrun.ops.seeds import stream_key
from graphrun.shapes import format_shape, is_compatible

Box = tuple[int, int, int, int]  # top, left, bottom, right


def _rule(size: Spec, boxes: Spec, least: Spec, **_: Any) -> tuple[Spec, Spec, Spec]:
    require_kind(size, "integer", "image_size")
    if not is_compatible(size.shape, (3,)):
        raise RuleError(
            f"image_size has shape {format_shape(size.shape)}", expected="(height, width, channels)"
        )
    if boxes.dtype is not float32 or least.dtype is not float32:
        raise RuleError(f"bounding_boxes has dtype {boxes.dtype}", expected="float32", kind=DTypeError)
    if not is_compatible(boxes.shape, (None, None, 4)):
        raise RuleError(
            f"bounding_boxes has shape {format_shape(boxes.shape)}",
            expected="(batch, boxes, 4): top, left, bottom and right, from 0 to 1",
        )
    return Spec((3,), size.dtype), Spec((3,), size.dtype), Spec((1, 1, 4), float32)


def _rounded(x: float) -> int:
    return int(np.rint(x))


def _crop(
    rng: np.random.Generator, height: int, width: int, least_area: float, most_area: float, aspect: float
) -> Box | None:
    """A random crop of that aspect ratio within the bounds of its area; None where rounding allows none."""
    least, most = least_area * height * width, most_area * height * width
    rows = _rounded(math.sqrt(least / aspect))
    most_rows = _rounded(math.sqrt(most / aspect))
    if _rounded(most_rows * aspect) > width:
        most_rows = int((width + 0.5 - 1e-7) / aspect)
        if _rounded(most_rows * aspect) > width:
            most_rows -= 1
    most_rows = min(most_rows, height)
    rows = min(rows, most_rows)
    if rows < most_rows:
        rows += int(rng.integers(0, most_rows - rows + 1))
    columns = _rounded(rows * aspect)
    # One row more or less makes up for rounding.
    if rows * columns < least:
        rows += 1
        columns = _rounded(rows * aspect)
    if rows * columns > most:
        rows -= 1
        columns = _rounded(rows * aspect)
    if not least <= rows * columns <= most or not 0 < columns <= width or not 0 < rows <= height:
        return None
    top = int(rng.integers(0, height - rows)) if rows < height else 0
    left = int(rng.integers(0, width - columns)) if columns < width else 0
    return top, left, top + rows, left + columns


def _covers(crop: Box, boxes: list[Box], least: float) -> bool:
    """Whether the crop holds that part of one of the boxes at least."""
    for box in boxes:
        area = (box[2] - box[0]) * (box[3] - box[1])
        rows = min(crop[2], box[2]) - max(crop[0], box[0])
        columns = min(crop[3], box[3]) - max(crop[1], box[1])
        if area >= 1 and max(rows, 0) * max(columns, 0) / area >= least:
            return True
    return False


def _numpy(
    counter: Any, size: np.ndarray, boxes: np.ndarray, least: np.ndarray, *, key: Any,
    aspects: tuple[float, float], areas: tuple[float, float], attempts: int, whole: bool,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    height, width = int(size[0]), int(size[1])
    if height < 1 or width < 1:
        raise RuleError(
            f"an image of {height} x {width} pixels", expected="1 or more", kind=InvalidArgumentError
        )
    if boxes.size and (boxes.min() < 0 or boxes.max() > 1):
        raise RuleError(
            "a bounding box leaves the image", expected="coordinates from 0 to 1", kind=InvalidArgumentError
        )
    scaled = [
        (int(b[0] * height), int(b[1] * width), int(b[2] * height), int(b[3] * width))
        for b in boxes.reshape(-1, 4).tolist()
    ]
    image = (0, 0, height, width)
    if not scaled:
        if not whole:
            raise RuleError(
                "there is no bounding box", expected="one at least",
                fix="use_image_if_no_bounding_boxes=True takes the whole image for one",
                kind=InvalidArgumentError,
            )  # fmt: skip
        scaled = [image]
    bits = np.random.Philox(key=int(key[0]) | int(key[1]) << 32, counter=int(counter) << 64)
    rng = np.random.Generator(bits)
    found = image
    for _ in range(attempts):
        crop = _crop(rng, height, width, *areas, float(rng.uniform(*aspects)))
        if crop is not None and _covers(crop, scaled, float(least)):
            found = crop
            break
    top, left, bottom, right = found
    box = np.array([top / height, left / width, bottom / height, right / width], np.float32)
    return (
        np.array([top, left, 0], size.dtype), np.array([bottom - top, right - left, -1], size.dtype),
        box.reshape(1, 1, 4),
    )  # fmt: skip


register(
    OpDef(
        "philox_distorted_bounding_box", lambda counter, *inputs, **attrs: _rule(*inputs, **attrs), _numpy,
        None, no_gradient, advance=lambda out: 1,
        input_names=("counter", "image_size", "bounding_boxes", "min_object_covered"),
    )
)  # fmt: skip
distorted_box_op = register(
    OpDef(
        "sample_distorted_bounding_box", _rule, None, None, no_gradient, stateful=True,
        pure="philox_distorted_bounding_box", node_name="SampleDistortedBoundingBoxV2",
        input_names=("image_size", "bounding_boxes", "min_object_covered"),
    )
)  # fmt: skip


class DistortedBox(NamedTuple):
    """What `sample_distorted_bounding_box` returns."""

    begin: Tensor
    size: Tensor
    bboxes: Tensor


def sample_distorted_bounding_box(
    image_size: Any, bounding_boxes: Any, seed: int | None = None, seed2: int | None = None,
    min_object_covered: Any = 0.1, aspect_ratio_range: Any = None, area_range: Any = None,
    max_attempts: int | None = None, use_image_if_no_bounding_boxes: bool | None = None,
    name: str | None = None,
) -> DistortedBox:  # fmt: skip
    """Draw a crop of an image that holds part of a box, anew in each run.

    Parameters
    ----------
    image_size : integer tensor of shape (3,)
        Height, width and channels.
    bounding_boxes : float32 tensor of shape (batch, boxes, 4)
        Top, left, bottom and right, from 0 to 1.
    seed, seed2 : int, optional
        See `set_random_seed`.
    min_object_covered : float or scalar tensor
        Which part of one of the boxes the crop holds at least; 0 allows any crop.
    aspect_ratio_range : (float, float)
        Bounds of width by height; (0.75, 1.33) by default.
    area_range : (float, float)
        Bounds of the part of the image; (0.05, 1) by default.
    max_attempts : int
        After so many crops that do not fit, 100 by default, it is the whole image.
    use_image_if_no_bounding_boxes : bool
        Whether the whole image is the box where there is none; else that is an error.

    Returns
    -------
    begin, size : Tensors of shape (3,)
        For `gr.slice`.
    bboxes : float32 Tensor of shape (1, 1, 4)
        For `gr.image.draw_bounding_boxes`.

    Raises
    ------
    InvalidArgumentError
        In a run, if there is no box, or one leaves the image.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     image = gr.zeros([40, 60, 3])
    ...     begin, size, _ = gr.image.sample_distorted_bounding_box(
    ...         gr.shape(image), [[[0.25, 0.25, 0.75, 0.75]]], seed=1, min_object_covered=0.5)
    ...     height, width, channels = sess.run(gr.slice(image, begin, size)).shape
    ...     print(height <= 40, width <= 60, channels)
    True True 3
    """
    aspects = tuple(float(v) for v in (aspect_ratio_range or (0.75, 1.33)))
    areas = tuple(float(v) for v in (area_range or (0.05, 1.0)))
    attempts = 100 if max_attempts is None else int(max_attempts)
    size = convert_to_tensor(image_size)
    with size.graph.as_default(), size.graph.name_scope(name or "sample_distorted_bounding_box") as scope:
        boxes = convert_to_tensor(bounding_boxes, None if isinstance(bounding_boxes, Tensor) else float32)
        least = convert_to_tensor(min_object_covered, float32)
        inputs = (size, boxes, least)
        settings = (("aspect_ratio_range", aspects, 1e9), ("area_range", areas, 1.0))
        for what, bounds, highest in settings:
            if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] <= highest:
                fault = RuleError(f"{what} is {bounds}", expected="two numbers above 0, the lower first"
                                  + (", up to 1" if what == "area_range" else ""))  # fmt: skip
                raise distorted_box_op.explain(fault, scope[:-1], None, [t.spec for t in inputs])
        key = stream_key(seed2 if seed is None else seed)
        attrs = {
            "key": key, "aspects": aspects, "areas": areas, "attempts": attempts,
            "whole": bool(use_image_if_no_bounding_boxes),
        }  # fmt: skip
        begin, extent, box = apply(distorted_box_op, inputs, attrs)
    return DistortedBox(begin, extent, box)
