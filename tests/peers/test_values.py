"""Values, gradients, static shapes and names beside TensorFlow's, where it is installed (extra `peers`)."""

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

tf.disable_v2_behavior()
ALL = [*ROWS, *NN_ROWS, *FLOW_ROWS]


def _flat(result: Any) -> list[Any]:
    return [t for part in result for t in _flat(part)] if isinstance(result, list | tuple) else [result]


def _dtype(lib: Any, array: Any) -> Any:
    return lib.string if array.dtype.kind == "O" else array.dtype.name


def _built(lib: Any, row: Row, arrays: list[Any], open_batch: bool) -> dict[str, Any]:
    """Build the call and its gradients in a new graph of `lib`, and run them."""
    with lib.Graph().as_default():
        lib.set_random_seed(1)
        xs = [
            lib.placeholder(_dtype(lib, a), (None, *a.shape[1:]) if open_batch and a.ndim else a.shape)
            for a in arrays
        ]
        ys = _flat(row.call(lib, *xs))
        found: dict[str, Any] = {
            "names": [y.name for y in ys],
            "shapes": [None if y.shape.ndims is None else y.shape.as_list() for y in ys],
            "dtypes": [y.dtype.base_dtype.name for y in ys],
        }
        smooth = [y for y in ys if y.dtype.base_dtype.name.startswith("float")]
        inputs = [x for x in xs if x.dtype.base_dtype.name.startswith("float")]
        gradients = []
        if row.gradient and smooth and inputs:
            seeds = [lib.cos(y) + 0.5 for y in smooth]
            found_gradients = lib.gradients(smooth, inputs, seeds)
            gradients = [lib.convert_to_tensor(g) for g in found_gradients if g is not None]
        with lib.Session() as session:
            feeds = dict(zip(xs, arrays, strict=True))
            found["values"], found["gradients"] = session.run([ys, gradients], feeds)
    return found


@pytest.mark.parametrize("open_batch", [False, True], ids=["static", "open"])
@pytest.mark.parametrize("row", ALL, ids=[r.id for r in ALL])
def test_same_as_tensorflow(row: Row, open_batch: bool) -> None:
    if open_batch and not row.open_batch:
        pytest.skip(row.why)
    rng = np.random.default_rng(0)
    arrays = [np.asarray(draw(rng)) for draw in row.inputs]
    ours, theirs = (_built(lib, row, arrays, open_batch) for lib in (gr, tf))
    assert ours["dtypes"] == theirs["dtypes"]
    if row.shapes:
        assert ours["shapes"] == theirs["shapes"]
    if row.names:
        assert ours["names"] == theirs["names"]
    for what in ("values", "gradients"):
        assert len(ours[what]) == len(theirs[what]), what
        for a, b in zip(ours[what], theirs[what], strict=True):
            assert np.shape(a) == np.shape(b)
            limits = {"rtol": 2e-5 * row.factor, "atol": 2e-6 * row.factor}
            kind = np.asarray(b).dtype.kind
            if kind not in "fc":
                assert np.array_equal(np.asarray(a), np.asarray(b)), what
                continue
            np.testing.assert_allclose(a, b, **limits, err_msg=what)
