"""The variable that counts training steps."""

from __future__ import annotations

from typing import Any

from graphrun import dtypes
from graphrun.errors import GraphError, message
from graphrun.graph.default import get_default_graph
from graphrun.graph.graph import GraphKeys
from graphrun.graph.site import user_site
from graphrun.initializers import zeros as zeros_initializer
from graphrun.ops.state import Variable
from graphrun.variable_scope import get_variable


def get_global_step(graph: Any = None) -> Variable | None:
    """The graph's step counter, or None: what is in its collection, or a variable named ``global_step``."""
    graph = graph or get_default_graph()
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        raise GraphError(
            message(
                f"the collection {GraphKeys.GLOBAL_STEP!r} holds {len(found)} variables",
                site=user_site(),
                got=", ".join(v.name for v in found),
                expected="one step counter in a graph",
            )
        )
    if not found:
        every = graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
        found = [v for v in every if v.name == "global_step:0"]
        if not found:
            return None
    assert_global_step(found[0])
    return found[0]


def create_global_step(graph: Any = None) -> Variable:
    """Make the graph's step counter: an int64 variable that starts at 0 and is not trainable.

    It is made by `gr.get_variable`, so that inside of ``gr.variable_scope("s")`` it is ``s/global_step``.

    Parameters
    ----------
    graph : Graph, optional
        The default graph.

    Raises
    ------
    GraphError
        The graph has a step counter.
    """
    graph = graph or get_default_graph()
    if get_global_step(graph) is not None:
        raise GraphError(
            message(
                "the graph has a step counter already",
                where="create_global_step",
                site=user_site(),
                fix="use gr.train.get_or_create_global_step()",
            )
        )
    with graph.as_default(), graph.name_scope(None):
        found: Variable = get_variable(
            GraphKeys.GLOBAL_STEP,
            [],
            dtypes.int64,
            zeros_initializer(),
            trainable=False,
            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP],
        )
        return found


def get_or_create_global_step(graph: Any = None) -> Variable:
    """The graph's step counter, made where it has none.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     step = gr.train.get_or_create_global_step()
    ...     print(step.name, step.dtype, gr.train.get_or_create_global_step() is step)
    global_step:0 int64 True
    """
    found = get_global_step(graph)
    return create_global_step(graph) if found is None else found


def assert_global_step(global_step_tensor: Any) -> None:
    """Raise unless the step counter is an integer scalar."""
    v = global_step_tensor
    if not v.dtype.is_integer or (v.shape.ndims is not None and v.shape.ndims != 0):
        raise GraphError(
            message(
                f"step counter '{v.name}' is no integer scalar",
                site=user_site(),
                got=f"{v.shape} {v.dtype}",
                expected="a variable made with gr.train.create_global_step()",
            )
        )


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The value of the step counter in session `sess`."""
    return int(sess.run(global_step_tensor))
