"""Sessions for training loops: they initialize themselves, call hooks, and end in order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphrun.errors import (
    ExecutionError,
    FeedError,
    GraphError,
    OutOfRangeError,
    SessionClosedError,
    message,
)
from graphrun.graph.default import get_default_graph
from graphrun.graph.site import user_site
from graphrun.train.basic_hooks import refuse_files
from graphrun.train.coordinator import Coordinator
from graphrun.train.hooks import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
    require_hooks,
)
from graphrun.train.scaffold import ChiefSessionCreator, Scaffold, SessionCreator

_UNSET: Any = object()


class StepContext:
    """What a function that `MonitoredSession.run_step_fn` calls may do.

    Attributes
    ----------
    session : Session
        The session below: its runs call no hooks.
    """

    def __init__(self, session: Any, run_with_hooks: Callable[..., Any]) -> None:
        self._session = session
        self._run = run_with_hooks

    @property
    def session(self) -> Any:
        """The session below: its runs call no hooks."""
        return self._session

    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """As `MonitoredSession.run`."""
        return self._run(*args, **kwargs)

    def request_stop(self) -> None:
        """End training, by StopIteration."""
        raise StopIteration("the step function has asked to stop")


class MonitoredSession:
    """A session that initializes its variables, calls hooks around each run, and ends in order.

    Parameters
    ----------
    session_creator : SessionCreator, optional
        A `ChiefSessionCreator` by default.
    hooks : list of SessionRunHook, optional
    stop_grace_period_secs : float
        How long threads of the coordinator may take to end.

    Notes
    -----
    The graph is read-only from here to the end.  In a ``with`` block, `errors.OutOfRangeError` and
    StopIteration end the block without an error; hooks get their ``end`` call unless another error came.
    Sessions of graphrun are not lost by themselves, so none is made anew after an error.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     w = gr.Variable(8.0)
    ...     count = gr.train.get_or_create_global_step()
    ...     step = gr.train.GradientDescentOptimizer(0.25).minimize(w * w, count)
    ...     last = gr.train.FinalOpsHook(w)
    ...     hooks = [gr.train.StopAtStepHook(3), last]
    ...     with gr.train.MonitoredSession(hooks=hooks) as sess:
    ...         while not sess.should_stop():
    ...             sess.run(step)
    ...     print(last.final_ops_values)
    1.0
    """

    StepContext = StepContext
    _tells_faults_in_should_stop = False

    def __init__(
        self,
        session_creator: SessionCreator | None = None,
        hooks: Iterable[SessionRunHook] | None = None,
        stop_grace_period_secs: float = 120,
    ) -> None:
        self._hooks = require_hooks(hooks, type(self).__name__)
        self._graph = get_default_graph()
        self._was_finalized = self._graph.finalized
        self._grace = stop_grace_period_secs
        self._session: Any = None
        self._stop_requested = False
        creator = session_creator or ChiefSessionCreator()
        try:
            for h in self._hooks:
                h.begin()
            self._session = creator.create_session()
            self._coord = Coordinator(clean_stop_exception_types=())
            for h in self._hooks:
                h.after_create_session(self._session, self._coord)
        except BaseException:
            self._leave()
            raise

    @property
    def graph(self) -> Any:
        """The graph; None once it is closed."""
        return None if self._session is None else self._session.graph

    # -- running ------------------------------------------------------------------------------

    def run(
        self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, options: Any = None,
        run_metadata: Any = None,
    ) -> Any:  # fmt: skip
        """Run as `Session.run` does, with what the hooks want to fetch and to feed.

        Raises
        ------
        SessionClosedError
            After ``close()``.
        ExecutionError
            Where a hook has asked to stop already.
        FeedError
            If two hooks, or a hook and the caller, feed one tensor.
        """
        self._require_open()
        if self._stop_requested:
            raise ExecutionError(
                message(
                    "run() after a hook has asked to stop", where=type(self).__name__, site=user_site(),
                    fix="write `while not session.should_stop():` around it",
                )
            )  # fmt: skip
        context = SessionRunContext(SessionRunArgs(fetches, feed_dict), self._session)
        wanted, feeds = [fetches], dict(feed_dict or {})
        place: dict[int, int] = {}
        fed_by_hooks: set[Any] = set()
        for k, hook in enumerate(self._hooks):
            request = hook.before_run(context)
            if request is None:
                continue
            if request.fetches is not None:
                place[k] = len(wanted)
                wanted.append(request.fetches)
            for key, value in (request.feed_dict or {}).items():
                if key in feeds:
                    raise _fed_twice(key, key in fed_by_hooks, hook)
                feeds[key] = value
                fed_by_hooks.add(key)
        results = self._session.run(wanted, feeds, options, run_metadata)
        for k, hook in enumerate(self._hooks):
            own = results[place[k]] if k in place else None
            hook.after_run(context, SessionRunValues(own, options, run_metadata))
        self._stop_requested = self._stop_requested or context.stop_requested
        return results[0]

    def run_step_fn(self, step_fn: Callable[[Any], Any]) -> Any:
        """Call ``step_fn(step_context)``, and return what it returns.

        ``step_context.session`` runs without hooks, ``step_context.run_with_hooks`` with them, and
        ``step_context.request_stop()`` ends training.
        """
        names = list(inspect.signature(step_fn).parameters)
        if names != ["step_context"]:
            raise GraphError(
                message(
                    f"a step function of ({', '.join(names)})", where="run_step_fn", site=user_site(),
                    expected="one argument, step_context",
                )
            )  # fmt: skip
        self._require_open()
        return step_fn(StepContext(self._session, self.run))

    def should_stop(self) -> bool:
        """Whether to leave the loop: a hook or a thread has asked to stop, or it is closed."""
        if self._session is None:
            return True
        if self._tells_faults_in_should_stop:
            self._coord.raise_requested_exception()
        return self._stop_requested or self._coord.should_stop()

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Let the hooks end, stop threads, and close the session."""
        self._require_open()
        self._close(failed=False)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> bool:
        clean = kind is None or issubclass(kind, OutOfRangeError | StopIteration)
        if self._session is not None:  # a block may close it itself
            self._close(failed=not clean)
        return clean

    def _close(self, failed: bool) -> None:
        try:
            if not failed:
                for h in self._hooks:
                    h.end(self._session)
        finally:
            try:
                self._coord.request_stop()
                self._coord.join(stop_grace_period_secs=self._grace, ignore_live_threads=True)
            finally:
                self._leave()

    def _leave(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        if not self._was_finalized:
            self._graph._unsafe_unfinalize()

    def _require_open(self) -> None:
        if self._session is None:
            raise SessionClosedError(
                message("the session is closed", where=type(self).__name__, site=user_site(),
                        fix="make a new one; a `with` block closes its own")
            )  # fmt: skip


class SingularMonitoredSession(MonitoredSession):
    """As `MonitoredSession`, with the arguments of its creator; it gives its session away.

    Parameters
    ----------
    hooks : list of SessionRunHook, optional
    scaffold : Scaffold, optional
    master, config, device
        As for `ChiefSessionCreator`.
    checkpoint_dir, checkpoint_filename_with_path : None
        Checkpoints are not there yet.
    stop_grace_period_secs : float
    """

    _tells_faults_in_should_stop = True

    def __init__(
        self,
        hooks: Iterable[SessionRunHook] | None = None,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: Any = None,
        checkpoint_dir: None = None,
        stop_grace_period_secs: float = 120,
        checkpoint_filename_with_path: None = None,
        *,
        device: str | None = None,
    ) -> None:
        refuse_files(
            "SingularMonitoredSession", checkpoint_dir=checkpoint_dir,
            checkpoint_filename_with_path=checkpoint_filename_with_path,
        )  # fmt: skip
        creator = ChiefSessionCreator(scaffold, master, config, device=device)
        super().__init__(creator, hooks, stop_grace_period_secs)

    def raw_session(self) -> Any:
        """The session below; None once it is closed."""
        return self._session


def MonitoredTrainingSession(
    master: str = "",
    is_chief: bool = True,
    checkpoint_dir: None = None,
    scaffold: Scaffold | None = None,
    hooks: Iterable[SessionRunHook] | None = None,
    chief_only_hooks: Iterable[SessionRunHook] | None = None,
    save_checkpoint_secs: Any = _UNSET,
    save_summaries_steps: Any = _UNSET,
    save_summaries_secs: Any = _UNSET,
    config: Any = None,
    stop_grace_period_secs: float = 120,
    log_step_count_steps: int | None = 100,
    max_wait_secs: float = 7200,
    save_checkpoint_steps: Any = _UNSET,
    summary_dir: None = None,
    save_graph_def: bool = True,
    *,
    device: str | None = None,
) -> MonitoredSession:
    """Return a `MonitoredSession` for training in this process.

    Parameters
    ----------
    master : str
        Empty.
    is_chief : bool
        True: there are no other workers.
    scaffold : Scaffold, optional
    hooks, chief_only_hooks : list of SessionRunHook, optional
    config : ConfigProto, optional
    stop_grace_period_secs : float
        How long threads of the coordinator may take to end.
    log_step_count_steps, max_wait_secs, save_graph_def
        Accepted for TensorFlow's sake: without a directory for summaries it logs no steps either (pass a
        `StepCounterHook` for that), and nobody is waited for.
    checkpoint_dir, summary_dir, save_checkpoint_secs, save_checkpoint_steps, save_summaries_steps, \
save_summaries_secs : None
        Checkpoints and summaries are not there yet; None asks for none.
    device : str, optional
        As for `Session`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     w = gr.Variable(1.0)
    ...     double = w.assign(w * 2.0)
    ...     with gr.train.MonitoredTrainingSession() as sess:
    ...         print(sess.run(double), sess.run(double))
    2.0 4.0
    """
    where = "MonitoredTrainingSession"
    if not is_chief:
        raise GraphError(
            message("is_chief=False", where=where, site=user_site(),
                    expected="True: graphrun trains in one process")
        )  # fmt: skip
    asked = {
        "checkpoint_dir": checkpoint_dir, "summary_dir": summary_dir,
        "save_checkpoint_secs": save_checkpoint_secs, "save_checkpoint_steps": save_checkpoint_steps,
        "save_summaries_steps": save_summaries_steps, "save_summaries_secs": save_summaries_secs,
    }  # fmt: skip
    refuse_files(where, **{name: value for name, value in asked.items() if value is not _UNSET})
    every = [*require_hooks(chief_only_hooks, where), *require_hooks(hooks, where)]
    creator = ChiefSessionCreator(scaffold, master, config, device=device)
    return MonitoredSession(creator, every, stop_grace_period_secs)


def _fed_twice(key: Any, by_hook: bool, hook: Any) -> FeedError:
    other = "another hook" if by_hook else "the caller"
    return FeedError(
        message(
            f"'{getattr(key, 'name', key)}' is fed by {type(hook).__name__} and by {other}",
            where="MonitoredSession", expected="each tensor to be fed once",
        )
    )  # fmt: skip
