"""A language model of words by GRU: the state stays in variables, cells drop out, perplexity is reported."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, sentences

import graphrun as tf

BATCH, STEPS, HIDDEN = 20, 10, 32


def ptb_iterator(raw_data, batch_size, num_steps):
    raw_data = np.array(raw_data, dtype=np.int32)
    batch_len = len(raw_data) // batch_size
    data = raw_data[: batch_size * batch_len].reshape([batch_size, batch_len])
    for i in range((batch_len - 1) // num_steps):
        first = i * num_steps
        yield data[:, first : first + num_steps], data[:, first + 1 : first + num_steps + 1]


class PTBModel:
    def __init__(self, is_training, vocab_size, keep_prob=0.8):
        self.x = tf.placeholder(tf.int32, [BATCH, STEPS], name="inputs")
        self.y = tf.placeholder(tf.int32, [BATCH, STEPS], name="targets")

        def make_cell():
            cell = tf.nn.rnn_cell.GRUCell(HIDDEN, reuse=not is_training)
            if is_training:
                cell = tf.nn.rnn_cell.DropoutWrapper(cell, output_keep_prob=keep_prob, seed=5)
            return cell

        cell = tf.nn.rnn_cell.MultiRNNCell([make_cell() for _ in range(2)])
        with tf.variable_scope("state"):
            states = [
                tf.get_variable(
                    f"layer_{i}", [BATCH, HIDDEN], initializer=tf.zeros_initializer(), trainable=False
                )
                for i in range(2)
            ]
        embedding = tf.get_variable("embedding", [vocab_size, HIDDEN], dtype=tf.float32)
        inputs = tf.nn.embedding_lookup(embedding, self.x)
        output, new_states = tf.nn.dynamic_rnn(cell, inputs, initial_state=tuple(states))
        logits = tf.layers.dense(output, vocab_size, name="softmax")
        assert logits.shape.as_list() == [BATCH, STEPS, vocab_size]
        self.cost = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self.y, logits=logits)
        )
        self.keep = tf.group(*[tf.assign(s, n) for s, n in zip(states, new_states, strict=True)])
        self.reset = tf.variables_initializer(states)
        self.train_op = tf.no_op()
        if is_training:
            optimizer = tf.train.GradientDescentOptimizer(1.0)
            pairs = optimizer.compute_gradients(self.cost, tf.trainable_variables())
            clipped = [(tf.clip_by_norm(g, 1.0), v) for g, v in pairs]
            self.train_op = optimizer.apply_gradients(
                clipped, global_step=tf.train.get_or_create_global_step()
            )


def run_epoch(sess, m, data, losses):
    costs = []
    sess.run(m.reset)
    for x, y in ptb_iterator(data, BATCH, STEPS):
        cost, _, _ = sess.run([m.cost, m.keep, m.train_op], {m.x: x, m.y: y})
        costs.append(float(cost))
    losses.extend(costs)
    return float(np.exp(np.mean(costs)))


@functools.cache
def trained(device: str) -> tuple[list[float], float, int]:
    words = [w for s in sentences(900) for w in s]
    word_to_id = {w: i for i, w in enumerate(sorted(set(words)))}
    ids = [word_to_id[w] for w in words]
    train_data, valid_data = ids[:4500], ids[4500:]
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        initializer = tf.random_uniform_initializer(-0.3, 0.3)
        with tf.variable_scope("model", reuse=None, initializer=initializer):
            m = PTBModel(True, len(word_to_id))
        with tf.variable_scope("model", reuse=True, initializer=initializer):
            mvalid = PTBModel(False, len(word_to_id))
        with tf.Session(device=device) as sess:
            tf.global_variables_initializer().run()
            losses: list[float] = []
            for _ in range(9):
                run_epoch(sess, m, train_data, losses)
            perplexity = run_epoch(sess, mvalid, valid_data, [])
            return losses, perplexity, int(sess.run(tf.train.get_global_step()))


def test_perplexity_falls_to_that_of_the_grammar(device: str) -> None:
    losses, perplexity, steps = trained(device)
    # A sentence has 6.8 words on average and, by its grammar, exp(7.5) choices: 3.0 for each word.
    assert np.exp(losses[0]) > 15 and perplexity < 4.0
    assert steps == len(losses)
    assert_same_curve(losses, trained("cpu:0")[0], first=40, early=1e-3, late=2e-2)
