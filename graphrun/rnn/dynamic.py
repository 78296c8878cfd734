"""Recurrent networks over the time axis of tensors, as loops of the graph."""

from __future__ import annotations

from typing import Any

from graphrun.control.loops import while_loop
from graphrun.control.structure import flatten, map_structure, pack_like
from graphrun.control.tensor_array import TensorArray
from graphrun.dtypes import as_dtype
from graphrun.errors import ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import reverse, transpose
from graphrun.ops.moving import reverse_sequence
from graphrun.ops.state import constant
from graphrun.rnn.base import batch_of, require_cell, size_dims
from graphrun.rnn.lengths import first_state, held, lengths_of, require_depth, require_same
from graphrun.shapes import format_shape, is_compatible
from graphrun.variable_scope import variable_scope


def dynamic_rnn(
    cell: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """Apply a cell to all steps of `inputs`, whose number need not be known before the graph runs.

    Parameters
    ----------
    cell : cell
        As `nn.rnn_cell.GRUCell`.
    inputs : tensor ``(batch, time, depth)``, or structure of such
        ``(time, batch, depth)`` with `time_major`.  Batch and time may be unknown, the depth may not.
    sequence_length : int vector ``(batch,)``, optional
        Behind its length, an example's outputs are zeros and its state stays.
    initial_state : state of the cell, optional
        Zeros by default.
    dtype : dtype, optional
        Of the initial zeros and of the outputs; needed without `initial_state`.
    parallel_iterations, swap_memory
        Accepted for TensorFlow's sake.
    time_major : bool
        Whether time is the first axis, of inputs and outputs; saves two transpositions.
    scope : str or VariableScope
        Of the variables; "rnn" by default.

    Returns
    -------
    outputs : tensor ``(batch, time, output_size)``, or structure of such
    state : the last state of each example

    Raises
    ------
    ShapeError, GraphError, DTypeError
        If inputs have no time axis, if a depth is not known, if lengths are no vector, or if neither
        `initial_state` nor `dtype` is given.

    Notes
    -----
    The loop makes as many steps as `inputs` has, whatever the lengths are.  Where that number is known from
    shapes, as it is when inputs are fed, the compiler unrolls it.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     x = gr.placeholder(gr.float32, (None, None, 3))
    ...     n = gr.placeholder(gr.int32, (None,))
    ...     cell = gr.nn.rnn_cell.GRUCell(4)
    ...     outputs, state = gr.nn.dynamic_rnn(cell, x, sequence_length=n, dtype=gr.float32)
    ...     print(outputs.shape, state.shape, gr.trainable_variables()[0].name)
    (?, ?, 4) (?, 4) rnn/gru_cell/gates/kernel:0
    """
    where = "dynamic_rnn"
    require_cell(cell, where)
    with variable_scope(scope or "rnn"):
        sequences = [convert_to_tensor(x) for x in flatten(inputs)]
        for x in sequences:
            require_depth(x, 2, where)
        if not time_major:
            sequences = [_swapped(x) for x in sequences]
        steps, batch = (_common(sequences, axis, what, where) for axis, what in enumerate(("time", "batch")))
        lengths = lengths_of(sequence_length, batch, where)
        state = first_state(cell, initial_state, batch, dtype, where)
        arrays = [TensorArray(x.dtype, steps, tensor_array_name="input").unstack(x) for x in sequences]
        out_dtype = flatten(state)[0].dtype if dtype is None else as_dtype(dtype)
        size = cell.output_size
        known = batch if isinstance(batch, int) else None
        written = [
            TensorArray(out_dtype, steps, tensor_array_name="output", element_shape=[known, *size_dims(s)])
            for s in flatten(size)
        ]

        def body(time: Tensor, written: list[TensorArray], before: Any) -> Any:
            output, after = cell(pack_like(inputs, [array.read(time) for array in arrays]), before)
            _check_step(cell, output, before, after)
            after = pack_like(before, flatten(after))  # so that lists may stand for tuples
            if lengths is not None:
                output, after = held(time, lengths, output, before, after)
            for old, new in zip(flatten(before), flatten(after), strict=True):
                if isinstance(old, Tensor) and isinstance(new, Tensor) and old._shape is not None:
                    if is_compatible(old._shape, new._shape) and new._shape != old._shape:
                        new.set_shape(old._shape)
            rows = [array.write(time, y) for array, y in zip(written, flatten(output), strict=True)]
            return time + 1, rows, after

        _, written, state = while_loop(
            lambda time, *_: time < steps, body, (constant(0, name="time"), written, state),
            parallel_iterations=parallel_iterations or 32, swap_memory=swap_memory,
            maximum_iterations=steps,
        )  # fmt: skip
        outputs = [array.stack() for array in written]
        for y in outputs:
            if isinstance(steps, int) and y._shape is not None:
                y.set_shape((steps, *y._shape[1:]))
        if not time_major:
            outputs = [_swapped(y) for y in outputs]
        return pack_like(size, outputs), state


def _common(sequences: list[Tensor], axis: int, what: str, where: str) -> Any:
    """The size that all have along an axis: an int where one of them knows it, else a tensor."""
    known = {t._shape[axis] for t in sequences if t._shape is not None and t._shape[axis] is not None}
    if len(known) > 1:
        raise ShapeError(
            message(f"inputs have different sizes of {what}", where=where, site=user_site(),
                    got=[f"'{t.name}': {format_shape(t._shape)}" for t in sequences],
                    expected=f"the same {what} in all")
        )  # fmt: skip
    return known.pop() if known else batch_of(sequences[0], axis)


def _check_step(cell: Any, output: Any, before: Any, after: Any) -> None:
    where = f"dynamic_rnn of {type(cell).__name__}"
    require_same(before, after, "the cell returns a state of another structure", where)
    require_same(cell.output_size, output, "the cell's output has another structure than output_size", where)


def _swapped(x: Tensor) -> Tensor:
    """With batch and time exchanged."""
    assert x._shape is not None
    return transpose(x, [1, 0, *range(2, len(x._shape))])


def bidirectional_dynamic_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Apply a cell from the first step to the last, and another one from the last to the first.

    Parameters are those of `dynamic_rnn`, for both directions; the scope is "bidirectional_rnn" by default.

    Returns
    -------
    (outputs_fw, outputs_bw)
        Both in the order of `inputs`; ``gr.concat(outputs, 2)`` joins them.
    (state_fw, state_bw)
        The last states, that of `cell_bw` at the first step.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     forth, back = gr.nn.rnn_cell.GRUCell(4), gr.nn.rnn_cell.GRUCell(4)
    ...     outputs, states = gr.nn.bidirectional_dynamic_rnn(
    ...         forth, back, gr.ones([2, 5, 3]), dtype=gr.float32)
    ...     print(gr.concat(outputs, 2).shape, gr.global_variables()[0].name)
    (2, 5, 8) bidirectional_rnn/fw/gru_cell/gates/kernel:0
    """
    where = "bidirectional_dynamic_rnn"
    require_cell(cell_fw, where, "cell_fw")
    require_cell(cell_bw, where, "cell_bw")
    settings: dict[str, Any] = {
        "dtype": dtype, "parallel_iterations": parallel_iterations, "swap_memory": swap_memory,
        "time_major": time_major,
    }  # fmt: skip
    inputs = map_structure(convert_to_tensor, inputs)
    for x in flatten(inputs):
        require_depth(x, 2, where)
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as forward:
            forth, state_fw = dynamic_rnn(
                cell_fw, inputs, sequence_length, initial_state_fw, scope=forward, **settings
            )
        with variable_scope("bw") as backward:
            turned = _turned(inputs, sequence_length, time_major)
            back, state_bw = dynamic_rnn(
                cell_bw, turned, sequence_length, initial_state_bw, scope=backward, **settings
            )
    return (forth, _turned(back, sequence_length, time_major)), (state_fw, state_bw)


def _turned(sequences: Any, lengths: Any, time_major: bool) -> Any:
    """In the reverse order of time, each example up to its length."""
    time, batch = (0, 1) if time_major else (1, 0)
    if lengths is None:
        return map_structure(lambda x: reverse(x, [time]), sequences)
    return map_structure(lambda x: reverse_sequence(x, lengths, time, batch), sequences)
