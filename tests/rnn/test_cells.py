"""Cells: what they compute on all devices, their variables and states, wrappers, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rnn import reference
from rnn.reference import set_variables

import graphrun as gr
from graphrun.errors import DTypeError, GraphError, NotFoundError, ShapeError

R = gr.nn.rnn_cell
BATCH, DEPTH, UNITS = 5, 3, 4


def flat(item: Any) -> list[Any]:
    return [x for part in item for x in flat(part)] if isinstance(item, tuple | list) else [item]


@pytest.mark.parametrize(
    ("make", "step", "settings"),
    [
        (lambda: R.BasicRNNCell(UNITS), reference.basic, {}),
        (lambda: R.GRUCell(UNITS), reference.gru, {}),
        (lambda: R.BasicLSTMCell(UNITS, forget_bias=0.4), reference.lstm, {"forget": 0.4}),
        (lambda: R.LSTMCell(UNITS), reference.lstm, {}),
        (lambda: R.LSTMCell(UNITS, use_peepholes=True, cell_clip=0.3), reference.lstm, {"clip": 0.3}),
        (lambda: R.LSTMCell(UNITS, num_proj=2, proj_clip=0.2), reference.lstm, {"proj_clip": 0.2}),
    ],
    ids=["basic", "gru", "basic_lstm", "lstm", "peepholes", "projection"],
)
def test_a_step(
    device: str, rng: np.random.Generator, make: Callable[[], Any], step: Any, settings: Any
) -> None:
    cell = make()
    x = gr.placeholder(gr.float32, (None, DEPTH))
    state = cell.zero_state(BATCH, gr.float32)
    output, new = cell(x, state)
    sizes = flat(cell.state_size)
    states = [rng.uniform(-1, 1, (BATCH, n)).astype(np.float32) for n in sizes]
    fed = states[0] if len(states) == 1 else tuple(states)
    xv = rng.standard_normal((BATCH, DEPTH)).astype(np.float32)
    with gr.Session(device=device) as sess:
        values = set_variables(sess, rng)
        got = sess.run([output, new], {x: xv, state: fed})
    expected = step(xv, fed, values, **settings)
    assert output.shape.as_list() == [BATCH, cell.output_size]
    for a, b in zip(flat(got), flat(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_states_joined_in_one_tensor_are_the_same(rng: np.random.Generator) -> None:
    x = gr.constant(rng.standard_normal((BATCH, DEPTH)).astype(np.float32))
    outputs = []
    for joined in (False, True):
        with gr.variable_scope("cell", reuse=joined):
            cell = R.MultiRNNCell(
                [R.BasicLSTMCell(4, state_is_tuple=not joined), R.LSTMCell(3, state_is_tuple=not joined)],
                state_is_tuple=not joined,
            )
            state = cell.zero_state(BATCH, gr.float32)
            for _ in range(3):
                y, state = cell(x, state)
            outputs.append([y, gr.concat(flat(state), 1)])
            assert cell.state_size == (14 if joined else ((4, 4), (3, 3)))
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        apart, joined_ = sess.run(outputs)
    for a, b in zip(apart, joined_, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.any(a)


def test_variables_and_zero_states() -> None:
    """Names as tensorflow.compat.v1 2.21 has them."""
    cell = R.MultiRNNCell([R.BasicLSTMCell(4), R.DropoutWrapper(R.GRUCell(5), output_keep_prob=0.5)])
    state = cell.zero_state(gr.placeholder(gr.int32, ()), gr.float32)
    assert state[0].c.name == "MultiRNNCellZeroState/BasicLSTMCellZeroState/zeros:0"
    assert isinstance(state[0], R.LSTMStateTuple) and state[0].dtype is gr.float32
    assert state[1].shape.as_list() == [None, 5]
    y, _ = cell(gr.zeros([3, 2]), cell.zero_state(3, gr.float32))
    assert cell.state_size == (R.LSTMStateTuple(4, 4), 5) and cell.output_size == 5
    names = [
        "multi_rnn_cell/cell_0/basic_lstm_cell/kernel:0", "multi_rnn_cell/cell_0/basic_lstm_cell/bias:0",
        "multi_rnn_cell/cell_1/gru_cell/gates/kernel:0", "multi_rnn_cell/cell_1/gru_cell/gates/bias:0",
        "multi_rnn_cell/cell_1/gru_cell/candidate/kernel:0",
        "multi_rnn_cell/cell_1/gru_cell/candidate/bias:0",
    ]  # fmt: skip
    assert [v.name for v in gr.trainable_variables()] == names == [v.name for v in cell.trainable_weights]
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        np.testing.assert_array_equal(sess.run(cell.variables[3]), np.ones(10))  # gates are open at first


def test_variables_of_own_cells_are_noted() -> None:
    class Mine(R.RNNCell):
        state_size = output_size = 3

        def build(self, input_shape: Any) -> None:
            self.b = self.add_weight("b", [3])
            super().build(input_shape)

        def call(self, inputs: Any, state: Any) -> Any:
            w = gr.get_variable("w", [inputs.shape[1].value, 3], trainable=False)
            state = gr.matmul(inputs, w) + state + self.b
            return state, state

    cell = Mine()
    state = cell.get_initial_state(gr.ones([2, 4]))
    _, state = cell(gr.ones([2, 4]), state)
    y, _ = cell(gr.ones([2, 4]), state)
    assert [v.name for v in cell.trainable_variables] == ["mine/b:0"]
    assert [v.name for v in cell.non_trainable_variables] == ["mine/w:0"] and y.name == "mine/add_3:0"
    with gr.variable_scope("other"):
        Mine(name="named")(gr.ones([2, 4]), state)
        R.GRUCell(3)(gr.ones([2, 4]), state, scope="given")
    assert [v.name for v in gr.global_variables()[2:5]] == [
        "other/named/b:0", "other/named/w:0", "other/given/gates/kernel:0",
    ]  # fmt: skip


def test_a_cell_keeps_its_variables_wherever_it_is_used() -> None:
    cell = R.GRUCell(3)
    for scope in ("a", "b"):
        with gr.variable_scope(scope):
            cell(gr.ones([2, 3]), gr.zeros([2, 3]))
    assert {v.op.name.partition("/")[0] for v in gr.global_variables()} == {"a"}
    with gr.variable_scope("a"), pytest.raises(GraphError, match="'a/gru_cell/gates/kernel' exists already"):
        R.GRUCell(3)(gr.ones([2, 3]), gr.zeros([2, 3]))
    with gr.variable_scope("a"):
        shared = R.GRUCell(3, reuse=True)
        shared(gr.ones([2, 3]), gr.zeros([2, 3]))
    assert shared.variables == cell.variables


# -- dropout ------------------------------------------------------------------------------------------


class _Echo(R.RNNCell):
    """Returns what it is given."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    @property
    def state_size(self) -> Any:
        return (R.LSTMStateTuple(self._size, self._size), self._size)

    @property
    def output_size(self) -> Any:
        return self._size

    def call(self, inputs: Any, state: Any) -> Any:
        return inputs, state


