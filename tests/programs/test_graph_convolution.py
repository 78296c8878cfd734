"""Graph convolutions: adjacency as a sparse placeholder, a few labels, the rest is found by the links."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

NODES, GROUPS = 60, 3


@functools.cache
def network() -> tuple[np.ndarray, np.ndarray]:
    """Groups of nodes with many links inside and few between; rows of labels."""
    rng = np.random.default_rng(0)
    group = np.arange(NODES) % GROUPS
    chance = np.where(group[:, None] == group[None, :], 0.35, 0.03)
    upper = np.triu(rng.random((NODES, NODES)) < chance, 1)
    return (upper | upper.T).astype(np.float32), np.eye(GROUPS, dtype=np.float32)[group]


def sparse_to_tuple(matrix):
    coords = np.stack(np.nonzero(matrix), 1)
    return coords, matrix[tuple(coords.T)], matrix.shape


def preprocess_adj(adj):
    adj = adj + np.eye(len(adj), dtype=np.float32)
    d_inv_sqrt = np.power(adj.sum(1), -0.5)
    return sparse_to_tuple(adj * d_inv_sqrt[:, None] * d_inv_sqrt)


def sparse_dropout(x, keep_prob, noise_shape):
    """Dropout for sparse tensors."""
    random_tensor = keep_prob
    random_tensor += tf.random_uniform(noise_shape)
    dropout_mask = tf.cast(tf.floor(random_tensor), dtype=tf.bool)
    pre_out = tf.sparse_retain(x, dropout_mask)
    return pre_out * (1.0 / keep_prob)


def dot(x, y, sparse=False):
    return tf.sparse_tensor_dense_matmul(x, y) if sparse else tf.matmul(x, y)


def masked_softmax_cross_entropy(preds, labels, mask):
    loss = tf.nn.softmax_cross_entropy_with_logits(logits=preds, labels=labels)
    mask = tf.cast(mask, dtype=tf.float32)
    mask /= tf.reduce_mean(mask)
    loss *= mask
    return tf.reduce_mean(loss)


@functools.cache
def trained(device: str, dropping: bool) -> tuple[list[float], float]:
    adj, labels = network()
    known = np.arange(NODES) < 12
    with tf.Graph().as_default():
        tf.set_random_seed(123)
        placeholders = {
            "support": tf.sparse_placeholder(tf.float32),
            "features": tf.sparse_placeholder(tf.float32, shape=(NODES, NODES)),
            "labels": tf.placeholder(tf.float32, shape=(None, GROUPS)),
            "labels_mask": tf.placeholder(tf.int32),
            "dropout": tf.placeholder_with_default(0.0, shape=()),
            "num_features_nonzero": tf.placeholder(tf.int32),
        }
        x = placeholders["features"]
        if dropping:
            x = sparse_dropout(x, 1 - placeholders["dropout"], placeholders["num_features_nonzero"][None])
        for i, (rows, columns) in enumerate([(NODES, 16), (16, GROUPS)]):
            with tf.variable_scope(f"graphconvolution_{i}"):
                w = tf.get_variable("weights", [rows, columns], initializer=tf.glorot_uniform_initializer())
                x = dot(placeholders["support"], dot(x, w, sparse=i == 0), sparse=True)
                x = tf.nn.relu(x) if i == 0 else x
        loss = 5e-3 * tf.nn.l2_loss(tf.trainable_variables()[0])
        loss += masked_softmax_cross_entropy(x, placeholders["labels"], placeholders["labels_mask"])
        opt_op = tf.train.AdamOptimizer(learning_rate=0.05).minimize(loss)
        hits = tf.equal(tf.argmax(x, 1), tf.argmax(placeholders["labels"], 1))

        features = sparse_to_tuple(np.eye(NODES, dtype=np.float32))
        feed_dict = {
            placeholders["support"]: preprocess_adj(adj),
            placeholders["features"]: tf.SparseTensorValue(*features),
            placeholders["labels"]: labels,
            placeholders["labels_mask"]: known,
            placeholders["num_features_nonzero"]: features[1].shape[0],
        }
        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(60):
                feed = {**feed_dict, placeholders["dropout"]: 0.5}
                losses.append(float(sess.run([opt_op, loss], feed_dict=feed)[1]))
            return losses, float(np.mean(sess.run(hits, feed_dict)[~known]))


def test_groups_are_found_by_links(device: str) -> None:
    losses, accuracy = trained(device, False)
    assert accuracy > 0.9 and losses[-1] < 0.5 * losses[0]
    assert_same_curve(losses, trained("cpu:0", False)[0], first=40, early=1e-3, late=1e-2)


def test_features_drop_out() -> None:
    # On NumPy alone: how many values are kept is a shape of its own, and a device compiles for each.
    losses, _ = trained("cpu:0", True)
    assert losses[-1] < 0.9 * losses[0]
