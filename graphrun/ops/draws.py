"""Random draws that are made of others: categories; and of distributions that the host samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import maximum, minimum
from graphrun.ops.attributes import ints, known_ints
from graphrun.ops.compare import less
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import exp
from graphrun.ops.families import require_kind
from graphrun.ops.fill import shape
from graphrun.ops.joining import stack
from graphrun.ops.random import random_uniform
from graphrun.ops.ranking import cumsum
from graphrun.ops.reduce import reduce_max, reduce_sum
from graphrun.ops.seeds import stream_key
from graphrun.ops.sets import searchsorted
from graphrun.ops.state import stop_gradient
from graphrun.shapes import format_shape

_FLOATS = (dtypes.float16, dtypes.float32, dtypes.float64)


# -- categories -------------------------------------------------------------------------------------


def multinomial(
    logits: Any,
    num_samples: Any,
    seed: int | None = None,
    name: str | None = None,
    output_dtype: Any = None,
) -> Tensor:
    """Draw categories by their unnormalized log-probabilities, anew in each run.

    Parameters
    ----------
    logits : floating tensor of shape (batch, classes)
    num_samples : int or int tensor
    seed : int, optional
        See `set_random_seed`.
    output_dtype : int32 or int64 (the default)

    Returns
    -------
    Tensor of shape (batch, num_samples)

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     drawn = sess.run(gr.multinomial([[0.0, 0.0, -100.0]], 50, seed=1))
    ...     print(drawn.shape, sorted(set(drawn[0].tolist())))
    (1, 50) [0, 1]
    """
    x = convert_to_tensor(logits)
    if x._shape is not None and len(x._shape) != 2:
        raise ShapeError(
            message(f"logits of shape {format_shape(x._shape)}", where="multinomial", site=user_site(),
                    expected="(batch, classes)")
        )  # fmt: skip
    kind = dtypes.int64 if output_dtype is None else as_dtype(output_dtype)
    with x.graph.as_default(), x.graph.name_scope(name or "multinomial"):
        if x.dtype is dtypes.float16:
            x = cast(x, dtypes.float32)
        x = stop_gradient(x)
        # Where a random number falls among the running sums of the probabilities.
        sums = cumsum(exp(x - reduce_max(x, 1, True)), 1)
        total = sums[:, -1:]
        drawn = random_uniform(stack([shape(x)[0], num_samples]), dtype=x.dtype, seed=seed) * total
        found = searchsorted(sums, drawn, side="right", out_type=kind)
        # Rounding may make a draw as large as the total: that is the last category with a probability.
        last = reduce_sum(cast(less(sums, total), kind), 1, True)
        return minimum(found, last, "Multinomial")


def categorical(
    logits: Any, num_samples: Any, dtype: Any = None, seed: int | None = None, name: str | None = None
) -> Tensor:
    """The same as `multinomial`."""
    return multinomial(logits, num_samples, seed, name or "categorical", dtype)


# -- gamma and Poisson ------------------------------------------------------------------------------


def _rule(x: Spec, *, key: Any, shape: Any, dtype: DType) -> tuple[Spec]:
    require_kind(x, "floating", "the parameter")
    if dtype not in _FLOATS:
        raise RuleError(f"no random numbers of dtype {dtype}", expected="a floating dtype", kind=DTypeError)
    dims = known_ints(shape)
    return (Spec(None if dims is None or x.shape is None else (*dims, *x.shape), dtype),)


def _sampled(draw: Callable[[np.random.Generator, np.ndarray, tuple[int, ...]], np.ndarray]) -> Any:
    def numpy(counter: Any, x: Any, *, key: Any, shape: Any, dtype: DType) -> np.ndarray:
        # NumPy's own Philox, from the key and the counter of this operation's stream.
        bits = np.random.Philox(key=int(key[0]) | int(key[1]) << 32, counter=int(counter) << 64)
        wanted = (*(shape if isinstance(shape, tuple) else (shape,)), *np.shape(x))
        found = draw(np.random.Generator(bits), np.asarray(x, np.float64), wanted)
        return np.asarray(found).astype(dtype.numpy)

    return numpy


def _register(name: str, node_name: str, draw: Any) -> OpDef:
    def pure_rule(counter: Spec, x: Spec, **attrs: Any) -> tuple[Spec]:
        return _rule(x, **attrs)

    register(
        OpDef(
            f"philox_{name}", pure_rule, _sampled(draw), None, no_gradient, value_attrs=("shape",),
            advance=lambda out: 1 if math.prod(out.dims) else 0, input_names=("counter", "x"),
        )
    )  # fmt: skip
    return register(
        OpDef(
            f"random_{name}", _rule, None, None, no_gradient, value_attrs=("shape",), stateful=True,
            pure=f"philox_{name}", node_name=node_name, input_names=("x",),
        )
    )  # fmt: skip


def _gamma(rng: np.random.Generator, alpha: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    valid = alpha > 0
    return np.where(valid, rng.standard_gamma(np.where(valid, alpha, 1.0), size), np.nan)


def _poisson(rng: np.random.Generator, lam: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    valid = (lam >= 0) & (lam < 9e18)
    return np.where(valid, rng.poisson(np.where(valid, lam, 1.0), size), np.nan)


gamma_op = _register("gamma", "RandomGamma", _gamma)
poisson_op = _register("poisson", "RandomPoissonV2", _poisson)


def random_gamma(
    shape: Any,
    alpha: Any,
    beta: Any = None,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draw numbers of gamma distributions, anew in each run; the host samples them.

    Parameters
    ----------
    shape : shape or integer tensor
        How many for each pair of parameters.
    alpha, beta : floating tensors
        Shape and rate (1 by default); they broadcast.  No gradient flows to `alpha`.

    Returns
    -------
    Tensor
        Of shape ``shape + alpha.shape``.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.random_gamma([10], [0.5, 1.5]).shape.as_list()
    [10, 2]
    """
    kind = as_dtype(dtype)
    a = convert_to_tensor(alpha, kind)
    with a.graph.as_default(), a.graph.name_scope(name or "random_gamma"):
        b = None if beta is None else convert_to_tensor(beta, kind)
        if b is not None:
            a = a + b * 0
        attrs = {"key": stream_key(seed), "shape": ints(shape, "random_gamma", "shape"), "dtype": kind}
        drawn = apply(gamma_op, (a,), attrs)
        drawn = maximum(drawn, float(np.finfo(kind.numpy).tiny))
        return drawn if b is None else drawn / b


def random_poisson(
    lam: Any,
    shape: Any,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draw numbers of Poisson distributions with means `lam`, anew in each run; the host samples them.

    The result has shape ``shape + lam.shape``.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.random_poisson([3.0, 5.0], [10]).shape.as_list()
    [10, 2]
    """
    kind = as_dtype(dtype)
    mean = convert_to_tensor(lam)
    if not mean.dtype.is_floating:
        mean = cast(mean, dtypes.float64)
    with mean.graph.as_default():
        attrs = {"key": stream_key(seed), "shape": ints(shape, "random_poisson", "shape"), "dtype": kind}
        return apply(poisson_op, (mean,), attrs, name or "random_poisson/RandomPoissonV2")
