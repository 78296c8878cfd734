"""Pooling as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphrun.layers.base import InputSpec, Layer, channels_first, function_of, padding_rule
from graphrun.layers.convolutional import sizes
from graphrun.ops.array import expand_dims, squeeze
from graphrun.ops.pool import avg_pool, max_pool


class _Pool(Layer):
    rank = 2
    pool: Callable[..., Any]

    def __init__(
        self, pool_size: Any, strides: Any, padding: str = "valid", data_format: str = "channels_last",
        name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(name=name, **kwargs)
        self.pool_size = sizes(pool_size, self.rank, "pool_size")
        self.strides = sizes(strides, self.rank, "strides")
        self.padding, self.data_format = padding_rule(padding, self), data_format
        self._first = channels_first(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Any, **_: Any) -> Any:
        window, steps = self.pool_size, self.strides
        spatial = 2 if self._first else 1
        if self.rank == 1:  # a sequence is an image of one row
            inputs = expand_dims(inputs, spatial)
            window, steps = (1, *window), (1, *steps)
        ksize, strides = ((1, 1, *n) if self._first else (1, *n, 1) for n in (window, steps))
        y = type(self).pool(inputs, ksize, strides, self.padding, "NCHW" if self._first else "NHWC")
        return squeeze(y, [spatial]) if self.rank == 1 else y


class MaxPooling2D(_Pool):
    """The largest element of each window of ``(batch, height, width, channels)``."""

    pool = staticmethod(max_pool)


class AveragePooling2D(_Pool):
    """The mean of each window of ``(batch, height, width, channels)``; padding does not count."""

    pool = staticmethod(avg_pool)


class MaxPooling1D(_Pool):
    """The largest element of each window of ``(batch, length, channels)``."""

    rank = 1
    pool = staticmethod(max_pool)


class AveragePooling1D(_Pool):
    """The mean of each window of ``(batch, length, channels)``; padding does not count."""

    rank = 1
    pool = staticmethod(avg_pool)


def _function(layer: type[_Pool], name: str) -> Callable[..., Any]:
    doc = f"Apply `{layer.__name__}`: sizes are ints, or one for each axis of the window."
    return function_of(layer, name, doc, reuse=False)


max_pooling1d = _function(MaxPooling1D, "max_pooling1d")
max_pooling2d = _function(MaxPooling2D, "max_pooling2d")
average_pooling1d = _function(AveragePooling1D, "average_pooling1d")
average_pooling2d = _function(AveragePooling2D, "average_pooling2d")
