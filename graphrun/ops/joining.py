"""Operations that join tensors and take them apart: concat, stack, split, unstack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.errors import RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor, partial_value
from graphrun.graph.descriptor import AffineMap, Index, Kernel, Spec, View
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import attr_value, dims_of, ints, one_int, static_int
from graphrun.ops.families import require_same_dtype
from graphrun.ops.fill import shape, zeros_like
from graphrun.ops.plans.copy import plan_join
from graphrun.ops.state import identity
from graphrun.shapes import Dim, Shape, format_shape, merge, normalize_axis, row_major_strides


def _single(axis: Any) -> Any:
    return axis[0] if isinstance(axis, tuple) else axis


def _tensors(values: Any, opdef: str, name: str) -> list[Tensor]:
    """Operands of one dtype, of which Python numbers take that of the first tensor."""
    if isinstance(values, Tensor):
        values = list(values)
    return convert_operands(values, opdef, name)


# -- concat -------------------------------------------------------------------------------------


def _concat_rule(*specs: Spec, axis: Any) -> tuple[Spec]:
    axis = _single(axis)
    dtype = require_same_dtype(*specs)
    known = [(i, s.shape) for i, s in enumerate(specs) if s.shape is not None]
    if not known:
        return (Spec(None, dtype),)
    first, shape0 = known[0]
    rank = len(shape0)
    if rank == 0:
        raise RuleError(
            f"input {first} is a scalar", expected="rank 1 or more", fix="use gr.stack to join scalars"
        )
    for i, s in known[1:]:
        if len(s) != rank:
            raise RuleError(
                f"input {first} has rank {rank} and input {i} has rank {len(s)}",
                expected="inputs of one rank",
            )
    if axis is None:
        return (Spec((None,) * rank, dtype),)
    at = normalize_axis(axis, rank)
    out: list[Dim] = list(shape0)
    owner = [first] * rank
    total: Dim = 0 if len(known) == len(specs) else None
    for i, s in known:
        for k, d in enumerate(s):
            if k == at or d is None:
                continue
            if out[k] is None:
                out[k], owner[k] = d, i
            elif out[k] != d:
                raise RuleError(
                    f"inputs {owner[k]} and {i} differ along axis {k}, {out[k]} != {d}"
                    f" (shapes {format_shape(specs[owner[k]].shape)} and {format_shape(s)})",
                    expected=f"shapes that are equal but for axis {at}, along which they are joined",
                )
        total = None if total is None or s[at] is None else total + s[at]  # type: ignore[operator]
    out[at] = total
    return (Spec(tuple(out), dtype),)


def _choice(branches: Sequence[tuple[str, str]]) -> str:
    """C that takes the first branch ``(test, statement)`` that holds, by halves; later tests hold too."""
    if len(branches) == 1:
        return branches[0][1]
    half = len(branches) // 2
    return (
        f"if ({branches[half - 1][0]}) {{ {_choice(branches[:half])} }} else {{ {_choice(branches[half:])} }}"
    )


def _concat_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    """In coordinates and without a division, so that loops over rows have nothing left to compute."""
    dims = dims_of(out)
    at = normalize_axis(_single(attrs["axis"]), len(dims))
    inner = math.prod(dims[at + 1 :])
    before = [f"c{k} * {math.prod(dims[k + 1 : at])}L" for k in range(at)]
    behind = [f"c{k} * {s}L" for k, s in enumerate(row_major_strides(dims)) if k > at]
    begin = 0
    branches = []
    for k, s in enumerate(specs):
        length = dims_of(s)[at]
        if not length:
            continue
        place = [f"o * {length * inner}L", f"(c{at} - {begin}L) * {inner}L", *behind]
        begin += length
        branches.append((f"c{at} < {begin}L", f"r = LOAD{k}({' + '.join(place)});"))
    return f"const long o = {' + '.join(before) or '0'}; {_choice(branches)}" if branches else "r = 0;"


# One kernel for all inputs saves launches, one copy each saves work.  An OpenCL kernel has room for 1024
# bytes of arguments at least, and each input takes 16.
SMALL_ELEMENTS = 16384
SMALL_INPUTS = 32
_COPIES = Kernel("copy", plan_join, ("copy.cl",))


def _join(code: Any) -> Any:
    def descriptor(specs: Sequence[Spec], attrs: Mapping[str, Any]) -> Index | Kernel:
        small = len(specs) <= SMALL_INPUTS and sum(math.prod(dims_of(s)) for s in specs) <= SMALL_ELEMENTS
        return Index(code) if small else _COPIES

    return descriptor


def _concat_gradient(op: Operation, dy: Tensor) -> list[Tensor]:
    from graphrun.ops.indexing import getitem

    axis = attr_value(op, "axis")
    inputs = op.inputs[: len(op.inputs) - len(op.value_attrs)]
    ranks = [len(t._shape) for t in inputs if t._shape is not None]
    if isinstance(axis, int) and ranks:
        at = normalize_axis(axis, ranks[0])
        if all(t._shape is not None and t._shape[at] is not None for t in inputs):
            sizes: Any = tuple(t._shape[at] for t in inputs)  # type: ignore[index]
            return _split(dy, sizes, at, len(inputs))
    sizes = [getitem(shape(t), axis) for t in inputs]
    return _split(dy, ints(sizes, "concat", "sizes"), axis, len(inputs))


def _concat_partial(op: Operation) -> Any:
    inputs = op.inputs[: len(op.inputs) - len(op.value_attrs)]
    values = [partial_value(t) for t in inputs]
    if not all(isinstance(v, tuple) for v in values):
        return None
    return tuple(entry for v in values for entry in v)


concat_op = register(
    OpDef(
        "concat", _concat_rule, lambda *xs, axis: np.concatenate(xs, _single(axis)), _join(_concat_code),
        _concat_gradient, value_attrs=("axis",), partial=_concat_partial,
        node_name="concat", onnx="Concat", input_names=(),
    )
)  # fmt: skip


def concat(values: Any, axis: Any = None, name: str = "concat", concat_dim: Any = None) -> Tensor:
    """Join tensors along `axis`; their other dimensions are equal.  `concat_dim` is the older name.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.concat([gr.zeros([2, 3]), gr.zeros([2, 5])], 1).shape.as_list()
    [2, 8]
    """
    axis = concat_dim if axis is None else axis
    if isinstance(values, int) and isinstance(axis, list | tuple) or axis is None:
        raise ShapeError(
            message(
                "no axis is given" if axis is None else f"the first argument is {values}, the second a list",
                where="concat",
                site=user_site(),
                expected="gr.concat(values, axis): the list first, as in TensorFlow since 1.0",
            )
        )
    if not isinstance(values, list | tuple):
        values = [values]
    if not values:
        raise ShapeError(
            message("an empty list", where="concat", site=user_site(), expected="one tensor or more")
        )
    items = _tensors(values, "concat", name)
    at = one_int(axis, "concat", "axis")
    if len(items) == 1:
        return identity(items[0], name)
    return apply(concat_op, items, {"axis": at}, name)


# -- stack --------------------------------------------------------------------------------------


def _stack_rule(*specs: Spec, axis: int) -> tuple[Spec]:
    dtype = require_same_dtype(*specs)
    out: Shape = specs[0].shape
    for i, s in enumerate(specs):
        try:
            out = merge(out, s.shape)
        except ShapeError:
            raise RuleError(
                f"inputs 0 and {i} differ, {format_shape(specs[0].shape)} != {format_shape(s.shape)}",
                expected="inputs of one shape",
                fix="use gr.concat to join tensors along an axis that they have",
            ) from None
    if out is None:
        return (Spec(None, dtype),)
    at = normalize_axis(axis, len(out) + 1)
    return (Spec((*out[:at], len(specs), *out[at:]), dtype),)


def _stack_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    shape0 = dims_of(specs[0])
    at = normalize_axis(attrs["axis"], len(shape0) + 1)
    strides = row_major_strides(shape0)
    rest = [k for k in range(len(shape0) + 1) if k != at]
    terms = [f"c{k} * {s}L" for k, s in zip(rest, strides, strict=True)]
    branches = [(f"c{at} <= {k}", f"r = LOAD{k}(e);") for k in range(len(specs))]
    return f"const long e = {' + '.join(terms) or '0'}; {_choice(branches)}"


def _stack_partial(op: Operation) -> Any:
    if op.inputs[0]._shape != ():
        return None
    values = [partial_value(t) for t in op.inputs]
    return tuple(values) if not any(isinstance(v, tuple) for v in values) else None


def _stack_gradient(op: Operation, dy: Tensor) -> Sequence[Tensor]:
    return _unstack(dy, op.attrs["axis"], len(op.inputs))


stack_op = register(
    OpDef(
        "stack", _stack_rule, lambda *xs, axis: np.stack(xs, axis), _join(_stack_code), _stack_gradient,
        partial=_stack_partial, node_name="stack", input_names=(),
    )
)  # fmt: skip


def stack(values: Any, axis: Any = 0, name: str = "stack") -> Tensor:
    """Join tensors of one shape along a new axis.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.stack([gr.zeros([3]), gr.zeros([3])], axis=1).shape.as_list()
    [3, 2]
    """
    if isinstance(values, list | tuple) and not values:
        raise ShapeError(
            message("an empty list", where="stack", site=user_site(), expected="one tensor or more")
        )
    items = _tensors(values, "stack", name)
    return apply(stack_op, items, {"axis": static_int(axis, "stack", "axis")}, name)


def parallel_stack(values: Any, name: str = "parallel_stack") -> Tensor:
    """As `stack` along a new first axis; TensorFlow's name for one that does not wait for all `values`."""
    x = convert_to_tensor(values[0])
    with x.graph.name_scope(name):
        return stack(values, 0, "ParallelConcat")


