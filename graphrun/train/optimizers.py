"""The optimizers of TensorFlow 1, with its update formulas, names and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphrun import dtypes
from graphrun.dtypes import DType
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.ops.elementwise import rsqrt, sqrt, square
from graphrun.ops.indexed_slices import IndexedSlices
from graphrun.ops.scatter import scatter_sub
from graphrun.ops.state import Variable, assign, assign_sub, group
from graphrun.train.optimizer import Optimizer, filled_with, require_positive
from graphrun.train.places import FormulaOptimizer, Whole


class GradientDescentOptimizer(FormulaOptimizer):
    """Gradient descent: ``var -= learning_rate * g``.

    Parameters
    ----------
    learning_rate : number, tensor, variable or function that returns one
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str
    """

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._hyperparameter(self._learning_rate, "learning_rate")

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        return at.subtract(var, self._as(self._learning_rate_tensor, var.dtype) * grad)

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Any:
        # It takes from each row in turn, so nothing has to be added up before.
        return scatter_sub(var, grad.indices, self._as(self._learning_rate_tensor, var.dtype) * grad.values)


class MomentumOptimizer(FormulaOptimizer):
    """Momentum: ``accum = momentum * accum + g; var -= learning_rate * accum``.

    With Nesterov's: ``var -= learning_rate * (g + momentum * accum)``, with the new accum.

    Parameters
    ----------
    learning_rate, momentum : number, tensor, variable or function that returns one
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str
    use_nesterov : bool

    References
    ----------
    I. Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._use_nesterov = use_nesterov

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for v in var_list:
            self._zeros_slot(v, "momentum", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._hyperparameter(self._learning_rate, "learning_rate")
        self._momentum_tensor = self._hyperparameter(self._momentum, "momentum")

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        accum = self.get_slot(var, "momentum")
        rate = self._as(self._learning_rate_tensor, var.dtype)
        momentum = self._as(self._momentum_tensor, var.dtype)
        new = momentum * at.read(accum) + grad
        step = grad + momentum * new if self._use_nesterov else new
        return group(at.write(accum, new), at.subtract(var, rate * step))


class AdamOptimizer(Optimizer):
    """Adam: steps of a bias-corrected mean of gradients over the root of the mean of their squares.

    ``m += (1 - beta1) * (g - m); v += (1 - beta2) * (g**2 - v)``, and in step t
    ``var -= learning_rate * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : number, tensor, variable or function that returns one
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str

    Notes
    -----
    `epsilon` is added as in TensorFlow, which is the "epsilon hat" of the paper.

    References
    ----------
    D. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR 2015.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        super().__init__(use_locking, name)
        self._lr = learning_rate
        self._beta1 = beta1
        self._beta2 = beta2
        self._epsilon = epsilon

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        first = min(var_list, key=lambda v: v.name)
        wide = all(v.dtype is dtypes.float64 for v in var_list)
        for beta, name in ((self._beta1, "beta1_power"), (self._beta2, "beta2_power")):
            if self._get_non_slot_variable(name, first.graph) is None:
                if wide and isinstance(beta, int | float):
                    # In float32, 1 - beta2 has an error of 1e-5, too much for a program in float64.
                    beta = dtypes.float64.numpy.type(beta)
                self._create_non_slot_variable(beta, name, first)
        for v in var_list:
            self._zeros_slot(v, "m", self._name)
            self._zeros_slot(v, "v", self._name)

    def _get_beta_accumulators(self) -> tuple[Any, Any]:
        graph = self._lr_t.graph
        return (
            self._get_non_slot_variable("beta1_power", graph),
            self._get_non_slot_variable("beta2_power", graph),
        )

    def _prepare(self) -> None:
        self._lr_t = self._hyperparameter(self._lr, "learning_rate")
        self._beta1_t = self._hyperparameter(self._beta1, "beta1")
        self._beta2_t = self._hyperparameter(self._beta2, "beta2")
        self._epsilon_t = self._hyperparameter(self._epsilon, "epsilon")

    def _rate(self, dtype: DType) -> Tensor:
        power1, power2 = (self._as(p.value(), dtype) for p in self._get_beta_accumulators())
        return self._as(self._lr_t, dtype) * (sqrt(1 - power2) / (1 - power1))

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        dtype = var.dtype
        keep1 = self._shared(("1 - beta1", dtype), lambda: 1 - self._as(self._beta1_t, dtype))
        keep2 = self._shared(("1 - beta2", dtype), lambda: 1 - self._as(self._beta2_t, dtype))
        m_slot, v_slot = self.get_slot(var, "m"), self.get_slot(var, "v")
        assert m_slot is not None and v_slot is not None
        m, v = m_slot.value(), v_slot.value()
        m = m + (grad - m) * keep1
        v = v + (square(grad) - v) * keep2
        return group(assign(m_slot, m), assign(v_slot, v), assign_sub(var, self._step(m, v, var)))

    def _step(self, m: Tensor, v: Tensor, var: Variable) -> Tensor:
        """What is taken from `var`, by the new moments."""
        dtype = var.dtype
        rate = self._shared(("rate", dtype), lambda: self._rate(dtype))
        return rate * m / (sqrt(v) + self._as(self._epsilon_t, dtype))

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Any:
        # As in TensorFlow, moments fall and weights move in all rows: there is no row to leave out.
        return self._apply_dense(convert_to_tensor(grad), var)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        power1, power2 = self._get_beta_accumulators()
        powers = [
            assign(power, power.value() * self._as(beta, power.dtype))
            for power, beta in ((power1, self._beta1_t), (power2, self._beta2_t))
        ]
        return group(*update_ops, *powers, name=name_scope)


class RMSPropOptimizer(FormulaOptimizer):
    """RMSProp: steps of the gradient over the root of the mean of its squares, with momentum.

    ``ms += (1 - decay) * (g**2 - ms); mom = momentum * mom + learning_rate * g / sqrt(ms + epsilon);
    var -= mom``.  Centered: ``mg += (1 - decay) * (g - mg)``, and ``ms - mg**2`` in place of ``ms``.

    Parameters
    ----------
    learning_rate, decay, momentum, epsilon : number, tensor, variable or function that returns one
    use_locking : bool
        Accepted for TensorFlow's sake.
    centered : bool
        Divide by an estimate of the variance, not of the uncentered second moment.
    name : str

    References
    ----------
    T. Tieleman and G. Hinton, Lecture 6.5 of Neural Networks for Machine Learning, Coursera 2012.
    """

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._decay = decay
        self._momentum = momentum
        self._epsilon = epsilon
        self._centered = centered

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for v in var_list:
            self._slot(v, "rms", self._name, filled_with(1.0))
            if self._centered:
                self._zeros_slot(v, "mg", self._name)
            self._zeros_slot(v, "momentum", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._hyperparameter(self._learning_rate, "learning_rate")
        self._decay_tensor = self._hyperparameter(self._decay, "decay")
        self._momentum_tensor = self._hyperparameter(self._momentum, "momentum")
        self._epsilon_tensor = self._hyperparameter(self._epsilon, "epsilon")

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        dtype = var.dtype
        keep = self._shared(("1 - decay", dtype), lambda: 1 - self._as(self._decay_tensor, dtype))
        rms_slot, momentum_slot = self.get_slot(var, "rms"), self.get_slot(var, "momentum")
        assert rms_slot is not None and momentum_slot is not None
        rms = at.read(rms_slot)
        rms = rms + (square(grad) - rms) * keep
        updates = [at.write(rms_slot, rms)]
        spread = rms
        if self._centered:
            mean_slot = self.get_slot(var, "mg")
            assert mean_slot is not None
            mean = at.read(mean_slot)
            mean = mean + (grad - mean) * keep
            updates.append(at.write(mean_slot, mean))
            spread = rms - square(mean)
        rate = self._as(self._learning_rate_tensor, dtype)
        step = rate * grad * rsqrt(spread + self._as(self._epsilon_tensor, dtype))
        if self._numbers.get(self._momentum_tensor) != 0:
            step = self._as(self._momentum_tensor, dtype) * at.read(momentum_slot) + step
        return group(*updates, at.write(momentum_slot, step), at.subtract(var, step))


class AdagradOptimizer(FormulaOptimizer):
    """Adagrad: ``accum += g**2; var -= learning_rate * g / sqrt(accum)``.

    Parameters
    ----------
    learning_rate : number, tensor, variable or function that returns one
    initial_accumulator_value : float
        What ``accum`` starts with; above 0.
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, Adaptive subgradient methods for online learning and stochastic
    optimization, JMLR 12 (2011).
    """

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        super().__init__(use_locking, name)
        require_positive("initial_accumulator_value", initial_accumulator_value, self._label)
        self._learning_rate = learning_rate
        self._initial_accumulator_value = initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for v in var_list:
            self._slot(v, "accumulator", self._name, filled_with(self._initial_accumulator_value))

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._hyperparameter(self._learning_rate, "learning_rate")

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        slot = self.get_slot(var, "accumulator")
        accum = at.read(slot) + square(grad)
        step = self._as(self._learning_rate_tensor, var.dtype) * grad * rsqrt(accum)
        return group(at.write(slot, accum), at.subtract(var, step))


class AdadeltaOptimizer(FormulaOptimizer):
    """Adadelta: the step's size follows from a mean of the squares of earlier steps.

    ``accum = rho * accum + (1 - rho) * g**2; step = sqrt(accum_update + epsilon) / sqrt(accum + epsilon)
    * g; accum_update = rho * accum_update + (1 - rho) * step**2; var -= learning_rate * step``.

    Parameters
    ----------
    learning_rate, rho, epsilon : number, tensor, variable or function that returns one
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str

    References
    ----------
    M. Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701 (2012).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        super().__init__(use_locking, name)
        self._lr = learning_rate
        self._rho = rho
        self._epsilon = epsilon

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for v in var_list:
            self._zeros_slot(v, "accum", self._name)
            self._zeros_slot(v, "accum_update", self._name)

    def _prepare(self) -> None:
        self._lr_t = self._hyperparameter(self._lr, "lr")
        self._rho_t = self._hyperparameter(self._rho, "rho")
        self._epsilon_t = self._hyperparameter(self._epsilon, "epsilon")

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        dtype = var.dtype
        keep = self._shared(("1 - rho", dtype), lambda: 1 - self._as(self._rho_t, dtype))
        epsilon = self._as(self._epsilon_t, dtype)
        accum_slot, update_slot = self.get_slot(var, "accum"), self.get_slot(var, "accum_update")
        assert accum_slot is not None and update_slot is not None
        accum, mean = at.read(accum_slot), at.read(update_slot)
        accum = accum + (square(grad) - accum) * keep
        step = sqrt(mean + epsilon) * rsqrt(accum + epsilon) * grad
        mean = mean + (square(step) - mean) * keep
        return group(
            at.write(accum_slot, accum),
            at.write(update_slot, mean),
            at.subtract(var, self._as(self._lr_t, dtype) * step),
        )
