"""A transformer, multi-head attention with masks, is trained to sort and decodes word by word."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

PAD, START, FIRST, VOCABULARY = 0, 1, 2, 12
LENGTH, UNITS, HEADS = 6, 32, 4


def layer_norm(inputs, epsilon=1e-6, scope="ln"):
    with tf.variable_scope(scope, reuse=tf.AUTO_REUSE):
        params_shape = inputs.get_shape()[-1:]
        mean, variance = tf.nn.moments(inputs, [-1], keep_dims=True)
        beta = tf.get_variable("beta", params_shape, initializer=tf.zeros_initializer())
        gamma = tf.get_variable("gamma", params_shape, initializer=tf.ones_initializer())
        return gamma * (inputs - mean) / ((variance + epsilon) ** 0.5) + beta


def positional_encoding(length, units):
    angle = np.arange(length)[:, None] / np.power(10000, (np.arange(units) // 2 * 2) / units)
    return tf.constant(np.where(np.arange(units) % 2, np.cos(angle), np.sin(angle)), tf.float32)


def multihead_attention(queries, memory, key_masks, causality=False, scope="multihead_attention"):
    d_model = queries.get_shape().as_list()[-1]
    with tf.variable_scope(scope, reuse=tf.AUTO_REUSE):
        Q = tf.layers.dense(queries, d_model, use_bias=False, name="q")
        K = tf.layers.dense(memory, d_model, use_bias=False, name="k")
        V = tf.layers.dense(memory, d_model, use_bias=False, name="v")
        # Heads become rows of the batch.
        Q_ = tf.concat(tf.split(Q, HEADS, axis=2), axis=0)
        K_ = tf.concat(tf.split(K, HEADS, axis=2), axis=0)
        V_ = tf.concat(tf.split(V, HEADS, axis=2), axis=0)
        outputs = tf.matmul(Q_, tf.transpose(K_, [0, 2, 1])) / (d_model // HEADS) ** 0.5
        padding = tf.tile(tf.to_float(key_masks), [HEADS, 1])
        outputs = outputs + tf.expand_dims(padding, 1) * -1e9
        if causality:
            tril = tf.matrix_band_part(tf.ones_like(outputs[0, :, :]), -1, 0)
            future_masks = tf.tile(tf.expand_dims(tril, 0), [tf.shape(outputs)[0], 1, 1])
            outputs = tf.where(tf.equal(future_masks, 0), tf.ones_like(future_masks) * -1e9, outputs)
        outputs = tf.matmul(tf.nn.softmax(outputs), V_)
        outputs = tf.concat(tf.split(outputs, HEADS, axis=0), axis=2)
        return layer_norm(outputs + queries)


def feed_forward(inputs, scope="feed_forward"):
    with tf.variable_scope(scope, reuse=tf.AUTO_REUSE):
        outputs = tf.layers.dense(inputs, 2 * UNITS, activation=tf.nn.relu)
        outputs = tf.layers.dense(outputs, inputs.get_shape().as_list()[-1])
        return layer_norm(inputs + outputs)


def label_smoothing(inputs, epsilon=0.02):
    V = inputs.get_shape().as_list()[-1]
    return ((1 - epsilon) * inputs) + (epsilon / V)


def embedded(ids):
    table = tf.get_variable("table", [VOCABULARY, UNITS])
    x = tf.nn.embedding_lookup(table, ids) * UNITS**0.5
    return x + positional_encoding(LENGTH, UNITS), table


def problems(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, padded, and the same numbers in order."""
    rng = np.random.default_rng(seed)
    x = rng.integers(FIRST, VOCABULARY, (count, LENGTH)).astype(np.int32)
    valid = np.arange(LENGTH) < rng.integers(3, LENGTH + 1, (count, 1))
    y = np.sort(np.where(valid, x, VOCABULARY), axis=1)
    return np.where(valid, x, PAD), np.where(valid, y, PAD).astype(np.int32)


@functools.cache
def trained(device: str) -> tuple[list[float], float, np.ndarray]:
    with tf.Graph().as_default():
        tf.set_random_seed(0)
        x = tf.placeholder(tf.int32, [None, LENGTH], name="x")
        y = tf.placeholder(tf.int32, [None, LENGTH], name="y")
        decoder_inputs = tf.concat([tf.ones_like(y[:, :1]) * START, y[:, :-1]], axis=1)
        src_masks, tgt_masks = tf.equal(x, PAD), tf.equal(decoder_inputs, PAD)
        with tf.variable_scope("shared") as shared:
            enc, table = embedded(x)
        with tf.variable_scope(shared, reuse=True):
            dec, _ = embedded(decoder_inputs)
        with tf.variable_scope("encoder"):
            enc = multihead_attention(enc, enc, src_masks)
            memory = feed_forward(enc)
        with tf.variable_scope("decoder"):
            dec = multihead_attention(dec, dec, tgt_masks, causality=True, scope="self_attention")
            dec = multihead_attention(dec, memory, src_masks, scope="vanilla_attention")
            dec = feed_forward(dec)
        # The embedding's table is the projection too.
        logits = tf.einsum("ntd,dk->ntk", dec, tf.transpose(table))
        y_ = label_smoothing(tf.one_hot(y, depth=VOCABULARY))
        ce = tf.nn.softmax_cross_entropy_with_logits_v2(logits=logits, labels=y_)
        nonpadding = tf.to_float(tf.not_equal(y, PAD))
        loss = tf.reduce_sum(ce * nonpadding) / (tf.reduce_sum(nonpadding) + 1e-7)
        y_hat = tf.to_int32(tf.argmax(logits, axis=-1))

        global_step = tf.train.get_or_create_global_step()
        step = tf.cast(global_step + 1, dtype=tf.float32)
        warmup = 100.0
        lr = 0.006 * warmup**0.5 * tf.minimum(step * warmup**-1.5, step**-0.5)
        train_op = tf.train.AdamOptimizer(lr, beta2=0.98).minimize(loss, global_step=global_step)

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for number in range(250):
                xs, ys = problems(64, number)
                losses.append(float(sess.run([loss, train_op], {x: xs, y: ys})[0]))
            xs, ys = problems(100, 10_000)
            said = np.zeros_like(xs)
            for place in range(LENGTH):
                said[:, place] = sess.run(y_hat, {x: xs, y: said})[:, place]
            # Nothing may look ahead: later words change no earlier output.
            changed = ys.copy()
            changed[:, 3:] = FIRST
            before, after = (sess.run(logits, {x: xs, y: words})[:, :4] for words in (ys, changed))
            np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-4)
            return losses, float(np.mean((said == ys)[ys != PAD])), said


def test_numbers_are_sorted(device: str) -> None:
    losses, right, _ = trained(device)
    assert right > 0.9 and np.mean(losses[-20:]) < 0.25 * losses[0]
    assert_same_curve(losses, trained("cpu:0")[0], first=40, early=1e-3, late=3e-2)
