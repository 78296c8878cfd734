"""Eigenvalues of symmetric matrices, singular values and QR; all run on the host.

The matrices are the last two dimensions of a tensor.

References
----------
M. Giles, Collected matrix derivative results for forward and reverse mode algorithmic differentiation, 2008.
J. Townsend, Differentiating the singular value decomposition, 2016.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphrun.errors import GradientError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.ops.families import require_kind
from graphrun.ops.fill import shape, zeros_like
from graphrun.ops.inverses import as_square, in_wide, matrix_triangular_solve, require_square
from graphrun.ops.joining import concat
from graphrun.ops.linalg import matmul
from graphrun.ops.matrices import (
    matrix_band_part,
    matrix_diag,
    matrix_diag_part,
    matrix_set_diag,
    require_matrices,
)
from graphrun.ops.reshape import expand_dims
from graphrun.ops.transpose import matrix_transpose
from graphrun.shapes import Dim


def _lower_half(symmetric: Tensor) -> Tensor:
    """The gradient of a function that reads the lower triangle only, from that of a symmetric one."""
    both = matrix_band_part(symmetric + matrix_transpose(symmetric), -1, 0)
    return matrix_set_diag(both, 0.5 * matrix_diag_part(both))


# -- eigenvalues ----------------------------------------------------------------------------------------


def _eigh_rule(x: Spec, *, compute_v: bool) -> tuple[Spec, ...]:
    require_square(x, "x")
    square = as_square(x.shape)
    values = Spec(None if square is None else square[:-1], x.dtype)
    return (values, Spec(square, x.dtype)) if compute_v else (values,)


def _eigh_numpy(x: np.ndarray, *, compute_v: bool) -> Any:
    return tuple(np.linalg.eigh(x)) if compute_v else np.linalg.eigvalsh(x)


def _differences(values: Tensor) -> Tensor:
    """``1 / (values[j] - values[i])``, 0 on the diagonal."""
    d = expand_dims(values, -2) - expand_dims(values, -1)
    ones = matrix_diag_part(d) + 1.0
    return matrix_set_diag(1.0 / matrix_set_diag(d, ones), ones - 1.0)


def _or_zeros(dy: Tensor | None, like: Tensor) -> Tensor:
    return zeros_like(like) if dy is None else dy


def _eigh_gradient(op: Operation, d_values: Tensor | None, d_vectors: Tensor | None = None) -> Tensor:
    if op.attrs["compute_v"]:
        values, vectors = op.outputs
    else:
        values, vectors = apply(eigh_op, (op.inputs[0],), {"compute_v": True})
    inner = matrix_diag(_or_zeros(d_values, values))
    if d_vectors is not None:
        inner = inner + _differences(values) * matmul(vectors, d_vectors, transpose_a=True)
    return _lower_half(matmul(vectors, matmul(inner, vectors, transpose_b=True)))


eigh_op = register(
    OpDef(
        "self_adjoint_eig", _eigh_rule, in_wide(_eigh_numpy, "the eigenvalues did not converge"), None,
        _eigh_gradient, node_name="SelfAdjointEigV2", input_names=("x",),
    )
)  # fmt: skip


def self_adjoint_eig(tensor: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues, in ascending order, and the eigenvectors of symmetric matrices.

    Only the lower triangles of `tensor` are read.  An eigenvector is a column, and its sign is arbitrary.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.self_adjoint_eig([[3.0, 0.0], [0.0, 2.0]])[0]))
    [2. 3.]
    """
    return apply(eigh_op, (convert_to_tensor(tensor),), {"compute_v": True}, name)


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Tensor:
    """Return the eigenvalues of symmetric matrices, in ascending order."""
    return apply(eigh_op, (convert_to_tensor(tensor),), {"compute_v": False}, name)


# -- singular values ------------------------------------------------------------------------------------


def _least(rows: Dim, columns: Dim) -> Dim:
    return None if rows is None or columns is None else min(rows, columns)


def _svd_rule(x: Spec, *, full_matrices: bool, compute_uv: bool) -> tuple[Spec, ...]:
    require_kind(x, "floating", "x")
    require_matrices(x.shape)
    if x.shape is None:
        return (x,) * (3 if compute_uv else 1)
    *batch, rows, columns = x.shape
    k = _least(rows, columns)
    s = Spec((*batch, k), x.dtype)
    if not compute_uv:
        return (s,)
    widths = (rows, columns) if full_matrices else (k, k)
    return s, Spec((*batch, rows, widths[0]), x.dtype), Spec((*batch, columns, widths[1]), x.dtype)


def _svd_numpy(x: np.ndarray, *, full_matrices: bool, compute_uv: bool) -> Any:
    if not compute_uv:
        return np.linalg.svd(x, compute_uv=False)
    u, s, vt = np.linalg.svd(x, full_matrices=full_matrices)
    return s, u, vt.swapaxes(-1, -2)


def _no_rule(op: Operation, what: str, fix: str) -> GradientError:
    return GradientError(message(what, where=op.label, site=op.site, fix=fix))


