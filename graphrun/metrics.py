"""Streaming metrics: each returns its value so far, and the operation that takes in one more batch.

What they count is in local variables, which `local_variables_initializer` sets back.

>>> import graphrun as gr
>>> with gr.Graph().as_default(), gr.Session() as sess:
...     labels, guesses = gr.placeholder(gr.int32, (None,)), gr.placeholder(gr.int32, (None,))
...     accuracy, update = gr.metrics.accuracy(labels, guesses)
...     sess.run(gr.local_variables_initializer())
...     for batch in ([1, 2, 3], [1, 0, 3]), ([4], [4]):
...         _ = sess.run(update, {labels: batch[0], guesses: batch[1]})
...     print(sess.run(accuracy))
0.75
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphrun.dtypes import DType, bool_, float32, float64, int64
from graphrun.errors import DTypeError, GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.graph import GraphKeys
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import expand_dims, ones_like, reshape, squeeze, zeros
from graphrun.ops.compare import equal, greater, logical_and, logical_not, not_equal, where
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import sqrt
from graphrun.ops.elementwise import square as square_
from graphrun.ops.math import abs as abs_
from graphrun.ops.matrices import diag_part
from graphrun.ops.reduce import reduce_mean, reduce_sum
from graphrun.ops.scatter import scatter_add
from graphrun.ops.sets import confusion_matrix
from graphrun.ops.state import Variable, assign_add, constant, identity
from graphrun.shapes import format_shape, is_compatible
from graphrun.variable_scope import variable_scope

Metric = tuple[Tensor, Tensor]
# Added to what is divided by, in the areas under curves, as TensorFlow does.
_EPSILON = 1e-6


def metric_variable(shape: Sequence[int], name: str, dtype: DType = float32) -> Variable:
    """A variable of zeros that belongs to a metric, and to no checkpoint or optimizer."""
    keys = [GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES]
    return Variable(lambda: zeros(list(shape), dtype), trainable=False, collections=keys, name=name)


def _ratio(a: Any, b: Any, name: str) -> Tensor:
    """``a / b``, and 0 where b is 0."""
    some = b > 0.0
    return where(some, a / where(some, b, ones_like(b)), a * 0.0, name=name)


def _weighted(values: Tensor, weights: Any, where_: str) -> tuple[Tensor, Tensor]:
    """Values times their weights, and the weights in the values' shape."""
    if weights is None:
        return values, ones_like(values)
    w = cast(convert_to_tensor(weights), float32)
    known = w._shape
    if known is not None and values._shape is not None:
        if len(known) == len(values._shape) + 1 and known[-1] == 1:
            w = squeeze(w, [-1])
        elif len(known) == len(values._shape) - 1 and known:
            w = expand_dims(w, -1)
        fits = not w._shape or (
            len(w._shape) == len(values._shape)
            and all(
                a in (1, None) or b is None or a == b for a, b in zip(w._shape, values._shape, strict=True)
            )
        )
        if not fits:
            raise ShapeError(
                message(
                    "the weights do not fit",
                    where=f"metrics.{where_}",
                    site=user_site(),
                    got=f"weights: {format_shape(w._shape)}   values: {format_shape(values._shape)}",
                    expected="a scalar, or the shape of the values with 1 in some places",
                )
            )
    w = ones_like(values) * w
    return values * w, w


def _finish(value: Tensor, update: Tensor, values_in: Any, updates_in: Any) -> Metric:
    for names, item in ((values_in, value), (updates_in, update)):
        for name in [names] if isinstance(names, str) else names or ():
            get_default_graph().add_to_collection(name, item)
    return value, update


def _require_one_shape(a: Tensor, b: Tensor, what: str) -> None:
    if not is_compatible(a._shape, b._shape):
        raise ShapeError(
            message(
                "labels and predictions have different shapes",
                where=f"metrics.{what}",
                site=user_site(),
                got=f"labels: {format_shape(a._shape)}   predictions: {format_shape(b._shape)}",
                expected="one shape",
            )
        )


