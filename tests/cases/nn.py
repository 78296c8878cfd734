"""Rows of the activations, softmax and cross entropies, biases and norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cases import Case, Input, apart, case, cases, fixed, floats, ints, special

FLOATS = ("float16", "float32", "float64")


def each(function: Any) -> Any:
    return lambda *arrays: np.vectorize(function, otypes=[float])(*[a.astype(float) for a in arrays])


def _activation(op: str, function: Any, kinks: tuple[float, ...] = (), attrs: Any = None) -> list[Case]:
    made = apart((3, 4), -4, 8, kinks) if kinks else floats((3, 4), -4, 4)
    return [
        *cases(op, [made], attrs, dtypes=FLOATS, expected=each(function)),
        case(op, [(0, 3)], attrs, gradient=False),
        special(op, attrs=attrs),
    ]


_ALPHA, _SCALE = 1.6732632423543772, 1.0507009873554805
_ACTIVATIONS: list[Case] = [
    *_activation("relu", lambda x: max(x, 0.0), (0.0,)),
    *_activation("relu6", lambda x: min(max(x, 0.0), 6.0), (0.0, 6.0)),
    *_activation("elu", lambda x: x if x > 0 else math.expm1(x), (0.0,)),
    *_activation("selu", lambda x: _SCALE * (x if x > 0 else _ALPHA * math.expm1(x)), (0.0,)),
    *_activation("softsign", lambda x: x / (1 + abs(x))),
    *_activation("leaky_relu", lambda x: x if x > 0 else 0.25 * x, (0.0,), {"alpha": 0.25}),
    case("leaky_relu", [apart((5,))], {"alpha": -1.5}, expected=each(lambda x: x if x > 0 else -1.5 * x)),
    *[case(op, [(9,)], dtype="int32", domain=(-9, 9)) for op in ("relu", "relu6")],
    *[case(op, [floats((9,)), apart((9,), -1, 8, (0.0, 6.0))]) for op in ("relu_gradient", "relu6_gradient")],
    *[case(op, [(9,), (9,)], dtype="float16", gradient=False) for op in ("relu_gradient", "relu6_gradient")],
]


def _in_double(function: Any) -> Any:
    return lambda *arrays: function(*[a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays])


def _probabilities(axis: int) -> Any:
    def expected(x: Any) -> Any:
        e = np.exp(x)
        return e / e.sum(axis, keepdims=True)

    return _in_double(expected)


def _log_probabilities(axis: int) -> Any:
    return _in_double(lambda x: x - np.log(np.exp(x).sum(axis, keepdims=True)))


_EXTREME_ROWS = [
    [1000.0, 0.0, -1000.0],
    [-np.inf, 0.0, 1.0],
    [-np.inf, -np.inf, -np.inf],
    [np.inf, 0.0, 1.0],
    [np.nan, 0.0, 1.0],
    [-1e4, -1e4, -1e4],
]
_SOFTMAX: list[Case] = [
    row
    for op, function in (("softmax", _probabilities), ("log_softmax", _log_probabilities))
    for row in [
        *cases(op, [(3, 5)], {"axis": -1}, dtypes=FLOATS, expected=function(-1)),
        *[case(op, [(2, 3, 4)], {"axis": axis}, expected=function(axis)) for axis in (0, 1, 2, -3)],
        case(op, [(5,)], {"axis": 0}),
        case(op, [(7, 1)], {"axis": 1}),
        case(op, [(3, 0)], {"axis": 1}, gradient=False),
        case(op, [(0, 3)], {"axis": 1}, gradient=False),
        case(op, [(17, 1031)], {"axis": 1}, gradient=False, tolerance=2.0),
        case(op, [fixed(_EXTREME_ROWS)], {"axis": 1}, gradient=False, label="extreme"),
        case(op, [fixed(np.ones((2, 70000)))], {"axis": 1}, dtype="float16", gradient=False, label="long"),
    ]
]


def _distribution(shape: tuple[int, ...], axis: int = -1) -> Input:
    def draw(rng: np.random.Generator) -> Any:
        p = rng.uniform(0.1, 1.0, shape)
        return p / p.sum(axis, keepdims=True)

    return Input(draw)


def _xent(axis: int) -> Any:
    def expected(x: Any, labels: Any) -> Any:
        log_p = x - np.log(np.exp(x).sum(axis, keepdims=True))
        loss = -(labels * log_p).sum(axis)
        return [loss, np.exp(log_p) * labels.sum(axis, keepdims=True) - labels]

    return _in_double(expected)


_XENT: list[Case] = [
    *cases("softmax_xent", [(4, 5), _distribution((4, 5))], {"axis": -1}, dtypes=FLOATS, expected=_xent(-1)),
    case("softmax_xent", [(2, 3, 4), _distribution((2, 3, 4), 1)], {"axis": 1}, expected=_xent(1)),
    case("softmax_xent", [(5,), _distribution((5,))], {"axis": 0}, expected=_xent(0)),
    # Labels that are no distribution: the gradient is that of the loss all the same.
    case(
        "softmax_xent", [(4, 5), floats((4, 5), 0, 2)], {"axis": 1}, expected=_xent(1), label="unnormalized"
    ),
    case(
        "softmax_xent",
        [fixed([[1000.0, 0.0], [-np.inf, 1.0]]), fixed([[0.0, 1.0], [0.0, 1.0]])],
        {"axis": 1},
        gradient=False,
        label="extreme",
        expected=lambda x, z: [np.array([1000.0, 0.0]), np.array([[1.0, -1.0], [0.0, 0.0]])],
    ),
    case("softmax_xent", [(0, 5), (0, 5)], {"axis": 1}, gradient=False),
    case("softmax_xent", [(33, 517), _distribution((33, 517))], {"axis": 1}, gradient=False, tolerance=2.0),
    case(
        "weighted_distance",
        [fixed([0.0, 1.0, -2.0, 0.0]), fixed([np.inf, 2.0, 3.0, 1.0]), floats((4,))],
        label="zeros",
    ),
]


def _sparse(x: Any, labels: Any) -> Any:
    log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
    own = labels[..., None] == np.arange(x.shape[-1])
    return [-(log_p * own).sum(-1), np.exp(log_p) - own]


_SPARSE: list[Case] = [
    *cases("sparse_softmax_xent", [(4, 5), ints((4,), 0, 5)], dtypes=FLOATS, expected=_in_double(_sparse)),
    *[
        case(
            "sparse_softmax_xent",
            [(4, 5), ints((4,), 0, 5, d)],
            expected=_in_double(_sparse),
            label=f"{d}-labels",
        )
        for d in ("int64", "uint8", "int8")
    ],
    case("sparse_softmax_xent", [(2, 3, 4), ints((2, 3), 0, 4)], expected=_in_double(_sparse)),
    case("sparse_softmax_xent", [(4,), ints((), 0, 4)], expected=_in_double(_sparse)),
    case("sparse_softmax_xent", [(0, 4), ints((0,), 0, 4)], gradient=False),
    case(
        "sparse_softmax_xent",
        [fixed([[1000.0, 0.0], [-np.inf, 0.0]]), fixed([1, 1], "int32")],
        gradient=False,
        label="extreme",
        expected=lambda x, z: [np.array([1000.0, 0.0]), np.array([[1.0, -1.0], [0.0, 0.0]])],
    ),
]

_SIGMOID: list[Case] = [
    *cases(
        "sigmoid_xent",
        [floats((3, 4), -4, 4), floats((3, 4), 0, 1)],
        dtypes=FLOATS,
        expected=each(lambda x, z: math.log1p(math.exp(x)) - x * z),
    ),
    special("sigmoid_xent", 2),
]


def _bias(data_format: str) -> dict[str, Any]:
    return {"data_format": data_format}


_BIAS: list[Case] = [
    case("bias_add", [(3, 4), (4,)], _bias("NHWC")),
    case("bias_add", [(2, 3, 3, 4), (4,)], _bias("NHWC")),
    case("bias_add", [(2, 4, 3, 3), (4,)], _bias("NCHW"), expected=lambda x, b: x + b[:, None, None]),
    case("bias_add", [(3, 4), (4,)], _bias("NCHW")),
    case("bias_add", [(2, 4, 3), (4,)], _bias("NCW")),
    case("bias_add", [(0, 4), (4,)], _bias("NHWC"), gradient=False),
    *cases("bias_add", [(3, 4), (4,)], _bias("NHWC"), dtypes=("float16", "float64", "int32"), gradient=False),
]

_NORMS: list[Case] = [
    *cases("l2_loss", [(3, 4)], dtypes=FLOATS, expected=_in_double(lambda x: (x * x).sum() / 2)),
    case("l2_loss", [()]),
    case("l2_loss", [(0,)], gradient=False),
    case("l2_loss", [(311, 71)], gradient=False, tolerance=2.0),
]

# No gradient flows to the mean, which is right for the true mean alone: test_normalization checks that.
_MOMENTS: list[Case] = [
    case("squared_deviation", [(3, 4), (3, 1)], gradient=False),
    *cases("squared_deviation", [(3, 4), (4,)], dtypes=("float16", "float64"), gradient=False),
    special("squared_deviation", 2),
]

CASES: list[Case] = [
    *_ACTIVATIONS,
    *_SOFTMAX,
    *_XENT,
    *_SPARSE,
    *_SIGMOID,
    *_BIAS,
    *_NORMS,
    *_MOMENTS,
]
