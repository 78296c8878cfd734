"""Operations on shapes and places of elements: static shapes, arguments, names, messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from interpreter import evaluate

import graphrun as gr
from graphrun.errors import DTypeError, InvalidArgumentError, RuleError, ShapeError
from graphrun.ops.array import boolean_mask


@pytest.fixture(autouse=True)
def graph() -> Any:
    with gr.Graph().as_default() as g:
        yield g


def array(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)


def dims(t: Any) -> Any:
    return None if t.shape.ndims is None else t.shape.as_list()


def unknown(*shape: Any, dtype: Any = gr.float32) -> Any:
    return gr.placeholder(dtype, shape)


# -- what is known of shapes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((None, 28, 28), (-1, 784), [None, 784]),
        ((2, 28, 28), (-1, 784), [2, 784]),
        ((2, 3), (3, -1), [3, 2]),
        ((None, 6), (3, 4), [3, 4]),
        ((0, 3), (-1, 3), [0, 3]),
        ((0, 3), (7, 0), [7, 0]),
    ],
)
def test_reshape_shapes(source: Any, target: Any, expected: Any) -> None:
    assert dims(gr.reshape(unknown(*source), target)) == expected


def test_reshape_by_tensors() -> None:
    x = unknown(None, 4, 5)
    n = gr.shape(x)[0]
    assert dims(gr.reshape(x, [n, 20])) == [None, 20]
    assert dims(gr.reshape(x, [n * 4, -1])) == [None, None]
    assert dims(gr.reshape(unknown(6, 4), [gr.placeholder(gr.int32, ()), 8])) == [3, 8]
    assert dims(gr.reshape(x, gr.placeholder(gr.int32, (3,)))) == [None] * 3
    assert dims(gr.reshape(x, gr.placeholder(gr.int32, None))) is None
    assert dims(gr.reshape(x, [-1, gr.constant(20)])) == [None, 20]
    a = array((2, 4, 5))
    np.testing.assert_array_equal(evaluate(gr.reshape(x, [n, 20]), {x: a}), a.reshape(2, 20))


def test_shapes_of_partly_known_tensors() -> None:
    x, y, r = unknown(None, 3), unknown(None, 3), gr.placeholder(gr.float32, None)
    assert dims(gr.concat([x, y], 0)) == [None, 3]
    assert dims(gr.concat([x, y], -1)) == [None, 6]
    assert dims(gr.concat([x, unknown(5, 3)], 1)) == [5, 6]
    assert dims(gr.concat([x, r], 1)) == [None, None]
    assert dims(gr.stack([x, unknown(2, None)])) == [2, 2, 3]
    assert dims(gr.tile(x, [2, 3])) == [None, 9]
    assert dims(gr.transpose(x)) == [3, None]
    assert dims(gr.transpose(r, [1, 0])) == [None, None]
    assert dims(gr.transpose(r)) is None
    assert dims(gr.expand_dims(x, 1)) == [None, 1, 3]
    assert dims(gr.squeeze(unknown(None, 1, 3), 1)) == [None, 3]
    assert dims(gr.squeeze(unknown(None, 1, 3))) is None
    assert dims(gr.pad(x, [[1, 1], [0, 2]])) == [None, 5]
    assert [dims(t) for t in gr.split(x, 2, 0)] == [[None, 3]] * 2
    assert [dims(t) for t in gr.split(x, [1, -1], 0)] == [[1, 3], [None, 3]]
    assert dims(gr.gather(x, unknown(None, 7, dtype=gr.int32))) == [None, 7, 3]
    assert dims(gr.one_hot(unknown(None, dtype=gr.int64), 10)) == [None, 10]
    assert dims(gr.zeros_like(x)) == [None, 3]
    assert dims(gr.range(gr.shape(x)[1])) == [3]
    assert dims(gr.range(gr.shape(x)[0])) == [None]
    assert dims(gr.broadcast_to(1.0, gr.shape(x))) == [None, 3]
    assert dims(gr.zeros(gr.shape(r))) is None
    assert dims(gr.sequence_mask(unknown(None, dtype=gr.int32), 6)) == [None, 6]


# -- few nodes ------------------------------------------------------------------------------------------


def test_static_shapes_need_no_helper_nodes(graph: Any) -> None:
    x = gr.placeholder(gr.float32, (4, 6))
    count = len(graph.get_operations())

    def added(make: Any) -> int:
        nonlocal count
        make()
        before, count = count, len(graph.get_operations())
        return count - before

    assert added(lambda: gr.zeros_like(x)) == 1
    assert added(lambda: gr.ones([2, gr.constant(3)])) == 2  # the constant is the user's
    assert added(lambda: gr.shape(x)) == 1
    assert added(lambda: x[1:, None, -1]) == 1
    y = gr.reshape(gr.transpose(gr.tile(gr.expand_dims(x, 0), [2, 1, 1])), [-1])
    z = gr.concat([y[:3], gr.squeeze(gr.slice(y[None], [0, 1], [1, 2]))], 0)
    count = len(graph.get_operations())
    # ones, then one each, two for tile and for the split of concat, and a sum where y is read twice
    assert added(lambda: gr.gradients(z, x)) <= 13


def test_names_are_tensorflows(graph: Any) -> None:
    x = gr.placeholder(gr.float32, (None, 6))
    made = [
        (gr.reshape(x, [-1]), "Reshape"),
        (gr.shape(x), "Shape"),
        (gr.transpose(x), "transpose"),
        (gr.expand_dims(x, 0), "ExpandDims"),
        (gr.squeeze(gr.ones([1, 2])), "Squeeze"),
        (gr.concat([x, x], 0), "concat"),
        (gr.stack([x, x]), "stack"),
        (gr.split(x, 2, 1)[1], "split"),
        (x[0], "strided_slice"),
        (gr.slice(x, [0, 0], [1, 1]), "Slice"),
        (gr.pad(x, [[0, 0], [1, 1]]), "Pad"),
        (gr.tile(x, [1, 1]), "Tile"),
        (gr.zeros([2]), "zeros"),
        (gr.zeros_like(x), "zeros_like"),
        (gr.fill([2], 3.0), "Fill"),
        (gr.range(3), "range"),
        (gr.one_hot([1], 3), "one_hot"),
        (gr.concat([x, x], 0), "concat_1"),
    ]
    for t, name in made:
        assert t.op.name == name
    assert gr.split(x, 2, 1, name="cut")[1].name == "cut:1"
    assert gr.gather(x, [0], name="picked").op.name == "picked"


# -- arguments ------------------------------------------------------------------------------------------


def test_older_names_of_arguments() -> None:
    x = unknown(2, 1, 6)
    assert dims(gr.expand_dims(x, dim=0)) == dims(gr.expand_dims(x, [0])) == [1, 2, 1, 6]
    assert dims(gr.squeeze(x, squeeze_dims=[1])) == [2, 6]
    assert dims(gr.concat(values=[x, x], concat_dim=2)) == [2, 1, 12]
    assert len(gr.split(value=x, split_dim=2, num_split=3)) == 3


def test_single_values_and_arrays_are_operands() -> None:
    assert dims(gr.concat([[1, 2], gr.constant([3])], 0)) == [3]
    assert gr.stack([1.5, gr.constant(2.0, gr.float64)]).dtype == gr.float64
    assert dims(gr.stack(np.ones((3, 2)))) == [3, 2]
    assert dims(gr.concat(gr.constant([1, 2]), 0)) == [2]
    assert dims(gr.tile([[1, 2]], np.array([2, 3]))) == [2, 6]
    assert dims(gr.reshape(np.ones(4), gr.TensorShape([2, 2]))) == [2, 2]
    assert dims(gr.zeros(gr.placeholder(gr.float32, (2, 3)).shape)) == [2, 3]
    assert dims(gr.zeros(3)) == [3]
    assert dims(gr.zeros([])) == []


def test_fill_and_likes() -> None:
    assert evaluate(gr.fill([2], gr.constant(3.0))).tolist() == [3.0, 3.0]
    assert gr.fill([2], 7).dtype == gr.int32
    x = gr.constant([[1.0, 2.0]])
    assert gr.ones_like(x, gr.int32).dtype == gr.int32
    assert evaluate(gr.ones_like(x, dtype=gr.bool)).tolist() == [[True, True]]
    assert evaluate(gr.ones_like([1, 2, 3])).tolist() == [1, 1, 1]
    n = gr.placeholder(gr.int32, ())
    assert evaluate(gr.zeros([n, 2]), {n: 3}).shape == (3, 2)
    (dv,) = gr.gradients(gr.fill([2, 3], gr.reduce_sum(x)), x)
    assert evaluate(dv).tolist() == [[6.0, 6.0]]


def test_shape_size_rank() -> None:
    x, r = unknown(None, 3), gr.placeholder(gr.float32, None)
    a = array((5, 3))
    assert evaluate(gr.shape(x, out_type=gr.int64), {x: a}).dtype == np.int64
    assert [evaluate(f(r), {r: a}).tolist() for f in (gr.shape, gr.size, gr.rank)] == [[5, 3], 15, 2]
    assert [evaluate(t, {x: a}).tolist() for t in gr.shape_n([x, x])] == [[5, 3], [5, 3]]
    assert evaluate(gr.size(a)) == 15
    with pytest.raises(DTypeError, match="out_type is float32"):
        gr.shape(x, out_type=gr.float32)


def test_range_and_linspace() -> None:
    assert gr.range(5.0).dtype == gr.float32
    assert gr.range(0, 1, 0.25).dtype == gr.float32
    assert gr.range(gr.constant(3, gr.int64)).dtype == gr.int64
    assert gr.range(3, dtype=gr.float64).dtype == gr.float64
    n = gr.placeholder(gr.int32, ())
    assert evaluate(gr.range(n, -1, -2), {n: 5}).tolist() == [5, 3, 1]
    assert evaluate(gr.linspace(0.0, 1.0, n), {n: 3}).tolist() == [0.0, 0.5, 1.0]
    assert evaluate(gr.range(gr.constant(0.5), 2)).tolist() == [0.5, 1.5]
    with pytest.raises(ShapeError, match="delta is 0"):
        gr.range(0, 3, 0)
    with pytest.raises(ShapeError, match="from 3 to 0 in steps of 1"):
        gr.range(3, 0)
    with pytest.raises(DTypeError, match="an integer tensor"):
        gr.range(gr.placeholder(gr.float32, ()))
    with pytest.raises(DTypeError):
        gr.range(0, 2, 0.5, dtype=gr.int32)


def test_one_hot_arguments() -> None:
    assert gr.one_hot([1], 3).dtype == gr.float32
    assert gr.one_hot([1], 3, on_value=5).dtype == gr.int32
    assert gr.one_hot([1], 3, on_value=True, off_value=False).dtype == gr.bool
    assert gr.one_hot([1], 3, dtype=gr.float64).dtype == gr.float64
    on = gr.placeholder(gr.float32, ())
    y = gr.one_hot([1, 7], 3, on, -1.0)
    assert evaluate(y, {on: 2.0}).tolist() == [[-1, 2, -1], [-1, -1, -1]]
    depth = gr.placeholder(gr.int32, ())
    assert evaluate(gr.one_hot([0], depth), {depth: 2}).tolist() == [[1, 0]]
    with pytest.raises(DTypeError, match="indices has dtype float32"):
        gr.one_hot([1.0], 3)


def test_eye_mask_and_grid() -> None:
    assert dims(gr.eye(2, 3, [4, 5])) == [4, 5, 2, 3]
    batch = gr.placeholder(gr.int32, (1,))
    np.testing.assert_array_equal(
        evaluate(gr.eye(2, batch_shape=batch), {batch: [3]}), np.stack([np.eye(2)] * 3)
    )
    lengths = gr.placeholder(gr.int32, (None,))
    assert evaluate(gr.sequence_mask(lengths), {lengths: np.zeros(0, np.int32)}).shape == (0, 0)
    assert evaluate(gr.sequence_mask(lengths), {lengths: [1, 3]}).tolist() == [
        [True, False, False],
        [True] * 3,
    ]
    for indexing in ("xy", "ij"):
        found = evaluate(gr.meshgrid([1, 2, 3], [4, 5], indexing=indexing))
        for a, b in zip(found, np.meshgrid([1, 2, 3], [4, 5], indexing=indexing), strict=True):
            np.testing.assert_array_equal(a, b)


def test_transposes() -> None:
    a = array((2, 3, 4))
    r, perm = gr.placeholder(gr.float32, None), gr.placeholder(gr.int32, (3,))
    np.testing.assert_array_equal(evaluate(gr.transpose(r), {r: a}), a.T)
    np.testing.assert_array_equal(evaluate(gr.matrix_transpose(r), {r: a}), np.swapaxes(a, 1, 2))
    y = gr.transpose(r, perm)
    np.testing.assert_array_equal(evaluate(y, {r: a, perm: [1, 2, 0]}), a.transpose(1, 2, 0))
    (dx,) = gr.gradients(y * y, r)
    np.testing.assert_array_equal(evaluate(dx, {r: a, perm: [1, 2, 0]}), 2 * a)


def test_pad_arguments() -> None:
    a = array((2, 3))
    x, p = gr.placeholder(gr.float32, (2, 3)), gr.placeholder(gr.int32, (2, 2))
    y = gr.pad(x, p)
    np.testing.assert_array_equal(evaluate(y, {x: a, p: [[1, 0], [0, 2]]}), np.pad(a, [[1, 0], [0, 2]]))
    (dx,) = gr.gradients(y, x)
    np.testing.assert_array_equal(evaluate(dx, {x: a, p: [[1, 0], [0, 2]]}), np.ones_like(a))
    n = gr.placeholder(gr.int32, ())
    assert evaluate(gr.pad(x, [[0, n], [0, 0]], "reflect"), {x: a, n: 1}).tolist()[2] == a[0].tolist()
    for text in (gr.pad(x, np.array([[1, 1], [1, 1]])), gr.pad(x, gr.constant([[1, 1], [1, 1]]))):
        assert dims(text) == [4, 5]


def test_split_by_tensor_and_gradient_of_one_part() -> None:
    a = array((6, 2))
    x, sizes = gr.placeholder(gr.float32, (6, 2)), gr.placeholder(gr.int32, (3,))
    parts = gr.split(x, sizes)
    found = evaluate(parts, {x: a, sizes: [1, 2, 3]})
    assert [f.shape for f in found] == [(1, 2), (2, 2), (3, 2)]
    (dx,) = gr.gradients(parts[1], x)
    assert evaluate(dx, {x: a, sizes: [1, 2, 3]})[:, 0].tolist() == [0, 1, 1, 0, 0, 0]
    assert len(gr.split(x, gr.placeholder(gr.int32, (None,)), num=2)) == 2
    assert len(gr.split(x, np.array([2, 4]))) == 2


def test_tile_by_tensor_has_a_gradient() -> None:
    check_gradients(lambda x, m: gr.tile(x, m), [array((2, 3)), np.array([2, 3], np.int32)])
    check_gradients(lambda x, m: gr.tile(x * x, [2, m]), [array((2, 3)), np.int64(3)])


def test_concat_of_unknown_axis_has_a_gradient() -> None:
    check_gradients(lambda x, y, k: gr.concat([x * x, y], k), [array((2, 3)), array((2, 3)), np.int32(1)])


# -- gather ------------------------------------------------------------------------------------------


def test_gather_tells_an_index_that_is_out_of_range() -> None:
    x = gr.constant(array((4, 3)))
    for indices, words in (
        ([[1, 4]], r"indices\[0, 1\] is 4, out of range for axis 0 of length 4"),
        ([-1], r"indices\[0\] is -1(.|\n)*"),
    ):
        with pytest.raises(RuleError, match=words) as caught:
            evaluate(gr.gather(x, indices))
        assert caught.value.kind is InvalidArgumentError
        assert caught.value.expected == "0 <= index < 4"
    with pytest.raises(DTypeError, match="indices has dtype float32"):
        gr.gather(x, [1.0])
    with pytest.raises(ShapeError, match="axis 2 is out of range"):
        gr.gather(x, [1], axis=2)
    with pytest.raises(ShapeError, match="params is a scalar"):
        gr.gather(1.0, [0])


def test_batch_gather() -> None:
    p, i = array((2, 5, 3)), np.array([[0, 4], [2, 2]])
    expected = np.stack([p[k][i[k]] for k in range(2)])
    np.testing.assert_array_equal(evaluate(gr.gather(p, i, batch_dims=1)), expected)
    np.testing.assert_array_equal(evaluate(gr.batch_gather(p, i)), expected)
    np.testing.assert_array_equal(evaluate(gr.gather(p, i, batch_dims=-1)), expected)


def test_boolean_mask() -> None:
    a = array((3, 4, 2))
    x, r = gr.placeholder(gr.float32, (None, 4, 2)), gr.placeholder(gr.float32, None)
    for mask, axis in (
        (a[:, 0, 0] > 4, 0),
        (a[..., 0] % 3 == 0, 0),
        (a[0, :, 0] < 3, 1),
        (a[0] > 2, 1),
        (a > 5, 0),
    ):
        key = (slice(None),) * axis + (mask,)
        for t in (x, r):
            y = boolean_mask(t, mask, axis=axis)
            np.testing.assert_array_equal(evaluate(y, {t: a}), a[key])
            (dx,) = gr.gradients(y, t)
            expected = np.zeros_like(a)
            expected[key] = 1
            np.testing.assert_array_equal(evaluate(dx, {t: a}), expected)
    assert dims(boolean_mask(x, a[0, :, 0] < 3, axis=1)) == [None, None, 2]
    with pytest.raises(ShapeError, match="the masked dimensions"):
        boolean_mask(a, [True, False])
    with pytest.raises(ShapeError, match="of known rank"):
        boolean_mask(a, gr.placeholder(gr.bool, None))
    with pytest.raises(DTypeError, match="the mask has dtype int32"):
        boolean_mask(a, [1, 0, 1])


def test_embedding_lookup() -> None:
    a = array((5, 2)) + 1
    v = gr.Variable(a)
    np.testing.assert_array_equal(evaluate(gr.nn.embedding_lookup(v, [[1, 3]])), a[[[1, 3]]])
    np.testing.assert_array_equal(evaluate(gr.nn.embedding_lookup([v], [2])), a[[2]])
    short = evaluate(gr.nn.embedding_lookup(v, [0, 4], max_norm=3.0))
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), [np.hypot(1, 2), 3.0], rtol=1e-6)


@pytest.mark.parametrize("strategy", ["mod", "div"])
def test_embedding_in_parts(device: str, strategy: str) -> None:
    a = array((7, 2)) + 1
    parts = [a[k::3] for k in range(3)] if strategy == "mod" else [a[:3], a[3:5], a[5:]]
    tables = [gr.placeholder(gr.float32, p.shape) for p in parts]
    ids = gr.placeholder(gr.int64, (None, None))
    y = gr.nn.embedding_lookup(tables, ids, strategy, max_norm=9.0)
    plain = gr.nn.embedding_lookup(tables, ids, strategy)
    gradients = [gr.convert_to_tensor(g) for g in gr.gradients(plain, tables)]
    with gr.Session(device=device) as session:
        feed = {**dict(zip(tables, parts, strict=True)), ids: [[6, 0, 2], [3, 6, 4]]}
        found, *slopes = session.run([y, *gradients], feed)
    rows = a[[[6, 0, 2], [3, 6, 4]]]
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    np.testing.assert_allclose(found, rows * 9 / np.maximum(norms, 9), rtol=1e-6)
    counts = np.array([1, 0, 1, 1, 1, 0, 2])
    cut = [counts[k::3] for k in range(3)] if strategy == "mod" else [counts[:3], counts[3:5], counts[5:]]
    for slope, expected in zip(slopes, cut, strict=True):
        assert slope[:, 0].tolist() == expected.tolist()


def test_gradient_of_gather_adds_up() -> None:
    x = gr.Variable(array((5, 2)))
    (dx,) = gr.gradients(gr.gather(x, [1, 1, 3, 1]), x)
    assert isinstance(dx, gr.IndexedSlices)
    assert evaluate(gr.convert_to_tensor(dx))[:, 0].tolist() == [0, 3, 0, 1, 0]


# -- messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: gr.reshape(x, [7, -1]), ["12 elements of shape (3, 4) cannot become shape (7, -1)"]),
        (lambda x: gr.reshape(x, [5, 2]), ["12 elements", "which has 10", "write -1 for one dimension"]),
        (lambda x: gr.reshape(x, [-1, -1]), ["several -1"]),
        (lambda x: gr.reshape(x, [-2, 6]), ["dimension -2"]),
        (lambda x: gr.reshape(x, [None, 4]), ["None in shape", "write -1"]),
        (lambda x: gr.reshape(gr.zeros([0, 3]), [-1, 0]), ["-1 in shape (-1, 0) can be any number"]),
        (lambda x: gr.reshape(unknown(None, 5), [3, 4]), ["a multiple of 5", "which has 12"]),
        (lambda x: gr.concat([x, gr.zeros([2, 5])], 1), ["inputs 0 and 1 differ along axis 0, 3 != 2"]),
        (lambda x: gr.concat([x, gr.zeros([3])], 0), ["input 0 has rank 2 and input 1 has rank 1"]),
        (lambda x: gr.concat([gr.zeros([]), gr.zeros([])], 0), ["input 0 is a scalar", "gr.stack"]),
        (lambda x: gr.concat([x, x], 2), ["axis 2 is out of range for rank 2"]),
        (lambda x: gr.concat(0, [x, x]), ["the first argument is 0", "gr.concat(values, axis)"]),
        (lambda x: gr.concat([x, x]), ["no axis is given"]),
        (lambda x: gr.concat([], 0), ["an empty list"]),
        (lambda x: gr.stack([x, gr.zeros([3, 5])]), ["inputs 0 and 1 differ, (3, 4) != (3, 5)", "gr.concat"]),
        (lambda x: gr.stack([]), ["an empty list"]),
        (lambda x: gr.split(x, 3, 1), ["4 is not divisible by 3", "or split in 2"]),
        (lambda x: gr.split(x, [1, 2], 1), ["add up to 3, the dimension is 4"]),
        (lambda x: gr.split(x, [-1, -1], 1), ["several -1"]),
        (lambda x: gr.split(0, [1, 2], x), ["gr.split(value, num_or_size_splits, axis)"]),
        (lambda x: gr.split(x, unknown(None, dtype=gr.int32)), ["number of parts is unknown", "pass num="]),
        (lambda x: gr.unstack(unknown(None, 2)), ["dimension 0 of shape (?, 2) is not known", "pass num="]),
        (lambda x: gr.unstack(x, 2), ["dimension 0 is 3"]),
        (lambda x: gr.squeeze(x, 0), ["dimension 0 of shape (3, 4) is 3", "gr.reshape"]),
        (lambda x: gr.expand_dims(x, 3), ["axis 3 is out of range for rank 3"]),
        (lambda x: gr.transpose(x, [0, 0]), ["perm (0, 0) is no permutation"]),
        (lambda x: gr.transpose(x, [0, 1, 2]), ["perm (0, 1, 2) has 3 entries for rank 2"]),
        (lambda x: gr.tile(x, [2]), ["1 multiples for rank 2"]),
        (lambda x: gr.tile(x, [2, -1]), ["a negative number"]),
        (lambda x: gr.pad(x, [[1, 1]]), ["paddings for 1 axes, the rank is 2", "write (0, 0)"]),
        (lambda x: gr.pad(x, [1, 1]), ["a pair (before, after) for each axis"]),
        (lambda x: gr.pad(x, [[-1, 0], [0, 0]]), ["padding -1 of axis 0"]),
        (lambda x: gr.pad(x, [[3, 0], [0, 0]], "REFLECT"), ["padding 3 of axis 0 of length 3", "at most 2"]),
        (lambda x: gr.pad(x, [[0, 0], [0, 0]], "EDGE"), ["mode='EDGE'"]),
        (lambda x: gr.broadcast_to(x, [4, 4]), ["shape (3, 4) cannot be broadcast to (4, 4)"]),
        (lambda x: gr.zeros([2, -1]), ["dimension -1 in shape (2, -1)"]),
        (lambda x: gr.reverse(x, [0, 0]), ["names an axis twice"]),
    ],
)
def test_messages(make: Any, words: list[str]) -> None:
    x = gr.placeholder(gr.float32, (3, 4))
    with pytest.raises(ShapeError) as caught:
        make(x)
    text = str(caught.value)
    for word in [*words, "test_array.py:"]:
        assert word in text, text


def test_dtypes_must_be_equal() -> None:
    x, y = gr.zeros([2]), gr.zeros([2], gr.int32)
    for make in (lambda: gr.concat([x, y], 0), lambda: gr.stack([x, y])):
        with pytest.raises(DTypeError, match=r"dtypes differ, float32 != int32(.|\n)*gr\.cast"):
            make()
    with pytest.raises(DTypeError, match="shape has dtype float32"):
        gr.zeros(gr.placeholder(gr.float32, (2,)))
    with pytest.raises(DTypeError, match=r"6\.0 in shape(.|\n)*use // where /"):
        gr.reshape(gr.zeros([6]), [12 / 2])


@pytest.mark.parametrize("known", ["neither", "data", "mask"])
def test_a_mask_that_is_longer_than_the_data_is_told(device: str, known: str) -> None:
    x = gr.placeholder(gr.float32, (3, 2) if known == "data" else (None, 2))
    mask = gr.placeholder(gr.bool, (4,) if known == "mask" else (None,))
    y = gr.boolean_mask(x, mask)
    text = r"the mask has shape \(4,\), the masked dimensions \(3,\)"
    with gr.Session(device=device) as session:
        with pytest.raises(gr.errors.InvalidArgumentError, match=text):
            session.run(y, {x: np.ones((3, 2)), mask: [True, False, True, True]})
        if known != "data":
            assert session.run(y, {x: np.ones((4, 2)), mask: [True, False, True, True]}).shape == (3, 2)
        if known != "mask":
            assert session.run(y, {x: np.ones((3, 2)), mask: [True, False, True]}).shape == (2, 2)


def test_what_is_no_permutation_is_told(device: str) -> None:
    x = gr.placeholder(gr.int32, (None,))
    y = gr.invert_permutation(x) + 0
    with gr.Session(device=device) as session:
        for wrong in ([0, 0, 1], [1, 2, 3], [-1, 0, 1]):
            text = r"is no permutation\n(.|\n)*each of 0 ... 2"
            with pytest.raises(gr.errors.InvalidArgumentError, match=text):
                session.run(y, {x: wrong})
        assert session.run(y, {x: [2, 0, 1]}).tolist() == [1, 2, 0]