# -- unstack ------------------------------------------------------------------------------------


def _unstack_rule(x: Spec, *, axis: int, num: int) -> tuple[Spec, ...]:
    if x.shape is None:
        return (Spec(None, x.dtype),) * num
    at = normalize_axis(axis, len(x.shape))
    if x.shape[at] not in (None, num):
        raise RuleError(f"dimension {at} is {x.shape[at]}", expected=f"num, {num}")
    return (Spec((*x.shape[:at], *x.shape[at + 1 :]), x.dtype),) * num


def _unstack_numpy(x: np.ndarray, *, axis: int, num: int) -> Any:
    parts = np.moveaxis(x, axis, 0)
    return tuple(parts[i, ...] for i in range(num)) if num > 1 else parts[0, ...]


def _unstack_map(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int) -> AffineMap:
    shape0 = dims_of(specs[0])
    at = normalize_axis(attrs["axis"], len(shape0))
    strides = row_major_strides(shape0)
    rest = (*strides[:at], *strides[at + 1 :])
    return AffineMap(dims_of(out), rest, index * strides[at])


def _filled_up(op: Operation, dys: Sequence[Tensor | None]) -> list[Tensor]:
    return [zeros_like(t) if dy is None else dy for t, dy in zip(op.outputs, dys, strict=True)]


