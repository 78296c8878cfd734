"""Gradients of users: custom_gradient, RegisterGradient and gradient_override_map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import GradientError, GraphError, NotFoundError, ShapeError

F32 = np.float32


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def register(name: str) -> Any:
    """As RegisterGradient, for names that several tests or devices register."""
    from graphrun import custom_gradients

    custom_gradients._REGISTERED.pop(name, None)
    return gr.RegisterGradient(name)


# -- custom_gradient ----------------------------------------------------------------------------------


def test_its_gradient_takes_the_place_of_the_function(sess: gr.Session) -> None:
    @gr.custom_gradient
    def clipped(x: gr.Tensor, y: gr.Tensor) -> Any:
        def grad(dy: gr.Tensor) -> Any:
            return gr.clip_by_value(dy * y, -1.0, 1.0), None

        return x * y, grad

    x, y = gr.placeholder(gr.float32, (None,)), gr.placeholder(gr.float32, (None,))
    z = clipped(x, y) * 2.0
    assert z.shape.as_list() == [None]
    dx, dy = gr.gradients(z, [x, y])
    assert dy is None
    got, got_dx = sess.run([z, dx], {x: [1, 2], y: [0.25, 4]})
    np.testing.assert_array_equal(got, [0.5, 16])
    np.testing.assert_array_equal(got_dx, [0.5, 1])


def test_several_results_share_it(sess: gr.Session) -> None:
    @gr.custom_gradient
    def both(x: gr.Tensor) -> Any:
        return (gr.sin(x), gr.cos(x)), lambda ds, dc: 10.0 * ds + dc

    x = gr.constant(2.0)
    s, c = both(x)
    results = [gr.gradients(s, x)[0], gr.gradients(c, x)[0], gr.gradients(s * 3.0 + c, x)[0]]
    assert sess.run(results) == [10.0, 1.0, 31.0]
    assert isinstance(both(x), tuple)
    np.testing.assert_allclose(sess.run([s, c]), [np.sin(2.0), np.cos(2.0)], rtol=1e-6)


def test_variables(sess: gr.Session) -> None:
    v = gr.Variable(3.0, name="v")
    unused = gr.Variable(1.0, trainable=False)

    @gr.custom_gradient
    def scaled(x: gr.Tensor) -> Any:
        def grad(dy: gr.Tensor, variables: Any = None) -> Any:
            assert variables == [v]
            return dy * 100.0, [dy * 7.0]

        return x * v + unused, grad

    x = gr.constant(2.0)
    y = scaled(x)
    dx, dv = gr.gradients(y, [x, v])
    step = gr.train.GradientDescentOptimizer(0.5).minimize(y)
    sess.run(gr.global_variables_initializer())
    assert sess.run([y, dx, dv]) == [7.0, 100.0, 7.0]
    sess.run(step)
    assert sess.run(v) == 3.0 - 0.5 * 7.0


def test_variables_that_its_gradient_does_not_take(sess: gr.Session) -> None:
    v = gr.Variable(3.0, name="weight")

    @gr.custom_gradient
    def scaled(x: gr.Tensor) -> Any:
        return x * v, lambda dy: dy

    with pytest.raises(GradientError, match=r"scaled uses variables: weight\n(.|\n)*variables=None"):
        scaled(1.0)


def test_an_argument_may_be_a_variable(sess: gr.Session) -> None:
    v = gr.Variable([1.0, -2.0])

    @gr.custom_gradient
    def through(x: gr.Tensor) -> Any:
        return gr.sign(x), lambda dy: dy * 5.0

    dv = gr.gradients(through(v), v)[0]
    sess.run(v.initializer)
    assert sess.run(dv).tolist() == [5.0, 5.0]


def test_second_order(sess: gr.Session) -> None:
    """The gradient function is differentiated where the gradient is asked for once more."""

    @gr.custom_gradient
    def cube(x: gr.Tensor) -> Any:
        return x * x * x, lambda dy: dy * 3.0 * x * x

    x = gr.constant(2.0)
    first = gr.gradients(cube(x), x)[0]
    assert sess.run([first, gr.gradients(first, x)[0]]) == [12.0, 12.0]


def test_in_a_loop_and_with_keywords(sess: gr.Session) -> None:
    @gr.custom_gradient
    def doubled(x: gr.Tensor, factor: float = 2.0) -> Any:
        return x * factor, lambda dy: dy * 10.0

    x = gr.constant(1.0)
    y = gr.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, doubled(a, factor=3.0)), [0, x])[1]
    assert sess.run([y, gr.gradients(y, x)[0]]) == [27.0, 1000.0]


def test_wrong_functions() -> None:
    with pytest.raises(GradientError, match=r"f returned Tensor\n(.|\n)*expected a pair"):
        gr.custom_gradient(_named("f", lambda x: x))(gr.constant(1.0))
    x = gr.constant(1.0)
    y = gr.custom_gradient(_named("g", lambda x: (x * 2.0, lambda dy: (dy, dy))))(x)
    with pytest.raises(GradientError, match="gradient of g returned 2 gradients for 1 arguments"):
        gr.gradients(y, x)
    z = gr.custom_gradient(_named("h", lambda x: (x * 2.0, lambda dy: gr.zeros([3]))))(gr.zeros([2]))
    with pytest.raises(GradientError, match=r"shape \(3,\), the input \(2,\)"):
        gr.gradients(z, z.op.inputs[1])


def _named(name: str, f: Any) -> Any:
    f.__name__ = name
    return f


def test_set_shape_of_a_result_is_checked(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32)
    y = gr.custom_gradient(lambda a: (a * 2.0, lambda dy: dy))(x)
    y.set_shape([2])
    assert sess.run(y, {x: [1, 2]}).tolist() == [2, 4]
    with pytest.raises(ShapeError, match="set_shape stated"):
        sess.run(y, {x: [1, 2, 3]})


# -- by name ----------------------------------------------------------------------------------------


def test_override_map(sess: gr.Session) -> None:
    @register("test/GuidedRelu")
    def guided(op: gr.Operation, dy: gr.Tensor) -> Any:
        return gr.where(dy > 0.0, dy * gr.cast(op.inputs[0] > 0.0, gr.float32), gr.zeros_like(dy))

    x = gr.constant([-1.0, 2.0, 3.0])
    weights = gr.constant([1.0, -1.0, 1.0])
    plain = gr.nn.relu(x)
    with gr.get_default_graph().gradient_override_map({"Relu": "test/GuidedRelu"}):
        y = gr.nn.relu(x)
        other = gr.exp(x)
        with gr.get_default_graph().gradient_override_map({"Sign": "not yet"}):
            inner = gr.nn.relu(x)
    after = gr.nn.relu(x)
    for t, expected in ((plain, [0, -1, 1]), (y, [0, 0, 1]), (inner, [0, 0, 1]), (after, [0, -1, 1])):
        np.testing.assert_array_equal(sess.run(gr.gradients(t * weights, x)[0]), expected)
    np.testing.assert_allclose(sess.run(gr.gradients(other, x)[0]), np.exp([-1, 2, 3]), rtol=1e-6)


def test_py_func_with_a_gradient(sess: gr.Session) -> None:
    @register("test/Cube")
    def gradient(op: gr.Operation, dy: gr.Tensor) -> Any:
        return dy * 3.0 * op.inputs[0] ** 2

    x = gr.Variable([1.0, 2.0])
    with gr.get_default_graph().gradient_override_map(
        {"PyFunc": "test/Cube", "PyFuncStateless": "test/Cube"}
    ):
        ys = [gr.py_func(lambda a: a**3, [x], gr.float32, stateful=s) for s in (True, False)]
    sess.run(x.initializer)
    for y in ys:
        np.testing.assert_array_equal(sess.run(gr.gradients(y, x)[0]), [3, 12])


def test_no_gradient_by_name() -> None:
    from graphrun import custom_gradients

    custom_gradients._REGISTERED.pop("test/None", None)
    gr.NotDifferentiable("test/None")
    x = gr.constant(1.0)
    with gr.get_default_graph().gradient_override_map({"Exp": "test/None"}):
        assert gr.gradients(gr.exp(x), x) == [None]


def test_names() -> None:
    register("test/Twice")(lambda op, dy: dy)
    with pytest.raises(GradientError, match="'test/Twice' has a gradient already"):
        gr.RegisterGradient("test/Twice")(lambda op, dy: dy)
    with pytest.raises(GradientError, match=r"'Relu' has a gradient already(.|\n)*gradient_override_map"):
        gr.RegisterGradient("Relu")(lambda op, dy: dy)
    x = gr.constant(1.0)
    graph = gr.get_default_graph()
    with graph.gradient_override_map({"Exp": "test/Missing"}):
        y = gr.exp(x)
    with pytest.raises(NotFoundError, match=r"'test/Missing'(.|\n)*test_custom_gradients.py"):
        gr.gradients(y, x)
    with pytest.raises(GraphError, match="a dict from types"):
        graph.gradient_override_map({"Exp": 3})  # type: ignore[dict-item]


def test_identity_n(sess: gr.Session) -> None:
    a, b = gr.identity_n([1.0, gr.constant([2, 3])])
    assert (a.op.name, b.name) == ("IdentityN", "IdentityN:1")
    got = sess.run([a, b])
    assert got[0] == 1.0 and got[1].tolist() == [2, 3]


def test_the_override_knows_types_and_names() -> None:
    gr.RegisterGradient("TenfoldSum")(lambda op, dy: (10.0 * dy, 10.0 * dy))
    x = gr.constant(1.0)
    for name in ("AddV2", "Add", "add"):
        with gr.get_default_graph().gradient_override_map({name: "TenfoldSum"}):
            y = x + 2.0
        assert gr.Session().run(gr.gradients(y, x)[0]) == 10.0
