"""The scopes and collections of the default graph, as functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from graphrun.graph.default import get_default_graph


@contextmanager
def name_scope(name: str | None, default_name: str | None = None, values: Any = None) -> Iterator[str]:
    """Put ``name/`` before the names of new operations; `default_name` is used where `name` is None.

    `values` may hold tensors, whose graph becomes the default one inside.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.name_scope("layer"):
    ...     print(gr.constant(1.0, name="a").name)
    layer/a:0
    """
    graph = next((v.graph for v in values or () if hasattr(v, "graph")), None) or get_default_graph()
    with graph.as_default(), graph.name_scope(default_name if name is None else name) as scope:
        yield scope


def device(name: Any) -> Any:
    """Ask for a device for new operations: ``with gr.device("/gpu:0"):``."""
    return get_default_graph().device(name)


def control_dependencies(inputs: Iterable[Any] | None) -> Any:
    """Let new operations run after `inputs`; see `Graph.control_dependencies`."""
    return get_default_graph().control_dependencies(inputs)


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """A collection of the default graph."""
    return get_default_graph().get_collection(key, scope)


def add_to_collection(name: str, value: Any) -> None:
    """Add to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)
