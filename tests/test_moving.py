"""Sessions without a device: plans begin on NumPy, and move where that pays."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import graphrun as gr
from graphrun import moving
from graphrun.device_names import runs_kernels
from graphrun.errors import DeviceError
from graphrun.moving import Trial, Watch


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plan is due after its second run."""
    monkeypatch.delenv("GRAPHRUN_DEVICE", raising=False)
    monkeypatch.setattr(moving, "MIN_RUN_NS", 0.0)
    monkeypatch.setattr(moving, "WATCHED_NS", 0.0)
    monkeypatch.setattr(moving, "MAX_SHARE", 1e9)
    monkeypatch.setattr(Watch, "__init__", _due_after_two)


def _due_after_two(self: Watch, run_ns: float) -> None:
    self.run_ns = run_ns
    self.left = 2
    self.fastest_ns = 1 << 62
    self._spent_ns = 0
    self._runs = 0


@pytest.fixture
def opencl(device, monkeypatch: pytest.MonkeyPatch) -> str:
    """Plans go to this device."""
    if not runs_kernels(device):
        pytest.skip("plans are on NumPy from the beginning")
    monkeypatch.setattr(moving, "best_device", lambda: device)
    return device


def step():
    x = gr.placeholder(gr.float32, (None, 4), name="x")
    w = gr.Variable(np.ones((4, 3), np.float32), name="w")
    loss = gr.reduce_mean(gr.square(gr.matmul(x, w) - 1.0))
    return x, w, loss, gr.train.GradientDescentOptimizer(0.1).minimize(loss)


def losses(device, count=12):
    with gr.Graph().as_default():
        x, w, loss, train = step()
        with gr.Session(device=device) as sess:
            sess.run(gr.global_variables_initializer())
            feed = {x: np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)}
            found = [sess.run([loss, train], feed)[0] for _ in range(count)]
            return found, sess.run(w), sess.plan([loss, train], feed)


def test_a_plan_moves_with_its_variables(eager, opencl):
    expected, w, plan = losses("cpu:0")
    assert not plan.devices
    found, moved_w, moved_plan = losses(None)
    assert moved_plan.devices == [opencl] or not moved_plan.devices  # back, where NumPy was quicker
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(moved_w, w, rtol=1e-5)


def test_it_returns_where_numpy_was_quicker(eager, opencl, monkeypatch):
    monkeypatch.setattr(Trial, "was_slower", property(lambda self: True))
    expected, w, _ = losses("cpu:0")
    found, moved_w, plan = losses(None)
    assert not plan.devices
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(moved_w, w, rtol=1e-5)


def test_it_stays_on_the_device_where_that_was_quicker(eager, opencl, monkeypatch):
    monkeypatch.setattr(Trial, "was_slower", property(lambda self: False))
    found, _, plan = losses(None)
    assert plan.devices == [opencl]
    again, _, _ = losses(None)
    assert found == again, "the same program does the same each time"


def test_it_stays_where_the_device_promises_nothing(eager, opencl, monkeypatch):
    monkeypatch.setattr(moving, "MAX_SHARE", 0.0)
    assert not losses(None)[2].devices


def test_callables_move_too(eager, opencl, monkeypatch):
    monkeypatch.setattr(Trial, "was_slower", property(lambda self: False))
    with gr.Graph().as_default(), gr.Session() as sess:
        x = gr.placeholder(gr.float32, (1000,))
        y = gr.exp(x) + 1
        call = sess.make_callable(y, [x])
        values = np.zeros(1000, np.float32)
        for _ in range(10):
            np.testing.assert_array_equal(call(values), np.full(1000, 2))
        assert sess.plan(y, {x: values}).devices == [opencl]


def test_shapes_have_plans_of_their_own(eager, opencl, monkeypatch):
    monkeypatch.setattr(Trial, "was_slower", property(lambda self: False))
    with gr.Graph().as_default(), gr.Session() as sess:
        x = gr.placeholder(gr.float32, (None,))
        y = x * 2
        for _ in range(4):
            sess.run(y, {x: np.ones(100, np.float32)})
        assert sess.plan(y, {x: np.ones(100)}).devices
        assert not sess.plan(y, {x: np.ones(50)}).devices


def test_small_plans_and_those_with_a_device_are_not_watched(monkeypatch):
    monkeypatch.delenv("GRAPHRUN_DEVICE", raising=False)
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (None,))
        y = gr.tanh(gr.exp(x))

        def watched(n, **options):
            with gr.Session(**options) as sess:
                sess.run(y, {x: np.zeros(n, np.float32)})
                (entry,) = sess._plans.values()
                return entry.watch

        assert watched(100) is None
        large = watched(3_000_000)
        assert isinstance(large, Watch) and large.run_ns > moving.MIN_RUN_NS
        assert watched(3_000_000, device="cpu:0") is None
        assert watched(3_000_000, strict=True) is None
        assert watched(3_000_000, config=gr.ConfigProto(device_count={"GPU": 0})) is None
        monkeypatch.setenv("GRAPHRUN_DEVICE", "cpu")
        assert watched(3_000_000) is None


