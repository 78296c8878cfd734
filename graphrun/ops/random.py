"""Random numbers: operations with a stream of their own, made of pure ones that take the stream's counter.

What users call makes a stateful operation, so that each run draws anew.  The compiler puts the pure
operation of the same name with ``philox_`` in its place, which takes a counter as its first input; the
session keeps one counter for each operation and advances it by the blocks used.  A stream thus depends on
its key (from the seeds) and on how often it was drawn from, and on no device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, as_array, constant_value, convert_to_tensor, partial_value
from graphrun.graph.default import get_default_graph
from graphrun.graph.descriptor import Kernel, Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import ints
from graphrun.ops.fill import shape as shape_of
from graphrun.ops.gather import take
from graphrun.ops.host import philox
from graphrun.ops.math import add, multiply, subtract
from graphrun.ops.plans import random as plans
from graphrun.ops.seeds import stream_key
from graphrun.ops.sequences import range_
from graphrun.ops.state import identity

_FLOATS = (dtypes.float16, dtypes.float32, dtypes.float64)
_INTEGERS = (dtypes.int32, dtypes.int64)


def _drawn(shape: Any, dtype: DType, allowed: tuple[DType, ...]) -> tuple[Spec]:
    if dtype not in allowed:
        raise RuleError(
            f"no random numbers of dtype {dtype}",
            expected=", ".join(d.name for d in allowed),
            fix="draw one of these and convert it with gr.cast",
            kind=DTypeError,
        )
    if shape is not None and any(d is not None and d < 0 for d in shape):
        raise RuleError(f"shape {tuple(shape)} has a negative dimension", expected="0 or more in each")
    return (Spec(None if shape is None else tuple(shape), dtype),)


def _floats_rule(*, key: Any, shape: Any, dtype: DType) -> tuple[Spec]:
    return _drawn(shape, dtype, _FLOATS)


def _integers_rule(lo: Spec, hi: Spec, *, key: Any, shape: Any, dtype: DType) -> tuple[Spec]:
    for bound, what in ((lo, "minval"), (hi, "maxval")):
        if bound.shape is not None and bound.shape != ():
            raise RuleError(f"{what} has rank {len(bound.shape)}", expected="a scalar for integers")
        if bound.dtype is not dtype:
            raise RuleError(f"{what} has dtype {bound.dtype}", expected=f"dtype {dtype}", kind=DTypeError)
    return _drawn(shape, dtype, _INTEGERS)


def _shuffle_rule(x: Spec, *, key: Any) -> tuple[Spec]:
    return (x,)


def _after_counter(rule: Callable[..., tuple[Spec]]) -> Callable[..., tuple[Spec]]:
    """The rule of the pure operation: that of the stateful one behind the counter."""

    def infer(counter: Spec, *inputs: Spec, **attrs: Any) -> tuple[Spec]:
        if counter.dtype is not dtypes.int64 or counter.shape not in ((), None):
            raise RuleError(f"the counter is {counter.dtype}", expected="an int64 scalar", kind=DTypeError)
        return rule(*inputs, **attrs)

    return infer


def _register(
    name: str,
    node_name: str,
    rule: Callable[..., tuple[Spec]],
    numpy: Callable[..., Any],
    kernel: Kernel | None,
    advance: Callable[[Spec], int],
    value_attrs: tuple[str, ...] = ("shape",),
    input_names: tuple[str, ...] = (),
) -> OpDef:
    """Register the pure operation and the stateful one in whose place the compiler puts it."""
    pure = register(
        OpDef(
            f"philox_{name.removeprefix('random_')}", _after_counter(rule), numpy, kernel, no_gradient,
            value_attrs=value_attrs, advance=advance, input_names=("counter", *input_names),
        )
    )  # fmt: skip
    return register(
        OpDef(
            name, rule, None, None, no_gradient, value_attrs=value_attrs, stateful=True, pure=pure.name,
            node_name=node_name, input_names=input_names,
        )
    )  # fmt: skip


def _blocks(out: Spec) -> int:
    return philox.blocks_used(out.shape, out.dtype)  # type: ignore[arg-type]


def _shuffle_blocks(out: Spec) -> int:
    return philox.blocks_used(out.shape[:1], dtypes.int64) if out.shape else 0  # type: ignore[arg-type]


def _kernel(plan: Any) -> Kernel:
    return Kernel("random", plan, ("random.cl",))


uniform_op = _register(
    "random_uniform", "random_uniform", _floats_rule, philox.philox_uniform,
    _kernel(plans.plan_philox_uniform), _blocks,
)  # fmt: skip
uniform_int_op = _register(
    "random_uniform_int", "random_uniform", _integers_rule, philox.philox_uniform_int,
    _kernel(plans.plan_philox_uniform_int), _blocks, input_names=("minval", "maxval"),
)  # fmt: skip
normal_op = _register(
    "random_normal", "random_normal", _floats_rule, philox.philox_normal,
    _kernel(plans.plan_philox_normal), _blocks,
)  # fmt: skip
truncated_normal_op = _register(
    "truncated_normal", "truncated_normal", _floats_rule, philox.philox_truncated_normal,
    _kernel(plans.plan_philox_truncated_normal), _blocks,
)  # fmt: skip
shuffle_op = _register(
    "random_shuffle", "RandomShuffle", _shuffle_rule, philox.shuffle, None, _shuffle_blocks,
    value_attrs=(), input_names=("value",),
)  # fmt: skip


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Return numbers that are uniform in [minval, maxval), drawn anew in each run.

    Parameters
    ----------
    shape : shape or integer tensor
    minval, maxval : number or tensor
        Scalars for integers; for floating-point numbers they may have any shape that broadcasts to `shape`.
        `maxval` is 1 unless given, and has to be given for integers.
    dtype : dtype
        float16, float32, float64, int32 or int64.
    seed : int, optional
        See `set_random_seed`.
    name : str, optional

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.random_uniform((1000,), 2.0, 3.0, seed=1)
    ...     first, second = sess.run(x), sess.run(x)
    ...     print(first.min() >= 2, first.max() < 3, (first == second).any())
    True True False
    """
    wanted = as_dtype(dtype)
    if maxval is None:
        if wanted.is_integer:
            raise DTypeError(
                message(
                    "random_uniform of integers without maxval",
                    where="random_uniform",
                    site=user_site(),
                    expected="maxval; it is drawn less often than any other number, namely never",
                )
            )
        maxval = 1
    if wanted.is_integer:
        bounds = [convert_to_tensor(v, wanted) for v in (minval, maxval)]
        lowest, limit = (partial_value(t) for t in bounds)
        if isinstance(lowest, int | np.integer) and isinstance(limit, int | np.integer) and lowest >= limit:
            raise ShapeError(
                message(
                    "no number is in the range",
                    where="random_uniform",
                    site=user_site(),
                    got=f"minval={lowest}, maxval={limit}",
                    expected="minval below maxval, which is never drawn",
                )
            )
        return _draw(uniform_int_op, bounds, shape, wanted, seed, name)
    low, high = _number(minval, wanted), _number(maxval, wanted)
    if low is not None and high is not None:
        return _affine(uniform_op, shape, wanted, seed, high - low, low, name)
    lowest, limit = convert_to_tensor(minval, wanted), convert_to_tensor(maxval, wanted)
    return _affine(uniform_op, shape, wanted, seed, subtract(limit, lowest), lowest, name)


