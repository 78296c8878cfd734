"""word2vec with few of the words in each step: skip-gram by NCE, CBOW by sampled softmax."""

from __future__ import annotations

import collections
import functools
import math

import numpy as np
from program_data import assert_same_curve, sentences

import graphrun as tf

batch_size, embedding_size, skip_window, num_skips, num_sampled = 128, 12, 1, 2, 6


@functools.cache
def text() -> tuple[list[int], dict[str, int], list[str]]:
    words = [w for s in sentences(900, seed=3) for w in s]
    count = collections.Counter(words).most_common()
    dictionary = {word: i for i, (word, _) in enumerate(count)}
    return [dictionary[w] for w in words], dictionary, [word for word, _ in count]


class Batches:
    """A window slides over the text, again and again."""

    def __init__(self, data):
        self.data, self.data_index = data, 0

    def next_word(self):
        word = self.data[self.data_index]
        self.data_index = (self.data_index + 1) % len(self.data)
        return word

    def generate_batch(self, rng):
        batch = np.ndarray(shape=(batch_size), dtype=np.int32)
        labels = np.ndarray(shape=(batch_size, 1), dtype=np.int32)
        span = 2 * skip_window + 1
        buffer = collections.deque([self.next_word() for _ in range(span)], maxlen=span)
        for i in range(batch_size // num_skips):
            context_words = [w for w in range(span) if w != skip_window]
            for j, context_word in enumerate(rng.permutation(context_words)[:num_skips]):
                batch[i * num_skips + j] = buffer[skip_window]
                labels[i * num_skips + j, 0] = buffer[context_word]
            buffer.append(self.next_word())
        return batch, labels


def similar(embeddings, words):
    norm = tf.sqrt(tf.reduce_sum(tf.square(embeddings), 1, keepdims=True))
    normalized_embeddings = embeddings / norm
    valid_embeddings = tf.nn.embedding_lookup(normalized_embeddings, words)
    return tf.matmul(valid_embeddings, normalized_embeddings, transpose_b=True)


def neighbours(sim, names):
    """For each row the words after the first, which is the word itself."""
    return {names[row[0]]: [names[i] for i in row[1:4]] for row in np.argsort(-sim, axis=1)}


@functools.cache
def skip_gram(device: str) -> tuple[list[float], dict[str, list[str]]]:
    data, dictionary, names = text()
    vocabulary_size = len(names)
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(5)
        with tf.name_scope("inputs"):
            train_inputs = tf.placeholder(tf.int32, shape=[batch_size])
            train_labels = tf.placeholder(tf.int32, shape=[batch_size, 1])
            valid_dataset = tf.constant([dictionary[w] for w in ("cat", "sees", "kings")], dtype=tf.int32)
        with tf.device("/cpu:0"):
            with tf.name_scope("embeddings"):
                embeddings = tf.Variable(tf.random_uniform([vocabulary_size, embedding_size], -1.0, 1.0))
                embed = tf.nn.embedding_lookup(embeddings, train_inputs)
            with tf.name_scope("weights"):
                nce_weights = tf.Variable(
                    tf.truncated_normal(
                        [vocabulary_size, embedding_size], stddev=1.0 / math.sqrt(embedding_size)
                    )
                )
            with tf.name_scope("biases"):
                nce_biases = tf.Variable(tf.zeros([vocabulary_size]))
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(
                tf.nn.nce_loss(
                    weights=nce_weights, biases=nce_biases, labels=train_labels, inputs=embed,
                    num_sampled=num_sampled, num_classes=vocabulary_size,
                )
            )  # fmt: skip
        with tf.name_scope("optimizer"):
            optimizer = tf.train.GradientDescentOptimizer(1.0).minimize(loss)
        similarity = similar(embeddings, valid_dataset)
        init = tf.global_variables_initializer()

    losses = []
    source, rng = Batches(data), np.random.default_rng(0)
    with tf.Session(graph=graph, device=device) as session:
        init.run()
        for _ in range(1000):
            batch_inputs, batch_labels = source.generate_batch(rng)
            feed_dict = {train_inputs: batch_inputs, train_labels: batch_labels}
            _, loss_val = session.run([optimizer, loss], feed_dict=feed_dict)
            losses.append(float(loss_val))
        return losses, neighbours(similarity.eval(), names)


def test_words_are_told_from_noise(device: str) -> None:
    losses, near = skip_gram(device)
    assert np.mean(losses[-50:]) < 0.7 * np.mean(losses[:5])
    assert set(near["cat"]) == {"dog", "bird", "king"}
    assert set(near["sees"][:2]) == {"hears", "feeds"}
    assert set(near["kings"]) == {"cats", "dogs", "birds"}
    assert_same_curve(losses, skip_gram("cpu:0")[0], first=100, early=1e-3, late=2e-2)


@functools.cache
def cbow(device: str) -> tuple[list[float], list[float], dict[str, list[str]]]:
    """The mean of the words around predicts the word between them."""
    data, dictionary, names = text()
    vocabulary_size = len(names)
    rows = np.lib.stride_tricks.sliding_window_view(np.array(data, np.int32), 3)
    contexts, centres = rows[:, [0, 2]], rows[:, 1:2]
    with tf.Graph().as_default():
        tf.set_random_seed(9)
        words = tf.placeholder(tf.int32, [None, 2], name="context")
        labels = tf.placeholder(tf.int64, [None, 1], name="word")
        embeddings = tf.get_variable(
            "embeddings", [vocabulary_size, embedding_size],
            initializer=tf.random_uniform_initializer(-1.0, 1.0),
        )  # fmt: skip
        w = tf.get_variable("w", [vocabulary_size, embedding_size])
        b = tf.get_variable("b", [vocabulary_size], initializer=tf.zeros_initializer())
        embed = tf.reduce_mean(tf.nn.embedding_lookup(embeddings, words), 1)
        loss = tf.reduce_mean(tf.nn.sampled_softmax_loss(w, b, labels, embed, num_sampled, vocabulary_size))
        # Evaluated with all words, as it should be.
        logits = tf.matmul(embed, w, transpose_b=True) + b
        full_loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels[:, 0], logits=logits)
        )
        train = tf.train.AdagradOptimizer(1.0).minimize(loss)
        similarity = similar(w, tf.constant([dictionary[x] for x in ("cat", "sees", "kings")]))
        losses, full = [], []
        rng = np.random.default_rng(1)
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for step in range(500):
                if step % 100 == 0:
                    full.append(float(sess.run(full_loss, {words: contexts, labels: centres})))
                chosen = rng.integers(0, len(rows), 100)
                feed = {words: contexts[chosen], labels: centres[chosen]}
                losses.append(float(sess.run([loss, train], feed)[0]))
            full.append(float(sess.run(full_loss, {words: contexts, labels: centres})))
            return losses, full, neighbours(sess.run(similarity), names)


def test_a_few_sampled_words_stand_for_all(device: str) -> None:
    losses, full, near = cbow(device)
    assert full[-1] < 0.55 * full[0] and full[0] > full[1] > full[-1]
    assert set(near["sees"][:2]) == {"hears", "feeds"}
    assert_same_curve(losses, cbow("cpu:0")[0], first=100, early=1e-3, late=2e-2)
