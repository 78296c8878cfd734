"""Regularizers: functions from a variable to a penalty, for ``regularizer=`` of variables, scopes and layers.

They are what TensorFlow 1 has in ``tf.contrib.layers`` (`l1_regularizer` and its relatives) and in
``tf.keras.regularizers`` (`l1`, `l2`, `l1_l2`).  Mind that those differ by a half: `l2_regularizer` is
``scale * sum(w ** 2) / 2``, `l2` is ``l * sum(w ** 2)``.

>>> import graphrun as gr
>>> with gr.Graph().as_default(), gr.Session() as sess:
...     w = gr.get_variable("w", initializer=[1.0, -2.0], regularizer=gr.regularizers.l2_regularizer(0.1))
...     sess.run(gr.global_variables_initializer())
...     print(sess.run(gr.losses.get_regularization_loss()))
0.25
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphrun.errors import DTypeError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.graph import GraphKeys
from graphrun.graph.node import Tensor
from graphrun.graph.scopes import name_scope
from graphrun.graph.site import user_site
from graphrun.ops.math import abs as abs_
from graphrun.ops.math import add_n, multiply, square
from graphrun.ops.nn import l2_loss
from graphrun.ops.reduce import reduce_sum
from graphrun.ops.state import constant
from graphrun.shapes import format_shape

Regularizer = Callable[[Any], "Tensor | None"]


def _scale(scale: Any, what: str) -> None:
    """Raise unless it is a float of 0 or more, or a tensor."""
    if isinstance(scale, numbers.Integral):
        raise DTypeError(
            message(f"scale is the int {scale}", where=what, site=user_site(), expected="a float",
                    fix=f"write {scale}.0")
        )  # fmt: skip
    if isinstance(scale, numbers.Real) and scale < 0:
        raise ShapeError(message(f"scale is {scale}", where=what, site=user_site(), expected="0.0 or more"))


def _scaled(scale: Any, scope: str | None, what: str, penalty: Callable[[Tensor], Tensor]) -> Regularizer:
    _scale(scale, what)
    if isinstance(scale, numbers.Real) and scale == 0:
        return lambda weights: None

    def regularizer(weights: Any, name: str | None = None) -> Tensor:
        with name_scope(scope, what, [weights]) as label:
            w = convert_to_tensor(weights)
            factor = convert_to_tensor(scale, w.dtype, "scale")
            return multiply(factor, penalty(w), name=label)

    return regularizer


def l1_regularizer(scale: Any, scope: str | None = None) -> Regularizer:
    """Return a regularizer: `scale` times the sum of the absolute values.

    Parameters
    ----------
    scale : float or scalar tensor
        0.0 makes a regularizer that returns None: no penalty.
    scope : str, optional
        Of the penalty's operations.

    Raises
    ------
    DTypeError
        If `scale` is an int: where 1 is written, a forgotten fraction is likely.
    ShapeError
        If `scale` is negative.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.regularizers.l1_regularizer(0.5)(gr.constant([1.0, -3.0]))))
    2.0
    """
    return _scaled(scale, scope, "l1_regularizer", lambda w: reduce_sum(abs_(w)))


def l2_regularizer(scale: Any, scope: str | None = None) -> Regularizer:
    """Return a regularizer: `scale` times half the sum of the squares.  Parameters of `l1_regularizer`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.regularizers.l2_regularizer(0.5)(gr.constant([1.0, -3.0]))))
    2.5
    """
    return _scaled(scale, scope, "l2_regularizer", l2_loss)


def l1_l2_regularizer(scale_l1: Any = 1.0, scale_l2: Any = 1.0, scope: str | None = None) -> Regularizer:
    """Return the sum of an `l1_regularizer` and an `l2_regularizer`."""
    for scale in (scale_l1, scale_l2):
        _scale(scale, "l1_l2_regularizer")
    scope = scope or "l1_l2_regularizer"
    if isinstance(scale_l1, numbers.Real) and scale_l1 == 0:
        return l2_regularizer(scale_l2, scope)
    if isinstance(scale_l2, numbers.Real) and scale_l2 == 0:
        return l1_regularizer(scale_l1, scope)
    both = sum_regularizer([l1_regularizer(scale_l1), l2_regularizer(scale_l2)], scope)
    assert both is not None
    return both


def sum_regularizer(
    regularizer_list: Iterable[Regularizer | None], scope: str | None = None
) -> Regularizer | None:
    """Return the sum of regularizers, of which some may be None; None where all are.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     both = gr.regularizers.sum_regularizer([None, gr.regularizers.l1(1.0), gr.regularizers.l2(0.5)])
    ...     print(sess.run(both(gr.constant([2.0]))))
    4.0
    """
    parts = [r for r in regularizer_list if r is not None]
    if not parts:
        return None

    def regularizer(weights: Any) -> Tensor | None:
        with name_scope(scope, "sum_regularizer", [weights]) as label:
            found = [p for p in (r(weights) for r in parts) if p is not None]
            return add_n(found, name=label) if found else None

    return regularizer


def apply_regularization(regularizer: Regularizer, weights_list: Sequence[Any] | None = None) -> Tensor:
    """Return the sum of a regularizer's penalties, and add it to ``GraphKeys.REGULARIZATION_LOSSES``.

    Parameters
    ----------
    regularizer : function
        Returns a scalar, or None for no penalty.
    weights_list : list of tensors or variables, optional
        The collection ``GraphKeys.WEIGHTS`` by default.

    Raises
    ------
    ShapeError
        If there are no weights, or the regularizer returns something else than a scalar.
    """
    weights = list(weights_list or get_default_graph().get_collection(GraphKeys.WEIGHTS))
    if not weights:
        raise ShapeError(
            message("no weights to regularize", where="apply_regularization", site=user_site(),
                    fix="pass weights_list, or collect variables in gr.GraphKeys.WEIGHTS")
        )  # fmt: skip
    with name_scope("get_regularization_penalty", values=weights) as scope:
        found = [regularizer(w) for w in weights]
        penalties = [constant(0.0) if p is None else p for p in found]
        for p in penalties:
            if p._shape is not None and p._shape != ():
                raise ShapeError(
                    message(f"the regularizer returns shape {format_shape(p._shape)}",
                            where="apply_regularization", site=user_site(), expected="a scalar")
                )  # fmt: skip
        total = add_n(penalties, name=scope)
    get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, total)
    return total


class L1L2:
    """``l1 * sum(abs(w)) + l2 * sum(w ** 2)``, as a regularizer.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.regularizers.L1L2(l1=1.0, l2=0.5)(gr.constant([-2.0]))))
    4.0
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = float(l1), float(l2)

    def __call__(self, x: Any) -> Tensor:
        w = convert_to_tensor(x)
        terms = []
        if self.l1:
            terms.append(reduce_sum(self.l1 * abs_(w)))
        if self.l2:
            terms.append(reduce_sum(self.l2 * square(w)))
        if not terms:
            return convert_to_tensor(0.0, w.dtype)
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    def get_config(self) -> dict[str, float]:
        """The arguments that make another one like it."""
        return {"l1": self.l1, "l2": self.l2}

    @classmethod
    def from_config(cls, config: dict[str, float]) -> L1L2:
        """One of these arguments."""
        return cls(**config)


def l1(l: float = 0.01) -> L1L2:  # noqa: E741  Keras's name
    """Return a regularizer: `l` times the sum of the absolute values."""
    return L1L2(l1=l)


def l2(l: float = 0.01) -> L1L2:  # noqa: E741
    """Return a regularizer: `l` times the sum of the squares; twice what `l2_regularizer` gives."""
    return L1L2(l2=l)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """Return a regularizer: the sum of both."""
    return L1L2(l1, l2)
