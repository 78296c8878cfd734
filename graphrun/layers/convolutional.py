"""Convolutions as layers."""

from __future__ import annotations

from typing import Any

from graphrun.errors import ShapeError, message
from graphrun.graph.site import user_site
from graphrun.initializers import zeros
from graphrun.layers.activations import activation_of
from graphrun.layers.base import InputSpec, Layer, channels_first, function_of, last_size, padding_rule
from graphrun.ops.array import shape as shape_of
from graphrun.ops.conv import conv2d_transpose as _conv2d_transpose
from graphrun.ops.conv_ranks import convolution
from graphrun.ops.depthwise import separable_conv2d as _separable_conv2d
from graphrun.ops.nn import bias_add


def sizes(value: Any, rank: int, what: str) -> tuple[int, ...]:
    """An int, or one for each spatial axis."""
    found = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(found) != rank or not all(isinstance(n, int) and n > 0 for n in found):
        raise ShapeError(
            message(
                f"{what}={value!r}", site=user_site(), expected=f"a positive int, or {rank} of them",
                where="convolution",
            )
        )  # fmt: skip
    return found


class _Conv(Layer):
    rank = 2

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
        data_format: str = "channels_last", dilation_rate: Any = 1, activation: Any = None,
        use_bias: bool = True, kernel_initializer: Any = None, bias_initializer: Any = None,
        kernel_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
        kernel_constraint: Any = None, bias_constraint: Any = None, trainable: bool = True,
        name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(trainable, name, activity_regularizer=activity_regularizer, **kwargs)
        self.filters = int(filters)
        self.kernel_size = sizes(kernel_size, self.rank, "kernel_size")
        self.strides = sizes(strides, self.rank, "strides")
        self.dilation_rate = sizes(dilation_rate, self.rank, "dilation_rate")
        self.padding = padding_rule(padding, self)
        self.data_format = data_format
        self._first = channels_first(data_format)
        self.activation, self.use_bias = activation_of(activation), use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer or zeros()
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.kernel: Any = None
        self.bias: Any = None

    @property
    def _layout(self) -> str:
        axes = {1: "W", 2: "HW", 3: "DHW"}[self.rank]
        return f"NC{axes}" if self._first else f"N{axes}C"

    def _kernel_shape(self, channels: int) -> list[int]:
        return [*self.kernel_size, channels, self.filters]

    def _axis(self) -> int:
        return 1 if self._first else -1

    def build(self, input_shape: Any) -> None:
        channels = last_size(self, input_shape, self._axis())
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={self._axis(): channels})
        self._weights(channels)
        if self.use_bias:
            self.bias = self.add_variable(
                "bias", [self.filters], initializer=self.bias_initializer,
                regularizer=self.bias_regularizer, constraint=self.bias_constraint,
            )  # fmt: skip

    def _weights(self, channels: int) -> None:
        self.kernel = self.add_variable(
            "kernel", self._kernel_shape(channels), initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip

    def _convolved(self, x: Any) -> Any:
        return convolution(
            x, self.kernel, self.padding, strides=self.strides, dilation_rate=self.dilation_rate,
            data_format=self._layout,
        )  # fmt: skip

    def call(self, inputs: Any, **_: Any) -> Any:
        y = self._convolved(inputs)
        if self.use_bias:
            y = bias_add(y, self.bias, "NCHW" if self._first else None)
        return y if self.activation is None else self.activation(y)


class Conv1D(_Conv):
    """Convolution of ``(batch, length, channels)``; parameters as `Conv2D`."""

    rank = 1


class Conv2D(_Conv):
    """Convolution of ``(batch, height, width, channels)``.

    Parameters
    ----------
    filters : int
        Channels of the result.
    kernel_size, strides, dilation_rate : int or two of them
    padding : str
        ``"valid"`` or ``"same"``.
    data_format : str
        ``"channels_last"`` or ``"channels_first"``.
    activation : function or str, optional
    use_bias : bool
    kernel_initializer, bias_initializer : initializer or its name
    kernel_regularizer, bias_regularizer, activity_regularizer : function, optional
    kernel_constraint, bias_constraint : function, optional
    """


class Conv3D(_Conv):
    """Convolution of ``(batch, depth, height, width, channels)``; parameters as `Conv2D`."""

    rank = 3


class Conv2DTranspose(_Conv):
    """The transpose of a convolution, which makes images larger by its strides.

    Parameters as those of `Conv2D`, but for `dilation_rate`, which it has not.
    """

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid",
        data_format: str = "channels_last", activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = None, bias_initializer: Any = None, kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, trainable: bool = True, name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            filters, kernel_size, strides, padding, data_format, 1, activation, use_bias, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint, trainable, name, **kwargs,
        )  # fmt: skip

    def _kernel_shape(self, channels: int) -> list[int]:
        return [*self.kernel_size, self.filters, channels]

    def _convolved(self, x: Any) -> Any:
        at = (2, 3) if self._first else (1, 2)
        dynamic = shape_of(x)
        lengths: list[Any] = []
        for axis, kernel, stride in zip(at, self.kernel_size, self.strides, strict=True):
            size = x._shape[axis] if x._shape[axis] is not None else dynamic[axis]
            size = size * stride
            lengths.append(size + max(kernel - stride, 0) if self.padding == "VALID" else size)
        batch = x._shape[0] if x._shape[0] is not None else dynamic[0]
        full = [batch, self.filters, *lengths] if self._first else [batch, *lengths, self.filters]
        strides = (1, 1, *self.strides) if self._first else (1, *self.strides, 1)
        return _conv2d_transpose(
            x, self.kernel, full, strides, self.padding, data_format=self._layout
        )  # fmt: skip


