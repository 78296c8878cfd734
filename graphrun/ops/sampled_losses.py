"""Losses over a sample of the classes: noise-contrastive estimation and sampled softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun.dtypes import int64
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.scopes import name_scope
from graphrun.ops.arithmetic import multiply
from graphrun.ops.candidates import log_uniform_candidate_sampler, once_op
from graphrun.ops.compare import equal, select
from graphrun.ops.convert import cast
from graphrun.ops.cross_entropy import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
)
from graphrun.ops.elementwise import log
from graphrun.ops.fill import ones_like, shape, zeros_like
from graphrun.ops.gather import embedding_lookup
from graphrun.ops.joining import concat
from graphrun.ops.linalg import matmul
from graphrun.ops.reduce import reduce_any, reduce_sum
from graphrun.ops.reshape import expand_dims, reshape
from graphrun.ops.state import stop_gradient


def _sampled_logits(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int,
    num_true: int, sampled_values: Any, remove_accidental_hits: bool, partition_strategy: str,
    name: str | None, seed: int | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Logits of the true classes and the sampled ones, side by side, and their labels, which sum up to 1."""
    with name_scope(name, "compute_sampled_logits"):
        x = convert_to_tensor(inputs)
        true = convert_to_tensor(labels)
        true = true if true.dtype is int64 else cast(true, int64)
        distinct = sampled_values is None
        if sampled_values is None:
            sampled_values = log_uniform_candidate_sampler(
                true, num_true, num_sampled, True, num_classes, seed
            )
        sampled, true_count, sampled_count = (stop_gradient(v) for v in sampled_values)
        sampled = cast(sampled, int64)
        batch = true._shape[0] if true._shape else None
        split = (shape(true)[0] if batch is None else batch) * num_true
        ids = concat([reshape(true, [-1]), sampled], 0)
        # One look-up for both, so that the gradient is one set of rows.
        rows = embedding_lookup(weights, ids, partition_strategy)
        offsets = embedding_lookup(biases, ids, partition_strategy)
        rows, offsets = (t if t.dtype is x.dtype else cast(t, x.dtype) for t in (rows, offsets))
        true_rows = reshape(rows[:split], [-1, num_true, shape(rows)[1]])
        sampled_logits = matmul(x, rows[split:], transpose_b=True) + offsets[split:]
        true_logits = reduce_sum(multiply(expand_dims(x, 1), true_rows), -1)
        true_logits = true_logits + reshape(offsets[:split], [-1, num_true])
        if remove_accidental_hits:
            once = sampled if distinct else apply(once_op, (sampled,))
            hits = reduce_any(equal(expand_dims(true, 2), once), 1)
            lowest = convert_to_tensor(np.finfo(np.float32).min, sampled_logits.dtype)
            sampled_logits = sampled_logits + select(hits, lowest, zeros_like(sampled_logits))
        true_logits = true_logits - log(cast(true_count, x.dtype))
        sampled_logits = sampled_logits - log(cast(sampled_count, x.dtype))
        logits = concat([true_logits, sampled_logits], 1)
        return logits, concat([ones_like(true_logits) / num_true, zeros_like(sampled_logits)], 1)


def nce_loss(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int,
    num_true: int = 1, sampled_values: Any = None, remove_accidental_hits: bool = False,
    partition_strategy: str = "mod", name: str = "nce_loss",
) -> Tensor:  # fmt: skip
    """Noise-contrastive estimation: true classes are told from sampled ones, one by one.

    Parameters
    ----------
    weights : tensor or variable of shape (num_classes, dim), or a list of its parts
    biases : tensor or variable of shape (num_classes,)
    labels : integer tensor of shape (batch, num_true)
    inputs : floating tensor of shape (batch, dim)
    num_sampled : int
        How many classes are drawn, for the whole batch.
    num_classes : int
    num_true : int
        How many true classes an example has.
    sampled_values : what a candidate sampler returns, optional
        By default `log_uniform_candidate_sampler` draws distinct classes.
    remove_accidental_hits : bool
        Whether a sampled class that is a true one of an example counts for nothing there.
    partition_strategy : str
        How a list of parts holds the rows, "mod" or "div"; see `embedding_lookup`.
    name : str

    Returns
    -------
    Tensor of shape (batch,)

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     w, b = gr.zeros([100, 4]), gr.zeros([100])
    ...     loss = gr.nn.nce_loss(w, b, labels=[[3], [2]], inputs=gr.ones([2, 4]), num_sampled=5,
    ...                           num_classes=100, sampled_values=gr.nn.all_candidate_sampler(
    ...                               [[3], [2]], 1, 5, True))
    ...     print(sess.run(loss / 6).round(4))  # six decisions that are still open: log(2) each
    [0.6931 0.6931]
    """
    logits, wanted = _sampled_logits(
        weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values,
        remove_accidental_hits, partition_strategy, name, None,
    )  # fmt: skip
    losses = sigmoid_cross_entropy_with_logits(labels=wanted, logits=logits, name="sampled_losses")
    return reduce_sum(losses, 1)


def sampled_softmax_loss(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int,
    num_true: int = 1, sampled_values: Any = None, remove_accidental_hits: bool = True,
    partition_strategy: str = "mod", name: str = "sampled_softmax_loss", seed: int | None = None,
) -> Tensor:  # fmt: skip
    """Softmax cross entropy over the true classes and sampled ones, an estimate of that over all classes.

    Parameters
    ----------
    weights, biases, labels, inputs, num_sampled, num_classes, num_true
    sampled_values, remove_accidental_hits, partition_strategy, name
        See `nce_loss`; here accidental hits are removed unless told otherwise.
    seed : int, optional
        Of the sampler.

    Returns
    -------
    Tensor of shape (batch,)

    Notes
    -----
    It is for training alone: to predict, take ``softmax(inputs @ transpose(weights) + biases)``.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     w, b = gr.zeros([4, 3]), gr.zeros([4])
    ...     every = gr.nn.all_candidate_sampler([[1]], 1, 4, True)
    ...     print(sess.run(gr.nn.sampled_softmax_loss(w, b, [[1]], gr.ones([1, 3]), 4, 4,
    ...                                               sampled_values=every)))  # log(4)
    [1.3862944]
    """
    fixed_labels = stop_gradient(convert_to_tensor(labels), name="labels_stop_gradient")
    logits, wanted = _sampled_logits(
        weights, biases, fixed_labels, inputs, num_sampled, num_classes, num_true, sampled_values,
        remove_accidental_hits, partition_strategy, name, seed,
    )  # fmt: skip
    wanted = stop_gradient(wanted, name="labels_stop_gradient")
    return softmax_cross_entropy_with_logits_v2(labels=wanted, logits=logits)
