"""`raw_rnn`: a recurrent network whose inputs, states and end a function decides step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphrun.control.loops import while_loop
from graphrun.control.structure import flatten, map_structure, pack_like
from graphrun.control.tensor_array import TensorArray
from graphrun.errors import DTypeError, GraphError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import shape, zeros
from graphrun.ops.compare import logical_not, logical_or, where
from graphrun.ops.reduce import reduce_all
from graphrun.ops.state import constant
from graphrun.rnn.base import batch_of, require_cell, size_dims
from graphrun.rnn.lengths import require_same
from graphrun.shapes import is_compatible, is_static
from graphrun.variable_scope import variable_scope


def raw_rnn(
    cell: Any,
    loop_fn: Callable[..., Any],
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Any, Any, Any]:
    """Apply a cell until all examples have finished; `loop_fn` chooses what goes in and what comes out.

    Parameters
    ----------
    cell : cell
    loop_fn : function
        ``loop_fn(time, output, state, loop_state)`` is called with time 0 and None before the first step, and
        after each step with the time of the next one and what the cell has returned.  It returns
        ``(finished, next_input, next_state, emit, next_loop_state)``:

        - `finished`, a bool vector ``(batch,)``: which examples need no further step;
        - the input and the state of the next step, at time 0 the first ones;
        - what is emitted for this step; at time 0 a structure of tensors that have the shape and dtype of it
          for one example, or None for the cell's output;
        - anything that a loop can carry, or None.
    parallel_iterations, swap_memory
        Accepted for TensorFlow's sake.
    scope : str or VariableScope
        Of the variables; "rnn" by default.

    Returns
    -------
    emitted : TensorArray, or structure of them
        With a row for each step; zeros for an example that had finished before.
    state : the last state of each example
    loop_state : the last one, or None

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     cell, x, n = gr.nn.rnn_cell.GRUCell(4), gr.ones([2, 3]), gr.constant([1, 3])
    ...     def loop_fn(time, output, state, loop_state):
    ...         state = cell.zero_state(2, gr.float32) if output is None else state
    ...         return time >= n, x, state, output, None
    ...     emitted, state, _ = gr.nn.raw_rnn(cell, loop_fn)
    ...     with gr.Session() as sess:
    ...         sess.run(gr.global_variables_initializer())
    ...         print(sess.run(emitted.stack()).shape)
    (3, 2, 4)
    """
    require_cell(cell, "raw_rnn")
    if not callable(loop_fn):
        raise DTypeError(
            message(f"loop_fn is a {type(loop_fn).__name__}", where="raw_rnn", site=user_site(),
                    expected="a function of time, output, state and loop_state")
        )  # fmt: skip
    with variable_scope(scope or "rnn"):
        time = constant(0, name="time")
        finished, x, state, emit, loop_state = _asked(loop_fn, time, None, None, None)
        x, state = map_structure(convert_to_tensor, x), map_structure(_as_part, state)
        batch = batch_of(flatten(x)[0])
        zero = _zero_emit(cell, emit, state, batch)
        has_loop_state = loop_state is not None
        carried = loop_state if has_loop_state else constant(0, name="loop_state")
        arrays = [
            TensorArray(z.dtype, 0, dynamic_size=True, element_shape=z._shape, tensor_array_name="emit")
            for z in flatten(zero)
        ]

        def body(time: Tensor, done: Tensor, x: Any, arrays: Any, state: Any, loop_state: Any) -> Any:
            output, new_state = cell(x, state)
            ended, next_x, next_state, emit, next_loop_state = _asked(
                loop_fn, time + 1, output, new_state, loop_state if has_loop_state else None
            )
            for what, before, after in (
                ("input", x, next_x), ("state", state, next_state), ("emitted structure", zero, emit),
            ):  # fmt: skip
                require_same(before, after, f"loop_fn returns another {what} than at time 0", "raw_rnn")
            emit = pack_like(zero, [_held(done, z, e) for z, e in _pairs(zero, emit)])
            state = pack_like(state, [_held(done, old, new) for old, new in _pairs(state, next_state)])
            x = pack_like(x, [_shaped(new, old) for old, new in _pairs(x, next_x)])
            rows = [a.write(time, e) for a, e in zip(arrays, flatten(emit), strict=True)]
            if not has_loop_state or next_loop_state is None:
                next_loop_state = loop_state
            return time + 1, _shaped(logical_or(done, ended), done), x, rows, state, next_loop_state

        _, _, _, arrays, state, carried = while_loop(
            lambda time, done, *_: logical_not(reduce_all(done)),
            body,
            (time, finished, x, arrays, state, carried),
            parallel_iterations=parallel_iterations or 32,
            swap_memory=swap_memory,
        )
        return pack_like(zero, arrays), state, carried if has_loop_state else None


def _asked(loop_fn: Callable[..., Any], *arguments: Any) -> Any:
    result = loop_fn(*arguments)
    if not isinstance(result, list | tuple) or len(result) != 5:
        count = f" of {len(result)}" if isinstance(result, list | tuple) else ""
        raise GraphError(
            message(f"loop_fn returns a {type(result).__name__}{count}", where="raw_rnn", site=user_site(),
                    expected="(finished, next_input, next_state, emit, next_loop_state)")
        )  # fmt: skip
    return (convert_to_tensor(result[0]), *result[1:])


def _zero_emit(cell: Any, emit: Any, state: Any, batch: Any) -> Any:
    """Zeros in the structure of what is emitted in a step."""
    if emit is None:
        dtype = flatten(state)[0].dtype
        return map_structure(lambda size: zeros([batch, *size_dims(size)], dtype), cell.output_size)

    def of_one(example: Any) -> Tensor:
        t = convert_to_tensor(example)
        if t._shape is None:
            raise GraphError(
                message(f"'{t.name}', which is emitted at time 0, has an unknown rank", where="raw_rnn",
                        site=user_site(), fix="x.set_shape(...)")
            )  # fmt: skip
        dims = t._shape if is_static(t._shape) else [shape(t)[k] for k in range(len(t._shape))]
        return zeros([batch, *dims], t.dtype)

    return map_structure(of_one, emit)


def _as_part(x: Any) -> Any:
    return x if isinstance(x, TensorArray) else convert_to_tensor(x)


def _pairs(a: Any, b: Any) -> Any:
    return zip(flatten(a), flatten(b), strict=True)


def _held(done: Tensor, before: Any, after: Any) -> Any:
    """What was before for examples that have finished; scalars and arrays belong to no example."""
    if isinstance(before, TensorArray) or before._shape == ():
        return after
    return _shaped(where(done, before, convert_to_tensor(after, before.dtype)), before)


def _shaped(new: Any, old: Any) -> Any:
    """`new`, with what is known of the shape of `old`, which it keeps in all steps."""
    t = convert_to_tensor(new, old.dtype)
    if old._shape is not None and t._shape != old._shape and is_compatible(t._shape, old._shape):
        t.set_shape(old._shape)
    return t
