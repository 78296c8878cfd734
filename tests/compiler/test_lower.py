"""Last pass: steps, buffers, updates in place, and what a failing run leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.programs import specialized
from compiler.run_plan import STYLES, compile_for, new_store, run_plan, target, variable_value

import graphrun as gr
from graphrun.compiler.placement import place
from graphrun.compiler.plan import Plan
from graphrun.compiler.schedule import schedule
from graphrun.compiler.steps import CopyStep, DownloadStep, HostStep, LaunchStep, UploadStep
from graphrun.errors import ExecutionError
from graphrun.graph.apply import apply
from graphrun.graph.descriptor import Spec
from graphrun.graph.opdef import OpDef
from graphrun.runtime.devices import get_device
from graphrun.runtime.executor import BoundPlan

EACH = pytest.mark.parametrize(
    "where", ["numpy", *(pytest.param(style, marks=pytest.mark.opencl) for style in STYLES)]
)


KINDS = {
    HostStep: "host", UploadStep: "up", DownloadStep: "down", CopyStep: "copy", LaunchStep: "launch",
}  # fmt: skip


def _plan(where: Any, *fetches: Any, **feeds: Any) -> Plan:
    graph = gr.get_default_graph()
    fed = {graph.get_tensor_by_name(f"{name}:0"): value for name, value in feeds.items()}
    return compile_for(where, list(fetches), fed).plan


def _kinds(plan: Plan) -> list[str]:
    return [KINDS[type(step)] for step in plan.steps]


def _updates_in_place(plan: Plan) -> list[str]:
    """Variables that a kernel writes directly."""
    states = {i: b.state.label for i, b in enumerate(plan.buffers) if b.kind == "state"}
    found = []
    for step in plan.launches:
        places = [value for kind, value in step.args if kind == "buffer"]
        written = 0
        while written < step.written_bytes:  # outputs come last
            place_ = places.pop()
            written += place_.size_bytes
            found += [states[place_.buffer]] if place_.buffer in states else []
    return found


def _variable(value: Any, name: str) -> gr.Variable:
    return gr.Variable(np.array(value, np.float32), name=name)


def _run(
    where: str, fetches: list[Any], variables: dict[Any, Any], feeds: Any = None
) -> tuple[list[Any], Any]:
    """Run once; the fetched values, and a function that returns a variable's value afterwards."""
    store = new_store(variables)
    results = run_plan(where, fetches, feeds, store)
    return results, lambda v: np.asarray(variable_value(store, v))


# -- steps ----------------------------------------------------------------------------------------


def test_host_steps() -> None:
    x = gr.placeholder(gr.float32, (2, 3), name="x")
    plan = _plan("numpy", gr.exp(gr.transpose(x, name="t"), name="y"), x=np.zeros((2, 3)))
    assert plan.feeds == [(0, Spec((2, 3), gr.float32))] and plan.fetches == [2]
    assert [(s.inputs, s.outputs) for s in plan.steps] == [((0,), (1,)), ((1,), (2,))]
    assert plan.buffers == [] and plan.sources == {} and plan.devices == []


def test_device_steps() -> None:
    x = gr.placeholder(gr.float32, (2, 3), name="x")
    w = _variable(np.ones((3, 4)), "w")
    plan = _plan("null", gr.matmul(gr.exp(x), w), x=np.zeros((2, 3)))
    assert _kinds(plan)[0] == "up" and _kinds(plan)[-1] == "down"
    assert set(_kinds(plan)[1:-1]) == {"launch"}
    assert [b.kind for b in plan.buffers].count("state") == 1
    assert plan.read_states[0].label == "w" and plan.device_updates == []


def test_what_is_not_read_on_a_device_is_not_uploaded() -> None:
    x, y = gr.placeholder(gr.float32, (2,), name="x"), gr.placeholder(gr.float32, (2,), name="y")
    with gr.device("/cpu:0"):
        a = gr.exp(x)
    plan = _plan("null", a, gr.sin(y), y, x=np.zeros(2), y=np.zeros(2))
    assert _kinds(plan).count("up") == 1 and _kinds(plan).count("down") == 1


