"""The default graph and the default session of each thread.

The session stack holds whatever a session is; this module does not know the class, so that graphs can
run themselves (``tensor.eval()``) without importing anything above them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from graphrun.errors import GraphError, message


class _Stacks(threading.local):
    def __init__(self) -> None:
        self.graphs: list[Any] = []
        self.sessions: list[Any] = []


_stacks = _Stacks()
_global_graph: Any = None
_lock = threading.Lock()
_session_kind: Callable[..., Any] | None = None


def get_default_graph() -> Any:
    """The graph that new operations of this thread go into."""
    if _stacks.graphs:
        return _stacks.graphs[-1]
    global _global_graph
    if _global_graph is None:
        from graphrun.graph.graph import Graph

        with _lock:
            if _global_graph is None:
                _global_graph = Graph()
    return _global_graph


def reset_default_graph() -> None:
    """Forget the global default graph; the next operation starts a new one."""
    if _stacks.graphs:
        raise GraphError(
            message(
                "reset_default_graph() inside of `with graph.as_default():`",
                fix="leave the block first, or make a new gr.Graph()",
            )
        )
    global _global_graph
    _global_graph = None


@contextmanager
def _pushed(stack: list[Any], item: Any) -> Iterator[Any]:
    stack.append(item)
    try:
        yield item
    finally:
        # Removed by identity from the top, since InteractiveSession may leave entries above.
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is item:
                del stack[i]
                break


def graph_as_default(graph: Any) -> Any:
    return _pushed(_stacks.graphs, graph)


def session_as_default(session: Any) -> Any:
    return _pushed(_stacks.sessions, session)


def get_default_session() -> Any:
    """The innermost session of this thread that was entered with ``with``, or None."""
    return _stacks.sessions[-1] if _stacks.sessions else None


def install_session(kind: Callable[..., Any]) -> None:
    """Say what makes sessions; called by the module that defines them."""
    global _session_kind
    _session_kind = kind


def new_session(**arguments: Any) -> Any:
    """A session, for what stands below the class."""
    assert _session_kind is not None, "graphrun.session is not imported"
    return _session_kind(**arguments)


def session_for(session: Any, what: str) -> Any:
    """`session` if given, else the default session, else an error that says what to do."""
    found = session if session is not None else get_default_session()
    if found is None:
        raise GraphError(
            message(
                f"{what} needs a session, and there is no default session",
                fix="write it inside of `with gr.Session():`, or pass session=...",
            )
        )
    return found
