"""Values as text, shortened to their first elements: the form of TensorFlow's `Print` and `Assert`."""

from __future__ import annotations

from typing import Any

import numpy as np


def summary(value: Any, count: int) -> str:
    """The first `count` elements (all of them where it is negative): ``1 2...``, ``[1 2][3...]...``."""
    array = np.asarray(value)
    shown = array.size if count < 0 else min(count, array.size)
    texts = [_element(v) for v in array.reshape(-1)[:shown]]
    if array.ndim == 0:
        return "".join(texts) + ("..." if array.size > shown else "")
    parts: list[str] = []
    _rows(array.shape, 0, texts, 0, parts)
    return "".join(parts) + ("..." if array.size > shown else "")


def _rows(shape: tuple[int, ...], axis: int, texts: list[str], at: int, parts: list[str]) -> int:
    """Append what stands of the part of the array that begins with element `at`; return where it ends."""
    if axis == len(shape) - 1:
        row = texts[at : at + shape[axis]]
        parts.append(" ".join(row))
        if axis and 0 < len(row) < shape[axis]:
            parts.append("...")
        return at + len(row)
    for _ in range(shape[axis]):
        if at >= len(texts):
            break
        parts.append("[")
        at = _rows(shape, axis + 1, texts, at, parts)
        parts.append("]")
    return at


def _element(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, np.bool_):
        return str(int(value))
    if isinstance(value, np.floating):
        # As few digits as bring the value back, of the two numbers that are usual.
        few, many = {2: (4, 5), 4: (6, 9), 8: (15, 17)}[value.dtype.itemsize]
        short = f"{value:.{few}g}"
        return short if type(value)(short) == value or value != value else f"{value:.{many}g}"
    return str(value)
