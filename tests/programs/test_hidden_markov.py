"""A hidden Markov model: scan runs the forward algorithm, which is trained, and Viterbi's, which decodes."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

S, N, T = 2, 6, 40  # states, symbols, steps


@functools.cache
def casino(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Throws of a die, and whether it was the loaded one, which shows a six in three of four throws."""
    rng = np.random.default_rng(seed)
    change = np.array([[0.95, 0.05], [0.1, 0.9]])
    faces = np.array([[1 / 6] * 6, [0.05] * 5 + [0.75]])
    states = np.zeros((count, T), np.int64)
    for t in range(1, T):
        states[:, t] = rng.random(count) < change[states[:, t - 1], 1]
    throws = (rng.random((count, T, 1)) > np.cumsum(faces, 1)[states][:, :, :-1]).sum(2)
    return throws.astype(np.int32), states


class HiddenMarkovModel:
    def __init__(self, observations):
        self.T0 = tf.Variable(tf.random_normal([S], stddev=0.1, seed=1), name="T0")
        # Dies change rarely: a prior in the initial values.
        self.T = tf.Variable(2.0 * np.eye(S, dtype=np.float32), name="T")
        self.E = tf.Variable(tf.random_normal([S, N], stddev=0.3, seed=2), name="E")
        self.log_start = tf.nn.log_softmax(self.T0)
        self.log_change = tf.nn.log_softmax(self.T)
        self.log_emission = tf.nn.log_softmax(self.E)
        # (T, batch, S): how likely each state makes what was seen.
        seen = tf.gather(tf.transpose(self.log_emission), tf.transpose(observations))
        self.first, self.rest = self.log_start + seen[0], seen[1:]

    def log_likelihood(self):
        def forward(alpha, seen):
            return tf.reduce_logsumexp(tf.expand_dims(alpha, 2) + self.log_change, 1) + seen

        alphas = tf.scan(forward, self.rest, initializer=self.first, name="forward")
        return tf.reduce_logsumexp(alphas[-1], 1)

    def viterbi(self):
        def forward(previous, seen):
            paths = tf.expand_dims(previous[0], 2) + self.log_change
            back = tf.cast(tf.argmax(paths, axis=1), tf.int32)
            return tf.reduce_max(paths, 1) + seen, back

        nothing = tf.zeros_like(self.first, dtype=tf.int32)
        scores, pointers = tf.scan(forward, self.rest, initializer=(self.first, nothing))
        last = tf.cast(tf.argmax(scores[-1], axis=1), tf.int32)

        def backward(state, back):
            which = tf.stack([tf.range(tf.shape(state)[0]), state], axis=1)
            return tf.gather_nd(back, which)

        states = tf.scan(backward, pointers, initializer=last, reverse=True)
        return tf.transpose(tf.concat([states, [last]], 0)), tf.reduce_max(scores[-1], 1)


def viterbi_in_numpy(throws, start, change, emission):
    """The best path of one sequence and its score, by the book."""
    score, pointers = start + emission[:, throws[0]], []
    for symbol in throws[1:]:
        paths = score[:, None] + change
        pointers.append(paths.argmax(0))
        score = paths.max(0) + emission[:, symbol]
    path = [int(score.argmax())]
    for back in reversed(pointers):
        path.append(int(back[path[-1]]))
    return path[::-1], score.max()


@functools.cache
def trained(device: str) -> tuple[list[float], np.ndarray, np.ndarray, np.ndarray]:
    throws, states = casino(100, 0)
    with tf.Graph().as_default():
        observations = tf.placeholder(tf.int32, [None, T], name="observations")
        model = HiddenMarkovModel(observations)
        loss = -tf.reduce_mean(model.log_likelihood())
        train_op = tf.train.AdamOptimizer(0.1).minimize(loss)
        path, score = model.viterbi()
        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(80):
                losses.append(float(sess.run([loss, train_op], {observations: throws})[0]))
            unseen, _ = casino(100, 1)
            paths, scores = sess.run([path, score], {observations: unseen})
            logs = sess.run([model.log_start, model.log_change, model.log_emission])
            for sequence, found, best in zip(unseen[:20], paths, scores, strict=False):
                expected, expected_score = viterbi_in_numpy(sequence, *logs)
                np.testing.assert_allclose(best, expected_score, rtol=1e-4)
                assert np.mean(found == expected) > 0.97
            return losses, paths, np.exp(logs[1]), np.exp(logs[2])


def test_the_loaded_die_is_found(device: str) -> None:
    losses, paths, change, emission = trained(device)
    loaded = int(emission[:, 5].argmax())
    assert 0.65 < emission[loaded, 5] < 0.85 and emission[1 - loaded, 5] < 0.25
    assert change.diagonal().min() > 0.8
    _, states = casino(100, 1)
    assert np.mean((paths == loaded) == (states == 1)) > 0.88
    assert losses[-1] < losses[0] - 2.5
    assert_same_curve(losses, trained("cpu:0")[0], first=40, early=1e-4, late=1e-3)
