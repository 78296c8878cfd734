"""Sessions with hooks beside TensorFlow's: what is called when, and how blocks end."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import graphrun as gr

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow.compat.v1")


def _events(lib: Any, scenario: str) -> list[Any]:
    events: list[Any] = []

    class Recorder(lib.train.SessionRunHook):  # type: ignore[name-defined, misc]
        def begin(self) -> None:
            events.append("begin")

        def after_create_session(self, session: Any, coord: Any) -> None:
            events.append(("created", session.run("v:0")))

        def before_run(self, run_context: Any) -> Any:
            events.append(("before", len(run_context.original_args)))
            return lib.train.SessionRunArgs({"n": "v:0", "both": ["v:0", count]})

        def after_run(self, run_context: Any, run_values: Any) -> None:
            results = run_values.results
            events.append(
                ("after", bool(np.isfinite(results["n"])), len(results["both"]), run_values.results is None)
            )
            if scenario == "hook stops" and len(events) > 6:
                run_context.request_stop()

        def end(self, session: Any) -> None:
            events.append(("end", session.run("v:0")))

    def fail() -> Any:
        if len(events) > 6:
            raise {"input ends": StopIteration, "fails": ValueError}[scenario]
        return np.float32(1)

    with lib.Graph().as_default():
        v = lib.Variable(1.0, name="v", use_resource=False) if lib is tf else lib.Variable(1.0, name="v")
        count = lib.train.get_or_create_global_step()
        x = lib.py_func(fail, [], lib.float32) if scenario in ("input ends", "fails") else lib.constant(1.0)
        x.set_shape([])
        step = lib.train.GradientDescentOptimizer(0.25).minimize(v * lib.stop_gradient(x), count)
        hooks = [Recorder()]
        if scenario == "steps":
            hooks.append(lib.train.StopAtStepHook(num_steps=3))
        try:
            with lib.train.MonitoredTrainingSession(
                hooks=hooks, save_checkpoint_secs=None, save_summaries_steps=None, save_summaries_secs=None
            ) as sess:
                turns = 0
                while not sess.should_stop() and turns < 5:
                    turns += 1
                    sess.run(step)
                    if scenario == "out of range" and turns == 2:
                        raise lib.errors.OutOfRangeError(None, None, "the end")
                    if scenario == "step function":
                        sess.run_step_fn(lambda step_context: step_context.request_stop())
        except Exception as fault:
            events.append(("raised", isinstance(fault, lib.errors.InvalidArgumentError)))
        events.append((turns, sess.should_stop(), lib.get_default_graph().finalized))
    return events


@pytest.mark.parametrize(
    "scenario", ["loop", "steps", "hook stops", "out of range", "input ends", "fails", "step function"]
)
def test_what_is_called(scenario: str) -> None:
    ours, theirs = (_events(lib, scenario) for lib in (gr, tf))
    assert ours == theirs


def test_errors_have_the_same_names_and_codes() -> None:
    names = [n for n in dir(tf.errors) if n.endswith("Error") or n.isupper()]
    for name in names:
        ours, theirs = getattr(gr.errors, name), getattr(tf.errors, name)
        if isinstance(theirs, int):
            assert ours == theirs
        elif name != "OpError":
            assert ours(None, None, "what").error_code == theirs(None, None, "what").error_code
