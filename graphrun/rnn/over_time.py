"""Running cells over time: `static_rnn` step by step, `dynamic_rnn` as a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphrun.control.loops import while_loop
from graphrun.control.structure import flatten, is_nested, map_structure, pack_like
from graphrun.control.tensor_array import TensorArray
from graphrun.dtypes import as_dtype
from graphrun.errors import GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import concat, reshape, shape, stack, transpose, unstack, zeros, zeros_like
from graphrun.ops.array import reverse as reverse_axes
from graphrun.ops.compare import where
from graphrun.ops.convert import cast
from graphrun.ops.moving import reverse_sequence
from graphrun.ops.reduce import reduce_all
from graphrun.ops.state import constant
from graphrun.rnn.cells import dims_of_size, is_size, zero_state
from graphrun.shapes import format_shape
from graphrun.variable_scope import variable_scope


def _check_cell(cell: Any, where: str) -> None:
    if not (callable(cell) and hasattr(cell, "state_size") and hasattr(cell, "output_size")):
        raise GraphError(message(f"{cell!r} is no cell", where=where, site=user_site(),
                                 expected="an RNNCell, as gr.nn.rnn_cell.LSTMCell(128)"))  # fmt: skip


def _batch(x: Tensor, axis: int = 0) -> Any:
    known = x._shape[axis] if x._shape else None
    return known if known is not None else shape(x)[axis]


def _initial(cell: Any, state: Any, batch: Any, dtype: Any, where: str) -> Any:
    if state is not None:
        return map_structure(convert_to_tensor, state) if is_nested(state) else convert_to_tensor(state)
    if dtype is None:
        raise GraphError(
            message("neither initial_state nor dtype is given", where=where, site=user_site(),
                    fix="dtype=gr.float32 starts with zeros")
        )  # fmt: skip
    if hasattr(cell, "zero_state"):
        return cell.zero_state(batch, dtype)
    return zero_state(cell.state_size, batch, as_dtype(dtype))


def _lengths(sequence_length: Any, where: str) -> Tensor | None:
    if sequence_length is None:
        return None
    lengths = convert_to_tensor(sequence_length)
    if not lengths.dtype.is_integer or (lengths._shape is not None and len(lengths._shape) != 1):
        raise ShapeError(
            message("sequence_length is no vector of integers", where=where, site=user_site(),
                    got=f"'{lengths.name}': {format_shape(lengths._shape)} {lengths.dtype}",
                    expected="one integer for each sequence, shape (batch,)")
        )  # fmt: skip
    return cast(lengths, "int32")


def _chosen(running: Tensor, new: Any, old: Any) -> Any:
    """`new` for the sequences that go on, else `old`."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        if a._shape == () or b._shape == ():
            return a  # a counter, and the like
        rank = len(a._shape) if a._shape is not None else 2
        result = where(reshape(running, [-1] + [1] * (rank - 1)), a, b)
        if result._shape != a._shape and a._shape is not None:
            result.set_shape(a._shape)
        return result

    return map_structure(choose, new, old) if is_nested(new) else choose(new, old)


