"""Cells of recurrent nets: one step from an input and a state to an output and the next state."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

from graphrun.control.structure import flatten, is_nested, pack_like
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import GraphError, ShapeError, message
from graphrun.graph.default import get_default_graph
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.initializers import constant as constant_initializer
from graphrun.initializers import zeros as zeros_initializer
from graphrun.layers.base import Layer, last_size
from graphrun.ops.arithmetic import clip_by_value
from graphrun.ops.array import concat, split, zeros
from graphrun.ops.elementwise import sigmoid, tanh
from graphrun.ops.linalg import matmul
from graphrun.ops.nn import bias_add
from graphrun.shapes import TensorShape, format_shape
from graphrun.variable_scope import get_variable_scope, variable_scope

LSTMStateTuple = namedtuple("LSTMStateTuple", ("c", "h"))
LSTMStateTuple.__doc__ = "The state of an LSTM: memory `c`, and output `h`."


class RNNCell(Layer):
    """Base of cells, and of your own: give it `state_size`, `output_size` and ``call(inputs, state)``.

    `call` returns the output and the next state, which has the structure of `state_size`.

    Examples
    --------
    >>> import graphrun as gr
    >>> class Decay(gr.nn.rnn_cell.RNNCell):
    ...     state_size = output_size = 3
    ...     def call(self, inputs, state):
    ...         new = 0.5 * state + inputs
    ...         return new, new
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     y, _ = gr.nn.dynamic_rnn(Decay(), gr.ones([1, 3, 3]), dtype=gr.float32)
    ...     print(sess.run(y[0, :, 0]))
    [1.   1.5  1.75]
    """

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """One step; `scope` is the variable scope to be in."""
        if scope is not None:
            with variable_scope(scope):
                return super().__call__(inputs, state)
        with variable_scope(get_variable_scope(), auxiliary_name_scope=False):
            return super().__call__(inputs, state)

    @property
    def state_size(self) -> Any:
        """Size of the state: an int, a shape, or a structure of them."""
        raise NotImplementedError(f"{type(self).__name__} has no state_size")

    @property
    def output_size(self) -> Any:
        """Size of the output."""
        raise NotImplementedError(f"{type(self).__name__} has no output_size")

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """A state of zeros, of shape ``(batch_size, size)`` for each size."""
        with get_default_graph().name_scope(f"{type(self).__name__}ZeroState"):
            return zero_state(self.state_size, batch_size, as_dtype(dtype))

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
        """A state of zeros for the batch of `inputs`."""
        if inputs is not None:
            from graphrun.ops.array import shape

            batch_size = inputs._shape[0] if inputs._shape and inputs._shape[0] else shape(inputs)[0]
            dtype = inputs.dtype if dtype is None else dtype
        return self.zero_state(batch_size, dtype)


def dims_of_size(size: Any) -> list[int]:
    """A size as the dimensions behind the batch's."""
    return [size] if isinstance(size, int) else TensorShape(size).as_list()  # type: ignore[return-value]


def is_size(size: Any) -> bool:
    return isinstance(size, int | TensorShape) or not is_nested(size)


def zero_state(size: Any, batch_size: Any, dtype: DType) -> Any:
    """Zeros for each size of a structure."""
    if is_size(size):
        return zeros([batch_size, *dims_of_size(size)], dtype)
    return pack_like(size, [zeros([batch_size, *dims_of_size(s)], dtype) for s in flatten(size)])


def _joined(inputs: Tensor, h: Tensor, cell: Layer) -> Tensor:
    if inputs._shape is not None and len(inputs._shape) != 2:
        raise ShapeError(
            message(
                f"the input of a step has rank {len(inputs._shape)}",
                where=f"{type(cell).__name__} '{cell.name}'",
                site=user_site(),
                got=f"'{inputs.name}': {format_shape(inputs._shape)}",
                expected="shape (batch, depth)",
                fix="dynamic_rnn takes (batch, time, depth), static_rnn a list of (batch, depth)",
            )
        )
    return concat([inputs, h], 1)


class _OwnCell(RNNCell):
    """What the cells of this file share."""

    def __init__(
        self, num_units: int, activation: Any, reuse: Any, name: str | None, dtype: Any, **kwargs: Any
    ) -> None:
        super().__init__(name=name, dtype=dtype, _reuse=reuse, **kwargs)
        self._num_units = int(num_units)
        self._activation: Callable[[Any], Any] = _function(activation)

    @property
    def state_size(self) -> Any:
        return self._num_units

    @property
    def output_size(self) -> Any:
        return self._num_units