def _pair(labels: Any, predictions: Any, what: str) -> tuple[Tensor, Tensor]:
    """Labels and predictions of one shape; a last axis of 1 that only one has is taken away."""
    a, b = convert_to_tensor(labels), convert_to_tensor(predictions)
    x, y = a._shape, b._shape
    if x is not None and y is not None and len(x) != len(y):
        if len(x) == len(y) + 1 and x[-1] in (1, None):
            a = squeeze(a, [-1])
        elif len(y) == len(x) + 1 and y[-1] in (1, None):
            b = squeeze(b, [-1])
    _require_one_shape(a, b, what)
    return a, b


def mean(
    values: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None,
    name: str | None = None,
) -> Metric:  # fmt: skip
    """The weighted mean of all values so far, and its update.

    Parameters
    ----------
    values : tensor
    weights : tensor, optional
        Of the rank of `values`, with the same size or 1 in each axis; or a scalar.
    metrics_collections, updates_collections : str or list of str, optional
        Collections that the value and the update are added to.
    name : str, optional
        Scope of variables and operations.

    Returns
    -------
    value, update : float32 scalar
        `update` takes in the batch and is the value with it; `value` is what has been taken in before.
    """
    with variable_scope(name, "mean"):
        return _mean(convert_to_tensor(values), weights, metrics_collections, updates_collections, "mean")


def _mean(values: Tensor, weights: Any, values_in: Any, updates_in: Any, what: str) -> Metric:
    total, count = metric_variable((), "total"), metric_variable((), "count")
    weighted, w = _weighted(cast(values, float32), weights, what)
    new_total = assign_add(total, reduce_sum(weighted))
    new_count = assign_add(count, reduce_sum(w))
    value = _ratio(total, count, "value")
    return _finish(value, _ratio(new_total, new_count, "update_op"), values_in, updates_in)


