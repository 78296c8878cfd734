"""`tuple`: tensors that are there only once all of them are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphrun.errors import GraphError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Operation
from graphrun.graph.site import user_site
from graphrun.ops.indexed_slices import IndexedSlices
from graphrun.ops.state import group, identity


def tuple_(tensors: Iterable[Any], name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """Return the tensors anew; each waits for all of them, and for `control_inputs`.

    Parameters
    ----------
    tensors : list of tensor, IndexedSlices or None
        None stays None.
    name : str, optional
    control_inputs : list of operation or tensor, optional

    Returns
    -------
    list
        As long as `tensors`.

    Raises
    ------
    GraphError
        If there is no tensor among them.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     v = gr.Variable(1.0)
    ...     sess.run(v.initializer)
    ...     one, _ = gr.tuple([gr.constant(7), v.assign_add(1.0)])
    ...     print(sess.run(one), sess.run(v))
    7 2.0
    """
    given = [t if t is None or isinstance(t, IndexedSlices) else convert_to_tensor(t) for t in tensors]
    there = [t for t in given if t is not None]
    if not there:
        raise GraphError(
            message(f"tuple of {given}", site=user_site(), expected="one tensor at least, beside None")
        )
    graph = there[0].graph
    waits: list[Any] = [*there, *(control_inputs or ())]
    with graph.as_default(), graph.name_scope(name or "tuple"):
        gate = group(*[t.op if isinstance(t, IndexedSlices) else t for t in waits])
        return [None if t is None else _behind(gate, t) for t in given]


def _behind(gate: Operation, t: Any) -> Any:
    with gate.graph.control_dependencies([gate]):
        if isinstance(t, IndexedSlices):
            values = identity(t.values, "control_dependency")
            return IndexedSlices(values, identity(t.indices), t.dense_shape)
        return identity(t, "control_dependency")
