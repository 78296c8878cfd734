"""Packs: one rearranged copy serves all that read it, and stays as long as its source does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.run_plan import compile_for, new_store

import graphrun as gr
from graphrun.compiler.plan import Plan
from graphrun.compiler.steps import LaunchStep
from graphrun.errors import GraphrunError
from graphrun.runtime.devices import get_device
from graphrun.runtime.executor import BoundPlan

pytestmark = pytest.mark.opencl
N = 160


def _packs(plan: Plan) -> list[LaunchStep]:
    return [s for s in plan.launches if "gemm_pack" in s.label]


@pytest.fixture
def data(rng: np.random.Generator) -> Any:
    return rng.standard_normal((3, N, N)).astype(np.float32) / 16


def _chain(x: Any, w: Any, count: int) -> Any:
    """Steps that each read w twice, as it is and turned, and cannot be made one."""
    for _ in range(count):
        x = gr.tanh(gr.matmul(gr.tanh(gr.matmul(x, w)), w, transpose_b=True))
    return x


def _chain_numpy(x: Any, w: Any, count: int) -> Any:
    for _ in range(count):
        x = np.tanh(np.tanh(x @ w) @ w.T)
    return x


def test_a_value_is_packed_once_for_all_its_readers(data: Any) -> None:
    x = gr.placeholder(gr.float32, (N, N))
    w = gr.placeholder(gr.float32, (N, N))
    y = _chain(x, w * 2.0, 8)
    plan = compile_for("loops", [y], {x: data[0], w: data[1]}).plan
    products = [s for s in plan.launches if "gemm_tile" in s.label or "gemm_dot" in s.label]
    assert len(products) == 16
    packs = _packs(plan)
    assert 1 <= len(packs) <= 2, "one for each order that is wanted"
    assert all(s.once is None for s in packs)
    (got,) = BoundPlan(plan, new_store(), get_device).run([data[0], data[1]])
    np.testing.assert_allclose(got, _chain_numpy(data[0], data[1] * 2, 8), atol=1e-4)


def test_slots_of_packs_live_until_their_last_reader(data: Any) -> None:
    """Many values between the readers: none may lie in the pack's slot."""
    x = gr.placeholder(gr.float32, (N, N))
    w = gr.placeholder(gr.float32, (N, N))
    y, total = x, gr.zeros((N, N))
    for _ in range(6):
        y = gr.matmul(gr.tanh(y), w, transpose_b=True)
        total = total + gr.reduce_sum(gr.matmul(y, y), 0, keepdims=True) * 1e-3
    plan = compile_for("loops", [y, total], {x: data[0], w: data[1]}).plan
    got, got_total = BoundPlan(plan, new_store(), get_device).run([data[0], data[1]])
    want, want_total = data[0].astype(np.float64), np.zeros((N, N))
    for _ in range(6):
        want = np.tanh(want) @ data[1].T
        want_total += (want @ want).sum(0, keepdims=True) * 1e-3
    np.testing.assert_allclose(got, want, atol=1e-4)
    np.testing.assert_allclose(got_total, want_total, atol=1e-4)


def _spied(bound: BoundPlan) -> list[Any]:
    """The answers of everything that decides whether to pack, from now on."""
    answers: list[Any] = []
    for changed in bound._once:
        original = type(changed).__call__

        def ask(self: Any, original: Any = original) -> bool:
            answers.append(original(self))
            return bool(answers[-1])

        changed.__class__ = type("Spy", (type(changed),), {"__call__": ask})
    return answers


def test_a_constant_is_packed_in_the_first_run(data: Any) -> None:
    x = gr.placeholder(gr.float32, (N, N))
    y = gr.matmul(x, gr.constant(data[1]), transpose_b=True)
    plan = compile_for("loops", [y], {x: data[0]}).plan
    assert [s.once for s in _packs(plan)] == ["constant"]
    bound = BoundPlan(plan, new_store(), get_device)
    answers = _spied(bound)
    for a in (data[0], data[2]):
        np.testing.assert_allclose(bound.run([a])[0], a @ data[1].T, atol=1e-4)
    assert answers == [True, False]


def test_a_variable_is_packed_when_it_has_changed(data: Any) -> None:
    x = gr.placeholder(gr.float32, (N, N))
    w = gr.Variable(data[1], name="w")
    y = gr.matmul(x, w, transpose_b=True)
    read = compile_for("loops", [y], {x: data[0]}).plan
    write = compile_for("loops", [gr.assign_add(w, w * 0.5)]).plan
    assert len(_packs(read)) == 1 and _packs(read)[0].once is not None
    store = new_store({w: data[1]})
    bound, update = BoundPlan(read, store, get_device), BoundPlan(write, store, get_device)
    answers = _spied(bound)
    for factor in (1.0, 1.0, 1.5, 2.25):
        if factor > 1:
            update.run([])
        np.testing.assert_allclose(bound.run([data[0]])[0], data[0] @ (data[1] * factor).T, atol=1e-4)
    assert answers == [True, False, True, True]


def test_a_variable_that_the_step_updates_is_packed_in_each_run(data: Any) -> None:
    x = gr.placeholder(gr.float32, (N, N))
    w = gr.Variable(data[1], name="w")
    ys = [gr.matmul(gr.tanh(x * float(k)), w, transpose_b=True) for k in range(1, 9)]
    with gr.control_dependencies(ys):
        step = gr.assign_sub(w, w * 0.25)
    plan = compile_for("loops", [*ys, step], {x: data[0]}).plan
    assert [s.once for s in _packs(plan)] == [None] * len(_packs(plan)) and len(_packs(plan)) == 1
    bound = BoundPlan(plan, new_store({w: data[1]}), get_device)
    for factor in (1.0, 0.75):
        got = bound.run([data[0]])
        for k in range(1, 9):
            want = np.tanh(data[0] * k) @ (data[1] * factor).T
            np.testing.assert_allclose(got[k - 1], want, atol=1e-4)


def test_a_run_that_fails_packs_again(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = gr.placeholder(gr.float32, (N, N))
    y = gr.matmul(x, gr.constant(data[1]), transpose_b=True)
    bound = BoundPlan(compile_for("loops", [y], {x: data[0]}).plan, new_store(), get_device)
    answers = _spied(bound)
    with monkeypatch.context() as patch:
        run = bound._run

        def fails(*args: Any) -> Any:
            run(*args)
            raise RuntimeError("the device has gone")

        patch.setattr(bound, "_run", fails)
        with pytest.raises(GraphrunError, match="the device has gone"):
            bound.run([data[0]])
    np.testing.assert_allclose(bound.run([data[0]])[0], data[0] @ data[1].T, atol=1e-4)
    assert answers == [True, True]
