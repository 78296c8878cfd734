"""`gradients`: what it returns for which question; the rules themselves are checked in test_ops.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrun as gr
from graphrun.errors import DTypeError, GradientError, GraphError, ShapeError

F32 = np.float32
SITE = r"created at .*test_gradients\.py:\d+"


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def scalar(value: float = 3.0) -> gr.Tensor:
    return gr.placeholder_with_default(gr.constant(value), ())


# -- the question ------------------------------------------------------------------------------


def test_one_x_and_several(sess: gr.Session) -> None:
    x, y = scalar(3.0), scalar(2.0)
    z = x * x * y
    (only,) = gr.gradients(z, x)
    assert sess.run([only, *gr.gradients([z], [x, y]), *gr.gradients((z,), (y,))]) == [12.0, 12.0, 9.0, 9.0]
    assert gr.gradients(z, []) == [] and gr.gradients([], [x]) == [None]


def test_several_ys_are_summed(sess: gr.Session) -> None:
    x = scalar()
    ys = [x * x, 2.0 * x, gr.constant(1.0)]
    assert sess.run(gr.gradients(ys, x)) == [8.0]
    assert sess.run(gr.gradients([ys[0], ys[0]], x)) == [12.0]
    v = gr.Variable([1.0, 2.0])
    sess.run(v.initializer)
    np.testing.assert_array_equal(sess.run(gr.gradients([v * v, gr.reduce_sum(v)], v)[0]), [3, 5])


def test_duplicate_xs(sess: gr.Session) -> None:
    x = scalar()
    assert sess.run(gr.gradients(x * x, [x, x])) == [6.0, 6.0]


def test_intermediate_xs(sess: gr.Session) -> None:
    x = scalar()
    middle = x * x
    y = middle * 5.0 + middle * middle
    assert sess.run(gr.gradients(y, [middle, x])) == [23.0, 138.0]
    assert sess.run(gr.gradients(y, [y, middle])) == [1.0, 23.0]
    assert sess.run(gr.gradients(middle, middle)) == [1.0]


def test_grad_ys(sess: gr.Session) -> None:
    x = gr.constant([1.0, 2.0, 3.0])
    y, z = x * x, 2.0 * x
    np.testing.assert_array_equal(sess.run(gr.gradients(y, x, grad_ys=[[1.0, 0.0, 2.0]])[0]), [2, 0, 12])
    np.testing.assert_array_equal(sess.run(gr.gradients(y, x, gr.constant([1.0, 0.0, 2.0]))[0]), [2, 0, 12])
    np.testing.assert_array_equal(sess.run(gr.gradients([y, z], x, [None, gr.ones([3])])[0]), [4, 6, 8])
    np.testing.assert_array_equal(sess.run(gr.gradients([y, z], x, [np.zeros(3, F32), None])[0]), [2, 2, 2])


def test_grad_ys_may_have_other_axes_of_length_1(sess: gr.Session) -> None:
    # A list of gradients that a program computes with as if it were a tensor.
    x = gr.constant([[1.0, 2.0], [3.0, 4.0]])
    y = gr.reshape(x * x, [2, 2])
    rows = gr.gradients(y, x) - gr.constant([[1.0], [2.0]])
    assert rows.shape.as_list() == [1, 2, 2]
    np.testing.assert_array_equal(sess.run(gr.gradients(y, x, rows)[0]), [[2, 12], [24, 48]])


def test_stop_gradients_give_partial_derivatives(sess: gr.Session) -> None:
    a = gr.constant(0.0)
    b = 2.0 * a
    assert sess.run(gr.gradients(a + b, [a, b], stop_gradients=[a, b])) == [1.0, 1.0]
    assert sess.run(gr.gradients(a + b, [a, b])) == [3.0, 1.0]
    x = scalar()
    u = x * x
    w = u * x
    assert sess.run(gr.gradients(w, [x, u], stop_gradients=u)) == [9.0, 3.0]
    assert gr.gradients(u * u, x, stop_gradients=[u]) == [None]
    v = gr.Variable(2.0)
    sess.run(v.initializer)
    assert sess.run(gr.gradients(v * gr.stop_gradient(v), v)) == [2.0]
    assert sess.run(gr.gradients(v * v * x, [v, x], stop_gradients=[v])) == [12.0, 4.0]


def test_unconnected_gradients(sess: gr.Session) -> None:
    x, y = scalar(), gr.constant([[1.0, 2.0]])
    n = gr.constant([1, 2])
    unknown = gr.placeholder(gr.float32, (None,))
    assert gr.gradients(x * 2.0, [y, x])[0] is None
    assert gr.gradients(x * 2.0, y, unconnected_gradients="none") == [None]
    zeros = gr.gradients(x * 2.0, [y, n, unknown], unconnected_gradients=gr.UnconnectedGradients.ZERO)
    got = sess.run(zeros, {unknown: [1.0, 2.0, 3.0]})
    np.testing.assert_array_equal(got[0], np.zeros((1, 2)))
    assert got[1].dtype == np.int32 and got[1].shape == (2,)
    np.testing.assert_array_equal(got[2], np.zeros(3))
    with pytest.raises(GradientError, match="unconnected_gradients='nothing'") as fault:
        gr.gradients(x, x, unconnected_gradients="nothing")
    assert '"none" or "zero"' in str(fault.value)


def test_paths_without_a_gradient() -> None:
    x = gr.placeholder(gr.float32, (3,))
    for y in (
        gr.stop_gradient(x), gr.cast(gr.cast(x, gr.int32), gr.float32), gr.cast(x > 0.0, gr.float32),
        gr.cast(gr.argmax(x, 0), gr.float32), gr.cast(gr.shape(x), gr.float32), gr.round(x) + gr.sign(x),
    ):  # fmt: skip
        found = gr.gradients(y, x)[0]
        assert found is None or y.op.type == "AddV2"


def test_variables_and_control_dependencies(sess: gr.Session) -> None:
    """A variable among xs means the variable, whichever of its reads y was made of."""
    v = gr.Variable(3.0)
    assign = v.assign(4.0)
    with gr.control_dependencies([assign]):
        y = v * v
        gradient = gr.gradients(y, v)[0]
        outer = gr.gradients(v.read_value() * 2.0 + v.value(), [v])[0]
    plain = gr.gradients(v * v, v)[0]
    sess.run(v.initializer)
    assert sess.run([y, gradient, outer, plain]) == [16.0, 8.0, 3.0, 6.0]


def test_gradient_nodes_wait_for_their_scope(sess: gr.Session) -> None:
    v = gr.Variable(2.0)
    y = v * v
    step = v.assign_sub(0.25 * gr.gradients(y, v)[0])
    with gr.control_dependencies([step]):
        after = v * v
    sess.run(v.initializer)
    assert sess.run([y, step, after]) == [4.0, 1.0, 1.0]


def test_names_of_gradients() -> None:
    x = gr.placeholder(gr.float32, (), name="x")
    with gr.name_scope("train"):
        first = gr.gradients(x * x, x)[0]
    assert first.name.startswith("train/gradients/")
    assert gr.gradients(x * x, x, name="d")[0].name.startswith("d/")
    assert gr.gradients(x * x, x, name=None)[0].name.startswith("gradients/")


# -- higher orders -----------------------------------------------------------------------------


def test_second_and_third_order(sess: gr.Session) -> None:
    x = scalar(2.0)
    y = x**4.0
    values = []
    for _ in range(4):
        y = gr.gradients(y, x)[0]
        values.append(y)
    assert sess.run(values) == pytest.approx([32.0, 48.0, 48.0, 24.0])


def test_gradient_penalty(sess: gr.Session, rng: np.random.Generator) -> None:
    """A gradient inside of a loss, as in WGAN-GP; checked by finite differences."""
    x = rng.normal(size=(4, 3))
    w0 = rng.normal(size=(3, 2))
    w = gr.placeholder(gr.float64, (3, 2))
    data = gr.constant(x)
    critic = gr.reduce_sum(gr.tanh(gr.matmul(data, w)), 1)
    slope = gr.gradients(critic, data)[0]
    loss = gr.reduce_mean(gr.square(gr.sqrt(gr.reduce_sum(gr.square(slope), 1)) - 1.0))
    gradient = gr.gradients(loss, w)[0]
    direction = rng.normal(size=(3, 2))
    with gr.Session() as host:  # float64
        h = 1e-6
        numeric = (host.run(loss, {w: w0 + h * direction}) - host.run(loss, {w: w0 - h * direction})) / (
            2 * h
        )
        expected = host.run(gradient, {w: w0})
    np.testing.assert_allclose((expected * direction).sum(), numeric, rtol=1e-6)
    np.testing.assert_allclose(sess.run(gradient, {w: w0}), expected, rtol=1e-9)


def test_hessians(sess: gr.Session) -> None:
    a = np.array([[2.0, 1.0], [1.0, 3.0]], F32)
    x = gr.constant([1.0, 2.0])
    quadratic = gr.reduce_sum(x * gr.reshape(gr.matmul(a, gr.reshape(x, [2, 1])), [2]))
    np.testing.assert_allclose(sess.run(gr.hessians(quadratic, x)[0]), 2 * a)
    m = gr.constant([[1.0, 2.0], [3.0, 4.0]])
    got = sess.run(gr.hessians(gr.reduce_sum(m * m * m), [m, m]))
    assert got[0].shape == (2, 2, 2, 2)
    np.testing.assert_allclose(got[1].reshape(4, 4), np.diag([6.0, 12.0, 18.0, 24.0]))
    np.testing.assert_array_equal(sess.run(gr.hessians(gr.reduce_sum(3.0 * x), x)[0]), np.zeros((2, 2)))
    assert gr.hessians(quadratic, []) == []
    with pytest.raises(GradientError, match=r"the shape of 'Placeholder:0' is \(\?,\)"):
        unknown = gr.placeholder(gr.float32, (None,))
        gr.hessians(gr.reduce_sum(unknown * unknown), unknown)
    with pytest.raises(GradientError, match="ys do not depend on"):
        gr.hessians(gr.constant(1.0), x)


# -- long and wide graphs ------------------------------------------------------------------------


def test_deep_chain() -> None:
    depth = 20_000
    x = gr.placeholder(gr.float32, ())
    y = x
    for _ in range(depth):
        y = gr.add(y, 1e-4)
    gradient = gr.gradients(y * y, x)[0]
    with gr.Session() as sess:
        value, slope = sess.run([y, gradient], {x: 1.0})
    assert value == pytest.approx(3.0, rel=1e-2)
    assert slope == pytest.approx(2 * value)


def test_deep_integer_chain() -> None:
    """What is known of an integer's value is asked for when a shape is made of it."""
    n: Any = gr.constant(0)
    for _ in range(3_000):
        n = n + 1
    assert gr.zeros(gr.stack([n, 2])).shape.as_list() == [3000, 2]
    m = gr.shape(gr.placeholder(gr.float32, (None, 5)))[0]
    for _ in range(3_000):
        m = m + 1
    assert gr.fill([m, 2], 1.0).shape.as_list() == [None, 2]
    large = gr.constant(2**31 - 1) + gr.constant([1, 0])  # wraps around in the run, so it is not known
    assert gr.fill(gr.maximum(large, 0), 1.0).shape.as_list() == [None, 2**31 - 1]