def _unstack_gradient(op: Operation, *dys: Tensor | None) -> Tensor:
    return apply(stack_op, _filled_up(op, dys), {"axis": op.attrs["axis"]})


unstack_op = register(
    OpDef(
        "unstack", _unstack_rule, _unstack_numpy, View(_unstack_map), _unstack_gradient,
        node_name="unstack", input_names=("value",),
    )
)  # fmt: skip


def _unstack(x: Tensor, axis: int, num: int, name: str | None = None) -> Sequence[Tensor]:
    result = apply(unstack_op, (x,), {"axis": axis, "num": num}, name)
    return (result,) if num == 1 else result


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """Return the entries of `value` along `axis`, as a list.

    `num` is their number; it may be left out where that dimension is known.

    Examples
    --------
    >>> import graphrun as gr
    >>> [t.shape.as_list() for t in gr.unstack(gr.zeros([2, 3]))]
    [[3], [3]]
    """
    x = convert_to_tensor(value)
    at = static_int(axis, "unstack", "axis")
    if num is None:
        try:
            num = None if x._shape is None else x._shape[normalize_axis(at, len(x._shape))]
            if num is None:
                raise RuleError(
                    f"dimension {at} of shape {format_shape(x._shape)} is not known",
                    fix="pass num=, or set the dimension with x.set_shape(...)",
                )
        except RuleError as fault:
            raise unstack_op.explain(fault, name, user_site(), [x.spec]) from None
    if num == 0:
        return []
    if x.dtype.is_integer and x._shape is not None and len(x._shape) == 1:
        # Single entries of a shape stay known while the graph is built.
        from graphrun.ops.indexing import getitem

        return [getitem(x, i) for i in range(num)]
    return list(_unstack(x, at, num, name))


# -- split --------------------------------------------------------------------------------------


