"""A program that leaves the graph: batches are made and a loss is computed by NumPy, in py_func.

The gradient of the loss is a second function of NumPy, under a name of its own; a check in the graph guards
the labels.
"""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest

import graphrun as tf

CLASSES, FEATURES, BATCH, STEPS = 3, 2, 64, 150
CENTRES = np.array([[2, 0], [-1, 1.7], [-1, -1.7]], np.float32)


class Batches:
    """Points around three centres; each call gives another batch."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.calls = 0

    def __call__(self, size: Any) -> tuple[np.ndarray, np.ndarray]:
        self.calls += 1
        labels = self.rng.integers(0, CLASSES, size).astype(np.int32)
        points = CENTRES[labels] + self.rng.normal(0, 0.5, (size, FEATURES))
        return points.astype(np.float32), labels


def py_func(func: Any, inp: Any, Tout: Any, grad: Any, name: str) -> Any:  # noqa: N803
    """The usual wrapper of public programs: a py_func whose gradient is another one."""
    registered = f"PyFuncGrad{uuid.uuid4().hex}"
    tf.RegisterGradient(registered)(grad)
    names = {"PyFunc": registered, "PyFuncStateless": registered}
    with tf.get_default_graph().gradient_override_map(names):
        return tf.py_func(func, inp, Tout, stateful=True, name=name)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]
    return losses.mean(dtype=np.float32)


def cross_entropy_grad(logits: np.ndarray, labels: np.ndarray, dy: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(1, keepdims=True))
    e /= e.sum(1, keepdims=True)
    e[np.arange(len(labels)), labels] -= 1
    return e * (dy / np.float32(len(labels)))


def gradient(op: Any, dy: Any) -> Any:
    logits, labels = op.inputs
    dx = tf.py_func(cross_entropy_grad, [logits, labels, dy], tf.float32, stateful=False)
    dx.set_shape(logits.get_shape())
    return dx, None


def train(device: str) -> tuple[list[float], float, int]:
    batches = Batches(seed=1)
    with tf.Graph().as_default():
        size = tf.placeholder(tf.int32, [])
        points, labels = tf.py_func(batches, [size], [tf.float32, tf.int32], name="batch")
        points.set_shape([None, FEATURES])
        labels.set_shape([None])
        with tf.control_dependencies([tf.assert_less(labels, CLASSES, message="a label is too large")]):
            points = tf.identity(points)
        weights = tf.Variable(tf.zeros([FEATURES, CLASSES]))
        biases = tf.Variable(tf.zeros([CLASSES]))
        logits = tf.matmul(points, weights) + biases
        loss = py_func(cross_entropy, [logits, labels], tf.float32, gradient, "loss")
        loss.set_shape([])
        step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
        hits = tf.equal(tf.cast(tf.argmax(logits, 1), tf.int32), labels)
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
        with tf.Session(device=device) as session:
            session.run(tf.global_variables_initializer())
            losses = [float(session.run([loss, step], {size: BATCH})[0]) for _ in range(STEPS)]
            return losses, float(session.run(accuracy, {size: 500})), batches.calls


def test_training_with_numpy_in_the_graph(device: str) -> None:
    losses, accuracy, calls = train(device)
    assert calls == STEPS + 1, "each run makes one batch"
    assert losses[0] == pytest.approx(np.log(3), rel=1e-5)
    assert accuracy > 0.97 and np.mean(losses[-20:]) < 0.12
    np.testing.assert_allclose(losses, train("cpu:0")[0], rtol=1e-4, atol=1e-6)
