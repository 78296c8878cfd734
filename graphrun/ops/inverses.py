"""Inverses and determinants of matrices, linear systems, and Cholesky's decomposition; all on the host.

The matrices are the last two dimensions of a tensor.

References
----------
M. Giles, Collected matrix derivative results for forward and reverse mode algorithmic differentiation, 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphrun.errors import DTypeError, InvalidArgumentError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.elementwise import log
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.linalg import matmul
from graphrun.ops.matrices import (
    matrix_band_part,
    matrix_diag_part,
    matrix_set_diag,
    require_matrices,
)
from graphrun.ops.reduce import reduce_sum
from graphrun.ops.reshape import expand_dims
from graphrun.ops.transpose import matrix_transpose
from graphrun.shapes import Shape, format_shape, is_compatible, merge


def in_wide(function: Callable[..., Any], fault: str) -> Callable[..., Any]:
    """Compute float16 as float32, which LAPACK begins with, and say what a singular matrix means."""

    def numpy(*arrays: np.ndarray, **attrs: Any) -> Any:
        half = arrays[0].dtype == np.float16
        try:
            found = function(*(a.astype(np.float32) for a in arrays) if half else arrays, **attrs)
        except np.linalg.LinAlgError:
            raise RuleError(fault, kind=InvalidArgumentError) from None
        if isinstance(found, tuple):
            return tuple(np.asarray(f, arrays[0].dtype) for f in found)
        return np.asarray(found, arrays[0].dtype)

    return numpy


_SINGULAR = "a matrix is not invertible"


def require_square(x: Spec, what: str) -> None:
    """Raise unless `x` holds square matrices of a floating dtype."""
    require_kind(x, "floating", what)
    require_matrices(x.shape, what, square=True)


def as_square(shape: Shape) -> Shape:
    """The same shape, with what one of the last two dimensions tells of the other."""
    if shape is None:
        return None
    n = shape[-2] if shape[-1] is None else shape[-1]
    return (*shape[:-2], n, n)


# -- inverse and determinant -------------------------------------------------------------------------


def _inverse_rule(x: Spec, *, adjoint: bool) -> tuple[Spec]:
    require_square(x, "x")
    return (Spec(as_square(x.shape), x.dtype),)


def _inverse_gradient(op: Operation, dy: Tensor) -> Tensor:
    inverse = op.outputs[0]
    if op.attrs["adjoint"]:
        return -matmul(inverse, matmul(dy, inverse, transpose_a=True))
    return -matmul(inverse, matmul(dy, inverse, transpose_b=True), transpose_a=True)


inverse_op = register(
    OpDef(
        "matrix_inverse", _inverse_rule,
        in_wide(lambda x, *, adjoint: np.linalg.inv(x.swapaxes(-1, -2) if adjoint else x), _SINGULAR),
        None, _inverse_gradient, node_name="MatrixInverse", input_names=("x",),
    )
)  # fmt: skip


def matrix_inverse(input: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """Return the inverses of the square matrices of `input`; of the transposed ones where `adjoint` is true.

    Raises
    ------
    InvalidArgumentError
        In the run, if a matrix has none.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.matrix_inverse([[2.0, 0.0], [0.0, 4.0]])))
    [[0.5  0.  ]
     [0.   0.25]]
    """
    return apply(inverse_op, (convert_to_tensor(input),), {"adjoint": bool(adjoint)}, name)


def _determinant_rule(x: Spec) -> tuple[Spec]:
    require_square(x, "x")
    return (Spec(None if x.shape is None else x.shape[:-2], x.dtype),)


def _as_matrix(scalars: Tensor) -> Tensor:
    return expand_dims(expand_dims(scalars, -1), -1)


def _log_determinant_gradient(op: Operation, d_sign: Any, d_log: Tensor | None) -> Tensor | None:
    return None if d_log is None else _as_matrix(d_log) * matrix_inverse(op.inputs[0], adjoint=True)


determinant_op = register(
    OpDef(
        "matrix_determinant", _determinant_rule, in_wide(np.linalg.det, _SINGULAR), None,
        lambda op, dy: _as_matrix(dy * op.outputs[0]) * matrix_inverse(op.inputs[0], adjoint=True),
        node_name="MatrixDeterminant", input_names=("x",),
    )
)  # fmt: skip
log_determinant_op = register(
    OpDef(
        "log_matrix_determinant", lambda x: _determinant_rule(x) * 2,
        in_wide(lambda x: tuple(np.linalg.slogdet(x)), _SINGULAR), None, _log_determinant_gradient,
        node_name="LogMatrixDeterminant", input_names=("x",),
    )
)  # fmt: skip


def matrix_determinant(input: Any, name: str | None = None) -> Tensor:
    """Return the determinants of the square matrices of `input`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.matrix_determinant([[2.0, 0.0], [0.0, 4.0]])))
    8.0
    """
    return apply(determinant_op, (convert_to_tensor(input),), None, name)


class LogMatrixDeterminant(NamedTuple):
    """What `log_matrix_determinant` returns."""

    sign: Tensor
    log_abs_determinant: Tensor


def log_matrix_determinant(input: Any, name: str | None = None) -> LogMatrixDeterminant:
    """Return the signs of the determinants of the matrices of `input`, and the logarithms of their sizes."""
    return LogMatrixDeterminant(*apply(log_determinant_op, (convert_to_tensor(input),), None, name))


slogdet = log_matrix_determinant


# -- systems ------------------------------------------------------------------------------------------


def _solve_rule(matrix: Spec, rhs: Spec, **attrs: Any) -> tuple[Spec]:
    dtype = require_same_dtype(matrix, rhs)
    require_square(matrix, "matrix")
    require_matrices(rhs.shape, "rhs")
    if matrix.shape is None or rhs.shape is None:
        return (Spec(rhs.shape, dtype),)
    if not is_compatible(matrix.shape[:-2], rhs.shape[:-2]):
        raise RuleError(
            f"batches differ, {format_shape(matrix.shape[:-2])} != {format_shape(rhs.shape[:-2])}"
        )
    n = as_square(matrix.shape)[-1]  # type: ignore[index]
    if not is_compatible((n,), (rhs.shape[-2],)):
        raise RuleError(
            f"matrices of {n} rows, right-hand sides of {rhs.shape[-2]}", expected="as many rows in both"
        )
    batch = merge(matrix.shape[:-2], rhs.shape[:-2])
    return (Spec((*batch, rhs.shape[-2] if n is None else n, rhs.shape[-1]), dtype),)  # type: ignore[misc]


def _product_back(op: Operation, d_rhs: Tensor) -> Tensor:
    """What a solution's gradient with regard to the right-hand side says of the matrix."""
    x = op.outputs[0]
    if op.attrs["adjoint"]:
        return -matmul(x, d_rhs, transpose_b=True)
    return -matmul(d_rhs, x, transpose_b=True)