def test_value_is_downloaded_once() -> None:
    x = gr.placeholder(gr.float32, (2,), name="x")
    a = gr.exp(x)
    with gr.device("/cpu:0"):
        b, c = gr.sin(a), gr.cos(a)
    plan = _plan("null", a, b, c, a, x=np.zeros(2))
    assert _kinds(plan).count("down") == 1 and plan.fetches[0] == plan.fetches[3]


def test_constants_are_uploaded_when_bound() -> None:
    x = gr.placeholder(gr.float32, (4,), name="x")
    plan = _plan("null", x * gr.constant([1.0, 2.0, 3.0, 4.0]), x=np.zeros(4))
    (constant,) = (b for b in plan.buffers if b.kind == "constant")
    assert constant.size_bytes == 16 and _kinds(plan) == ["up", "launch", "down"]


def test_equal_kernels_are_one() -> None:
    x = gr.placeholder(gr.float32, (33, 33), name="x")
    y: Any = x
    for _ in range(10):
        y = gr.tanh(gr.matmul(y, x))
    plan = _plan("null", y, x=np.zeros((33, 33)))
    kernels = {s.kernel for s in plan.launches}
    assert len(plan.launches) >= 10 and len(kernels) <= 2
    source = plan.sources["null:0"]
    assert all(source.count(f"void {name}(") + source.count(f"GR_NAME {name}\n") == 1 for name in kernels)


def test_no_elements_no_launch() -> None:
    x = gr.placeholder(gr.float32, (0, 3), name="x")
    w = _variable(np.ones((3, 4)), "w")
    y = gr.nn.relu(gr.matmul(gr.exp(x), w)) + 1.0
    plan = _plan("null", y, gr.reduce_max(y, 1), gr.transpose(y), x=np.zeros((0, 3)))
    assert plan.launches == []


@EACH
def test_nothing_in_nothing_out(where: str) -> None:
    """Products over no elements are zeros, and what has no elements is an empty array."""
    x, w = gr.placeholder(gr.float32, (3, 0), name="x"), gr.placeholder(gr.float32, (0, 4), name="w")
    fetches = [
        gr.matmul(x, w) + 1.0,
        gr.matmul(x, x, transpose_a=True),
        gr.concat([x, x], 0),
        gr.gather(w, gr.zeros([0], gr.int32)),
    ]
    feeds = {x: np.zeros((3, 0), np.float32), w: np.zeros((0, 4), np.float32)}
    results = run_plan(where, fetches, feeds)
    np.testing.assert_array_equal(results[0], np.ones((3, 4)))
    assert [r.shape for r in results[1:]] == [(0, 0), (6, 0), (0, 4)]


@EACH
def test_fetched_aliases(where: str) -> None:
    """A reshape, and a slice that is an offset, are read from the buffer of what they show."""
    x = gr.placeholder(gr.float32, (4, 6), name="x")
    e = gr.exp(x)
    value = np.arange(24, dtype=np.float32).reshape(4, 6) / 10
    results = run_plan(where, [e[2:], gr.reshape(e, [3, 8])[1], e, x[1:3], gr.reshape(x, [24])], {x: value})
    expected = np.exp(value)
    for result, reference in zip(
        results,
        [expected[2:], expected.reshape(3, 8)[1], expected, value[1:3], value.reshape(24)],
        strict=True,
    ):
        np.testing.assert_allclose(result, reference, rtol=1e-6)


@EACH
def test_scalars(where: str) -> None:
    x = gr.placeholder(gr.float32, (), name="x")
    v = _variable(2.0, "v")
    row = gr.placeholder(gr.float32, (3,), name="row")
    fetches = [x * v, row * x + v, gr.reduce_sum(row) / x, v.assign_add(x), gr.constant(5.0) * 1.0]
    results, value = _run(where, fetches, {v: 2.0}, {x: 3.0, row: [1.0, 2.0, 3.0]})
    assert [np.shape(r) for r in results] == [(), (3,), (), (), ()]
    for result, expected in zip(results, [6, [5, 8, 11], 2, 5, 5], strict=True):
        np.testing.assert_array_equal(result, np.float32(expected))
    assert value(v) == 5