def test_diamonds_are_walked_once() -> None:
    """2 ** 200 paths."""
    x = gr.placeholder(gr.float32, ())
    y = x
    for _ in range(200):
        y = 0.5 * y + 0.5 * y
    before = len(y.graph.get_operations())
    gradient = gr.gradients(y, x)[0]
    assert len(y.graph.get_operations()) - before < 2_000
    with gr.Session() as sess:
        assert sess.run(gradient, {x: 1.0}) == 1.0


def test_only_what_lies_between_is_differentiated() -> None:
    """Operations without a gradient may stand beside the path."""
    x, other = scalar(), gr.placeholder(gr.float32, (3,))
    v = gr.Variable(0.0)
    y = x * gr.cast(gr.argmax(other, 0), gr.float32) + v.assign(1.0)
    assert gr.gradients(y, x)[0] is not None
    with pytest.raises(GradientError) as fault:
        gr.gradients(y, v)
    text = str(fault.value)
    assert "assign '" in text and "this operation has no gradient" in text
    assert re.search(SITE, text) and "gr.stop_gradient" in text


# -- broadcasting ------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3),
    st.data(),
)
@settings(max_examples=40, deadline=None)
def test_gradients_of_broadcast_operands(shape: list[int], data: Any) -> None:
    """Whether a dimension is 1 may be known when the graph is built, or only in the run."""
    dims = [data.draw(st.sampled_from([d, 1])) for d in shape]
    dims = dims[data.draw(st.integers(0, len(dims))) :]
    hide = [data.draw(st.booleans()) for _ in shape], [data.draw(st.booleans()) for _ in dims]
    rank_known = data.draw(st.booleans())
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=shape), rng.normal(size=dims)
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float64, [None if h else d for d, h in zip(shape, hide[0], strict=True)])
        known = [None if h else d for d, h in zip(dims, hide[1], strict=True)]
        y = gr.placeholder(gr.float64, known if rank_known else None)
        z = x * y + y
        weights = rng.normal(size=np.broadcast_shapes(a.shape, b.shape))
        gx, gy = gr.gradients(z, [x, y], grad_ys=gr.constant(weights))
        with gr.Session(verify=True) as sess:
            got_x, got_y = sess.run([gx, gy], {x: a, y: b})
    full_x, full_y = weights * b, weights * (a + 1)

    def sum_to(array: Any, to: Any) -> Any:
        array = array.sum(tuple(range(array.ndim - len(to))))
        return array.sum(tuple(i for i, d in enumerate(to) if d == 1), keepdims=True)

    np.testing.assert_allclose(got_x, sum_to(full_x, a.shape))
    np.testing.assert_allclose(got_y, sum_to(full_y, b.shape))
    assert got_x.shape == a.shape and got_y.shape == b.shape


