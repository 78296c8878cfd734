"""Checks of what users expect of tensors: at once where it is known, else when the graph runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import DType, as_dtype, float32
from graphrun.errors import DTypeError, InvalidArgumentError, ShapeError, message
from graphrun.graph.apply import constant_value, convert_operands, convert_to_tensor
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.site import user_site
from graphrun.ops.checks import assert_
from graphrun.ops.compare import equal, greater, greater_equal, less, less_equal, not_equal
from graphrun.ops.elementwise import abs as absolute
from graphrun.ops.fill import rank as rank_of
from graphrun.ops.fill import shape as shape_of
from graphrun.ops.fill import size
from graphrun.ops.print_text import summary
from graphrun.ops.reduce import reduce_all, reduce_any
from graphrun.ops.reshape import reshape
from graphrun.ops.state import identity, no_op
from graphrun.shapes import format_shape

_KNOWN_TO_HOLD = "static_checks_determined_all_ok"


# -- comparisons ------------------------------------------------------------------------------------


def _binary_check(
    function: str, sign: str, compare: Callable[..., Tensor], numpy: Any,
    args: tuple[Any, Any, Any, Any, Any, Any],
) -> Operation:  # fmt: skip
    x, y, data, summarize, text, name = args
    x, y = convert_operands((x, y))
    graph = x.graph
    with graph.as_default(), graph.name_scope(name or function):
        shown = [*([text] if text else []), f"Condition x {sign} y did not hold element-wise:",
                 f"x ({x.name}) = ", x, f"y ({y.name}) = ", y]  # fmt: skip
        return _check(function, [x, y], numpy, lambda: reduce_all(compare(x, y)), data, shown, summarize)


def _unary_check(
    function: str, sign: str, compare: Callable[..., Tensor], numpy: Any, args: tuple[Any, Any, Any, Any, Any]
) -> Operation:
    x, data, summarize, text, name = args
    x = convert_to_tensor(x)
    graph = x.graph
    with graph.as_default(), graph.name_scope(name or function):
        zero = np.zeros((), x.dtype.numpy)
        shown = [*([text] if text else []), f"Condition x {sign} 0 did not hold element-wise:",
                 f"x ({x.name}) = ", x]  # fmt: skip
        return _check(
            function, [x], lambda a: numpy(a, zero), lambda: reduce_all(compare(x, zero)), data, shown,
            summarize,
        )  # fmt: skip


def _check(
    function: str, tensors: list[Tensor], numpy: Callable[..., Any], condition: Callable[[], Tensor],
    data: Sequence[Any] | None, shown: list[Any], summarize: int | None,
) -> Operation:  # fmt: skip
    values = [constant_value(t) for t in tensors]
    if all(v is not None for v in values):
        if np.all(numpy(*values)):
            return no_op(_KNOWN_TO_HOLD)
        raise InvalidArgumentError(
            message(
                " ".join(s for s in shown if isinstance(s, str) and not s.endswith(" = ")).rstrip(":"),
                where=function,
                site=user_site(),
                got=[f"{t.name} = {summary(v, 20)}" for t, v in zip(tensors, values, strict=True)],
            )
        )
    return assert_(condition(), shown if data is None else data, summarize, "Assert")


def assert_equal(
    x: Any, y: Any, data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """Return an operation that fails unless ``x == y`` in all elements; at once where both are known.

    Parameters
    ----------
    x, y : tensors
        They broadcast.
    data : list of tensors and strings, optional
        What is shown instead of `x` and `y`.
    summarize : int, optional
        How many elements of each; 3 unless given.
    message : str, optional
        Stands before them.

    Raises
    ------
    InvalidArgumentError
        Now, or in the run.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.placeholder(gr.float32, (None,))
    ...     with gr.control_dependencies([gr.assert_equal(gr.size(x), 2)]):
    ...         y = gr.reduce_sum(x)
    ...     print(sess.run(y, {x: [1.0, 2.0]}))
    3.0
    """
    return _binary_check("assert_equal", "==", equal, np.equal, (x, y, data, summarize, message, name))


def assert_none_equal(
    x: Any, y: Any, data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``x != y``."""
    args = (x, y, data, summarize, message, name)
    return _binary_check("assert_none_equal", "!=", not_equal, np.not_equal, args)


