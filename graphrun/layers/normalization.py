"""Batch normalization with moving averages."""

from __future__ import annotations

from typing import Any

from graphrun.errors import GraphError, message
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.initializers import ones, zeros
from graphrun.layers.base import InputSpec, Layer, as_flag, last_size
from graphrun.ops.array import reshape, shape
from graphrun.ops.compare import where
from graphrun.ops.convert import cast
from graphrun.ops.normalization import batch_normalization as _normalize
from graphrun.ops.normalization import moments
from graphrun.ops.reduce import reduce_prod
from graphrun.ops.state import Variable, assign_sub


class BatchNormalization(Layer):
    """``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, by the batch or by moving averages.

    Parameters
    ----------
    axis : int
        The axis of the features.
    momentum : float
        Of the moving averages.
    epsilon : float
    center, scale : bool
        Whether there is a beta, a gamma.
    beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer : initializer
    beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint : function, optional

    Notes
    -----
    The updates of the moving averages are in ``GraphKeys.UPDATE_OPS``; a training step has to run them::

        with gr.control_dependencies(gr.get_collection(gr.GraphKeys.UPDATE_OPS)):
            train = optimizer.minimize(loss)

    As in TensorFlow, images (rank 4) keep the unbiased variance in the moving average.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", ICML 2015.
    """

    def __init__(
        self, axis: Any = -1, momentum: float = 0.99, epsilon: float = 1e-3, center: bool = True,
        scale: bool = True, beta_initializer: Any = None, gamma_initializer: Any = None,
        moving_mean_initializer: Any = None, moving_variance_initializer: Any = None,
        beta_regularizer: Any = None, gamma_regularizer: Any = None, beta_constraint: Any = None,
        gamma_constraint: Any = None, trainable: bool = True, name: str | None = None,
        fused: bool | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(trainable, name, **kwargs)
        self.axis = axis[0] if isinstance(axis, list | tuple) else axis
        self.momentum, self.epsilon, self.center, self.scale = momentum, epsilon, center, scale
        self._beta = (beta_initializer or zeros(), beta_regularizer, beta_constraint)
        self._gamma = (gamma_initializer or ones(), gamma_regularizer, gamma_constraint)
        self._moving = (moving_mean_initializer or zeros(), moving_variance_initializer or ones())
        self._fused = fused
        self.beta: Any = None
        self.gamma: Any = None
        self.moving_mean: Any = None
        self.moving_variance: Any = None

    def build(self, input_shape: Any) -> None:
        size = last_size(self, input_shape, self.axis)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: size})
        for wanted, name, (initializer, regularizer, constraint) in (
            (self.scale, "gamma", self._gamma),
            (self.center, "beta", self._beta),
        ):
            if wanted:
                variable = self.add_variable(
                    name, [size], initializer=initializer, regularizer=regularizer, constraint=constraint
                )
                setattr(self, name, variable)
        for name, initializer in zip(("moving_mean", "moving_variance"), self._moving, strict=True):
            setattr(self, name, self.add_variable(name, [size], initializer=initializer, trainable=False))

    def call(self, inputs: Any, training: Any = False, **_: Any) -> Any:
        rank = len(inputs._shape)
        axis = self.axis % rank
        axes = [k for k in range(rank) if k != axis]
        training = as_flag(training)
        static = isinstance(training, bool)
        means: tuple[Any, Any] = (self.moving_mean._as_tensor(), self.moving_variance._as_tensor())
        if not static or training:
            mean, variance = moments(inputs, axes)
            self._update(inputs, axes, mean, variance, None if static else training)
            if static:
                means = mean, variance
            else:
                means = where(training, mean, means[0]), where(training, variance, means[1])
        place = [1] * rank
        place[axis] = -1

        def spread(t: Any) -> Any:
            return t if t is None or axis == rank - 1 else reshape(t, place)

        mean, variance = spread(means[0]), spread(means[1])
        return _normalize(inputs, mean, variance, spread(self.beta), spread(self.gamma), self.epsilon)

    def _update(self, x: Any, axes: list[int], mean: Any, variance: Any, training: Any) -> None:
        """Move the averages, where `training` is true or None."""
        decay: Any = 1.0 - self.momentum
        if training is not None:
            decay = where(training, decay, 0.0)
        if len(x._shape) == 4 and self._fused is not False:
            count = cast(reduce_prod([shape(x)[k] for k in axes]), x.dtype)
            variance = variance * (count / (count - 1.0))
        graph = x.graph
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            assert isinstance(average, Variable)
            with graph.name_scope("AssignMovingAvg"):
                self.add_update(assign_sub(average, (average - value) * decay))


def batch_normalization(
    inputs: Any, axis: Any = -1, momentum: float = 0.99, epsilon: float = 1e-3, center: bool = True,
    scale: bool = True, beta_initializer: Any = None, gamma_initializer: Any = None,
    moving_mean_initializer: Any = None, moving_variance_initializer: Any = None,
    beta_regularizer: Any = None, gamma_regularizer: Any = None, beta_constraint: Any = None,
    gamma_constraint: Any = None, training: Any = False, trainable: bool = True, name: str | None = None,
    reuse: Any = None, renorm: bool = False, renorm_clipping: Any = None, renorm_momentum: float = 0.99,
    fused: bool | None = None, virtual_batch_size: Any = None, adjustment: Any = None,
) -> Tensor:  # fmt: skip
    """Apply a new `BatchNormalization`; `training`, a bool or a tensor, chooses the batch's moments."""
    unknown = {"renorm": renorm, "virtual_batch_size": virtual_batch_size, "adjustment": adjustment}
    for what, asked in unknown.items():
        if asked:
            raise GraphError(
                message(f"batch_normalization does not know {what}", site=user_site(), fix="leave it out")
            )
    layer = BatchNormalization(
        axis, momentum, epsilon, center, scale, beta_initializer, gamma_initializer,
        moving_mean_initializer, moving_variance_initializer, beta_regularizer, gamma_regularizer,
        beta_constraint, gamma_constraint, trainable, name, fused, _scope=name, _reuse=reuse,
    )  # fmt: skip
    result: Tensor = layer(inputs, training=training)
    return result
