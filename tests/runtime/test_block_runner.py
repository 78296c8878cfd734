"""Groups of elementwise operations on the host, block by block: the same bits as one after the other."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from op_cases import CASES

import graphrun as gr
from graphrun.compiler import blocks as pass_
from graphrun.compiler.blocks import BlockGroup, Call
from graphrun.dtypes import float32
from graphrun.errors import ExecutionError
from graphrun.graph.apply import apply
from graphrun.graph.descriptor import Expr, Spec
from graphrun.graph.opdef import get_op
from graphrun.runtime import block_runner
from graphrun.runtime.block_runner import BlockRunner

SHAPES = [(1,), (7,), (64,), (1000,), (3, 50), (50, 3), (1, 1, 40), (1, 9, 5), (2, 3, 4, 5), (130, 1), (1, 1)]


def expressions(x, y, row, column, scalar):
    """Of what programs compute; each of `x`'s shape."""
    a = gr.tanh(x * y + 1.0) * row - column
    b = gr.where(a > scalar, gr.exp(-a), gr.sqrt(gr.abs(a)) + y)
    c = gr.nn.sigmoid(b) * a + gr.nn.relu(x - 0.5)
    return [a, c, gr.cast(b > 0.5, x.dtype) * c, gr.maximum(c, 0.1) ** 2.0]


