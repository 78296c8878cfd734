"""What all cells of recurrent networks share: their state's sizes, zero states, names and variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphrun.control.structure import flatten, is_nested, map_structure
from graphrun.errors import DTypeError, GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.scopes import name_scope
from graphrun.graph.site import user_site
from graphrun.layers.base import InputSpec, Layer, last_size
from graphrun.ops import array
from graphrun.shapes import as_shape, format_shape
from graphrun.variable_scope import get_variable_scope, variable_scope


class RNNCell(Layer):
    """Base of cells, and of your own: one step of a recurrent network.

    A cell has `state_size` and `output_size`, and maps inputs and a state to an output and the next state.
    Override `call(inputs, state)`, and make variables in `build` by `add_weight`, or in `call` by
    `gr.get_variable`; or override ``__call__(inputs, state, scope=None)`` and open a scope yourself.

    Parameters
    ----------
    trainable : bool
    name : str, optional
        Its scope; by default its class's name.
    dtype : dtype, optional
        Of its variables; that of the inputs by default.

    Examples
    --------
    >>> import graphrun as gr
    >>> class Leaky(gr.nn.rnn_cell.RNNCell):
    ...     state_size = output_size = 3
    ...     def call(self, inputs, state):
    ...         w = gr.get_variable("w", [inputs.shape[1], 3])
    ...         state = 0.9 * state + 0.1 * gr.matmul(inputs, w)
    ...         return state, state
    >>> with gr.Graph().as_default():
    ...     x = gr.placeholder(gr.float32, (None, 10, 2))
    ...     outputs, state = gr.nn.dynamic_rnn(Leaky(), x, dtype=gr.float32)
    ...     print(outputs.shape, [v.name for v in gr.global_variables()])
    (?, 10, 3) ['rnn/leaky/w:0']
    """

    def __init__(
        self, trainable: bool = True, name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(trainable=trainable, name=name, dtype=dtype, **kwargs)

    @property
    def state_size(self) -> Any:
        """Sizes of the state: an int, a shape, or a structure of them, all without the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no state_size")

    @property
    def output_size(self) -> Any:
        """Size of the output: an int, a shape, or a structure of them, without the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no output_size")

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """One step.

        Parameters
        ----------
        inputs : tensor ``(batch, depth)``
        state : structure of tensors, as `state_size`
        scope : str or VariableScope, optional
            Where the variables are, in place of the cell's own name; counts at the first call.

        Returns
        -------
        output, state
        """
        if scope is None:
            around: Any = get_variable_scope()
            if self._scope is None:
                self._around = around
            around = getattr(self, "_around", around)
        else:
            around = scope
        with variable_scope(around, custom_getter=self._noted) as entered:
            if self._scope is None and scope is not None:
                self._wanted = entered
            return super().__call__(inputs, state)

    def _noted(self, getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Keep what `get_variable` gives in `call` as a variable of the cell."""
        variable = getter(*args, **kwargs)
        if variable not in self._variables:
            self._variables.append(variable)
        return variable

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """Zeros in the structure of `state_size`.

        Parameters
        ----------
        batch_size : int or int32 scalar tensor
        dtype : dtype
        """
        with name_scope(f"{type(self).__name__}ZeroState", values=[batch_size]):
            return zeros_of(self.state_size, batch_size, dtype)

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
        """`zero_state` for the batch and the dtype of `inputs`, where those are not given."""
        if inputs is not None:
            x = convert_to_tensor(inputs)
            batch_size = batch_of(x) if batch_size is None else batch_size
            dtype = x.dtype if dtype is None else dtype
        if batch_size is None or dtype is None:
            raise GraphError(
                message("get_initial_state without batch_size or dtype", site=user_site(),
                        expected="both of them, or inputs")
            )  # fmt: skip
        return self.zero_state(batch_size, dtype)


