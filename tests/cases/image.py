"""Rows of ``graphrun/ops/image_draw.py``."""

import numpy as np

from cases import Case, case, fixed

_BOXES = np.array(
    [
        [[0.1, 0.2, 0.8, 0.9], [0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]],
        [[-0.4, 0.3, 0.6, 1.7], [0.9, 0.1, 0.2, 0.8], [0.2, -0.5, 0.9, -0.3]],
    ]
)
_COLORS = np.array([[1.0, 0.0, 0.5], [0.25, 1.0, 0.0]])

CASES: list[Case] = [
    case(
        "draw_bounding_boxes", [(2, 9, 11, c), fixed(_BOXES, "float32"), fixed(_COLORS, "float32")], dtype=d,
        gradient=False,
    )
    for c, d in ((3, "float32"), (1, "float64"), (2, "float16"))
]  # fmt: skip