def _sizes(sizes: Any, length: Dim, num: int) -> tuple[Dim, ...]:
    """The lengths of the parts, as far as they are known; no sizes: equal ones."""
    if sizes == ():
        if length is None:
            return (None,) * num
        if num < 1 or length % num:
            near = next((n for n in range(min(num, length), 0, -1) if length % n == 0), 1)
            raise RuleError(
                f"{length} is not divisible by {num}",
                expected="parts of equal length",
                fix=f"give the lengths as a list, or split in {near}",
            )
        return (length // num,) * num
    if sizes is None:
        return (None,) * num
    if sizes.count(-1) > 1:
        raise RuleError(f"several -1 in the sizes {sizes}", expected="at most one")
    if any(s is not None and s < -1 for s in sizes):
        raise RuleError(f"a negative size in {sizes}", expected="0 or more, or one -1")
    total = sum(s for s in sizes if s is not None and s != -1)
    exact = None not in sizes and -1 not in sizes
    if length is not None and (total > length or (exact and total != length)):
        raise RuleError(
            f"the sizes {sizes} add up to {total}, the dimension is {length}", expected="equal sums"
        )
    if None in sizes or (length is None and -1 in sizes):
        return tuple(None if s == -1 else s for s in sizes)
    return tuple(length - total if s == -1 else s for s in sizes)


def _split_rule(x: Spec, *, sizes: Any, axis: Any, num: int) -> tuple[Spec, ...]:
    axis = _single(axis)
    if x.shape is None:
        return (Spec(None, x.dtype),) * num
    if axis is None:
        return (Spec((None,) * len(x.shape), x.dtype),) * num
    at = normalize_axis(axis, len(x.shape))
    return tuple(
        Spec((*x.shape[:at], n, *x.shape[at + 1 :]), x.dtype) for n in _sizes(sizes, x.shape[at], num)
    )


def _split_numpy(x: np.ndarray, *, sizes: Any, axis: Any, num: int) -> Any:
    axis = _single(axis)
    lengths: Any = _sizes(sizes, x.shape[axis], num)
    ends = np.cumsum(lengths[:-1])
    parts = np.split(x, ends, axis)
    return tuple(parts) if num > 1 else parts[0]


def _split_map(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int) -> AffineMap:
    shape0 = dims_of(specs[0])
    at = normalize_axis(_single(attrs["axis"]), len(shape0))
    strides = row_major_strides(shape0)
    begin: int = sum(_sizes(attrs["sizes"], shape0[at], attrs["num"])[:index])  # type: ignore[arg-type]
    offset = 0 if 0 in out.shape else begin * strides[at]  # type: ignore[operator]
    return AffineMap(dims_of(out), strides, offset)


def _split_gradient(op: Operation, *dys: Tensor | None) -> Tensor:
    parts = _filled_up(op, dys)
    return apply(concat_op, parts, {"axis": attr_value(op, "axis")})


split_op = register(
    OpDef(
        "split", _split_rule, _split_numpy, View(_split_map), _split_gradient, value_attrs=("sizes", "axis"),
        node_name="split", onnx="Split", input_names=("value",),
    )
)  # fmt: skip


def _split(x: Tensor, sizes: Any, axis: Any, num: int, name: str | None = None) -> list[Tensor]:
    if num == 1 and sizes in ((), (-1,)):
        return [identity(x, name)]
    result = apply(split_op, (x,), {"sizes": sizes, "axis": axis, "num": num}, name)
    return [result] if num == 1 else list(result)


def split(
    value: Any,
    num_or_size_splits: Any = None,
    axis: Any = 0,
    num: int | None = None,
    name: str = "split",
    split_dim: Any = None,
    num_split: int | None = None,
) -> list[Tensor]:
    """Cut `value` along `axis`; return the list of parts.

    Parameters
    ----------
    value : tensor
    num_or_size_splits : int, list of ints or integer vector
        The number of equal parts, or their lengths, one of which may be -1: the rest.
    axis : int
        `split_dim` is the older name.
    num : int, optional
        The number of parts, where the lengths are a vector of unknown length.
    num_split : int, optional
        The older name for a number of parts.

    Examples
    --------
    >>> import graphrun as gr
    >>> x = gr.zeros([5, 30])
    >>> [t.shape.as_list() for t in gr.split(x, [4, 15, -1], 1)]
    [[5, 4], [5, 15], [5, 11]]
    >>> len(gr.split(x, 3, axis=1))
    3
    """
    axis = axis if split_dim is None else split_dim
    parts = num_or_size_splits if num_or_size_splits is not None else num_split
    if isinstance(value, int) and not (isinstance(parts, int | None) and isinstance(axis, int)):
        raise ShapeError(
            message(f"the first argument is {value}, an int", where="split", site=user_site(),
                    expected="gr.split(value, num_or_size_splits, axis): the tensor first, as in TensorFlow"
                    " since 1.0")
        )  # fmt: skip
    at = one_int(axis, "split", "axis")
    x = convert_to_tensor(value)
    scalar = isinstance(parts, int | np.integer) or (isinstance(parts, np.ndarray) and parts.ndim == 0)
    if scalar or (isinstance(parts, Tensor) and parts._shape == ()):
        return _split(x, (), at, static_int(parts, "split", "num_or_size_splits"), name)
    sizes = ints(parts, "split", "num_or_size_splits")
    if isinstance(sizes, Tensor):
        length = sizes._shape[0] if sizes._shape else None
        count = num if num is not None else length
        if count is None:
            raise ShapeError(
                message(
                    f"'{sizes.name}' has shape {format_shape(sizes._shape)}: the number of parts is unknown",
                    where="split",
                    site=user_site(),
                    expected="a vector of known length",
                    fix="pass num=",
                )
            )
    else:
        count = len(sizes)
    if count == 0:
        raise ShapeError(message("no sizes", where="split", site=user_site(), expected="one part or more"))
    return _split(x, sizes, at, count, name)
