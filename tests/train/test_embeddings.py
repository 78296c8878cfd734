"""Gradients of rows: what they are, how optimizers apply them, and that only these rows are touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.compiler.steps import CopyStep
from graphrun.errors import DTypeError, GraphError, ShapeError

ROWS, COLUMNS = 7, 3
IDS = np.array([[2, 5, 2], [0, 2, 5]], np.int32)
TABLE = np.random.default_rng(0).standard_normal((ROWS, COLUMNS))
TARGETS = np.random.default_rng(1).standard_normal((*IDS.shape, COLUMNS))


@pytest.fixture(autouse=True)
def graph() -> Iterator[gr.Graph]:
    g = gr.Graph()
    with g.as_default():
        yield g


def _loss(table: Any, dtype: str = "float32", ids: Any = IDS) -> Any:
    return gr.reduce_sum(gr.square(gr.nn.embedding_lookup(table, ids) - TARGETS.astype(dtype)))


# -- what comes out of gradients ---------------------------------------------------------------------


def test_the_gradient_of_rows_is_rows() -> None:
    table = gr.Variable(TABLE)
    (g,) = gr.gradients(_loss(table, "float64"), table)
    assert isinstance(g, gr.IndexedSlices)
    assert (g.values.shape.as_list(), g.indices.shape.as_list(), g.shape.as_list()) == ([6, 3], [6], [7, 3])
    with gr.Session() as sess:
        sess.run(table.initializer)
        found = sess.run(g)
        whole = sess.run(gr.convert_to_tensor(g))
    assert isinstance(found, gr.IndexedSlicesValue)
    expected = np.zeros_like(TABLE)
    np.add.at(expected, IDS, 2 * (TABLE[IDS] - TARGETS))
    np.testing.assert_array_equal(found.indices, IDS.reshape(-1))
    np.testing.assert_array_equal(found.dense_shape, [7, 3])
    np.testing.assert_allclose(found.values, 2 * (TABLE[IDS] - TARGETS).reshape(6, 3))
    np.testing.assert_allclose(whole, expected)


def test_rows_add_up_to_rows_and_with_a_tensor_to_a_tensor() -> None:
    table = gr.Variable(TABLE, name="table")
    one = gr.reduce_sum(gr.gather(table, [1, 1]))
    two = gr.reduce_sum(gr.gather(table, gr.constant([2], gr.int64)) * 3.0)
    (rows,) = gr.gradients([one, two], table)
    assert isinstance(rows, gr.IndexedSlices) and rows.indices.dtype is gr.int64
    (whole,) = gr.gradients([one, two, gr.reduce_sum(table)], table)
    assert isinstance(whole, gr.Tensor)
    (behind,) = gr.gradients(gr.gather(table * 2.0, [1]), table)
    assert isinstance(behind, gr.Tensor)
    (kept,) = gr.gradients(gr.gather(gr.identity(table), [1]), table)
    assert isinstance(kept, gr.IndexedSlices)
    expected = np.ones_like(TABLE)
    expected[1] += 2
    expected[2] += 3
    with gr.Session() as sess:
        sess.run(table.initializer)
        np.testing.assert_array_equal(sess.run(whole), expected)
        np.testing.assert_array_equal(sess.run(gr.convert_to_tensor(rows)), expected - 1)
        np.testing.assert_array_equal(sess.run(behind)[1], [2, 2, 2])


def test_other_axes_and_products_with_sparse_tensors_give_tensors() -> None:
    x = gr.Variable(TABLE)
    sparse = gr.SparseTensor([[0, 1], [1, 6]], gr.constant([1.0, 2.0], gr.float64), [2, 7])
    for y in (gr.gather(x, [1, 0], axis=1), gr.gather(x, [[0]] * 7, batch_dims=1), x[1:3],
              gr.sparse_tensor_dense_matmul(sparse, x), gr.gather_nd(x, [[1, 1]]),
              gr.boolean_mask(x, [True] * 7)):  # fmt: skip
        assert isinstance(gr.gradients(y, x)[0], gr.Tensor)
    assert isinstance(gr.gradients(gr.gather_nd(x, [[1], [3]]), x)[0], gr.IndexedSlices)


def test_unknown_shapes() -> None:
    x, ids = gr.placeholder(gr.float32), gr.placeholder(gr.int32)
    (g,) = gr.gradients(gr.reduce_sum(gr.gather(x, ids) ** 2), x)
    a = TABLE.astype(np.float32)
    expected = np.zeros_like(a)
    np.add.at(expected, IDS, 2 * a[IDS])
    with gr.Session() as sess:
        feeds = {x: a, ids: IDS}
        np.testing.assert_allclose(sess.run(gr.convert_to_tensor(g), feeds), expected, rtol=1e-6)
        assert sess.run(g, feeds).values.shape == (6, 3)


def test_second_derivatives_pass_through_rows() -> None:
    x = gr.constant([1.0, 2.0, 3.0])
    (g,) = gr.gradients(gr.reduce_sum(gr.gather(x, [0, 2, 2]) ** 3), x)
    (gg,) = gr.gradients(g, x)
    with gr.Session() as sess:
        np.testing.assert_allclose(sess.run(gr.convert_to_tensor(gg)), [6, 0, 36])
        second = gr.hessians(gr.reduce_sum(gr.gather(x, [1]) ** 3), x)[0]
        np.testing.assert_allclose(sess.run(second)[1, 1], 12)


def test_rows_in_branches_and_loops() -> None:
    table, n = gr.Variable(TABLE), gr.placeholder(gr.int32, ())
    zero = gr.constant(0.0, gr.float64)
    branch = gr.cond(n > 0, lambda: gr.reduce_sum(gr.gather(table, [n])), lambda: zero)
    loop = gr.while_loop(
        lambda k, s: k < n,
        lambda k, s: (k + 1, s + gr.reduce_sum(gr.gather(table, [k]))),
        (0, zero),
    )[1]
    (g,) = gr.gradients(branch + loop, table)
    with gr.Session() as sess:
        sess.run(table.initializer)
        np.testing.assert_array_equal(sess.run(gr.convert_to_tensor(g), {n: 3})[:, 0], [1, 1, 1, 1, 0, 0, 0])


def test_arithmetic() -> None:
    s = gr.IndexedSlices([[1.0, 2.0], [3.0, 4.0]], [2, 2], [4, 2])
    for rows in (-s, s * 2.0, 2.0 * s, s / gr.constant(2.0), gr.clip_by_value(s, 0.0, 3.0)):
        assert isinstance(rows, gr.IndexedSlices)
    assert isinstance(s + 1.0, gr.Tensor) and isinstance(s * gr.ones([4, 2]), gr.Tensor)
    with gr.Session() as sess:
        np.testing.assert_array_equal(sess.run((2.0 * s).values), [[2, 4], [6, 8]])
        np.testing.assert_array_equal(sess.run(1.0 - s)[2], [-3, -5])
        assert sess.run(s, {s: ([[5.0, 5.0]] * 2, [0, 1], [4, 2])}).indices.tolist() == [0, 1]


def test_norms_and_clipping() -> None:
    s = gr.IndexedSlices([[3.0], [4.0]], [2, 2], [4, 1])
    clipped, norm = gr.clip_by_global_norm([s, None, gr.constant([12.0])], 6.5)
    assert isinstance(clipped[0], gr.IndexedSlices) and clipped[1] is None
    one = gr.clip_by_norm(s, 1.0)
    assert isinstance(one, gr.IndexedSlices)
    with gr.Session() as sess:
        assert sess.run([norm, gr.global_norm([s])]) == [13, 5]
        np.testing.assert_allclose(sess.run(clipped[0].values), [[1.5], [2]])
        np.testing.assert_allclose(sess.run(one.values), [[0.6], [0.8]], rtol=1e-6)


def test_variables_take_rows() -> None:
    v = gr.Variable([[1.0], [2.0], [3.0]], name="v")
    rows = gr.IndexedSlices([[4.0], [5.0]], [2, 0])
    results = {"update": [5, 2, 4], "add": [6, 2, 7], "sub": [-4, 2, -1], "mul": [5, 2, 12],
               "div": [0.2, 2, 0.75], "min": [1, 2, 3], "max": [5, 2, 4]}  # fmt: skip
    steps = {mode: getattr(v, f"scatter_{mode}")(rows) for mode in results}
    at = {m: getattr(v, f"scatter_nd_{m}")([[1, 0]], [7.0]) for m in ("update", "add", "sub")}
    with gr.Session() as sess:
        for mode, expected in results.items():
            sess.run(v.initializer)
            np.testing.assert_allclose(sess.run(steps[mode])[:, 0], expected, rtol=1e-6)
        for mode, wanted in (("update", 7), ("add", 9), ("sub", -5)):
            sess.run(v.initializer)
            assert sess.run(at[mode])[1, 0] == wanted
    with pytest.raises(DTypeError, match=r"'v:0': scatter_add of 3\n.*\n.*expected gr.IndexedSlices"):
        v.scatter_add(3)


def test_conversion_leaves_rows_as_they_are() -> None:
    s = gr.IndexedSlices([[1.0]], [0], [2, 1])
    convert = gr.convert_to_tensor_or_indexed_slices
    assert convert(s) is s and isinstance(convert([1.0]), gr.Tensor)
    assert isinstance(convert(gr.IndexedSlicesValue([1.0], [0], [3])), gr.IndexedSlices)
    with pytest.raises(DTypeError, match="expected dtype int32"):
        convert(s, gr.int32)


def test_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"values of shape \(2, 3\) with indices of shape \(3,\)"):
        gr.IndexedSlices(np.zeros((2, 3)), [0, 1, 2])
    with pytest.raises(DTypeError, match="indices has dtype float32"):
        gr.IndexedSlices([1.0], [0.0])
    with pytest.raises(ShapeError, match="does not say the shape of the whole"):
        gr.convert_to_tensor(gr.IndexedSlices([1.0], [0]))
    table = gr.Variable(TABLE, constraint=lambda v: v, name="table")
    with pytest.raises(GraphError, match="'table:0' has a constraint, and a gradient of single rows"):
        gr.train.GradientDescentOptimizer(1.0).minimize(_loss(table, "float64"))


# -- optimizers: TensorFlow's formulas on the rows alone -----------------------------------------------


def _adadelta(w: Any, g: Any, s: Any) -> Any:
    a, d = s[0], s[1]
    a[:] = 0.9 * a + 0.1 * g**2
    step = np.sqrt(d + 1e-3) / np.sqrt(a + 1e-3) * g
    d[:] = 0.9 * d + 0.1 * step**2
    return w - 0.1 * step


def _momentum(w: Any, g: Any, s: Any) -> Any:
    s[0][:] = 0.9 * s[0] + g
    return w - 0.1 * s[0]


def _nesterov(w: Any, g: Any, s: Any) -> Any:
    s[0][:] = 0.9 * s[0] + g
    return w - 0.1 * (g + 0.9 * s[0])


def _adagrad(w: Any, g: Any, s: Any) -> Any:
    s[0][:] += g**2
    return w - 0.1 * g / np.sqrt(s[0])


def _rmsprop(w: Any, g: Any, s: Any) -> Any:
    ms, mg, mom = s
    ms[:] = 0.9 * ms + 0.1 * g**2
    mg[:] = 0.9 * mg + 0.1 * g
    mom[:] = 0.5 * mom + 0.1 * g / np.sqrt(ms - mg**2 + 1e-3)
    return w - mom


def _ftrl(w: Any, g: Any, s: Any) -> Any:
    old = s[0].copy()
    s[0][:] += g**2
    s[1][:] += g - (np.sqrt(s[0]) - np.sqrt(old)) / 0.1 * w
    quadratic = np.sqrt(s[0]) / 0.1 + 2 * 0.2
    return (np.clip(s[1], -0.3, 0.3) - s[1]) / quadratic


def _sgd(w: Any, g: Any, s: Any) -> Any:
    return w - 0.1 * g


T = gr.train
FORMULAS = [
    pytest.param(lambda: T.GradientDescentOptimizer(0.1), _sgd, [], id="sgd"),
    pytest.param(lambda: T.MomentumOptimizer(0.1, 0.9), _momentum, [0], id="momentum"),
    pytest.param(lambda: T.MomentumOptimizer(0.1, 0.9, use_nesterov=True), _nesterov, [0], id="nesterov"),
    pytest.param(lambda: T.AdagradOptimizer(0.1), _adagrad, [0.1], id="adagrad"),
    pytest.param(lambda: T.AdadeltaOptimizer(0.1, 0.9, 1e-3), _adadelta, [0, 0], id="adadelta"),
    pytest.param(
        lambda: T.RMSPropOptimizer(0.1, 0.9, 0.5, 1e-3, centered=True), _rmsprop, [1, 0, 0], id="rmsprop"
    ),
    pytest.param(
        lambda: T.FtrlOptimizer(
            0.1, l1_regularization_strength=0.3, l2_regularization_strength=0.2
        ), _ftrl, [0.1, 0], id="ftrl",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "formula", "starts"), FORMULAS)
def test_steps_change_only_the_rows(device: str, make: Any, formula: Callable[..., Any], starts: Any) -> None:
    ids = gr.placeholder(gr.int32, (None, 3))
    table = gr.Variable(TABLE.astype(np.float32))
    step = make().minimize(_loss(table, ids=ids))
    w, slots = TABLE.copy(), [np.full_like(TABLE, s) for s in starts]
    rng = np.random.default_rng(5)
    with gr.Session(device=device, strict=device != "cpu:0", verify=True) as sess:
        sess.run(gr.global_variables_initializer())
        for _ in range(4):
            batch = rng.integers(0, ROWS - 1, IDS.shape)
            g = np.zeros_like(w)
            np.add.at(g, batch, 2 * (w[batch] - TARGETS))
            rows = np.unique(batch)
            parts = [s[rows] for s in slots]
            w[rows] = formula(w[rows], g[rows], parts)
            for s, part in zip(slots, parts, strict=True):
                s[rows] = part
            sess.run(step, {ids: batch})
            np.testing.assert_allclose(sess.run(table), w, rtol=3e-4, atol=3e-5)
        assert sess.run(table)[-1].tolist() == TABLE[-1].astype(np.float32).tolist()


def test_adam_moves_all_rows(device: str) -> None:
    """TensorFlow's moments fall in every row, so that those without a gradient move on."""
    tables = [gr.Variable(TABLE.astype(np.float32)) for _ in range(2)]
    opt = gr.train.AdamOptimizer(0.1)
    (rows,), (whole,) = (
        opt.compute_gradients(_loss(tables[0]), tables[:1]),
        opt.compute_gradients(gr.reduce_sum(_loss(tables[1] * 1.0)), tables[1:]),
    )
    assert isinstance(rows[0], gr.IndexedSlices) and isinstance(whole[0], gr.Tensor)
    step = opt.apply_gradients([rows, whole])
    with gr.Session(device=device) as sess:
        sess.run(gr.global_variables_initializer())
        for _ in range(3):
            sess.run(step)
        a, b = sess.run(tables)
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_two_optimizers_of_one_table_in_one_run() -> None:
    table = gr.Variable(np.zeros((4, 1), np.float32))
    loss = gr.reduce_sum(gr.gather(table, [1, 1]))
    steps = [T.AdagradOptimizer(1.0, 5.0).minimize(loss), T.MomentumOptimizer(1.0, 0.9).minimize(loss)]
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(steps)
        np.testing.assert_allclose(sess.run(table)[:, 0], [0, -2 / 3 - 2, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (5, 2, 2)])
