"""Pass 3: concrete shapes; attributes that arrive as tensors."""

from __future__ import annotations

import numpy as np
import pytest
from compiler.programs import names, purified, specialized, text

import graphrun as gr
from graphrun.compiler.specialize import Found, NeedValues, specialize
from graphrun.errors import ShapeError
from graphrun.graph.descriptor import Spec


def test_shapes_become_concrete() -> None:
    x = gr.placeholder(gr.float32, (None, 3), name="x")
    y = gr.transpose(x, name="y")
    assert str(specialized([y], {x: (2, 3)})) == text("""
        %0 = feed() : (2, 3) float32  # 'x'
        %1 = transpose(%0) perm=(1, 0) : (3, 2) float32  # 'y'
        fetch %1
    """)


def test_shape_arithmetic_disappears() -> None:
    x = gr.placeholder(gr.float32, (None, 3), name="x")
    rows = gr.shape(x)[0]
    y = gr.reshape(x, [rows // 2, gr.size(x) // (rows // 2)], name="y")
    assert str(specialized([y], {x: (4, 3)})) == text("""
        %0 = feed() : (4, 3) float32  # 'x'
        %1 = reshape(%0) shape=(2, 6) : (2, 6) float32  # 'y'
        fetch %1
    """)


def test_shape_needs_no_value() -> None:
    """The shape of something that is expensive is known without computing it."""
    x = gr.placeholder(gr.float32, (None, 3), name="x")
    program = specialized([gr.shape(gr.matmul(x, x, transpose_b=True)), gr.rank(x)], {x: (4, 3)})
    assert names(program) == ["feed", "const", "const"]
    np.testing.assert_array_equal(program.nodes[1].attrs["value"].array, [4, 4])
    assert program.nodes[2].attrs["value"].array == 2


def test_counter_advances_by_what_was_drawn() -> None:
    r = gr.random_uniform([gr.shape(gr.placeholder(gr.float32, (None,), name="x"))[0]], name="r")
    x = r.graph.get_tensor_by_name("x:0")
    program = specialized([r], {x: (10,)})
    assert str(program).splitlines()[-2:] == ["fetch %2", "update 'r (random counter)' <- %4"]
    blocks = program.nodes[3].attrs["value"].array
    assert program.nodes[4].op.name == "add" and blocks == 3, "four numbers a block"


def test_wrong_shape_names_the_line() -> None:
    x = gr.placeholder(gr.float32, (None, None), name="x")
    y = gr.matmul(x, x, name="y")
    with pytest.raises(ShapeError, match=r"matmul 'y'.*\n.*created at .*test_specialize.py:") as error:
        specialized([y], {x: (2, 3)})
    assert "(2, 3)" in str(error.value)


def test_values_that_are_needed() -> None:
    """A shape that depends on data: what it needs is planned first, and then known."""
    x = gr.placeholder(gr.float32, (None,), name="x")
    n = gr.cast(gr.reduce_max(x), gr.int32, name="n")
    y = gr.reshape(gr.exp(x), [n, -1], name="y")
    with pytest.raises(NeedValues) as need:
        specialize(purified([y], {x: (6,)}))
    first = need.value.program
    assert "reshape" not in names(first) and "exp" not in names(first)
    assert len(need.value.values) == len(first.fetches) == 1 and not first.updates
    found = Found().and_more({need.value.values[0]: np.array([3, -1], np.int32)}, {})
    program = specialize(purified([y], {x: (6,)}), found)
    assert names(program) == ["feed", "exp", "reshape"]
    assert program.nodes[2].attrs["shape"] == (3, -1) and program.nodes[2].specs[0].shape == (3, 2)


def test_results_whose_shape_is_data() -> None:
    """Such a result is computed first; what follows is planned for its shape, with the result as a feed."""
    x = gr.placeholder(gr.float32, (None,), name="x")
    chosen = gr.where(x > 0.0, name="chosen")
    y = gr.gather(x, chosen, name="y")
    with pytest.raises(NeedValues) as need:
        specialize(purified([y], {x: (6,)}))
    assert len(need.value.results) == len(need.value.program.fetches) == 1 and not need.value.values
    found = Found().and_more({}, {need.value.results[0]: Spec((4, 1), gr.int64)})
    assert str(specialize(purified([y], {x: (6,)}), found)) == text("""
        %0 = feed() : (4, 1) int64  # 'chosen'
        %1 = feed() : (6,) float32  # 'x'
        %2 = gather(%1, %0) axis=0 batch_dims=0 negative=False rows=True : (4, 1) float32  # 'y'
        fetch %2
    """)


def test_small_constants_are_folded_and_large_ones_left() -> None:
    small, large = gr.constant(np.ones(64, np.float32)), gr.constant(np.ones(65, np.float32))
    assert names(specialized([small + 1.0])) == ["const"]
    assert names(specialized([large + 1.0])) == ["const", "const", "add"]
