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


def op_scope(values: Any, name: str | None, default_name: str | None = None) -> Any:
    """The older form of `name_scope`: the tensors come first."""
    return name_scope(name, default_name, values)


def device(device_name_or_function: Any) -> Any:
    """Ask for a device for new operations: ``with gr.device("/gpu:0"):``.

    Parameters
    ----------
    device_name_or_function : str, function or None
        A name; a function that takes an operation and returns a name, or ``""`` for no wish; or None, which
        leaves such blocks.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     with gr.device(lambda op: "/cpu:0" if op.type == "MatMul" else "/gpu:0"):
    ...         print(gr.matmul([[1.0]], [[2.0]]).device, gr.constant(1.0).device)
    cpu:0 opencl:0
    """
    return get_default_graph().device(device_name_or_function)


def control_dependencies(control_inputs: Iterable[Any] | None) -> Any:
    """Let new operations run after `control_inputs`; see `Graph.control_dependencies`."""
    return get_default_graph().control_dependencies(control_inputs)


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """A collection of the default graph."""
    return get_default_graph().get_collection(key, scope)


def add_to_collection(name: str, value: Any) -> None:
    """Add to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


def get_collection_ref(key: str) -> list[Any]:
    """A collection of the default graph itself, and not a copy of it: what is appended to it is in it."""
    return get_default_graph().get_collection_ref(key)


def add_to_collections(names: str | Iterable[str], value: Any) -> None:
    """Add `value` to several collections of the default graph."""
    get_default_graph().add_to_collections(names, value)
