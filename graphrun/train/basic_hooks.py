"""The hooks of TensorFlow 1 that need no files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from graphrun.errors import GraphError, GraphrunError, OutOfRangeError, message
from graphrun.graph.default import get_default_graph
from graphrun.graph.site import user_site
from graphrun.train.hooks import SessionRunArgs, SessionRunContext, SessionRunHook, SessionRunValues
from graphrun.train.step import get_global_step

logger = logging.getLogger("graphrun")
_POLL_SECONDS = 0.5  # between two looks at a counter that another thread advances
_STALE_WARNINGS = 5


class NanLossDuringTrainingError(GraphrunError, RuntimeError):
    """The loss is NaN."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "NaN loss during training."


class SecondOrStepTimer:
    """Says for which steps something is due: every so many steps, or seconds.

    Parameters
    ----------
    every_secs, every_steps : number
        One of them.
    """

    def __init__(self, every_secs: float | None = None, every_steps: int | None = None) -> None:
        _one_of("SecondOrStepTimer", every_secs=every_secs, every_steps=every_steps)
        self._every_secs = every_secs
        self._every_steps = every_steps
        self.reset()

    def reset(self) -> None:
        """Begin anew: the next step is due."""
        self._last_step: int | None = None
        self._last_time: float | None = None

    def should_trigger_for_step(self, step: int) -> bool:
        """Whether it is due in `step`."""
        if self._last_step is None or self._last_time is None:
            return True
        if step == self._last_step:
            return False
        if self._every_secs is not None:
            return time.time() >= self._last_time + self._every_secs
        assert self._every_steps is not None
        return step >= self._last_step + self._every_steps

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        """Note that it was done in `step`; return the seconds and steps since the last time."""
        now = time.time()
        elapsed: tuple[float | None, int | None] = (None, None)
        if self._last_step is not None and self._last_time is not None:
            elapsed = now - self._last_time, step - self._last_step
        self._last_step, self._last_time = step, now
        return elapsed

    def last_triggered_step(self) -> int | None:
        """The step in which it was done last."""
        return self._last_step


class StopAtStepHook(SessionRunHook):
    """Ask to stop after a number of steps, by the graph's step counter.

    Parameters
    ----------
    num_steps : int
        So many, counted from the first one of the session.
    last_step : int
        Until the counter has this value.  One of the two is given.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     count = gr.train.create_global_step()
    ...     step = gr.train.GradientDescentOptimizer(0.1).minimize(gr.Variable(1.0) * 2.0, count)
    ...     runs = 0
    ...     with gr.train.MonitoredTrainingSession(hooks=[gr.train.StopAtStepHook(last_step=3)]) as sess:
    ...         while not sess.should_stop():
    ...             _, runs = sess.run(step), runs + 1
    ...     print(runs)
    3
    """

    def __init__(self, num_steps: int | None = None, last_step: int | None = None) -> None:
        _one_of("StopAtStepHook", num_steps=num_steps, last_step=last_step)
        self._num_steps = num_steps
        self._last_step = last_step

    def begin(self) -> None:
        self._counter = _step_counter("StopAtStepHook")

    def after_create_session(self, session: Any, coord: Any) -> None:
        if self._last_step is None:
            assert self._num_steps is not None
            self._last_step = int(session.run(self._counter)) + self._num_steps

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._counter)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        assert self._last_step is not None
        # What was fetched is the value from before the run, which need not have advanced it.
        if run_values.results + 1 >= self._last_step:
            if run_context.session.run(self._counter) >= self._last_step:
                run_context.request_stop()


