"""Activations by name: ``activation="relu"`` where a function may stand."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from graphrun.errors import NotFoundError, message
from graphrun.graph.site import user_site
from graphrun.ops.elementwise import exp, sigmoid, softplus, tanh
from graphrun.ops.nn import elu, relu, selu, softmax, softsign, swish
from graphrun.ops.state import identity

NAMED: dict[str, Callable[..., Any]] = {
    "elu": elu, "exponential": exp, "linear": identity, "relu": relu, "selu": selu, "sigmoid": sigmoid,
    "softmax": softmax, "softplus": softplus, "softsign": softsign, "swish": swish, "tanh": tanh,
}  # fmt: skip


def activation_of(activation: Any, default: Callable[..., Any] | None = None) -> Any:
    """The function that a name or a function stands for; `default` for None."""
    if activation is None:
        return default
    if callable(activation):
        return activation
    if activation not in NAMED:
        close = difflib.get_close_matches(str(activation), NAMED, 1)
        raise NotFoundError(
            message(f"activation={activation!r}", site=user_site(),
                    expected=f"a function, or one of {', '.join(NAMED)}",
                    fix=f"did you mean '{close[0]}'?" if close else "")
        )  # fmt: skip
    return NAMED[activation]
