"""Special functions that run on the host: incomplete gamma and beta, zeta, polygamma, inverses of erf."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.ops.compare import equal, select
from graphrun.ops.elementwise import exp, lgamma, log, log1p, square
from graphrun.ops.families import binary, require_kind, require_same_dtype, unary
from graphrun.ops.host import special_pairs as host
from graphrun.ops.reduce import reduce_sum
from graphrun.shapes import broadcast


def _igamma_slope(op: Operation) -> Tensor:
    a, x = op.inputs
    return exp((a - 1.0) * log(x) - x - lgamma(a))


igamma_grad_a = binary(
    "igamma_grad_a", numpy=host.igamma_grad_a, opencl=None, kind="floating", node_name="IgammaGradA",
    gradient=None, doc="The derivative of `igamma` by `a`; it has no derivatives itself.",
)  # fmt: skip
igamma = binary(
    "igamma", numpy=host.igamma, opencl=None, kind="floating", node_name="Igamma",
    gradient=lambda op, dy: (dy * igamma_grad_a(*op.inputs), dy * _igamma_slope(op)),
    doc="The lower incomplete gamma function of `x`, divided by gamma(`a`).",
)  # fmt: skip
igammac = binary(
    "igammac", numpy=host.igammac, opencl=None, kind="floating", node_name="Igammac",
    gradient=lambda op, dy: (-dy * igamma_grad_a(*op.inputs), -dy * _igamma_slope(op)),
    doc="The upper incomplete gamma function of `x`, divided by gamma(`a`).",
)  # fmt: skip
zeta = binary(
    "zeta", numpy=host.zeta, opencl=None, kind="floating", node_name="Zeta",
    gradient=lambda op, dy: (
        None, -dy * op.inputs[0] * apply("zeta", (op.inputs[0] + 1.0, op.inputs[1]))
    ),
    doc="Hurwitz's zeta function: the sum of ``(q + k) ** -x``; no gradient flows to `x`.",
)  # fmt: skip
polygamma = binary(
    "polygamma", numpy=host.polygamma, opencl=None, kind="floating", node_name="Polygamma",
    gradient=lambda op, dy: (None, dy * apply("polygamma", (op.inputs[0] + 1.0, op.inputs[1]))),
    doc="The `a`-th derivative of `digamma` at `x`; `a` is a whole number, as a float.",
)  # fmt: skip
erfinv = unary(
    "erfinv", numpy=host.erfinv, opencl=None, node_name="Erfinv",
    gradient=lambda op, dy: dy * (math.sqrt(math.pi) / 2) * exp(square(op.outputs[0])),
    doc="The inverse of `erf`.",
)  # fmt: skip
ndtri = unary(
    "ndtri", numpy=host.ndtri, opencl=None, node_name="Ndtri",
    gradient=lambda op, dy: dy * math.sqrt(2 * math.pi) * exp(square(op.outputs[0]) / 2.0),
    doc="The number below which a standard normal number lies with probability `x`.",
)  # fmt: skip


def _betainc_rule(a: Spec, b: Spec, x: Spec) -> tuple[Spec]:
    dtype = require_same_dtype(a, b, x)
    require_kind(a, "floating", "a")
    return (Spec(broadcast(broadcast(a.shape, b.shape), x.shape), dtype),)


def _betainc_gradient(op: Operation, dy: Tensor) -> tuple[None, None, Tensor]:
    a, b, x = op.inputs
    log_beta = lgamma(a) + lgamma(b) - lgamma(a + b)
    return None, None, dy * exp((b - 1.0) * log1p(-x) + (a - 1.0) * log(x) - log_beta)


betainc_op = register(
    OpDef(
        "betainc", _betainc_rule, host.betainc, None, _betainc_gradient, broadcasts=True, node_name="Betainc",
        input_names=("a", "b", "x"),
    )
)  # fmt: skip


def betainc(a: Any, b: Any, x: Any, name: str | None = None) -> Tensor:
    """The incomplete beta function of `x`, divided by beta(`a`, `b`); no gradient flows to `a` and `b`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.betainc(1.0, 1.0, 0.25)))
    0.25
    """
    return apply(betainc_op, convert_operands((a, b, x)), None, name)


def lbeta(x: Any, name: str | None = None) -> Tensor:
    """The logarithm of the beta function of the numbers in the last dimension of `x`."""
    t = convert_to_tensor(x)
    with t.graph.name_scope(name or "lbeta"):
        return reduce_sum(lgamma(t), [-1]) - lgamma(reduce_sum(t, [-1]))


def _times(first: Any, function: Callable[[Tensor], Tensor], x: Any, name: str | None, label: str) -> Tensor:
    a, b = convert_operands((first, x))
    with a.graph.name_scope(name or label):
        zero = equal(a, 0)
        # What is multiplied by 0 counts as finite, in the gradient too.
        return select(zero, 0, a * function(select(zero, 1, b)))


def xlogy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """``x * log(y)``, and 0 where `x` is 0."""
    return _times(x, log, y, name, "Xlogy")


def xdivy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """``x / y``, and 0 where `x` is 0."""
    return _times(x, lambda t: 1.0 / t, y, name, "Xdivy")