def assert_less(
    x: Any, y: Any, data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``x < y``."""
    return _binary_check("assert_less", "<", less, np.less, (x, y, data, summarize, message, name))


def assert_less_equal(
    x: Any, y: Any, data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``x <= y``."""
    args = (x, y, data, summarize, message, name)
    return _binary_check("assert_less_equal", "<=", less_equal, np.less_equal, args)


def assert_greater(
    x: Any, y: Any, data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``x > y``."""
    return _binary_check("assert_greater", ">", greater, np.greater, (x, y, data, summarize, message, name))


def assert_greater_equal(
    x: Any, y: Any, data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``x >= y``."""
    args = (x, y, data, summarize, message, name)
    return _binary_check("assert_greater_equal", ">=", greater_equal, np.greater_equal, args)


def assert_near(
    x: Any, y: Any, rtol: Any = None, atol: Any = None, data: Sequence[Any] | None = None,
    summarize: int | None = None, message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``abs(x - y) <= atol + rtol * abs(y)``; both default to 10 rounding errors."""
    x, y = convert_operands((x, y))
    eps = 10 * np.finfo(x.dtype.numpy).eps
    relative, absolute_part = (np.asarray(eps if t is None else t, x.dtype.numpy) for t in (rtol, atol))

    def near(a: Tensor, b: Tensor) -> Tensor:
        return less_equal(absolute(a - b), absolute_part + relative * absolute(b))

    def near_numpy(a: Any, b: Any) -> Any:
        return np.abs(a - b) <= absolute_part + relative * np.abs(b)

    sign = f"and y are within {relative:g} of each other: x ="
    return _binary_check("assert_near", sign, near, near_numpy, (x, y, data, summarize, message, name))


def assert_positive(
    x: Any, data: Sequence[Any] | None = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``x > 0``."""
    return _unary_check("assert_positive", ">", greater, np.greater, (x, data, summarize, message, name))


def assert_negative(
    x: Any, data: Sequence[Any] | None = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``x < 0``."""
    return _unary_check("assert_negative", "<", less, np.less, (x, data, summarize, message, name))


def assert_non_negative(
    x: Any, data: Sequence[Any] | None = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``x >= 0``."""
    args = (x, data, summarize, message, name)
    return _unary_check("assert_non_negative", ">=", greater_equal, np.greater_equal, args)


def assert_non_positive(
    x: Any, data: Sequence[Any] | None = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_equal`, for ``x <= 0``."""
    args = (x, data, summarize, message, name)
    return _unary_check("assert_non_positive", "<=", less_equal, np.less_equal, args)


# -- ranks and dtypes ---------------------------------------------------------------------------------


def _rank_check(
    function: str, x: Any, holds: Callable[[int], bool], condition: Callable[[Tensor], Tensor],
    wanted: str, args: tuple[Any, Any, Any, Any],
) -> Operation:  # fmt: skip
    data, summarize, text, name = args
    x = convert_to_tensor(x)
    graph = x.graph
    with graph.as_default(), graph.name_scope(name or function):
        if x._shape is not None:
            if holds(len(x._shape)):
                return no_op(_KNOWN_TO_HOLD)
            raise ShapeError(
                message(
                    f"{text + '. ' if text else ''}'{x.name}' has rank {len(x._shape)}",
                    where=function,
                    site=user_site(),
                    got=f"shape {format_shape(x._shape)}",
                    expected=f"rank {wanted}",
                )
            )
        shown = [*([text] if text else []), f"Tensor {x.name} must have rank {wanted}",
                 "Received shape: ", shape_of(x)]  # fmt: skip
        return assert_(condition(rank_of(x)), shown if data is None else data, summarize, "Assert")


def _static_rank(rank: Any, function: str) -> int:
    value = constant_value(rank) if isinstance(rank, Tensor) else np.asarray(rank)
    if value is None or value.ndim or value.dtype.kind not in "iu":
        raise ShapeError(
            message(f"rank is {rank!r}", where=function, site=user_site(), expected="one int that is known")
        )
    return int(value)


def assert_rank(
    x: Any, rank: Any, data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """Return an operation that fails unless `x` has `rank` dimensions; at once where they are known.

    Raises
    ------
    ShapeError
        Now.
    InvalidArgumentError
        In the run.
    """
    n = _static_rank(rank, "assert_rank")
    args = (data, summarize, message, name)
    return _rank_check("assert_rank", x, lambda r: r == n, lambda r: equal(r, n), str(n), args)


def assert_rank_at_least(
    x: Any, rank: Any, data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_rank`, for `rank` dimensions or more."""
    n = _static_rank(rank, "assert_rank_at_least")
    args = (data, summarize, message, name)
    return _rank_check(
        "assert_rank_at_least", x, lambda r: r >= n, lambda r: greater_equal(r, n), f"{n} or more", args
    )


def assert_rank_in(
    x: Any, ranks: Sequence[Any], data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """As `assert_rank`, for one of several ranks."""
    several = [_static_rank(r, "assert_rank_in") for r in ranks]
    wanted = " or ".join(map(str, several))
    args = (data, summarize, message, name)

    def condition(r: Tensor) -> Tensor:
        return reduce_any(equal(r, np.array(several, np.int32)))

    return _rank_check("assert_rank_in", x, lambda r: r in several, condition, wanted, args)


def assert_scalar(tensor: Any, name: str | None = None, message: str | None = None) -> Tensor:
    """Return `tensor`, which must be known to have no dimension."""
    x = convert_to_tensor(tensor)
    if x._shape is None or x._shape:
        raise ShapeError(_static_text(message, f"'{x.name}' has shape {format_shape(x._shape)}",
                                      "assert_scalar", x, "a scalar"))  # fmt: skip
    return x


def assert_type(tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None) -> Operation:
    """Raise unless `tensor` has that dtype; return an operation that does nothing."""
    x = convert_to_tensor(tensor)
    if x.dtype is not as_dtype(tf_type):
        raise DTypeError(_static_text(message, f"'{x.name}' has dtype {x.dtype}", "assert_type", x,
                                      f"dtype {as_dtype(tf_type)}"))  # fmt: skip
    with x.graph.as_default(), x.graph.name_scope(name or "assert_type"):
        return no_op("statically_determined_correct_type")


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> Operation:
    """Raise unless `x` has an integer dtype; return an operation that does nothing."""
    t = convert_to_tensor(x)
    if not t.dtype.is_integer:
        raise DTypeError(_static_text(message, f"'{t.name}' has dtype {t.dtype}", "assert_integer", t,
                                      "an integer dtype"))  # fmt: skip
    with t.graph.as_default(), t.graph.name_scope(name or "assert_integer"):
        return no_op("statically_determined_was_integer")


def _static_text(text: str | None, what: str, function: str, x: Tensor, expected: str) -> str:
    return message(f"{text + '. ' if text else ''}{what}", where=function, site=x.op.site or user_site(),
                   expected=expected)  # fmt: skip


def assert_same_float_dtype(tensors: Sequence[Any] | None = None, dtype: Any = None) -> DType:
    """Raise unless all tensors have one floating dtype; return it (float32 where nothing says which)."""
    found = None if dtype is None else as_dtype(dtype)
    for item in tensors or ():
        if item is None:
            continue
        t = convert_to_tensor(item)
        if found is not None and t.dtype is not found:
            raise DTypeError(_static_text(None, f"'{t.name}' has dtype {t.dtype}",
                                          "assert_same_float_dtype", t, f"dtype {found}"))  # fmt: skip
        found = t.dtype
    found = float32 if found is None else found
    if not found.is_floating:
        raise DTypeError(
            message(f"the dtype is {found}", where="assert_same_float_dtype", site=user_site(),
                    expected="a floating dtype")
        )  # fmt: skip
    return found


def assert_proper_iterable(values: Any) -> None:
    """Raise unless `values` is a list or the like: no tensor, array or string."""
    bad = isinstance(values, Tensor | np.ndarray | str | bytes) or hasattr(values, "_as_graph_element")
    if bad or not hasattr(values, "__iter__"):
        raise DTypeError(
            message(f"values is of type {type(values).__name__}", where="assert_proper_iterable",
                    site=user_site(), expected="a list or tuple")
        )  # fmt: skip


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """Return `x` with what `shape` says of its shape; a run in which that is not true fails."""
    result = identity(x, name or "EnsureShape")
    result.set_shape(shape)
    return result


# -- questions ----------------------------------------------------------------------------------------


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether it is a tensor of numbers."""
    return isinstance(tensor, Tensor) and tensor.dtype.kind in "fiuc"


def _in_order(x: Any, name: str, compare: Callable[..., Tensor]) -> Tensor:
    t = convert_to_tensor(x)
    with t.graph.as_default(), t.graph.name_scope(name):
        flat = reshape(t, [-1])
        n = size(flat)
        return reduce_all(compare(flat[: n - 1], flat[1:]))


def is_non_decreasing(x: Any, name: str | None = None) -> Tensor:
    """Whether no element of `x` is larger than the next one, as a bool tensor."""
    return _in_order(x, name or "is_non_decreasing", less_equal)


def is_strictly_increasing(x: Any, name: str | None = None) -> Tensor:
    """Whether each element of `x` is smaller than the next one, as a bool tensor."""
    return _in_order(x, name or "is_strictly_increasing", less)
