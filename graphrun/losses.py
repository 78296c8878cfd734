"""Losses with weights and reductions, collected in ``GraphKeys.LOSSES``.

>>> import graphrun as gr
>>> with gr.Graph().as_default(), gr.Session() as sess:
...     loss = gr.losses.mean_squared_error([1.0, 2.0], [1.0, 4.0])
...     print(sess.run([loss, gr.losses.get_total_loss()]))
[np.float32(2.0), np.float32(2.0)]
"""

from __future__ import annotations

from typing import Any

from graphrun import nn
from graphrun.dtypes import as_dtype, float32
from graphrun.errors import ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.graph import GraphKeys
from graphrun.graph.node import Tensor
from graphrun.graph.scopes import name_scope
from graphrun.graph.site import user_site
from graphrun.ops import math
from graphrun.ops.array import expand_dims, ones_like, shape, size, squeeze
from graphrun.ops.compare import where
from graphrun.ops.convert import cast
from graphrun.ops.math import add_n
from graphrun.ops.reduce import reduce_sum
from graphrun.ops.state import stop_gradient
from graphrun.shapes import format_shape, is_compatible


class Reduction:
    """How the losses of elements become one."""

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        return (cls.NONE, cls.SUM, cls.MEAN, cls.SUM_OVER_BATCH_SIZE, cls.SUM_BY_NONZERO_WEIGHTS)

    @classmethod
    def validate(cls, key: str) -> None:
        if key not in cls.all():
            raise ShapeError(message(f"reduction {key!r}", site=user_site(), expected=", ".join(cls.all())))


def compute_weighted_loss(
    losses: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Return the losses of elements, times their weights, as one loss.

    Parameters
    ----------
    losses : tensor
    weights : number or tensor
        A scalar, or of the rank of `losses` with 1 or the same size in each axis; a missing last axis is
        added.
    scope : str, optional
    loss_collection : str, optional
        None puts the loss into no collection.
    reduction : str
        Of `Reduction`; by default the sum over the number of elements whose weight is not 0.
    """
    Reduction.validate(reduction)
    with name_scope(scope, "weighted_loss"):
        values = convert_to_tensor(losses)
        dtype = values.dtype
        values = cast(values, float32)
        factor = cast(convert_to_tensor(weights), float32)
        factor = _fitting(values, factor)
        weighted = values * factor
        if reduction == Reduction.NONE:
            loss = weighted
        else:
            loss = reduce_sum(weighted)
            if reduction == Reduction.MEAN:
                loss = math.div_no_nan(loss, reduce_sum(ones_like(values) * factor), name="value")
            elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
                present = where(math.equal(factor, 0.0), factor * 0.0, ones_like(factor))
                loss = math.div_no_nan(loss, reduce_sum(ones_like(values) * present), name="value")
            elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
                loss = math.div_no_nan(loss, cast(size(values), float32), name="value")
        loss = cast(loss, dtype)
    add_loss(loss, loss_collection)
    return loss


def _fitting(values: Tensor, weights: Tensor) -> Tensor:
    """Weights that broadcast to `values`, or an error."""
    v, w = values._shape, weights._shape
    if v is None or w is None or len(w) == 0:
        return weights
    if len(w) == len(v) - 1:
        weights = expand_dims(weights, -1)
    elif len(w) == len(v) + 1 and w[-1] == 1:
        weights = squeeze(weights, [-1])
    w = weights._shape
    assert w is not None
    if len(w) != len(v) or any(b != 1 and not is_compatible((a,), (b,)) for a, b in zip(v, w, strict=True)):
        raise ShapeError(
            message(
                "the weights do not fit the losses", where="losses", site=user_site(),
                got=f"weights {format_shape(w)}, losses {format_shape(v)}",
                expected="a scalar, or the losses' rank with 1 or the same size in each axis",
            )
        )  # fmt: skip
    return weights


def add_loss(loss: Tensor, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Add a loss to a collection, from which `get_total_loss` takes it."""
    if loss_collection:
        get_default_graph().add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Tensor]:
    """The losses that have been collected."""
    return get_default_graph().get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Tensor]:
    """The losses of regularizers."""
    return get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> Tensor:
    """The sum of the losses of regularizers."""
    losses = get_regularization_losses(scope)
    return add_n(losses, name) if losses else convert_to_tensor(0.0)


def get_total_loss(
    add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
) -> Tensor:
    """The sum of all collected losses."""
    losses = get_losses(scope)
    if add_regularization_losses:
        losses = losses + get_regularization_losses(scope)
    if not losses:
        raise ShapeError(
            message("there are no losses", where="get_total_loss", site=user_site(), fix="make one first")
        )
    return add_n(losses, name)


def _pair(labels: Any, predictions: Any, where_: str) -> tuple[Tensor, Tensor]:
    given = convert_to_tensor(predictions)
    predicted = cast(given, float32) if not given.dtype.is_floating else given
    true = cast(convert_to_tensor(labels), predicted.dtype)
    if not is_compatible(true._shape, predicted._shape):
        raise ShapeError(
            message(
                "labels and predictions have different shapes", where=where_, site=user_site(),
                got=f"labels {format_shape(true._shape)}, predictions {format_shape(predicted._shape)}",
                expected="one shape",
            )
        )  # fmt: skip
    return true, predicted