def test_dropout_of_inputs_outputs_and_state(device: str) -> None:
    keep = gr.placeholder(gr.float32, ())
    one = gr.ones([40, 50])
    state = (R.LSTMStateTuple(one, one), one)
    dropped_in = R.DropoutWrapper(_Echo(50), input_keep_prob=keep)(one, state)
    dropped_out = R.DropoutWrapper(_Echo(50), output_keep_prob=0.5)(one, state)
    dropped_state = R.DropoutWrapper(_Echo(50), state_keep_prob=0.5, seed=3)(one, state)
    only_c = R.DropoutWrapper(
        _Echo(50), state_keep_prob=0.5,
        dropout_state_filter_visitor=lambda s: isinstance(s, gr.Tensor) or (True, False),
    )(one, state)  # fmt: skip
    with gr.Session(device=device) as sess:
        a, b, c, d = sess.run([dropped_in, dropped_out, dropped_state, only_c], {keep: 0.8})
        assert set(np.unique(a[0])) == {0, np.float32(1.25)} and abs(a[0].mean() - 1) < 0.05
        assert set(np.unique(b[0])) == {0, 2} and np.all(b[1][1] == 1)
        (memory, h), other = c[1]
        assert np.all(memory == 1) and np.all(c[0] == 1)
        assert set(np.unique(h)) == {0, 2} == set(np.unique(other)) and np.any(h != other)
        assert np.any(d[1][0].c != 1) and np.all(d[1][0].h == 1) and np.all(d[1][1] == 1)
        np.testing.assert_array_equal(sess.run(dropped_in, {keep: 1.0})[0], np.ones([40, 50]))


def test_variational_dropout_is_the_same_in_all_steps(device: str) -> None:
    cell = R.DropoutWrapper(
        _Echo(50), input_keep_prob=0.5, output_keep_prob=0.5, state_keep_prob=0.5,
        variational_recurrent=True, input_size=50, dtype=gr.float32,
    )  # fmt: skip
    xs = [gr.ones([4, 50])] * 3
    state = (R.LSTMStateTuple(xs[0], xs[0]), xs[0])
    outputs, last = gr.nn.static_rnn(cell, xs, state)
    with gr.Session(device=device) as sess:
        first, (ys, (pair, h)) = sess.run(outputs), sess.run([outputs, last])
    assert all(np.array_equal(y, ys[0]) for y in ys) and np.array_equal(ys[0][0], ys[0][3])
    assert set(np.unique(ys[0])) == {0, 4} and np.any(first[0] != ys[0])
    assert set(np.unique(h)) == {0, 8} and np.all(pair.c == 1)


