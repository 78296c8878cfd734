"""A linear-chain conditional random field over a recurrent net: foldl for the norm, a loop for the path."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, sentences

import graphrun as tf

LONGEST, UNITS, EMBEDDED = 8, 16, 12
TAGS = ["determiner", "adjective", "noun", "verb", "end"]


@functools.cache
def tagged() -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Sentences whose words have been replaced by "?" here and there; tags of all words."""
    rng = np.random.default_rng(0)
    kinds = {"the": 0, "many": 0, "old": 1, "small": 1, "happy": 1, ".": 4}
    texts = sentences(500, seed=4)
    words = {w: i + 2 for i, w in enumerate(sorted({w for t in texts for w in t}))}
    x, y = np.zeros((500, LONGEST), np.int32), np.zeros((500, LONGEST), np.int32)
    lengths = np.array([len(t) for t in texts], np.int32)
    for row, text in enumerate(texts):
        for place, word in enumerate(text):
            verb = word.rstrip("s") in ("see", "hear", "feed")
            y[row, place] = kinds.get(word, 3 if verb else 2)
            x[row, place] = 1 if rng.random() < 0.4 else words[word]
    return x, y, lengths, len(words) + 2


def crf_log_norm(scores, lengths, transitions):
    """The logarithm of the sum over all paths, by the forward algorithm."""
    first, rest = scores[:, 0], tf.transpose(scores[:, 1:], [1, 0, 2])

    def step(carry, now):
        alpha, time = carry
        new = tf.reduce_logsumexp(tf.expand_dims(alpha, 2) + transitions, axis=1) + now
        return tf.where(time < lengths, new, alpha), time + 1

    alpha, _ = tf.foldl(step, rest, initializer=(first, tf.constant(1)))
    return tf.reduce_logsumexp(alpha, axis=1)


def crf_path_score(scores, tags, lengths, transitions):
    mask = tf.sequence_mask(lengths, LONGEST, dtype=tf.float32)
    unary = tf.reduce_sum(scores * tf.one_hot(tags, len(TAGS)), axis=2) * mask
    pairs = tf.stack([tags[:, :-1], tags[:, 1:]], axis=2)
    binary = tf.gather_nd(transitions, pairs) * mask[:, 1:]
    return tf.reduce_sum(unary, 1) + tf.reduce_sum(binary, 1)


def crf_decode(scores, transitions):
    """The best path through all steps, by a while_loop that writes pointers to a TensorArray."""
    steps = tf.shape(scores)[1]
    by_time = tf.transpose(scores, [1, 0, 2])
    pointers = tf.TensorArray(tf.int32, steps - 1, element_shape=[None, len(TAGS)])

    def forward(t, best, pointers):
        paths = tf.expand_dims(best, 2) + transitions
        pointers = pointers.write(t - 1, tf.argmax(paths, axis=1, output_type=tf.int32))
        return t + 1, tf.reduce_max(paths, axis=1) + by_time[t], pointers

    _, best, pointers = tf.while_loop(lambda t, *_: t < steps, forward, (1, by_time[0], pointers))
    last = tf.argmax(best, axis=1, output_type=tf.int32)

    def backward(tag, back):
        return tf.reduce_sum(back * tf.one_hot(tag, len(TAGS), dtype=tf.int32), axis=1)

    path = tf.scan(backward, tf.reverse(pointers.stack(), [0]), initializer=last)
    return tf.reverse(tf.transpose(tf.concat([[last], path], axis=0)), [1])


@functools.cache
def trained(device: str) -> tuple[list[float], float, float, np.ndarray]:
    x, y, lengths, vocabulary = tagged()
    with tf.Graph().as_default():
        tf.set_random_seed(2)
        words = tf.placeholder(tf.int32, [None, LONGEST], name="words")
        tags = tf.placeholder(tf.int32, [None, LONGEST], name="tags")
        counts = tf.placeholder(tf.int32, [None], name="lengths")
        table = tf.get_variable("table", [vocabulary, EMBEDDED])
        outputs, _ = tf.nn.bidirectional_dynamic_rnn(
            tf.nn.rnn_cell.GRUCell(UNITS), tf.nn.rnn_cell.GRUCell(UNITS),
            tf.nn.embedding_lookup(table, words), sequence_length=counts, dtype=tf.float32,
        )  # fmt: skip
        scores = tf.layers.dense(tf.concat(outputs, 2), len(TAGS))
        transitions = tf.get_variable(
            "transitions", [len(TAGS), len(TAGS)], initializer=tf.zeros_initializer()
        )
        log_norm = crf_log_norm(scores, counts, transitions)
        log_likelihood = crf_path_score(scores, tags, counts, transitions) - log_norm
        loss = tf.reduce_mean(-log_likelihood)
        train = tf.train.AdamOptimizer(0.02).minimize(loss)
        # After the end a path may go anywhere; what is before it must be as if the sentence ended there.
        mask = tf.sequence_mask(counts, LONGEST, dtype=tf.float32)
        path = crf_decode(scores * tf.expand_dims(mask, 2), transitions)
        right = tf.to_float(tf.equal(path, tags)) * mask
        accuracy = tf.reduce_sum(right) / tf.reduce_sum(mask)

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for xs, ys, ns in batches((x[:400], y[:400], lengths[:400]), 50, 15):
                losses.append(float(sess.run([loss, train], {words: xs, tags: ys, counts: ns})[0]))
            feed = {words: x[400:], tags: y[400:], counts: lengths[400:]}
            score, norm, logits, moves = sess.run([accuracy, log_norm, scores, transitions], feed)
            # The norm against all paths of a sentence, one by one.
            row, n = 0, int(lengths[400])
            every = np.stack(np.meshgrid(*[np.arange(len(TAGS))] * n, indexing="ij"), -1).reshape(-1, n)
            totals = logits[row, np.arange(n), every].sum(1) + moves[every[:, :-1], every[:, 1:]].sum(1)
            np.testing.assert_allclose(norm[row], np.logaddexp.reduce(totals.astype(np.float64)), rtol=1e-4)
            return losses, float(score), float(np.mean(x[400:][y[400:] >= 0] == 1)), moves


def test_tags_of_words_that_cannot_be_read(device: str) -> None:
    losses, accuracy, _, moves = trained(device)
    assert accuracy > 0.9 and np.mean(losses[-10:]) < 0.3 * losses[0]
    # After a determiner comes no verb.
    assert moves[0, 3] < moves[0, 2]
    assert_same_curve(losses, trained("cpu:0")[0], first=60, early=1e-3, late=2e-2)
