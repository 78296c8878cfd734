"""Exponential moving averages: values, names, what a saver restores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, GraphError


@pytest.fixture(autouse=True)
def graph() -> Iterator[None]:
    with gr.Graph().as_default():
        yield


def test_average_of_a_variable_follows_its_updates() -> None:
    w = gr.Variable(2.0, name="w")
    ema = gr.train.ExponentialMovingAverage(0.75)
    with gr.control_dependencies([w.assign_add(4.0)]):
        update = ema.apply([w])
    average = ema.average(w)
    assert average is not None and average.name == "w/ExponentialMovingAverage:0"
    assert average in gr.global_variables() and average not in gr.trainable_variables()
    expected, value = 2.0, 2.0
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        assert sess.run(average) == 2.0
        for _ in range(4):
            value += 4.0
            expected -= 0.25 * (expected - value)
            assert sess.run(update) is None
            assert sess.run(average) == pytest.approx(expected, rel=1e-6)


def test_average_of_a_random_start_begins_there() -> None:
    w = gr.Variable(gr.random_normal((3,)))
    ema = gr.train.ExponentialMovingAverage(0.5)
    ema.apply([w])
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        np.testing.assert_array_equal(*sess.run([w, ema.average(w)]))


@pytest.mark.parametrize("debias", [False, True])
def test_average_of_a_tensor(debias: bool) -> None:
    x = gr.placeholder(gr.float32, (2,), name="x")
    ema = gr.train.ExponentialMovingAverage(0.9, zero_debias=debias)
    update = ema.apply([x])
    values = np.random.default_rng(0).standard_normal((3, 2)).astype("float32")
    expected = np.zeros(2)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        for t, value in enumerate(values, 1):
            sess.run(update, {x: value})
            expected = 0.9 * expected + 0.1 * value
            known = expected / (1 - 0.9**t) if debias else expected
            np.testing.assert_allclose(sess.run(ema.average(x)), known, rtol=1e-5)


def test_faster_in_the_beginning() -> None:
    w, step = gr.Variable(0.0), gr.Variable(8, trainable=False)
    update = gr.train.ExponentialMovingAverage(0.99, num_updates=step)
    with gr.control_dependencies([w.assign(1.0)]):
        run = update.apply([w])
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(run)
        assert sess.run(update.average(w)) == pytest.approx(0.5)  # a decay of 9 / 18


def test_names_for_a_saver() -> None:
    w, b = gr.Variable(1.0, name="w"), gr.Variable(1.0, name="b", trainable=False)
    ema = gr.train.ExponentialMovingAverage(0.9)
    assert ema.average(w) is None and ema.average_name(w) == "w/ExponentialMovingAverage"
    ema.apply()
    assert gr.train.moving_average_variables() == [w]
    assert ema.variables_to_restore() == {"w/ExponentialMovingAverage": w, "b": b}
    ema.apply([gr.constant(1.0, name="loss")])  # not a variable: its average is restored as what it is
    assert set(ema.variables_to_restore()) == {
        "w/ExponentialMovingAverage",
        "b",
        "loss/ExponentialMovingAverage",
    }


def test_messages() -> None:
    ema = gr.train.ExponentialMovingAverage(0.9)
    with pytest.raises(DTypeError, match="'count:0' has dtype int32"):
        ema.apply([gr.Variable(1, name="count")])
    with pytest.raises(GraphError, match=r"the shape of 'x:0' is \(\?,\)"):
        ema.apply([gr.placeholder(gr.float32, (None,), name="x")])
    for decay in ("0.9", None, [0.9], gr.constant([0.9])):
        with pytest.raises(DTypeError, match=r"decay is no number(.|\n)*test_moving_averages.py") as caught:
            gr.train.ExponentialMovingAverage(decay)
        assert "expected a number near 1, as 0.999" in str(caught.value)
    with pytest.raises(DTypeError, match="num_updates is no number\n(.|\n)*'7', of type str"):
        gr.train.ExponentialMovingAverage(0.9, "7")
