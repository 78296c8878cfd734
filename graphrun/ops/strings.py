"""Tensors of strings: numbers from and to them, splitting, joining.  All run on the host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, RuleError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import require_rank, static_int
from graphrun.ops.sparse_tensor import SparseTensor
from graphrun.ops.text import (
    STRING,
    Array,
    as_bytes,
    as_text,
    each,
    objects,
    require_string,
    run_fault,
)
from graphrun.shapes import broadcast, normalize_axes, normalize_axis, reduce_shape

# -- numbers ----------------------------------------------------------------------------------------


def _to_number_rule(x: Spec, *, out_type: DType) -> tuple[Spec]:
    require_string(x, "string_tensor")
    if out_type not in (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64):
        raise RuleError(
            f"out_type is {out_type}", expected="float32, float64, int32 or int64", kind=DTypeError
        )
    return (Spec(x.shape, out_type),)


def _to_number_numpy(x: Any, *, out_type: DType) -> Array:
    def one(item: bytes) -> Any:
        try:
            number = (int if out_type.is_integer else float)(item.strip())
            return out_type.numpy.type(number)
        except (ValueError, OverflowError):
            raise run_fault(f"{item!r} is no number of dtype {out_type}") from None

    with np.errstate(over="ignore"):
        return each(one, x, out=out_type.numpy)


to_number_op = register(
    OpDef(
        "string_to_number", _to_number_rule, _to_number_numpy, None, no_gradient, node_name="StringToNumber",
        input_names=("string_tensor",),
    )
)  # fmt: skip


def string_to_number(
    string_tensor: Any = None, out_type: Any = dtypes.float32, name: str | None = None, input: Any = None
) -> Tensor:
    """Return the numbers that strings hold.

    Parameters
    ----------
    string_tensor : string tensor
        `input` is another name of it.
    out_type : dtype
        float32, float64, int32 or int64.

    Raises
    ------
    InvalidArgumentError
        In the run, if one holds none.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.string_to_number(["1.5", "-2"])))
    [ 1.5 -2. ]
    """
    text = as_text(input if string_tensor is None else string_tensor, "string_to_number")
    return apply(to_number_op, (text,), {"out_type": as_dtype(out_type)}, name)


def _as_string_numpy(
    x: Any, *, precision: int, scientific: bool, shortest: bool, width: int, fill: str
) -> Array:
    x = np.asarray(x)
    kind = x.dtype.kind
    size = f"{fill}{width}" if width >= 0 else ""
    if kind == "b":
        return each(lambda v: (f"%{size}s" % ("true" if v else "false")).encode(), x.astype(object))
    if kind in "iu":
        pattern = f"%{size}d"
    else:
        digits = f".{precision}" if precision >= 0 else ""
        pattern = f"%{size}{digits}{'e' if scientific else 'g' if shortest else 'f'}"
    return each(lambda v: (pattern % v).encode(), x.astype(object))


as_string_op = register(
    OpDef(
        "as_string", lambda x, **attrs: (Spec(x.shape, STRING),), _as_string_numpy, None, no_gradient,
        node_name="AsString", input_names=("input",),
    )
)  # fmt: skip


def as_string(
    input: Any,
    precision: int = -1,
    scientific: bool = False,
    shortest: bool = False,
    width: int = -1,
    fill: str = "",
    name: str | None = None,
) -> Tensor:
    """Return numbers and bools as strings.

    Parameters
    ----------
    input : numeric or bool tensor
    precision : int
        Digits behind the point; 6 by default.
    scientific, shortest : bool
        As ``1.5e+00``, or in the shorter of both ways.
    width : int
        Least width.
    fill : {"", " ", "0", "-", "+"}
        What fills it.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.as_string([3.14159, 2.0], precision=2)))
    [b'3.14' b'2.00']
    """
    x = convert_to_tensor(input)
    if x.dtype is STRING:
        return x
    attrs = {
        "precision": int(precision), "scientific": bool(scientific), "shortest": bool(shortest),
        "width": int(width), "fill": fill,
    }  # fmt: skip
    return apply(as_string_op, (x,), attrs, name)


# -- splitting ----------------------------------------------------------------------------------------


def _split_rule(source: Spec, **attrs: Any) -> tuple[Spec, Spec, Spec]:
    require_string(source, "source")
    require_rank(source.shape, 1, "source")
    return Spec((None, 2), dtypes.int64), Spec((None,), STRING), Spec((2,), dtypes.int64)


def _split_numpy(source: Any, *, split: Any) -> tuple[Array, Array, Array]:
    rows = [split(item) for item in source]
    values = np.empty(sum(map(len, rows)), np.object_)
    values[:] = [part for row in rows for part in row]
    places = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
    longest = max(map(len, rows), default=0)
    return (
        np.array(places, np.int64).reshape(-1, 2), values, np.array([len(rows), longest], np.int64),
    )  # fmt: skip


class _ByCharacters:
    """Cuts at every byte of `delimiter`; an empty one parts all bytes."""

    def __init__(self, delimiter: bytes, skip_empty: bool) -> None:
        self._key = (delimiter, skip_empty)

    def __call__(self, item: bytes) -> list[bytes]:
        delimiter, skip_empty = self._key
        if not item:
            return []  # not one empty part, as in TensorFlow
        if not delimiter:
            return [item[k : k + 1] for k in range(len(item))]
        parts = re.split(b"[" + re.escape(delimiter) + b"]", item)
        return [p for p in parts if p or not skip_empty]

    def __hash__(self) -> int:
        return hash((type(self), self._key))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key == other._key


class _BySeparator:
    """Cuts at a separator as a whole, or at whitespace where it is empty, as Python's ``split``."""

    def __init__(self, sep: bytes, maxsplit: int) -> None:
        self._key = (sep, maxsplit)

    def __call__(self, item: bytes) -> list[bytes]:
        sep, most = self._key
        return item.split(sep or None, most)

    def __hash__(self) -> int:
        return hash((type(self), self._key))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key == other._key


