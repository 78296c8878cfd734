"""Sparse tensors: TensorFlow's ``tf.sparse``.

>>> import graphrun as gr
>>> gr.sparse.from_dense(gr.eye(3)).shape.as_list()
[3, 3]
"""

from graphrun.ops.segments import sparse_segment_mean as segment_mean
from graphrun.ops.segments import sparse_segment_sqrt_n as segment_sqrt_n
from graphrun.ops.segments import sparse_segment_sum as segment_sum
from graphrun.ops.sparse import edit_distance, from_dense
from graphrun.ops.sparse import sparse_add as add
from graphrun.ops.sparse import sparse_concat as concat
from graphrun.ops.sparse import sparse_reduce_sum as reduce_sum
from graphrun.ops.sparse import sparse_reorder as reorder
from graphrun.ops.sparse import sparse_reshape as reshape
from graphrun.ops.sparse import sparse_retain as retain
from graphrun.ops.sparse import sparse_slice as slice
from graphrun.ops.sparse import sparse_softmax as softmax
from graphrun.ops.sparse import sparse_tensor_dense_matmul as matmul
from graphrun.ops.sparse import sparse_tensor_dense_matmul as sparse_dense_matmul
from graphrun.ops.sparse import sparse_tensor_to_dense as to_dense
from graphrun.ops.sparse import sparse_transpose as transpose
from graphrun.ops.sparse_tensor import SparseTensor
from graphrun.ops.sparse_tensor import sparse_placeholder as placeholder

__all__ = [
    "SparseTensor",
    "add",
    "concat",
    "edit_distance",
    "from_dense",
    "matmul",
    "placeholder",
    "reduce_sum",
    "reorder",
    "reshape",
    "retain",
    "segment_mean",
    "segment_sqrt_n",
    "segment_sum",
    "slice",
    "softmax",
    "sparse_dense_matmul",
    "to_dense",
    "transpose",
]
