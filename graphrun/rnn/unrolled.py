"""Recurrent networks over lists of tensors: a copy of the cell for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphrun.control.structure import flatten, is_nested, map_structure, pack_like, same_structure
from graphrun.dtypes import int32
from graphrun.errors import DTypeError, GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import concat, stack, unstack
from graphrun.ops.moving import reverse_sequence
from graphrun.ops.state import identity
from graphrun.rnn.base import batch_of, require_cell
from graphrun.rnn.lengths import first_state, held, lengths_of, require_depth
from graphrun.shapes import format_shape
from graphrun.variable_scope import variable_scope


def static_rnn(
    cell: Any,
    inputs: Any,
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """Apply a cell to a list of inputs, one for each step.

    Parameters
    ----------
    cell : cell
        As `nn.rnn_cell.GRUCell`.
    inputs : list of tensors ``(batch, depth)``, or of structures of them
        `gr.unstack(x, axis=1)` makes one of ``(batch, time, depth)``.
    initial_state : state of the cell, optional
        Zeros by default.
    dtype : dtype, optional
        Of the initial zeros; needed without `initial_state`.
    sequence_length : int vector ``(batch,)``, optional
        Behind its length, an example's outputs are zeros and its state stays.
    scope : str or VariableScope
        Of the variables; "rnn" by default.

    Returns
    -------
    outputs : list of tensors ``(batch, output_size)``
    state : the last state

    Raises
    ------
    GraphError, ShapeError, DTypeError
        If `inputs` is no list or is empty, if a depth is not known, if lengths are no vector, or if neither
        `initial_state` nor `dtype` is given.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     x = gr.placeholder(gr.float32, (None, 28, 28))
    ...     cell = gr.nn.rnn_cell.BasicLSTMCell(64)
    ...     outputs, state = gr.nn.static_rnn(cell, gr.unstack(x, axis=1), dtype=gr.float32)
    ...     print(len(outputs), outputs[-1].shape, state.c.shape, gr.trainable_variables()[0].name)
    28 (?, 64) (?, 64) rnn/basic_lstm_cell/kernel:0
    """
    require_cell(cell, "static_rnn")
    steps = _steps(inputs, "static_rnn")
    outputs: list[Any] = []
    with variable_scope(scope or "rnn") as opened:
        batch = batch_of(flatten(steps[0])[0])
        lengths = lengths_of(sequence_length, batch, "static_rnn")
        state = first_state(cell, initial_state, batch, dtype, "static_rnn")
        for time, x in enumerate(steps):
            if time > 0:
                opened.reuse_variables()
            output, new_state = cell(x, state)
            if lengths is not None:
                output, new_state = held(time, lengths, output, state, new_state)
            state = new_state
            outputs.append(output)
    return outputs, state


def _steps(inputs: Any, where: str) -> list[Any]:
    """The inputs of each step as tensors of known depth."""
    if not isinstance(inputs, list | tuple):
        raise DTypeError(
            message(f"inputs is a {type(inputs).__name__}", where=where, site=user_site(),
                    expected="a list with the inputs of each step",
                    fix="gr.unstack(x, axis=1) makes one of (batch, time, depth);"
                    " gr.nn.dynamic_rnn takes the whole tensor")
        )  # fmt: skip
    if not inputs:
        raise GraphError(
            message(
                "inputs is empty", where=where, site=user_site(), expected="the inputs of one step or more"
            )
        )
    steps = [map_structure(convert_to_tensor, x) for x in inputs]
    for k, step in enumerate(steps):
        if not same_structure(steps[0], step):
            raise GraphError(
                message(f"inputs[{k}] has another structure than inputs[0]", where=where, site=user_site(),
                        expected="the same structure in each step")
            )  # fmt: skip
        for t in flatten(step):
            require_depth(t, 1, where)
    known: dict[int, Tensor] = {}
    for t in (t for step in steps for t in flatten(step)):
        if t._shape is not None and t._shape[0] is not None:
            known.setdefault(t._shape[0], t)
    if len(known) > 1:
        raise ShapeError(
            message("inputs have different numbers of examples", where=where, site=user_site(),
                    got=[f"'{t.name}': {format_shape(t._shape)}" for t in known.values()],
                    expected="the same batch in each step")
        )  # fmt: skip
    return steps


def static_state_saving_rnn(
    cell: Any,
    inputs: Any,
    state_saver: Any,
    state_name: Any,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """As `static_rnn`, with the first state taken from `state_saver`, and the last one saved there.

    Parameters
    ----------
    state_saver : object
        With the methods ``state(name)`` and ``save_state(name, value)``, which returns an operation.
    state_name : str, or structure of str like the state
    """
    require_cell(cell, "static_state_saving_rnn")
    sizes = cell.state_size
    if is_nested(sizes) != is_nested(state_name) or not same_structure(sizes, state_name):
        raise GraphError(
            message("state_name does not match the state", where="static_state_saving_rnn", site=user_site(),
                    got=f"names: {state_name!r}   state_size: {sizes!r}",
                    expected="a name for each part of the state")
        )  # fmt: skip
    first = map_structure(state_saver.state, state_name)
    outputs, state = static_rnn(
        cell, inputs, initial_state=first, sequence_length=sequence_length, scope=scope
    )
    saved = [
        state_saver.save_state(name, part)
        for name, part in zip(flatten(state_name), flatten(state), strict=True)
    ]
    graph = flatten(outputs[-1])[0].graph
    with graph.control_dependencies(saved):
        outputs[-1] = map_structure(identity, outputs[-1])
    return outputs, state


def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any, Any]:
    """Apply a cell from the first step to the last, and another one from the last to the first.

    Parameters are those of `static_rnn`, for both directions.

    Returns
    -------
    outputs : list of tensors ``(batch, output_size of cell_fw + that of cell_bw)``
    state_fw, state_bw : the last states, that of `cell_bw` at the first step

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     xs = [gr.placeholder(gr.float32, (None, 3)) for _ in range(4)]
    ...     forth, back = gr.nn.rnn_cell.GRUCell(5), gr.nn.rnn_cell.GRUCell(5)
    ...     outputs, _, _ = gr.nn.static_bidirectional_rnn(forth, back, xs, dtype=gr.float32)
    ...     print(outputs[0].shape, gr.global_variables()[0].name)
    (?, 10) bidirectional_rnn/fw/gru_cell/gates/kernel:0
    """
    where = "static_bidirectional_rnn"
    require_cell(cell_fw, where, "cell_fw")
    require_cell(cell_bw, where, "cell_bw")
    steps = _steps(inputs, where)
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as forward:
            forth, state_fw = static_rnn(
                cell_fw, steps, initial_state_fw, dtype, sequence_length, scope=forward
            )
        with variable_scope("bw") as backward:
            turned = _turned(steps, sequence_length)
            back, state_bw = static_rnn(
                cell_bw, turned, initial_state_bw, dtype, sequence_length, scope=backward
            )
    back = _turned(back, sequence_length)
    outputs = [
        pack_like(a, [concat(pair, 1) for pair in zip(flatten(a), flatten(b), strict=True)])
        for a, b in zip(forth, back, strict=True)
    ]
    return outputs, state_fw, state_bw


def _turned(steps: Sequence[Any], lengths: Any) -> list[Any]:
    """The steps in reverse order, of each example up to its length."""
    if lengths is None:
        return list(steps)[::-1]
    columns = []
    for parts in zip(*(flatten(step) for step in steps), strict=True):
        whole = reverse_sequence(stack(list(parts)), convert_to_tensor(lengths, int32), 0, 1)
        columns.append(unstack(whole, len(steps)))
    return [pack_like(step, parts) for step, parts in zip(steps, zip(*columns, strict=True), strict=True)]
