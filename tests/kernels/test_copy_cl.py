"""kernels/copy.cl against NumPy: concat and stack for both kinds of device, guard zones around tensors."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, opencl, spec

from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import Capabilities, Spec
from graphrun.ops.plans.copy import plan_join

CONCATS = [
    ([(5, 7), (5, 1), (5, 0), (5, 12)], 1),
    ([(3, 4), (9, 4)], 0),
    ([(2, 3, 5), (2, 4, 5)], -2),
    ([(5000,), (9000,), (1,)], 0),
    ([(130, 70), (130, 65)], 1),
]
STACKS = [((4, 5), 0, 3), ((4, 5), 1, 2), ((4, 5), -1, 2), ((), 0, 4), ((70, 130), 1, 2)]


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_joins(kind: str) -> None:
    runner = opencl()
    rng = np.random.default_rng(0)
    device = Capabilities(kind=kind, compute_units=3)
    cases, expected = [], []
    for dtype in ("uint8", "float16", "float32", "int64"):
        for shapes, axis in CONCATS:
            arrays = [rng.integers(0, 200, s).astype(dtype) for s in shapes]
            expected.append(np.concatenate(arrays, axis))
            cases.append((arrays, axis))
        for shape, axis, count in STACKS:
            arrays = [rng.integers(0, 200, shape).astype(dtype) for _ in range(count)]
            expected.append(np.stack(arrays, axis))
            cases.append((arrays, axis))
    plans = []
    for (arrays, axis), wanted in zip(cases, expected, strict=True):
        out = Spec(wanted.shape, as_dtype(wanted.dtype))
        plan = plan_join([spec(a) for a in arrays], [out], {"axis": axis}, device)
        assert plan is not None
        plans.append(Case(plan, arrays, [out], f"{wanted.dtype} {[a.shape for a in arrays]} {axis}"))
    for (found,), wanted, case in zip(runner.run(plans), expected, plans, strict=True):
        np.testing.assert_array_equal(found, wanted, case.label)
