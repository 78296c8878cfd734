"""The CTC loss in a graph, long sequences, what decoders find, and messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as gr


def _labels(rows: list[list[int]]) -> gr.SparseTensor:
    places = [[b, i] for b, row in enumerate(rows) for i in range(len(row))]
    return gr.SparseTensor(
        np.array(places, np.int64).reshape(-1, 2), np.array([c for r in rows for c in r], np.int32),
        [len(rows), max(map(len, rows))],
    )  # fmt: skip


def test_gradients_by_finite_differences(device: str, rng: np.random.Generator) -> None:
    x = gr.placeholder(gr.float64, (5, 2, 4))
    loss = gr.nn.ctc_loss(_labels([[0, 1, 1], [2]]), x, [5, 3]) * [1.0, -2.0]
    (gradient,) = gr.gradients(loss, x)
    value = rng.normal(size=(5, 2, 4))
    with gr.Session(device=device) as session:
        found = session.run(gradient, {x: value})
        for at in [(0, 0, 1), (2, 0, 3), (4, 0, 1), (1, 1, 2), (3, 1, 0)]:
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[at] += sign * 1e-5
                ends.append(session.run(loss, {x: moved}).sum())
            np.testing.assert_allclose(found[at], (ends[0] - ends[1]) / 2e-5, atol=1e-7)
        assert not found[3:, 1].any()


def test_long_sequences_stay_finite() -> None:
    logits = np.zeros((2000, 1, 5), np.float32)
    logits[:, 0, 4] = 50.0
    x = gr.constant(logits)
    loss = gr.nn.ctc_loss(_labels([[0, 1] * 50]), x, [2000])
    value, gradient = gr.Session().run([loss, gr.gradients(loss, x)[0]])
    assert 4000 < value[0] < 5100  # each of 100 labels costs 50, and may stand in many places
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-5)


def test_labels_that_do_not_fit() -> None:
    x = gr.constant(np.zeros((2, 1, 3), np.float32))
    loss = gr.nn.ctc_loss(_labels([[0, 0]]), x, [2])
    value, gradient = gr.Session().run([loss, gr.gradients(loss, x)[0]])
    assert value.tolist() == [np.inf]
    np.testing.assert_allclose(gradient, 1 / 3, rtol=1e-6)


def test_no_second_derivative() -> None:
    x = gr.constant(np.zeros((2, 1, 3), np.float32))
    (g,) = gr.gradients(gr.nn.ctc_loss(_labels([[0]]), x, [2]), x)
    with pytest.raises(gr.errors.GradientError, match="there is no second derivative"):
        gr.gradients(g, x)


@pytest.mark.parametrize(
    ("rows", "lengths", "text"),
    [
        ([[1], []], [3, 3], r"row 1 has no labels\n"),
        ([[1, 0, 1, 1], [0]], [3, 3], r"row 0 has 4 labels for 3 steps(.|\n)*ignore_longer_outputs"),
        ([[1, 2, 1], [0]], [3, 3], r"row 0 has label 1 behind one of 2 or more"),
        ([[-1], [0]], [3, 3], r"a label of row 0 is -1\n"),
        ([[1], [0]], [3, 4], r"sequence_length\[1\] is 4, of 3 steps"),
    ],
)
def test_messages_of_a_run(rows: Any, lengths: Any, text: str) -> None:
    loss = gr.nn.ctc_loss(_labels(rows), gr.placeholder(gr.float32, (None, 2, 3), name="x"), lengths)
    with gr.Session() as session, pytest.raises(gr.errors.InvalidArgumentError, match=text):
        session.run(loss, {"x:0": np.zeros((3, 2, 3))})


def test_messages() -> None:
    x = gr.zeros([4, 2, 3])
    with pytest.raises(gr.errors.ShapeError, match=r"sequence_length has shape \(3,\)"):
        gr.nn.ctc_loss(_labels([[0], [1]]), x, [4, 4, 4])
    with pytest.raises(gr.errors.ShapeError, match="logits and their lengths"):
        gr.nn.ctc_loss(_labels([[0], [1]]), x)
    with pytest.raises(gr.errors.DTypeError, match="is not sparse"):
        gr.nn.ctc_loss([[0], [1]], x, [4, 4])
    with pytest.raises(gr.errors.ShapeError, match="top_paths is 3\n(.|\n)*beam_width, 2"):
        gr.nn.ctc_beam_search_decoder(x, [4, 4], beam_width=2, top_paths=3)
    few, _ = gr.nn.ctc_beam_search_decoder(gr.zeros([1, 1, 2]), [1], top_paths=3)
    with pytest.raises(gr.errors.ExecutionError, match="2 label sequences have been found, 3 are wanted"):
        gr.Session().run(few)


def test_a_net_learns_to_spell(device: str) -> None:
    """Loss, gradient and both decoders together: a linear net reads codes of letters, each for some steps."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(4, 6)).astype("f4")  # of three letters and silence
    x = gr.placeholder(gr.float32, (None, None, 6))
    labels, lengths = gr.sparse_placeholder(gr.int32), gr.placeholder(gr.int32, (None,))
    logits = gr.tensordot(x, gr.Variable(np.zeros((6, 4), "f4")), 1) + gr.Variable(np.zeros(4, "f4"))
    loss = gr.reduce_mean(gr.nn.ctc_loss(labels, logits, lengths))
    step = gr.train.AdamOptimizer(0.1).minimize(loss)
    greedy, beam = gr.nn.ctc_greedy_decoder(logits, lengths)[0][0], None
    beam = gr.nn.ctc_beam_search_decoder(logits, lengths, 8, merge_repeated=False)[0][0]
    wrong = [gr.reduce_mean(gr.edit_distance(gr.cast(d, gr.int32), labels)) for d in (greedy, beam)]

    def batch() -> dict[Any, Any]:
        words = [rng.integers(0, 3, rng.integers(1, 4)).tolist() for _ in range(8)]
        frames = [[c for letter in w for c in [letter] * rng.integers(1, 4) + [3]] for w in words]
        time = max(map(len, frames))
        value = np.zeros((time, 8, 6), "f4")
        for b, f in enumerate(frames):
            value[: len(f), b] = codes[f] + rng.normal(size=(len(f), 6)) * 0.1
        places = [[b, i] for b, w in enumerate(words) for i in range(len(w))]
        sparse = (places, [c for w in words for c in w], [8, 3])
        return {x: value, labels: sparse, lengths: [len(f) for f in frames]}

    with gr.Session(device=device) as session:
        session.run(gr.global_variables_initializer())
        for _ in range(100):
            session.run(step, batch())
        assert max(session.run(wrong, batch())) < 0.05