def test_broadcast_with_unknown_dimensions(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None, None))
    b = gr.placeholder(gr.float32, None)
    loss = gr.reduce_sum(gr.square(x + b))
    grads = gr.gradients(loss, [x, b])
    for b_shape in [(1, 3), (3,), (), (2, 3), (2, 1), (1, 1)]:
        got_x, got_b = sess.run(grads, {x: np.ones((2, 3)), b: np.ones(b_shape)})
        np.testing.assert_array_equal(got_x, np.full((2, 3), 4))
        np.testing.assert_array_equal(got_b, np.full(b_shape, 4 * 6 / max(1, np.prod(b_shape))))


def test_gradient_has_the_shape_and_dtype_of_x() -> None:
    x = gr.placeholder(gr.float64, (None, 3))
    h = gr.cast(x, gr.float32)
    gradient = gr.gradients(gr.reduce_mean(gr.matmul(h, gr.ones([3, 2]))), x)[0]
    assert gradient.dtype == gr.float64
    assert gradient.shape.is_compatible_with((None, 3))


# -- wrong questions ---------------------------------------------------------------------------


def test_wrong_questions() -> None:
    x = gr.placeholder(gr.float32, (2,), name="x")
    n = gr.placeholder(gr.int32, (), name="n")
    with pytest.raises(GradientError) as fault:
        gr.gradients(n * 2, n)
    text = str(fault.value)
    assert (
        "has dtype int32" in text and "floating-point" in text and "gr.cast" in text and re.search(SITE, text)
    )
    with pytest.raises(GradientError, match="2 grad_ys for 1 ys"):
        gr.gradients(x, x, [None, None])
    with pytest.raises(GradientError, match="1 grad_ys for 2 ys"):
        gr.gradients([x, x], x, gr.ones([2]))
    with pytest.raises(ShapeError) as shape_fault:
        gr.gradients(x * 2.0, x, gr.ones([3]))
    text = str(shape_fault.value)
    assert "grad_ys: (3,)" in text and "the shape of y, (2,)" in text and re.search(SITE, text)
    with pytest.raises(DTypeError, match="float64"):
        gr.gradients(x * 2.0, x, gr.ones([2], gr.float64))
    with gr.Graph().as_default():
        foreign = gr.placeholder(gr.float32, (2,), name="foreign")
    for ys, xs in ((x, foreign), (foreign, x), ([x, foreign], x)):
        with pytest.raises(GradientError, match="is in another graph than") as fault:
            gr.gradients(ys, xs)
        assert re.search(SITE, str(fault.value))
    with pytest.raises(GraphError, match="another graph"):
        gr.gradients(x * 2.0, x, foreign)
    for nothing in (gr.no_op(), object()):
        with pytest.raises(DTypeError):
            gr.gradients(nothing, x)
    with pytest.raises(GradientError, match="has dtype string"):  # a name is a constant
        gr.gradients("x:0", x)


def test_random_graphs_in_float64() -> None:
    """A few layers of everything, against finite differences."""
    rng = np.random.default_rng(1)

    def network(a: Any, b: Any) -> Any:
        h = gr.tanh(gr.matmul(a, b))
        h = gr.concat([h, gr.reshape(gr.transpose(h), gr.shape(h))], 1)
        h = h[:, 1:] * gr.reduce_max(h, 1, keepdims=True) + gr.exp(-gr.square(h[:, :-1]))
        return gr.nn.softmax(h) * gr.log(2.0 + gr.sin(h))

    check_gradients(network, [rng.normal(size=(3, 4)), rng.normal(size=(4, 3))])
