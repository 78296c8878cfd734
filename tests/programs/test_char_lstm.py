"""A language model of characters: two layers of LSTM, their state fed from batch to batch; samples."""

from __future__ import annotations

import collections
import functools

import numpy as np
from program_data import assert_same_curve, sentences

import graphrun as tf


class TextLoader:
    def __init__(self, data, batch_size, seq_length):
        counter = collections.Counter(data)
        count_pairs = sorted(counter.items(), key=lambda x: (-x[1], x[0]))
        self.chars, _ = zip(*count_pairs, strict=True)
        self.vocab_size = len(self.chars)
        self.vocab = dict(zip(self.chars, range(self.vocab_size), strict=True))
        tensor = np.array([self.vocab[c] for c in data])
        self.num_batches = (len(tensor) - 1) // (batch_size * seq_length)
        used = self.num_batches * batch_size * seq_length
        xdata, ydata = tensor[:used], tensor[1 : used + 1]
        self.x_batches = np.split(xdata.reshape(batch_size, -1), self.num_batches, 1)
        self.y_batches = np.split(ydata.reshape(batch_size, -1), self.num_batches, 1)


class Model:
    def __init__(self, vocab_size, batch_size, seq_length, rnn_size=48, num_layers=2, grad_clip=5.0):
        cells = [tf.nn.rnn_cell.BasicLSTMCell(rnn_size) for _ in range(num_layers)]
        self.cell = cell = tf.nn.rnn_cell.MultiRNNCell(cells, state_is_tuple=True)
        self.input_data = tf.placeholder(tf.int32, [batch_size, seq_length])
        self.targets = tf.placeholder(tf.int32, [batch_size, seq_length])
        self.initial_state = cell.zero_state(batch_size, tf.float32)

        with tf.variable_scope("rnnlm"):
            softmax_w = tf.get_variable("softmax_w", [rnn_size, vocab_size])
            softmax_b = tf.get_variable("softmax_b", [vocab_size])
        embedding = tf.get_variable("embedding", [vocab_size, rnn_size])
        inputs = tf.nn.embedding_lookup(embedding, self.input_data)
        inputs = tf.split(inputs, seq_length, 1)
        inputs = [tf.squeeze(input_, [1]) for input_ in inputs]
        outputs, last_state = tf.nn.static_rnn(cell, inputs, self.initial_state, scope="rnnlm")
        output = tf.reshape(tf.concat(outputs, 1), [-1, rnn_size])

        self.logits = tf.matmul(output, softmax_w) + softmax_b
        self.probs = tf.nn.softmax(self.logits)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.reshape(self.targets, [-1]), logits=self.logits
        )
        with tf.name_scope("cost"):
            self.cost = tf.reduce_sum(loss) / batch_size / seq_length
        self.final_state = last_state
        self.lr = tf.Variable(0.0, trainable=False)
        tvars = tf.trainable_variables()
        grads, _ = tf.clip_by_global_norm(tf.gradients(self.cost, tvars), grad_clip)
        with tf.name_scope("optimizer"):
            optimizer = tf.train.AdamOptimizer(self.lr)
        self.train_op = optimizer.apply_gradients(zip(grads, tvars, strict=True))

    def feed_state(self, feed, state):
        for i, (c, h) in enumerate(self.initial_state):
            feed[c] = state[i].c
            feed[h] = state[i].h
        return feed


def sample(sess, model, chars, vocab, num, prime, rng):
    state = sess.run(model.cell.zero_state(1, tf.float32))
    probs, text = None, prime
    for position in range(len(prime) + num):
        if position >= len(prime):
            text += chars[int(rng.choice(len(chars), p=probs / probs.sum()))]
        feed = model.feed_state({model.input_data: [[vocab[text[position]]]]}, state)
        probs, state = sess.run([model.probs, model.final_state], feed)
        probs = probs[0].astype(np.float64)
    return text


@functools.cache
def trained(device: str) -> tuple[list[float], str]:
    text = " ".join(" ".join(s) for s in sentences(400))
    loader = TextLoader(text, batch_size=20, seq_length=12)
    with tf.Graph().as_default():
        tf.set_random_seed(0)
        with tf.variable_scope("model"):
            model = Model(loader.vocab_size, 20, 12)
        with tf.variable_scope("model", reuse=True):
            sampler = Model(loader.vocab_size, 1, 1)
        assert len(tf.trainable_variables()) == 7
        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for e in range(8):
                sess.run(tf.assign(model.lr, 0.01 * (0.85**e)))
                state = sess.run(model.initial_state)
                for x, y in zip(loader.x_batches, loader.y_batches, strict=True):
                    feed = model.feed_state({model.input_data: x, model.targets: y}, state)
                    train_loss, state, _ = sess.run([model.cost, model.final_state, model.train_op], feed)
                    losses.append(float(train_loss))
            rng = np.random.default_rng(0)
            return losses, sample(sess, sampler, loader.chars, loader.vocab, 300, "the ", rng)


def test_it_learns_to_spell(device: str) -> None:
    losses, text = trained(device)
    assert losses[0] > 2.5 and np.mean(losses[-20:]) < 0.5
    words = text.split()[:-1]
    known = {w for s in sentences(400) for w in s}
    assert len(words) > 40 and np.mean([w in known for w in words]) > 0.9, text
    assert_same_curve(losses, trained("cpu:0")[0], first=40, early=1e-3, late=2e-2)
