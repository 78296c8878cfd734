"""`x[key]` against NumPy, its gradient, and its messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from interpreter import evaluate

import graphrun as gr
from graphrun.errors import DTypeError, ShapeError


@pytest.fixture(autouse=True)
def graph() -> Any:
    with gr.Graph().as_default() as g:
        yield g


def array(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)


@st.composite
def shapes_and_keys(draw: Any) -> tuple[tuple[int, ...], Any]:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    return shape, draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))


@settings(max_examples=150, deadline=None)
@given(shapes_and_keys())
def test_basic_indexing_is_numpys(drawn: Any) -> None:
    shape, key = drawn
    expected = array(shape)[key]
    with gr.Graph().as_default():
        known = gr.placeholder(gr.float32, shape)
        unknown = gr.placeholder(gr.float32, (None,) * len(shape))
        y, z = known[key], unknown[key]
        assert y.shape.as_list() == list(expected.shape)
        assert len(z.shape) == expected.ndim
        for found, x in ((y, known), (z, unknown)):
            np.testing.assert_array_equal(evaluate(found, {x: array(shape)}), expected)


@settings(max_examples=40, deadline=None)
@given(shapes_and_keys())
def test_gradient_puts_ones_where_the_key_points(drawn: Any) -> None:
    shape, key = drawn
    expected = np.zeros(shape, np.float32)
    expected[key] = 1
    for static in (shape, None):
        with gr.Graph().as_default():
            x = gr.placeholder(gr.float32, static)
            if static is None and key == ():
                continue
            (dx,) = gr.gradients(x[key], x)
            np.testing.assert_array_equal(evaluate(dx, {x: array(shape)}), expected)


@pytest.mark.parametrize("i", [0, 2, -1])
@pytest.mark.parametrize(
    "at",
    [
        lambda x, i: x[i],
        lambda x, i: x[0, i],
        lambda x, i: x[i, 1:, None],
        lambda x, i: x[..., i],
        lambda x, i: x[i, ..., i],
        lambda x, i: x[None, i, ::-1, i],
        lambda x, i: x[:, 1, i],
        lambda x, i: x[..., i, None, 1:],
        lambda x, i: x[1, ..., i, :],
        lambda x, i: x[i, i, i],
    ],
)
def test_an_index_may_be_a_tensor(at: Any, i: int) -> None:
    a = array((3, 4, 3))
    x, j = gr.placeholder(gr.float32, (3, 4, 3)), gr.placeholder(gr.int32, ())
    y = at(x, j)
    assert y.shape.as_list() == list(at(a, i).shape)
    np.testing.assert_array_equal(evaluate(y, {x: a, j: i}), at(a, i))
    z = at(gr.placeholder_with_default(x, None), j)
    np.testing.assert_array_equal(evaluate(z, {x: a, j: i}), at(a, i))
    # One plan for all values of the index.
    assert not y.op.value_attrs


def test_gradient_of_a_tensor_index() -> None:
    check_gradients(lambda x, i: x[1:, i] * x[i, :3], [array((4, 5)) / 7, np.int32(2)])


def test_bounds_may_be_tensors() -> None:
    a = array((6, 5))
    x, i, n = gr.placeholder(gr.float32, (6, 5)), gr.placeholder(gr.int32, ()), gr.placeholder(gr.int64, ())
    y = x[i : i + 3, ::-1]
    z = x[i:n, -1]
    assert y.shape.as_list() == [None, 5]
    assert z.shape.as_list() == [None]
    np.testing.assert_array_equal(evaluate(y, {x: a, i: 2}), a[2:5, ::-1])
    np.testing.assert_array_equal(evaluate(z, {x: a, i: 1, n: -1}), a[1:-1, -1])
    (dx,) = gr.gradients(y, x)
    expected = np.zeros_like(a)
    expected[4:] = 1
    np.testing.assert_array_equal(evaluate(dx, {x: a, i: 4}), expected)


def test_known_entries_of_a_shape_make_shapes() -> None:
    x = gr.placeholder(gr.float32, (None, 4, 6))
    s = gr.shape(x)
    assert gr.zeros([s[0], s[1] * s[2]]).shape.as_list() == [None, 24]
    assert gr.reshape(x, gr.concat([s[:1], [-1]], 0)).shape.as_list() == [None, None]
    assert gr.reshape(x, gr.stack([s[0], s[-1], 4])).shape.as_list() == [None, 6, 4]
    assert gr.zeros(s[::-1]).shape.as_list() == [6, 4, None]
    b, h, w = gr.unstack(s)
    assert gr.ones([h, b, w]).shape.as_list() == [4, None, 6]
    assert gr.zeros(gr.gather(s, [2, 1])).shape.as_list() == [6, 4]


def test_iteration_and_numpy_indices() -> None:
    x = gr.constant(array((2, 3)))
    assert [row.shape.as_list() for row in x] == [[3], [3]]
    assert x[np.int64(1), np.array(2)].shape.as_list() == []


@pytest.mark.parametrize(
    ("key", "kind", "words"),
    [
        (5, ShapeError, ["index 5 is out of range for axis 0 of length 3", "-3 <= index < 3"]),
        ((0, -5), ShapeError, ["index -5 is out of range for axis 1 of length 4"]),
        ((1, 2, 0), ShapeError, ["3 indices for rank 2", "expected at most 2"]),
        ((..., 0, ...), DTypeError, ["stands twice"]),
        (np.s_[::0], ShapeError, ["a step of 0"]),
        ([0, 1], DTypeError, ["the index is a list", "gr.gather"]),
        (np.array([0, 1]), DTypeError, ["gr.gather"]),
        (np.array([True, False, True]), DTypeError, ["gr.boolean_mask"]),
        (True, DTypeError, ["the index True is a bool", "gr.boolean_mask"]),
        (1.0, DTypeError, ["the index 1.0 is a float", "use // where /"]),
        ("a", DTypeError, ["the index 'a' is a str"]),
        (np.s_[:2.5], DTypeError, ["2.5 in a slice", "ints or integer tensors"]),
    ],
)
def test_messages(key: Any, kind: Any, words: list[str]) -> None:
    x = gr.placeholder(gr.float32, (3, 4), name="x")
    with pytest.raises(kind) as caught:
        x[key]
    text = str(caught.value)
    for word in [*words, "test_array_indexing.py:"]:
        assert word in text, text


def test_messages_about_tensors() -> None:
    x = gr.placeholder(gr.float32, (3, 4))
    with pytest.raises(DTypeError, match=r"gr\.boolean_mask"):
        x[x > 0]
    with pytest.raises(DTypeError, match=r"has shape \(2,\)(.|\n)*gr\.gather"):
        x[gr.constant([0, 1])]
    with pytest.raises(DTypeError, match=r"gr\.squeeze"):
        x[gr.placeholder(gr.int32, (1,))]
    with pytest.raises(DTypeError, match=r"dtype float32(.|\n)*gr\.cast"):
        x[x[0, 0]]
    with pytest.raises(ShapeError, match=r"gr\.shape\(x\)\[i\]"):
        x[: gr.placeholder(gr.float32, (None,)).shape[0]]


def test_slice_messages() -> None:
    x = gr.placeholder(gr.float32, (3, 4))
    for begin, size, words in (
        ([0, 2], [3, 3], "begin 2 and size 3 go beyond axis 1 of length 4"),
        ([4, 0], [-1, -1], "begin is 4 for axis 0 of length 3"),
        ([0], [1], "begin has 1 entries, size 1, and the rank is 2"),
        ([0, 0], [-2, 1], "size is -2 for axis 0"),
    ):
        with pytest.raises(ShapeError) as caught:
            gr.slice(x, begin, size)
        assert words in str(caught.value)


def test_slice_with_tensors() -> None:
    a = array((4, 5))
    x, b = gr.placeholder(gr.float32, (None, 5)), gr.placeholder(gr.int32, ())
    y = gr.slice(x, [b, 1], [-1, 2])
    assert y.shape.as_list() == [None, 2]
    np.testing.assert_array_equal(evaluate(y, {x: a, b: 2}), a[2:, 1:3])
    (dx,) = gr.gradients(y, x)
    expected = np.zeros_like(a)
    expected[2:, 1:3] = 1
    np.testing.assert_array_equal(evaluate(dx, {x: a, b: 2}), expected)
    size = gr.placeholder(gr.int64, (2,))
    z = gr.slice(x, [0, 0], size)
    np.testing.assert_array_equal(evaluate(z, {x: a, size: [1, 3]}), a[:1, :3])


def test_strided_slice_takes_tensorflows_masks() -> None:
    a = array((3, 4, 5))
    x = gr.constant(a)
    found = gr.strided_slice(
        x, [0, 1, 0, 2], [0, 0, 0, 3], begin_mask=2, end_mask=2, new_axis_mask=1, shrink_axis_mask=8
    )
    np.testing.assert_array_equal(evaluate(found), a[None, :, :1, 2][:, :, :0])
    with pytest.raises(ShapeError, match="lengths"):
        gr.strided_slice(x, [0, 1], [2])
