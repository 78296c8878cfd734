"""`static_rnn` and its relatives: values, lengths, structures, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rnn import reference
from rnn.reference import set_variables

import graphrun as gr
from graphrun.errors import DTypeError, GraphError, ShapeError

R = gr.nn.rnn_cell
BATCH, TIME, DEPTH, UNITS = 4, 6, 3, 5


@pytest.mark.parametrize("lengths", [None, [6, 2, 0, 5]], ids=["whole", "lengths"])
def test_static_rnn(device: str, rng: np.random.Generator, lengths: Any) -> None:
    x = gr.placeholder(gr.float32, (None, TIME, DEPTH))
    n = gr.placeholder(gr.int64, (None,)) if lengths else None
    outputs, state = gr.nn.static_rnn(
        R.BasicLSTMCell(UNITS), gr.unstack(x, axis=1), dtype=gr.float32, sequence_length=n
    )
    assert len(outputs) == TIME and outputs[0].shape.as_list() == [None, UNITS]
    xv = rng.standard_normal((BATCH, TIME, DEPTH)).astype(np.float32)
    feed: dict[Any, Any] = {x: xv, **({n: lengths} if lengths else {})}
    with gr.Session(device=device) as sess:
        values = {k.partition("/")[2]: v for k, v in set_variables(sess, rng).items()}
        ys, last = sess.run([outputs, state], feed)
    zero = np.zeros((BATCH, UNITS), np.float32)
    expected, (c, h) = reference.unrolled(reference.lstm, xv, (zero, zero), values, lengths)
    np.testing.assert_allclose(np.stack(ys, 1), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last.c, c, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last.h, h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [None, [6, 2, 1, 5]], ids=["whole", "lengths"])
def test_both_ways(device: str, rng: np.random.Generator, lengths: Any) -> None:
    x = gr.placeholder(gr.float32, (BATCH, TIME, DEPTH))
    outputs, forth, back = gr.nn.static_bidirectional_rnn(
        R.BasicRNNCell(UNITS), R.GRUCell(2), gr.unstack(x, axis=1), dtype=gr.float32, sequence_length=lengths
    )
    xv = rng.standard_normal((BATCH, TIME, DEPTH)).astype(np.float32)
    with gr.Session(device=device) as sess:
        values = set_variables(sess, rng)
        ys, forth_, back_ = sess.run([gr.stack(outputs, 1), forth, back], {x: xv})

    def turned(a: np.ndarray) -> np.ndarray:
        each = lengths or [TIME] * BATCH
        return np.stack([np.concatenate([r[:n][::-1], r[n:]]) for r, n in zip(a, each, strict=True)])

    of = {d: {k[len(d) :].partition("/")[2]: v for k, v in values.items() if k.startswith(d)}
          for d in ("fw/", "bw/")}  # fmt: skip
    zero = np.zeros((BATCH, UNITS))
    a, state_a = reference.unrolled(reference.basic, xv, zero, of["fw/"], lengths)
    b, state_b = reference.unrolled(reference.gru, turned(xv), zero[:, :2], of["bw/"], lengths)
    np.testing.assert_allclose(ys, np.concatenate([a, turned(b)], 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(forth_, state_a, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(back_, state_b, rtol=1e-4, atol=1e-5)


def test_what_lies_behind_the_end_has_no_gradient(rng: np.random.Generator) -> None:
    x = gr.placeholder(gr.float64, (2, 4, DEPTH))
    outputs, state = gr.nn.static_rnn(
        R.GRUCell(UNITS), gr.unstack(x, axis=1), dtype=gr.float64, sequence_length=[1, 3]
    )
    (slope,) = gr.gradients(gr.add_n([gr.reduce_sum(y) for y in outputs]) + gr.reduce_sum(state), x)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        xv = rng.standard_normal((2, 4, DEPTH))
        got = sess.run(slope, {x: xv})
    assert np.all(got[0, 1:] == 0) and np.all(got[1, 3:] == 0)
    assert np.all(got[0, :1] != 0) and np.all(got[1, :3] != 0) and np.all(np.isfinite(got))


def test_structures_of_inputs() -> None:
    class Pair(R.RNNCell):
        state_size, output_size = (2, gr.TensorShape([2, 3])), (2, 3)

        def call(self, inputs: Any, state: Any) -> Any:
            total = state[0] + inputs["a"]
            return (total, inputs["b"]), (total, state[1] + 1)

    steps = [{"a": gr.ones([2, 2]) * k, "b": gr.ones([2, 3])} for k in range(3)]
    outputs, state = gr.nn.static_rnn(Pair(), steps, dtype=gr.float32, sequence_length=[3, 2])
    with gr.Session() as sess:
        ys, last = sess.run([outputs, state])
    np.testing.assert_array_equal([y[0][:, 0] for y in ys], [[0, 0], [1, 1], [3, 0]])
    np.testing.assert_array_equal(last[0][:, 0], [3, 1])
    np.testing.assert_array_equal(last[1], np.ones([2, 2, 3]) * np.array([3, 2])[:, None, None])


def test_saved_states() -> None:
    kept = {k: gr.Variable(gr.zeros([2, 3]), name=k) for k in "ch"}

    class Saver:
        state = staticmethod(lambda name: kept[name].value())
        save_state = staticmethod(lambda name, value: gr.assign(kept[name], value))

    xs = [gr.ones([2, 2])] * 2
    names = R.LSTMStateTuple("c", "h")
    outputs, _ = gr.nn.static_state_saving_rnn(R.LSTMCell(3), xs, Saver(), names)
    whole, _ = gr.nn.static_rnn(R.LSTMCell(3, reuse=True), xs * 2, dtype=gr.float32)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        first, second = sess.run(outputs[-1]), sess.run(outputs[-1])
        np.testing.assert_allclose([first, second], sess.run(whole[1::2]), rtol=1e-6)
    with pytest.raises(GraphError, match=r"state_name does not match(.|\n)*test_unrolled.py"):
        gr.nn.static_state_saving_rnn(R.LSTMCell(3), xs, Saver(), "c")


def test_errors() -> None:
    cell = R.GRUCell(3)
    x = gr.placeholder(gr.float32, (2, 4, 3))
    with pytest.raises(GraphError, match=r"static_rnn: inputs is empty(.|\n)*test_unrolled.py"):
        gr.nn.static_rnn(cell, [], dtype=gr.float32)
    with pytest.raises(DTypeError, match=r"inputs is a Tensor(.|\n)*gr.unstack\(x, axis=1\)"):
        gr.nn.static_rnn(cell, x, dtype=gr.float32)
    with pytest.raises(GraphError, match=r"neither initial_state nor dtype(.|\n)*dtype=gr.float32"):
        gr.nn.static_rnn(cell, [x[0]])
    with pytest.raises(ShapeError, match=r"depth of the inputs(.|\n)*\(\?, \?\)(.|\n)*set_shape"):
        gr.nn.static_rnn(cell, [gr.placeholder(gr.float32, (None, None))], dtype=gr.float32)
    with pytest.raises(ShapeError, match=r"different numbers of examples(.|\n)*\(2, 3\)(.|\n)*\(1, 3\)"):
        gr.nn.static_rnn(cell, [x[:, 0], x[:1, 0]], dtype=gr.float32)
    with pytest.raises(ShapeError, match=r"no vector of the batch's size(.|\n)*\(3,\)(.|\n)*\(2,\)"):
        gr.nn.static_rnn(cell, [x[:, 0]], dtype=gr.float32, sequence_length=[1, 1, 1])
    with pytest.raises(DTypeError, match="sequence_length has dtype float32"):
        gr.nn.static_rnn(cell, [x[:, 0]], dtype=gr.float32, sequence_length=[1.0, 1.0])
    with pytest.raises(DTypeError, match="cell is the class GRUCell"):
        gr.nn.static_rnn(R.GRUCell, [x[:, 0]], dtype=gr.float32)
    with pytest.raises(GraphError, match=r"another structure than the cell's state(.|\n)*\(\*, \*\)"):
        gr.nn.static_rnn(cell, [x[:, 0]], (gr.zeros([2, 3]), gr.zeros([2, 3])))
    with pytest.raises(GraphError, match=r"inputs\[1\] has another structure"):
        gr.nn.static_rnn(cell, [x[:, 0], (x[:, 0], x[:, 0])], dtype=gr.float32)
