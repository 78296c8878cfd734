"""kernels/scatter.cl against NumPy: every division of the work, guard zones around each tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Case, opencl, spec
from tolerances import assert_close

from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import Capabilities, Spec
from graphrun.ops.gather import gather_grad_op
from graphrun.ops.plans.scatter import plan_gather_grad

# shape, axis, batch_dims, shape of the indices, whether negative ones count from the end
PLACES = [
    ((9, 5), 0, 0, (40,), False),
    ((1, 700), 0, 0, (3,), False),
    ((1000,), 0, 0, (50,), False),
    ((3,), 0, 0, (5000,), True),
    ((7, 130), 0, 0, (4, 6), True),
    ((2, 9, 70), 1, 0, (11,), False),
    ((3, 2, 9, 4), 2, 1, (3, 5), False),
    ((4, 6, 3), 1, 1, (4, 8), True),
    ((5, 4), 0, 0, (0,), False),
]


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_sums_of_rows(kind: str) -> None:
    runner = opencl()
    rng = np.random.default_rng(0)
    cases, expected, labels = [], [], []
    for units in (1, 3):
        device = Capabilities(kind=kind, fp64=runner.fp64, compute_units=units)
        for dtype in ("float32", "float64", "float16", "int32", "uint8"):
            if dtype == "float64" and not runner.fp64:
                continue
            for number, (shape, axis, batch_dims, places, negative) in enumerate(PLACES):
                attrs = {"shape": shape, "axis": axis, "batch_dims": batch_dims, "negative": negative}
                low = -shape[axis] if negative else 0
                index = rng.integers(low, shape[axis], places).astype(("int32", "int64", "uint8")[number % 3])
                index = index if low == 0 else index.astype("int32")
                dy_shape = (*shape[:axis], *places[batch_dims:], *shape[axis + 1 :])
                # Small whole numbers: the sums are exact in every dtype, whatever the order.
                dy = (
                    rng.integers(0, 4, dy_shape).astype(dtype)
                    if dtype == "float16"
                    else _numbers(rng, dy_shape, dtype)
                )
                out = Spec(shape, as_dtype(dtype))
                plan = plan_gather_grad([spec(dy), spec(index)], [out], attrs, device)
                assert plan is not None
                cases.append(Case(plan, [dy, index], [out], f"{dtype} {shape} {places}"))
                expected.append(gather_grad_op.numpy(dy, index, **attrs))  # type: ignore[misc]
                labels.append(cases[-1].label)
    for (found,), wanted, label in zip(runner.run(cases), expected, labels, strict=True):
        assert_close(found, wanted, factor=10, label=label)  # sums of up to 1700 terms, in another order


def _numbers(rng: np.random.Generator, shape: Any, dtype: str) -> np.ndarray:
    return (
        rng.integers(0, 3, shape).astype(dtype)
        if dtype in ("uint8", "int32")
        else rng.standard_normal(shape).astype(dtype)
    )


@pytest.mark.opencl
def test_an_index_out_of_range_is_left_out() -> None:
    runner = opencl()
    dy, index = np.ones((4, 2), np.float32), np.array([0, 3, -1, 2], np.int32)
    out = Spec((3, 2), as_dtype("float32"))
    attrs = {"shape": (3, 2), "axis": 0, "batch_dims": 0, "negative": False}
    plan = plan_gather_grad([spec(dy), spec(index)], [out], attrs, Capabilities())
    assert plan is not None
    ((found,),) = runner.run([Case(plan, [dy, index], [out])])
    assert found.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_what_the_plan_refuses_and_leaves_out() -> None:
    attrs = {"shape": (3, 2), "axis": 0, "batch_dims": 0, "negative": False}
    int32, float64 = as_dtype("int32"), as_dtype("float64")
    ins = [Spec((4, 2), float64), Spec((4,), int32)]
    assert plan_gather_grad(ins, [Spec((3, 2), float64)], attrs, Capabilities(fp64=False)) is None
    empty = plan_gather_grad(ins, [Spec((3, 0), float64)], {**attrs, "shape": (3, 0)}, Capabilities())
    assert empty is not None and not empty.launches