def _svd_gradient(
    op: Operation, ds: Tensor | None, du: Tensor | None = None, dv: Tensor | None = None
) -> Any:
    if op.attrs["compute_uv"]:
        s, u, v = op.outputs
    else:
        s, u, v = apply(svd_op, (op.inputs[0],), {"full_matrices": False, "compute_uv": True})
    if (du is not None or dv is not None) and op.attrs["full_matrices"]:
        dims = op.inputs[0]._shape
        if dims is None or None in dims[-2:] or dims[-1] != dims[-2]:
            raise _no_rule(op, "no gradient of full_matrices=True through u or v of matrices that are not"
                           " square", "use full_matrices=False")  # fmt: skip
    if op.attrs["full_matrices"] and du is None and dv is None:
        s, u, v = apply(svd_op, (op.inputs[0],), {"full_matrices": False, "compute_uv": True})
    inner = matrix_diag(_or_zeros(ds, s))
    total = None
    if du is not None or dv is not None:
        gaps = _differences(s * s)
        row = expand_dims(s, -2)
        if du is not None:
            j = gaps * matmul(u, du, transpose_a=True)
            inner = inner + (j + matrix_transpose(j)) * row
            beside = du - matmul(u, matmul(u, du, transpose_a=True))
            total = matmul(beside / row, v, transpose_b=True)
        if dv is not None:
            k = gaps * matmul(v, dv, transpose_a=True)
            inner = inner + expand_dims(s, -1) * (k + matrix_transpose(k))
            beside = dv - matmul(v, matmul(v, dv, transpose_a=True))
            more = matmul(u / row, beside, transpose_b=True)
            total = more if total is None else total + more
    main = matmul(u, matmul(inner, v, transpose_b=True))
    return main if total is None else main + total


svd_op = register(
    OpDef(
        "svd", _svd_rule, in_wide(_svd_numpy, "the singular values did not converge"), None, _svd_gradient,
        node_name="Svd", input_names=("x",),
    )
)  # fmt: skip


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """Return the singular values s, and u and v with ``tensor == u @ diag(s) @ v.T``.

    Parameters
    ----------
    tensor : floating tensor of shape (..., m, n)
    full_matrices : bool
        Give u and v all their columns, instead of the first min(m, n).
    compute_uv : bool
        Without, s alone is returned.

    Returns
    -------
    s, u, v : Tensor
        In this order, s in descending order.  The signs of the columns of u and v are arbitrary.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.svd([[0.0, 2.0], [3.0, 0.0]], compute_uv=False)))
    [3. 2.]
    """
    attrs = {"full_matrices": bool(full_matrices), "compute_uv": bool(compute_uv)}
    return apply(svd_op, (convert_to_tensor(tensor),), attrs, name)


# -- QR -------------------------------------------------------------------------------------------------


def _qr_rule(x: Spec, *, full_matrices: bool) -> tuple[Spec, Spec]:
    require_kind(x, "floating", "x")
    require_matrices(x.shape)
    if x.shape is None:
        return x, x
    *batch, rows, columns = x.shape
    k = rows if full_matrices else _least(rows, columns)
    return Spec((*batch, rows, k), x.dtype), Spec((*batch, k, columns), x.dtype)


def _qr_tall(q: Tensor, r: Tensor, dq: Tensor, dr: Tensor) -> Tensor:
    def over_r(x: Tensor) -> Tensor:
        return matrix_transpose(matrix_triangular_solve(r, matrix_transpose(x), lower=False))

    qdq, rdr = matmul(q, dq, transpose_a=True), matmul(r, dr, transpose_b=True)
    lower = matrix_band_part(qdq - matrix_transpose(qdq) + rdr - matrix_transpose(rdr), -1, 0)
    # The diagonal is zero: both differences are antisymmetric.
    return matmul(q, dr + over_r(lower)) + over_r(dq - matmul(q, qdq))


def _qr_gradient(op: Operation, dq: Tensor | None, dr: Tensor | None) -> Tensor:
    q, r = op.outputs
    x = op.inputs[0]
    dims = x._shape
    rows, columns = (None, None) if dims is None else dims[-2:]
    tall = rows is not None and columns is not None and rows >= columns
    if op.attrs["full_matrices"] and rows != columns and (tall or rows is None or columns is None):
        raise _no_rule(op, "no gradient of full_matrices=True for more rows than columns",
                       "use full_matrices=False")  # fmt: skip
    dq, dr = _or_zeros(dq, q), _or_zeros(dr, r)
    if tall:
        return _qr_tall(q, r, dq, dr)
    # The first columns decide q; the others are q times the rest of r.
    k = shape(q)[-1] if rows is None or columns is None else rows
    rest, d_rest = x[..., k:], dr[..., k:]
    d_first = _qr_tall(q, r[..., :k], dq + matmul(rest, d_rest, transpose_b=True), dr[..., :k])
    return concat([d_first, matmul(q, d_rest)], -1)


qr_op = register(
    OpDef(
        "qr", _qr_rule,
        in_wide(
            lambda x, *, full_matrices: tuple(np.linalg.qr(x, "complete" if full_matrices else "reduced")),
            "the decomposition failed",
        ),
        None, _qr_gradient, node_name="Qr", input_names=("x",),
    )
)  # fmt: skip


class Qr(NamedTuple):
    """What `qr` returns."""

    q: Tensor
    r: Tensor


def qr(input: Any, full_matrices: bool = False, name: str | None = None) -> Qr:
    """Return q with orthonormal columns and the upper triangular r, with ``input == q @ r``.

    Examples
    --------
    >>> import graphrun as gr
    >>> [t.shape.as_list() for t in gr.qr(gr.zeros([5, 3]))]
    [[5, 3], [3, 3]]
    """
    return Qr(*apply(qr_op, (convert_to_tensor(input),), {"full_matrices": bool(full_matrices)}, name))