def test_a_seed_gives_the_same_dropout() -> None:
    got = []
    for _ in range(2):
        with gr.Graph().as_default(), gr.Session() as sess:
            cell = R.DropoutWrapper(_Echo(30), 0.5, 0.5, seed=7)
            zero = cell.zero_state(4, gr.float32)
            got.append(sess.run(cell(gr.ones([4, 30]), zero)[0]))
    np.testing.assert_array_equal(*got)


def test_residual_and_device() -> None:
    cell = R.ResidualWrapper(R.DeviceWrapper(R.GRUCell(3), "/cpu:0"))
    assert cell.zero_state(2, gr.float32).op.device.endswith("cpu:0")
    x = gr.ones([2, 3])
    y, state = cell(x, cell.zero_state(2, gr.float32))
    assert state.op.device.endswith("cpu:0") and cell.variables == cell.wrapped_cell.variables
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        a, b = sess.run([y, state])
    np.testing.assert_allclose(a, b + 1)
    with pytest.raises(ShapeError, match=r"different shapes(.|\n)*\(2, 4\)(.|\n)*\(2, 3\)"):
        R.ResidualWrapper(R.GRUCell(3))(gr.ones([2, 4]), gr.zeros([2, 3]))


# -- errors -------------------------------------------------------------------------------------------


def test_a_cell_used_for_inputs_of_another_depth_is_told() -> None:
    cell = R.MultiRNNCell([R.BasicLSTMCell(4)] * 2)  # one cell twice, as in many a first program
    with pytest.raises(
        ShapeError,
        match=r"BasicLSTMCell 'basic_lstm_cell': the inputs(.|\n)*another depth than those of the first call"
        r"(.|\n)*shape \(3, 4\)(.|\n)*test_cells.py(.|\n)*expected depth 2, for which its variables were made"
        r" in scope 'multi_rnn_cell/cell_0/basic_lstm_cell'(.|\n)*MultiRNNCell\(\[BasicLSTMCell\(n\) for",
    ):
        cell(gr.ones([3, 2]), cell.zero_state(3, gr.float32))


def test_wrong_inputs_and_states_are_told() -> None:
    x, h = gr.ones([3, 2]), gr.zeros([3, 4])
    with pytest.raises(ShapeError, match=r"no matrix(.|\n)*\(3, 5, 2\)(.|\n)*test_cells(.|\n)*dynamic_rnn"):
        R.GRUCell(4)(gr.ones([3, 5, 2]), h)
    with pytest.raises(ShapeError, match=r"size of the last axis has to be known(.|\n)*test_cells.py"):
        R.GRUCell(4)(gr.placeholder(gr.float32, (3, None)), h)
    with pytest.raises(ShapeError, match=r"the state 'zeros:0' has another shape(.|\n)*\(batch, 5\)"):
        R.GRUCell(5, name="five")(x, h)
    with pytest.raises(DTypeError, match=r"the state is a Tensor(.|\n)*expected a pair(.|\n)*state_is_tuple"):
        R.BasicLSTMCell(4)(x, h)
    with pytest.raises(DTypeError, match=r"the state is a LSTMStateTuple(.|\n)*one tensor \(batch, 8\)"):
        R.LSTMCell(4, state_is_tuple=False)(x, R.LSTMStateTuple(h, h))
    two = R.MultiRNNCell([R.GRUCell(4), R.GRUCell(4)])
    with pytest.raises(GraphError, match=r"the state is a tuple of 1(.|\n)*tuple of 2 states"):
        two(x, (h,))


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(NotFoundError, match=r"activation='rellu'(.|\n)*test_cells.py(.|\n)*mean 'relu'"):
        R.GRUCell(3, activation="rellu")
    with pytest.raises(DTypeError, match=r"cells is a GRUCell(.|\n)*test_cells.py"):
        R.MultiRNNCell(R.GRUCell(3))
    with pytest.raises(GraphError, match="cells is empty"):
        R.MultiRNNCell([])
    with pytest.raises(DTypeError, match=r"cells\[1\] is the class GRUCell(.|\n)*expected a cell"):
        R.MultiRNNCell([R.GRUCell(3), R.GRUCell])
    with pytest.raises(GraphError, match=r"state of cells\[0\] is a structure"):
        R.MultiRNNCell([R.LSTMCell(3)], state_is_tuple=False)
    with pytest.raises(GraphError, match="output_keep_prob=1.5"):
        R.DropoutWrapper(R.GRUCell(3), output_keep_prob=1.5)
    with pytest.raises(GraphError, match=r"without a dtype(.|\n)*dtype=gr.float32"):
        R.DropoutWrapper(R.GRUCell(3), 0.5, variational_recurrent=True)
    with pytest.raises(GraphError, match="without input_size"):
        R.DropoutWrapper(R.GRUCell(3), 0.5, variational_recurrent=True, dtype=gr.float32)
    with pytest.raises(GraphError, match="without batch_size or dtype"):
        R.GRUCell(3).get_initial_state()
    with pytest.raises(DTypeError, match="different dtypes"):
        _ = R.LSTMStateTuple(gr.zeros([1]), gr.zeros([1], gr.float64)).dtype
