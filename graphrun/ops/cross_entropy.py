"""Cross entropies of logits, without the overflow of a softmax or sigmoid in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType
from graphrun.errors import DTypeError, InvalidArgumentError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import Expr, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import sigmoid, softplus
from graphrun.ops.families import binary, require_kind, require_same_dtype
from graphrun.ops.nn import build_shifted, log_softmax, shifted, softmax, softmax_axis
from graphrun.ops.reduce import reduce_sum
from graphrun.ops.reshape import expand_dims
from graphrun.ops.state import stop_gradient
from graphrun.shapes import Shape, format_shape, merge, normalize_axis


def _half(specs: Sequence[Spec]) -> bool:
    return specs[0].dtype is dtypes.float16


def _in_float(build: Any, values: Sequence[Any]) -> list[Any]:
    return [build("cast", [v], {"dtype": dtypes.float32}) for v in values]


def _to_half(build: Any, values: Sequence[Any]) -> list[Any]:
    return [build("cast", [v], {"dtype": dtypes.float16}) for v in values]


# -- labels as distributions --------------------------------------------------------------------


def _xent_rule(logits: Spec, labels: Spec, *, axis: int) -> tuple[Spec, Spec]:
    dtype = require_same_dtype(logits, labels)
    require_kind(logits, "floating", "logits")
    try:
        full = merge(logits.shape, labels.shape)
    except ShapeError:
        raise RuleError(
            f"logits have shape {format_shape(logits.shape)}, labels {format_shape(labels.shape)}",
            expected="one shape: a probability for each logit",
            fix="for labels that are class numbers use gr.nn.sparse_softmax_cross_entropy_with_logits",
        ) from None
    if full is None:
        return Spec(None, dtype), Spec(None, dtype)
    if not full:
        raise RuleError("logits is a scalar", expected="rank 1 or more")
    at = normalize_axis(axis, len(full))
    return Spec(full[:at] + full[at + 1 :], dtype), Spec(full, dtype)


def _xent_numpy(logits: Any, labels: Any, *, axis: int) -> tuple[Any, Any]:
    if logits.dtype == np.float16:
        wide = _xent_numpy(logits.astype(np.float32), labels.astype(np.float32), axis=axis)
        return wide[0].astype(np.float16), wide[1].astype(np.float16)
    z = shifted(logits, axis)
    e = np.exp(z)
    total = np.sum(e, axis=axis, keepdims=True)
    mass = np.sum(labels, axis=axis, keepdims=True)
    # A label of 0 takes no part, also where its logit is -inf.
    terms = np.where(labels == 0, logits.dtype.type(0), labels * (np.log(total) - z))
    return np.sum(terms, axis=axis), e * (mass / total) - labels


def _xent_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    logits, labels = _in_float(build, inputs) if _half(specs) else inputs
    at = normalize_axis(attrs["axis"], len(specs[0].shape or ()))
    z, e, total = build_shifted(build, inputs[0], specs[0], at)
    mass = build("sum", [labels], {"axis": (at,), "keepdims": True})
    terms = build("weighted_distance", [labels, build("log", [total]), z])
    loss = build("sum", [terms], {"axis": (at,), "keepdims": False})
    backprop = build("subtract", [build("multiply", [e, build("divide", [mass, total])]), labels])
    return _to_half(build, [loss, backprop]) if _half(specs) else [loss, backprop]


def _xent_gradient(op: Operation, d_loss: Any, d_backprop: Any) -> tuple[Any, Any]:
    logits, labels = op.inputs
    axis = op.attrs["axis"]
    d_logits = d_labels = None
    if d_loss is not None:
        kept = expand_dims(d_loss, axis)
        d_logits = kept * op.outputs[1]
        d_labels = kept * -log_softmax(logits, axis)
    if d_backprop is not None:  # backprop = sum(labels) * softmax(logits) - labels
        p = softmax(logits, axis)
        along = reduce_sum(d_backprop * p, axis, True)
        more_logits = reduce_sum(labels, axis, True) * (d_backprop - along) * p
        more_labels = along - d_backprop
        d_logits = more_logits if d_logits is None else d_logits + more_logits
        d_labels = more_labels if d_labels is None else d_labels + more_labels
    return d_logits, d_labels


softmax_xent_op = register(
    OpDef(
        "softmax_xent", _xent_rule, _xent_numpy, None, _xent_gradient, expand=_xent_expand,
        node_name="SoftmaxCrossEntropyWithLogits", input_names=("logits", "labels"),
    )
)  # fmt: skip


def _distance_rule(weight: Spec, a: Spec, b: Spec) -> tuple[Spec]:
    dtype = require_same_dtype(weight, a, b)
    return (Spec(weight.shape, dtype),)


# weight * (a - b), and 0 where the weight is 0: a step of what softmax_xent becomes on OpenCL.
weighted_distance_op = register(
    OpDef(
        "weighted_distance", _distance_rule,
        lambda w, a, b: np.where(w == 0, w.dtype.type(0), w * (a - b)),
        Expr("gr_where(gr_eq(a, ({T})0), ({T})0, a * (b - c))", flops=2), node_name="WeightedDistance",
        input_names=("weight", "a", "b"),
    )
)  # fmt: skip


def _two(labels: Any, logits: Any, sentinel: Any, what: str) -> list[Tensor]:
    if sentinel is not None or labels is None or logits is None:
        raise ValueError(
            message(
                f"{what} takes its arguments by name",
                site=user_site(),
                expected="labels=..., logits=...",
                fix="their order has changed in TensorFlow's history, so that no order is safe",
            )
        )
    if what.startswith("softmax"):
        labels = _distribution(labels, logits, what)
    logits_t, labels_t = convert_operands((logits, labels))
    return [logits_t, labels_t]


def _distribution(labels: Any, logits: Any, what: str) -> Any:
    """Cast labels to the dtype of the logits, as TensorFlow does.

    Class numbers, where each class should have its probability, are refused: the usual slip.
    """
    if not isinstance(labels, Tensor):
        labels = convert_to_tensor(labels) if hasattr(labels, "_as_graph_element") else labels
    if not isinstance(labels, Tensor):
        return labels
    x, kind = convert_to_tensor(logits), labels.dtype
    if not kind.is_integer:
        return labels if kind is x.dtype or kind.is_complex else cast(labels, x.dtype)
    mine, theirs = labels._shape, x._shape
    if mine is None or theirs is None or (len(mine) == len(theirs) and mine[-1:] != (1,)):
        return cast(labels, x.dtype)
    raise DTypeError(
        message(
            f"labels have dtype {kind}, logits {x.dtype}", where=what, site=user_site(),
            got=f"labels: {format_shape(labels._shape)}   logits: {format_shape(x._shape)}",
            expected=f"labels of dtype {x.dtype}: a probability for each class",
            fix="for class numbers use gr.nn.sparse_softmax_cross_entropy_with_logits",
        )
    )  # fmt: skip


def softmax_cross_entropy_with_logits_v2(
    labels: Any = None, logits: Any = None, axis: Any = None, name: str | None = None, dim: Any = None
) -> Tensor:
    """Return ``-sum(labels * log(softmax(logits)))`` along `axis`, the last one by default.

    Parameters
    ----------
    labels, logits : tensors of one shape and floating dtype
        Each row of `labels` is a probability distribution.  Where it sums to another number the gradient
        is still that of the value returned (TensorFlow's is not).

    Returns
    -------
    Tensor
        Of the shape of `logits` without `axis`.  Gradients flow to both.
    """
    operands = _two(labels, logits, None, "softmax_cross_entropy_with_logits_v2")
    attrs = {"axis": softmax_axis(axis, dim, "softmax_cross_entropy_with_logits_v2")}
    return apply(softmax_xent_op, operands, attrs, name)[0]


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: int = -1,
    name: str | None = None,
    axis: Any = None,
) -> Tensor:
    """`softmax_cross_entropy_with_logits_v2` without a gradient to `labels`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     loss = gr.nn.softmax_cross_entropy_with_logits(labels=[[0.0, 1.0]], logits=[[1000.0, 0.0]])
    ...     print(sess.run(loss))
    [1000.]
    """
    what = "softmax_cross_entropy_with_logits"
    logits_t, labels_t = _two(labels, logits, _sentinel, what)
    attrs = {"axis": softmax_axis(axis, dim, what)}
    return apply(softmax_xent_op, (logits_t, stop_gradient(labels_t)), attrs, name)[0]


# -- labels as class numbers --------------------------------------------------------------------


def _rows_of(logits: Spec, labels: Spec) -> Shape:
    if not labels.dtype.is_integer:
        raise RuleError(
            f"labels have dtype {labels.dtype}",
            expected="integer class numbers",
            fix="for a probability of each class use gr.nn.softmax_cross_entropy_with_logits",
            kind=DTypeError,
        )
    if logits.shape is None:
        return labels.shape
    if not logits.shape:
        raise RuleError("logits is a scalar", expected="rank 1 or more")
    try:
        return merge(logits.shape[:-1], labels.shape)
    except ShapeError:
        raise RuleError(
            f"logits have shape {format_shape(logits.shape)}, labels {format_shape(labels.shape)}",
            expected=f"labels of shape {format_shape(logits.shape[:-1])}: one class number a row",
            fix="gr.squeeze removes a last dimension of 1; for one-hot labels use"
            " gr.nn.softmax_cross_entropy_with_logits",
        ) from None


def _sparse_rule(logits: Spec, labels: Spec) -> tuple[Spec, Spec]:
    require_kind(logits, "floating", "logits")
    rows = _rows_of(logits, labels)
    full = None if logits.shape is None or rows is None else (*rows, logits.shape[-1])
    return Spec(rows, logits.dtype), Spec(full, logits.dtype)


def _check_classes(labels: Any, classes: int) -> None:
    wrong = (labels < 0) | (labels >= classes)
    if np.any(wrong):
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f"labels[{', '.join(map(str, at))}]" if at else "labels"
        raise RuleError(
            f"{where} is {labels[at]}, which is none of the {classes} classes",
            expected=f"0 <= label < {classes}, the last dimension of logits",
            kind=InvalidArgumentError,
        )


def _sparse_numpy(logits: Any, labels: Any) -> tuple[Any, Any]:
    labels = np.asarray(labels)
    _check_classes(labels, logits.shape[-1])
    if logits.dtype == np.float16:
        wide = _sparse_numpy(logits.astype(np.float32), labels)
        return wide[0].astype(np.float16), wide[1].astype(np.float16)
    z = np.asarray(shifted(logits, -1))
    e = np.exp(z)
    total = np.sum(e, axis=-1, keepdims=True)
    place = labels[..., None].astype(np.int64)
    loss = np.log(total[..., 0]) - np.take_along_axis(z, place, axis=-1)[..., 0]
    own = (place == np.arange(logits.shape[-1])).astype(e.dtype)
    return loss, e / total - own


def _sparse_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    """In terms of elementwise operations and sums along rows, so that all of it is one pass over the rows."""
    logits, labels = inputs
    shape, kind = specs[0].dims, specs[1].dtype
    rows, classes = shape[:-1], shape[-1]

    def constant(value: Any, dtype: DType) -> Any:
        return build("const", [], {"value": Constant(np.asarray(value, dtype.numpy)), "dtype": dtype})

    z, e, total = build_shifted(build, logits, specs[0], len(shape) - 1)
    dtype = dtypes.float32 if _half(specs) else specs[0].dtype
    label = build("reshape", [labels], {"shape": (*rows, 1)})
    if classes - 1 > np.iinfo(kind.numpy).max:  # a narrow type cannot name all of the classes
        label, kind = build("cast", [label], {"dtype": dtypes.int32}), dtypes.int32
    own = build("equal", [label, constant(np.arange(classes), kind)])
    hits = build("any", [own], {"axis": (len(shape) - 1,), "keepdims": True})
    # A label that is no class gives NaN.
    gate = build("select", [hits, constant(0, dtype), constant(np.nan, dtype)])
    over = {"axis": (len(shape) - 1,), "keepdims": True}
    taken = build("sum", [build("select", [own, z, constant(0, dtype)])], over)
    kept = build("add", [build("subtract", [build("log", [total]), taken]), gate])
    loss = build("reshape", [kept], {"shape": rows})
    p = build(
        "subtract",
        [build("multiply", [e, build("reciprocal", [total])]), build("cast", [own], {"dtype": dtype})],
    )
    backprop = build("add", [p, gate])
    return _to_half(build, [loss, backprop]) if _half(specs) else [loss, backprop]


def _sparse_gradient(op: Operation, d_loss: Any, d_backprop: Any) -> tuple[Any, None]:
    d_logits = None if d_loss is None else expand_dims(d_loss, -1) * op.outputs[1]
    if d_backprop is not None:  # backprop = softmax(logits) - one_hot(labels)
        p = softmax(op.inputs[0])
        more = (d_backprop - reduce_sum(d_backprop * p, -1, True)) * p
        d_logits = more if d_logits is None else d_logits + more
    return d_logits, None


sparse_softmax_xent_op = register(
    OpDef(
        "sparse_softmax_xent", _sparse_rule, _sparse_numpy, None, _sparse_gradient, expand=_sparse_expand,
        node_name="SparseSoftmaxCrossEntropyWithLogits", input_names=("logits", "labels"),
    )
)  # fmt: skip


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """Return ``-log(softmax(logits)[label])`` of each row.

    Parameters
    ----------
    labels : integer tensor
        Class numbers, of the shape of `logits` without its last dimension.
    logits : floating tensor
        The last dimension is that of the classes.

    Returns
    -------
    Tensor
        Of the shape of `labels`.

    Notes
    -----
    A label that is no class is an error on the host.  On OpenCL, where nothing can be raised, its loss and
    its row of the gradient are NaN, as TensorFlow's are on a GPU.
    """
    if _sentinel is not None or labels is None or logits is None:
        _two(labels, logits, _sentinel, "sparse_softmax_cross_entropy_with_logits")
    x = convert_to_tensor(logits)
    with x.graph.name_scope(name or sparse_softmax_xent_op.node_name):
        inputs = x, convert_to_tensor(labels, graph=x.graph)
        loss: Tensor = apply(sparse_softmax_xent_op, inputs)[0]
    return loss


# -- independent classes ------------------------------------------------------------------------


def _sigmoid_xent_numpy(x: Any, z: Any) -> Any:
    if x.dtype == np.float16:
        return _sigmoid_xent_numpy(x.astype(np.float32), z.astype(np.float32)).astype(np.float16)
    return np.maximum(x, 0) - x * z + np.log1p(np.exp(-np.abs(x)))


def _sigmoid_xent_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    x, z = op.inputs
    return dy * (sigmoid(x) - z), -dy * x


_sigmoid_xent = binary(
    "sigmoid_xent", numpy=_sigmoid_xent_numpy,
    opencl=Expr("gr_max(a, 0) - a * b + gr_log1p(gr_exp(-gr_abs(a)))", flops=40),
    gradient=_sigmoid_xent_gradient, kind="floating", node_name="logistic_loss",
)  # fmt: skip


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """Return ``-z * log(sigmoid(x)) - (1 - z) * log(1 - sigmoid(x))`` for logits x and labels z, elementwise.

    Parameters
    ----------
    labels, logits : tensors of one shape and floating dtype
    """
    logits_t, labels_t = _two(labels, logits, _sentinel, "sigmoid_cross_entropy_with_logits")
    _require_one_shape(logits_t, labels_t, "sigmoid_cross_entropy_with_logits")
    return _sigmoid_xent(logits_t, labels_t, name)


def weighted_cross_entropy_with_logits(
    labels: Any = None,
    logits: Any = None,
    pos_weight: Any = None,
    name: str | None = None,
    targets: Any = None,
) -> Tensor:
    """`sigmoid_cross_entropy_with_logits` with the positive term multiplied by `pos_weight`."""
    labels = targets if labels is None else labels
    x, z = _two(labels, logits, None, "weighted_cross_entropy_with_logits")
    _require_one_shape(x, z, "weighted_cross_entropy_with_logits")
    with x.graph.name_scope(name or "logistic_loss"):
        return (1 - z) * x + (1 + (pos_weight - 1) * z) * softplus(-x)


def _require_one_shape(logits: Tensor, labels: Tensor, where: str) -> None:
    try:
        merge(logits._shape, labels._shape)
    except ShapeError:
        raise ShapeError(
            message(
                "logits and labels differ in shape",
                where=where,
                site=user_site(),
                got=f"logits: {format_shape(logits._shape)}   labels: {format_shape(labels._shape)}",
                expected="one shape: a label for each logit",
            )
        ) from None
