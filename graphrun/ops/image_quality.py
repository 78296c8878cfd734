"""How near one image is to another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphrun.dtypes import float32
from graphrun.errors import ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import log
from graphrun.ops.image_color import convert_image_dtype
from graphrun.ops.math import squared_difference
from graphrun.ops.reduce import reduce_mean
from graphrun.shapes import format_shape, is_compatible


def psnr(a: Any, b: Any, max_val: Any, name: str | None = None) -> Tensor:
    """Return the peak signal-to-noise ratio of images, in decibels.

    Parameters
    ----------
    a, b : tensors of shape (..., height, width, channels)
        Of one dtype; integers are converted with their range.
    max_val : number
        How far apart the smallest and the largest value that a pixel may have are.
    name : str, optional

    Returns
    -------
    float32 tensor of shape (...)
        ``10 log10(max_val ** 2 / mean((a - b) ** 2))``: infinity for equal images.

    Raises
    ------
    ShapeError
        Different shapes, or less than three dimensions.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as session:
    ...     print(session.run(gr.image.psnr(gr.zeros([8, 8, 3]), gr.fill([8, 8, 3], 0.1), max_val=1.0)))
    20.0
    """
    x, y = (convert_to_tensor(image) for image in (a, b))
    small = any(t._shape is not None and len(t._shape) < 3 for t in (x, y))
    if small or not is_compatible(x._shape, y._shape):
        raise ShapeError(
            message("these are no two images of one size", where="image.psnr", site=user_site(),
                    got=f"a: {format_shape(x._shape)}   b: {format_shape(y._shape)}",
                    expected="one shape, (..., height, width, channels)")
        )  # fmt: skip
    with x.graph.name_scope(name or "PSNR"):
        peak = convert_image_dtype(cast(convert_to_tensor(max_val, graph=x.graph), x.dtype), float32)
        x, y = (convert_image_dtype(t, float32) for t in (x, y))
        error = reduce_mean(squared_difference(x, y), [-3, -2, -1])
        return 20 * log(peak) / math.log(10.0) - np.float32(10 / math.log(10.0)) * log(error)