@pytest.mark.opencl
def test_several_devices_in_one_plan() -> None:
    """Values wander between the host and the device, constants and feeds are made on both."""
    x = gr.placeholder(gr.float32, (5,), name="x")
    c = gr.constant([1.0, 2.0, 3.0, 4.0, 5.0])
    y = x * c
    with gr.device("/cpu:0"):
        z = (y + c) * x
    value = np.linspace(0, 1, 5, dtype=np.float32)
    (result,) = run_plan("loops", [gr.exp(z) - y], {x: value})
    numbers = np.arange(1, 6, dtype=np.float32)
    np.testing.assert_allclose(
        result, np.exp((value * numbers + numbers) * value) - value * numbers, rtol=1e-5
    )


# -- updates --------------------------------------------------------------------------------------


def test_update_in_place() -> None:
    w = _variable(np.ones(8), "w")
    plan = _plan("null", w.assign_sub(w * 0.5).op)
    assert _kinds(plan) == ["launch"] and _updates_in_place(plan) == ["w"]
    assert not any(b.kind == "slot" for b in plan.buffers), "nothing but the variable itself"
    assert [(k.label, d) for k, d in plan.device_updates] == [("w", "null:0")]


def test_fetched_update_is_in_place_too() -> None:
    w = _variable(np.ones(8), "w")
    plan = _plan("null", w.assign_sub(w * 0.5))
    assert _kinds(plan) == ["launch", "down"] and _updates_in_place(plan) == ["w"]


def test_not_in_place_where_the_old_value_is_read() -> None:
    w = _variable(np.ones(8), "w")
    old = w.read_value()
    plan = _plan("null", w.assign_add(gr.exp(w)).op, old)
    assert _updates_in_place(plan) == [] and "copy" in _kinds(plan)


def test_not_in_place_where_elements_are_read_elsewhere() -> None:
    """Each element of a transpose is read from another place than it is written to."""
    w = _variable(np.ones((4, 4)), "w")
    plan = _plan("null", w.assign(gr.transpose(w) + w).op)
    assert _updates_in_place(plan) == []


def test_optimizer_updates_in_place() -> None:
    w = _variable(np.ones((6, 3)), "w")
    x = gr.placeholder(gr.float32, (4, 6), name="x")
    loss = gr.reduce_mean(gr.square(gr.matmul(x, w)))
    step = gr.train.AdamOptimizer(0.1).minimize(loss)
    plan = _plan("null", loss, step, x=np.zeros((4, 6)))
    assert sorted(_updates_in_place(plan))[-3:] == ["w", "w/Adam", "w/Adam_1"]
    assert "copy" not in _kinds(plan) and "host" not in _kinds(plan)


@EACH
@pytest.mark.parametrize("seed", range(4))
def test_updates_of_several_variables(where: str, seed: int) -> None:
    """Whatever is read and written, each update comes from the values before the run."""
    rng = np.random.default_rng(seed)
    variables = [_variable(np.zeros((4, 4)), f"v{i}") for i in range(4)]
    before = {v: rng.uniform(-1, 1, (4, 4)).astype(np.float32) for v in variables}

    def one() -> tuple[Any, Any]:
        i, j = (int(k) for k in rng.integers(0, 4, 2))
        a, b = variables[i], variables[j]
        x, y = before[a], before[b]
        choice = rng.integers(0, 6)
        if choice == 0:
            return a.read_value(), x
        if choice == 1:
            return a + b, x + y
        if choice == 2:
            return gr.transpose(a) * b, x.T * y
        if choice == 3:
            return gr.reshape(a, [4, 4]) - 0.5, x - np.float32(0.5)
        if choice == 4:
            return gr.broadcast_to(gr.reduce_sum(a, 0), [4, 4]) + b, np.broadcast_to(x.sum(0), (4, 4)) + y
        return gr.concat([a[2:], b[:2]], 0), np.concatenate([x[2:], y[:2]])

    after, fetches, expected = {}, [], []
    for v in variables:
        value, array = one()
        after[v] = array
        fetches.append(v.assign(value) if rng.random() < 0.5 else v.assign(value).op)
        expected.append(array if fetches[-1].__class__ is gr.Tensor else None)
    extra, array = one()
    fetches += [extra, variables[0]]
    expected += [array, before[variables[0]]]
    results, value_of = _run(where, fetches, before)
    for result, reference in zip(results, expected, strict=True):
        if reference is None:
            assert result is None
        else:
            np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-6)
    for v, reference in after.items():
        np.testing.assert_allclose(value_of(v), reference, rtol=1e-5, atol=1e-6)


