"""The pass that makes one product of the products of a value's rows; rows that are found as what they are."""

from __future__ import annotations

import numpy as np
import pytest
from compiler.programs import names, specialized
from compiler.run_plan import STYLES, compile_for, run_plan, target
from tolerances import assert_close

import graphrun as gr
from graphrun.compiler.cse import cse
from graphrun.compiler.placement import place
from graphrun.compiler.products import products
from graphrun.compiler.rowviews import in_one_piece, rows_of
from graphrun.compiler.simplify import simplify
from graphrun.compiler.verify import verify


@pytest.fixture(autouse=True)
def graph():
    with gr.Graph().as_default():
        yield


def passed(fetches, feeds):
    program = products(cse(place(specialized(fetches, feeds), target("null"))))
    verify(program, "products", placed=True)
    return program


def products_of(x, w, rows, **options):
    return [gr.tanh(gr.matmul(x[t], w, **options)) for t in rows]


def test_before_and_expected():
    x, w = gr.placeholder(gr.float32, (4, 3, 5), name="x"), gr.placeholder(gr.float32, (5, 6), name="w")
    program = passed(products_of(x, w, range(4)), {x: (4, 3, 5), w: (5, 6)})
    found = names(program)
    assert found.count("matmul") == 1 and found.count("tanh") == 4
    (product,) = [n for n in program.nodes if n.op.name == "matmul"]
    assert product.specs[0].shape == (12, 6) and product.inputs[0][0].op.name == "reshape"
    assert [n.attrs["begin"] for n in program.nodes if n.op.name == "strided_slice"] == [
        (0,),
        (3,),
        (6,),
        (9,),
    ]


@pytest.mark.parametrize(
    ("rows", "why"),
    [([0, 1], "two products are no gain"), ([0, 1, 2], "most rows of the value are asked for by nobody")],
)
def test_what_is_left(rows, why):
    x, w = gr.placeholder(gr.float32, (9, 3, 5)), gr.placeholder(gr.float32, (5, 6))
    program = passed(products_of(x, w, rows), {x: (9, 3, 5), w: (5, 6)})
    assert names(program).count("matmul") == len(rows), why


def test_products_with_several_matrices_and_turned_ones():
    x = gr.placeholder(gr.float32, (4, 3, 5))
    w, v = gr.placeholder(gr.float32, (5, 6)), gr.placeholder(gr.float32, (7, 5))
    both = products_of(x, w, range(4)) + products_of(x, v, range(4), transpose_b=True)
    program = passed(both, {x: (4, 3, 5), w: (5, 6), v: (7, 5)})
    shapes = sorted(n.specs[0].shape for n in program.nodes if n.op.name == "matmul")
    assert shapes == [(12, 6), (12, 7)]


def test_products_that_wait_for_each_other_stay():
    h, w = gr.placeholder(gr.float32, (3, 5)), gr.placeholder(gr.float32, (5, 5))
    y = h
    for _ in range(4):
        y = gr.tanh(gr.matmul(y, w))
    assert names(passed([y], {h: (3, 5), w: (5, 5)})).count("matmul") == 4


def test_which_rows_a_value_is():
    x = gr.placeholder(gr.float32, (4, 3, 5), name="x")
    flat = gr.reshape(x, [12, 5])
    parts = [x[1], x[2], flat[2:4], gr.reshape(x[3], [5, 3]), gr.transpose(x[0])]
    program = place(specialized([gr.exp(p) for p in parts], {x: (4, 3, 5)}), target("null"))
    value = [n.inputs[0] for n in program.nodes if n.op.name == "exp"]
    found = [rows_of(v) for v in value]
    assert [(r.first, r.rows, r.width) if r else None for r in found] == [
        (3, 3, 5), (6, 3, 5), (2, 2, 5), (15, 5, 3), None,
    ]  # fmt: skip
    assert in_one_piece(value[:2])[1:] == (3, 6, 5)
    assert in_one_piece([value[1], value[0]]) is None and in_one_piece([value[0], value[2]]) is None


def recurrent(steps, batch=4, size=8, hidden=12):
    rng = np.random.default_rng(0)
    x = gr.placeholder(gr.float32, (steps, batch, size), name="x")
    wx = gr.placeholder(gr.float32, (size, 2 * hidden))
    wh = gr.placeholder(gr.float32, (hidden, 2 * hidden))

    def step(t, h):
        z = gr.matmul(x[t], wx) + gr.matmul(h, wh)
        a, b = gr.split(z, 2, axis=1)
        return t + 1, gr.sigmoid(a) * gr.tanh(b) + h * 0.5

    _, h = gr.while_loop(lambda t, h: t < steps, step, [0, gr.zeros([batch, hidden])])
    loss = gr.reduce_sum(gr.square(h - 1.0))
    shapes = [(steps, batch, size), (size, 2 * hidden), (hidden, 2 * hidden)]
    feeds = {
        t: (0.3 * rng.standard_normal(s)).astype(np.float32) for t, s in zip((x, wx, wh), shapes, strict=True)
    }
    return [loss, *gr.gradients(loss, [wx, wh, x])], feeds


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_a_recurrent_net_is_right(style):
    fetches, feeds = recurrent(6)
    expected = run_plan("numpy", fetches, feeds)
    for e, result in zip(expected, run_plan(style, fetches, feeds), strict=True):
        assert_close(result, e, 200)


