"""Shape algebra with unknown dimensions.

Inside graphrun a shape is a plain tuple of ints and ``None`` (unknown dimension), or ``None`` (unknown
rank): rules over tuples are short and quick.  :class:`TensorShape` and :class:`Dimension` are what users
see of it, with the manners of TensorFlow 1.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from graphrun.errors import RuleError, ShapeError, message

Dim = int | None
Shape = tuple[Dim, ...] | None


class Dimension(int):
    """A known dimension: an int that also has TensorFlow's ``value``."""

    def __new__(cls, value: Any) -> Any:
        if value is None:
            return _UNKNOWN
        if isinstance(value, UnknownDimension):
            return value
        return super().__new__(cls, operator.index(value))

    @property
    def value(self) -> int:
        return int(self)

    def is_compatible_with(self, other: Any) -> bool:
        other = Dimension(other)
        return other.value is None or int(self) == other.value

    def merge_with(self, other: Any) -> Any:
        if not self.is_compatible_with(other):
            raise ShapeError(f"dimensions {int(self)} and {other} are not compatible")
        return self

    def __repr__(self) -> str:
        return f"Dimension({int(self)})"

    def __str__(self) -> str:
        return str(int(self))


class UnknownDimension:
    """A dimension that is not known before the graph runs; arithmetic with it stays unknown."""

    value = None

    def _unknown(self, _other: Any) -> UnknownDimension:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _unknown
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _unknown

    def is_compatible_with(self, _other: Any) -> bool:
        return True

    def merge_with(self, other: Any) -> Any:
        return Dimension(other)

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, UnknownDimension)

    def __hash__(self) -> int:
        return hash(None)

    def __bool__(self) -> bool:
        return False

    def __int__(self) -> int:
        raise ShapeError(
            message(
                "this dimension is unknown until the graph runs",
                fix="use gr.shape(x)[i], which is a tensor, or give the placeholder a full shape",
            )
        )

    __index__ = __int__

    def __repr__(self) -> str:
        return "Dimension(None)"

    def __str__(self) -> str:
        return "?"


_UNKNOWN = UnknownDimension()


class TensorShape:
    """The shape of a tensor, as far as it is known.

    Examples
    --------
    >>> s = TensorShape([None, 3])
    >>> s.as_list(), s[1].value, s.ndims, s == (None, 3), s.is_fully_defined()
    ([None, 3], 3, 2, True, False)
    >>> print(s)
    (?, 3)
    """

    __slots__ = ("_dims",)

    def __init__(self, dims: Any) -> None:
        self._dims = as_shape(dims)

    @property
    def dims(self) -> list[Any] | None:
        return None if self._dims is None else [Dimension(d) for d in self._dims]

    @property
    def ndims(self) -> int | None:
        return None if self._dims is None else len(self._dims)

    rank = ndims

    def as_tuple(self) -> Shape:
        """A plain tuple of ints and None, or None."""
        return self._dims

    def as_list(self) -> list[Dim]:
        return list(self._known_rank("as_list()"))

    def num_elements(self) -> int | None:
        return num_elements(self._dims)

    def is_fully_defined(self) -> bool:
        return is_static(self._dims)

    def is_compatible_with(self, other: Any) -> bool:
        return is_compatible(self._dims, as_shape(other))

    def assert_is_compatible_with(self, other: Any) -> None:
        if not self.is_compatible_with(other):
            raise ShapeError(f"shapes {self} and {TensorShape(other)} are incompatible")

    def assert_has_rank(self, rank: int) -> None:
        self.with_rank(rank)

    def assert_is_fully_defined(self) -> None:
        if not self.is_fully_defined():
            raise ShapeError(f"shape {self} is not fully defined")

    def merge_with(self, other: Any) -> TensorShape:
        return TensorShape(merge(self._dims, as_shape(other)))

    def concatenate(self, other: Any) -> TensorShape:
        other = as_shape(other)
        return TensorShape(None if self._dims is None or other is None else self._dims + other)

    def with_rank(self, rank: int) -> TensorShape:
        return self.merge_with((None,) * rank)

    def with_rank_at_least(self, rank: int) -> TensorShape:
        if self._dims is not None and len(self._dims) < rank:
            raise ShapeError(f"shape {self} must have rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        if self._dims is not None and len(self._dims) > rank:
            raise ShapeError(f"shape {self} must have rank at most {rank}")
        return self

    def _known_rank(self, what: str) -> tuple[Dim, ...]:
        if self._dims is None:
            raise ShapeError(
                message(
                    f"{what} of a shape of unknown rank",
                    fix="use gr.shape(x), which is a tensor, or state the shape with x.set_shape(...)",
                )
            )
        return self._dims

    def __len__(self) -> int:
        return len(self._known_rank("len()"))

    def __iter__(self) -> Iterator[Any]:
        return iter([Dimension(d) for d in self._known_rank("iteration")])

    def __getitem__(self, key: Any) -> Any:
        dims = self._known_rank("indexing")
        return TensorShape(dims[key]) if isinstance(key, slice) else Dimension(dims[key])

    def __bool__(self) -> bool:
        return self._dims is not None

    def __eq__(self, other: object) -> bool:
        if other is None:
            return self._dims is None
        try:
            return self._dims == as_shape(other)
        except (TypeError, ValueError):
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self._dims)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __repr__(self) -> str:
        return f"TensorShape({list(self._dims) if self._dims is not None else None})"

    def __str__(self) -> str:
        return format_shape(self._dims)


