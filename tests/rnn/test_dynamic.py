"""`dynamic_rnn` and its relatives: against `static_rnn`, with known and unknown steps, names, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphrun as tf
from graphrun.errors import GraphrunError

BATCH, TIME, DEPTH, UNITS = 3, 5, 4, 6
LENGTHS = np.array([5, 2, 0])
cells = tf.nn.rnn_cell


@pytest.fixture(autouse=True)
def graph() -> Any:
    with tf.Graph().as_default() as g:
        tf.set_random_seed(3)
        yield g


def data() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(BATCH, TIME, DEPTH)).astype(np.float32)


def run(device: str, fetches: Any, feed: Any = None) -> Any:
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feed)


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


CELLS: dict[str, Callable[[], Any]] = {
    "rnn": lambda: cells.BasicRNNCell(UNITS),
    "lstm": lambda: cells.BasicLSTMCell(UNITS),
    "flat lstm": lambda: cells.LSTMCell(UNITS, state_is_tuple=False),
    "gru": lambda: cells.GRUCell(UNITS),
    "stack": lambda: cells.MultiRNNCell([cells.LSTMCell(UNITS), cells.GRUCell(4)]),
    "residual": lambda: cells.ResidualWrapper(cells.GRUCell(DEPTH)),
    "device": lambda: cells.DeviceWrapper(cells.GRUCell(UNITS), "/cpu:0"),
}


@pytest.mark.parametrize("kind", list(CELLS))
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
def test_dynamic_equals_static(device: str, kind: str, lengths: Any) -> None:
    """With the number of steps known (unrolled) and not known (repeated), values and gradients."""
    x = tf.placeholder(tf.float32, (None, None, DEPTH))
    known = tf.placeholder(tf.float32, (BATCH, TIME, DEPTH))
    steps = tf.reduce_max(tf.cast(tf.reduce_sum(tf.ones_like(x[:, :, 0]), 1), tf.int32))  # from data
    results = []
    with tf.variable_scope("net", reuse=tf.AUTO_REUSE, initializer=tf.random_uniform_initializer(-0.5, 0.5)):
        for how in ("static", "unrolled", "repeated"):
            if how == "static":
                outputs, state = tf.nn.static_rnn(
                    CELLS[kind](), tf.unstack(known, axis=1), dtype=tf.float32, sequence_length=lengths
                )
                y = tf.stack(outputs, 1)
            elif how == "unrolled":
                y, state = tf.nn.dynamic_rnn(CELLS[kind](), known, lengths, dtype=tf.float32)
            else:
                y, state = tf.nn.dynamic_rnn(CELLS[kind](), x[:, :steps], lengths, dtype=tf.float32)
            parts = _flat(state)
            loss = tf.reduce_sum(y**2) + tf.add_n([tf.reduce_sum(t**3) for t in parts])
            weights = tf.trainable_variables()
            results.append([y, parts, *tf.gradients(loss, [*weights, known if how != "repeated" else x])])
    assert len({len(r) for r in results}) == 1
    static, unrolled, repeated = run(device, results, {x: data(), known: data()})
    if lengths is not None:
        assert (static[0][1, 2:] == 0).all() and (static[0][2] == 0).all()
    for found in (unrolled, repeated):
        for a, b in zip(_flat(static), _flat(found), strict=True):
            close(b, a)


def _flat(x: Any) -> list[Any]:
    return [p for part in x for p in _flat(part)] if isinstance(x, list | tuple) else [x]


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
def test_bidirectional(device: str, lengths: Any) -> None:
    x = tf.constant(data())
    with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
        outputs, (fw, bw) = tf.nn.bidirectional_dynamic_rnn(
            cells.GRUCell(UNITS), cells.GRUCell(2), x, lengths, dtype=tf.float32
        )
        static, fw2, bw2 = tf.nn.static_bidirectional_rnn(
            cells.GRUCell(UNITS),
            cells.GRUCell(2),
            tf.unstack(x, axis=1),
            dtype=tf.float32,
            sequence_length=lengths,
        )
    names = {v.op.name.rpartition("/gru_cell")[0] for v in tf.global_variables()}
    assert names == {"net/bidirectional_rnn/fw", "net/bidirectional_rnn/bw"}
    both = tf.concat(outputs, 2)
    a, b, states = run(device, [both, tf.stack(static, 1), [fw, fw2, bw, bw2]])
    close(a, b)
    close(states[0], states[1])
    close(states[2], states[3])
    if lengths is None:
        close(a[:, 0, UNITS:], states[2])  # the backward cell ends at the first step


def test_time_major_and_initial_state(device: str) -> None:
    x = tf.constant(data())
    cell = cells.GRUCell(UNITS)
    start = tf.ones([BATCH, UNITS])
    a, _ = tf.nn.dynamic_rnn(cell, x, initial_state=start)
    b, _ = tf.nn.dynamic_rnn(cell, tf.transpose(x, [1, 0, 2]), initial_state=start, time_major=True)
    c, _ = tf.nn.dynamic_rnn(cell, x, initial_state=tf.zeros([BATCH, UNITS]))
    a_, b_, c_ = run(device, [a, b, c])
    close(a_, b_.transpose(1, 0, 2))
    assert np.abs(a_ - c_).max() > 0.01
    assert a.shape.as_list() == [BATCH, TIME, UNITS]


def test_names_of_variables() -> None:
    x = tf.placeholder(tf.float32, (None, TIME, DEPTH))
    stack = cells.MultiRNNCell([cells.DropoutWrapper(cells.BasicLSTMCell(UNITS), 0.5) for _ in range(2)])
    tf.nn.dynamic_rnn(stack, x, dtype=tf.float32)
    with tf.variable_scope("decoder"):
        tf.nn.static_rnn(cells.LSTMCell(2), tf.unstack(x, axis=1), dtype=tf.float32)
    assert [v.name for v in tf.trainable_variables()] == [
        "rnn/multi_rnn_cell/cell_0/basic_lstm_cell/kernel:0",
        "rnn/multi_rnn_cell/cell_0/basic_lstm_cell/bias:0",
        "rnn/multi_rnn_cell/cell_1/basic_lstm_cell/kernel:0",
        "rnn/multi_rnn_cell/cell_1/basic_lstm_cell/bias:0",
        "decoder/rnn/lstm_cell/kernel:0",
        "decoder/rnn/lstm_cell/bias:0",
    ]


def test_dropout_wrapper(device: str) -> None:
    x = tf.ones([50, 4, 40])

    class Copy(cells.RNNCell):
        state_size = output_size = 40

        def call(self, inputs: Any, state: Any) -> Any:
            return inputs, state + 1

    y, state = tf.nn.dynamic_rnn(
        cells.DropoutWrapper(Copy(), input_keep_prob=0.5, state_keep_prob=0.5), x, dtype=tf.float32
    )
    once, _ = tf.nn.dynamic_rnn(
        cells.DropoutWrapper(
            Copy(), output_keep_prob=0.5, variational_recurrent=True, dtype=tf.float32, input_size=40
        ),
        x, dtype=tf.float32,
    )  # fmt: skip
    y_, once_, state_ = run(device, [y, once, state])
    assert set(np.unique(y_)) == {0, 2} and 0.45 < (y_ == 0).mean() < 0.55
    assert (y_[:, 0] != y_[:, 1]).any() and (once_[:, 0] == once_[:, 3]).all()
    assert set(np.unique(once_)) == {0, 2}
    assert (state_ == 0).any() and state_.max() > 2


def test_own_cell_by_subclass(device: str) -> None:
    class Minimal(cells.RNNCell):
        def __init__(self, units: int) -> None:
            super().__init__()
            self._units = units

        @property
        def state_size(self) -> int:
            return self._units

        @property
        def output_size(self) -> int:
            return self._units

        def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
            with tf.variable_scope(scope or type(self).__name__):
                w = tf.get_variable("w", [DEPTH, self._units])
                new = tf.nn.relu(state + tf.matmul(inputs, w))
            return new, new

    y, _ = tf.nn.dynamic_rnn(Minimal(2), tf.constant(data()), dtype=tf.float32)
    assert [v.name for v in tf.global_variables()] == ["rnn/Minimal/w:0"]
    y_, w = run(device, [y, tf.global_variables()[0]])
    h = np.zeros((BATCH, 2))
    for t in range(TIME):
        h = np.maximum(h + data()[:, t] @ w, 0)
    close(y_[:, -1], h)


def test_raw_rnn(device: str) -> None:
    x = tf.constant(data().transpose(1, 0, 2))
    inputs = tf.TensorArray(tf.float32, TIME).unstack(x)
    lengths = tf.constant(np.array([5, 2, 1], np.int32))
    cell = cells.GRUCell(UNITS)

    def loop_fn(time: Any, output: Any, state: Any, loop_state: Any) -> Any:
        finished = time >= lengths
        following = cell.zero_state(BATCH, tf.float32) if output is None else state
        ends = tf.reduce_all(finished)
        next_input = tf.cond(ends, lambda: tf.zeros([BATCH, DEPTH]), lambda: inputs.read(time))
        return finished, next_input, following, output, None

    emitted, state, _ = tf.nn.raw_rnn(cell, loop_fn)
    expected, last = tf.nn.dynamic_rnn(cell, x, lengths, time_major=True, dtype=tf.float32)
    a, b, s, t = run(device, [emitted.stack(), expected, state, last])
    close(a, b)
    close(s, t)


def test_a_net_learns_to_add(device: str) -> None:
    """The sum of two marked numbers of a sequence, as in the paper on LSTMs."""
    rng = np.random.default_rng(1)
    x = tf.placeholder(tf.float32, (None, None, 2))
    y = tf.placeholder(tf.float32, (None,))
    _, state = tf.nn.dynamic_rnn(cells.GRUCell(16), x, dtype=tf.float32)
    loss = tf.reduce_mean((tf.layers.dense(state, 1)[:, 0] - y) ** 2)
    train = tf.train.AdamOptimizer(0.02).minimize(loss)
    losses = []
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        for _ in range(150):
            values = rng.uniform(size=(32, 6))
            marks = np.zeros((32, 6))
            for row in marks:
                row[rng.choice(6, 2, replace=False)] = 1
            feed = {x: np.stack([values, marks], 2), y: (values * marks).sum(1)}
            losses.append(session.run([loss, train], feed)[0])
    assert np.mean(losses[-10:]) < 0.05 < losses[0]


def test_messages() -> None:
    cell = cells.GRUCell(UNITS)
    with pytest.raises(ValueError, match=r"(?s)too few dimensions.*test_dynamic.py.*\(batch, time, depth\)"):
        tf.nn.dynamic_rnn(cell, tf.zeros([3]), dtype=tf.float32)
    with pytest.raises(GraphrunError, match=r"(?s)neither initial_state nor dtype.*dtype=gr.float32"):
        tf.nn.dynamic_rnn(cell, tf.zeros([1, 2, 3]))
    with pytest.raises(GraphrunError, match=r"(?s)inputs is a Tensor.*gr.unstack"):
        tf.nn.static_rnn(cell, tf.zeros([1, 2, 3]), dtype=tf.float32)
    with pytest.raises(ValueError, match=r"(?s)the depth .* is not known.*\(\?, 3, \?\).*test_dynamic"):
        tf.nn.dynamic_rnn(cell, tf.placeholder(tf.float32, (None, 3, None)), dtype=tf.float32)
    with pytest.raises(ValueError, match=r"(?s)no matrix.*\(1, 2, 3\).*dynamic_rnn"):
        known = cells.GRUCell(UNITS)
        known(tf.zeros([1, 2, 3]), known.zero_state(1, tf.float32))
    with pytest.raises(ValueError, match=r"(?s)sequence_length is no vector"):
        tf.nn.dynamic_rnn(cell, tf.zeros([1, 2, 3]), tf.constant(1), dtype=tf.float32)
    with pytest.raises(GraphrunError, match="MultiRNNCell: cells is empty"):
        cells.MultiRNNCell([])
    with pytest.raises(GraphrunError, match="output_keep_prob=1.5"):
        cells.DropoutWrapper(cell, output_keep_prob=1.5)
    with pytest.raises(GraphrunError, match=r"(?s)cell is a int.*GRUCell"):
        tf.nn.dynamic_rnn(128, tf.zeros([1, 2, 3]), dtype=tf.float32)


def test_a_loop_that_is_unrolled_costs_no_more_than_written_out() -> None:
    """The gradient of the weights is one product over all steps, though a loop adds it up step by step."""
    launches = {}
    for how in ("static", "dynamic"):
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, (8, 12, DEPTH))
            cell = cells.BasicLSTMCell(UNITS)
            if how == "dynamic":
                _, state = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
            else:
                _, state = tf.nn.static_rnn(cell, tf.unstack(x, axis=1), dtype=tf.float32)
            train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(state.h**2))
            with tf.Session(device="null:0") as session:
                session.run(tf.global_variables_initializer())
                launches[how] = len(session.plan(train, {x: np.zeros((8, 12, DEPTH))}).launches)
    assert launches["dynamic"] <= launches["static"]
