"""Fed values: turned into arrays of the tensor's dtype, or refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np

from graphrun.dtypes import as_strings
from graphrun.errors import DTypeError, FeedError, ShapeError, message
from graphrun.graph.apply import exact_integers
from graphrun.graph.node import Operation, Tensor
from graphrun.runtime.device_array import DeviceArray
from graphrun.shapes import format_shape


def feed_items(feed_dict: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of key and value; a key that is a tuple takes its value apart, as for an LSTM's state."""
    if not isinstance(feed_dict, Mapping):
        raise FeedError(
            message(
                f"feed_dict is of type {type(feed_dict).__name__}",
                expected="a dict from tensors to values, as {x: array}",
            )
        )
    for key, value in feed_dict.items():
        if hasattr(key, "_parts"):  # made of several tensors, as a SparseTensor
            key = key._parts()
        if isinstance(key, tuple):
            yield from _paired(key, value)
        else:
            yield key, value


def _paired(key: tuple[Any, ...], value: Any) -> Iterator[tuple[Any, Any]]:
    try:
        values = list(value)
    except TypeError:
        values = None
    if values is None or len(values) != len(key):
        got = "one value" if values is None else f"{len(values)} values"
        raise FeedError(
            message(
                f"{got} for a feed_dict key of {len(key)} tensors",
                got=f"key: {key!r}",
                expected="a tuple or list of the same length",
            )
        )
    for k, v in zip(key, values, strict=True):
        if isinstance(k, tuple):
            yield from _paired(k, v)
        else:
            yield k, v


def feed_array(t: Tensor, value: Any) -> Any:
    """Return `value` as an array of ``t.dtype``; the array itself where it is one already, also on a device.

    Numbers of another dtype are converted where the value survives: doubles become floats, whole numbers
    of any dtype may become integers.  Fractions for an integer tensor, integers out of range, strings, None
    and tensors are refused.
    """
    dtype = t.dtype.numpy
    if type(value) is DeviceArray:
        if value.dtype != t.dtype:
            raise _refused(
                t,
                f"the device array holds {value.dtype}",
                f"cast it in the graph, as gr.cast(x, gr.{t.dtype})",
            )
        return value if value.on_device else value.buffer
    if t.dtype.is_string:
        strings = as_strings(value)
        if strings is None:
            raise _refused(t, "the value holds something else than str and bytes", "")
        return strings
    array = np.asarray(value) if type(value) is float else _as_numbers(t, value)
    if array.dtype == dtype:
        return array
    if array.dtype.kind == "c" and not t.dtype.is_complex:
        raise _refused(t, "the value is complex", "feed its real and imaginary parts")
    if array.size == 0 or t.dtype.is_floating or t.dtype.is_complex:
        with np.errstate(over="ignore"):  # a double beyond the range of floats is infinite
            return array.astype(dtype)
    kind = array.dtype.kind
    if kind == "f" and t.dtype.is_integer and not (isinstance(value, np.ndarray) and value.dtype != object):
        exact = exact_integers(value, t.dtype)
        if exact is not None:
            return exact
    if t.dtype.is_bool:
        if not bool(np.all((array == 0) | (array == 1))):
            raise _refused(t, f"values of {array.dtype} other than 0 and 1", "compare them first, as x != 0")
    elif kind == "f" and not bool(np.all(np.isfinite(array) & (array == np.floor(array)))):
        raise _refused(
            t, f"the value has fractions, it is {array.dtype}", f"convert it, as value.astype(np.{t.dtype})"
        )
    # Python's integers: a float is compared exactly with the bounds of 64-bit integers.
    elif kind != "b" and not (int(array.min()) >= t.dtype.min and int(array.max()) <= t.dtype.max):
        raise _refused(t, f"the value has numbers that {t.dtype} cannot hold", "feed a wider dtype")
    return array.astype(dtype)


def _as_numbers(t: Tensor, value: Any) -> np.ndarray:
    """Return `value` as an array of floats, integers or bools."""
    if isinstance(value, Tensor | Operation) or hasattr(value, "_as_graph_element"):
        raise _refused(t, f"{value!r} is a part of the graph", "run it first, and feed what run returns")
    try:
        array = np.asarray(value)
        if array.dtype == object and array.ndim:
            # Arrays in an array, or numbers that NumPy was told to keep as objects.
            array = np.asarray(array.tolist())
        if array.dtype == object and all(isinstance(v, Real) for v in array.flat):
            array = array.astype(np.float64)  # as fractions and integers beyond 64 bits
    except DTypeError:
        raise _refused(
            t, "the value holds a part of the graph", "run it first, and feed what run returns"
        ) from None
    except ValueError:
        raise _refused(t, "the value is a ragged list", "make all rows of one length") from None
    except OverflowError:
        raise _refused(t, f"the value has numbers that {t.dtype} cannot hold", "") from None
    if array.dtype.kind not in "fiubc":
        what = type(value).__name__ if np.ndim(array) == 0 else f"an array of {array.dtype}"
        raise _refused(t, f"the value is {what}, not numbers", _fix_of(value))
    return array


def _fix_of(value: Any) -> str:
    if value is None:
        return "leave the tensor out of feed_dict where it need not be fed, or feed an array"
    if isinstance(value, str | bytes) or np.asarray(value).dtype.kind in "SU":
        return "convert text to numbers first, as np.asarray(value, np.float32); text is fed to a gr.string"
    return "feed a number, a list of numbers or an array of them"


def _refused(t: Tensor, why: str, fix: str) -> FeedError:
    return FeedError(
        message(
            f"'{t.name}' cannot be fed: {why}",
            site=t.op.site,
            expected=f"{'strings' if t.dtype.is_string else f'numbers that {t.dtype} holds'}, of shape"
            f" {format_shape(t._shape)}",
            fix=fix,
        )
    )


def misshapen(t: Tensor, shape: Any) -> ShapeError:
    """The error of a value whose shape is not that of the tensor that it is fed to."""
    fixes = {
        "placeholder": "None in a placeholder's shape admits any size there",
        "const": "it is a constant; what is fed with many shapes is a gr.placeholder",
        "variable": "it is a variable; one made with validate_shape=False may have any shape",
    }
    return ShapeError(
        message(
            f"a value of shape {format_shape(shape)} is fed to '{t.name}'", site=t.op.site,
            expected=f"shape {format_shape(t._shape)}",
            fix=fixes.get(t.op.opdef.name, f"it is the result of '{t.op.opdef.name}', whose shape is known"),
        )
    )  # fmt: skip
