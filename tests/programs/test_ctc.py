"""Numbers of several digits are read column by column: a recurrent net with CTC, which needs no places."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, digits

import graphrun as tf

STEPS, CLASSES, UNITS, BATCH = 12, 5, 32, 40  # digits 0 to 3, and the blank


def written(count: int, seed: int, split: str) -> tuple[np.ndarray, list[list[int]], np.ndarray]:
    """Images of two or three digits, (count, steps, pixels of two columns); their digits; their steps.

    There are as many of two digits as of three: a plan is made for each number of labels in a batch.
    """
    data = digits()
    images, labels = (data.train_x, data.train_y) if split == "train" else (data.test_x, data.test_y)
    few = labels.argmax(1) < CLASSES - 1
    images, labels = images[few].reshape(-1, 8, 8), labels[few].argmax(1)
    rng = np.random.default_rng(seed)
    x, y, widths = np.zeros((count, STEPS, 16), np.float32), [], np.zeros(count, np.int32)
    for i, row in enumerate(x):
        chosen = rng.integers(0, len(images), 2 + i % 2)
        widths[i] = 4 * len(chosen)
        row[: widths[i]] = np.concatenate(images[chosen], axis=1).T.reshape(-1, 16)
        y.append([int(labels[i]) for i in chosen])
    return x, y, widths


def sparse_tuple_from(sequences, dtype=np.int32):
    """What a sparse placeholder is fed with."""
    indices, values = [], []
    for n, seq in enumerate(sequences):
        indices.extend(zip([n] * len(seq), range(len(seq)), strict=True))
        values.extend(seq)
    indices = np.asarray(indices, dtype=np.int64)
    shape = np.asarray([len(sequences), indices.max(0)[1] + 1], dtype=np.int64)
    return indices, np.asarray(values, dtype=dtype), shape


@functools.cache
def trained(device: str) -> tuple[list[float], float, float]:
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        inputs = tf.placeholder(tf.float32, [None, STEPS, 16])
        targets = tf.sparse_placeholder(tf.int32)
        seq_len = tf.placeholder(tf.int32, [None])
        outputs, _ = tf.nn.bidirectional_dynamic_rnn(
            tf.nn.rnn_cell.LSTMCell(UNITS), tf.nn.rnn_cell.LSTMCell(UNITS), inputs, seq_len, dtype=tf.float32
        )
        shape = tf.shape(inputs)
        batch_s, max_timesteps = shape[0], shape[1]
        outputs = tf.reshape(tf.concat(outputs, 2), [-1, 2 * UNITS])
        W = tf.Variable(tf.truncated_normal([2 * UNITS, CLASSES], stddev=0.1))
        b = tf.Variable(tf.constant(0.0, shape=[CLASSES]))
        logits = tf.reshape(tf.matmul(outputs, W) + b, [batch_s, -1, CLASSES])
        logits = tf.transpose(logits, (1, 0, 2))
        loss = tf.nn.ctc_loss(targets, logits, seq_len)
        cost = tf.reduce_mean(loss)
        optimizer = tf.train.AdamOptimizer(0.02).minimize(cost)
        decoded, _ = tf.nn.ctc_greedy_decoder(logits, seq_len)
        ler = tf.reduce_mean(tf.edit_distance(tf.cast(decoded[0], tf.int32), targets))
        dense_decoded = tf.sparse_tensor_to_dense(decoded[0], default_value=-1)
        assert max_timesteps.graph is graph

        losses = []
        with tf.Session(device=device) as session:
            tf.global_variables_initializer().run()
            for step in range(200):
                x, y, widths = written(BATCH, step, "train")
                feed = {inputs: x, targets: sparse_tuple_from(y), seq_len: widths}
                batch_cost, _ = session.run([cost, optimizer], feed)
                losses.append(float(batch_cost))
            x, y, widths = written(BATCH, 1000, "test")
            feed = {inputs: x, targets: sparse_tuple_from(y), seq_len: widths}
            rate, d = session.run([ler, dense_decoded], feed_dict=feed)
            read = [[int(c) for c in row if c >= 0] for row in d]
        right = np.mean([a == b for a, b in zip(read, y, strict=True)])
        return losses, float(rate), float(right)


def test_numbers_are_read(device: str) -> None:
    losses, rate, right = trained(device)
    assert rate < 0.1 and right > 0.8 and np.mean(losses[-10:]) < 0.1 * losses[0]
    assert_same_curve(losses, trained("cpu:0")[0], first=20, early=1e-3, late=5e-2)
