"""Rows that belong to one index: where each index stands first, and the sums of equal ones.

Lengths do not depend on what the indices are, as those of `unique` do: a step of training that meets other
words in each batch keeps its plan.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import RuleError
from graphrun.graph.apply import apply
from graphrun.graph.descriptor import Kernel, Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.ops.attributes import shape_attr
from graphrun.ops.families import require_kind
from graphrun.ops.gather import gather_grad_op, take
from graphrun.ops.plans.scatter import plan_first_places


def _rule(indices: Spec) -> tuple[Spec]:
    require_kind(indices, "integer", "indices")
    if indices.shape is not None and len(indices.shape) != 1:
        raise RuleError(f"indices has rank {len(indices.shape)}", expected="rank 1")
    return (Spec((None,) if indices.shape is None else indices.shape, dtypes.int32),)


def _numpy(indices: np.ndarray) -> np.ndarray:
    _, first, group = np.unique(indices, return_index=True, return_inverse=True)
    return first[group.reshape(-1)].astype(np.int32)


first_places_op = register(
    OpDef(
        "first_places", _rule, _numpy, Kernel("scatter", plan_first_places, ("first_places.cl",)),
        no_gradient, node_name="FirstPlaces", input_names=("indices",),
    )
)  # fmt: skip


def first_places(indices: Tensor) -> Tensor:
    """For each of `indices`, a vector, the place at which the same index stands first."""
    result: Tensor = apply(first_places_op, (indices,))
    return result


def sums_of_equal(values: Tensor, places: Tensor) -> Tensor:
    """For each row of `values` the sum of all rows of the same index; `places` are its `first_places`."""
    attrs = {"axis": 0, "batch_dims": 0, "negative": False, "shape": shape_attr(values)}
    sums: Any = apply(gather_grad_op, (values, places), attrs)
    return take(sums, places)
