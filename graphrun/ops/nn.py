"""Activations, softmax, biases and dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import GraphError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, constant_value, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import Expr, Reduce, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import is_tensor, static_int
from graphrun.ops.compare import greater, greater_equal, select
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import abs as abs_
from graphrun.ops.elementwise import exp, negative, sigmoid, square
from graphrun.ops.families import binary, require_kind, require_same_dtype, unary
from graphrun.ops.fill import shape
from graphrun.ops.joining import concat
from graphrun.ops.reduce import reduce_mean, reduce_sum
from graphrun.ops.reshape import reshape
from graphrun.shapes import Dim, format_shape, normalize_axis

# -- activations --------------------------------------------------------------------------------


def _named(function: Any, name: str, doc: str) -> Any:
    """TensorFlow calls the argument of activations ``features``."""

    def activation(features: Any, name: str | None = None) -> Tensor:
        return function(features, name)

    activation.__name__ = activation.__qualname__ = name
    activation.__doc__ = doc
    return activation


def _gate(name: str, numpy: Callable[..., Any], opencl: str, node_name: str) -> Callable[..., Tensor]:
    """An operation of a gradient and a result that passes the one where the other allows it."""
    opened: list[Any] = []
    function = binary(
        name, numpy=numpy, opencl=Expr(opencl), gradient=lambda op, d: (opened[0](d, op.inputs[1]), None),
        node_name=node_name,
    )  # fmt: skip
    opened.append(function)
    return function


_relu_gate = _gate(
    "relu_gradient",
    lambda dy, y: np.where(y > 0, dy, dy.dtype.type(0)),
    "gr_where(gr_gt(b, ({T})0), a, ({T})0)",
    "ReluGrad",
)
_relu6_gate = _gate(
    "relu6_gradient", lambda dy, y: np.where((y > 0) & (y < 6), dy, dy.dtype.type(0)),
    "gr_where(gr_gt(b, ({T})0) & gr_lt(b, ({T})6), a, ({T})0)", "Relu6Grad",
)  # fmt: skip

relu = _named(
    unary(
        "relu", numpy=lambda x: np.maximum(x, x.dtype.type(0)), opencl=Expr("gr_max(a, ({T})0)"),
        kind="numeric", gradient=lambda op, dy: _relu_gate(dy, op.outputs[0]), onnx="Relu", node_name="Relu",
    ),
    "relu",
    "``max(x, 0)``, elementwise.",
)  # fmt: skip
relu6 = _named(
    unary(
        "relu6", numpy=lambda x: np.minimum(np.maximum(x, x.dtype.type(0)), x.dtype.type(6)),
        opencl=Expr("gr_clip(a, ({T})0, ({T})6)"), kind="numeric",
        gradient=lambda op, dy: _relu6_gate(dy, op.outputs[0]), node_name="Relu6",
    ),
    "relu6",
    "``min(max(x, 0), 6)``, elementwise.",
)  # fmt: skip


def _elu_gradient(op: Operation, dy: Tensor) -> Tensor:
    y = op.outputs[0]
    return select(greater(y, 0), dy, dy * (y + 1))


elu = _named(
    unary(
        "elu", numpy=lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        opencl=Expr("gr_where(gr_gt(a, ({T})0), a, gr_expm1(a))", flops=20), gradient=_elu_gradient,
        onnx="Elu", node_name="Elu",
    ),
    "elu",
    "``x`` where it is positive, else ``exp(x) - 1``, elementwise.",
)  # fmt: skip

# Constants under which activations keep mean 0 and variance 1 (Klambauer et al., Self-Normalizing Neural
# Networks, 2017).
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946
_SELU_CODE = (
    f"({{T}}){SELU_SCALE.hex()} * gr_where(gr_gt(a, ({{T}})0), a, ({{T}}){SELU_ALPHA.hex()} * gr_expm1(a))"
)


def _selu_numpy(x: Any) -> Any:
    t = x.dtype.type
    return t(SELU_SCALE) * np.where(x > 0, x, t(SELU_ALPHA) * np.expm1(np.minimum(x, t(0))))


def _selu_gradient(op: Operation, dy: Tensor) -> Tensor:
    y = op.outputs[0]
    return dy * select(greater(y, 0), SELU_SCALE, y + SELU_SCALE * SELU_ALPHA)


selu = _named(
    unary(
        "selu", numpy=_selu_numpy,
        opencl=Expr(_SELU_CODE, flops=22),
        gradient=_selu_gradient, onnx="Selu", node_name="Selu",
    ),
    "selu",
    "The scaled exponential linear unit, elementwise.",
)  # fmt: skip

softsign = _named(
    unary(
        "softsign", numpy=lambda x: x / (1 + np.abs(x)), opencl=Expr("a / (({T})1 + gr_abs(a))", flops=3),
        gradient=lambda op, dy: dy / square(1 + abs_(op.inputs[0])), onnx="Softsign", node_name="Softsign",
    ),
    "softsign",
    "``x / (1 + abs(x))``, elementwise.",
)  # fmt: skip


def _leaky_relu_gradient(op: Operation, dy: Tensor) -> Tensor:
    return select(greater(op.inputs[0], 0), dy, op.attrs["alpha"] * dy)


def _floating_rule(x: Spec, **attrs: Any) -> tuple[Spec]:
    require_kind(x, "floating")
    return (x,)


leaky_relu_op = register(
    OpDef(
        "leaky_relu", _floating_rule, lambda x, *, alpha: np.where(x > 0, x, x.dtype.type(alpha) * x),
        Expr("gr_where(gr_gt(a, ({T})0), a, {alpha} * a)"), _leaky_relu_gradient, node_name="LeakyRelu",
        onnx="LeakyRelu", input_names=("features",),
    )
)  # fmt: skip


def leaky_relu(features: Any, alpha: Any = 0.2, name: str | None = None) -> Tensor:
    """``x`` where it is positive, else ``alpha * x``, elementwise."""
    x = convert_to_tensor(features)
    if is_tensor(alpha):
        return select(greater(x, 0), x, alpha * x, name)
    if x.dtype.is_integer:
        x = cast(x, dtypes.float32)
    return apply(leaky_relu_op, (x,), {"alpha": float(alpha)}, name)


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Tensor:
    """`relu` of `features` and of ``-features``, joined along `axis`."""
    x = convert_to_tensor(features)
    with x.graph.name_scope(name or "CRelu"):
        return relu(concat([x, negative(x)], axis))


def swish(features: Any, name: str | None = None) -> Tensor:
    """``x * sigmoid(x)``, elementwise."""
    x = convert_to_tensor(features)
    with x.graph.name_scope(name or "swish"):
        return x * sigmoid(x)


# -- softmax ------------------------------------------------------------------------------------


def _softmax_rule(x: Spec, *, axis: int) -> tuple[Spec]:
    require_kind(x, "floating", "logits")
    if x.shape is not None:
        if not x.shape:
            raise RuleError("logits is a scalar", expected="rank 1 or more")
        normalize_axis(axis, len(x.shape))
    return (x,)


def shifted(x: Any, axis: int) -> Any:
    """`x` less its largest element along `axis`, so that exp cannot overflow."""
    return x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)


def _softmax_numpy(x: Any, *, axis: int) -> Any:
    if x.dtype == np.float16:
        return _softmax_numpy(x.astype(np.float32), axis=axis).astype(np.float16)
    e = np.asarray(shifted(x, axis))
    np.exp(e, out=e)
    e /= np.sum(e, axis=axis, keepdims=True)
    return e


def _log_softmax_numpy(x: Any, *, axis: int) -> Any:
    if x.dtype == np.float16:
        return _log_softmax_numpy(x.astype(np.float32), axis=axis).astype(np.float16)
    z = shifted(x, axis)
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))


def build_shifted(build: Any, x: Any, spec: Spec, axis: int) -> tuple[Any, Any, Any]:
    """The values of ``z = x - max``, ``exp(z)`` and its sum along `axis`; float16 is computed in float32."""
    if spec.dtype is dtypes.float16:
        x = build("cast", [x], {"dtype": dtypes.float32})
    over = {"axis": (normalize_axis(axis, len(spec.shape or ())),), "keepdims": True}
    z = build("subtract", [x, build("max", [x], over)])
    e = build("exp", [z])
    return z, e, build("sum", [e], over)


def _softmax_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    _, e, total = build_shifted(build, inputs[0], specs[0], attrs["axis"])
    # One division a row: the total is at least 1, so that its reciprocal neither overflows nor vanishes.
    y = build("multiply", [e, build("reciprocal", [total])])
    return build("cast", [y], {"dtype": dtypes.float16}) if specs[0].dtype is dtypes.float16 else y


def _log_softmax_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    z, _, total = build_shifted(build, inputs[0], specs[0], attrs["axis"])
    y = build("subtract", [z, build("log", [total])])
    return build("cast", [y], {"dtype": dtypes.float16}) if specs[0].dtype is dtypes.float16 else y


def _softmax_gradient(op: Operation, dy: Tensor) -> Tensor:
    y = op.outputs[0]
    return (dy - reduce_sum(dy * y, op.attrs["axis"], True)) * y


def _log_softmax_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy - exp(op.outputs[0]) * reduce_sum(dy, op.attrs["axis"], True)


softmax_op, log_softmax_op = (
    register(
        OpDef(
            name, _softmax_rule, numpy, None, gradient, expand=expand, node_name=node_name, onnx=node_name,
            input_names=("logits",),
        )
    )
    for name, numpy, gradient, expand, node_name in (
        ("softmax", _softmax_numpy, _softmax_gradient, _softmax_expand, "Softmax"),
        ("log_softmax", _log_softmax_numpy, _log_softmax_gradient, _log_softmax_expand, "LogSoftmax"),
    )
)  # fmt: skip


def softmax_axis(axis: Any, dim: Any, where: str) -> int:
    """The axis out of TensorFlow's two names for it; the last one by default."""
    axis = dim if axis is None else axis
    return -1 if axis is None else static_int(axis, where, "axis")


def softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along `axis`, the last one by default, without overflow.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.nn.softmax([[1000.0, 1000.0], [0.0, -1000.0]])))
    [[0.5 0.5]
     [1.  0. ]]
    """
    attrs = {"axis": softmax_axis(axis, dim, "softmax")}
    return apply(softmax_op, (convert_to_tensor(logits),), attrs, name)


def log_softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """The logarithm of `softmax`, exact where softmax itself is 0."""
    attrs = {"axis": softmax_axis(axis, dim, "log_softmax")}
    return apply(log_softmax_op, (convert_to_tensor(logits),), attrs, name)


# -- bias ---------------------------------------------------------------------------------------


def _channels_first(data_format: str) -> bool:
    return data_format.startswith("NC")


def _bias_add_rule(value: Spec, bias: Spec, *, data_format: str) -> tuple[Spec]:
    dtype = require_same_dtype(value, bias)
    require_kind(value, "numeric", "value")
    if bias.shape is not None and len(bias.shape) != 1:
        raise RuleError(f"bias has rank {len(bias.shape)}", expected="a vector: one number a channel")
    if value.shape is None:
        return (value,)
    if len(value.shape) < 2:
        raise RuleError(f"value has rank {len(value.shape)}", expected="rank 2 or more")
    at = 1 if _channels_first(data_format) else len(value.shape) - 1
    channels = value.shape[at]
    n = bias.shape[0] if bias.shape is not None else None
    if channels is not None and n is not None and channels != n:
        raise RuleError(
            f"bias has {n} elements for {channels} channels of a value of shape {format_shape(value.shape)}",
            expected=f"bias.shape == ({channels},)",
            fix=f"channels are in axis {at} for data_format={data_format!r}",
        )
    known: Dim = channels if channels is not None else n
    return (Spec((*value.shape[:at], known, *value.shape[at + 1 :]), dtype),)


def _bias_shape(rank: int, data_format: str) -> tuple[int, ...]:
    return (-1,) + (1,) * (rank - 2) if _channels_first(data_format) else (-1,)


def _bias_add_numpy(value: Any, bias: Any, *, data_format: str) -> Any:
    return value + bias.reshape(_bias_shape(value.ndim, data_format))


def _bias_add_opencl(specs: Sequence[Spec], attrs: Mapping[str, Any]) -> Expr | None:
    return None if _channels_first(attrs["data_format"]) and len(specs[0].shape or ()) > 2 else Expr("a + b")


def _bias_add_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    if not _channels_first(attrs["data_format"]):
        return None
    channels = (specs[1].shape or (0,))[0]
    kept = (channels,) + (1,) * (len(specs[0].shape or ()) - 2)
    return build("add", [inputs[0], build("reshape", [inputs[1]], {"shape": kept})])


def _bias_add_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    value, bias = op.inputs
    channels = bias._shape[0] if bias._shape is not None else None
    size = shape(bias)[0] if channels is None else channels
    if not _channels_first(op.attrs["data_format"]):
        if value._shape is not None and len(value._shape) == 2:
            return dy, reduce_sum(dy, 0)
        return dy, reduce_sum(reshape(dy, [-1, size]), 0)
    return dy, reduce_sum(reshape(dy, [shape(dy)[0], size, -1]), (0, 2))


bias_add_op = register(
    OpDef(
        "bias_add", _bias_add_rule, _bias_add_numpy, _bias_add_opencl, _bias_add_gradient,
        expand=_bias_add_expand, node_name="BiasAdd", input_names=("value", "bias"),
    )
)  # fmt: skip
_FORMATS = ("NHWC", "NCHW", "NWC", "NCW", "NDHWC", "NCDHW", "N...C", "NC...")


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """Add a vector to every pixel or row.

    Parameters
    ----------
    value : tensor
        Of rank 2 or more.
    bias : tensor
        One number a channel.
    data_format : str, optional
        ``"NHWC"`` (the default) where channels are the last axis, ``"NCHW"`` where they are axis 1.
    """
    data_format = data_format or "NHWC"
    if data_format not in _FORMATS:
        raise ShapeError(
            message(
                f"data_format={data_format!r}",
                where="bias_add",
                site=user_site(),
                expected='"NHWC" or "NCHW"',
            )
        )
    return apply(bias_add_op, convert_operands((value, bias)), {"data_format": data_format}, name)


# -- norms --------------------------------------------------------------------------------------


def _l2_loss_rule(x: Spec) -> tuple[Spec]:
    require_kind(x, "floating", "t")
    return (Spec((), x.dtype),)


def _l2_loss_numpy(x: Any) -> Any:
    flat = np.asarray(x).reshape(-1)
    flat = flat.astype(np.float32) if flat.dtype == np.float16 else flat
    return np.asarray(np.sum(np.square(flat)) * flat.dtype.type(0.5)).astype(x.dtype)


l2_loss_op = register(
    OpDef(
        "l2_loss", _l2_loss_rule, _l2_loss_numpy, Reduce("0", map="a * a", finish="x * ({T})0.5"),
        lambda op, dy: dy * op.inputs[0], node_name="L2Loss", input_names=("t",),
    )
)  # fmt: skip


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """``sum(t ** 2) / 2``, over all elements."""
    return apply(l2_loss_op, (convert_to_tensor(t),), None, name)


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of elements that are 0."""
    from graphrun.ops.compare import equal

    x = convert_to_tensor(value)
    with x.graph.name_scope(name or "zero_fraction"):
        return reduce_mean(cast(equal(x, 0), dtypes.float32), name="fraction")


