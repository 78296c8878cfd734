"""Streaming metrics over batches, against NumPy on all of it at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as tf
from graphrun.errors import GraphrunError


@pytest.fixture(autouse=True)
def graph() -> Any:
    with tf.Graph().as_default() as g:
        yield g


def batches(weighted: bool) -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    found = []
    for n in (5, 8, 1):
        labels = rng.integers(0, 2, n)
        guesses = np.clip(0.4 * labels + rng.uniform(0, 0.6, n), 0, 1).astype(np.float32)
        found.append((labels, guesses, rng.uniform(0.1, 1, n) if weighted else np.ones(n)))
    return found


def expected(name: str, labels: Any, guesses: Any, w: Any) -> float:
    yes = guesses > 0.5
    tp, fp = (w * labels * yes).sum(), (w * (1 - labels) * yes).sum()
    fn, tn = (w * labels * ~yes).sum(), (w * (1 - labels) * ~yes).sum()
    error = guesses - labels
    return {
        "mean": (guesses * w).sum() / w.sum(),
        "accuracy": (tp + tn) / w.sum(),
        "mean_absolute_error": (abs(error) * w).sum() / w.sum(),
        "mean_squared_error": (error**2 * w).sum() / w.sum(),
        "root_mean_squared_error": np.sqrt((error**2 * w).sum() / w.sum()),
        "true_positives": tp, "false_positives": fp, "true_negatives": tn, "false_negatives": fn,
        "precision": tp / (tp + fp), "recall": tp / (tp + fn),
    }[name]  # fmt: skip


NAMES = [
    "mean", "accuracy", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error",
    "true_positives", "false_positives", "true_negatives", "false_negatives", "precision", "recall",
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_metric_over_batches(device: str, name: str, weighted: bool) -> None:
    labels, guesses = tf.placeholder(tf.int32, (None,)), tf.placeholder(tf.float32, (None,))
    weights = tf.placeholder(tf.float32, (None,))
    w = weights if weighted else None
    function = getattr(tf.metrics, name)
    if name == "mean":
        value, update = function(guesses, w)
    else:
        exact = name.endswith("error")
        value, update = function(labels, guesses if exact else tf.cast(guesses > 0.5, tf.int32), w)
    names = (f"{name}/value", f"{name}/update_op")
    if name.startswith("root"):
        names = ("Sqrt", "Sqrt_1")
    elif name.startswith(("true", "false")):
        names = (f"{name}/Identity", f"{name}/AssignAdd")
    assert (value.op.name, update.op.name) == names  # TensorFlow's
    seen: list[Any] = [np.zeros(0)] * 3
    with tf.Session(device=device) as session:
        for _ in range(2):
            session.run(tf.local_variables_initializer())
            assert session.run(value) == 0
            seen = [np.zeros(0)] * 3
            for batch in batches(weighted):
                seen = [np.concatenate([a, b]) for a, b in zip(seen, batch, strict=True)]
                got = session.run(update, dict(zip((labels, guesses, weights), batch, strict=True)))
                with np.errstate(invalid="ignore"):
                    wanted = np.nan_to_num(expected(name, *seen))
                np.testing.assert_allclose(got, wanted, rtol=1e-5)
                np.testing.assert_allclose(session.run(value), got, rtol=1e-6)


@pytest.mark.parametrize("curve", ["ROC", "PR"])
def test_auc(device: str, curve: str) -> None:
    labels, guesses = tf.placeholder(tf.int32, (None,)), tf.placeholder(tf.float32, (None,))
    value, update = tf.metrics.auc(labels, guesses, curve=curve, num_thresholds=400)
    with tf.Session(device=device) as session:
        session.run(tf.local_variables_initializer())
        for batch in batches(False):
            session.run(update, {labels: batch[0], guesses: batch[1]})
        got = session.run(value)
    y = np.concatenate([b[0] for b in batches(False)])
    p = np.concatenate([b[1] for b in batches(False)])
    if curve == "ROC":
        pairs = [(a > b) + 0.5 * (a == b) for a in p[y == 1] for b in p[y == 0]]
        np.testing.assert_allclose(got, np.mean(pairs), atol=0.01)
    else:
        assert 0.5 < got <= 1


def test_names_and_collections() -> None:
    _, update = tf.metrics.accuracy(
        [1, 2], [1, 3], metrics_collections=["m"], updates_collections="u", name="acc"
    )
    assert [v.name for v in tf.local_variables()] == ["acc/total:0", "acc/count:0"]
    graph = tf.get_default_graph()
    assert graph.get_collection(tf.GraphKeys.METRIC_VARIABLES) == tf.local_variables()
    assert tf.global_variables() == tf.trainable_variables() == []
    assert graph.get_collection("u") == [update] and len(graph.get_collection("m")) == 1


def test_messages() -> None:
    with pytest.raises(ValueError, match=r"(?s)different shapes.*labels: \(3,\).*test_metrics.py"):
        tf.metrics.accuracy([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match=r"(?s)weights do not fit.*weights: \(4,\)"):
        tf.metrics.mean([1.0, 2.0, 3.0], [1.0] * 4)
    with pytest.raises(GraphrunError, match="curve is 'roc'"):
        tf.metrics.auc([1], [0.5], curve="roc")