class SeparableConv2D(_Conv):
    """A convolution of each channel, then one of single pixels that mixes the channels.

    Parameters
    ----------
    filters, kernel_size, strides, padding, data_format, dilation_rate
        As `Conv2D`.
    depth_multiplier : int
        Results of each channel between the two.
    depthwise_initializer, pointwise_initializer : initializer
    depthwise_regularizer, pointwise_regularizer : function, optional
    """

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid",
        data_format: str = "channels_last", dilation_rate: Any = (1, 1), depth_multiplier: int = 1,
        activation: Any = None, use_bias: bool = True, depthwise_initializer: Any = None,
        pointwise_initializer: Any = None, bias_initializer: Any = None, depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
        depthwise_constraint: Any = None, pointwise_constraint: Any = None, bias_constraint: Any = None,
        trainable: bool = True, name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            bias_initializer=bias_initializer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, bias_constraint=bias_constraint,
            trainable=trainable, name=name, **kwargs,
        )  # fmt: skip
        self.depth_multiplier = int(depth_multiplier)
        self._depthwise = (depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        self._pointwise = (pointwise_initializer, pointwise_regularizer, pointwise_constraint)
        self.depthwise_kernel: Any = None
        self.pointwise_kernel: Any = None

    def _weights(self, channels: int) -> None:
        for name, shape, (initializer, regularizer, constraint) in (
            ("depthwise_kernel", [*self.kernel_size, channels, self.depth_multiplier], self._depthwise),
            ("pointwise_kernel", [1, 1, channels * self.depth_multiplier, self.filters], self._pointwise),
        ):
            variable = self.add_variable(
                name, shape, initializer=initializer, regularizer=regularizer, constraint=constraint
            )
            setattr(self, name, variable)

    def _convolved(self, x: Any) -> Any:
        strides = (1, 1, *self.strides) if self._first else (1, *self.strides, 1)
        return _separable_conv2d(
            x, self.depthwise_kernel, self.pointwise_kernel, strides, self.padding,
            rate=self.dilation_rate, data_format=self._layout,
        )  # fmt: skip


_DOC = "Apply a new `{}`, or with `reuse` one whose variables are there."
conv1d = function_of(Conv1D, "conv1d", _DOC.format("Conv1D"))
conv2d = function_of(Conv2D, "conv2d", _DOC.format("Conv2D"))
conv3d = function_of(Conv3D, "conv3d", _DOC.format("Conv3D"))
conv2d_transpose = function_of(Conv2DTranspose, "conv2d_transpose", _DOC.format("Conv2DTranspose"))
separable_conv2d = function_of(SeparableConv2D, "separable_conv2d", _DOC.format("SeparableConv2D"))