def absolute_difference(
    labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """The mean absolute difference; weights and reduction as `compute_weighted_loss`."""
    with name_scope(scope, "absolute_difference") as s:
        true, predicted = _pair(labels, predictions, "absolute_difference")
        return compute_weighted_loss(math.abs(predicted - true), weights, s, loss_collection, reduction)


def mean_squared_error(
    labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """The mean of the squared differences; weights and reduction as `compute_weighted_loss`."""
    with name_scope(scope, "mean_squared_error") as s:
        true, predicted = _pair(labels, predictions, "mean_squared_error")
        squares = math.squared_difference(predicted, true)
        return compute_weighted_loss(squares, weights, s, loss_collection, reduction)


def log_loss(
    labels: Any, predictions: Any, weights: Any = 1.0, epsilon: float = 1e-7, scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Cross entropy of probabilities: ``-y log(p + epsilon) - (1 - y) log(1 - p + epsilon)``."""
    with name_scope(scope, "log_loss") as s:
        true, p = _pair(labels, predictions, "log_loss")
        losses = -(true * math.log(p + epsilon)) - (1 - true) * math.log(1 - p + epsilon)
        return compute_weighted_loss(losses, weights, s, loss_collection, reduction)


def huber_loss(
    labels: Any, predictions: Any, weights: Any = 1.0, delta: float = 1.0, scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Half the square of differences up to `delta`, linear beyond."""
    with name_scope(scope, "huber_loss") as s:
        true, predicted = _pair(labels, predictions, "huber_loss")
        off = math.abs(predicted - true)
        near = math.minimum(off, delta)
        losses = 0.5 * near * near + delta * (off - near)
        return compute_weighted_loss(losses, weights, s, loss_collection, reduction)


def hinge_loss(
    labels: Any, logits: Any, weights: Any = 1.0, scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """``max(0, 1 - (2 y - 1) logits)`` for labels y of 0 and 1."""
    with name_scope(scope, "hinge_loss") as s:
        true, predicted = _pair(labels, logits, "hinge_loss")
        losses = nn.relu(1 - (2 * true - 1) * predicted)
        return compute_weighted_loss(losses, weights, s, loss_collection, reduction)


def cosine_distance(
    labels: Any, predictions: Any, axis: int | None = None, weights: Any = 1.0, scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
    dim: int | None = None,
) -> Tensor:  # fmt: skip
    """``1 - sum(labels * predictions)`` along `axis`, of vectors of length 1."""
    along = dim if axis is None else axis
    if along is None:
        raise ShapeError(message("no axis", where="cosine_distance", site=user_site(), fix="pass axis="))
    with name_scope(scope, "cosine_distance_loss") as s:
        true, predicted = _pair(labels, predictions, "cosine_distance")
        losses = 1 - reduce_sum(true * predicted, [along], keepdims=True)
        return compute_weighted_loss(losses, weights, s, loss_collection, reduction)


def sigmoid_cross_entropy(
    multi_class_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0,
    scope: str | None = None, loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Cross entropy of independent classes; smoothing moves labels towards one half."""
    with name_scope(scope, "sigmoid_cross_entropy_loss") as s:
        true, x = _pair(multi_class_labels, logits, "sigmoid_cross_entropy")
        if label_smoothing > 0:
            true = true * (1 - label_smoothing) + 0.5 * label_smoothing
        losses = nn.sigmoid_cross_entropy_with_logits(labels=true, logits=x)
        return compute_weighted_loss(losses, weights, s, loss_collection, reduction)


def softmax_cross_entropy(
    onehot_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0,
    scope: str | None = None, loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Cross entropy of classes that exclude each other; smoothing spreads labels over all of them."""
    with name_scope(scope, "softmax_cross_entropy_loss") as s:
        true, x = _pair(onehot_labels, logits, "softmax_cross_entropy")
        true = stop_gradient(true, "labels_stop_gradient")
        if label_smoothing > 0:
            classes = cast(shape(true)[-1], true.dtype)
            true = true * (1 - label_smoothing) + label_smoothing / classes
        losses = nn.softmax_cross_entropy_with_logits_v2(labels=true, logits=x)
        return compute_weighted_loss(losses, weights, s, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any, logits: Any, weights: Any = 1.0, scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:  # fmt: skip
    """Cross entropy of labels that are the numbers of classes; a last axis of 1 of them is dropped."""
    with name_scope(scope, "sparse_softmax_cross_entropy_loss") as s:
        true, x = convert_to_tensor(labels), convert_to_tensor(logits)
        if true._shape is not None and x._shape is not None and len(true._shape) == len(x._shape):
            true = squeeze(true, [-1])
        losses = nn.sparse_softmax_cross_entropy_with_logits(labels=true, logits=x)
        factor = convert_to_tensor(weights, as_dtype(float32)) if isinstance(weights, int) else weights
        return compute_weighted_loss(losses, factor, s, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
) -> Tensor:  # fmt: skip
    """The squared error of differences between elements, a mean over pairs, summed over samples."""
    with name_scope(scope, "mean_pairwise_squared_error"):
        true, predicted = _pair(labels, predictions, "mean_pairwise_squared_error")
        off = predicted - true
        axes = list(range(1, len(off._shape or ())))
        count = cast(size(off), off.dtype) / cast(shape(off)[0], off.dtype)
        squares = reduce_sum(math.square(off), axes, keepdims=True)
        total = reduce_sum(off, axes, keepdims=True)
        pairs = 2.0 * math.div_no_nan(count * squares - math.square(total), count * (count - 1.0))
        factor = _fitting(pairs, cast(convert_to_tensor(weights), off.dtype))
        loss = reduce_sum(pairs * factor, name="value")
    add_loss(loss, loss_collection)
    return loss
