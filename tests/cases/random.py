"""Rows of ``graphrun/ops/random.py``: the pure operations; the stateful ones have their own tests."""

from __future__ import annotations

import numpy as np

from cases import Case, case
from graphrun.dtypes import as_dtype
from graphrun.graph.opdef import Constant

_COUNTER = np.int64(3)
_KEY = (0x12345678, 0x9ABCDEF0)
_TRUE = np.array([[2, 0], [5, 1], [3, 4]], np.int64)


def _draws(op: str, *dtypes: str) -> list[Case]:
    shapes = ((5, 7), (), (0, 3), (1001,))
    return [
        case(op, [_COUNTER], {"key": _KEY, "shape": shape, "dtype": as_dtype(d)}, label=f"{shape} {d}")
        for d in dtypes
        for shape in shapes
    ]


CASES: list[Case] = [
    *_draws("philox_uniform", "float16", "float32", "float64"),
    *_draws("philox_normal", "float16", "float32", "float64"),
    *_draws("philox_truncated_normal", "float16", "float32", "float64"),
    *(
        case(
            "philox_uniform_int",
            [_COUNTER, np.dtype(d).type(-3), np.dtype(d).type(11)],
            {"key": _KEY, "shape": (5, 7), "dtype": as_dtype(d)},
            dtype=d,
            label=d,
        )
        for d in ("int32", "int64")
    ),
    case("philox_shuffle", [_COUNTER, (7, 3)], {"key": _KEY}, gradient=False, host_ok=True),
    case("philox_shuffle", [_COUNTER, (9,)], {"key": _KEY}, dtype="int32", host_ok=True),
    # Sampled by NumPy on the host: what is compared is that it is the same again.
    *(
        case(
            op,
            [_COUNTER, np.array([0.5, 3.0, 40.0])],
            {"key": _KEY, "shape": shape, "dtype": as_dtype(d)},
            label=f"{shape} {d}",
            host_ok=True,
        )
        for op in ("philox_gamma", "philox_poisson")
        for shape, d in (((5, 7), "float32"), ((), "float64"), ((0,), "float16"))
    ),
    # Candidate samplers, which the host draws too.
    *(
        case(
            f"philox_{name}_candidate_sampler",
            [_COUNTER, _TRUE, *weights],
            {"key": _KEY, "num_true": 2, "num_sampled": count, "unique": unique, "range_max": 6, **attrs},
            label=f"{count} {unique}",
            host_ok=True,
        )
        for name, weights, attrs in (
            ("log_uniform", [], {}),
            ("uniform", [], {}),
            ("learned_unigram", [np.array([1, 3, 1, 1, 9, 2], np.int32)], {}),
            ("fixed_unigram", [], {"weights": Constant(np.array([1, 3, 0, 1, 9, 2], np.float32))}),
        )
        for count, unique in ((4, True), (5, True), (9, False), (1, False))
    ),
    case(
        "all_candidate_sampler", [_TRUE], {"num_true": 2, "num_sampled": 6},
        expected=lambda t: (np.arange(6), np.ones(t.shape), np.ones(6)), host_ok=True,
    ),
    case(
        "compute_accidental_hits", [_TRUE, np.array([4, 2, 3, 4], np.int64)], {"num_true": 2},
        expected=lambda t, s: ([0, 2, 2], [1, 2, 3], [np.finfo(np.float32).min] * 3), host_ok=True,
    ),
    case(
        "compute_accidental_hits", [_TRUE, np.zeros(0, np.int64)], {"num_true": 2}, label="none", host_ok=True
    ),
    case(
        "last_of_equals", [np.array([4, 2, 4, 4, 2, 0], np.int64)],
        expected=lambda s: np.array([-1, -1, -1, 4, 2, 0]), host_ok=True,
    ),
]  # fmt: skip