class LayerRNNCell(RNNCell):
    """A cell whose variables are made in `build`, in a scope of the cell's name."""

    _units: int

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *args: Any, **kwargs: Any) -> Any:
        if self._scope is None and scope is not None:
            self._wanted = scope
        return Layer.__call__(self, inputs, state, *args, **kwargs)

    def _check(self, tensors: Sequence[Tensor]) -> None:
        shape = tensors[0]._shape
        known = self.input_spec.axes.get(-1) if self.input_spec is not None else None
        if shape is None:
            return
        if len(shape) != 2:
            raise ShapeError(
                message(
                    f"the inputs '{tensors[0].name}' are no matrix", where=self._where(), site=user_site(),
                    got=f"shape {format_shape(shape)}", expected="shape (batch, depth): one step",
                    fix="gr.nn.dynamic_rnn applies a cell to all steps of (batch, time, depth)"
                    if len(shape) == 3 else "gr.expand_dims(x, 0) makes a batch of one",
                )
            )  # fmt: skip
        if known is not None and shape[1] is not None and shape[1] != known:
            raise ShapeError(
                message(
                    f"the inputs '{tensors[0].name}' have another depth than those of the first call",
                    where=self._where(), site=user_site(), got=f"shape {format_shape(shape)}",
                    expected=f"depth {known}, for which its variables were made in scope '{self.scope_name}'",
                    fix="a cell has one set of variables: make one for each use, as"
                    f" MultiRNNCell([{type(self).__name__}(n) for _ in range(layers)])",
                )
            )  # fmt: skip

    def _depth(self, input_shape: Any) -> int:
        """The depth of the inputs, which is noted as the one that this cell takes."""
        size = last_size(self, input_shape)
        self.input_spec = InputSpec(ndim=2, axes={-1: size})
        return size

    def _where(self) -> str:
        return f"{type(self).__name__} '{self._base_name}'"

    def _state(self, state: Any, size: int, what: str = "state") -> Tensor:
        """A state of that size, as a tensor."""
        if is_nested(state):
            raise DTypeError(
                message(f"the {what} is a {type(state).__name__}", where=self._where(), site=user_site(),
                        expected=f"one tensor (batch, {size})", fix="cell.zero_state(batch, dtype) makes it")
            )  # fmt: skip
        t = convert_to_tensor(state)
        if t._shape is not None and (len(t._shape) != 2 or t._shape[1] not in (None, size)):
            raise ShapeError(
                message(f"the {what} '{t.name}' has another shape", where=self._where(), site=user_site(),
                        got=format_shape(t._shape), expected=f"(batch, {size})",
                        fix="cell.zero_state(batch, dtype) makes it")
            )  # fmt: skip
        return t


def is_cell(cell: Any) -> bool:
    """Whether it can stand where a cell is wanted; it need not be an `RNNCell`."""
    return callable(cell) and all(
        hasattr(type(cell), name) or name in vars(cell)
        for name in ("output_size", "state_size", "zero_state")
    )


def require_cell(cell: Any, where: str, argument: str = "cell") -> None:
    if is_cell(cell):
        return
    kind = f"the class {cell.__name__}" if isinstance(cell, type) else f"a {type(cell).__name__}"
    raise DTypeError(
        message(f"{argument} is {kind}", where=where, site=user_site(),
                expected="a cell: something with output_size, state_size and zero_state that can be called",
                fix="gr.nn.rnn_cell.GRUCell(128) is one")
    )  # fmt: skip


# -- sizes and structures -----------------------------------------------------------------------------


def size_dims(size: Any) -> tuple[Any, ...]:
    """The dimensions of an int or a shape."""
    dims = as_shape(size)
    if dims is None:
        raise ShapeError(message("a size of unknown rank", site=user_site(), expected="an int or a shape"))
    return dims


def zeros_of(sizes: Any, batch_size: Any, dtype: Any) -> Any:
    """Zeros ``(batch, *size)`` for each of `sizes`."""
    return map_structure(lambda size: array.zeros([batch_size, *size_dims(size)], dtype), sizes)


def batch_of(x: Tensor, axis: int = 0) -> Any:
    """The size of the batch: an int where it is known, else a tensor."""
    known = x._shape[axis] if x._shape is not None else None
    return array.shape(x)[axis] if known is None else known


def total_size(sizes: Any) -> int:
    """The columns of all parts of a state that stand beside each other."""
    return sum(size_dims(size)[0] for size in flatten(sizes))
