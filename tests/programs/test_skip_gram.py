"""Skip-gram: words are embedded by predicting their neighbours; those of one kind come to lie together."""

from __future__ import annotations

import collections
import functools

import numpy as np
from program_data import assert_same_curve, sentences

import graphrun as tf

EMBEDDED, WINDOW = 12, 1


def build_dataset(words):
    count = collections.Counter(words).most_common()
    dictionary = {word: i for i, (word, _) in enumerate(count)}
    return [dictionary[w] for w in words], dictionary


def pairs(data, window):
    """Each word with each of its neighbours."""
    found = []
    for i, centre in enumerate(data):
        for j in range(max(0, i - window), min(len(data), i + window + 1)):
            if j != i:
                found.append((centre, data[j]))
    return np.array(found, np.int32)


@functools.cache
def trained(device: str) -> tuple[list[float], dict[str, list[str]]]:
    data, dictionary = build_dataset([w for s in sentences(900, seed=3) for w in s])
    names = {i: w for w, i in dictionary.items()}
    vocabulary_size = len(dictionary)
    examples = pairs(data, WINDOW)
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(1)
        train_inputs = tf.placeholder(tf.int32, shape=[None])
        train_labels = tf.placeholder(tf.int32, shape=[None])
        valid_dataset = tf.constant([dictionary[w] for w in ("cat", "sees", "kings")], dtype=tf.int32)
        embeddings = tf.Variable(tf.random_uniform([vocabulary_size, EMBEDDED], -1.0, 1.0))
        embed = tf.nn.embedding_lookup(embeddings, train_inputs)
        weights = tf.Variable(tf.truncated_normal([EMBEDDED, vocabulary_size], stddev=1.0 / EMBEDDED**0.5))
        biases = tf.Variable(tf.zeros([vocabulary_size]))
        hidden_out = tf.matmul(embed, weights) + biases
        train_one_hot = tf.one_hot(train_labels, vocabulary_size)
        loss = tf.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits(logits=hidden_out, labels=train_one_hot)
        )
        optimizer = tf.train.AdagradOptimizer(1.0).minimize(loss)
        norm = tf.sqrt(tf.reduce_sum(tf.square(embeddings), 1, keep_dims=True))
        normalized_embeddings = embeddings / norm
        valid_embeddings = tf.nn.embedding_lookup(normalized_embeddings, valid_dataset)
        similarity = tf.matmul(valid_embeddings, normalized_embeddings, transpose_b=True)
        nearest = tf.nn.top_k(similarity, k=4).indices
        init = tf.global_variables_initializer()

    losses = []
    rng = np.random.default_rng(0)
    with tf.Session(graph=graph, device=device) as session:
        init.run()
        for _ in range(500):
            batch = examples[rng.integers(0, len(examples), 128)]
            feed_dict = {train_inputs: batch[:, 0], train_labels: batch[:, 1]}
            _, loss_val = session.run([optimizer, loss], feed_dict=feed_dict)
            losses.append(float(loss_val))
        near = {names[row[0]]: [names[i] for i in row[1:]] for row in nearest.eval()}
    return losses, near


def test_words_of_one_kind_are_neighbours(device: str) -> None:
    losses, near = trained(device)
    assert np.mean(losses[-50:]) < 0.72 * losses[0]
    assert set(near["cat"]) == {"dog", "bird", "king"}
    assert set(near["sees"][:2]) == {"hears", "feeds"}
    assert set(near["kings"]) == {"cats", "dogs", "birds"}
    assert_same_curve(losses, trained("cpu:0")[0], first=100, early=1e-3, late=1e-2)