@EACH
def test_swap(where: str) -> None:
    a, b, c = (_variable([k, k], name) for k, name in enumerate("abc"))
    step = gr.group(a.assign(b), b.assign(c), c.assign(a))
    _, value = _run(where, [step], {a: [0, 0], b: [1, 1], c: [2, 2]})
    assert [value(v)[0] for v in (a, b, c)] == [1, 2, 0]


@EACH
def test_swap_with_a_sum(where: str) -> None:
    a, b = _variable([1, 1], "a"), _variable([2, 2], "b")
    results, value = _run(where, [a.assign(b + 1.0), b.assign(a + 1.0), a, b], {a: [1, 1], b: [2, 2]})
    assert [r[0] for r in results] == [3, 2, 1, 2] and value(a)[0] == 3 and value(b)[0] == 2


@EACH
def test_one_value_for_two_variables(where: str) -> None:
    a, b = _variable([1, 1], "a"), _variable([2, 2], "b")
    total = a + b
    results, value = _run(where, [a.assign(total), b.assign(total), total * 2.0], {a: [1, 1], b: [2, 2]})
    assert [r[0] for r in results] == [3, 3, 6] and value(a)[0] == value(b)[0] == 3


@EACH
def test_old_and_new_value(where: str) -> None:
    w = _variable([1.0, 2.0], "w")
    old = gr.identity(w.read_value())
    new = w.assign_add([10.0, 10.0])
    results, value = _run(where, [old, new, w, gr.reduce_sum(w)], {w: [1.0, 2.0]})
    np.testing.assert_array_equal(results[0], [1, 2])
    np.testing.assert_array_equal(results[1], [11, 12])
    np.testing.assert_array_equal(results[2], [1, 2])
    assert results[3] == 3
    np.testing.assert_array_equal(value(w), [11, 12])


@EACH
def test_variable_assigned_a_constant_or_a_feed(where: str) -> None:
    a, b = _variable([1, 1], "a"), _variable([2, 2], "b")
    x = gr.placeholder(gr.float32, (2,), name="x")
    results, value = _run(
        where, [a.assign([5.0, 6.0]), b.assign(x).op, a], {a: [1, 1], b: [2, 2]}, {x: [7, 8]}
    )
    np.testing.assert_array_equal(results[0], [5, 6])
    np.testing.assert_array_equal(results[2], [1, 1])
    np.testing.assert_array_equal(value(a), [5, 6])
    np.testing.assert_array_equal(value(b), [7, 8])


@EACH
def test_many_runs(where: str) -> None:
    """A bound plan runs again and again; results of one run are not touched by the next."""
    w = _variable([1.0, 1.0], "w")
    x = gr.placeholder(gr.float32, (2,), name="x")
    fetches = [w.assign_add(x), w, x * 2.0]
    plan = compile_for(where, fetches, {x: [0, 0]}).plan
    store = new_store({w: [1.0, 1.0]})
    bound = BoundPlan(plan, store, get_device)
    kept = [bound.run([np.full(2, k, np.float32)]) for k in range(1, 6)]
    for k, (new, old, double) in enumerate(kept, start=1):
        np.testing.assert_array_equal(new, [1 + k * (k + 1) / 2] * 2)
        np.testing.assert_array_equal(old, [1 + k * (k - 1) / 2] * 2)
        np.testing.assert_array_equal(double, [2 * k] * 2)


# -- failing runs ---------------------------------------------------------------------------------


def _raising(x: Any) -> Any:
    raise ValueError("it is not my day")


RAISES = OpDef("raises", lambda x: (x,), _raising)  # not registered: for these tests alone


