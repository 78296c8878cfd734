"""Sequence to sequence with attention: a decoder by raw_rnn that is taught, another that reads itself."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

PAD, EOS, FIRST = 0, 1, 2
VOCABULARY, EMBEDDED, UNITS, LONGEST = 10, 16, 32, 6


def reversals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences with their lengths; the task is to say each one backwards."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, LONGEST + 1, count).astype(np.int32)
    words = rng.integers(FIRST, VOCABULARY, (count, LONGEST)).astype(np.int32)
    return np.where(np.arange(LONGEST) < lengths[:, None], words, PAD), lengths


def backwards(words, lengths):
    answer = np.full((len(words), LONGEST + 1), PAD, np.int32)
    for row, length in enumerate(lengths):
        answer[row, :length] = words[row, :length][::-1]
        answer[row, length] = EOS
    return answer


def attend(query, memory, keys, mask):
    """Additive attention: the memory's rows, by how well their keys fit to the query."""
    with tf.variable_scope("attention", reuse=tf.AUTO_REUSE):
        wanted = tf.expand_dims(tf.layers.dense(query, UNITS, use_bias=False, name="query"), 1)
        v = tf.get_variable("v", [UNITS], dtype=tf.float32)
        scores = tf.reduce_sum(v * tf.tanh(keys + wanted), [2])
        weights = tf.nn.softmax(tf.where(mask, scores, tf.fill(tf.shape(scores), -1e9)))
        return tf.reduce_sum(tf.expand_dims(weights, 2) * memory, axis=1), weights


@functools.cache
def trained(device: str) -> tuple[list[float], float, np.ndarray]:
    with tf.Graph().as_default():
        tf.set_random_seed(6)
        encoder_inputs = tf.placeholder(tf.int32, [None, LONGEST], name="encoder_inputs")
        encoder_lengths = tf.placeholder(tf.int32, [None], name="encoder_lengths")
        targets = tf.placeholder(tf.int32, [None, LONGEST + 1], name="targets")
        batch_size = tf.shape(encoder_inputs)[0]
        embeddings = tf.get_variable(
            "embeddings", [VOCABULARY, EMBEDDED], initializer=tf.random_uniform_initializer(-1.0, 1.0)
        )
        with tf.variable_scope("encoder"):
            memory, encoder_state = tf.nn.dynamic_rnn(
                tf.nn.rnn_cell.GRUCell(UNITS), tf.nn.embedding_lookup(embeddings, encoder_inputs),
                sequence_length=encoder_lengths, dtype=tf.float32,
            )  # fmt: skip
        keys = tf.layers.dense(memory, UNITS, use_bias=False, name="keys")
        mask = tf.sequence_mask(encoder_lengths, LONGEST)
        decoder_lengths = encoder_lengths + 1
        eos = tf.nn.embedding_lookup(embeddings, tf.fill([batch_size], EOS))
        # What the decoder is to read, by time: EOS and then the right answer's words.
        taught = tf.TensorArray(tf.float32, LONGEST + 1, clear_after_read=False)
        taught = taught.unstack(tf.nn.embedding_lookup(embeddings, tf.transpose(targets)))
        cell = tf.nn.rnn_cell.GRUCell(UNITS)
        project = tf.layers.Dense(VOCABULARY, name="projection")

        def decoder(teaching):
            def loop_fn(time, previous_output, previous_state, previous_loop_state):
                if previous_state is None:
                    state, output = encoder_state, None
                    next_word = eos
                else:
                    state = previous_state
                    output = project(previous_output)
                    if teaching:
                        next_word = taught.read(time - 1)
                    else:
                        next_word = tf.nn.embedding_lookup(embeddings, tf.argmax(output, axis=1))
                context, _ = attend(state, memory, keys, mask)
                elements_finished = time >= decoder_lengths
                if previous_output is None:
                    output = tf.zeros([VOCABULARY])
                return elements_finished, tf.concat([next_word, context], 1), state, output, None

            with tf.variable_scope("decoder", reuse=tf.AUTO_REUSE):
                outputs, _, _ = tf.nn.raw_rnn(cell, loop_fn)
            return tf.transpose(outputs.stack(), [1, 0, 2])

        logits, spoken = decoder(True), decoder(False)
        labels = targets[:, : tf.shape(logits)[1]]
        weights = tf.sequence_mask(decoder_lengths, tf.shape(logits)[1], dtype=tf.float32)
        loss = tf.losses.sparse_softmax_cross_entropy(labels, logits, weights)
        optimizer = tf.train.AdamOptimizer(0.01)
        gradients, variables = zip(*optimizer.compute_gradients(loss), strict=True)
        gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
        train_op = optimizer.apply_gradients(zip(gradients, variables, strict=True))
        prediction = tf.argmax(spoken, axis=2, output_type=tf.int32)
        _, seen = attend(encoder_state, memory, keys, mask)

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for step in range(130):
                words, lengths = reversals(32, step)
                lengths[0], words[0] = LONGEST, np.arange(FIRST, FIRST + LONGEST)
                feed = {
                    encoder_inputs: words, encoder_lengths: lengths, targets: backwards(words, lengths)
                }  # fmt: skip
                losses.append(float(sess.run([loss, train_op], feed)[0]))
            words, lengths = reversals(100, 1000)
            said, attention = sess.run([prediction, seen], {encoder_inputs: words, encoder_lengths: lengths})
            answer = backwards(words, lengths)
            real = np.arange(LONGEST + 1) <= lengths[:, None]
            return losses, float(np.mean((said == answer)[real])), attention


def test_it_says_sequences_backwards(device: str) -> None:
    losses, right, attention = trained(device)
    assert right > 0.9 and np.mean(losses[-20:]) < 0.2 * losses[0]
    _, lengths = reversals(100, 1000)
    assert attention[np.arange(LONGEST) >= lengths[:, None]].max() == 0
    np.testing.assert_allclose(attention.sum(1), 1.0, rtol=1e-5)
    assert_same_curve(losses, trained("cpu:0")[0], first=40, early=1e-3, late=3e-2)
