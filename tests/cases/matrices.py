"""Rows of ``graphrun/ops/matrices.py``, ``inverses.py`` and ``decompositions.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Array, Case, Input, case, cases

NARROW = ("float64", "float16", "int32", "bool")


def regular(*shape: int) -> Input:
    """Matrices that are far from singular, and not symmetric."""
    return Input(lambda rng: rng.uniform(-1, 1, shape) + 3 * np.eye(shape[-2], shape[-1]))


def positive(*shape: int) -> Input:
    """Symmetric positive definite matrices."""

    def draw(rng: np.random.Generator) -> Array:
        a = rng.uniform(-1, 1, shape)
        return a @ a.swapaxes(-1, -2) + np.eye(shape[-1])

    return Input(draw)


def triangle(*shape: int, lower: bool = True) -> Input:
    return Input(
        lambda rng: (np.tril if lower else np.triu)(rng.uniform(-1, 1, shape)) + 2 * np.eye(shape[-1])
    )


def band(shape: tuple[int, ...], lower: int, upper: int, **more: Any) -> Case:
    return case("matrix_band_part", [shape], {"lower": lower, "upper": upper}, **more)


def host(op: str, inputs: Any, attrs: Any = None, **more: Any) -> Case:
    return case(op, inputs, attrs, host_ok=True, **more)


NO, YES = {"adjoint": False}, {"adjoint": True}

CASES: list[Case] = [
    # -- triangles and diagonals
    band((4, 5), 1, 2, expected=lambda x: np.triu(np.tril(x, 2), -1)),
    band((4, 4), -1, 0, expected=np.tril),
    band((2, 4, 4), 0, -1, expected=np.triu),
    band((3, 2), -1, -1),
    band((3, 4), 0, 0),
    band((0, 4), 1, 1, gradient=False),
    band((3, 3), 2, 0, dtype="int32"),
    band((3, 3), 0, 1, dtype="bool"),
    case("diag", [(3,)], expected=np.diag),
    case("diag", [(2, 3)], expected=lambda x: np.diag(x.reshape(-1)).reshape(2, 3, 2, 3)),
    *cases("diag", [(3,)], dtypes=NARROW),
    case("diag", [(0,)], gradient=False),
    case("diag_part", [(3, 3)], expected=np.diag),
    case("diag_part", [(2, 3, 2, 3)], expected=lambda x: np.diag(x.reshape(6, 6)).reshape(2, 3)),
    *cases("diag_part", [(3, 3)], dtypes=NARROW),
    case("diag_part", [(0, 0)], gradient=False),
    case("matrix_diag", [(2, 3)], expected=lambda x: np.stack([np.diag(row) for row in x])),
    *cases("matrix_diag", [(3,)], dtypes=NARROW),
    case("matrix_diag", [(2, 0)], gradient=False),
    case("matrix_diag_part", [(2, 3, 5)], expected=lambda x: np.stack([np.diag(m) for m in x])),
    case("matrix_diag_part", [(4, 2)]),
    *cases("matrix_diag_part", [(3, 3)], dtypes=NARROW),
    case("matrix_diag_part", [(3, 0)], gradient=False),
    case("matrix_set_diag", [(2, 3, 4), (2, 3)],
         expected=lambda x, d: x * (1 - np.eye(3, 4, dtype=x.dtype)) + d[:, :, None] * np.eye(3, 4)),
    case("matrix_set_diag", [(4, 2), (2,)]),
    *cases("matrix_set_diag", [(3, 3), (3,)], dtypes=NARROW),
    case("matrix_set_diag", [(2, 0), (0,)], gradient=False),
    # -- inverses
    host("matrix_inverse", [regular(4, 4)], NO,
         expected=lambda x: np.linalg.solve(x, np.eye(4, dtype=x.dtype))),
    host("matrix_inverse", [regular(2, 3, 3)], YES, dtype="float64"),
    host("matrix_inverse", [regular(3, 3)], NO, dtype="float16"),
    host("matrix_inverse", [(2, 0, 0)], NO, gradient=False),
    host("matrix_determinant", [regular(2, 2)], expected=lambda x: x[0, 0] * x[1, 1] - x[0, 1] * x[1, 0]),
    host("matrix_determinant", [regular(2, 4, 4)], dtype="float64"),
    host("log_matrix_determinant", [regular(2, 4, 4)],
         expected=lambda x: (np.sign(np.linalg.det(x)), np.log(np.abs(np.linalg.det(x))))),
    *(host("matrix_solve", [regular(4, 4), (4, 2)], a) for a in (NO, YES)),
    host("matrix_solve", [regular(2, 3, 3), (2, 3, 1)], YES, dtype="float64",
         expected=lambda a, b: np.linalg.inv(a.swapaxes(1, 2)) @ b),
    *(host("matrix_triangular_solve", [triangle(4, 4, lower=low), (4, 2)], {"lower": low, "adjoint": adjoint},
           expected=lambda a, b, t=adjoint: np.linalg.solve(a.T if t else a, b))
      for low in (False, True) for adjoint in (False, True)),
    host("matrix_triangular_solve", [regular(2, 3, 3), (2, 3, 1)], {"lower": True, "adjoint": False},
         expected=lambda a, b: np.linalg.solve(np.tril(a), b), label="only a triangle is read"),
    # The gradient is that of symmetric matrices: see tests/ops/test_decompositions.py.
    host("cholesky", [positive(4, 4)], gradient=False),
    host("cholesky", [positive(2, 3, 3)], gradient=False, dtype="float64"),
    # -- decompositions: signs are arbitrary, so gradients are in tests/ops/test_decompositions.py too
    host("self_adjoint_eig", [positive(4, 4)], {"compute_v": True}, gradient=False),
    host("self_adjoint_eig", [positive(2, 3, 3)], {"compute_v": False}, gradient=False),
    host("svd", [(5, 3)], {"full_matrices": False, "compute_uv": True}, gradient=False),
    host("svd", [(2, 3, 5)], {"full_matrices": True, "compute_uv": True}, gradient=False),
    host("svd", [(4, 3)], {"full_matrices": False, "compute_uv": False}, gradient=False),
    host("qr", [(5, 3)], {"full_matrices": False}, gradient=False),
    host("qr", [(2, 3, 5)], {"full_matrices": False}, gradient=False),
    host("qr", [(4, 2)], {"full_matrices": True}, gradient=False),
]  # fmt: skip
