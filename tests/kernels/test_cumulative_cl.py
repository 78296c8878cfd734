"""kernels/cumulative.cl against NumPy, with guard zones around each tensor."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, opencl, spec

from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import Capabilities, Spec
from graphrun.ops.plans.cumulative import plan_cumulative
from graphrun.ops.ranking import cumprod_op, cumsum_op

SHAPES = [((1,), 0), ((7, 3), 0), ((2, 9, 70), 1), ((3, 131), 1), ((40_003,), 0), ((9_001, 3), 0)]


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_running_sums_and_products(kind: str) -> None:
    runner = opencl()
    rng = np.random.default_rng(0)
    cases, expected = [], []
    for units, dtype in ((1, "float32"), (3, "float64"), (3, "float16"), (64, "int64"), (2, "uint8")):
        if dtype == "float64" and not runner.fp64:
            continue
        device = Capabilities(kind=kind, fp64=runner.fp64, compute_units=units)
        for number, (shape, axis) in enumerate(SHAPES):
            exclusive, reverse, product = number % 2 == 1, number % 3 == 1, number % 4 == 3
            # Sums of -1, 0 and 1 stay small, and whole numbers are exact; products of -1 and 1 too.
            x = rng.integers(0, 2, shape) * 2 - 1 if product else rng.integers(-1, 2, shape)
            x = x.astype(dtype)
            attrs = {"axis": axis, "exclusive": exclusive, "reverse": reverse}
            plan = plan_cumulative(product)([spec(x)], [spec(x)], attrs, device)
            assert plan is not None
            cases.append(Case(plan, [x], [spec(x)], f"{dtype} {shape} {attrs} {product}"))
            op = cumprod_op if product else cumsum_op
            expected.append(op.numpy(x, **attrs))  # type: ignore[misc]
    for case, (found,), wanted in zip(cases, runner.run(cases), expected, strict=True):
        np.testing.assert_array_equal(found, wanted, err_msg=case.label)


def test_what_the_plan_refuses_and_leaves_out() -> None:
    attrs = {"axis": 0, "exclusive": False, "reverse": False}
    double, empty = Spec((3,), as_dtype("float64")), Spec((0,), as_dtype("float32"))
    assert plan_cumulative(False)([double], [double], attrs, Capabilities(fp64=False)) is None
    plan = plan_cumulative(False)([empty], [empty], attrs, Capabilities())
    assert plan is not None and not plan.launches
    short = Spec((100,), as_dtype("float32"))
    assert len(plan_cumulative(False)([short], [short], attrs, Capabilities()).launches) == 1  # type: ignore[union-attr]