def test_launches_of_a_recurrent_net():
    counts = []
    for steps in (6, 7):
        with gr.Graph().as_default():
            fetches, feeds = recurrent(steps)
            counts.append(len(compile_for("null", fetches[:3], feeds).plan.launches))
    # Forwards a product and a group; backwards a product with what follows, and joined parts.
    assert counts[1] - counts[0] <= 4


def test_the_last_row_of_what_a_loop_writes_is_a_value():
    x = gr.placeholder(gr.float32, (5, 3, 4))
    rows = gr.map_fn(lambda row: gr.tanh(row) * 2.0, x)
    for last in (rows[-1], rows[4], rows[-5]):
        assert "stack" not in names(specialized([gr.exp(last)], {x: (5, 3, 4)}))
    grown = gr.gradients(gr.reduce_sum(rows[-1]), x)[0]
    value = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    with gr.Session(device="cpu:0") as sess:
        want = np.zeros_like(value)
        want[-1] = 2 * (1 - np.tanh(value[-1]) ** 2)
        np.testing.assert_allclose(sess.run(grown, {x: value}), want, rtol=1e-5)
        np.testing.assert_allclose(sess.run(rows[-1], {x: value}), 2 * np.tanh(value[-1]), rtol=1e-6)


def test_the_gradient_of_one_row_is_whole_where_it_is_asked_for():
    x = gr.placeholder(gr.float32, (6, 3))
    (gradient,) = gr.gradients(gr.exp(x[2]), x)
    assert names(specialized([gradient], {x: (6, 3)})).count("strided_slice_grad") == 1
    value = np.arange(18, dtype=np.float32).reshape(6, 3) / 10
    with gr.Session(device="cpu:0") as sess:
        want = np.zeros_like(value)
        want[2] = np.exp(value[2])
        np.testing.assert_allclose(sess.run(gradient, {x: value}), want, rtol=1e-6)


@pytest.mark.parametrize(("at", "negative"), [(2, True), (-1, True), (0, False)])
def test_a_row_at_a_known_place_is_a_view(at, negative):
    x = gr.placeholder(gr.float32, (4, 3))
    row = x[gr.constant(at)] if negative else gr.gather(x, gr.constant(at))
    program = simplify(specialized([gr.exp(row)], {x: (4, 3)}))
    assert "gather" not in names(program) and "strided_slice" in names(program)
    value = np.arange(12, dtype=np.float32).reshape(4, 3)
    with gr.Session(device="cpu:0") as sess:
        np.testing.assert_array_equal(sess.run(gr.identity(row), {x: value}), value[at])


def test_a_row_that_is_not_there_stays_an_error():
    x = gr.placeholder(gr.float32, (4, 3))
    with gr.Session(device="cpu:0") as sess, pytest.raises(gr.errors.GraphrunError, match="gather"):
        sess.run(gr.gather(x, gr.constant(4)), {x: np.zeros((4, 3))})


# -- columns --------------------------------------------------------------------------------------


def _shapes(program):
    return sorted(n.specs[0].shape for n in program.nodes if n.op.name == "matmul")


@pytest.mark.parametrize("turned", [False, True])
def test_columns_that_are_read_are_computed_alone(turned):
    a, w = gr.placeholder(gr.float32, (4, 5)), gr.placeholder(gr.float32, (9, 5) if turned else (5, 9))
    feeds = {a: (4, 5), w: w.shape.as_list()}
    y = gr.matmul(a, w, transpose_b=turned)
    assert _shapes(passed([gr.tanh(y[:, 2:7])], feeds)) == [(4, 5)]
    assert _shapes(passed([gr.tanh(gr.split(y, (4, 5), 1)[1])], feeds)) == [(4, 5)]
    for fetches in (
        [gr.tanh(y[:, 2:7]), y], [gr.tanh(y[:, 2:7]), gr.exp(y)], [gr.tanh(y[:, 2:7]), gr.exp(y[:, 7:])],
        [gr.tanh(y[1:3])], [gr.tanh(y[:, ::2])], [gr.tanh(gr.reshape(y, (9, 4)))], [gr.tanh(y[:, 2])],
    ):  # fmt: skip
        assert _shapes(passed(fetches, feeds)) == [(4, 9)]


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("turned", [False, True])
def test_values_of_columns(style, turned, rng):
    a, w = gr.placeholder(gr.float32, (33, 20)), gr.placeholder(gr.float32, (70, 20) if turned else (20, 70))
    feeds = {t: rng.standard_normal(t.shape.as_list()).astype(np.float32) for t in (a, w)}
    y = gr.matmul(a, w, transpose_b=turned)
    fetches = [gr.tanh(gr.split(y, (13, 57), 1)[1])]
    for got, want in zip(run_plan(style, fetches, feeds), run_plan("numpy", fetches, feeds), strict=True):
        assert_close(got, want)


def test_steps_of_an_unrolled_net_share_the_columns_of_the_weight():
    x, w = gr.placeholder(gr.float32, (4, 3, 5)), gr.placeholder(gr.float32, (5 + 8, 8))
    h = gr.zeros((3, 8))
    for t in range(4):
        h = gr.tanh(gr.matmul(gr.concat([x[t], h], 1), w))
    program = passed(gr.gradients(gr.reduce_sum(h), [w]), {x: (4, 3, 5), w: (13, 8)})
    gradients = [n for n in program.nodes if n.op.name == "matmul" and n.attrs["transpose_b"]]
    assert [n.specs[0].shape for n in gradients] == [(3, 8)] * 3, "of h, and not of what is fed"
    assert len({n.inputs[1] for n in gradients}) == 1
