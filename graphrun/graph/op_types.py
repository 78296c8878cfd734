"""The types of operations under TensorFlow's names: what `Operation.type` says.

A record's default node name is TensorFlow's type for most operations, as ``MatMul``.  The table has the
others: where TensorFlow names nodes otherwise than their type (``concat`` of type ``ConcatV2``), and where
one record stands for several types.  What TensorFlow computes by several operations and graphrun by one has
a name of the same make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphrun.graph.node import Operation


def _matmul(op: Operation) -> str:
    plain = all(t._shape is not None and len(t._shape) <= 2 for t in op.inputs)
    return "MatMul" if plain else "BatchMatMulV2"


def _pad(op: Operation) -> str:
    if op.attrs["mode"] != "CONSTANT":
        return "MirrorPad"
    return "PadV2" if op.attrs["value"].array else "Pad"


def _split(op: Operation) -> str:
    # No sizes: equal parts.
    return "Split" if op.attrs["sizes"] == () else "SplitV"


def _fft(op: Operation) -> str:
    rank = len(op.attrs["axes"])
    return f"{'I' if op.attrs['inverse'] else ''}FFT{'' if rank == 1 else f'{rank}D'}"


def _search(op: Operation) -> str:
    return "LowerBound" if op.attrs["side"] == "left" else "UpperBound"


def _segment(op: Operation) -> str:
    ordered = op.attrs.get("ordered", False)
    return f"{'' if ordered else 'Unsorted'}Segment{op.attrs['mode'].capitalize()}"


def _scatter(prefix: str) -> Callable[[Operation], str]:
    def of(op: Operation) -> str:
        nd = "Nd" if op.attrs["nd"] and prefix == "Scatter" else ""
        return f"{prefix}{nd}{op.attrs['mode'].capitalize()}"

    return of


TYPES: dict[str, str | Callable[[Operation], str]] = {
    "add": "AddV2",
    "argsort": "ArgSort",
    "clip": "ClipByValue",
    "concat": "ConcatV2",
    "cond": "If",
    "ctc_loss_dense": "CTCLossDense",
    "eye": "Eye",
    "fft": _fft,
    "floordiv": "FloorDiv",
    "initialized_value": "InitializedValue",
    "matmul": _matmul,
    "matrix_diag": "MatrixDiagV3",
    "matrix_diag_part": "MatrixDiagPartV3",
    "matrix_set_diag": "MatrixSetDiagV3",
    "add_row": "TensorArrayWriteV3",
    "grow_row": "TensorArrayWriteV3",
    "new_rows": "TensorArrayV3",
    "read_row": "TensorArrayReadV3",
    "write_row": "TensorArrayWriteV3",
    "one_hot": "OneHot",
    "pad": _pad,
    "parameter": "_Arg",
    "random_normal": "RandomStandardNormal",
    "random_uniform": "RandomUniform",
    "random_uniform_int": "RandomUniformInt",
    "range": "Range",
    "read_variable": "Identity",
    "scatter_rows": _scatter("TensorScatter"),
    "scatter_write": _scatter("Scatter"),
    "searchsorted": _search,
    "sigmoid_xent": "SigmoidCrossEntropyWithLogits",
    "split": _split,
    "stack": "Pack",
    "strided_slice": "StridedSlice",
    "transpose": "Transpose",
    "truncated_normal": "TruncatedNormal",
    "unsorted_segment": _segment,
    "unstack": "Unpack",
    "variable": "VariableV2",
    "while": "While",
}


def type_of(op: Operation) -> str:
    """TensorFlow's name for what `op` computes; of a custom operation, the name that it was given."""
    named = TYPES.get(op.opdef.name)
    if named is None:
        return op.opdef.node_name or op.opdef.name
    return named if isinstance(named, str) else named(op)
