"""Sessions that callables run in where the user gives none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphrun.compiler.ir import StateKey
from graphrun.graph.graph import Graph
from graphrun.ops.state import Variable, global_variables, local_variables, variables_initializer
from graphrun.session import Session

_EXTRA = "callables_session"


def shared_session(graph: Graph) -> Session:
    """The session that all callables of a graph share, so that they see the same variables."""
    session: Session | None = graph.extras.get(_EXTRA)
    if session is None:
        session = graph.extras[_EXTRA] = Session(graph=graph)
    return session


def initialize_missing(session: Session) -> None:
    """Give variables that have no value yet their initial one."""
    with session.graph.as_default():
        missing = without_value(session, (*global_variables(), *local_variables()))
        if not missing:
            return
        known = session.graph.extras.setdefault("callables_initializers", {})
        key = tuple(v.op for v in missing)
        if key not in known:
            known[key] = variables_initializer(missing)
        session.run(known[key])


def without_value(session: Session, variables: Iterable[Any]) -> list[Variable]:
    """Those of `variables` that have no value in a session."""
    return [v for v in variables if not session._store.cell(StateKey(v.op)).initialized]
