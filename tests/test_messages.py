"""What is said of the slips that newcomers make, each with the line of the user that made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphrun as gr

ROUND = "round the number, or make the tensor floating-point, as gr.cast(x, gr.float32)"


def said(build: Callable[[], Any], kind: type[Exception]) -> str:
    """The message, which tells the line of `build`; nothing is left of what failed."""
    with pytest.raises(kind) as fault:
        build()
    text = str(fault.value)
    assert f"created at {__file__}:{build.__code__.co_firstlineno}" in text, text
    return text


def test_a_number_that_the_other_operand_cannot_take() -> None:
    two, v = gr.constant(2, name="two"), gr.Variable(1, name="v")
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: two * 1.5, "multiply 'mul'"),
        (lambda: 1.5 - two, "subtract 'sub'"),
        (lambda: two / 1.5, "divide 'truediv'"),
        (lambda: gr.maximum(two, 1.5, name="most"), "maximum 'most'"),
        (lambda: gr.stack([two, 1.5]), "stack 'stack'"),
        (lambda: gr.convert_to_tensor([two, 1.5]), "stack 'stack'"),
        (lambda: gr.add_n([two, 1.5]), "add_n 'AddN'"),
        (lambda: gr.clip_by_value(two, 0, 1.5), "clip 'clip_by_value'"),
        (lambda: gr.where(True, two, 1.5), "where 'Select'"),
    ]
    for build, label in cases:
        text = said(build, gr.errors.DTypeError)
        assert text.startswith(f"{label}: 1.5 cannot become a tensor of dtype int32\n"), text
        assert "tensor 'two:0' is () int32, made at " in text and text.endswith(ROUND)
        assert "expected values that int32 holds exactly" in text
    text = said(lambda: v.assign(2.5), gr.errors.DTypeError)
    assert text.startswith("assign 'Assign': 2.5 cannot become") and "variable 'v' is () int32" in text
    assert text.endswith("round the number, or make the variable floating-point, as gr.Variable(0.0)")
    with gr.name_scope("in"):
        assert said(lambda: two + 0.5, gr.errors.DTypeError).startswith("add 'in/add': 0.5 cannot")
    text = said(lambda: gr.while_loop(lambda i: i < 3, lambda i: i + 1.5, [two]), gr.errors.DTypeError)
    assert text.startswith("add 'while/add': 1.5 cannot") and text.endswith(ROUND)
    text = said(lambda: gr.constant(1.0) + True, gr.errors.DTypeError)
    assert text.endswith("write a number of float32, or convert the tensor, as gr.cast(x, gr.int32)")
    assert "add 'add': 'a' cannot become" in said(lambda: two + "a", gr.errors.DTypeError)
    assert said(lambda: gr.constant(1.5, gr.int32), gr.errors.DTypeError).startswith("constant: 1.5 cannot")
    text = said(lambda: gr.Variable(1.5, dtype=gr.int32, name="k"), gr.errors.DTypeError)
    assert text.startswith("Variable 'k': 1.5 cannot become a tensor of dtype int32")


def test_a_tensor_of_another_dtype_keeps_its_advice() -> None:
    v = gr.Variable(1, name="v")
    text = said(lambda: v.assign(gr.constant(1.5, name="c")), gr.errors.DTypeError)
    assert (
        text.startswith("assign 'Assign': tensor 'c:0' has dtype float32") and "gr.cast(x, gr.int32)" in text
    )


def test_arguments_in_another_order() -> None:
    text = said(lambda: gr.placeholder([None, 3], gr.float64), gr.errors.DTypeError)
    assert "the first argument is a shape, (?, 3)" in text
    assert text.endswith("write gr.placeholder(gr.float64, [None, 3])")
    for axis in (gr.ones([2, 4]), np.ones((2, 4)), [[1.0, 2.0]]):
        text = said(lambda x=axis: gr.split(1, 2, x), gr.errors.ShapeError)
        assert "split: the first argument is 1, an int" in text
        assert "expected gr.split(value, num_or_size_splits, axis): the tensor first" in text


@pytest.mark.parametrize(
    ("build", "near"),
    [
        (lambda: gr.train.AdamOptimizer(lr=0.1), "learning_rate"),
        (lambda: gr.train.AdamOptimizer(beta_1=0.1), "beta1"),
        (lambda: gr.train.MomentumOptimizer(0.1, 0.9, nesterov=True), "use_nesterov"),
        (lambda: gr.train.GradientDescentOptimizer(lerning_rate=0.1), "learning_rate"),
        (lambda: gr.layers.dense(gr.ones([2, 2]), 3, activaton=gr.nn.relu), "activation"),
        (lambda: gr.layers.Dense(3, activaton=gr.nn.relu), "activation"),
    ],
)
def test_unknown_arguments(build: Callable[[], Any], near: str) -> None:
    text = said(build, TypeError)
    assert text.endswith(f"did you mean {near}?") and near in text.splitlines()[0] + text.splitlines()[-2]


def test_optimizers_of_users_take_what_they_like() -> None:
    class Mine(gr.train.GradientDescentOptimizer):
        def __init__(self, rate: float, **more: Any) -> None:
            super().__init__(rate, **more)

    assert Mine(rate=0.1, name="Mine").get_name() == "Mine"
    text = said(lambda: gr.train.AdamOptimizer(colour=1), TypeError)
    assert "there is no argument 'colour'" in text and "did you mean" not in text
    with pytest.raises(TypeError, match="momentum"):
        gr.train.MomentumOptimizer(0.1)


@pytest.mark.parametrize("layer", ["conv2d", "conv2d_transpose", "separable_conv2d", "max_pooling2d"])
def test_paddings_are_told_as_they_were_written(layer: str) -> None:
    function = getattr(gr.layers, layer)
    text = said(lambda: function(gr.ones([1, 4, 4, 1]), 3, 2, padding="smae"), gr.errors.ShapeError)
    assert "padding='smae'" in text and 'expected "same" or "valid"' in text
    assert text.endswith('did you mean "same"?')
    assert function(gr.ones([1, 4, 4, 1]), 3, 2, padding="SAME").shape.ndims == 4


def test_a_sum_of_nothing() -> None:
    text = said(lambda: gr.add_n([]), gr.errors.ShapeError)
    assert "the list is empty, so there is nothing to add up" in text and "gr.zeros(shape)" in text
    assert "as gr.add_n([a, b])" in said(lambda: gr.add_n(gr.ones([2])), gr.errors.ShapeError)


def test_what_is_said_of_a_fed_shape_is_true_of_what_is_fed() -> None:
    variable = gr.Variable([1.0], name="v")
    keys = {
        "a placeholder's shape": gr.placeholder(gr.float32, [3]), "it is a constant": gr.constant(1.0),
        "it is a variable": variable, "it is the result of 'multiply'": variable * 2.0,
    }  # fmt: skip
    with gr.Session() as sess:
        for text, key in keys.items():
            with pytest.raises(gr.errors.ShapeError, match="a value of shape \\(2, 2\\) is fed to") as fault:
                sess.run(key, {key: np.ones((2, 2))})
            assert text in str(fault.value)
            assert ("placeholder's" in str(fault.value)) is ("placeholder's" in text)