def _solve_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    d_rhs = apply(solve_op, (op.inputs[0], dy), {"adjoint": not op.attrs["adjoint"]})
    return _product_back(op, d_rhs), d_rhs


solve_op = register(
    OpDef(
        "matrix_solve", _solve_rule,
        in_wide(
            lambda matrix, rhs, *, adjoint: np.linalg.solve(
                matrix.swapaxes(-1, -2) if adjoint else matrix, rhs
            ), _SINGULAR,
        ),
        None, _solve_gradient, node_name="MatrixSolve", input_names=("matrix", "rhs"),
    )
)  # fmt: skip


def matrix_solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """Return x with ``matrix @ x == rhs``, or ``matrix.T @ x == rhs`` where `adjoint` is true.

    Parameters
    ----------
    matrix : floating tensor of shape (..., n, n)
    rhs : tensor of shape (..., n, k)

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.matrix_solve([[2.0, 0.0], [0.0, 4.0]], [[1.0], [1.0]])))
    [[0.5 ]
     [0.25]]
    """
    return apply(solve_op, convert_operands((matrix, rhs)), {"adjoint": bool(adjoint)}, name)


def _substitute(matrix: np.ndarray, rhs: np.ndarray, *, lower: bool, adjoint: bool) -> np.ndarray:
    """Forward or backward substitution, one row of all systems at a time."""
    a = matrix.swapaxes(-1, -2) if adjoint else matrix
    forward = lower != adjoint
    n = a.shape[-1]
    diagonal = np.diagonal(a, axis1=-2, axis2=-1)
    if not diagonal.all():
        raise np.linalg.LinAlgError
    x = np.zeros_like(rhs)
    for i in range(n) if forward else range(n - 1, -1, -1):
        known = slice(0, i) if forward else slice(i + 1, n)
        rest = rhs[..., i, :] - (a[..., i, None, known] @ x[..., known, :])[..., 0, :]
        x[..., i, :] = rest / diagonal[..., i, None]
    return x


def _triangular_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    lower = op.attrs["lower"]
    d_rhs = matrix_triangular_solve(op.inputs[0], dy, lower, not op.attrs["adjoint"])
    d_matrix = _product_back(op, d_rhs)
    return matrix_band_part(d_matrix, -1, 0) if lower else matrix_band_part(d_matrix, 0, -1), d_rhs


