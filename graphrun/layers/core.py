"""Dense layers, dropout, flattening."""

from __future__ import annotations

import math
from typing import Any

from graphrun.graph.node import Tensor
from graphrun.initializers import zeros
from graphrun.layers.activations import activation_of
from graphrun.layers.base import InputSpec, Layer, as_flag, channels_first, function_of, last_size
from graphrun.ops.array import expand_dims, reshape, shape, transpose
from graphrun.ops.compare import where
from graphrun.ops.linalg import matmul, tensordot
from graphrun.ops.nn import bias_add
from graphrun.ops.nn import dropout as _dropout
from graphrun.ops.state import identity


class Dense(Layer):
    """``activation(inputs @ kernel + bias)``; over the last axis, of inputs of any rank.

    Parameters
    ----------
    units : int
        Outputs.
    activation : function or str, optional
    use_bias : bool
    kernel_initializer, bias_initializer : initializer or its name
        The variable scope's, or Glorot's uniform one, for the kernel; zeros for the bias.
    kernel_regularizer, bias_regularizer, activity_regularizer : function, optional
    kernel_constraint, bias_constraint : function, optional
    """

    def __init__(
        self, units: int, activation: Any = None, use_bias: bool = True, kernel_initializer: Any = None,
        bias_initializer: Any = None, kernel_regularizer: Any = None, bias_regularizer: Any = None,
        activity_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None,
        trainable: bool = True, name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(trainable, name, activity_regularizer=activity_regularizer, **kwargs)
        self.units, self.activation, self.use_bias = int(units), activation_of(activation), use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer or zeros()
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.input_spec = InputSpec(min_ndim=2)
        self.kernel: Any = None
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        size = last_size(self, input_shape)
        self.input_spec = InputSpec(min_ndim=2, axes={-1: size})
        self.kernel = self.add_variable(
            "kernel", [size, self.units], initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip
        if self.use_bias:
            self.bias = self.add_variable(
                "bias", [self.units], initializer=self.bias_initializer,
                regularizer=self.bias_regularizer, constraint=self.bias_constraint,
            )  # fmt: skip

    def call(self, inputs: Any, **_: Any) -> Any:
        rank = len(inputs._shape) if inputs._shape is not None else None
        y = (
            matmul(inputs, self.kernel)
            if rank == 2
            else tensordot(inputs, self.kernel, [[(rank or 2) - 1], [0]])
        )
        if rank is not None and rank > 2:
            y.set_shape([*inputs._shape[:-1], self.units])
        if self.use_bias:
            y = bias_add(y, self.bias)
        return y if self.activation is None else self.activation(y)


dense = function_of(
    Dense, "dense", "Apply a new `Dense` layer, or with `reuse` one whose variables are there."
)


class Dropout(Layer):
    """Sets elements to 0 with probability `rate` while training, and scales up the others.

    Parameters
    ----------
    rate : float or tensor
    noise_shape : shape, optional
        Of the pattern, which is broadcast.
    seed : int, optional
    """

    def __init__(
        self, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, name: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(name=name, **kwargs)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def call(self, inputs: Any, training: Any = False, **_: Any) -> Any:
        training = as_flag(training)
        if isinstance(training, bool):
            if not training:
                return identity(inputs)
            kept = _dropout(inputs, rate=self.rate, noise_shape=self.noise_shape, seed=self.seed)
            return identity(inputs) if kept is inputs else kept
        dropped = _dropout(inputs, rate=self.rate, noise_shape=self.noise_shape, seed=self.seed)
        return where(training, dropped, inputs)


def dropout(
    inputs: Any, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, training: Any = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Apply dropout where `training`, a bool or a tensor of one, is true; see `Dropout`."""
    result: Tensor = Dropout(rate, noise_shape, seed, name)(inputs, training=training)
    return result


class Flatten(Layer):
    """Makes one axis of all behind the first one; those of ``channels_first`` as ``channels_last``."""

    def __init__(self, data_format: str | None = None, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self._first = channels_first(data_format or "channels_last")
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any, **_: Any) -> Any:
        known = inputs._shape
        if known is not None and len(known) == 1:
            return expand_dims(inputs, 1)
        if self._first and known is not None:
            inputs = transpose(inputs, [0, *range(2, len(known)), 1])
            known = inputs._shape
        if known is None or any(d is None for d in known[1:]):
            return reshape(inputs, [shape(inputs)[0], -1])
        return reshape(inputs, [-1, math.prod(known[1:])])


def flatten(inputs: Any, name: str | None = None, data_format: str = "channels_last") -> Tensor:
    """Make one axis of all behind the first one.

    Parameters
    ----------
    inputs : tensor
        A vector becomes a matrix of one column.
    name : str, optional
    data_format : {"channels_last", "channels_first"}
        Channels come last in the result: those of ``channels_first`` are moved there.

    Returns
    -------
    Tensor
        Of shape (batch, features).

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.layers.flatten(gr.zeros([2, 3, 4])).shape
    TensorShape([2, 12])
    """
    result: Tensor = Flatten(data_format, name)(inputs)
    return result
