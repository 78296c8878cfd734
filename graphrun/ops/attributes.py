"""Attributes that may arrive as tensors: bringing them into the form that operations have, and back."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from graphrun.dtypes import DType
from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, as_array, convert_to_tensor, partial_value
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant
from graphrun.graph.site import user_site
from graphrun.ops.state import Variable
from graphrun.shapes import TensorShape, is_static


def is_tensor(value: Any) -> bool:
    """Whether `value` is a tensor or a variable."""
    return isinstance(value, Tensor | Variable)


def ints(value: Any, where: str, what: str) -> Any:
    """`value` as an attribute: a tuple of ints, or a tensor or a list with tensors for `apply` to sort out.

    An entry whose value is known already becomes an int, so that no node is made to join the entries.
    """
    kind = type(value)
    if kind is tuple or kind is list:
        if all(type(v) is int for v in value):
            return tuple(value)
    elif kind is int:
        return (value,)
    if is_tensor(value):
        return convert_to_tensor(value)
    if isinstance(value, TensorShape):
        value = value.as_list()
    if isinstance(value, np.ndarray | np.generic):
        value = value.reshape(-1).tolist() if value.dtype.kind in "iu" or not value.size else [value]
    items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    known: list[Any] = []
    for v in items:
        if is_tensor(v):
            tensor = convert_to_tensor(v)
            exact = partial_value(tensor)
            known.append(exact if isinstance(exact, int) else tensor)
            continue
        known.append(_as_int(v, where, what))
    if all(type(v) is int for v in known):
        return tuple(known)
    return _one_dtype(known)


def _as_int(value: Any, where: str, what: str) -> int:
    if isinstance(value, bool | np.bool_) or value is None:
        expected, fix = "ints or integer tensors", ""
        if value is None and what in ("shape", "dims"):
            fix = "write -1 for the dimension to be computed, or gr.shape(x)[i] for one that is not known yet"
        raise ShapeError(
            message(f"{value} in {what}", where=where, site=user_site(), expected=expected, fix=fix)
        )
    try:
        return int(operator.index(value))
    except ShapeError:  # an unknown dimension, which says what to do
        raise
    except TypeError:
        raise DTypeError(
            message(
                f"{value!r} in {what}",
                where=where,
                site=user_site(),
                expected="ints or integer tensors",
                fix="use // where / made a float of an int" if isinstance(value, float) else "",
            )
        ) from None


def _one_dtype(items: list[Any]) -> list[Any]:
    """int32 and int64 tensors may be mixed in one list: all become int64 then."""
    found = {t.dtype.name for t in items if isinstance(t, Tensor)}
    if len(found) < 2 or not all(t.dtype.is_integer for t in items if isinstance(t, Tensor)):
        return items
    from graphrun import dtypes

    return [
        apply("cast", (t,), {"dtype": dtypes.int64})
        if isinstance(t, Tensor) and t.dtype.name != "int64"
        else t
        for t in items
    ]


def one_int(value: Any, where: str, what: str) -> Any:
    """`value` as an attribute that is a single int, or a tensor."""
    if type(value) is int:
        return value
    if is_tensor(value):
        return convert_to_tensor(value)
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iu":
        value = value.reshape(-1)[0]
    return _as_int(value, where, what)


def static_int(value: Any, where: str, what: str) -> int:
    """`value` as an int; a tensor counts where its value is known while the graph is built."""
    value = one_int(value, where, what)
    if isinstance(value, Tensor):
        known = partial_value(value)
        if isinstance(known, tuple) and len(known) == 1:
            known = known[0]
        if not isinstance(known, int):
            raise ShapeError(
                message(
                    f"{what} is the tensor '{value.name}'",
                    where=where,
                    site=user_site(),
                    expected="a value that is known while the graph is built",
                    fix="pass a Python int",
                )
            )
        return known
    return value


def scalar(value: Any, dtype: DType, where: str, what: str) -> Constant:
    """A single number as an attribute.  Equality is that of bits, so 0.0 is not -0.0."""
    if is_tensor(value):
        raise DTypeError(
            message(
                f"{what} is the tensor '{value.name}'",
                where=where,
                site=user_site(),
                expected="a number",
            )
        )
    array = as_array(value, dtype, what)
    if array.size != 1:
        raise ShapeError(
            message(f"{what} has {array.size} elements", where=where, site=user_site(), expected="one")
        )
    return Constant(np.array(array.reshape(())))


def attr_value(op: Operation, key: str) -> Any:
    """The attribute of an operation, or the tensor that it arrives as."""
    if key in op.value_attrs:
        return op.inputs[len(op.inputs) - len(op.value_attrs) + op.value_attrs.index(key)]
    return op.attrs[key]


def shape_attr(x: Tensor) -> Any:
    """The shape of `x` as an attribute: a tuple where it is known, else a tensor."""
    if is_static(x._shape):
        return x._shape
    from graphrun.ops.fill import shape

    return shape(x)


def as_vectors(*values: Any, graph: Any) -> list[Tensor]:
    """Attributes that are vectors, some of them tensors, as tensors of one dtype."""
    from graphrun import dtypes

    kinds = {v.dtype.name for v in values if isinstance(v, Tensor)}
    kind = dtypes.int32 if kinds <= {"int32"} else dtypes.int64
    tensors = [
        v if isinstance(v, Tensor) else convert_to_tensor(np.array(v, kind.numpy), graph=graph)
        for v in values
    ]
    return [t if t.dtype is kind else apply("cast", (t,), {"dtype": kind}) for t in tensors]


def known_ints(value: Any) -> tuple[Any, ...] | None:
    """An attribute inside of a shape rule: a tuple with None for what is unknown, or None."""
    return (value,) if isinstance(value, int) else value


def static_ints(value: Any) -> tuple[int, ...]:
    """An attribute whose value is known, as all are once the compiler has made shapes concrete."""
    return (value,) if isinstance(value, int) else value


def dims_of(spec: Spec) -> tuple[int, ...]:
    """The shape of a spec in which it is concrete."""
    return cast("tuple[int, ...]", spec.shape)


def require_rank(shape: tuple[Any, ...] | None, rank: int, what: str) -> None:
    """Raise unless `shape` has that rank, or its rank is unknown."""
    if shape is not None and len(shape) != rank:
        kind = {0: "a scalar", 1: "a vector", 2: "a matrix"}.get(rank, f"rank {rank}")
        raise RuleError(f"{what} has rank {len(shape)}", expected=kind)


def c_literal(value: Any, dtype: DType) -> str:
    """A number as OpenCL C of the compute type of `dtype`, exactly."""
    if dtype.is_bool:
        return "1" if value else "0"
    if dtype.is_integer:
        number = int(value)
        if dtype.compute == "long":
            return f"(long)0x{number & (2**64 - 1):x}UL"
        if dtype.compute in ("ulong", "uint"):
            return f"{number}{'UL' if dtype.compute == 'ulong' else 'U'}"
        return f"({dtype.compute})({number})" if number != -(2**31) else "(int)0x80000000U"
    real = float(value)
    if not math.isfinite(real):
        text = "NAN" if math.isnan(real) else "INFINITY" if real > 0 else "-INFINITY"
        return f"({dtype.compute})({text})"
    return f"({real.hex()}{'' if dtype.compute == 'double' else 'f'})"
