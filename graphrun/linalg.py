"""Linear algebra: TensorFlow's ``tf.linalg``.

>>> import graphrun as gr
>>> gr.linalg.inv(gr.eye(3)).shape.as_list()
[3, 3]
"""

from graphrun.ops.array import eye, matrix_transpose
from graphrun.ops.array import matrix_transpose as adjoint
from graphrun.ops.clip import global_norm, norm
from graphrun.ops.decompositions import qr, svd
from graphrun.ops.decompositions import self_adjoint_eig as eigh
from graphrun.ops.decompositions import self_adjoint_eigvals as eigvalsh
from graphrun.ops.inverses import cholesky, cholesky_solve, logdet, slogdet
from graphrun.ops.inverses import matrix_determinant as det
from graphrun.ops.inverses import matrix_inverse as inv
from graphrun.ops.inverses import matrix_solve as solve
from graphrun.ops.inverses import matrix_solve_ls as lstsq
from graphrun.ops.inverses import matrix_triangular_solve as triangular_solve
from graphrun.ops.linalg import cross, matmul, matvec, tensordot
from graphrun.ops.matrices import diag as tensor_diag
from graphrun.ops.matrices import diag_part as tensor_diag_part
from graphrun.ops.matrices import matrix_band_part as band_part
from graphrun.ops.matrices import matrix_diag as diag
from graphrun.ops.matrices import matrix_diag_part as diag_part
from graphrun.ops.matrices import matrix_set_diag as set_diag
from graphrun.ops.matrices import trace
from graphrun.ops.normalization import l2_normalize
from graphrun.ops.transpose import transpose

__all__ = [
    "adjoint",
    "band_part",
    "cholesky",
    "cholesky_solve",
    "cross",
    "det",
    "diag",
    "diag_part",
    "eigh",
    "eigvalsh",
    "eye",
    "global_norm",
    "inv",
    "l2_normalize",
    "logdet",
    "lstsq",
    "matmul",
    "matrix_transpose",
    "matvec",
    "norm",
    "qr",
    "set_diag",
    "slogdet",
    "solve",
    "svd",
    "tensor_diag",
    "tensor_diag_part",
    "tensordot",
    "trace",
    "transpose",
    "triangular_solve",
]