def static_rnn(
    cell: Any,
    inputs: Sequence[Any],
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """Run a cell over a list of inputs, with operations of their own for each step.

    Parameters
    ----------
    cell : RNNCell
    inputs : list of tensors (batch, depth)
    initial_state : state, optional
        Zeros of `dtype` by default.
    dtype : dtype, optional
    sequence_length : int vector (batch,), optional
        Behind a sequence's end its outputs are zeros and its state stays what it is.
    scope : str or VariableScope, optional
        By default ``"rnn"``.

    Returns
    -------
    outputs : list of tensors
    state : state
        The last one.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     steps = gr.unstack(gr.placeholder(gr.float32, (None, 5, 3)), axis=1)
    ...     outputs, state = gr.nn.static_rnn(gr.nn.rnn_cell.LSTMCell(4), steps, dtype=gr.float32)
    ...     print(len(outputs), outputs[-1].shape, [v.name for v in gr.trainable_variables()])
    5 (?, 4) ['rnn/lstm_cell/kernel:0', 'rnn/lstm_cell/bias:0']
    """
    _check_cell(cell, "static_rnn")
    if not isinstance(inputs, list | tuple) or not inputs:
        raise GraphError(
            message("inputs is no list of steps", where="static_rnn", site=user_site(),
                    got=type(inputs).__name__, expected="a list of one tensor (batch, depth) or more",
                    fix="gr.unstack(x, axis=1) makes one of (batch, time, depth)")
        )  # fmt: skip
    with variable_scope(scope or "rnn"):
        steps = [
            map_structure(convert_to_tensor, x) if is_nested(x) else convert_to_tensor(x) for x in inputs
        ]
        batch = _batch(flatten(steps[0])[0])
        state = _initial(cell, initial_state, batch, dtype, "static_rnn")
        lengths = _lengths(sequence_length, "static_rnn")
        outputs = []
        for k, x in enumerate(steps):
            output, new = cell(x, state)
            if lengths is not None:
                running = lengths > k
                output = _chosen(running, output, _zeros_like(output))
                new = _chosen(running, new, state)
            outputs.append(output)
            state = new
    return outputs, state


def _zeros_like(output: Any) -> Any:
    return map_structure(zeros_like, output) if is_nested(output) else zeros_like(output)


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
    """Run a cell over the time axis of `inputs`, as a loop.

    Parameters
    ----------
    cell : RNNCell
    inputs : tensor (batch, time, depth), or structure of such
        ``(time, batch, depth)`` with `time_major`.
    sequence_length : int vector (batch,), optional
        Behind a sequence's end its outputs are zeros and its state stays what it is.
    initial_state : state, optional
        Zeros of `dtype` by default.
    dtype : dtype, optional
    parallel_iterations, swap_memory
        Accepted for TensorFlow's sake.
    time_major : bool
    scope : str or VariableScope, optional
        By default ``"rnn"``.

    Returns
    -------
    outputs : tensor (batch, time, output_size), or structure of such
    state : state
        The last one of each sequence.

    Raises
    ------
    ShapeError
        If an input has no time axis, or its depth is not known.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     x = gr.placeholder(gr.float32, (None, None, 3))
    ...     outputs, state = gr.nn.dynamic_rnn(gr.nn.rnn_cell.GRUCell(4), x, dtype=gr.float32)
    ...     print(outputs.shape, state.shape)
    (?, ?, 4) (?, 4)
    """
    _check_cell(cell, "dynamic_rnn")
    with variable_scope(scope or "rnn"):
        flat = [convert_to_tensor(x) for x in flatten(inputs)]
        for x in flat:
            if x._shape is not None and len(x._shape) < 2 or x._shape is None:
                raise ShapeError(
                    message(f"'{x.name}' has no time axis", where="dynamic_rnn", site=user_site(),
                            got=format_shape(x._shape), expected="shape (batch, time, depth)")
                )  # fmt: skip
        if not time_major:
            flat = [_swapped(x) for x in flat]
        steps, batch = _batch(flat[0], 0), _batch(flat[0], 1)
        state = _initial(cell, initial_state, batch, dtype, "dynamic_rnn")
        lengths = _lengths(sequence_length, "dynamic_rnn")
        arrays = [TensorArray(x.dtype, steps).unstack(x) for x in flat]
        sizes = cell.output_size
        out_dtype = flatten(state)[0].dtype if flatten(state) else flat[0].dtype
        known_batch = flat[0]._shape[1] if flat[0]._shape else None
        outputs = [
            TensorArray(out_dtype, steps, element_shape=[known_batch, *dims_of_size(s)])
            for s in ([sizes] if is_size(sizes) else flatten(sizes))
        ]

        def body(time: Tensor, arrays_out: list[TensorArray], before: Any) -> Any:
            rows = [a.read(time) for a in arrays]
            x = pack_like(inputs, rows) if is_nested(inputs) else rows[0]
            output, new = cell(x, before)
            if lengths is not None:
                running = time < lengths
                output = _chosen(running, output, _zeros_like(output))
                new = _chosen(running, new, before)
            new = _as_before(new, before)
            written = [a.write(time, o) for a, o in zip(arrays_out, flatten(output), strict=True)]
            return time + 1, written, new

        _, outputs, state = while_loop(
            lambda time, *_: time < steps, body, (constant(0, name="time"), outputs, state),
            maximum_iterations=steps if isinstance(steps, int) else None,
        )  # fmt: skip
        stacked = [_named(a.stack(), steps) for a in outputs]
        if not time_major:
            stacked = [_swapped(x) for x in stacked]
        result = stacked[0] if is_size(sizes) else pack_like(sizes, stacked)
    return result, state


def _named(x: Tensor, steps: Any) -> Tensor:
    if isinstance(steps, int) and x._shape is not None:
        x.set_shape((steps, *x._shape[1:]))
    return x


def _as_before(new: Any, before: Any) -> Any:
    """The next state in the structure of the one before, so that lists and tuples may be mixed."""
    return pack_like(before, flatten(new)) if is_nested(before) else new


def _swapped(x: Tensor) -> Tensor:
    """With batch and time exchanged."""
    assert x._shape is not None
    return transpose(x, [1, 0, *range(2, len(x._shape))])


def _both(
    run: Callable[[Any, Any, Any, Any], Any], reverse: Callable[[Any], Any], inputs: Any, scope: Any
) -> tuple[Any, Any, Any, Any]:
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as forward:
            out_fw, state_fw = run("fw", inputs, forward, None)
        with variable_scope("bw") as backward:
            out_bw, state_bw = run("bw", reverse(inputs), backward, None)
        return out_fw, state_fw, reverse(out_bw), state_bw


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
    """Run one cell forward and another one backward over time; parameters are those of `dynamic_rnn`.

    Returns
    -------
    (output_fw, output_bw), (state_fw, state_bw)

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     cells = [gr.nn.rnn_cell.GRUCell(4) for _ in range(2)]
    ...     outputs, _ = gr.nn.bidirectional_dynamic_rnn(*cells, gr.ones([2, 5, 3]), dtype=gr.float32)
    ...     print(gr.concat(outputs, 2).shape)
    (2, 5, 8)
    """
    lengths = _lengths(sequence_length, "bidirectional_dynamic_rnn")

    def reverse(x: Any) -> Any:
        def one(t: Any) -> Tensor:
            t = convert_to_tensor(t)
            time, batch = (0, 1) if time_major else (1, 0)
            if lengths is None:
                return reverse_axes(t, [time])
            return reverse_sequence(t, lengths, seq_axis=time, batch_axis=batch)

        return map_structure(one, x) if is_nested(x) else one(x)

    def run(which: str, x: Any, within: Any, _: Any) -> Any:
        cell, start = (cell_fw, initial_state_fw) if which == "fw" else (cell_bw, initial_state_bw)
        return dynamic_rnn(cell, x, sequence_length, start, dtype, time_major=time_major, scope=within)

    out_fw, state_fw, out_bw, state_bw = _both(run, reverse, inputs, scope)
    return (out_fw, out_bw), (state_fw, state_bw)


def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Sequence[Any],
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Tensor], Any, Any]:
    """Run one cell forward and another one backward over a list of inputs.

    Parameters are those of `static_rnn`.

    Returns
    -------
    outputs : list of tensors
        Of each step, the forward output and the backward output side by side.
    state_fw, state_bw : state
    """
    lengths = _lengths(sequence_length, "static_bidirectional_rnn")

    def reverse(steps: Any) -> list[Any]:
        if lengths is None:
            return list(reversed(steps))
        return unstack(reverse_sequence(stack(steps), lengths, seq_axis=0, batch_axis=1), num=len(steps))

    def run(which: str, x: Any, within: Any, _: Any) -> Any:
        cell, start = (cell_fw, initial_state_fw) if which == "fw" else (cell_bw, initial_state_bw)
        return static_rnn(cell, x, start, dtype, sequence_length, within)

    out_fw, state_fw, out_bw, state_bw = _both(run, reverse, list(inputs), scope)
    return [concat([a, b], 1) for a, b in zip(out_fw, out_bw, strict=True)], state_fw, state_bw