@EACH
def test_failing_step_leaves_variables(where: str) -> None:
    """A step on the host raises: no variable has changed, whether it would be updated before or after."""
    a, b = _variable([1, 1], "a"), _variable([2, 2], "b")
    x = gr.placeholder(gr.float32, (2,), name="x")
    with gr.device("/cpu:0"):
        bad = apply(RAISES, (x + a,), {}, "bad")
    plan = compile_for(where, [a.assign_add(x), b.assign(b * 2.0).op, bad], {x: [1, 1]}).plan
    store = new_store({a: [1, 1], b: [2, 2]})
    bound = BoundPlan(plan, store, get_device)
    for _ in range(2):
        with pytest.raises(ExecutionError) as error:
            bound.run([np.ones(2, np.float32)])
        assert "it failed on cpu:0: ValueError: it is not my day" in str(error.value)
        assert "raises 'bad'" in str(error.value) and "test_lower.py:" in str(error.value)
        np.testing.assert_array_equal(variable_value(store, a), [1, 1])
        np.testing.assert_array_equal(variable_value(store, b), [2, 2])


def test_host_steps_come_before_updates() -> None:
    """An update in place stands behind every step that may raise."""
    a = _variable([1, 1], "a")
    x = gr.placeholder(gr.float32, (2,), name="x")
    update = a.assign_add(x)
    with gr.device("/cpu:0"):
        bad = apply(RAISES, (x,), {}, "bad")
    plan = _plan("null", update, bad, x=[1, 1])
    assert _kinds(plan).index("host") < _kinds(plan).index("launch")
    assert _updates_in_place(plan) == ["a"]


def test_readers_of_the_old_value_come_before_updates() -> None:
    w = _variable(np.ones(8), "w")
    plan = _plan("null", w.assign_sub(w * 0.5).op, gr.reduce_sum(w))
    assert [s.label for s in plan.launches] == ["sum", "multiply+subtract"]
    assert _updates_in_place(plan) == ["w"] and "copy" not in _kinds(plan)


def test_schedule_keeps_the_order_of_data() -> None:
    x = gr.placeholder(gr.float32, (3,), name="x")
    w = _variable([1, 1, 1], "w")
    fetches = [w.assign(gr.add(w, x, name="update")).op, gr.exp(x) * 2.0, gr.reduce_sum(w)]
    program = place(specialized(fetches, {x: (3,)}), target("null"))
    seen = set()
    for node in schedule(program):
        assert all(n in seen for n, _ in node.inputs)
        seen.add(node)
    assert seen == set(program.nodes)
    assert [n.name for n in schedule(program)][-1] == "update", "nothing reads it, so it comes last"


# -- memory ---------------------------------------------------------------------------------------


def test_chain_reuses_its_memory() -> None:
    x = gr.placeholder(gr.float32, (64, 64), name="x")
    y: Any = x
    for _ in range(20):
        y = gr.nn.relu(gr.matmul(y, x))
    plan = _plan("null", y, x=np.zeros((64, 64)))
    whole = 64 * 64 * 4
    slots = [b for b in plan.buffers if b.kind == "slot"]
    assert sum(b.size_bytes for b in slots) <= 5 * whole
    assert plan.peak_bytes("null:0") == sum(b.size_bytes for b in slots)


def test_variables_are_not_counted() -> None:
    w = _variable(np.ones(1000), "w")
    plan = _plan("null", gr.reduce_sum(w))
    assert plan.peak_bytes("null:0") < 100


def test_peak_on_the_host() -> None:
    x = gr.placeholder(gr.float32, (1000,), name="x")
    y: Any = x
    for _ in range(10):
        y = gr.sin(y)
    assert _plan("numpy", y, x=np.zeros(1000)).host_peak_bytes == 8000
    assert _plan("numpy", gr.reduce_sum(y), x=np.zeros(1000)).host_peak_bytes == 8000


def test_one_variable_for_another_stays_on_the_device() -> None:
    """Target networks: a copy within the device, also where both change in one run."""
    a, b = _variable(np.ones(3), "a"), _variable(np.zeros(3), "b")
    plan = _plan("null", b.assign(a).op)
    assert _kinds(plan) == ["copy"] and not plan.host_updates
    swap = _plan("null", a.assign(b), b.assign(a))
    assert set(_kinds(swap)) <= {"copy", "down"} and not swap.host_updates