triangular_solve_op = register(
    OpDef(
        "matrix_triangular_solve", _solve_rule, in_wide(_substitute, _SINGULAR), None, _triangular_gradient,
        node_name="MatrixTriangularSolve", input_names=("matrix", "rhs"),
    )
)  # fmt: skip


def matrix_triangular_solve(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Tensor:
    """As `matrix_solve`, for triangular matrices; what stands in the other triangle is not read."""
    attrs = {"lower": bool(lower), "adjoint": bool(adjoint)}
    return apply(triangular_solve_op, convert_operands((matrix, rhs)), attrs, name)


# -- Cholesky -------------------------------------------------------------------------------------------


def _cholesky_gradient(op: Operation, dy: Tensor) -> Tensor:
    factor = op.outputs[0]
    middle = matmul(factor, dy, transpose_a=True)
    middle = matrix_band_part(matrix_set_diag(middle, 0.5 * matrix_diag_part(middle)), -1, 0)
    left = matrix_triangular_solve(factor, middle, adjoint=True)
    both = matrix_transpose(matrix_triangular_solve(factor, matrix_transpose(left), adjoint=True))
    return 0.5 * (both + matrix_transpose(both))


cholesky_op = register(
    OpDef(
        "cholesky", lambda x: _inverse_rule(x, adjoint=False),
        in_wide(np.linalg.cholesky, "a matrix is not positive definite"), None, _cholesky_gradient,
        node_name="Cholesky", input_names=("x",),
    )
)  # fmt: skip


def cholesky(input: Any, name: str | None = None) -> Tensor:
    """Return the lower triangular L with ``L @ L.T == input``, for symmetric positive definite matrices.

    Only the lower triangles of `input` are read.  The gradient is symmetric, as in TensorFlow.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.cholesky([[4.0, 0.0], [0.0, 9.0]])))
    [[2. 0.]
     [0. 3.]]
    """
    return apply(cholesky_op, (convert_to_tensor(input),), None, name)


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Tensor:
    """Return x with ``chol @ chol.T @ x == rhs``."""
    factor, b = convert_operands((chol, rhs))
    with factor.graph.name_scope(name or "cholesky_solve"):
        return matrix_triangular_solve(factor, matrix_triangular_solve(factor, b), adjoint=True)


def logdet(matrix: Any, name: str | None = None) -> Tensor:
    """Return the logarithms of the determinants of symmetric positive definite matrices.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.linalg.logdet(gr.eye(3))))
    0.0
    """
    x = convert_to_tensor(matrix)
    with x.graph.name_scope(name or "logdet"):
        return 2.0 * reduce_sum(log(matrix_diag_part(cholesky(x))), [-1])


def matrix_solve_ls(
    matrix: Any, rhs: Any, l2_regularizer: float = 0.0, fast: bool = True, name: str | None = None
) -> Tensor:
    """Return the x that makes ``|matrix @ x - rhs|^2 + l2_regularizer |x|^2`` least.

    Parameters
    ----------
    matrix : floating tensor of shape (..., m, n)
        With fewer rows than columns, the shortest x of those that solve the system.
    rhs : tensor of shape (..., m, k)
    l2_regularizer : float
    fast : bool
        True solves the normal equations by Cholesky's decomposition.  False goes by QR, which bears matrices
        that are nearly singular; it takes no `l2_regularizer`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.matrix_solve_ls([[1.0], [1.0]], [[1.0], [3.0]])))
    [[2.]]
    """
    a, b = convert_operands((matrix, rhs))
    dims = a._shape
    if dims is None or None in dims[-2:]:
        raise ShapeError(
            message("matrices of unknown size", where="matrix_solve_ls", site=user_site(),
                    fix="state it with matrix.set_shape")
        )  # fmt: skip
    rows, columns = dims[-2:]
    wide = rows < columns  # type: ignore[operator]
    with a.graph.name_scope(name or "matrix_solve_ls"):
        if not fast:
            from graphrun.ops.decompositions import qr

            if l2_regularizer:
                raise DTypeError(
                    message("l2_regularizer with fast=False", where="matrix_solve_ls", site=user_site(),
                            fix="use fast=True")
                )  # fmt: skip
            q, r = qr(matrix_transpose(a) if wide else a)
            if wide:
                return matmul(q, matrix_triangular_solve(r, b, lower=False, adjoint=True))
            return matrix_triangular_solve(r, matmul(q, b, transpose_a=True), lower=False)
        gram = matmul(a, a, transpose_a=not wide, transpose_b=wide)
        if l2_regularizer:
            gram = matrix_set_diag(gram, matrix_diag_part(gram) + l2_regularizer)
        factor = cholesky(gram)
        if wide:
            return matmul(a, cholesky_solve(factor, b), transpose_a=True)
        return cholesky_solve(factor, matmul(a, b, transpose_a=True))