class LoggingTensorHook(SessionRunHook):
    """Log values every so many runs or seconds, to the logger "graphrun" at level INFO.

    Parameters
    ----------
    tensors : dict from tags to tensors or names of tensors, or a list of them
    every_n_iter : int, optional
        Counted in runs.
    every_n_secs : float, optional
    at_end : bool
        Also when the session ends; alone where neither of the others is given.
    formatter : function, optional
        From the dictionary of values to the text.

    Notes
    -----
    ``logging.basicConfig(level=logging.INFO)`` makes it visible.
    """

    def __init__(
        self,
        tensors: Any,
        every_n_iter: int | None = None,
        every_n_secs: float | None = None,
        at_end: bool = False,
        formatter: Callable[[dict[Any, Any]], str] | None = None,
    ) -> None:
        self._timer: SecondOrStepTimer | None = None
        if not (at_end and every_n_iter is None and every_n_secs is None):
            _one_of("LoggingTensorHook", every_n_iter=every_n_iter, every_n_secs=every_n_secs)
            if every_n_iter is not None and every_n_iter <= 0:
                raise GraphError(
                    message(f"every_n_iter={every_n_iter}", where="LoggingTensorHook", site=user_site(),
                            expected="1 or more")
                )  # fmt: skip
            self._timer = SecondOrStepTimer(every_n_secs, every_n_iter)
        self._tags = sorted(tensors) if isinstance(tensors, dict) else list(tensors)
        self._tensors = tensors if isinstance(tensors, dict) else {t: t for t in self._tags}
        self._at_end = at_end
        self._formatter = formatter

    def begin(self) -> None:
        if self._timer is not None:
            self._timer.reset()
        self._runs = 0
        graph = get_default_graph()
        self._found = {tag: graph.as_graph_element(t) for tag, t in self._tensors.items()}

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        self._due = self._timer is not None and self._timer.should_trigger_for_step(self._runs)
        return SessionRunArgs(self._found) if self._due else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if self._due:
            self._log(run_values.results)
        self._runs += 1

    def end(self, session: Any) -> None:
        if self._at_end:
            self._log(session.run(self._found))

    def _log(self, values: dict[Any, Any]) -> None:
        seconds = None if self._timer is None else self._timer.update_last_triggered_step(self._runs)[0]
        if self._formatter is not None:
            logger.info(self._formatter(values))
            return
        with np.printoptions(suppress=True):
            text = ", ".join(f"{_tag(tag)} = {values[tag]}" for tag in self._tags)
        logger.info(text if seconds is None else f"{text} ({seconds:.3f} sec)")


class NanTensorHook(SessionRunHook):
    """Stop where the loss is NaN.

    Parameters
    ----------
    loss_tensor : tensor
    fail_on_nan_loss : bool
        Raise `NanLossDuringTrainingError`; else only ask to stop.
    """

    def __init__(self, loss_tensor: Any, fail_on_nan_loss: bool = True) -> None:
        self._loss = loss_tensor
        self._fail = fail_on_nan_loss

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._loss)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if not np.isnan(run_values.results).any():
            return
        what = "Model diverged with loss = NaN."
        if self._fail:
            logger.error(what)
            name = getattr(self._loss, "name", self._loss)
            op = getattr(self._loss, "op", None)
            raise NanLossDuringTrainingError(
                message(
                    "NaN loss during training.", got=f"'{name}' is {run_values.results}",
                    site=None if op is None else op.site,
                    fix="take a smaller learning rate, clip gradients, or find the operation with"
                    " gr.check_numerics",
                )
            )  # fmt: skip
        logger.warning(what)
        run_context.request_stop()


