"""Cells of recurrent networks: the basic one, the gated one, and long short-term memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphrun.errors import DTypeError, message
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.initializers import constant, zeros
from graphrun.layers.activations import activation_of
from graphrun.ops.array import concat, split
from graphrun.ops.elementwise import sigmoid, tanh
from graphrun.ops.linalg import matmul
from graphrun.ops.math import add, clip_by_value, multiply
from graphrun.ops.nn import bias_add
from graphrun.ops.slicing import slice_
from graphrun.rnn.base import LayerRNNCell


class BasicRNNCell(LayerRNNCell):
    """``activation([inputs, state] @ kernel + bias)``, which is the output and the next state.

    Parameters
    ----------
    num_units : int
    activation : function or str, optional
        tanh by default.
    reuse : bool, optional
        Take the variables of a cell of the same name that is there.
    name : str, optional
    dtype : dtype, optional
    """

    def __init__(
        self, num_units: int, activation: Any = None, reuse: bool | None = None, name: str | None = None,
        dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse, name=name, dtype=dtype, **kwargs)
        self._num_units, self._activation = int(num_units), activation_of(activation, tanh)
        self._kernel: Any = None
        self._bias: Any = None

    @property
    def state_size(self) -> int:
        return self._num_units

    @property
    def output_size(self) -> int:
        return self._num_units

    def build(self, input_shape: Any) -> None:
        rows = self._depth(input_shape) + self._num_units
        self._kernel = self.add_weight("kernel", [rows, self._num_units])
        self._bias = self.add_weight("bias", [self._num_units], initializer=zeros(dtype=self.dtype))

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        h = self._state(state, self._num_units)
        output = self._activation(bias_add(matmul(concat([inputs, h], 1), self._kernel), self._bias))
        return output, output


class GRUCell(LayerRNNCell):
    """The gated recurrent unit (Cho et al. 2014).

    ``r, u = sigmoid([inputs, h] @ gates)``, ``c = activation([inputs, r * h] @ candidate)``, and the output
    and next state is ``u * h + (1 - u) * c``.

    Parameters
    ----------
    num_units : int
    activation : function or str, optional
        tanh by default.
    reuse : bool, optional
    kernel_initializer : initializer, optional
        The scope's by default.
    bias_initializer : initializer, optional
        By default ones for the gates, so that the state is kept at first, and zeros for the candidate.
    name : str, optional
    dtype : dtype, optional
    """

    def __init__(
        self, num_units: int, activation: Any = None, reuse: bool | None = None,
        kernel_initializer: Any = None, bias_initializer: Any = None, name: str | None = None,
        dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse, name=name, dtype=dtype, **kwargs)
        self._num_units, self._activation = int(num_units), activation_of(activation, tanh)
        self._kernel_initializer, self._bias_initializer = kernel_initializer, bias_initializer

    @property
    def state_size(self) -> int:
        return self._num_units

    @property
    def output_size(self) -> int:
        return self._num_units

    def build(self, input_shape: Any) -> None:
        n, kernel, bias = self._num_units, self._kernel_initializer, self._bias_initializer
        rows = self._depth(input_shape) + n
        self._gate_kernel = self.add_weight("gates/kernel", [rows, 2 * n], initializer=kernel)
        self._gate_bias = self.add_weight(
            "gates/bias", [2 * n], initializer=constant(1.0, dtype=self.dtype) if bias is None else bias
        )
        self._candidate_kernel = self.add_weight("candidate/kernel", [rows, n], initializer=kernel)
        self._candidate_bias = self.add_weight(
            "candidate/bias", [n], initializer=zeros(dtype=self.dtype) if bias is None else bias
        )

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        h = self._state(state, self._num_units)
        gates = bias_add(matmul(concat([inputs, h], 1), self._gate_kernel), self._gate_bias)
        r, u = split(sigmoid(gates), 2, 1)
        c = bias_add(matmul(concat([inputs, r * h], 1), self._candidate_kernel), self._candidate_bias)
        new = u * h + (1 - u) * self._activation(c)
        return new, new


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM cell: the memory `c` and the output `h`, in this order."""

    c: Any
    h: Any

    @property
    def dtype(self) -> Any:
        """That of both."""
        if self.c.dtype is not self.h.dtype:
            raise DTypeError(
                message("c and h have different dtypes", where="LSTMStateTuple", site=user_site(),
                        got=f"c: {self.c.dtype}   h: {self.h.dtype}")
            )  # fmt: skip
        return self.c.dtype


class _LSTM(LayerRNNCell):
    """The state of an LSTM: a pair, or one tensor with both beside each other."""

    _num_units: int
    _state_is_tuple: bool

    @property
    def output_size(self) -> int:
        return self._num_units

    @property
    def state_size(self) -> Any:
        pair = LSTMStateTuple(self._num_units, self.output_size)
        return pair if self._state_is_tuple else sum(pair)

    def _parts(self, state: Any) -> tuple[Tensor, Tensor]:
        n, m = self._num_units, self.output_size
        if not self._state_is_tuple:
            both = self._state(state, n + m)
            return slice_(both, [0, 0], [-1, n]), slice_(both, [0, n], [-1, m])
        if not isinstance(state, list | tuple) or len(state) != 2:
            raise DTypeError(
                message(
                    f"the state is a {type(state).__name__}", where=self._where(), site=user_site(),
                    expected="a pair of tensors (c, h)",
                    fix="gr.nn.rnn_cell.LSTMStateTuple(c, h) makes one of the two; state_is_tuple=False takes"
                    " one tensor",
                )
            )  # fmt: skip
        return self._state(state[0], n, "state c"), self._state(state[1], m, "state h")

    def _joined(self, c: Tensor, h: Tensor) -> Any:
        return LSTMStateTuple(c, h) if self._state_is_tuple else concat([c, h], 1)