# -- dropout ------------------------------------------------------------------------------------


def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
    rate: Any = None,
) -> Tensor:
    """Set elements to 0 at random, and scale the others so that the expected sum stays.

    Parameters
    ----------
    x : floating tensor
    keep_prob : float or scalar tensor
        The probability of keeping an element; the older way to say ``rate = 1 - keep_prob``.
    noise_shape : shape, optional
        A shape that broadcasts to that of `x`: elements along a dimension of 1 are kept or set together.
    seed : int, optional
    rate : float or scalar tensor
        The probability of setting an element to 0.
    """
    from graphrun.ops.random import random_uniform

    t = convert_to_tensor(x)
    given = keep_prob if rate is None else rate
    known = constant_value(convert_to_tensor(given)) if is_tensor(given) else given
    if known is not None and float(known) == (1.0 if rate is None else 0.0):
        return t
    with t.graph.name_scope(name or "dropout"):
        drop = _dropout_rate(keep_prob, rate)
        draw = dtypes.float32 if t.dtype is dtypes.float16 else t.dtype
        rate_t = cast(convert_to_tensor(drop, None if is_tensor(drop) else draw, graph=t.graph), draw)
        noise = random_uniform(_noise_shape(t, noise_shape), dtype=draw, seed=seed)
        # One tensor of 0 and 1 / (1 - rate) is all that the gradient needs.
        kept = cast(greater_equal(noise, rate_t), draw) / (1 - rate_t)
        return t * cast(kept, t.dtype)