class StepCounterHook(SessionRunHook):
    """Log steps per second, by the graph's step counter, to the logger "graphrun" at level INFO.

    Parameters
    ----------
    every_n_steps : int, optional
    every_n_secs : float, optional
        One of the two.
    output_dir, summary_writer : None
        Summaries are not there yet.
    """

    def __init__(
        self,
        every_n_steps: int | None = 100,
        every_n_secs: float | None = None,
        output_dir: None = None,
        summary_writer: None = None,
    ) -> None:
        _one_of("StepCounterHook", every_n_steps=every_n_steps, every_n_secs=every_n_secs)
        refuse_files("StepCounterHook", output_dir=output_dir, summary_writer=summary_writer)
        self._timer = SecondOrStepTimer(every_n_secs, every_n_steps)
        self._last: int | None = None
        self._warned = 0

    def begin(self) -> None:
        self._counter = _step_counter("StepCounterHook")

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._counter)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        before = int(run_values.results)
        if self._timer.should_trigger_for_step(before + 1):
            now = int(run_context.session.run(self._counter))
            if self._timer.should_trigger_for_step(now):
                seconds, steps = self._timer.update_last_triggered_step(now)
                if seconds is not None and steps is not None:
                    rate = steps / seconds if seconds else float("inf")
                    self._log(rate, now)
        if before == self._last and self._warned < _STALE_WARNINGS:
            self._warned += 1
            logger.warning(
                "the step counter '%s' has not advanced: it is %d as before the last run; pass it to"
                " Optimizer.minimize(loss, global_step=...)", self._counter.op.name, before,
            )  # fmt: skip
        self._last = before

    def _log(self, rate: float, step: int) -> None:
        logger.info("%s/sec: %g", self._counter.op.name, rate)


class FinalOpsHook(SessionRunHook):
    """Run something when the session ends without an error.

    Parameters
    ----------
    final_ops : tensor, operation or structure of them
    final_ops_feed_dict : dict, optional
    """

    def __init__(self, final_ops: Any, final_ops_feed_dict: Any = None) -> None:
        self._ops = final_ops
        self._feeds = final_ops_feed_dict
        self._values: Any = None

    @property
    def final_ops_values(self) -> Any:
        """What they gave; None before the end."""
        return self._values

    def end(self, session: Any) -> None:
        if self._ops is None:
            return
        try:
            self._values = session.run(self._ops, feed_dict=self._feeds)
        except (OutOfRangeError, StopIteration):
            logger.warning(
                "what FinalOpsHook runs reads input, which is at its end: let it depend on variables alone"
            )
            raise


class FeedFnHook(SessionRunHook):
    """Feed what a function without arguments returns, a dictionary for ``feed_dict``, in each run."""

    def __init__(self, feed_fn: Callable[[], Any]) -> None:
        self.feed_fn = feed_fn

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(fetches=None, feed_dict=self.feed_fn())


class GlobalStepWaiterHook(SessionRunHook):
    """Wait before the first run until the step counter, which other threads advance, has a value.

    Parameters
    ----------
    wait_until_step : int
    """

    def __init__(self, wait_until_step: int) -> None:
        self._wait_until = wait_until_step

    def begin(self) -> None:
        self._started = False
        self._counter = _step_counter("GlobalStepWaiterHook")

    def before_run(self, run_context: SessionRunContext) -> None:
        if not self._started and self._wait_until > 0:
            logger.info("waiting for step %d", self._wait_until)
            while run_context.session.run(self._counter) < self._wait_until:
                time.sleep(_POLL_SECONDS)
        self._started = True


def refuse_files(where: str, **given: Any) -> None:
    """Raise where an argument asks for checkpoints or summaries."""
    for name, value in given.items():
        if value is not None:
            raise GraphError(
                message(
                    f"{name}={value!r} asks for checkpoints or summaries, which graphrun does not write yet",
                    where=where, site=user_site(),
                    fix=f"leave {name} out, and keep values with session.run and numpy.savez",
                )
            )  # fmt: skip


def _step_counter(where: str) -> Any:
    found = get_global_step()
    if found is None:
        raise GraphError(
            message(
                "the graph has no step counter", where=where, site=user_site(),
                fix="make it with gr.train.get_or_create_global_step(), and pass it to minimize()",
            )
        )  # fmt: skip
    return found


def _one_of(where: str, **given: Any) -> None:
    if sum(v is not None for v in given.values()) != 1:
        raise GraphError(
            message(
                ", ".join(f"{k}={v}" for k, v in given.items()), where=where, site=user_site(),
                expected=f"one of {' and '.join(given)}",
            )
        )  # fmt: skip


def _tag(tag: Any) -> str:
    return tag if isinstance(tag, str) else str(getattr(tag, "name", tag))
