"""Recurrent networks beside TensorFlow: variables, shapes, values and gradients."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphrun as gr

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # where TensorFlow 2 keeps the cells
tf = pytest.importorskip("tensorflow.compat.v1")
pytest.importorskip("tf_keras")

BATCH, TIME, DEPTH = 3, 5, 4
LENGTHS = [2, 5, 0]
Cell = Callable[[Any], Any]  # of nn.rnn_cell

CELLS: dict[str, Cell] = {
    "basic": lambda r: r.BasicRNNCell(4),
    "basic_relu": lambda r: r.BasicRNNCell(4, activation="relu"),
    "gru": lambda r: r.GRUCell(4),
    "gru_initializers": lambda r: r.GRUCell(4, bias_initializer=None, activation=None, name="mine"),
    "basic_lstm": lambda r: r.BasicLSTMCell(4, forget_bias=0.3),
    "basic_lstm_joined": lambda r: r.BasicLSTMCell(4, state_is_tuple=False),
    "lstm": lambda r: r.LSTMCell(4),
    "lstm_peepholes": lambda r: r.LSTMCell(4, use_peepholes=True, cell_clip=0.2),
    "lstm_projection": lambda r: r.LSTMCell(6, num_proj=4, proj_clip=0.1),
    "lstm_joined": lambda r: r.LSTMCell(6, True, 0.3, None, 3, 0.1, state_is_tuple=False),
    "multi": lambda r: r.MultiRNNCell([r.BasicLSTMCell(4), r.GRUCell(5), r.BasicRNNCell(4)]),
    "multi_joined": lambda r: r.MultiRNNCell(
        [r.BasicLSTMCell(4, state_is_tuple=False), r.GRUCell(4)], state_is_tuple=False
    ),
    "residual": lambda r: r.ResidualWrapper(r.GRUCell(4)),
    "residual_fn": lambda r: r.ResidualWrapper(r.GRUCell(4), lambda x, y: x * y),
    "wrapped": lambda r: r.MultiRNNCell(
        [r.ResidualWrapper(r.DropoutWrapper(r.LSTMCell(4), output_keep_prob=1.0)), r.LSTMCell(3)]
    ),
}  # fmt: skip


def flat(item: Any) -> list[Any]:
    return [x for part in item for x in flat(part)] if isinstance(item, tuple | list) else [item]


def weights(k: int, shape: list[int]) -> np.ndarray:
    return np.random.default_rng(k).uniform(-0.6, 0.6, shape)


def run(lib: Any, build: Callable[..., Any], is_open: bool) -> dict[str, Any]:
    """What `build(lib, x)` makes: variables, static shapes, values, gradients to `x` and all variables."""
    warnings.simplefilter("ignore")
    x_value = np.random.default_rng(0).standard_normal((BATCH, TIME, DEPTH))
    with lib.Graph().as_default(), lib.Session() as session:
        x = lib.placeholder(lib.float64, [None, None, DEPTH] if is_open else x_value.shape)
        results = flat(build(lib, x))
        variables = lib.global_variables()
        total = sum(lib.reduce_sum(y * (k + 1.0) * lib.cos(y)) for k, y in enumerate(results))
        gradients = lib.gradients(total, [x, *variables])
        for k, v in enumerate(variables):
            session.run(lib.assign(v, weights(k, v.get_shape().as_list())))
        values, slopes = session.run([results, gradients], {x: x_value})
        return {
            "variables": [(v.name, v.get_shape().as_list()) for v in variables],
            "shapes": [y.get_shape().as_list() for y in results],
            "values": values,
            "gradients": slopes,
        }


def same(build: Callable[..., Any], is_open: bool = False) -> None:
    ours, theirs = (run(lib, build, is_open) for lib in (gr, tf))
    assert ours["variables"] == theirs["variables"]
    for a, b in zip(ours["shapes"], theirs["shapes"], strict=True):
        assert [d if e is not None else None for d, e in zip(a, b, strict=True)] == b
    for kind in ("values", "gradients"):
        for a, b in zip(ours[kind], theirs[kind], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("cell", CELLS)
def test_static(cell: str, lengths: Any) -> None:
    def build(lib: Any, x: Any) -> Any:
        steps = lib.unstack(x, TIME, 1)
        return lib.nn.static_rnn(
            CELLS[cell](lib.nn.rnn_cell), steps, dtype=lib.float64, sequence_length=lengths
        )

    same(build)


@pytest.mark.parametrize("lengths", [None, [2, 5, 1]], ids=["whole", "lengths"])
def test_static_both_ways(lengths: Any) -> None:
    def build(lib: Any, x: Any) -> Any:
        r = lib.nn.rnn_cell
        return lib.nn.static_bidirectional_rnn(
            r.BasicLSTMCell(3), r.GRUCell(2), lib.unstack(x, TIME, 1), dtype=lib.float64,
            sequence_length=lengths,
        )  # fmt: skip

    same(build)


def test_static_from_a_state_in_a_scope() -> None:
    def build(lib: Any, x: Any) -> Any:
        r = lib.nn.rnn_cell
        state = r.LSTMStateTuple(x[:, 0, :3], lib.tanh(x[:, 1, :3]))
        with lib.variable_scope("outer", initializer=lib.zeros_initializer()):
            return lib.nn.static_rnn(r.LSTMCell(3), lib.unstack(x, TIME, 1), state, scope="inner")

    same(build)


def test_steps_by_hand() -> None:
    def build(lib: Any, x: Any) -> Any:
        r = lib.nn.rnn_cell
        cell = r.MultiRNNCell([r.LSTMCell(4), r.GRUCell(3)])
        state, outputs = cell.zero_state(BATCH, lib.float64), []
        with lib.variable_scope("RNN"):
            for t in range(TIME):
                if t > 0:
                    lib.get_variable_scope().reuse_variables()
                output, state = cell(x[:, t], state)
                outputs.append(output)
        return outputs, state

    same(build)


def test_own_cells() -> None:
    def build(lib: Any, x: Any) -> Any:
        class New(lib.nn.rnn_cell.RNNCell):  # type: ignore[misc, name-defined]
            state_size = output_size = 3

            def call(self, inputs: Any, state: Any) -> Any:
                w = lib.get_variable("w", [DEPTH, 3], lib.float64)
                state = lib.tanh(lib.matmul(inputs, w) + state)
                return state, state

        class Old(lib.nn.rnn_cell.RNNCell):  # type: ignore[misc, name-defined]
            def __init__(self, size: int) -> None:
                self.size = size

            state_size = output_size = property(lambda self: self.size)

            def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
                with lib.variable_scope(scope or type(self).__name__):
                    w = lib.get_variable("w", [DEPTH, self.size], lib.float64)
                    state = lib.sigmoid(lib.matmul(inputs, w) - state)
                    return state, state

        steps = lib.unstack(x, TIME, 1)
        return [lib.nn.static_rnn(cell, steps, dtype=lib.float64) for cell in (New(), Old(2))]

    same(build)


@pytest.mark.parametrize("is_open", [False, True], ids=["static", "open"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("cell", CELLS)
def test_dynamic(cell: str, lengths: Any, is_open: bool) -> None:
    def build(lib: Any, x: Any) -> Any:
        return lib.nn.dynamic_rnn(CELLS[cell](lib.nn.rnn_cell), x, lengths, dtype=lib.float64)

    same(build, is_open)


@pytest.mark.parametrize("is_open", [False, True], ids=["static", "open"])
def test_dynamic_from_a_state_time_first(is_open: bool) -> None:
    def build(lib: Any, x: Any) -> Any:
        r = lib.nn.rnn_cell
        state = r.LSTMStateTuple(x[:, 0, :3], lib.tanh(x[:, 1, :3]))
        with lib.variable_scope("outer", initializer=lib.zeros_initializer()):
            return lib.nn.dynamic_rnn(
                r.LSTMCell(3), lib.transpose(x, [1, 0, 2]), LENGTHS, state, time_major=True,
                parallel_iterations=1, swap_memory=True, scope="inner",
            )  # fmt: skip

    same(build, is_open)


@pytest.mark.parametrize("time_major", [False, True], ids=["batch", "time"])
@pytest.mark.parametrize("lengths", [None, [2, 5, 1]], ids=["whole", "lengths"])
def test_dynamic_both_ways(lengths: Any, time_major: bool) -> None:
    def build(lib: Any, x: Any) -> Any:
        r = lib.nn.rnn_cell
        x = lib.transpose(x, [1, 0, 2]) if time_major else x
        return lib.nn.bidirectional_dynamic_rnn(
            r.BasicLSTMCell(3), r.GRUCell(2), x, lengths, dtype=lib.float64, time_major=time_major
        )

    same(build, True)


def test_structures() -> None:
    def build(lib: Any, x: Any) -> Any:
        class Pair(lib.nn.rnn_cell.RNNCell):  # type: ignore[misc, name-defined]
            state_size = (lib.TensorShape([2, DEPTH]), 3)
            output_size = (3, lib.TensorShape([2, DEPTH]))

            def call(self, inputs: Any, state: Any) -> Any:
                w = lib.get_variable("w", [DEPTH, 3], lib.float64)
                matrix, vector = state
                matrix = lib.tanh(matrix * 0.5 + inputs[1])
                vector = lib.sigmoid(
                    vector + lib.matmul(inputs[0], w) + lib.reduce_sum(matrix, [1, 2])[:, None]
                )
                return (vector, matrix * 2.0), (matrix, vector)

        both = (x, lib.stack([x, lib.sin(x)], 2))
        return lib.nn.dynamic_rnn(Pair(), both, sequence_length=LENGTHS, dtype=lib.float64)

    same(build)


def test_raw() -> None:
    def build(lib: Any, x: Any) -> Any:
        """A decoder that feeds itself, counts in its loop state, and emits something of its own."""
        cell = lib.nn.rnn_cell.GRUCell(DEPTH)
        lengths = lib.constant([4, 1, 3])

        def loop_fn(time: Any, output: Any, state: Any, loop_state: Any) -> Any:
            if output is None:
                shape = lib.zeros([DEPTH + 1], lib.float64)
                return 0 >= lengths, x[:, 0], lib.tanh(x[:, 1]), shape, lib.constant(0.0, lib.float64)
            emitted = lib.concat([output, lib.reduce_sum(state, 1, keepdims=True)], 1)
            following = lib.tanh(output) + x[:, 2]
            return time >= lengths, following, state, emitted, loop_state + lib.reduce_max(output)

        emitted, state, total = lib.nn.raw_rnn(cell, loop_fn)
        return emitted.stack(), state, total

    same(build)


def test_raw_with_the_cells_output() -> None:
    def build(lib: Any, x: Any) -> Any:
        cell = lib.nn.rnn_cell.LSTMCell(3)
        inputs = lib.TensorArray(lib.float64, TIME).unstack(lib.transpose(x, [1, 0, 2]))

        def loop_fn(time: Any, output: Any, state: Any, loop_state: Any) -> Any:
            finished = time >= lib.constant([5, 2, 4])
            state = cell.zero_state(BATCH, lib.float64) if output is None else state
            following = lib.cond(
                lib.reduce_all(finished),
                lambda: lib.zeros([BATCH, DEPTH], lib.float64),
                lambda: inputs.read(time),
            )
            return finished, following, state, output, None

        emitted, state, _ = lib.nn.raw_rnn(cell, loop_fn, scope="raw")
        return emitted.stack(), state

    same(build)
