"""Sessions for training loops: initialization, the order of hooks, ends and errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import (
    DTypeError,
    ExecutionError,
    FeedError,
    GraphError,
    SessionClosedError,
    UninitializedError,
)

T = gr.train


@pytest.fixture(autouse=True)
def graph() -> Iterator[gr.Graph]:
    g = gr.Graph()
    with g.as_default():
        yield g


class Recorder(T.SessionRunHook):
    """Notes what it is called for."""

    def __init__(self, events: list[str], name: str, fetch: Any = None, feed: Any = None) -> None:
        self.events, self.name, self.fetch, self.feed = events, name, fetch, feed

    def begin(self) -> None:
        assert not gr.get_default_graph().finalized
        self.events.append(f"{self.name} begin")

    def after_create_session(self, session: Any, coord: Any) -> None:
        assert gr.get_default_graph().finalized and isinstance(coord, T.Coordinator)
        self.events.append(f"{self.name} created")

    def before_run(self, run_context: Any) -> Any:
        self.events.append(f"{self.name} before")
        self.context = run_context
        return None if self.fetch is None and self.feed is None else T.SessionRunArgs(self.fetch, self.feed)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        assert run_context is self.context
        self.events.append(f"{self.name} after {run_values.results}")

    def end(self, session: Any) -> None:
        self.events.append(f"{self.name} end {session.run('v:0')}")


def _counting() -> tuple[Any, Any]:
    v = gr.Variable(0, name="v", trainable=False)
    return v, v.assign_add(1)


def test_hooks_are_called_in_their_order() -> None:
    v, step = _counting()
    events: list[str] = []
    with T.MonitoredSession(hooks=[Recorder(events, "a", v), Recorder(events, "b")]) as sess:
        assert sess.run(step) == 1 and sess.run([step, {"v": v}]) == [2, {"v": 1}]
        assert sess.graph is gr.get_default_graph() and not sess.should_stop()
    assert events == [
        "a begin", "b begin", "a created", "b created",
        "a before", "b before", "a after 0", "b after None",
        "a before", "b before", "a after 1", "b after None",
        "a end 2", "b end 2",
    ]  # fmt: skip
    assert sess.should_stop() and sess.graph is None
    gr.constant(1)  # the graph may grow again


def test_hooks_see_what_the_caller_asks_for() -> None:
    x = gr.placeholder(gr.float32, (), name="x")
    y = x * 2.0
    _counting()
    hook = Recorder([], "a", {"x": x})
    with T.SingularMonitoredSession([hook]) as sess:
        assert sess.run(y, feed_dict={x: 3.0}) == 6
        assert hook.context.original_args == T.SessionRunArgs(y, {x: 3.0})
        assert hook.context.session is sess.raw_session() is not sess
        assert isinstance(sess.raw_session(), gr.Session)
    assert sess.raw_session() is None


def test_hooks_feed() -> None:
    x, y = gr.placeholder(gr.float32, ()), gr.placeholder(gr.float32, ())
    z = x + y
    with T.MonitoredSession(hooks=[T.FeedFnHook(lambda: {x: 2.0})]) as sess:
        assert sess.run(z, {y: 3.0}) == 5
        with pytest.raises(FeedError, match=r"'Placeholder:0' is fed by FeedFnHook and by the caller"):
            sess.run(x, {x: 1.0})
    with pytest.raises(FeedError, match="fed by FeedFnHook and by another hook"):
        with T.MonitoredSession(hooks=[T.FeedFnHook(lambda: {x: 2.0})] * 2) as sess:
            sess.run(x)


@pytest.mark.parametrize("error", [gr.errors.OutOfRangeError(None, None, "the end"), StopIteration()])
def test_the_end_of_input_ends_the_block(error: Exception) -> None:
    _counting()
    events: list[str] = []
    with T.MonitoredSession(hooks=[Recorder(events, "a")]):
        raise error
    assert events == ["a begin", "a created", "a end 0"]


def test_input_from_a_python_function_ends_the_block() -> None:
    data = iter([1.0, 2.0])
    x = gr.py_func(lambda: np.float32(next(data)), [], gr.float32)
    x.set_shape(())
    total = gr.Variable(0.0, name="total")
    add = total.assign_add(x)
    last = T.FinalOpsHook([total])
    with T.MonitoredTrainingSession(hooks=[last]) as sess:
        while not sess.should_stop():
            sess.run(add)
    assert last.final_ops_values == [3.0]


def test_another_error_passes_and_hooks_do_not_end(graph: gr.Graph) -> None:
    _counting()
    events: list[str] = []
    with pytest.raises(ZeroDivisionError):
        with T.MonitoredSession(hooks=[Recorder(events, "a")]) as sess:
            sess.run("v:0")
            raise ZeroDivisionError
    assert events[-1] == "a after None" and not graph.finalized and sess.should_stop()


def test_a_hook_that_fails_to_begin_leaves_the_graph_as_it_was(graph: gr.Graph) -> None:
    class Broken(T.SessionRunHook):
        def after_create_session(self, session: Any, coord: Any) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        T.MonitoredSession(hooks=[Broken()])
    assert not graph.finalized


def test_a_graph_that_was_read_only_stays_so(graph: gr.Graph) -> None:
    v = gr.Variable(1.0)
    scaffold = T.Scaffold(v.initializer, local_init_op=gr.no_op())
    graph.finalize()
    with T.MonitoredSession(T.ChiefSessionCreator(scaffold)) as sess:
        assert sess.run(v) == 1
    assert graph.finalized


def test_close() -> None:
    _, step = _counting()
    sess = T.MonitoredSession()
    sess.run(step)
    sess.close()
    for use in (sess.close, lambda: sess.run(step), lambda: sess.run_step_fn(lambda step_context: 1)):
        with pytest.raises(SessionClosedError, match="MonitoredSession: the session is closed"):
            use()
    with T.MonitoredSession() as sess:
        sess.close()


def test_device(device: str) -> None:
    _, step = _counting()
    with T.MonitoredTrainingSession(device=device) as sess:
        assert sess.run(step) == 1
    with T.SingularMonitoredSession(device=device) as one:
        assert one.raw_session().device in (device, device.replace(":0", ""), "numpy", "cpu:0")


def test_step_functions() -> None:
    v, step = _counting()
    events: list[str] = []

    class Trainer:
        def turn(self, step_context: Any) -> Any:
            step_context.session.run(step)  # without hooks
            if step_context.session.run(v) == 3:
                step_context.request_stop()
            return step_context.run_with_hooks(step, feed_dict=None)

    with T.MonitoredSession(hooks=[Recorder(events, "a")]) as sess:
        assert sess.run_step_fn(Trainer().turn) == 2
        with pytest.raises(GraphError, match=r"a step function of \(x\)"):
            sess.run_step_fn(lambda x: 1)
        assert isinstance(sess.run_step_fn(lambda step_context: step_context), T.MonitoredSession.StepContext)
        sess.run_step_fn(Trainer().turn)
        raise AssertionError("not reached")
    assert events == ["a begin", "a created", "a before", "a after None", "a end 3"]


# -- stopping -----------------------------------------------------------------------------------------


def _training() -> tuple[Any, Any, Any]:
    w = gr.Variable(1.0, name="w")
    loss = w * 2.0
    count = T.create_global_step()
    return T.GradientDescentOptimizer(0.1).minimize(loss, count), loss, count


@pytest.mark.parametrize(("options", "runs"), [({"num_steps": 3}, 3), ({"last_step": 4}, 4)])
def test_stop_at_step(options: Any, runs: int) -> None:
    step, _, count = _training()
    last = T.FinalOpsHook(count)
    with T.MonitoredTrainingSession(hooks=[T.StopAtStepHook(**options), last]) as sess:
        sess.run(count)  # does not advance it
        while not sess.should_stop():
            sess.run(step)
        with pytest.raises(
            ExecutionError, match=r"run\(\) after a hook has asked to stop\n.*\n.*should_stop"
        ):
            sess.run(step)
    assert last.final_ops_values == runs


def test_stop_at_step_needs_a_counter_and_one_number() -> None:
    for options in ({}, {"num_steps": 1, "last_step": 2}):
        with pytest.raises(GraphError, match="expected one of num_steps and last_step"):
            T.StopAtStepHook(**options)
    with pytest.raises(GraphError, match="StopAtStepHook: the graph has no step counter"):
        T.MonitoredSession(hooks=[T.StopAtStepHook(1)])
    with pytest.raises(DTypeError, match=r"StopAtStepHook'> is no hook"):
        T.MonitoredSession(hooks=[T.StopAtStepHook])


def test_a_loss_that_is_nan(caplog: Any) -> None:
    x = gr.placeholder(gr.float32, (), name="x")
    loss = gr.log(x, name="loss")
    with pytest.raises(T.NanLossDuringTrainingError, match=r"NaN loss during training.*\n.*'loss:0' is nan"):
        with T.MonitoredSession(hooks=[T.NanTensorHook(loss)]) as sess:
            sess.run(loss, {x: 1.0})
            sess.run(loss, {x: -1.0})
    with T.MonitoredSession(hooks=[T.NanTensorHook(loss, fail_on_nan_loss=False)]) as sess:
        sess.run(loss, {x: -1.0})
        assert sess.should_stop()
    assert caplog.messages == ["Model diverged with loss = NaN."] * 2
    assert str(T.NanLossDuringTrainingError()) == "NaN loss during training."


def test_threads_stop_with_the_session() -> None:
    _counting()
    ended = threading.Event()

    class Threads(T.SessionRunHook):
        def after_create_session(self, session: Any, coord: Any) -> None:
            def work() -> None:
                coord.wait_for_stop()
                ended.set()

            thread = threading.Thread(target=work)
            coord.register_thread(thread)
            thread.start()

    with T.MonitoredSession(hooks=[Threads()]) as sess:
        sess.run("v:0")
    assert ended.is_set()


def test_the_error_of_a_thread_ends_training() -> None:
    _counting()

    class Threads(T.SessionRunHook):
        def after_create_session(self, session: Any, coord: Any) -> None:
            coord.request_stop(ZeroDivisionError("in a thread"))

    with pytest.raises(ZeroDivisionError, match="in a thread"):
        with T.MonitoredSession(hooks=[Threads()]) as sess:
            assert sess.should_stop()
    with pytest.raises(ZeroDivisionError, match="in a thread"):
        with T.SingularMonitoredSession([Threads()]) as sess:
            sess.should_stop()


# -- what hooks log -----------------------------------------------------------------------------------


def test_logging_tensors(caplog: Any) -> None:
    caplog.set_level(logging.INFO, "graphrun")
    v, step = _counting()
    named = {"n": v, "again": "v:0"}
    hooks = [
        T.LoggingTensorHook(named, every_n_iter=2),
        T.LoggingTensorHook([v], at_end=True),
        T.LoggingTensorHook(
            ["v:0"], every_n_secs=1000, formatter=lambda values: f"formatted {values['v:0']}"
        ),
    ]
    with T.MonitoredSession(hooks=hooks) as sess:
        for _ in range(4):
            sess.run(step)
    texts = [m.partition(" (")[0] for m in caplog.messages]
    assert texts == ["again = 0, n = 0", "formatted 0", "again = 2, n = 2", "v:0 = 4"]
    assert " sec)" in caplog.messages[2]
    with pytest.raises(GraphError, match="every_n_iter=0"):
        T.LoggingTensorHook([v], every_n_iter=0)
    with pytest.raises(GraphError, match="expected one of every_n_iter and every_n_secs"):
        T.LoggingTensorHook([v])


def test_steps_per_second(caplog: Any) -> None:
    caplog.set_level(logging.INFO, "graphrun")
    step, loss, _ = _training()
    with T.MonitoredTrainingSession(hooks=[T.StepCounterHook(every_n_steps=2)]) as sess:
        for _ in range(5):
            sess.run(step)
        rates = [m for m in caplog.messages if m.startswith("global_step/sec: ")]
        assert len(rates) == 2 and all(float(m.split()[-1]) > 0 for m in rates)
        for _ in range(3):
            sess.run(loss)
    assert "the step counter 'global_step' has not advanced: it is 5" in caplog.messages[-1]


def test_timers() -> None:
    timer = T.SecondOrStepTimer(every_steps=3)
    assert timer.should_trigger_for_step(5) and timer.update_last_triggered_step(5) == (None, None)
    assert not timer.should_trigger_for_step(5) and not timer.should_trigger_for_step(7)
    assert timer.should_trigger_for_step(8) and timer.update_last_triggered_step(9)[1] == 4
    assert timer.last_triggered_step() == 9
    timer.reset()
    assert timer.should_trigger_for_step(9)
    seconds = T.SecondOrStepTimer(every_secs=1000)
    seconds.update_last_triggered_step(1)
    assert not seconds.should_trigger_for_step(2)
    with pytest.raises(GraphError):
        T.SecondOrStepTimer(1.0, 1)


def test_waiting_for_a_step() -> None:
    step, _, count = _training()
    with T.MonitoredTrainingSession(hooks=[T.GlobalStepWaiterHook(2)]) as sess:
        raw = sess._session
        thread = threading.Thread(target=lambda: [raw.run(step) for _ in range(2)])
        thread.start()
        assert sess.run(count) == 2  # it has waited
        thread.join()


# -- initialization -----------------------------------------------------------------------------------


def test_a_scaffold_runs_its_parts_in_order() -> None:
    x = gr.placeholder(gr.float32, ())
    v = gr.Variable(x, name="v")
    local = gr.Variable(v.initialized_value() + 1.0, trainable=False,
                        collections=[gr.GraphKeys.LOCAL_VARIABLES])  # fmt: skip
    double = v.assign(v * 2.0)

    def prepare(scaffold: Any, session: Any) -> None:
        assert isinstance(scaffold, T.Scaffold)
        session.run(double)

    scaffold = T.Scaffold(init_feed_dict={x: 3.0}, init_fn=prepare, local_init_feed_dict={x: 0.0})
    with T.MonitoredTrainingSession(scaffold=scaffold) as sess:
        assert sess.run([v, local]) == [6, 7]
    assert scaffold.init_op is gr.get_collection(gr.GraphKeys.INIT_OP)[0]
    again = T.Scaffold(copy_from_scaffold=scaffold, init_feed_dict={x: 5.0})
    with T.MonitoredTrainingSession(scaffold=again) as sess:
        assert sess.run(v) == 10


def test_what_the_initializers_leave_out_is_told() -> None:
    v, w = gr.Variable(1.0, name="v"), gr.Variable(1.0, name="w")
    with pytest.raises(UninitializedError, match=r"did not make the session ready\n.*without a value: w:0"):
        T.MonitoredSession(T.ChiefSessionCreator(T.Scaffold(init_op=v.initializer)))
    ready = gr.constant(["table"])
    with pytest.raises(UninitializedError, match=r"without a value: table\n"):
        T.MonitoredSession(T.ChiefSessionCreator(T.Scaffold(ready_op=ready)))
    with T.MonitoredSession(T.ChiefSessionCreator(T.Scaffold(ready_op=gr.constant([], gr.string)))) as sess:
        assert sess.run(w) == 1
    gr.add_to_collection(gr.GraphKeys.INIT_OP, v.initializer)
    with pytest.raises(GraphError, match=r"'init_op' holds 2 operations\n.*\n.*Scaffold\(init_op=...\)"):
        T.MonitoredSession()


def test_what_asks_for_files_is_refused() -> None:
    T.create_global_step()
    for make, name in (
        (lambda: T.MonitoredTrainingSession(checkpoint_dir="/tmp/x"), "checkpoint_dir"),
        (lambda: T.MonitoredTrainingSession(summary_dir="/tmp/x"), "summary_dir"),
        (lambda: T.MonitoredTrainingSession(save_checkpoint_secs=60), "save_checkpoint_secs"),
        (lambda: T.SingularMonitoredSession(checkpoint_dir="x"), "checkpoint_dir"),
        (lambda: T.ChiefSessionCreator(checkpoint_filename_with_path="x"), "checkpoint_filename_with_path"),
        (lambda: T.Scaffold(saver=object()), "saver"),
        (lambda: T.Scaffold(summary_op=gr.constant("")), "summary_op"),
        (lambda: T.StepCounterHook(output_dir="x"), "output_dir"),
    ):
        with pytest.raises(GraphError, match=f"{name}=.* asks for checkpoints or summaries"):
            make()
    T.MonitoredTrainingSession(save_checkpoint_secs=None, save_summaries_steps=None).close()
    with pytest.raises(GraphError, match="is_chief=False"):
        T.MonitoredTrainingSession(is_chief=False)