def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Return numbers of a normal distribution, drawn anew in each run.

    Parameters
    ----------
    shape : shape or integer tensor
    mean, stddev : number or tensor
        Any shape that broadcasts to `shape`.
    dtype : dtype
        float16, float32 or float64.
    seed : int, optional
        See `set_random_seed`.
    name : str, optional
    """
    return _affine(normal_op, shape, as_dtype(dtype), seed, stddev, mean, name)


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Return numbers of a normal distribution on condition that they lie within two `stddev` of `mean`.

    The parameters are those of `random_normal`.
    """
    return _affine(truncated_normal_op, shape, as_dtype(dtype), seed, stddev, mean, name)


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """Return `value` with its rows (the entries along its first axis) in random order.

    Gradients flow back to the rows that they came from.
    """
    value = convert_to_tensor(value)
    if value._shape == ():
        return identity(value, name)
    graph = value.graph
    with graph.as_default(), graph.name_scope(name or shuffle_op.node_name) as scope:
        # The order alone is shuffled: data stays on its device, and gather's gradient is the right one.
        rows = value._shape[0] if value._shape is not None else None
        order = range_(shape_of(value)[0] if rows is None else rows)
        shuffled = apply(shuffle_op, (order,), {"key": stream_key(seed)})
        return take(value, shuffled, name=scope)


def _draw(
    opdef: OpDef, inputs: list[Tensor], shape: Any, dtype: DType, seed: Any, name: str | None
) -> Tensor:
    graph = inputs[0].graph if inputs else get_default_graph()
    with graph.as_default():
        attrs = {"key": stream_key(seed), "shape": ints(shape, opdef.name, "shape"), "dtype": dtype}
        return apply(opdef, inputs, attrs, name)


def _affine(
    opdef: OpDef, shape: Any, dtype: DType, seed: Any, scale: Any, offset: Any, name: str | None
) -> Tensor:
    """``draw * scale + offset``; steps that are known to change nothing are left out."""
    scales, shifts = not _is_number(scale, 1, dtype), not _is_number(offset, 0, dtype)
    if not scales and not shifts:
        return _draw(opdef, [], shape, dtype, seed, name)
    graph = get_default_graph()
    for value in (scale, offset):
        graph = value.graph if isinstance(value, Tensor) else graph
    with graph.as_default(), graph.name_scope(name or opdef.node_name) as scope:
        drawn = _draw(opdef, [], shape, dtype, seed, None)
        if scales:
            drawn = multiply(drawn, convert_to_tensor(scale, dtype), name=None if shifts else scope)
        if shifts:
            drawn = add(drawn, convert_to_tensor(offset, dtype), name=scope)
        return drawn


def _is_number(value: Any, number: int, dtype: DType) -> bool:
    known = _number(value, dtype)
    return known is not None and known.ndim == 0 and bool(known == number)


def _number(value: Any, dtype: DType) -> np.ndarray | None:
    """The value where it is known while the graph is built, in `dtype`."""
    if isinstance(value, int | float | np.ndarray | np.generic):
        return as_array(value, dtype)
    if isinstance(value, Tensor) and value.dtype is dtype:
        return constant_value(value)
    return None
