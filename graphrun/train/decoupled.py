"""Optimizers that TensorFlow 1 had not: AdamW, LAMB and Lion, with weight decay apart from the gradient."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.ops.compare import where
from graphrun.ops.elementwise import sign, sqrt, square
from graphrun.ops.indexed_slices import IndexedSlices
from graphrun.ops.reduce import reduce_sum
from graphrun.ops.state import Variable, assign, assign_sub, group
from graphrun.train.optimizer import Optimizer
from graphrun.train.optimizers import AdamOptimizer


class _Decay:
    """Which variables a weight decay pulls towards 0."""

    def __init__(self, excluded: Iterable[str] | None) -> None:
        self._patterns = [
            re.compile(p) for p in ([excluded] if isinstance(excluded, str) else excluded or ())
        ]

    def applies_to(self, var: Variable) -> bool:
        return not any(p.search(var.op.name) for p in self._patterns)


class AdamWOptimizer(AdamOptimizer):
    """Adam with decoupled weight decay: Adam's step, and ``var -= learning_rate * weight_decay * var``.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : number, tensor, variable or function that returns one
    weight_decay : number or tensor
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str
    exclude_from_weight_decay : list of str, optional
        Regular expressions; variables in whose names one is found do not decay, as biases and the scales of
        norms: ``["bias", "gamma", "beta"]``.

    Notes
    -----
    As in PyTorch and Keras the decay is multiplied by the learning rate.  `epsilon` is added as in
    `AdamOptimizer`.

    References
    ----------
    I. Loshchilov and F. Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     w = gr.Variable([4.0, 4.0])
    ...     step = gr.train.AdamWOptimizer(0.5, weight_decay=0.25).minimize(gr.reduce_sum(w * [0.0, 1.0]))
    ...     sess.run(gr.global_variables_initializer())
    ...     sess.run(step)
    ...     print(sess.run(w).round(3))
    [3.5 3. ]
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        weight_decay: Any = 0.01,
        use_locking: bool = False,
        name: str = "AdamW",
        exclude_from_weight_decay: Sequence[str] | None = None,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, use_locking, name)
        self._weight_decay = weight_decay
        self._decay = _Decay(exclude_from_weight_decay)

    def _prepare(self) -> None:
        super()._prepare()
        self._weight_decay_t = self._hyperparameter(self._weight_decay, "weight_decay")

    def _step(self, m: Tensor, v: Tensor, var: Variable) -> Tensor:
        step = super()._step(m, v, var)
        if not self._decay.applies_to(var) or self._numbers.get(self._weight_decay_t) == 0:
            return step
        rate, decay = self._as(self._lr_t, var.dtype), self._as(self._weight_decay_t, var.dtype)
        return step + rate * decay * var.value()


class LAMBOptimizer(AdamWOptimizer):
    """LAMB: Adam's direction and weight decay, as long as the weights of the variable are, for large batches.

    ``u = m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon) + weight_decay * var`` in step t, and
    ``var -= learning_rate * norm(var) / norm(u) * u``; the quotient is 1 where one of the norms is 0.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : number, tensor, variable or function that returns one
    weight_decay : number or tensor
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str
    exclude_from_weight_decay, exclude_from_layer_adaptation : list of str, optional
        Regular expressions; variables in whose names one is found do not decay, or are not scaled by norms.
        The second list is the first one unless it is given.

    References
    ----------
    Y. You et al., Large batch optimization for deep learning: training BERT in 76 minutes, ICLR 2020.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-6,
        weight_decay: Any = 0.0,
        use_locking: bool = False,
        name: str = "LAMB",
        exclude_from_weight_decay: Sequence[str] | None = None,
        exclude_from_layer_adaptation: Sequence[str] | None = None,
    ) -> None:
        super().__init__(
            learning_rate, beta1, beta2, epsilon, weight_decay, use_locking, name, exclude_from_weight_decay
        )
        given = exclude_from_layer_adaptation
        self._adaptation = _Decay(exclude_from_weight_decay if given is None else given)

    def _step(self, m: Tensor, v: Tensor, var: Variable) -> Tensor:
        dtype, weights = var.dtype, var.value()
        power1, power2 = self._get_beta_accumulators()
        rise1 = self._shared(("rise1", dtype), lambda: 1 - self._as(power1.value(), dtype))
        rise2 = self._shared(("rise2", dtype), lambda: 1 - self._as(power2.value(), dtype))
        update = m / rise1 / (sqrt(v / rise2) + self._as(self._epsilon_t, dtype))
        if self._decay.applies_to(var) and self._numbers.get(self._weight_decay_t) != 0:
            update = update + self._as(self._weight_decay_t, dtype) * weights
        rate = self._as(self._lr_t, dtype)
        if self._adaptation.applies_to(var):
            own, its = (sqrt(reduce_sum(square(x))) for x in (weights, update))
            rate = rate * where(own > 0, where(its > 0, own / its, 1), 1)
        return rate * update


class LionOptimizer(Optimizer):
    """Lion: steps of one size, in the direction of the sign of an average of gradients.

    ``var -= learning_rate * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * var)``, and then
    ``m = beta2 * m + (1 - beta2) * g``.

    Parameters
    ----------
    learning_rate, beta1, beta2 : number, tensor, variable or function that returns one
        The rate is a third to a tenth of Adam's.
    weight_decay : number or tensor
    use_locking : bool
        Accepted for TensorFlow's sake.
    name : str
    exclude_from_weight_decay : list of str, optional
        Regular expressions; variables in whose names one is found do not decay.

    References
    ----------
    X. Chen et al., Symbolic discovery of optimization algorithms, NeurIPS 2023.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     w = gr.Variable([1.0, 1.0])
    ...     step = gr.train.LionOptimizer(0.25).minimize(gr.reduce_sum(w * [-3.0, 0.5]))
    ...     sess.run(gr.global_variables_initializer())
    ...     sess.run(step)
    ...     print(sess.run(w))
    [1.25 0.75]
    """

    def __init__(
        self,
        learning_rate: Any = 0.0001,
        beta1: Any = 0.9,
        beta2: Any = 0.99,
        weight_decay: Any = 0.0,
        use_locking: bool = False,
        name: str = "Lion",
        exclude_from_weight_decay: Sequence[str] | None = None,
    ) -> None:
        super().__init__(use_locking, name)
        self._lr = learning_rate
        self._beta1 = beta1
        self._beta2 = beta2
        self._weight_decay = weight_decay
        self._decay = _Decay(exclude_from_weight_decay)

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for v in var_list:
            self._zeros_slot(v, "m", self._name)

    def _prepare(self) -> None:
        self._lr_t = self._hyperparameter(self._lr, "learning_rate")
        self._beta1_t = self._hyperparameter(self._beta1, "beta1")
        self._beta2_t = self._hyperparameter(self._beta2, "beta2")
        self._weight_decay_t = self._hyperparameter(self._weight_decay, "weight_decay")

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        dtype = var.dtype
        slot = self.get_slot(var, "m")
        assert slot is not None
        m = slot.value()
        beta1, beta2 = self._as(self._beta1_t, dtype), self._as(self._beta2_t, dtype)
        update = sign(grad + (m - grad) * beta1)
        if self._decay.applies_to(var) and self._numbers.get(self._weight_decay_t) != 0:
            update = update + self._as(self._weight_decay_t, dtype) * var.value()
        moved = assign_sub(var, self._as(self._lr_t, dtype) * update)
        return group(moved, assign(slot, grad + (m - grad) * beta2))

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Any:
        # Every row moves, by the sign of its average.
        return self._apply_dense(convert_to_tensor(grad), var)