def run(monkeypatch, least, shape, dtype="float32", feeds=None):
    monkeypatch.setattr(pass_, "MIN_ELEMENTS", least)
    rng = np.random.default_rng(3)
    row = (1,) * (len(shape) - 1) + shape[-1:]
    column = shape[:1] + (1,) * (len(shape) - 1)
    with gr.Graph().as_default(), gr.Session(device="cpu:0", verify=True) as sess:
        shapes = [shape, shape, row, column, ()]
        inputs = [gr.placeholder(dtype, s) for s in shapes]
        values = [rng.standard_normal(s).astype(dtype) for s in shapes]
        if feeds is not None:
            values = feeds(values)
        y = expressions(*inputs)
        got = sess.run(y, dict(zip(inputs, values, strict=True)))
        return got, sess.plan(y, dict(zip(inputs, values, strict=True)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("block", [4, 16, 16384])
def test_the_same_bits_as_one_after_the_other(monkeypatch, shape, block):
    want, plain = run(monkeypatch, 1 << 60, shape)
    monkeypatch.setattr(block_runner, "BLOCK_ELEMENTS", block)
    monkeypatch.setattr(block_runner, "MIN_THREADED", 0)
    got, plan = run(monkeypatch, 1, shape)
    assert len(plan.steps) < len(plain.steps)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype and g.shape == w.shape
        np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_floats(monkeypatch, dtype):
    want, _ = run(monkeypatch, 1 << 60, (37, 11), dtype)
    monkeypatch.setattr(block_runner, "BLOCK_ELEMENTS", 32)
    got, _ = run(monkeypatch, 1, (37, 11), dtype)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g, w)


def test_integers_and_bools(monkeypatch):
    monkeypatch.setattr(pass_, "MIN_ELEMENTS", 1)
    monkeypatch.setattr(block_runner, "BLOCK_ELEMENTS", 8)
    x = np.arange(-50, 50, dtype=np.int32)
    with gr.Graph().as_default(), gr.Session(device="cpu:0") as sess:
        t = gr.placeholder(gr.int32, (None,))
        y = gr.logical_and((t * 3 + 1) % 7 > 2, gr.logical_not(gr.equal(t // 4, 2)))
        np.testing.assert_array_equal(sess.run(y, {t: x}), ((x * 3 + 1) % 7 > 2) & ~(x // 4 == 2))
        assert len(sess.plan(y, {t: x}).steps) == 1


def test_feeds_that_do_not_lie_in_order(monkeypatch):
    def turned(values):
        return [np.asfortranarray(values[0]), values[1][:, ::-1], *values[2:]]

    want, _ = run(monkeypatch, 1 << 60, (30, 20), feeds=turned)
    monkeypatch.setattr(block_runner, "BLOCK_ELEMENTS", 64)
    got, _ = run(monkeypatch, 1, (30, 20), feeds=turned)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g, w)


def test_large_values_take_threads_and_keep_their_bits(monkeypatch):
    x = np.linspace(-3, 3, 3_000_001, dtype=np.float32)
    spec = Spec(x.shape, float32)
    one = np.float32(1)[...]
    calls = (
        Call(np.exp, {}, (("in", 0),), spec),
        Call(np.add, {}, (("t", 0), ("lit", one)), spec),
        Call(np.log, {}, (("t", 1),), spec),
    )
    group = BlockGroup(calls, (2, 0), "exp+add+log")
    found = [BlockRunner(group, threads)(x) for threads in (1, 2, 5)]
    for softplus, exp in found:
        np.testing.assert_array_equal(exp, np.exp(x))
        np.testing.assert_array_equal(softplus, np.log(np.exp(x) + np.float32(1)))


def test_nothing_is_said_of_numbers_that_overflow(monkeypatch):
    monkeypatch.setattr(block_runner, "MIN_THREADED", 0)
    monkeypatch.setattr(block_runner, "BLOCK_ELEMENTS", 16)
    x = np.full(100, 200.0, np.float32)
    spec = Spec(x.shape, float32)
    group = BlockGroup((Call(np.exp, {}, (("in", 0),), spec), Call(np.log, {}, (("t", 0),), spec)), (1,), "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(BlockRunner(group, 3)(x)).all()


def test_a_fault_in_a_thread_is_the_runs(monkeypatch):
    monkeypatch.setattr(block_runner, "MIN_THREADED", 0)
    monkeypatch.setattr(block_runner, "BLOCK_ELEMENTS", 16)

    def broken(x):
        if x.flat[0] >= 96:
            raise ValueError("not this block")
        return x

    spec = Spec((160,), float32)
    group = BlockGroup((Call(broken, {}, (("in", 0),), spec), Call(np.exp, {}, (("t", 0),), spec)), (1,), "")
    runner = BlockRunner(group, 4)
    with pytest.raises(ValueError, match="not this block"):
        runner(np.arange(160, dtype=np.float32))
    np.testing.assert_array_equal(runner(np.zeros(160, np.float32)), np.ones(160))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(block_runner, "MIN_THREADED", 0)
    spec = Spec((100_000,), float32)
    group = BlockGroup((Call(np.exp, {}, (("in", 0),), spec), Call(np.log, {}, (("t", 0),), spec)), (1,), "")
    runner, x = BlockRunner(group, 3), np.ones(100_000, np.float32)
    runner(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os._exit(0 if np.allclose(runner(x), 1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_results_are_the_callers(monkeypatch):
    monkeypatch.setattr(pass_, "MIN_ELEMENTS", 1)
    with gr.Graph().as_default(), gr.Session(device="cpu:0") as sess:
        v = gr.Variable(np.ones(50, np.float32))
        y = gr.exp(v) * 2.0 + 1.0
        sess.run(v.initializer)
        first = sess.run(y)
        before = first.copy()
        step = v.assign(gr.sqrt(v * 4.0) + 1.0)
        value = sess.run(step)
        value[:] = -1
        np.testing.assert_array_equal(sess.run(v), np.full(50, 3, np.float32))
        np.testing.assert_array_equal(first, before)


def test_a_fault_names_the_group(monkeypatch):
    monkeypatch.setattr(pass_, "MIN_ELEMENTS", 1)
    monkeypatch.setattr(block_runner.BlockRunner, "__call__", lambda self, *a: 1 / 0)
    with gr.Graph().as_default(), gr.Session(device="cpu:0") as sess:
        x = gr.placeholder(gr.float32, (5,))
        y = gr.add(gr.exp(x), 1.0, name="last")
        with pytest.raises(ExecutionError, match="exp\\+add 'last': it failed on cpu:0"):
            sess.run(y, {x: np.zeros(5)})


EXPRESSIONS = [
    case
    for case in CASES
    if isinstance(get_op(case.op).opencl, Expr) and get_op(case.op).numpy is not None
    and get_op(case.op).writes is None and not get_op(case.op).stateful
]  # fmt: skip


@pytest.mark.parametrize("case", EXPRESSIONS, ids=[c.id for c in EXPRESSIONS])
def test_every_expression_in_a_group(monkeypatch, case):
    """Each elementwise row of the operation table, between two others, in blocks of four elements."""
    arrays = [np.asarray(a) for a in case.arrays()]
    with gr.Graph().as_default(), gr.Session(device="cpu:0", verify=True) as sess:
        inputs = [gr.placeholder(gr.as_dtype(a.dtype), a.shape) for a in arrays]
        feeds = dict(zip(inputs, arrays, strict=True))
        made = apply(case.op, [gr.identity(t) for t in inputs], dict(case.attrs))
        again = gr.logical_not(made) if made.dtype.is_bool else made + made
        monkeypatch.setattr(pass_, "MIN_ELEMENTS", 1 << 60)
        want = sess.run([made, again], feeds)
        sess._plans.clear()
        monkeypatch.setattr(pass_, "MIN_ELEMENTS", 1)
        monkeypatch.setattr(block_runner, "BLOCK_ELEMENTS", 4)
        monkeypatch.setattr(block_runner, "MIN_THREADED", 0)
        got = sess.run([made, again], feeds)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_array_equal(g, w)


def test_a_bias_is_no_operand_like_others(monkeypatch):
    monkeypatch.setattr(pass_, "MIN_ELEMENTS", 1)
    monkeypatch.setattr(block_runner, "BLOCK_ELEMENTS", 16)
    rng = np.random.default_rng(0)
    x, b = rng.standard_normal((2, 3, 4, 5)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    with gr.Graph().as_default(), gr.Session(device="cpu:0") as sess:
        t, u = gr.placeholder(gr.float32, x.shape), gr.placeholder(gr.float32, b.shape)
        y = gr.exp(gr.nn.relu(gr.nn.bias_add(t * 2.0, u, data_format="NCHW")))
        want = np.exp(np.maximum(x * 2 + b[:, None, None], 0))
        np.testing.assert_allclose(sess.run(y, {t: x, u: b}), want, rtol=1e-6)
