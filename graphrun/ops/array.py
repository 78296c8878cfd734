"""Everything about shapes and the places of elements, from files by subject, under one name.

Examples
--------
>>> from graphrun.ops import array
>>> array.reshape(array.zeros([2, 6]), [-1, 4]).shape.as_list()
[3, 4]
"""

from __future__ import annotations

from graphrun.ops.fill import (
    broadcast_to,
    fill,
    ones,
    ones_like,
    rank,
    shape,
    shape_n,
    size,
    zeros,
    zeros_like,
)
from graphrun.ops.gather import batch_gather, boolean_mask, embedding_lookup, gather
from graphrun.ops.indexing import getitem
from graphrun.ops.joining import concat, split, stack, unstack
from graphrun.ops.pad import pad
from graphrun.ops.reshape import expand_dims, reshape, squeeze
from graphrun.ops.sequences import eye, linspace, one_hot, sequence_mask
from graphrun.ops.sequences import range_ as range
from graphrun.ops.slicing import slice_ as slice
from graphrun.ops.slicing import strided_slice
from graphrun.ops.tile import meshgrid, tile
from graphrun.ops.transpose import invert_permutation, matrix_transpose, reverse, transpose

__all__ = [
    "batch_gather", "boolean_mask", "broadcast_to", "concat", "embedding_lookup", "expand_dims", "eye",
    "fill", "gather", "getitem", "invert_permutation", "linspace", "matrix_transpose", "meshgrid", "one_hot",
    "ones", "ones_like", "pad", "range", "rank", "reshape", "reverse", "sequence_mask", "shape", "shape_n",
    "size", "slice", "split", "squeeze", "stack", "strided_slice", "tile", "transpose", "unstack", "zeros",
    "zeros_like",
]  # fmt: skip