string_split_op = register(
    OpDef(
        "string_split", _split_rule, _split_numpy, None, no_gradient, node_name="StringSplit",
        input_names=("source",),
    )
)  # fmt: skip


def string_split(
    source: Any,
    sep: Any = None,
    skip_empty: bool = True,
    delimiter: Any = None,
    result_type: str = "SparseTensor",
    name: str | None = None,
) -> SparseTensor:
    """Cut each string of a vector into parts.

    Parameters
    ----------
    source : string tensor of rank 1
    sep : str
        Each byte of it cuts; a space by default, and every byte is a part where it is empty.  `delimiter`
        is another name.
    skip_empty : bool
        Leave out empty parts.

    Returns
    -------
    SparseTensor
        Part j of string i stands at (i, j).

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.string_split(["a b", "c"])).values)
    [b'a' b'b' b'c']
    """
    if result_type != "SparseTensor":
        raise DTypeError(
            message(f"result_type is {result_type!r}", where="string_split", site=user_site(),
                    expected="'SparseTensor'")
        )  # fmt: skip
    cut = next((d for d in (delimiter, sep) if d is not None), " ")
    split = _ByCharacters(as_bytes(cut), bool(skip_empty))
    return SparseTensor(*apply(string_split_op, (as_text(source, "string_split"),), {"split": split}, name))


def split(
    input: Any = None, sep: Any = None, maxsplit: int = -1, result_type: str = "SparseTensor",
    source: Any = None, name: str | None = None,
) -> SparseTensor:  # fmt: skip
    """Cut each string of a vector at `sep` as a whole, at whitespace by default; see `string_split`."""
    text = as_text(source if input is None else input, "strings.split")
    attrs = {"split": _BySeparator(as_bytes(sep or b""), int(maxsplit))}
    return SparseTensor(*apply(string_split_op, (text,), attrs, name or "StringSplit"))


# -- joining ------------------------------------------------------------------------------------------


def _join_rule(*parts: Spec, separator: bytes) -> tuple[Spec]:
    shape: Any = ()
    for part in parts:
        require_string(part, "an input")
        shape = broadcast(shape, part.shape)
    return (Spec(shape, STRING),)


string_join_op = register(
    OpDef(
        "string_join", _join_rule,
        lambda *parts, separator: each(lambda *items: separator.join(items), *parts),
        None, no_gradient, node_name="StringJoin",
    )
)  # fmt: skip


def string_join(inputs: Sequence[Any], separator: str = "", name: str | None = None) -> Tensor:
    """Join the strings at the same place in several tensors, which broadcast.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.string_join([["a", "b"], "c"], "-")))
    [b'a-c' b'b-c']
    """
    parts = [as_text(x, "string_join") for x in inputs]
    return apply(string_join_op, parts, {"separator": as_bytes(separator)}, name)


def _reduce_join_rule(x: Spec, *, axis: Any, keepdims: bool, separator: bytes) -> tuple[Spec]:
    require_string(x)
    return (Spec(reduce_shape(x.shape, axis, keepdims), STRING),)


def _reduce_join_numpy(x: Any, *, axis: Any, keepdims: bool, separator: bytes) -> Array:
    x = objects(x)
    axes = range(x.ndim) if axis is None else [normalize_axis(a, x.ndim) for a in axis]
    kept = [k for k in range(x.ndim) if k not in axes]
    rows = np.transpose(x, [*kept, *axes]).reshape([*(x.shape[k] for k in kept), -1])
    result = np.empty(rows.shape[:-1], np.object_)
    for place in np.ndindex(*result.shape):
        result[place] = separator.join(rows[place])
    return result.reshape(reduce_shape(x.shape, normalize_axes(axis, x.ndim), keepdims))


reduce_join_op = register(
    OpDef(
        "reduce_join", _reduce_join_rule, _reduce_join_numpy, None, no_gradient, node_name="ReduceJoin",
        input_names=("input",),
    )
)  # fmt: skip


def reduce_join(
    inputs: Any,
    axis: Any = None,
    keep_dims: bool | None = None,
    separator: str = "",
    name: str | None = None,
    reduction_indices: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Join the strings along axes, all of them by default.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.reduce_join([["a", "b"], ["c", "d"]], 1, separator=" ")))
    [b'a b' b'c d']
    """
    axis = reduction_indices if axis is None else axis
    if axis is not None:
        listed = axis if isinstance(axis, list | tuple) else [axis]
        axis = tuple(static_int(a, "reduce_join", "axis") for a in listed)
    keep = bool(keepdims if keepdims is not None else keep_dims)
    attrs = {"axis": axis, "keepdims": keep, "separator": as_bytes(separator)}
    return apply(reduce_join_op, (as_text(inputs, "reduce_join"),), attrs, name)
