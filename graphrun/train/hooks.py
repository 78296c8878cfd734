"""What a hook is: code that runs beside each step of a `MonitoredSession`."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphrun.errors import DTypeError, message


class SessionRunArgs(NamedTuple):
    """What a hook wants of a run, beside what its caller asks for.

    Attributes
    ----------
    fetches : tensor, operation or structure of them
    feed_dict : dict, optional
    options : optional
        Accepted for TensorFlow's sake.
    """

    fetches: Any
    feed_dict: Any = None
    options: Any = None


class SessionRunValues(NamedTuple):
    """What a run gave to a hook: `results` has the structure of its `SessionRunArgs.fetches`."""

    results: Any
    options: Any = None
    run_metadata: Any = None


class SessionRunContext:
    """What a hook may know of a run, and that it may ask to stop.

    Parameters
    ----------
    original_args : SessionRunArgs
        What the caller of the run asked for.
    session : Session
        The session below, without hooks.
    """

    def __init__(self, original_args: SessionRunArgs, session: Any) -> None:
        self._original_args = original_args
        self._session = session
        self._stop_requested = False

    @property
    def original_args(self) -> SessionRunArgs:
        """What the caller of the run asked for."""
        return self._original_args

    @property
    def session(self) -> Any:
        """The session below, without hooks."""
        return self._session

    @property
    def stop_requested(self) -> bool:
        """Whether a hook has asked to stop."""
        return self._stop_requested

    def request_stop(self) -> None:
        """Let ``should_stop()`` be true from now on."""
        self._stop_requested = True


class SessionRunHook:
    """Base of hooks; a subclass defines what it needs.

    Examples
    --------
    >>> import graphrun as gr
    >>> class Tell(gr.train.SessionRunHook):
    ...     def before_run(self, run_context):
    ...         return gr.train.SessionRunArgs(loss)
    ...     def after_run(self, run_context, run_values):
    ...         print(run_values.results)
    >>> with gr.Graph().as_default():
    ...     w = gr.Variable(4.0)
    ...     loss = w * w
    ...     step = gr.train.GradientDescentOptimizer(0.25).minimize(loss)
    ...     with gr.train.MonitoredSession(hooks=[Tell()]) as sess:
    ...         sess.run(step)
    16.0
    """

    def begin(self) -> None:
        """Called once, before the graph is finalized; it may add to the graph."""

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Called when there is a session with initialized variables; the graph is finalized."""

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Called before each run; return what to fetch and to feed beside what the caller does."""
        return None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Called after each run that did not fail; it may call ``run_context.request_stop()``."""

    def end(self, session: Any) -> None:
        """Called at the end, unless an error has ended the session."""


def require_hooks(hooks: Any, where: str) -> list[SessionRunHook]:
    """The hooks as a list; a class instead of an object is the usual mistake."""
    found = list(hooks or [])
    for h in found:
        if isinstance(h, type) or not all(
            hasattr(h, name) for name in ("begin", "after_create_session", "before_run", "after_run", "end")
        ):
            raise DTypeError(
                message(f"{h!r} is no hook", where=where, expected="objects of subclasses of SessionRunHook")
            )
    return found