def _dropout_rate(keep_prob: Any, rate: Any) -> Any:
    if (keep_prob is None) == (rate is None):
        raise GraphError(
            message(
                "dropout takes either rate or keep_prob",
                site=user_site(),
                expected="one of both, as rate=0.5",
            )
        )
    value = keep_prob if rate is None else rate
    if not is_tensor(value):
        number = float(value)
        low_open = rate is None
        if not (0 < number <= 1 if low_open else 0 <= number < 1):
            raise GraphError(
                message(
                    f"{'keep_prob' if low_open else 'rate'}={number}",
                    where="dropout",
                    site=user_site(),
                    expected="0 < keep_prob <= 1" if low_open else "0 <= rate < 1",
                )
            )
        return 1 - number if low_open else number
    value = convert_to_tensor(value)
    if value._shape is None:  # a placeholder without a shape; the result keeps the shape of x all the same
        value = reshape(value, [])
    return 1 - value if rate is None else value


def _noise_shape(x: Tensor, noise_shape: Any) -> Any:
    """None in a given shape stands for the dimension of `x`."""
    if noise_shape is None:
        known = x._shape
        return known if known is not None and None not in known else shape(x)
    if is_tensor(noise_shape):
        return noise_shape
    items = noise_shape.as_list() if hasattr(noise_shape, "as_list") else list(noise_shape)
    return [shape(x)[i] if d is None else d for i, d in enumerate(items)]


# -- layers in one line -------------------------------------------------------------------------


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """``matmul(x, weights) + biases``."""
    from graphrun.ops.linalg import matmul

    x = convert_to_tensor(x)
    with x.graph.name_scope(name or "xw_plus_b") as scope:
        return bias_add(matmul(x, weights), biases, name=scope)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """``relu(matmul(x, weights) + biases)``."""
    from graphrun.ops.linalg import matmul

    x = convert_to_tensor(x)
    with x.graph.name_scope(name or "relu_layer") as scope:
        return relu(bias_add(matmul(x, weights), biases), scope)


# -- the rest of the family, in files of their own ------------------------------------------------------

from graphrun.ops import clip, cross_entropy, normalization  # noqa: E402, F401
