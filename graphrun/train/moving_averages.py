"""Exponential moving averages of variables and tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphrun.dtypes import DType
from graphrun.errors import DTypeError, GraphError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.site import user_site
from graphrun.ops.convert import cast
from graphrun.ops.fill import zeros
from graphrun.ops.math import minimum
from graphrun.ops.math import pow as pow_
from graphrun.ops.state import (
    Variable,
    assign,
    assign_add,
    assign_sub,
    global_variables,
    group,
    trainable_variables,
)
from graphrun.shapes import is_static
from graphrun.train.optimizer import make_slot

_COLLECTION = "moving_average_variables"  # TensorFlow's name


def moving_average_variables(scope: str | None = None) -> list[Variable]:
    """The variables of the default graph that have a moving average."""
    return get_default_graph().get_collection(_COLLECTION, scope)


def _require_number(value: Any, what: str, name: str) -> None:
    """Raise unless `value` is a real number, or a tensor or variable that holds one."""
    if isinstance(value, Tensor | Variable):
        kind = value.dtype
        fits = value.shape.ndims in (0, None) and (kind.is_floating or kind.is_integer)
        got = f"'{value.name}', {kind} of shape {value.shape}"
    else:
        fits = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf"
        got = f"{value!r}, of type {type(value).__name__}"
    if not fits:
        raise DTypeError(
            message(
                f"{what} is no number",
                where=f"ExponentialMovingAverage '{name}'",
                site=user_site(),
                got=got,
                expected="a number near 1, as 0.999" if what == "decay" else "a number, as the global step",
            )
        )


class ExponentialMovingAverage:
    """Averages that follow variables: ``average -= (1 - decay) * (average - value)`` at each update.

    Parameters
    ----------
    decay : float or scalar tensor
        Near 1, as 0.999.
    num_updates : number, tensor or variable, optional
        The decay is ``min(decay, (1 + num_updates) / (10 + num_updates))`` then, so that averages move
        faster in the beginning.
    zero_debias : bool
        For averages of tensors, which begin at 0: divide by ``1 - decay ** updates``.
    name : str

    Raises
    ------
    DTypeError
        Where `decay` or `num_updates` is no number.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     w = gr.Variable(0.0, name="w")
    ...     ema = gr.train.ExponentialMovingAverage(0.5)
    ...     with gr.control_dependencies([w.assign(8.0)]):
    ...         update = ema.apply([w])
    ...     sess.run(gr.global_variables_initializer())
    ...     sess.run(update)
    ...     print(ema.average(w).name, sess.run(ema.average(w)))
    w/ExponentialMovingAverage:0 4.0
    """

    def __init__(
        self,
        decay: Any,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ) -> None:
        for what, value in (("decay", decay), ("num_updates", num_updates)):
            if value is not None or what == "decay":
                _require_number(value, what, name)
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Variable] = {}

    @property
    def name(self) -> str:
        return self._name

    def apply(self, var_list: Iterable[Any] | None = None) -> Operation:
        """Return an operation that updates the averages of variables or tensors; it makes those that are new.

        The average of a variable begins at its initial value, that of a tensor at 0.
        """
        items = list(trainable_variables() if var_list is None else var_list)
        graph = items[0].graph if items else get_default_graph()
        with graph.as_default():
            for x in items:
                if x not in self._averages:
                    self._averages[x] = self._new_average(x)
                    if isinstance(x, Variable) and x not in graph.get_collection_ref(_COLLECTION):
                        graph.add_to_collection(_COLLECTION, x)
            with graph.name_scope(self._name) as scope:
                decays: dict[DType, Tensor] = {}
                updates = [self._update(x, decays) for x in items]
                return group(*updates, name=scope)

    def average(self, var: Any) -> Variable | None:
        """The variable that holds the average of `var`, or None."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """The name under which the average is, or would be, saved."""
        if var in self._averages:
            return self._averages[var].op.name
        graph = var.graph
        with graph.name_scope(None):
            return graph.unique_name(f"{var.op.name}/{self._name}", mark_as_used=False)

    def variables_to_restore(self, moving_avg_variables: Iterable[Any] | None = None) -> dict[str, Variable]:
        """Return names and variables that make a saver restore averages in place of the values.

        Variables without an average are restored under their own names.
        """
        if moving_avg_variables is None:
            moving_avg_variables = [*trainable_variables(), *moving_average_variables()]
        averaged = dict.fromkeys(moving_avg_variables)
        names = {self.average_name(v): v for v in averaged}
        for v in global_variables():
            if v not in averaged:
                names.setdefault(v.op.name, v)
        return names

    def _new_average(self, x: Any) -> Variable:
        if not isinstance(x, Variable | Tensor):
            raise DTypeError(
                message(
                    f"{x!r} has no moving average",
                    where=f"ExponentialMovingAverage '{self._name}'",
                    site=user_site(),
                    expected="variables or tensors",
                )
            )
        if not x.dtype.is_floating:
            raise DTypeError(
                message(
                    f"'{x.name}' has dtype {x.dtype}",
                    where=f"ExponentialMovingAverage '{self._name}'",
                    site=x.op.site,
                    expected="a floating dtype",
                )
            )
        if isinstance(x, Variable):
            return make_slot(x, self._name, x.initialized_value)
        if not is_static(x._shape):
            raise GraphError(
                message(
                    f"the shape of '{x.name}' is {x.shape}",
                    where=f"ExponentialMovingAverage '{self._name}'",
                    site=x.op.site,
                    expected="a static shape, since the average is a variable",
                    fix="use x.set_shape(...)",
                )
            )
        return make_slot(x, self._name, lambda: zeros(x._shape, x.dtype))

    def _decay_tensor(self, dtype: DType) -> Any:
        decay = cast(
            convert_to_tensor(self._decay, None if isinstance(self._decay, Tensor) else dtype), dtype
        )
        if self._num_updates is None:
            return decay
        updates = cast(convert_to_tensor(self._num_updates), dtype)
        return minimum(decay, (1 + updates) / (10 + updates))

    def _update(self, x: Any, decays: dict[DType, Tensor]) -> Tensor:
        average, dtype = self._averages[x], x.dtype
        if dtype not in decays:
            decays[dtype] = self._decay_tensor(dtype)
        decay = decays[dtype]
        value = convert_to_tensor(x)
        if not self._zero_debias or isinstance(x, Variable):
            return assign_sub(average, (average.value() - value) * (1 - decay))
        biased = make_slot(average, "biased", lambda: zeros(x._shape, dtype))
        count = make_slot(average, "local_step", lambda: zeros((), dtype))
        total = assign_sub(biased, (biased.value() - value) * (1 - decay))
        return assign(average, total / (1 - pow_(decay, assign_add(count, 1.0))))