class BasicLSTMCell(_LSTM):
    """Long short-term memory (Zaremba et al. 2014), without peepholes, clipping and projection.

    Parameters
    ----------
    num_units : int
    forget_bias : float
        Added to the forget gate, so that memory is kept at first.
    state_is_tuple : bool
        Whether states are `LSTMStateTuple`; else tensors ``(batch, 2 * num_units)``.
    activation : function or str, optional
        tanh by default.
    reuse : bool, optional
        Take the variables of a cell of the same name that is there.
    name : str, optional
    dtype : dtype, optional

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     cell = gr.nn.rnn_cell.BasicLSTMCell(4)
    ...     y, state = cell(gr.zeros([3, 2]), cell.zero_state(3, gr.float32))
    ...     print(y.shape, state.c.shape, [v.name for v in cell.variables])
    (3, 4) (3, 4) ['basic_lstm_cell/kernel:0', 'basic_lstm_cell/bias:0']
    """

    def __init__(
        self, num_units: int, forget_bias: float = 1.0, state_is_tuple: bool = True, activation: Any = None,
        reuse: bool | None = None, name: str | None = None, dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse, name=name, dtype=dtype, **kwargs)
        self._num_units, self._activation = int(num_units), activation_of(activation, tanh)
        self._forget_bias, self._state_is_tuple = forget_bias, bool(state_is_tuple)

    def build(self, input_shape: Any) -> None:
        n = self._num_units
        self._kernel = self.add_weight("kernel", [self._depth(input_shape) + n, 4 * n])
        self._bias = self.add_weight("bias", [4 * n], initializer=zeros(dtype=self.dtype))

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        c, h = self._parts(state)
        gates = bias_add(matmul(concat([inputs, h], 1), self._kernel), self._bias)
        i, j, f, o = split(gates, 4, 1)
        kept = multiply(c, sigmoid(add(f, self._forget_bias)))
        new_c = add(kept, multiply(sigmoid(i), self._activation(j)))
        new_h = multiply(self._activation(new_c), sigmoid(o))
        return new_h, self._joined(new_c, new_h)


class LSTMCell(_LSTM):
    """Long short-term memory, with peepholes, clipping and a projection of the output (Sak et al. 2014).

    Parameters
    ----------
    num_units : int
    use_peepholes : bool
        Whether the gates see the memory too.
    cell_clip : float, optional
        The memory is clipped to this magnitude.
    initializer : initializer, optional
        Of the kernels and peepholes.
    num_proj : int, optional
        Size of the output, which is then a linear function of the memory's.
    proj_clip : float, optional
        The projected output is clipped to this magnitude.
    num_unit_shards, num_proj_shards
        Accepted for TensorFlow's sake; a variable is kept whole.
    forget_bias, state_is_tuple, activation, reuse, name, dtype
        As for `BasicLSTMCell`.
    """

    def __init__(
        self, num_units: int, use_peepholes: bool = False, cell_clip: float | None = None,
        initializer: Any = None, num_proj: int | None = None, proj_clip: float | None = None,
        num_unit_shards: int | None = None, num_proj_shards: int | None = None, forget_bias: float = 1.0,
        state_is_tuple: bool = True, activation: Any = None, reuse: bool | None = None,
        name: str | None = None, dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse, name=name, dtype=dtype, **kwargs)
        self._num_units, self._activation = int(num_units), activation_of(activation, tanh)
        self._use_peepholes, self._cell_clip = bool(use_peepholes), cell_clip
        self._initializer, self._num_proj, self._proj_clip = initializer, num_proj, proj_clip
        self._forget_bias, self._state_is_tuple = forget_bias, bool(state_is_tuple)

    @property
    def output_size(self) -> int:
        return self._num_proj or self._num_units

    def build(self, input_shape: Any) -> None:
        n, made = self._num_units, self._initializer
        rows = self._depth(input_shape) + self.output_size
        self._kernel = self.add_weight("kernel", [rows, 4 * n], initializer=made)
        self._bias = self.add_weight("bias", [4 * n], initializer=zeros(dtype=self.dtype))
        if self._use_peepholes:
            self._w_f_diag = self.add_weight("w_f_diag", [n], initializer=made)
            self._w_i_diag = self.add_weight("w_i_diag", [n], initializer=made)
            self._w_o_diag = self.add_weight("w_o_diag", [n], initializer=made)
        if self._num_proj:
            shape = [n, self._num_proj]
            self._projection = self.add_weight("projection/kernel", shape, initializer=made)

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        c, h = self._parts(state)
        gates = bias_add(matmul(concat([inputs, h], 1), self._kernel), self._bias)
        i, j, f, o = split(gates, 4, 1)
        if self._use_peepholes:
            kept = sigmoid(f + self._forget_bias + self._w_f_diag * c) * c
            new_c = kept + sigmoid(i + self._w_i_diag * c) * self._activation(j)
        else:
            new_c = sigmoid(f + self._forget_bias) * c + sigmoid(i) * self._activation(j)
        if self._cell_clip is not None:
            new_c = clip_by_value(new_c, -self._cell_clip, self._cell_clip)
        if self._use_peepholes:
            new_h = sigmoid(o + self._w_o_diag * new_c) * self._activation(new_c)
        else:
            new_h = sigmoid(o) * self._activation(new_c)
        if self._num_proj:
            new_h = matmul(new_h, self._projection)
            if self._proj_clip is not None:
                new_h = clip_by_value(new_h, -self._proj_clip, self._proj_clip)
        return new_h, self._joined(new_c, new_h)
