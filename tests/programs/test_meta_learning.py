"""Model-agnostic meta-learning of sine waves: gradients through steps of training, so of second order."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

TASKS, SHOTS, STEPS, INNER = 8, 10, 400, 2
UPDATE_LR = 0.02


def sines(rng: np.random.Generator, tasks: int) -> tuple[np.ndarray, ...]:
    """Points of waves of different height and phase: some to learn from, others to be judged by."""
    height, phase = rng.uniform(0.5, 2.0, (tasks, 1, 1)), rng.uniform(0, np.pi, (tasks, 1, 1))
    x = rng.uniform(-3, 3, (tasks, 2 * SHOTS, 1))
    y = height * np.sin(x - phase)
    x, y = x.astype(np.float32), y.astype(np.float32)
    return x[:, :SHOTS], y[:, :SHOTS], x[:, SHOTS:], y[:, SHOTS:]


def construct_weights(sizes):
    weights = {}
    for i, (n, m) in enumerate(zip(sizes, sizes[1:])):
        weights[f"w{i}"] = tf.Variable(tf.truncated_normal([n, m], stddev=1.0 / np.sqrt(n)), name=f"w{i}")
        weights[f"b{i}"] = tf.Variable(tf.zeros([m]), name=f"b{i}")
    return weights


def forward(x, weights, layers=3):
    for i in range(layers):
        x = tf.matmul(x, weights[f"w{i}"]) + weights[f"b{i}"]
        if i < layers - 1:
            x = tf.nn.tanh(x)
    return x


def mse(pred, label):
    return tf.reduce_mean(tf.square(tf.reshape(pred, [-1]) - tf.reshape(label, [-1])))


@functools.cache
def trained(device: str, stop_grad: bool = False) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(0)
    with tf.Graph().as_default():
        tf.set_random_seed(2)
        holders = [tf.placeholder(tf.float32, [TASKS, SHOTS, 1]) for _ in range(4)]
        weights = construct_weights([1, 24, 24, 1])

        def task_metalearn(inp):
            inputa, labela, inputb, labelb = inp
            fast_weights = weights
            losses = [mse(forward(inputb, weights), labelb)]
            for _ in range(INNER):
                loss = mse(forward(inputa, fast_weights), labela)
                grads = tf.gradients(loss, list(fast_weights.values()))
                if stop_grad:
                    grads = [tf.stop_gradient(grad) for grad in grads]
                gradients = dict(zip(fast_weights.keys(), grads))
                fast_weights = {key: fast_weights[key] - UPDATE_LR * gradients[key] for key in fast_weights}
                losses.append(mse(forward(inputb, fast_weights), labelb))
            return losses

        results = tf.map_fn(task_metalearn, elems=tuple(holders), dtype=[tf.float32] * (INNER + 1))
        total_losses = [tf.reduce_sum(r) / tf.to_float(TASKS) for r in results]
        optimizer = tf.train.AdamOptimizer(0.005)
        gvs = optimizer.compute_gradients(total_losses[-1])
        metatrain_op = optimizer.apply_gradients([(tf.clip_by_value(g, -10, 10), v) for g, v in gvs])

        curve = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(STEPS):
                feed = dict(zip(holders, sines(rng, TASKS)))
                curve.append(float(sess.run([metatrain_op, total_losses[-1]], feed)[1]))
            judged = [
                sess.run(total_losses, dict(zip(holders, sines(np.random.default_rng(100 + k), TASKS))))
                for k in range(10)
            ]
            return curve, np.mean(judged, axis=0).tolist()


def test_two_steps_adapt_to_a_new_wave(device: str) -> None:
    curve, judged = trained(device)
    assert judged[2] < 0.4 * judged[0]
    assert np.mean(curve[-50:]) < 0.6 * np.mean(curve[:10])
    assert_same_curve(curve, trained("cpu:0")[0], first=100, early=1e-4, late=1e-2)


def test_without_the_second_order_the_gradients_differ(device: str) -> None:
    """What tf.stop_gradient takes away counts: the first losses agree, the later ones do not."""
    curve, judged = trained(device, stop_grad=True)
    exact, _ = trained(device)
    assert curve[0] == exact[0]
    assert np.max(np.abs(np.array(curve[5:50]) / exact[5:50] - 1)) > 1e-3
    assert judged[2] < judged[0]
