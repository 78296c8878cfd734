"""Pools of other ranks, places of maxima, blocks, patches and lrn: definitions, messages, devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from interpreter import evaluate

import graphrun as gr
from graphrun.errors import ShapeError


@pytest.fixture(autouse=True)
def graph() -> Any:
    g = gr.Graph()
    with g.as_default():
        yield g


def _array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def _distinct(*shape: int) -> np.ndarray:
    """Numbers whose order small steps do not change."""
    n = int(np.prod(shape))
    return np.random.default_rng(0).permutation(n).reshape(shape) * 0.1


def _pooled_by_definition(x: np.ndarray, size: Any, step: Any, padding: str, mean: bool) -> np.ndarray:
    """Windows of volumes, one at a time."""
    dims = x.shape[1:4]
    if padding == "SAME":
        out = [-(-d // s) for d, s in zip(dims, step)]
        before = [max((o - 1) * s + k - d, 0) // 2 for o, s, k, d in zip(out, step, size, dims)]
    else:
        out, before = [(d - k) // s + 1 for d, k, s in zip(dims, size, step)], [0, 0, 0]
    y = np.zeros((len(x), *out, x.shape[4]))
    for at in np.ndindex(*out):
        first = [a * s - b for a, s, b in zip(at, step, before)]
        window = x[(slice(None), *(slice(max(f, 0), f + k) for f, k in zip(first, size)))]
        y[(slice(None), *at)] = window.mean((1, 2, 3)) if mean else window.max((1, 2, 3))
    return y


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("mean", [False, True])
def test_pools_of_volumes(padding: str, mean: bool) -> None:
    x = _distinct(2, 5, 6, 7, 2)
    function = gr.nn.avg_pool3d if mean else gr.nn.max_pool3d
    for size, step in (((2, 3, 2), (2, 1, 3)), ((3, 1, 2), (1, 1, 1))):
        y = function(x, list(size), list(step), padding, name="p")
        expected = _pooled_by_definition(x, size, step, padding, mean)
        assert y.op.name.startswith("p") and y._shape == expected.shape
        np.testing.assert_allclose(evaluate(y), expected, rtol=1e-12)
        turned = function(np.moveaxis(x, -1, 1), list(size), list(step), padding, data_format="NCDHW")
        np.testing.assert_allclose(np.moveaxis(evaluate(turned), 1, -1), expected, rtol=1e-12)
    check_gradients(lambda x: function(x, 2, [1, 2, 1], padding), [_distinct(1, 3, 4, 3, 1)])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pool_of_any_rank_and_dilation(rank: int) -> None:
    x = _distinct(1, *(9, 8, 7)[:rank], 2)
    plain: Any = (gr.nn.max_pool1d, gr.nn.max_pool, gr.nn.max_pool3d)[rank - 1]
    y = evaluate(gr.nn.pool(x, [2] * rank, "MAX", "SAME", strides=[2] * rank))
    np.testing.assert_array_equal(y, evaluate(plain(x, [2] * rank, [2] * rank, "SAME")))
    dilated = gr.nn.pool(x, [2] * rank, "AVG", "VALID", dilation_rate=[3] * rank)
    shifts = np.stack(
        [x[(slice(None), *(slice(3 * i, n - 3 + 3 * i) for i, n in zip(at, x.shape[1:-1])))]
         for at in np.ndindex(*[2] * rank)]
    )  # fmt: skip
    np.testing.assert_allclose(evaluate(dilated), shifts.mean(0), rtol=1e-12)
    order = ("NCW", "NCHW", "NCDHW")[rank - 1]
    turned = gr.nn.pool(
        np.moveaxis(x, -1, 1), [2] * rank, "AVG", "VALID", dilations=[3] * rank, data_format=order
    )
    np.testing.assert_allclose(np.moveaxis(evaluate(turned), 1, -1), shifts.mean(0), rtol=1e-12)


def test_unknown_shapes() -> None:
    x = gr.placeholder(gr.float32, (None, None, 6, None, 3))
    y = gr.nn.max_pool3d(x, 2, 2, "SAME")
    assert y._shape == (None, None, 3, None, 3)
    value = _array(2, 3, 6, 5, 3).astype("float32")
    np.testing.assert_array_equal(
        evaluate(y, {x: value}), _pooled_by_definition(value, (2, 2, 2), (2, 2, 2), "SAME", False)
    )
    image = gr.placeholder(gr.float32, (None, None, None, 3))
    assert gr.space_to_depth(image, 2)._shape == (None, None, None, 12)
    blocks = gr.space_to_batch_nd(image, [2, 2], [[0, 0], [0, 0]])
    back = gr.batch_to_space_nd(blocks, [2, 2], [[0, 0], [0, 0]])
    value = _array(2, 4, 6, 3).astype("float32")
    np.testing.assert_array_equal(evaluate(back, {image: value}), value)


def test_gradient_flows_to_the_maximum_whose_place_is_told() -> None:
    x = _distinct(1, 4, 6, 2)
    p = gr.placeholder(gr.float64, x.shape)
    y, at = gr.nn.max_pool_with_argmax(p, [1, 2, 3, 1], [1, 2, 3, 1], "VALID", Targmax=gr.int32)
    assert at.dtype is gr.int32
    (dx,) = gr.gradients(y, p)
    value, places, gradient = (evaluate(t, {p: x}) for t in (y, at, dx))
    np.testing.assert_array_equal(x.reshape(-1)[places], value)
    assert gradient.sum() == value.size and (gradient.reshape(-1)[places] == 1).all()


def test_blocks_reverse_each_other() -> None:
    x = _array(2, 4, 6, 3)
    for order in ("NHWC", "NCHW"):
        image = x if order == "NHWC" else np.moveaxis(x, -1, 1)
        y = gr.space_to_depth(image, 2, data_format=order)
        np.testing.assert_array_equal(evaluate(gr.depth_to_space(y, 2, data_format=order)), image)
    padded = gr.space_to_batch(x, [[1, 1], [0, 2]], 2)
    np.testing.assert_array_equal(evaluate(gr.batch_to_space(padded, [[1, 1], [0, 2]], 2)), x)

    def moved(x: Any) -> Any:
        image = gr.identity(x)
        image.set_shape([None] * 4)  # the rank has to be known
        return gr.space_to_batch_nd(image, [2, 3], [[1, 1], [0, 0]])

    check_gradients(moved, [x[:1]])
    check_gradients(lambda x: gr.space_to_depth(x, 2), [x[:1]])
    pads = gr.placeholder(gr.int32, (2, 2))
    fed = gr.space_to_batch_nd(gr.constant(x), gr.constant([2, 2]), pads)
    np.testing.assert_array_equal(
        evaluate(fed, {pads: np.array([[1, 1], [0, 2]], np.int32)}), evaluate(padded)
    )


def test_lrn_is_its_formula() -> None:
    x = _array(2, 3, 9)
    near = np.abs(np.subtract.outer(np.arange(9), np.arange(9))) <= 2
    expected = x / (1.5 + 0.3 * np.square(x) @ near) ** 0.75
    y = gr.nn.lrn(x, 2, bias=1.5, alpha=0.3, beta=0.75, name="norm1")
    assert y.name == "norm1:0"
    np.testing.assert_allclose(evaluate(y), expected, rtol=1e-12)
    check_gradients(lambda x: gr.nn.lrn(x, 2, 1.5, 0.3, 0.75), [x[:1]])


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda x: gr.nn.max_pool3d(x, 2, 2, "SAME"), "max_pool3d: the input has rank 4"),
        (lambda x: gr.nn.max_pool1d(x, 2, 2, "FULL"), "max_pool1d: padding='FULL'"),
        (lambda x: gr.nn.max_pool1d(x, [2, 2], 2, "SAME"), "max_pool1d: ksize has 2 entries"),
        (lambda x: gr.nn.pool(x, [2, 2], "SUM", "SAME"), "pool: pooling_type='SUM'"),
        (lambda x: gr.nn.pool(x, [2, 2], "MAX", "SAME", [2, 2]), 'pool: padding="SAME" with dilation_rate'),
        (lambda x: gr.nn.pool(x, [2, 2], "MAX", "VALID", [2, 2], [2, 1]), "pool: strides=(2, 1) with dila"),
        (lambda x: gr.nn.max_pool_with_argmax(x, 2, 2, "SAME", "NCHW"), "argmax: data_format='NCHW'"),
        (lambda x: gr.space_to_depth(x, 3), "space_to_depth: a height of 4 is no multiple of 3"),
        (lambda x: gr.depth_to_space(x, 2), "depth_to_space: a number of channels of 3 is no multiple of 4"),
        (lambda x: gr.space_to_depth(x[0], 2), "space_to_depth: the input has rank 3"),
        (lambda x: gr.space_to_batch_nd(x, [2, 4], [[0, 0], [0, 0]]), "a padded dimension of 6 is no mult"),
        (lambda x: gr.space_to_batch_nd(x, [2, 2], [[0, 0]]), "space_to_batch_nd: paddings=[[0, 0]]"),
        (lambda x: gr.batch_to_space_nd(x, [2, 2], [[0, 0]] * 2), "batch_to_space_nd: a batch of 2 is no"),
        (lambda x: gr.batch_to_space_nd(x, [2], [[5, 5]]), "batch_to_space_nd: crops=[[5, 5]] of [8]"),
        (lambda x: gr.extract_image_patches(x, 7, 1, 1, "VALID"), "the patch covers 7 pixels"),
    ],
)  # fmt: skip
def test_messages(build: Any, text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        build(gr.zeros([2, 4, 6, 3]))
    assert text in str(caught.value) and "test_pool_ranks.py:" in str(caught.value)


def test_on_devices(device: str) -> None:
    """Made of other operations, all of which run there."""
    x = _distinct(1, 4, 6, 4, 2).astype("float32")
    p = gr.placeholder(gr.float32, x.shape)
    image = p[:, 0]
    made = [
        gr.nn.max_pool3d(p, 2, 2, "SAME"),
        gr.nn.avg_pool3d(p, 3, 2, "SAME"),
        gr.nn.max_pool1d(image[0], 2, 2, "SAME"),
        gr.nn.lrn(image, 1),
        gr.space_to_depth(image, 2),
        gr.space_to_batch_nd(image, [2, 2], [[0, 2], [1, 1]]),
        gr.nn.pool(image, [2, 2], "MAX", "VALID", [2, 2]),
        gr.extract_image_patches(image, 2, 1, 1, "SAME"),
        *gr.nn.max_pool_with_argmax(image, 2, 2, "SAME"),
    ]
    fetches = [*made, *gr.gradients([m for m in made if m.dtype.is_floating], p)]
    with gr.Session(device=device, strict=device != "cpu:0", verify=True) as session:
        for found, y in zip(session.run(fetches, {p: x}), fetches, strict=True):
            np.testing.assert_allclose(found, evaluate(y, {p: x}), rtol=1e-5, atol=1e-5)