def raw_rnn(
    cell: Any,
    loop_fn: Callable[..., Any],
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[TensorArray, Any, Any]:
    """Run a cell with a function that decides each step's input, state and end.

    Parameters
    ----------
    cell : RNNCell
    loop_fn : function
        ``loop_fn(time, cell_output, cell_state, loop_state)`` returns whether each sequence is finished, the
        next input, the next state, what to emit, and the next loop state.  First it is called with time 0 and
        None for the others.

    Returns
    -------
    emitted : TensorArray
    state : state
        The last one of each sequence.
    loop_state
        What `loop_fn` returned last.
    """
    _check_cell(cell, "raw_rnn")
    with variable_scope(scope or "rnn"):
        time = constant(0, name="time")
        finished, x, state, emit, loop_state = loop_fn(time, None, None, None)
        batch = _batch(flatten(x)[0])
        sizes = cell.output_size if emit is None else None
        dtype = flatten(x)[0].dtype
        if emit is None:
            zero = zero_state(sizes, batch, dtype)
            emit_dtypes = [dtype] * len(flatten(zero))
        else:
            zero = map_structure(
                lambda e: zeros([batch, *convert_to_tensor(e).shape.as_list()], e.dtype), emit
            )
            emit_dtypes = [e.dtype for e in flatten(emit)]
        has_loop_state = loop_state is not None
        carried = loop_state if has_loop_state else constant(0, name="loop_state")
        arrays = [TensorArray(d, 0, dynamic_size=True) for d in emit_dtypes]

        def body(time: Tensor, finished: Any, x: Any, arrays: Any, state: Any, loop_state: Any) -> Any:
            output, new = cell(x, state)
            after = time + 1
            result = loop_fn(after, output, new, loop_state if has_loop_state else None)
            done, next_x, next_state, emit, next_loop = result
            running = ~finished
            emitted = _chosen(running, emit if emit is not None else output, zero)
            kept = _as_before(_chosen(running, next_state, state), state)
            written = [a.write(time, e) for a, e in zip(arrays, flatten(emitted), strict=True)]
            next_loop = next_loop if has_loop_state else loop_state
            return after, finished | done, next_x, written, kept, next_loop

        _, _, _, arrays, state, carried = while_loop(
            lambda time, finished, *_: ~reduce_all(finished),
            body,
            (time, finished, x, arrays, state, carried),
        )
        emitted = arrays[0] if len(arrays) == 1 else pack_like(zero, arrays)
    return emitted, state, carried if has_loop_state else None