def accuracy(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """How often `predictions` equal `labels`; the other parameters and the results are those of `mean`."""
    with variable_scope(name, "accuracy"):
        a, b = _pair(labels, predictions, "accuracy")
        if a.dtype is not b.dtype:
            b = cast(b, a.dtype)
        return _mean(equal(a, b), weights, metrics_collections, updates_collections, "accuracy")


def _error(function: Callable[[Tensor], Tensor], default: str, doc: str) -> Callable[..., Metric]:
    def metric(
        labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
        updates_collections: Any = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with variable_scope(name, default):
            a, b = _pair(labels, predictions, default)
            error = function(cast(b, float32) - cast(a, float32))
            return _mean(error, weights, metrics_collections, updates_collections, default)

    metric.__name__ = metric.__qualname__ = default
    metric.__doc__ = doc + "; parameters and results are those of `accuracy`."
    return metric


mean_absolute_error = _error(abs_, "mean_absolute_error", "The mean distance of predictions from labels")
mean_squared_error = _error(square_, "mean_squared_error", "The mean squared distance")


def root_mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The root of the mean squared distance; parameters and results are those of `accuracy`."""
    value, update = mean_squared_error(labels, predictions, weights, name=name or "root_mean_squared_error")
    # Outside of the scope, as in TensorFlow.
    return _finish(sqrt(value), sqrt(update), metrics_collections, updates_collections)


# -- counting yes and no --------------------------------------------------------------------------------


def _counted(
    labels: Any, predictions: Any, weights: Any, default: str, positive_label: bool, positive_guess: bool
) -> tuple[Variable, Tensor]:
    """How often label and prediction were these: the count, and its update."""
    a, b = _pair(labels, predictions, default)
    label, guess = cast(a, bool_), cast(b, bool_)
    hit = logical_and(
        label if positive_label else logical_not(label), guess if positive_guess else logical_not(guess)
    )
    weighted, _ = _weighted(cast(hit, float32), weights, default)
    count = metric_variable((), "count")
    return count, assign_add(count, reduce_sum(weighted))


def _count(default: str, label: bool, guess: bool, doc: str) -> Callable[..., Metric]:
    def metric(
        labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
        updates_collections: Any = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with variable_scope(name, default):
            count, update = _counted(labels, predictions, weights, default, label, guess)
            return _finish(identity(count), update, metrics_collections, updates_collections)

    metric.__name__ = metric.__qualname__ = default
    metric.__doc__ = doc + "; parameters and results are those of `accuracy`."
    return metric


true_positives = _count("true_positives", True, True, "How often both label and prediction are true")
false_positives = _count("false_positives", False, True, "How often the prediction alone is true")
true_negatives = _count("true_negatives", False, False, "How often neither label nor prediction is true")
false_negatives = _count("false_negatives", True, False, "How often the label alone is true")


def _share(default: str, other: tuple[bool, bool], doc: str) -> Callable[..., Metric]:
    def metric(
        labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
        updates_collections: Any = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with variable_scope(name, default):
            with variable_scope("true_positives"):
                hits, more_hits = _counted(labels, predictions, weights, default, True, True)
            with variable_scope("false_positives" if other[1] else "false_negatives"):
                misses, more_misses = _counted(labels, predictions, weights, default, *other)
            value = _ratio(hits, hits + misses, "value")
            update = _ratio(more_hits, more_hits + more_misses, "update_op")
            return _finish(value, update, metrics_collections, updates_collections)

    metric.__name__ = metric.__qualname__ = default
    metric.__doc__ = doc + "; parameters and results are those of `accuracy`."
    return metric


precision = _share("precision", (False, True), "Of what is predicted to be true, the share that is")
recall = _share("recall", (True, False), "Of what is true, the share that is predicted to be")


def auc(
    labels: Any, predictions: Any, weights: Any = None, num_thresholds: int = 200,
    metrics_collections: Any = None, updates_collections: Any = None, curve: str = "ROC",
    name: str | None = None,
) -> Metric:  # fmt: skip
    """The area under a curve, by trapezoids between thresholds.

    Parameters
    ----------
    labels : bool tensor, or one of 0 and 1
    predictions : tensor
        In [0, 1].
    num_thresholds : int
    curve : {"ROC", "PR"}
        True positives over false positives, or precision over recall.

    The others, and the results, are those of `accuracy`.
    """
    if curve not in ("ROC", "PR"):
        raise GraphError(message(f"curve is {curve!r}", where="metrics.auc", site=user_site(),
                                 expected='"ROC" or "PR"'))  # fmt: skip
    with variable_scope(name, "auc"):
        a, b = _pair(labels, predictions, "auc")
        if not b.dtype.is_floating:
            raise DTypeError(message(f"predictions have dtype {b.dtype}", where="metrics.auc",
                                     site=user_site(), expected="numbers in [0, 1]"))  # fmt: skip
        label = cast(a, float32)
        _, w = _weighted(label, weights, "auc")
        inner = [(i + 1.0) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        steps = constant([-1e-7, *inner, 1.0 + 1e-7], float32)
        guess = cast(
            greater(reshape(cast(b, float32), [1, -1]), reshape(steps, [-1, 1])), float32
        )  # (thresholds, elements)
        flat, w = reshape(label, [1, -1]), reshape(w, [1, -1])
        counts, updates = [], []
        for which, hit in (
            ("true_positives", guess * flat), ("false_negatives", (1 - guess) * flat),
            ("true_negatives", (1 - guess) * (1 - flat)), ("false_positives", guess * (1 - flat)),
        ):  # fmt: skip
            count = metric_variable((num_thresholds,), which)
            counts.append(count)
            updates.append(assign_add(count, reduce_sum(hit * w, 1)))
        value = identity(_area(counts, curve), name="value")
        update = identity(_area(updates, curve), name="update_op")
        return _finish(value, update, metrics_collections, updates_collections)


def _area(counts: Sequence[Any], curve: str) -> Tensor:
    tp, fn, tn, fp = (identity(c) for c in counts)
    recall_ = (tp + _EPSILON) / (tp + fn + _EPSILON)
    if curve == "ROC":
        x, y = fp / (fp + tn + _EPSILON), recall_
    else:
        x, y = recall_, (tp + _EPSILON) / (tp + fp + _EPSILON)
    return reduce_sum((x[:-1] - x[1:]) * (y[:-1] + y[1:]) / 2.0)


# -- by classes -----------------------------------------------------------------------------------------


def _flat(labels: Any, predictions: Any, weights: Any, what: str) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, predictions and weights as vectors."""
    a, b = (convert_to_tensor(t) for t in (labels, predictions))
    _require_one_shape(a, b, what)
    x, y = (reshape(cast(t, int64), [-1]) for t in (a, b))
    ones = ones_like(x, float32)
    if weights is None:
        return x, y, ones
    return x, y, ones * reshape(_weighted(ones_like(a, float32), weights, what)[1], [-1])


def mean_iou(
    labels: Any, predictions: Any, num_classes: int, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The intersection over the union of what is labelled and what is predicted, as a mean of classes.

    Parameters
    ----------
    labels, predictions : integer tensors of one shape
        Classes, below `num_classes`.
    num_classes : int
    weights : tensor, optional
        As of `mean`.
    metrics_collections, updates_collections, name
        As of `mean`.

    Returns
    -------
    value : float32 scalar
        Classes that are in no label and no prediction do not count; 0 if none is.
    update : float64 tensor of shape (num_classes, num_classes)
        Takes in the batch; how often each label (row) was predicted as each class (column).

    Raises
    ------
    ShapeError
        If labels and predictions have different shapes.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as session:
    ...     value, update = gr.metrics.mean_iou([0, 0, 1, 1], [0, 1, 1, 1], 3)
    ...     session.run(gr.local_variables_initializer())
    ...     _ = session.run(update)
    ...     print(session.run(value))
    0.5833334
    """
    with variable_scope(name, "mean_iou"):
        a, b, w = _flat(labels, predictions, weights, "mean_iou")
        counts = metric_variable((num_classes, num_classes), "total_confusion_matrix", float64)
        update = assign_add(counts, confusion_matrix(a, b, num_classes, float64, weights=w))
        predicted, labelled = (cast(reduce_sum(counts, axis), float32) for axis in (0, 1))
        both = cast(diag_part(identity(counts)), float32)
        either = predicted + labelled - both
        classes = reduce_sum(cast(not_equal(either, 0.0), float32))
        shares = both / where(either > 0.0, either, ones_like(either))
        value = _ratio(reduce_sum(shares, name="mean_iou"), classes, "value")
        return _finish(value, update, metrics_collections, updates_collections)


def mean_per_class_accuracy(
    labels: Any, predictions: Any, num_classes: int, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """How often each class is predicted where it is the label, as a mean of classes.

    Parameters, and the value, are those of `mean_iou`; a class that has not been seen counts as 0.

    Returns
    -------
    value : float32 scalar
    update : float32 tensor of shape (num_classes,)
        Takes in the batch; the accuracy of each class with it.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as session:
    ...     value, update = gr.metrics.mean_per_class_accuracy([0, 0, 1], [0, 1, 1], 2)
    ...     session.run(gr.local_variables_initializer())
    ...     print(session.run(update), session.run(value))
    [0.5 1. ] 0.75
    """
    with variable_scope(name, "mean_accuracy"):
        a, b, w = _flat(labels, predictions, weights, "mean_per_class_accuracy")
        total = metric_variable((num_classes,), "total")
        count = metric_variable((num_classes,), "count")
        new_total = scatter_add(total, a, w)
        new_count = scatter_add(count, a, cast(equal(b, a), float32) * w)
        value = reduce_mean(_ratio(identity(count), total, "shares"), name="mean_accuracy")
        update = _ratio(new_count, new_total, "update_op")
        return _finish(value, update, metrics_collections, updates_collections)
