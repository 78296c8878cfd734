"""Types of operations beside TensorFlow's: nodes of the same name have the same type."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import graphrun as gr

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf
from tables import ROWS, Row
from tables_flow import ROWS as FLOW_ROWS
from tables_nn import ROWS as NN_ROWS
from tensorflow.python.framework import op_def_registry

from graphrun.graph.op_types import TYPES
from graphrun.graph.opdef import registered_ops

tf.disable_v2_behavior()

# What graphrun computes by one operation and TensorFlow by several, or inside of another one.
_OURS = set(
    """ArgSort CTCLossDense Eye InitializedValue ExtractImagePatchesGrad GatherGrad
    LogicalXor MaxPoolArgmax NeighbourSum ProdGrad SequenceMask SigmoidCrossEntropyWithLogits SliceAssigned
    SquaredDeviation SumTo Trigamma WeightedDistance RepeatPlaces RowNumbers FirstPlaces Below""".split()
)
# Where an equal name stands for another way to the same value: (our type, TensorFlow's).
_OTHER_WAYS = {
    ("ClipByValue", "Maximum"), ("If", "Merge"), ("While", "Exit"), ("Const", "Shape"),
    ("RealDiv", "Identity"),    ("Fill", "Const"), ("Identity", "Print"), ("Identity", "ResizeBilinear"),
    ("Identity", "ResizeNearestNeighbor"), ("Identity", "ResizeBicubic"), ("Transpose", "ResizeArea"),
    ("LogicalXor", "LogicalAnd"), ("Mean", "Identity"), ("Minimum", "Multinomial"), ("_Arg", "Const"),
    ("Select", "ParallelDynamicStitch"), ("Select", "DivNoNan"), ("Sum", "DivNoNan"), ("Pack", "Cross"),
    ("IdentityN", "FusedBatchNormV3"),
    ("SigmoidCrossEntropyWithLogits", "AddV2"), ("Unique", "UniqueWithCounts"),
}  # fmt: skip


def _types(lib: Any, row: Row) -> dict[str, str]:
    arrays = [np.asarray(draw(np.random.default_rng(0))) for draw in row.inputs]
    with lib.Graph().as_default() as graph:
        kinds = [lib.string if a.dtype.kind == "O" else a.dtype.name for a in arrays]
        row.call(lib, *[lib.placeholder(k, a.shape) for k, a in zip(kinds, arrays, strict=True)])
        return {op.name: op.type for op in graph.get_operations()}


def test_nodes_of_one_name_have_one_type() -> None:
    tf.disable_resource_variables()
    wrong: dict[tuple[str, str], str] = {}
    equal = set()
    for row in [*ROWS, *NN_ROWS, *FLOW_ROWS]:
        ours, theirs = (_types(lib, row) for lib in (gr, tf))
        for name in ours.keys() & theirs.keys():
            if ours[name] == theirs[name]:
                equal.add(ours[name])
            elif (ours[name], theirs[name]) not in _OTHER_WAYS:
                wrong[ours[name], theirs[name]] = row.id
    assert not wrong
    assert len(equal) > 150


@pytest.mark.parametrize("name", sorted(registered_ops()))
def test_every_operation_has_a_type_of_tensorflows(name: str) -> None:
    record = registered_ops()[name]
    known = TYPES.get(name, record.node_name)
    if not record.node_name and name not in TYPES:
        return  # no node of a user's graph
    if isinstance(known, str) and known not in _OURS:
        assert known == "_Arg" or op_def_registry.get(known) is not None