def test_the_environment_names_a_device(device, monkeypatch):
    monkeypatch.setenv("GRAPHRUN_DEVICE", device)
    with gr.Graph().as_default(), gr.Session() as sess:
        assert sess.device == device
        assert sess.run(gr.constant(2.0) * 3) == 6
    monkeypatch.setenv("GRAPHRUN_DEVICE", "tpu9")
    with gr.Graph().as_default(), pytest.raises(DeviceError, match="GRAPHRUN_DEVICE: no such device: 'tpu9'"):
        gr.Session()
    monkeypatch.setenv("GRAPHRUN_DEVICE", "auto")
    with gr.Graph().as_default(), gr.Session() as sess:
        assert sess.device == "cpu:0"


def test_without_a_device_nothing_is_said(eager, monkeypatch):
    monkeypatch.setattr(moving, "best_device", lambda: "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not losses(None)[2].devices


def test_a_device_that_fails_is_told_once(eager, monkeypatch):
    monkeypatch.setattr(moving, "best_device", lambda: "opencl:99")
    with pytest.warns(
        RuntimeWarning, match="(?s)a plan stays on NumPy: .*there is no device opencl:99"
    ) as told:
        found, _, plan = losses(None)
    assert len(told) == 1 and not plan.devices
    np.testing.assert_allclose(found, losses("cpu:0")[0], rtol=1e-6)


def test_a_kernel_that_does_not_build_leaves_the_plan_where_it_is(eager, opencl, monkeypatch):
    from graphrun.errors import KernelBuildError
    from graphrun.runtime.kernel_set import KernelSet

    def broken(self, plan, name, device):
        raise KernelBuildError("this one does not compile")

    monkeypatch.setattr(KernelSet, "__init__", broken)
    with pytest.warns(RuntimeWarning, match="a plan stays on NumPy: this one does not compile"):
        found, _, plan = losses(None)
    assert not plan.devices
    np.testing.assert_allclose(found, losses("cpu:0")[0], rtol=1e-6)


def test_a_trial_tells_who_was_quicker():
    quick, slow = Trial(None, numpy_ns=1 << 40), Trial(None, numpy_ns=1)
    for trial in (quick, slow):
        for _ in range(4):
            assert not trial.is_over
            assert trial.run(lambda arrays: sum(arrays), [1, 2]) == 3
        assert trial.is_over
    assert slow.was_slower and not quick.was_slower


def test_runs_are_counted_by_what_they_are_expected_to_cost():
    watch = Watch(moving.BUDGET_NS / 4)
    runs = 0
    while watch.left > 0:
        watch.run(lambda arrays: None, [])
        runs += 1
    assert runs == 5


def test_runs_that_take_far_longer_than_expected_are_due_earlier(monkeypatch):
    watch = moving.Watch(moving.BUDGET_NS / 1000)
    now = [0]
    monkeypatch.setattr(moving.time, "perf_counter_ns", lambda: now[0])

    def run(arrays):
        now[0] += moving.MAX_SPENT_NS // 4
        return arrays

    for left in (1000, 999, 998, 0):
        assert watch.run(run, [1]) == [1]
        assert watch.left == left
    assert watch.fastest_ns == moving.MAX_SPENT_NS // 4


def test_a_small_plan_that_takes_far_longer_than_expected_is_due(monkeypatch):
    """Its runs are compared as they were measured: scattered ones by their mean, others by the least."""
    now = [0]
    monkeypatch.setattr(moving.time, "perf_counter_ns", lambda: now[0])
    for times, typical in (((10, 12), 10), ((1, 19), 10)):
        watch = moving.Watch(moving.WATCHED_NS)
        runs = 0
        while watch.left > 0:
            taken_ms = times[runs % 2]
            watch.run(lambda arrays: now.__setitem__(0, now[0] + taken_ms * 1_000_000), [])  # noqa: B023
            runs += 1
        assert runs == -(-moving.MAX_SPENT_NS // (sum(times) * 500_000))
        assert watch.typical_ns == pytest.approx(typical * 1e6, rel=0.01)
        assert watch.cost_ns == pytest.approx(sum(times) * 5e5, rel=0.01)


def test_a_small_plan_that_takes_what_it_should_stays(monkeypatch):
    watch = moving.Watch(moving.WATCHED_NS)
    watch._spent_ns, watch._runs = moving.MAX_SPENT_NS, moving.MAX_SPENT_NS // 200_000
    monkeypatch.setattr(moving, "best_device", lambda: pytest.fail("no device was wanted"))
    assert moving.moved(lambda device: None, watch) is None
