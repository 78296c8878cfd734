"""Fed values: turned into arrays of the tensor's dtype, or refused with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun.errors import FeedError, message
from graphrun.graph.node import Operation, Tensor
from graphrun.shapes import format_shape


def feed_array(t: Tensor, value: Any) -> np.ndarray:
    """Return `value` as an array of ``t.dtype``; the array itself where it is one already.

    Numbers of another dtype are converted where the value survives: doubles become floats, whole numbers
    of any dtype may become integers.  Fractions for an integer tensor, integers out of range, strings and
    tensors are refused.
    """
    dtype = t.dtype.numpy
    if type(value) is float and t.dtype.is_floating:
        return np.array(value, dtype)
    if isinstance(value, Tensor | Operation) or hasattr(value, "_as_graph_element"):
        raise _refused(t, f"{value!r} is a part of the graph", "run it first, and feed what run returns")
    try:
        array = np.asarray(value)
    except ValueError:
        raise _refused(t, "the value is a ragged list", "make all rows of one length") from None
    if array.dtype == dtype:
        return array
    kind = array.dtype.kind
    if kind == "O" or kind not in "fiub":
        if kind == "O":
            try:  # a list of arrays or numbers of several types
                return feed_array(t, np.asarray(value, np.float64)) if array.ndim else array.astype(dtype)
            except (TypeError, ValueError):
                pass
        what = type(value).__name__ if array.ndim == 0 else f"an array of {array.dtype}"
        raise _refused(t, f"the value is {what}, not numbers", "")
    if array.size == 0 or t.dtype.is_floating:
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    if t.dtype.is_bool:
        if kind != "b" and not bool(np.all((array == 0) | (array == 1))):
            raise _refused(t, f"values of {array.dtype} other than 0 and 1", "compare them first, as x != 0")
        return array.astype(dtype)
    if kind == "f" and not bool(np.all(np.isfinite(array) & (array == np.floor(array)))):
        raise _refused(
            t, f"the value has fractions, it is {array.dtype}", f"convert it, as value.astype(np.{t.dtype})"
        )
    if kind != "b" and not (array.min() >= t.dtype.min and array.max() <= t.dtype.max):
        raise _refused(t, f"the value has numbers that {t.dtype} cannot hold", "feed a wider dtype")
    return array.astype(dtype)


def _refused(t: Tensor, why: str, fix: str) -> FeedError:
    return FeedError(
        message(
            f"'{t.name}' cannot be fed: {why}",
            site=t.op.site,
            expected=f"numbers that {t.dtype} holds, of shape {format_shape(t._shape)}",
            fix=fix,
        )
    )
