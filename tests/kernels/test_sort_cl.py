"""kernels/sort.cl against NumPy, with guard zones around each tensor."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, opencl, spec

from graphrun.dtypes import as_dtype, int32
from graphrun.graph.descriptor import Capabilities, Spec
from graphrun.ops.plans.sort import plan_argsort, plan_top_k
from graphrun.ops.ranking import argsort_op, top_k_op

SHAPES = [(1,), (3, 15), (2, 16), (5, 17), (1, 33), (2, 3, 64), (1, 65), (2, 1000)]


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_order_and_the_largest(kind: str) -> None:
    runner = opencl()
    rng = np.random.default_rng(0)
    device = Capabilities(kind=kind, fp64=runner.fp64)
    cases, expected = [], []
    for dtype in ("float32", "float64", "float16", "int64", "uint8"):
        if dtype == "float64" and not runner.fp64:
            continue
        for number, shape in enumerate(SHAPES):
            x = rng.integers(0, max(2, shape[-1] // 2), shape).astype(dtype)  # with many ties
            if dtype == "float32" and number % 2:
                x = np.where(x == 1, np.nan, x).astype(dtype)
            attrs = {"descending": number % 2 == 0}
            out = Spec(shape, int32)
            plan = plan_argsort([spec(x)], [out], attrs, device)
            assert plan is not None
            cases.append(Case(plan, [x], [out], f"argsort {dtype} {shape}"))
            expected.append([argsort_op.numpy(x, **attrs)])  # type: ignore[misc]
            k = max(1, shape[-1] // 3)
            outs = [Spec((*shape[:-1], k), as_dtype(dtype)), Spec((*shape[:-1], k), int32)]
            plan = plan_top_k([spec(x)], outs, {"k": k, "sorted": True}, device)
            assert plan is not None
            cases.append(Case(plan, [x], outs, f"top_k {dtype} {shape}"))
            expected.append(list(top_k_op.numpy(x, k=k, sorted=True)))  # type: ignore[misc]
    for case, found, wanted in zip(cases, runner.run(cases), expected, strict=True):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=case.label)


def test_what_the_plan_refuses_and_leaves_out() -> None:
    double, empty = Spec((3,), as_dtype("float64")), Spec((0, 4), as_dtype("float32"))
    attrs = {"descending": False}
    assert plan_argsort([double], [Spec((3,), int32)], attrs, Capabilities(fp64=False)) is None
    plan = plan_argsort([empty], [Spec((0, 4), int32)], attrs, Capabilities())
    assert plan is not None and not plan.launches