def as_shape(value: Any) -> Shape:
    """Return a plain tuple for anything that describes a shape; an int is a shape of one dimension.

    Raises
    ------
    ShapeError
        If a dimension is negative or no integer.
    """
    if value is None:
        return None
    if isinstance(value, TensorShape):
        return value.as_tuple()
    if isinstance(value, UnknownDimension):
        return (None,)
    try:
        items = list(value) if isinstance(value, Iterable) else [value]
        dims = tuple(
            None if d is None or isinstance(d, UnknownDimension) else operator.index(d) for d in items
        )
    except TypeError:
        raise ShapeError(
            message(f"not a shape: {value!r}", expected="ints and None, as (None, 784)")
        ) from None
    if any(d is not None and d < 0 for d in dims):
        raise ShapeError(
            message(f"negative dimension in shape {dims}", fix="write None where a dimension is unknown")
        )
    return dims


def format_shape(shape: Sequence[Dim] | None) -> str:
    """``(32, ?)``, or ``<unknown>``."""
    if shape is None:
        return "<unknown>"
    text = ", ".join("?" if d is None else str(d) for d in shape)
    return f"({text},)" if len(shape) == 1 else f"({text})"


def is_static(shape: Shape) -> bool:
    return shape is not None and None not in shape


def num_elements(shape: Sequence[Dim] | None) -> int | None:
    """Elements of a shape; None when it is not fully known."""
    if shape is None:
        return None
    count = 1
    for d in shape:
        if d is None:
            return None
        count *= d
    return count


def is_compatible(a: Shape, b: Shape) -> bool:
    """Whether some concrete shape fits both."""
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))


def merge(a: Shape, b: Shape) -> Shape:
    """What is known when both `a` and `b` hold."""
    if a is None:
        return b
    if b is None:
        return a
    if not is_compatible(a, b):
        raise ShapeError(f"shapes {format_shape(a)} and {format_shape(b)} are not compatible")
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True))


def broadcast(a: Shape, b: Shape) -> Shape:
    """NumPy's broadcasting of two shapes, as far as they are known."""
    if a == b:
        return a
    if a is None or b is None:
        return None
    if len(a) < len(b):
        a = (1,) * (len(b) - len(a)) + a
    elif len(b) < len(a):
        b = (1,) * (len(a) - len(b)) + b
    out: list[Dim] = []
    for x, y in zip(a, b, strict=True):
        if x == y or y == 1:
            out.append(x)
        elif x == 1:
            out.append(y)
        elif x is None or y is None:
            out.append(x if y is None else y)
        else:
            raise RuleError(
                f"shapes {format_shape(a)} and {format_shape(b)} cannot be broadcast, {x} != {y}",
                expected="equal dimensions from the right, or 1",
            )
    return tuple(out)


def normalize_axis(axis: int, ndim: int) -> int:
    """Return `axis` counted from the front."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise RuleError(
            f"axis {axis} is out of range for rank {ndim}",
            expected=f"{-ndim} <= axis < {ndim}" if ndim else "no axis: the input is a scalar",
        )
    return axis % ndim


def normalize_axes(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Return sorted axes counted from the front; None means all of them."""
    if axis is None:
        return tuple(range(ndim))
    items = axis if isinstance(axis, Iterable) else (axis,)
    axes = tuple(sorted(normalize_axis(a, ndim) for a in items))
    if len(set(axes)) != len(axes):
        raise RuleError(f"axis {tuple(items)} names an axis twice")
    return axes


def reduce_shape(shape: Shape, axis: Sequence[int] | None, keepdims: bool) -> Shape:
    """Shape after reducing over `axis` (None: over all)."""
    if shape is None:
        return () if axis is None and not keepdims else None
    axes = normalize_axes(axis, len(shape))
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def window_length(size: Dim, window: int, stride: int, padding: str, dilation: int = 1) -> Dim:
    """Output length of a convolution or pooling along one axis; `padding` is SAME or VALID."""
    if size is None:
        return None
    if padding == "SAME":
        return -(-size // stride)
    return max(0, -(-(size - (window - 1) * dilation) // stride))


def window_padding(size: int, window: int, stride: int, padding: str, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after along one axis; SAME puts the odd one behind, as TensorFlow does."""
    if padding == "VALID":
        return 0, 0
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + (window - 1) * dilation + 1 - size)
    return total // 2, total - total // 2


def row_major_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a contiguous array."""
    strides: list[int] = []
    step = 1
    for d in reversed(shape):
        strides.append(step)
        step *= d
    return tuple(reversed(strides))
