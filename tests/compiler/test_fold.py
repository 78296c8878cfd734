"""Pass 4: constants."""

from __future__ import annotations

import numpy as np
import pytest
from compiler.programs import names, single, specialized, text

import graphrun as gr
from graphrun.compiler import fold as fold_module
from graphrun.compiler.fold import fold
from graphrun.compiler.ir import constant_array


def test_constants() -> None:
    x = gr.placeholder(gr.float32, (2,), name="x")
    ones = gr.constant(np.ones(100, np.float32), name="ones")
    y = gr.add(x, gr.reduce_sum(gr.square(ones) * 2.0, name="total"), name="y")
    assert str(fold(specialized([y], {x: (2,)}))) == text("""
        %0 = feed() : (2,) float32  # 'x'
        %1 = const() value=200. dtype=float32 : () float32  # 'total'
        %2 = add(%0, %1) : (2,) float32  # 'y'
        fetch %2
    """)


def test_is_what_numpy_computes() -> None:
    x = np.linspace(-3, 3, 200, dtype=np.float32)
    program = fold(specialized([gr.tanh(gr.constant(x))]))
    np.testing.assert_array_equal(constant_array(program.fetches[0]), np.tanh(x))


def test_results_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant is kept as long as the plan, so a large one is not made from little."""
    one = gr.constant(1.0)
    big = gr.fill([300, 300], 0.5)
    tiled = gr.broadcast_to(one, [300, 300])
    assert names(fold(specialized([tiled, big]))) == ["const", "fill", "broadcast_to"]
    wide = gr.constant(np.ones(50_000, np.float32))
    assert names(fold(specialized([wide * 2.0]))) == ["const"]
    monkeypatch.setattr(fold_module, "MAX_BYTES", 100_000)
    assert names(fold(specialized([wide * 2.0]))) == ["const", "const", "multiply"]


def test_faults_are_left_to_the_run() -> None:
    x = np.arange(3, dtype=np.float32)
    program = fold(single("gather", [x, np.array([7])], {"axis": 0, "batch_dims": 0, "negative": False}))
    assert names(program) == ["const", "const", "gather"], "the run tells it, with the user's line"


def test_states_and_random_numbers_are_not_constant() -> None:
    w, r = gr.Variable(1.0), gr.random_uniform((2,))
    program = fold(specialized([w * 2.0, r]))
    assert {"multiply", "philox_uniform", "add"} <= set(names(program))


def test_several_outputs_are_left() -> None:
    program = fold(specialized(gr.split(gr.constant(np.arange(4.0)), 2)))
    assert "split" in names(program)


def test_nothing_is_changed_in_place() -> None:
    x = np.ones(100, np.float32)
    program = fold(single("identity", [x], {}))
    array = constant_array(program.fetches[0])
    assert array is not None and not array.flags.writeable
