"""kernels/first_places.cl against NumPy: every division of the work, guard zones around each tensor."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, opencl, spec

from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import Capabilities, Spec
from graphrun.ops.duplicates import first_places_op
from graphrun.ops.plans.scatter import plan_first_places

# How many indices, and from how many they are drawn.
LISTS = [(1, 1), (2, 1), (3, 50), (64, 7), (65, 1000), (700, 30), (700, 100_000)]


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_first_places(kind: str) -> None:
    runner = opencl()
    rng = np.random.default_rng(0)
    cases, expected = [], []
    for units in (1, 3, 80):
        device = Capabilities(kind=kind, compute_units=units)
        for number, (count, bound) in enumerate(LISTS):
            dtype = ("int32", "int64", "int16")[number % 3]
            indices = rng.integers(-bound, bound, count) % np.iinfo(dtype).max
            indices = indices.astype(dtype)
            out = Spec((count,), as_dtype("int32"))
            plan = plan_first_places([spec(indices)], [out], {}, device)
            assert plan is not None
            assert sum(plan.scratch_bytes) <= 12 * count + 8
            cases.append(Case(plan, [indices], [out], f"{units} {dtype} {count} of {bound}"))
            assert first_places_op.numpy is not None
            expected.append(first_places_op.numpy(indices))
    for (found,), wanted, case in zip(runner.run(cases), expected, cases, strict=True):
        np.testing.assert_array_equal(found, wanted, err_msg=case.label)


@pytest.mark.opencl
def test_equal_hashes_are_told_apart() -> None:
    """Indices that fall into one bucket form a chain."""
    factor, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    bucket = [k for k in range(4000) if (k * factor & mask) >> (64 - 5) == 3][:20]
    runner = opencl()
    indices = np.array([*bucket, *bucket[::-1]][:32], np.int64)
    out = Spec((32,), as_dtype("int32"))
    plan = plan_first_places([spec(indices)], [out], {}, Capabilities())
    assert plan is not None and plan.launches[0].args[5] == ("uint", 5)
    ((found,),) = runner.run([Case(plan, [indices], [out])])
    np.testing.assert_array_equal(found[:20], range(20))
    np.testing.assert_array_equal(found[20:], range(19, 7, -1))


def test_nothing_to_do() -> None:
    out = Spec((0,), as_dtype("int32"))
    plan = plan_first_places([out], [out], {}, Capabilities())
    assert plan is not None and not plan.launches
