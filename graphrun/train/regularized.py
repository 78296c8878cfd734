"""Optimizers whose weights follow from a regularized problem that is solved exactly: many become 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphrun.errors import GraphError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.elementwise import abs as abs_
from graphrun.ops.elementwise import rsqrt, sign, sqrt, square
from graphrun.ops.math import clip_by_value, maximum
from graphrun.ops.math import pow as pow_
from graphrun.ops.state import Variable, group
from graphrun.train.optimizer import filled_with, require_not_negative, require_positive
from graphrun.train.places import FormulaOptimizer, Whole


class ProximalGradientDescentOptimizer(FormulaOptimizer):
    """Gradient descent, and then a step towards 0: ``p = var - learning_rate * g``,
    ``var = sign(p) * max(abs(p) - learning_rate * l1, 0) / (1 + learning_rate * l2)``.

    Parameters
    ----------
    learning_rate : number, tensor, variable or function that returns one
    l1_regularization_strength, l2_regularization_strength : number or tensor
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str

    References
    ----------
    J. Duchi and Y. Singer, Efficient learning using forward-backward splitting, NIPS 2009.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     w = gr.Variable([2.0, 0.125])
    ...     step = gr.train.ProximalGradientDescentOptimizer(0.5, 0.5).minimize(gr.reduce_sum(w * [1.0, 0.0]))
    ...     sess.run(gr.global_variables_initializer())
    ...     sess.run(step)
    ...     print(sess.run(w))
    [1.25 0.  ]
    """

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._l1_regularization_strength = l1_regularization_strength
        self._l2_regularization_strength = l2_regularization_strength

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._hyperparameter(self._learning_rate, "learning_rate")
        self._l1, self._l2 = (
            self._hyperparameter(x, name)
            for x, name in (
                (self._l1_regularization_strength, "l1_regularization_strength"),
                (self._l2_regularization_strength, "l2_regularization_strength"),
            )
        )

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        rate = self._as(self._learning_rate_tensor, var.dtype)
        return at.write(var, self._shrunk(at.read(var) - rate * grad, rate, var))

    def _shrunk(self, moved: Tensor, rate: Tensor, var: Variable) -> Tensor:
        """What minimizes ``(x - moved)**2 / 2 + rate * (l1 * abs(x) + l2 * x**2 / 2)``."""
        if self._numbers.get(self._l1) != 0:
            strength = rate * self._as(self._l1, var.dtype)
            moved = sign(moved) * maximum(abs_(moved) - strength, 0)
        if self._numbers.get(self._l2) != 0:
            moved = moved / (1 + rate * self._as(self._l2, var.dtype))
        return moved


class ProximalAdagradOptimizer(ProximalGradientDescentOptimizer):
    """Adagrad, and then a step towards 0: as `ProximalGradientDescentOptimizer`, with
    ``accum += g**2`` and a rate of ``learning_rate / sqrt(accum)`` for each element.

    Parameters
    ----------
    learning_rate : number, tensor, variable or function that returns one
    initial_accumulator_value : float
        What ``accum`` starts with; above 0.
    l1_regularization_strength, l2_regularization_strength : number or tensor
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, Adaptive subgradient methods for online learning and stochastic
    optimization, JMLR 12 (2011).  J. Duchi and Y. Singer, Efficient learning using forward-backward
    splitting, NIPS 2009.
    """

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        super().__init__(
            learning_rate, l1_regularization_strength, l2_regularization_strength, use_locking, name
        )
        require_positive("initial_accumulator_value", initial_accumulator_value, self._label)
        self._initial_accumulator_value = initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for v in var_list:
            self._slot(v, "accumulator", self._name, filled_with(self._initial_accumulator_value))

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        slot = self.get_slot(var, "accumulator")
        accum = at.read(slot) + square(grad)
        rate = self._as(self._learning_rate_tensor, var.dtype) * rsqrt(accum)
        new = self._shrunk(at.read(var) - rate * grad, rate, var)
        return group(at.write(slot, accum), at.write(var, new))


class AdagradDAOptimizer(FormulaOptimizer):
    """Adagrad with dual averaging: weights follow from the sums of all gradients and of their squares.

    ``ga += g; gg += g**2; var = -learning_rate * s / (sqrt(gg) + learning_rate * l2 * t)`` in step t, where
    ``s = sign(ga) * max(abs(ga) - l1 * t, 0)``.

    Parameters
    ----------
    learning_rate : number, tensor, variable or function that returns one
    global_step : variable or tensor
        The number of steps before this one.
    initial_gradient_squared_accumulator_value : float
        What ``gg`` starts with; above 0.
    l1_regularization_strength, l2_regularization_strength : float
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str

    Notes
    -----
    The value that a variable begins with plays no part after the first step.

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, Adaptive subgradient methods for online learning and stochastic
    optimization, JMLR 12 (2011).
    """

    def __init__(
        self,
        learning_rate: Any,
        global_step: Any,
        initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "AdagradDA",
    ) -> None:
        super().__init__(use_locking, name)
        start = initial_gradient_squared_accumulator_value
        require_positive("initial_gradient_squared_accumulator_value", start, self._label)
        self._learning_rate = learning_rate
        self._global_step = global_step
        self._initial_gradient_squared_accumulator_value = start
        self._l1_regularization_strength = l1_regularization_strength
        self._l2_regularization_strength = l2_regularization_strength

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        start = filled_with(self._initial_gradient_squared_accumulator_value)
        for v in var_list:
            self._zeros_slot(v, "gradient_accumulator", self._name)
            self._slot(v, "gradient_squared_accumulator", self._name, start)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._hyperparameter(self._learning_rate, "learning_rate")
        self._count = convert_to_tensor(self._global_step) + 1

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        rate, count = (self._as(t, var.dtype) for t in (self._learning_rate_tensor, self._count))
        sum_slot = self.get_slot(var, "gradient_accumulator")
        square_slot = self.get_slot(var, "gradient_squared_accumulator")
        total, squares = at.read(sum_slot) + grad, at.read(square_slot) + square(grad)
        pull, divisor = total, sqrt(squares)
        if self._l1_regularization_strength:
            strength = self._l1_regularization_strength * count
            pull = sign(total) * maximum(abs_(total) - strength, 0)
        if self._l2_regularization_strength:
            divisor = divisor + self._l2_regularization_strength * count * rate
        updates = at.write(sum_slot, total), at.write(square_slot, squares)
        return group(*updates, at.write(var, -rate * pull / divisor))


class FtrlOptimizer(FormulaOptimizer):
    """Follow the regularized leader: sparse weights from L1 regularization that is solved exactly.

    ``accum_new = accum + g**2; p = -learning_rate_power;
    linear += g - (accum_new**p - accum**p) / learning_rate * var; accum = accum_new;
    var = (clip(linear, -l1, l1) - linear) / (accum**p / learning_rate + 2 * l2)``.

    Parameters
    ----------
    learning_rate : number, tensor, variable or function that returns one
    learning_rate_power : float
        At most 0; with 0 the rate does not fall.
    initial_accumulator_value : float
        What ``accum`` starts with; 0 or more.
    l1_regularization_strength, l2_regularization_strength : float
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str
    accum_name, linear_name : str, optional
        Names of the slots' variables, in place of `name`.
    l2_shrinkage_regularization_strength : float
        Adds ``2 * strength * var`` to the gradient in ``linear``, but not in ``accum``.

    References
    ----------
    H. B. McMahan et al., Ad click prediction: a view from the trenches, KDD 2013.
    """

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:
        super().__init__(use_locking, name)
        if learning_rate_power > 0.0:
            raise GraphError(
                message(
                    f"learning_rate_power={learning_rate_power}",
                    where=self._label,
                    site=user_site(),
                    expected="0 or a negative number",
                )
            )
        for what, value in (
            ("initial_accumulator_value", initial_accumulator_value),
            ("l1_regularization_strength", l1_regularization_strength),
            ("l2_regularization_strength", l2_regularization_strength),
            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength),
        ):
            require_not_negative(what, value, self._label)
        self._learning_rate = learning_rate
        self._learning_rate_power = learning_rate_power
        self._initial_accumulator_value = initial_accumulator_value
        self._l1_regularization_strength = l1_regularization_strength
        self._l2_regularization_strength = l2_regularization_strength
        self._l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self._accum_name = accum_name
        self._linear_name = linear_name

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for v in var_list:
            start = filled_with(self._initial_accumulator_value)
            self._slot(v, "accum", self._accum_name or self._name, start)
            self._zeros_slot(v, "linear", self._linear_name or self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._hyperparameter(self._learning_rate, "learning_rate")

    def _power(self, x: Tensor) -> Tensor:
        return sqrt(x) if self._learning_rate_power == -0.5 else pow_(x, -self._learning_rate_power)

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        rate = self._as(self._learning_rate_tensor, var.dtype)
        accum_slot, linear_slot = self.get_slot(var, "accum"), self.get_slot(var, "linear")
        assert accum_slot is not None and linear_slot is not None
        accum, linear, weights = at.read(accum_slot), at.read(linear_slot), at.read(var)
        new = accum + square(grad)
        if self._l2_shrinkage_regularization_strength:
            grad = grad + 2 * self._l2_shrinkage_regularization_strength * weights
        root = self._power(new)
        linear = linear + (grad - (root - self._power(accum)) / rate * weights)
        divisor = root / rate
        if self._l2_regularization_strength:
            divisor = divisor + 2 * self._l2_regularization_strength
        pull = -linear
        if self._l1_regularization_strength:
            strength = self._l1_regularization_strength
            pull = clip_by_value(linear, -strength, strength) - linear
        updates = at.write(accum_slot, new), at.write(linear_slot, linear)
        return group(*updates, at.write(var, pull / divisor))