def _function(activation: Any) -> Any:
    if activation is None:
        return tanh
    if isinstance(activation, str):
        from graphrun import nn

        return getattr(nn, activation)
    return activation


class BasicRNNCell(_OwnCell):
    """The simplest cell: ``output = state = activation([inputs, state] W + b)``.

    Parameters
    ----------
    num_units : int
    activation : function or its name, optional
        By default tanh.
    reuse, name, dtype
        As for layers.
    """

    def __init__(
        self, num_units: int, activation: Any = None, reuse: Any = None, name: str | None = None,
        dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        n = self._num_units
        self._kernel = self.add_variable("kernel", [last_size(self, input_shape) + n, n])
        self._bias = self.add_variable("bias", [n], initializer=zeros_initializer(self.dtype))

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        """One step."""
        output = self._activation(bias_add(matmul(_joined(inputs, state, self), self._kernel), self._bias))
        return output, output


class GRUCell(_OwnCell):
    """Gated recurrent unit.

    Parameters
    ----------
    num_units : int
    activation : function or its name, optional
        Of the candidate; by default tanh.
    kernel_initializer, bias_initializer : initializer, optional
        The biases of the gates are 1 by default, those of the candidate 0.

    References
    ----------
    K. Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014, arXiv:1406.1078.
    """

    def __init__(
        self, num_units: int, activation: Any = None, reuse: Any = None, kernel_initializer: Any = None,
        bias_initializer: Any = None, name: str | None = None, dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype, **kwargs)
        self._kernel_initializer, self._bias_initializer = kernel_initializer, bias_initializer

    def build(self, input_shape: Any) -> None:
        """Make kernels and biases of gates and candidate."""
        n, depth = self._num_units, last_size(self, input_shape)
        kernel, given = self._kernel_initializer, self._bias_initializer
        ones = constant_initializer(1.0, dtype=self.dtype) if given is None else given
        nothing = zeros_initializer(self.dtype) if given is None else given
        self._gate_kernel = self.add_variable("gates/kernel", [depth + n, 2 * n], initializer=kernel)
        self._gate_bias = self.add_variable("gates/bias", [2 * n], initializer=ones)
        self._candidate_kernel = self.add_variable("candidate/kernel", [depth + n, n], initializer=kernel)
        self._candidate_bias = self.add_variable("candidate/bias", [n], initializer=nothing)

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        """One step."""
        gates = sigmoid(bias_add(matmul(_joined(inputs, state, self), self._gate_kernel), self._gate_bias))
        r, u = split(gates, 2, axis=1)
        candidate = matmul(concat([inputs, r * state], 1), self._candidate_kernel)
        c = self._activation(bias_add(candidate, self._candidate_bias))
        new = u * state + (1 - u) * c
        return new, new


class _LSTM(_OwnCell):
    _state_is_tuple: bool

    def _parts(self, state: Any, sizes: Sequence[int]) -> Any:
        if not self._state_is_tuple:
            return split(state, list(sizes), axis=1)
        if not isinstance(state, list | tuple) or len(state) != 2:
            raise GraphError(
                message("the state is no pair", site=user_site(),
                        where=f"{type(self).__name__} '{self.name}'", got=repr(state),
                        expected="LSTMStateTuple(c, h)",
                        fix="cell.zero_state(batch_size, gr.float32) makes one")
            )  # fmt: skip
        return state

    def _state(self, c: Any, h: Any) -> Any:
        return LSTMStateTuple(c, h) if self._state_is_tuple else concat([c, h], 1)


class BasicLSTMCell(_LSTM):
    """LSTM without peepholes, clipping or projection.

    Parameters
    ----------
    num_units : int
    forget_bias : float
        Added to the forget gate's bias, so that a new net remembers.
    state_is_tuple : bool
        Whether the state is an `LSTMStateTuple`; else `c` and `h` are side by side in one tensor.
    activation : function or its name, optional
        By default tanh.

    References
    ----------
    W. Zaremba et al., Recurrent Neural Network Regularization, 2014, arXiv:1409.2329.
    """

    def __init__(
        self, num_units: int, forget_bias: float = 1.0, state_is_tuple: bool = True, activation: Any = None,
        reuse: Any = None, name: str | None = None, dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype, **kwargs)
        self._forget_bias, self._state_is_tuple = forget_bias, state_is_tuple

    @property
    def state_size(self) -> Any:
        n = self._num_units
        return LSTMStateTuple(n, n) if self._state_is_tuple else 2 * n

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias of all gates."""
        n = self._num_units
        self._kernel = self.add_variable("kernel", [last_size(self, input_shape) + n, 4 * n])
        self._bias = self.add_variable("bias", [4 * n], initializer=zeros_initializer(self.dtype))

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        """One step."""
        c, h = self._parts(state, [self._num_units] * 2)
        gates = bias_add(matmul(_joined(inputs, h, self), self._kernel), self._bias)
        i, j, f, o = split(gates, 4, axis=1)
        c = c * sigmoid(f + self._forget_bias) + sigmoid(i) * self._activation(j)
        h = self._activation(c) * sigmoid(o)
        return h, self._state(c, h)


class LSTMCell(_LSTM):
    """LSTM with peepholes, clipping and projection where they are asked for.

    Parameters
    ----------
    num_units : int
    use_peepholes : bool
        Whether the gates see the memory.
    cell_clip : float, optional
        The memory is kept within this.
    initializer : initializer, optional
        Of kernels and peepholes.
    num_proj : int, optional
        Size of the output, which is then a projection.
    proj_clip : float, optional
        The projected output is kept within this.
    num_unit_shards, num_proj_shards
        Accepted for TensorFlow's sake.
    forget_bias, state_is_tuple, activation
        As for `BasicLSTMCell`.

    References
    ----------
    H. Sak et al., Long Short-Term Memory Based Recurrent Neural Network Architectures for Large Vocabulary
    Speech Recognition, 2014, arXiv:1402.1128.
    """

    def __init__(
        self, num_units: int, use_peepholes: bool = False, cell_clip: float | None = None,
        initializer: Any = None, num_proj: int | None = None, proj_clip: float | None = None,
        num_unit_shards: Any = None, num_proj_shards: Any = None, forget_bias: float = 1.0,
        state_is_tuple: bool = True, activation: Any = None, reuse: Any = None, name: str | None = None,
        dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype, **kwargs)
        self._use_peepholes, self._cell_clip, self._initializer = use_peepholes, cell_clip, initializer
        self._num_proj, self._proj_clip = num_proj, proj_clip
        self._forget_bias, self._state_is_tuple = forget_bias, state_is_tuple

    @property
    def state_size(self) -> Any:
        sizes = self._num_units, self.output_size
        return LSTMStateTuple(*sizes) if self._state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> Any:
        return self._num_units if self._num_proj is None else self._num_proj

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias, peepholes and the projection."""
        n, first = self._num_units, self._initializer
        depth = last_size(self, input_shape) + self.output_size
        self._kernel = self.add_variable("kernel", [depth, 4 * n], initializer=first)
        self._bias = self.add_variable("bias", [4 * n], initializer=zeros_initializer(self.dtype))
        if self._use_peepholes:
            self._peepholes = [
                self.add_variable(f"w_{gate}_diag", [n], initializer=first) for gate in ("f", "i", "o")
            ]
        if self._num_proj is not None:
            self._projection = self.add_variable("projection/kernel", [n, self._num_proj], initializer=first)

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        """One step."""
        before, h = self._parts(state, [self._num_units, self.output_size])
        gates = bias_add(matmul(_joined(inputs, h, self), self._kernel), self._bias)
        i, j, f, o = split(gates, 4, axis=1)
        f = f + self._forget_bias
        if self._use_peepholes:
            f, i = f + self._peepholes[0] * before, i + self._peepholes[1] * before
        c = sigmoid(f) * before + sigmoid(i) * self._activation(j)
        if self._cell_clip is not None:
            c = clip_by_value(c, -self._cell_clip, self._cell_clip)
        if self._use_peepholes:
            o = o + self._peepholes[2] * c
        h = sigmoid(o) * self._activation(c)
        if self._num_proj is not None:
            h = matmul(h, self._projection)
            if self._proj_clip is not None:
                h = clip_by_value(h, -self._proj_clip, self._proj_clip)
        return h, self._state(c, h)
