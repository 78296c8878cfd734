"""Sentences are classified: by convolutions over embedded words, and by the mean of the embeddings."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, sentences

import graphrun as tf

LONGEST, CLASSES, EMBEDDED = 8, 2, 16


@functools.cache
def corpus() -> tuple[np.ndarray, np.ndarray, int]:
    """Rows of word numbers, 0 behind the end.  Of class 1 is what agrees: "the cat sees", "many cats see"."""
    rng = np.random.default_rng(2)
    plural = {"sees": "see", "hears": "hear", "feeds": "feed"}
    other = plural | {v: k for k, v in plural.items()}
    texts, labels = sentences(700, seed=1), rng.integers(0, 2, 700)
    words = {w: i + 1 for i, w in enumerate(sorted({w for t in texts for w in t} | set(other)))}
    rows = np.zeros((700, LONGEST), np.int32)
    for row, text, label in zip(rows, texts, labels, strict=True):
        row[: len(text)] = [words[w if label else other.get(w, w)] for w in text]
    return rows, np.eye(2, dtype=np.float32)[labels], len(words) + 1


class TextCNN:
    """A CNN for text classification: embedding, convolution, max-pooling over time and softmax."""

    def __init__(
        self, sequence_length, num_classes, vocab_size, embedding_size, filter_sizes, num_filters,
        l2_reg_lambda=0.0,
    ):  # fmt: skip
        self.input_x = tf.placeholder(tf.int32, [None, sequence_length], name="input_x")
        self.input_y = tf.placeholder(tf.float32, [None, num_classes], name="input_y")
        self.dropout_keep_prob = tf.placeholder(tf.float32, name="dropout_keep_prob")
        l2_loss = tf.constant(0.0)
        with tf.device("/cpu:0"), tf.name_scope("embedding"):
            self.W = tf.Variable(tf.random_uniform([vocab_size, embedding_size], -1.0, 1.0), name="W")
            self.embedded_chars = tf.nn.embedding_lookup(self.W, self.input_x)
            self.embedded_chars_expanded = tf.expand_dims(self.embedded_chars, -1)
        pooled_outputs = []
        for filter_size in filter_sizes:
            with tf.name_scope(f"conv-maxpool-{filter_size}"):
                filter_shape = [filter_size, embedding_size, 1, num_filters]
                W = tf.Variable(tf.truncated_normal(filter_shape, stddev=0.1), name="W")
                b = tf.Variable(tf.constant(0.1, shape=[num_filters]), name="b")
                conv = tf.nn.conv2d(
                    self.embedded_chars_expanded, W, strides=[1, 1, 1, 1], padding="VALID", name="conv"
                )
                h = tf.nn.relu(tf.nn.bias_add(conv, b), name="relu")
                pooled = tf.nn.max_pool(
                    h, ksize=[1, sequence_length - filter_size + 1, 1, 1], strides=[1, 1, 1, 1],
                    padding="VALID", name="pool",
                )  # fmt: skip
                pooled_outputs.append(pooled)
        num_filters_total = num_filters * len(filter_sizes)
        self.h_pool_flat = tf.reshape(tf.concat(pooled_outputs, 3), [-1, num_filters_total])
        with tf.name_scope("dropout"):
            self.h_drop = tf.nn.dropout(self.h_pool_flat, self.dropout_keep_prob)
        with tf.name_scope("output"):
            W = tf.get_variable(
                "W", shape=[num_filters_total, num_classes], initializer=tf.glorot_uniform_initializer()
            )
            b = tf.Variable(tf.constant(0.1, shape=[num_classes]), name="b")
            l2_loss += tf.nn.l2_loss(W)
            l2_loss += tf.nn.l2_loss(b)
            self.scores = tf.nn.xw_plus_b(self.h_drop, W, b, name="scores")
            self.predictions = tf.argmax(self.scores, 1, name="predictions")
        with tf.name_scope("loss"):
            losses = tf.nn.softmax_cross_entropy_with_logits(logits=self.scores, labels=self.input_y)
            self.loss = tf.reduce_mean(losses) + l2_reg_lambda * l2_loss
        with tf.name_scope("accuracy"):
            correct_predictions = tf.equal(self.predictions, tf.argmax(self.input_y, 1))
            self.accuracy = tf.reduce_mean(tf.cast(correct_predictions, "float"), name="accuracy")


@functools.cache
def cnn(device: str) -> tuple[list[float], float]:
    x, y, vocabulary = corpus()
    with tf.Graph().as_default():
        tf.set_random_seed(10)
        net = TextCNN(LONGEST, CLASSES, vocabulary, EMBEDDED, (2, 3, 4), 16, l2_reg_lambda=0.001)
        global_step = tf.Variable(0, name="global_step", trainable=False)
        optimizer = tf.train.AdamOptimizer(0.005)
        grads_and_vars = optimizer.compute_gradients(net.loss)
        train_op = optimizer.apply_gradients(grads_and_vars, global_step=global_step)
        losses = []
        # The rows of words lie on the CPU, as the program says, the rest where the session is.
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for x_batch, y_batch in batches((x[:600], y[:600]), 50, 12):
                feed_dict = {net.input_x: x_batch, net.input_y: y_batch, net.dropout_keep_prob: 0.5}
                _, step, loss = sess.run([train_op, global_step, net.loss], feed_dict)
                losses.append(float(loss))
            # It was read before this run counted on.
            assert step == len(losses) - 1
            feed_dict = {net.input_x: x[600:], net.input_y: y[600:], net.dropout_keep_prob: 1.0}
            return losses, float(sess.run(net.accuracy, feed_dict))


def test_convolutions_see_whether_words_agree(device: str) -> None:
    losses, accuracy = cnn(device)
    assert accuracy > 0.9 and np.mean(losses[-10:]) < 0.5 * losses[0]
    assert_same_curve(losses, cnn("cpu:0")[0], first=60, early=1e-3, late=1e-2)


@functools.cache
def bag(device: str) -> tuple[list[float], float]:
    """Is one of the words "king" or "kings"?  Order is of no use here, so a mean of the words will do."""
    x, _, vocabulary = corpus()
    texts = sentences(700, seed=1)
    y = np.array([any(w.startswith("king") for w in t) for t in texts], np.float32)
    with tf.Graph().as_default():
        tf.set_random_seed(4)
        ids = tf.placeholder(tf.int32, [None, LONGEST], name="ids")
        labels = tf.placeholder(tf.float32, [None], name="labels")
        table = tf.get_variable("table", [vocabulary, EMBEDDED])
        is_word = tf.cast(tf.not_equal(ids, 0), tf.float32)
        total = tf.reduce_sum(tf.nn.embedding_lookup(table, ids) * tf.expand_dims(is_word, -1), axis=1)
        mean = total / tf.reduce_sum(is_word, axis=1, keepdims=True)
        hidden = tf.layers.dense(mean, 8, activation=tf.nn.relu)
        logits = tf.layers.dense(hidden, 1)[:, 0]
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))
        # A row of the table is touched where its word stands in the batch, and only there.
        train = tf.train.AdagradOptimizer(0.5).minimize(loss)
        accuracy = tf.reduce_mean(tf.to_float(tf.equal(logits > 0, labels > 0.5)))
        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for ids_, labels_ in batches((x[:600], y[:600]), 50, 10):
                losses.append(float(sess.run([loss, train], {ids: ids_, labels: labels_})[0]))
            return losses, float(sess.run(accuracy, {ids: x[600:], labels: y[600:]}))


def test_the_mean_of_the_words_will_do(device: str) -> None:
    losses, accuracy = bag(device)
    assert accuracy > 0.95 and losses[-1] < 0.2 * losses[0]
    assert_same_curve(losses, bag("cpu:0")[0], first=60, early=1e-3, late=1e-2)
