"""Pass 5: what is computed twice from the same values."""

from __future__ import annotations

import numpy as np
from compiler.programs import names, specialized, text

import graphrun as gr
from graphrun.compiler.cse import cse


def _placeholder(name: str = "x") -> gr.Tensor:
    return gr.placeholder(gr.float32, (3,), name=name)


def test_merges_chains() -> None:
    x = _placeholder()
    a = gr.exp(gr.add(x, x, name="s1"), name="a")
    b = gr.exp(gr.add(x, x, name="s2"), name="b")
    assert str(cse(specialized([gr.add(a, b, name="y")], {x: (3,)}))) == text("""
        %0 = feed() : (3,) float32  # 'x'
        %1 = add(%0, %0) : (3,) float32  # 's1'
        %2 = exp(%1) : (3,) float32  # 'a'
        %3 = add(%2, %2) : (3,) float32  # 'y'
        fetch %3
    """)


def test_order_of_operands() -> None:
    x, y = _placeholder("x"), _placeholder("y")
    feeds = {x: (3,), y: (3,)}
    assert names(cse(specialized([x + y, y + x], feeds))) == ["feed", "feed", "add"]
    assert names(cse(specialized([x - y, y - x], feeds))) == ["feed", "feed", "subtract", "subtract"]


def test_attributes_must_be_equal() -> None:
    x = gr.placeholder(gr.float32, (3, 3))
    program = cse(specialized([gr.reduce_sum(x, 0), gr.reduce_sum(x, 1), gr.reduce_sum(x, 0)], {x: (3, 3)}))
    assert names(program) == ["feed", "sum", "sum"]
    assert program.fetches[0] == program.fetches[2] != program.fetches[1]


def test_constants_are_compared_by_their_bits() -> None:
    x = _placeholder()
    values = [np.float32(0.0), np.float32(-0.0), np.float32(np.nan), np.float32(np.nan), np.float32(0.0)]
    program = cse(specialized([x * v for v in values], {x: (3,)}))
    assert names(program).count("const") == names(program).count("multiply") == 3
    same_number = [gr.constant(1.0) + x, gr.cast(gr.constant(1, gr.int32), gr.float32) + x]
    assert len(set(cse(specialized(same_number, {x: (3,)})).fetches)) == 1


def test_signs_of_zero_in_attributes() -> None:
    """0.0 == -0.0 for Python, and they are not the same slope."""
    x = _placeholder()
    slopes = [gr.nn.leaky_relu(x, alpha) for alpha in (0.0, -0.0, 0.0)]
    program = cse(specialized(slopes, {x: (3,)}))
    assert len(set(program.fetches)) == 2


def test_kinds_of_numbers_in_attributes() -> None:
    """1 == 1.0 == True for Python, and half of them is 0, 0.5 and 0 again, of a bool."""
    x = _placeholder()
    halved = gr.custom_op("halved", numpy=lambda x, by: x * repr(by[1]).count("."), attrs={"by": (2, 1)})
    different = [(2, 1), (2, 1.0), (2, True), (2, 0.0), (2, -0.0), (2, False), (2, 0)]
    program = cse(specialized([halved(x, by=by) for by in different * 2], {x: (3,)}))
    assert len(set(program.fetches)) == len(different)
    leaky = gr.custom_op("leaky", numpy=lambda x, by: x * by, attrs={"by": 1})
    program = cse(specialized([leaky(x, by=by) for by in (1, 1.0, True, 1)], {x: (3,)}))
    assert len(set(program.fetches)) == 3


def test_several_outputs() -> None:
    x = gr.placeholder(gr.float32, (4,))
    a, b = gr.split(x, 2)
    c, d = gr.split(x, 2)
    program = cse(specialized([a, b, c, d], {x: (4,)}))
    assert names(program).count("split") == 1
    assert program.fetches[:2] == program.fetches[2:]


def test_draws_are_different() -> None:
    program = cse(specialized([gr.random_uniform((3,), seed=1), gr.random_uniform((3,), seed=1)]))
    assert names(program).count("philox_uniform") == 2


def test_devices_are_kept_apart() -> None:
    x = _placeholder()
    with gr.device("/cpu:0"):
        a = gr.exp(x)
    program = cse(specialized([a, gr.exp(x)], {x: (3,)}))
    assert names(program).count("exp") == 2
