"""Random operations: seeds, names, scaling, the streams themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from interpreter import evaluate

import graphrun as gr
from graphrun import dtypes
from graphrun.errors import DTypeError, ExecutionError, ShapeError
from graphrun.gradients import gradients
from graphrun.graph.descriptor import Spec
from graphrun.graph.graph import Graph
from graphrun.graph.opdef import get_op
from graphrun.ops.random import random_normal, random_shuffle, random_uniform, truncated_normal
from graphrun.ops.seeds import get_seed, set_random_seed, stream_key
from graphrun.ops.state import constant, placeholder
from graphrun.session import Session


@pytest.fixture(autouse=True)
def graph() -> Any:
    g = Graph()
    with g.as_default():
        yield g


def test_same_seeds_same_stream_in_another_graph() -> None:
    def build() -> Any:
        with Graph().as_default():
            set_random_seed(1)
            return evaluate([random_normal((4,)), random_normal((4,)), random_normal((4,), seed=5)])

    first, again = build(), build()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], first[1]), "two operations of one graph share a stream"


def test_get_seed_is_tensorflows(graph: Graph) -> None:
    assert get_seed(None) == (None, None)
    assert get_seed(7) == (87654321, 7)
    set_random_seed(3)
    assert get_seed(7) == (3, 7)
    constant(1.0)
    constant(1.0)
    assert get_seed(None) == (3, 2)


def test_keys() -> None:
    keys = {stream_key(s) for s in range(1000)}
    assert len(keys) == 1000 and all(0 <= w < 2**32 for k in keys for w in k)
    assert stream_key(4) == stream_key(np.int64(4))
    assert stream_key(None) != stream_key(None), "without seeds, each operation draws its own"
    with pytest.raises(DTypeError, match=r"seed=1\.5"):
        stream_key(1.5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_distributions(dtype: str) -> None:
    n = 20000
    u = evaluate(random_uniform((n,), 2, 5, dtype=dtype, seed=1)).astype("float64")
    assert u.min() >= 2 and u.max() <= 5 and abs(u.mean() - 3.5) < 0.03
    z = evaluate(random_normal((n,), 1.0, 2.0, dtype=dtype, seed=2)).astype("float64")
    assert abs(z.mean() - 1) < 0.06 and abs(z.std() - 2) < 0.05
    t = evaluate(truncated_normal((n,), 1.0, 2.0, dtype=dtype, seed=3)).astype("float64")
    assert t.min() >= -3 and t.max() <= 5 and abs(t.std() - 2 * 0.8796) < 0.05


def test_integers() -> None:
    x = random_uniform((2000,), -3, 4, dtype="int32", seed=1)
    assert x.dtype is dtypes.int32 and x.op.type == "RandomUniformInt"
    assert set(evaluate(x).tolist()) == set(range(-3, 4))
    low, high = placeholder(dtypes.int64, ()), placeholder(dtypes.int64, ())
    y = random_uniform((50,), low, high, dtype="int64", seed=1)
    assert set(evaluate(y, {low: 7, high: 8}).tolist()) == {7}
    with pytest.raises(ExecutionError, match="minval=8, maxval=8"):
        evaluate(y, {low: 8, high: 8})


def test_names_and_operations_left_out() -> None:
    assert random_uniform((2,)).name == "random_uniform:0"
    assert random_uniform((2,), name="u").op.type == "RandomUniform"
    scaled = random_uniform((2,), maxval=3.0, name="v")
    assert scaled.name == "v:0" and scaled.op.type == "Mul"
    moved = random_uniform((2,), -1.0, 1.0)
    assert moved.name == "random_uniform_1:0" and moved.op.type == "AddV2"
    assert random_normal((2,), name="n").op.type == "RandomStandardNormal"
    assert random_normal((2,)).name == "random_normal:0"
    assert truncated_normal((2,), stddev=0.1).name == "truncated_normal:0"


def test_tensors_as_bounds_broadcast_and_have_gradients() -> None:
    mean, stddev = placeholder(dtypes.float32, (3,)), placeholder(dtypes.float32, ())
    z = random_normal((5, 3), mean, stddev, seed=1)
    assert z._shape == (5, 3)
    feeds = {mean: [1.0, 2.0, 3.0], stddev: 0.0}
    np.testing.assert_array_equal(evaluate(z, feeds), np.tile([1.0, 2.0, 3.0], (5, 1)))
    d_mean, d_stddev = gradients(z, [mean, stddev])
    draws = evaluate(random_normal((5, 3), seed=1))
    np.testing.assert_array_equal(evaluate(d_mean, feeds), [5.0, 5.0, 5.0])
    np.testing.assert_allclose(evaluate(d_stddev, feeds), draws.sum(), rtol=1e-5)
    low = placeholder(dtypes.float32, (3,))
    u = evaluate(random_uniform((4, 3), low, 2.0, seed=1), {low: [0.0, 1.0, 2.0]})
    assert (u[:, 2] == 2).all() and (u[:, 1] >= 1).all()


def test_shape_as_tensor() -> None:
    n = placeholder(dtypes.int32, ())
    x = random_uniform([n, 3], seed=1)
    assert x._shape == (None, 3) and evaluate(x, {n: 4}).shape == (4, 3)


def test_messages() -> None:
    with pytest.raises(DTypeError, match="integers without maxval"):
        random_uniform((2,), dtype="int32")
    with pytest.raises(DTypeError, match=r"random_normal 'z': no random numbers of dtype int32"):
        random_normal((2,), mean=0, stddev=1, dtype="int32", name="z")
    with pytest.raises(ShapeError, match="maxval has rank 1"):
        random_uniform((2,), 0, [1, 2], dtype="int32")
    with pytest.raises(ShapeError, match="negative dimension"):
        random_uniform((2, -1))


def test_shuffle_permutes_rows() -> None:
    x = np.arange(24).reshape(8, 3)
    y = evaluate(random_shuffle(x, seed=3))
    assert sorted(y.tolist()) == x.tolist() and y.tolist() != x.tolist()
    assert evaluate(random_shuffle(4.0)) == 4.0
    assert evaluate(random_shuffle(np.zeros((0, 3)))).shape == (0, 3)


def test_gradients_of_shuffle_go_back_to_their_rows() -> None:
    x = placeholder(dtypes.float32, (None, 2))
    y = random_shuffle(x, seed=3)
    assert y._shape == (None, 2)
    weights = constant(np.arange(10.0, dtype="float32").reshape(5, 2))
    (dx,) = gradients(y * weights, x)
    value = np.arange(10.0).reshape(5, 2)
    shuffled, found = evaluate([y, dx], {x: value})
    order = (shuffled[:, 0] / 2).astype(int)  # row i of the result was row order[i]
    expected = np.empty((5, 2))
    expected[order] = np.arange(10.0).reshape(5, 2)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "name", ["random_uniform", "random_uniform_int", "random_normal", "truncated_normal"]
)
def test_counter_advances_by_the_blocks_drawn(name: str) -> None:
    """Two draws in a row are one long draw: nothing is used twice, nothing is passed over."""
    pure = get_op(get_op(name).pure or "")
    integer = name.endswith("int")
    dtype = dtypes.int32 if integer else dtypes.float32
    bounds = [np.int32(0), np.int32(1000)] if integer else []

    def draw(counter: int, count: int) -> np.ndarray:
        return pure.numpy(np.int64(counter), *bounds, key=(1, 2), shape=(count,), dtype=dtype)  # type: ignore[misc]

    assert pure.advance is not None
    blocks = pure.advance(Spec((8,), dtype))
    assert blocks == 2 and pure.advance(Spec((9,), dtype)) == 3 and pure.advance(Spec((0,), dtype)) == 0
    np.testing.assert_array_equal(np.concatenate([draw(0, 8), draw(blocks, 8)]), draw(0, 16))


def test_runs_go_on_in_the_stream_and_sessions_begin_it(graph: Graph) -> None:
    x = random_uniform((6,), seed=1)
    y = random_uniform((6,), seed=2)
    whole = evaluate(random_uniform((16,), seed=1))
    for _ in range(2):
        with Session(graph=graph) as sess:
            first = sess.run(x)
            sess.run(y)  # another stream's draws move nothing
            second, again = sess.run([x, x])
            assert first.tolist() == whole[:6].tolist(), "a new session begins the stream"
            # 6 draws use 2 blocks of 4: the next run begins with the third block.
            assert second.tolist() == whole[8:14].tolist() and again.tolist() == second.tolist()


@pytest.mark.parametrize("bounds", [(5, 2), (5, 5)])
def test_empty_range_of_integers_is_refused_where_it_is_written(bounds: tuple[int, int]) -> None:
    with pytest.raises(
        ShapeError, match=r"no number is in the range(.|\n)*test_random.py(.|\n)*minval below"
    ):
        gr.random_uniform([2], *bounds, dtype=gr.int32)
