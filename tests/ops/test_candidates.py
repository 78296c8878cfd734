"""Candidate samplers: how often classes come, what is expected, state, seeds and messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphrun as gr

TRUE = np.array([[0], [3], [7]], np.int64)


def _probabilities(range_max: int) -> np.ndarray:
    k = np.arange(range_max)
    return np.log((k + 2) / (k + 1)) / np.log(range_max + 1)


SAMPLERS = {
    "log_uniform": (lambda **kw: gr.nn.log_uniform_candidate_sampler(**kw), _probabilities(10)),
    "uniform": (lambda **kw: gr.nn.uniform_candidate_sampler(**kw), np.full(10, 0.1)),
    "fixed": (
        lambda **kw: gr.nn.fixed_unigram_candidate_sampler(unigrams=range(1, 11), distortion=0.5, **kw),
        np.sqrt(np.arange(1, 11)) / np.sqrt(np.arange(1, 11)).sum(),
    ),
}


def _draw(name: str, num_sampled: int, unique: bool, seed: int = 1) -> Any:
    make = SAMPLERS[name][0]
    return make(
        true_classes=TRUE, num_true=1, num_sampled=num_sampled, unique=unique, range_max=10, seed=seed
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_classes_come_as_often_as_is_expected(name: str) -> None:
    with gr.Session() as session:
        drawn, true_count, count = session.run(_draw(name, 20_000, False))
    p = SAMPLERS[name][1]
    found = np.bincount(drawn, minlength=10)
    assert found.size == 10
    np.testing.assert_allclose(found, p * 20_000, atol=6 * np.sqrt(20_000 * 0.25))
    np.testing.assert_allclose(count, p[drawn] * 20_000, rtol=1e-5)
    np.testing.assert_allclose(true_count, p[TRUE] * 20_000, rtol=1e-5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_distinct_classes_and_the_number_of_tries(name: str) -> None:
    p = SAMPLERS[name][1].astype(np.float32)
    with gr.Session() as session:
        fetches = _draw(name, 4, True)
        runs = [session.run(fetches) for _ in range(30)]
    tries = []
    for drawn, true_count, count in runs:
        assert len(set(drawn.tolist())) == 4
        # 1 - (1 - p) ** tries, or p * 4 where every try gave another class.
        fits = [n for n in range(4, 200) if np.allclose(count, _expected(p[drawn], n), rtol=1e-5)]
        assert len(fits) == 1
        np.testing.assert_allclose(true_count, _expected(p[TRUE], fits[0]), rtol=1e-5)
        tries += fits
    assert 4 < np.mean(tries) < 15
    assert len({tuple(d) for d, _, _ in runs}) > 20  # drawn anew in each run


def _expected(p: np.ndarray, tries: int) -> np.ndarray:
    return p * 4 if tries == 4 else -np.expm1(tries * np.log1p(-p))


def test_seeds(device: str) -> None:
    fetches = [_draw("log_uniform", 5, True, seed)[0] for seed in (3, 3, 4)]
    with gr.Session(device=device) as session, gr.Session() as host:
        a, b, c = session.run(fetches)
        assert a.tolist() == b.tolist() != c.tolist()
        assert host.run(fetches[0]).tolist() == a.tolist()


def test_the_learned_sampler_counts_true_classes_in_each_session() -> None:
    true = gr.placeholder(gr.int64, (None, 2))
    found = gr.nn.learned_unigram_candidate_sampler(true, 2, 3, False, 4, seed=1)
    assert gr.global_variables() == []
    p = []
    for _ in range(2):
        with gr.Session() as session:
            for _ in range(3):
                sampled, expected, _ = session.run(found, {true: [[2, 2], [2, 0]]})
                p.append((expected / 3).tolist())
                assert sampled.shape == (3,)
    first, second = p[:3], p[3:]
    assert first == second
    np.testing.assert_allclose([r[0][0] for r in first], [1 / 4, 4 / 8, 7 / 12], rtol=1e-6)
    np.testing.assert_allclose([r[1][1] for r in first], [1 / 4, 2 / 8, 3 / 12], rtol=1e-6)


def test_weights_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vocab.csv"
    path.write_text("the,9\nof,4\n\nrare,0\n")
    found = gr.nn.fixed_unigram_candidate_sampler(
        TRUE[:1] + 1, 1, 2, True, 4, vocab_file=str(path), num_reserved_ids=1
    )
    assert sorted(gr.Session().run(found[0]).tolist()) == [1, 2]
    path.write_text("the,9\nof,many\n")
    with pytest.raises(gr.errors.ShapeError, match="line 2 of the vocabulary ends in 'many'"):
        gr.nn.fixed_unigram_candidate_sampler(TRUE, 1, 1, True, 2, vocab_file=str(path))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: gr.nn.uniform_candidate_sampler(TRUE, 1, 11, True, 10), "11 distinct classes of 10\n"),
        (lambda: gr.nn.uniform_candidate_sampler(TRUE, 2, 5, True, 10), r"shape \(3, 1\)"),
        (lambda: gr.nn.uniform_candidate_sampler(TRUE, 1, 0, False, 10), "num_sampled is 0"),
        (lambda: gr.nn.fixed_unigram_candidate_sampler(TRUE, 1, 2, True, 3, unigrams=[1, 2]),
         "2 weights for range_max=3 classes"),
        (lambda: gr.nn.fixed_unigram_candidate_sampler(TRUE, 1, 2, True, 3, unigrams=[1, 0, 0]),
         "1 classes have a weight other than 0, 2 are wanted"),
        (lambda: gr.nn.fixed_unigram_candidate_sampler(TRUE, 1, 2, True, 3), "neither of vocab_file"),
        (lambda: gr.nn.fixed_unigram_candidate_sampler(TRUE, 1, 2, True, 3, unigrams=[1], shard=2),
         "shard 2 of 1"),
        (lambda: gr.nn.embedding_lookup([gr.zeros([2, 2])] * 2, [1], "rows"), "partition_strategy='rows'"),
    ],
)  # fmt: skip
def test_messages(call: Any, text: str) -> None:
    with pytest.raises(gr.errors.ShapeError if "strategy" not in text else gr.errors.GraphError, match=text):
        call()


def test_int32_true_classes_are_told() -> None:
    with pytest.raises(gr.errors.DTypeError, match=r"true_classes has dtype int32(.|\n)*gr.cast"):
        gr.nn.uniform_candidate_sampler(gr.constant([[1]]), 1, 2, False, 4)


def test_a_true_class_that_is_none_is_told(device: str) -> None:
    drawn = gr.nn.uniform_candidate_sampler([[1], [4]], 1, 2, False, 4, name="draw")
    with gr.Session(device=device) as session:
        with pytest.raises(gr.errors.ExecutionError, match=r"'draw': .*true_classes\[1, 0\] is 4, of 4"):
            session.run(drawn[0])


def test_sampled_softmax_trains(device: str) -> None:
    """Skip-gram of a small ring of words: neighbours become likely."""
    n = 30
    rng = np.random.default_rng(0)
    words = gr.placeholder(gr.int32, (None,))
    labels = gr.placeholder(gr.int32, (None, 1))
    embedding = gr.Variable(rng.uniform(-1, 1, (n, 8)).astype("f4"))
    weights = gr.Variable(np.zeros((n, 8), "f4"))
    biases = gr.Variable(np.zeros(n, "f4"))
    inputs = gr.nn.embedding_lookup(embedding, words)
    loss = gr.reduce_mean(gr.nn.sampled_softmax_loss(weights, biases, labels, inputs, 10, n, seed=2))
    nce = gr.reduce_mean(gr.nn.nce_loss(weights, biases, labels, inputs, 10, n))
    step = gr.train.AdagradOptimizer(0.5).minimize(loss)
    losses = []
    with gr.Session(device=device) as session:
        session.run(gr.global_variables_initializer())
        for _ in range(60):
            w = rng.integers(0, n, 64)
            feed = {words: w, labels: ((w + 1) % n)[:, None]}
            losses.append(session.run([loss, step], feed)[0])
        assert np.isfinite(session.run(nce, feed))
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:5])