def test_rows_of_any_rank(device: str, shape: tuple[int, ...]) -> None:
    start = np.ones(shape, np.float32)
    table = gr.Variable(start)
    step = T.MomentumOptimizer(0.5, 0.9).minimize(gr.reduce_sum(gr.gather(table, [3, 3, 1])))
    with gr.Session(device=device) as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        found = sess.run(table)
    np.testing.assert_array_equal(found[3], 0 * start[3])
    np.testing.assert_array_equal(found[[0, 1, 2, 4]].reshape(4, -1)[:, 0], [1, 0.5, 1, 1])


# -- subclasses ---------------------------------------------------------------------------------------


def test_a_subclass_gets_each_index_once() -> None:
    class Plain(gr.train.Optimizer):
        def __init__(self) -> None:
            super().__init__(False, "Plain")

        def _apply_sparse(self, grad: Any, var: Any) -> Any:
            seen.append(grad)
            return gr.scatter_update(var, grad.indices, grad.values)

    seen: list[Any] = []
    table = gr.Variable(np.zeros((4, 1), np.float32))
    step = Plain().minimize(gr.reduce_sum(gr.gather(table, [3, 1, 3])))
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        assert sess.run(seen[0].indices).tolist() == [3, 1]
        sess.run(step)
        assert sess.run(table)[:, 0].tolist() == [0, 1, 0, 2]


