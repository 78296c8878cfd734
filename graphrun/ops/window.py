"""What convolution and pooling share: how a window moves over images, and TensorFlow's ways to say so."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.site import user_site
from graphrun.shapes import Dim, Shape, window_length

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]

IMAGES = ("NHWC", "NCHW")
VOLUMES = ("NDHWC", "NCDHW")


def check_data_format(data_format: str | None, where: str, formats: tuple[str, str] = IMAGES) -> str:
    """Return the order of the dimensions; None means the first of `formats`."""
    if data_format is None:
        return formats[0]
    if data_format not in formats:
        raise _fault(where, f"data_format={data_format!r}", f'"{formats[0]}" or "{formats[1]}"')
    return data_format


def order_of_sequences(data_format: str | None, where: str) -> str:
    """The order of images that corresponds to that of sequences."""
    orders = {None: "NHWC", "NWC": "NHWC", "NHWC": "NHWC", "NCW": "NCHW", "NCHW": "NCHW"}
    if data_format not in orders:
        raise _fault(where, f"data_format={data_format!r}", '"NWC" or "NCW"')
    return orders[data_format]


def steps(value: Any, what: str, where: str, data_format: str, default: int | None = None) -> tuple[int, ...]:
    """Return one int for each spatial dimension of `data_format`.

    Given are an int, or a list of one, of one for each spatial dimension, or of one for each dimension in the
    order of `data_format`.
    """
    given: Any = default if value is None else value
    rank = len(data_format)
    try:
        items = [operator.index(i) for i in ([given] if np.ndim(given) == 0 else given)]
    except TypeError:
        raise _fault(where, f"{what}={value!r}", "ints") from None
    if len(items) == 1:
        items *= rank - 2
    elif len(items) == rank:
        if items[0] != 1 or items[data_format.index("C")] != 1:
            raise _fault(
                where,
                f"{what}={list(given)} moves over images or channels",
                f"1 for N and C of {data_format}",
            )
        items = items[1:-1] if data_format[-1] == "C" else items[2:]
    elif len(items) != rank - 2:
        raise _fault(where, f"{what} has {len(items)} entries", f"1, {rank - 2} or {rank} of them")
    if min(items) < 1:
        raise _fault(where, f"{what}={value!r}", "1 or more in each dimension")
    return tuple(items)


def pair(value: Any, what: str, where: str, data_format: str, default: int | None = None) -> Pair:
    """Return (height, width) as `steps` does."""
    height, width = steps(value, what, where, data_format, default)
    return height, width


def check_padding(padding: Any, where: str, data_format: str) -> Padding:
    """Return "SAME", "VALID" or ((top, bottom), (left, right)); 4 pairs are in the order of `data_format`."""
    if isinstance(padding, str):
        if padding.upper() in ("SAME", "VALID"):
            return padding.upper()
    elif padding is not None:
        pairs = np.asarray(padding)
        if pairs.shape == (4, 2):
            images, channels = (pairs[0], pairs[3]) if data_format == "NHWC" else (pairs[0], pairs[1])
            if not images.any() and not channels.any():
                pairs = pairs[1:3] if data_format == "NHWC" else pairs[2:]
        if pairs.shape == (2, 2) and pairs.dtype.kind in "iu" and pairs.min() >= 0:
            (top, bottom), (left, right) = pairs.tolist()
            return (top, bottom), (left, right)
    raise _fault(
        where,
        f"padding={padding!r}",
        '"SAME", "VALID", or zeros around each image as ((top, bottom), (left, right))',
    )


def check_same_or_valid(padding: Any, where: str) -> str:
    """Return "SAME" or "VALID", where explicit padding is not to be had."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return padding.upper()
    raise _fault(where, f"padding={padding!r}", '"SAME" or "VALID"')


def one_filter(filter: Any, filters: Any, where: str) -> Any:
    """The filter, which has an older and a newer name."""
    if (filter is None) == (filters is None):
        raise DTypeError(
            message(
                "no filter" if filter is None else "filter and filters are both given",
                where=where,
                site=user_site(),
                expected="one of filter and filters",
            )
        )
    return filters if filter is None else filter


def _fault(where: str, what: str, expected: str) -> ShapeError:
    return ShapeError(message(what, where=where, site=user_site(), expected=expected))


def split_nhwc(dims: Sequence[Any] | None, data_format: str) -> tuple[Any, Any, Any, Any]:
    """Return (images, rows, columns, channels) of a shape of rank 4; None for what is not known."""
    if dims is None:
        return None, None, None, None
    n, first, second, last = dims
    return (n, first, second, last) if data_format == "NHWC" else (n, second, last, first)


def join_nhwc(n: Dim, rows: Dim, columns: Dim, channels: Dim, data_format: str) -> tuple[Dim, ...]:
    """Return a shape in the order of `data_format`."""
    return (n, rows, columns, channels) if data_format == "NHWC" else (n, channels, rows, columns)


def require_rank_4(dims: Shape, what: str, data_format: str) -> None:
    """Raise a rule's fault unless the rank is 4 or not known."""
    if dims is not None and len(dims) != 4:
        order = "(images, rows, columns, channels)"
        if data_format == "NCHW":
            order = "(images, channels, rows, columns)"
        raise RuleError(
            f"{what} has rank {len(dims)}",
            expected=f"rank 4 {order}",
            fix="use gr.expand_dims or gr.reshape to add what is missing" if len(dims) < 4 else "",
        )


def output_length(
    size: Dim, kernel: Dim, stride: int, padding: str | Pair, dilation: int = 1, what: str = "filter"
) -> Dim:
    """Number of windows along one dimension, as far as it is known."""
    if size is None or kernel is None:
        # With SAME the size of the window does not matter.
        return window_length(size, 1, stride, "SAME") if padding == "SAME" else None
    if padding == "SAME":
        return window_length(size, kernel, stride, "SAME", dilation)
    before, after = (0, 0) if isinstance(padding, str) else padding
    padded = size + before + after
    reach = (kernel - 1) * dilation + 1
    if 0 < padded < reach:
        raise RuleError(
            f"the {what} covers {reach} pixels and the padded input has {padded}",
            expected=f"at least as many pixels as the {what} covers",
            fix='use padding="SAME", or a larger input',
        )
    return window_length(padded, kernel, stride, "VALID", dilation)


def output_lengths(
    rows: Dim,
    columns: Dim,
    kernel: tuple[Dim, Dim],
    strides: Pair,
    padding: Padding,
    dilations: Pair = (1, 1),
    what: str = "filter",
) -> tuple[Dim, Dim]:
    """`output_length` of rows and columns."""
    row_padding, column_padding = (padding, padding) if isinstance(padding, str) else padding
    return (
        output_length(rows, kernel[0], strides[0], row_padding, dilations[0], what),
        output_length(columns, kernel[1], strides[1], column_padding, dilations[1], what),
    )