def test_a_subclass_that_knows_no_rows() -> None:
    class Dense(gr.train.Optimizer):
        def _apply_dense(self, grad: Any, var: Any) -> Any:
            return var.assign_sub(grad)

    table = gr.Variable(np.zeros((4, 1), np.float32), name="table")
    opt = Dense(False, "Dense")
    pairs = opt.compute_gradients(gr.gather(table, [3]))
    with pytest.raises(NotImplementedError, match=r"Dense does not define _apply_sparse.*'table:0' is rows"):
        opt.apply_gradients(pairs)
    step = opt.apply_gradients([(gr.convert_to_tensor(g), v) for g, v in pairs])
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        assert sess.run(table)[3, 0] == -1


# -- the plan -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "rows_held", "launches"),
    [(lambda: T.GradientDescentOptimizer(0.1), 3, 3), (lambda: T.AdagradOptimizer(0.1), 8, 9)],
    ids=["sgd", "adagrad"],
)
def test_a_step_takes_what_its_rows_take(device: str, make: Any, rows_held: int, launches: int) -> None:
    count, columns, batch = 20_000, 32, 64
    table = gr.Variable(gr.zeros([count, columns]))
    ids, targets = gr.placeholder(gr.int32, (batch,)), gr.placeholder(gr.float32, (batch, columns))
    step = make().minimize(gr.reduce_mean(gr.square(gr.nn.embedding_lookup(table, ids) - targets)))
    with gr.Session(device=device, strict=device != "cpu:0") as sess:
        sess.run(gr.global_variables_initializer())
        plan = sess.plan(step, {ids: np.arange(batch), targets: np.zeros((batch, columns))})
    taken = plan.peak_bytes() + sum(plan.peak_bytes(d) for d in plan.devices)
    assert taken <= rows_held * batch * columns * 4 + 4096
    assert not [s for s in plan.steps if isinstance(s, CopyStep)]
    assert len(plan.launches) <= launches


def test_the_plan_stays_while_ids_change() -> None:
    """Summing what belongs to one row asks for no list whose length depends on the ids."""
    table, ids = gr.Variable(TABLE), gr.placeholder(gr.int32, (4,))
    step = T.AdagradOptimizer(0.1).minimize(gr.reduce_sum(gr.gather(table, ids)))
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step, {ids: [0, 1, 2, 3]})
        known = len(sess._plans)
        for batch in ([1, 1, 1, 1], [0, 3, 3, 0]):
            sess.run(step, {ids: batch})
        assert len(sess._plans) == known
