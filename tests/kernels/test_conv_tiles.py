"""The tile kernels of conv.cl where tiles, groups, rings and blocks end, with epilogues; against NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import Case, opencl, spec
from test_conv_cl import attrs_of, check, device_cases

from graphrun import dtypes
from graphrun.compiler.codegen import epilogue_args, epilogue_text
from graphrun.compiler.fusion import Group, Instruction
from graphrun.graph.descriptor import Capabilities, Expr, Spec
from graphrun.ops.host import conv
from graphrun.ops.plans import conv as plans

_EDGES = (1, 7, 15, 16, 17, 31, 33, 37)
_SAME = ((1, 1), (1, 1), "SAME")
# images, image size, filter size, strides, dilations, padding, channels of the input, the filter, the output
_CONFIGS: list[tuple[Any, ...]] = [
    *((1, (3, n), (3, 3), *_SAME, m, m, n) for n, m in zip(_EDGES, _EDGES[::-1], strict=True)),
    (2, (6, 9), (3, 3), *_SAME, 12, 4, 15),  # three groups of 4 and 5
    (1, (6, 9), (3, 2), (2, 1), (1, 2), "SAME", 34, 17, 34),
    (1, (4, 9), (1, 1), (1, 1), (1, 1), "VALID", 16, 8, 8),  # groups whose pixels are not adjacent
    (2, (5, 8), (3, 3), *_SAME, 32, 32, 3),  # dot products
    (2, (5, 8), (3, 3), (2, 2), (1, 1), "SAME", 3, 3, 32),  # dot products of the gradient, by phases
    (1, (4, 40), (1, 1), (1, 1), (1, 1), ((0, 3), (2, 0)), 5, 5, 7),
    (1, (9, 3), (5, 1), (3, 1), (1, 1), ((4, 0), (0, 0)), 6, 6, 32),  # padding that no filter row reads alone
]


@pytest.mark.opencl
@pytest.mark.parametrize(
    "data_format,local_mem_bytes", [("NHWC", 1 << 20), ("NHWC", 8 << 10), ("NHWC", 64), ("NCHW", 8 << 10)]
)
def test_where_tiles_end(data_format: str, local_mem_bytes: int) -> None:
    """With all rows of the ring, with blocks of columns, and with a copy because not even a tile fits."""
    opencl()
    device = Capabilities(compute_units=2, local_mem_bytes=local_mem_bytes)
    cases = [c for config in _CONFIGS for c in device_cases(config, "float32", data_format, device)]
    entries = {launch.entry for case, _ in cases for launch in case.plan.launches}
    assert {"conv_tile", "conv_filter_tile"} <= entries
    assert local_mem_bytes > 64 or "conv_halo" in entries
    check(cases)


@pytest.mark.opencl
def test_half_and_double() -> None:
    runner = opencl()
    device = Capabilities(compute_units=2, local_mem_bytes=16 << 10)
    chosen = [_CONFIGS[i] for i in (3, 4, 8, 9, 11, 12)]
    for dtype in ["float16"] + (["float64"] if runner.fp64 else []):
        check([c for config in chosen for c in device_cases(config, dtype, "NHWC", device)])


@pytest.mark.opencl
def test_wide_filters_share_passes() -> None:
    """Panels that overflow the cache serve several lines at once; the same launch gives the same bits."""
    opencl()
    device = Capabilities(compute_units=2, local_mem_bytes=1 << 20)
    config = (2, (9, 7), (3, 3), *_SAME, 160, 160, 33)
    cases = device_cases(config, "float32", "NHWC", device)
    check(cases)
    first, second = (opencl().run([case for case, _ in cases]) for _ in range(2))
    assert [a.tobytes() for (a,) in first] == [a.tobytes() for (a,) in second]


def _instruction(code: str, operands: Any, dtype: Any, out: Any = None) -> Instruction:
    return Instruction("test", Expr(code), {}, tuple(operands), (dtype,) * len(operands), out or dtype)


def with_epilogue(config: Any, dtype: Any, data_format: str, device: Capabilities, backward: bool) -> Any:
    """``relu(conv + residual) * 2`` as int32 too, with what NumPy says."""
    images, size, kernel, strides, dilations, padding, channels, per_group, outputs = config
    rng = np.random.default_rng(6)
    kwargs = attrs_of(strides, padding, dilations, data_format)
    x = rng.normal(size=(images, *size, channels)).astype(dtype.numpy)
    if data_format == "NCHW":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    w = rng.normal(size=(*kernel, per_group, outputs)).astype(dtype.numpy)
    y = conv.conv2d(x, w, **kwargs)
    if backward:
        arrays: tuple[Any, Any] = (w, rng.normal(size=y.shape).astype(dtype.numpy))
        kwargs["shape"] = x.shape
        result, plan_of = conv.conv2d_backprop_input(*arrays, **kwargs), plans.plan_conv2d_backprop_input
    else:
        arrays, result, plan_of = (x, w), y, plans.plan_conv2d
    residual = rng.normal(size=result.shape).astype(dtype.numpy)
    group = Group(
        (
            _instruction("gr_max(a + b, ({T})0)", [("in", 0), ("in", 1)], dtype),
            _instruction("convert_{O}_sat(a * 64)", [("t", 0)], dtype, dtypes.int32),
        ),
        (None, None),
        "test",
        extra=(0,),
    )
    outs = [Spec(result.shape, dtypes.int32), Spec(result.shape, dtype)]
    plan = plan_of([spec(a) for a in arrays], outs[:1], kwargs, device, True)
    assert plan is not None
    storing = [plan.launches[i] for i in plan.storing]
    (lanes,) = {dict(launch.defines).get("W", 1) for launch in storing}
    text = epilogue_text(group, 0, [Spec(result.shape, dtype), spec(residual)], outs, lanes)
    more = tuple((kind, v + (kind == "in")) for kind, v in epilogue_args(group, 0, outs))
    launches = tuple(
        replace(launch, args=launch.args + more) if i in plan.storing else launch
        for i, launch in enumerate(plan.launches)
    )
    case = Case(
        replace(plan, launches=launches), [*arrays, residual], outs, f"{config} {data_format}", epilogue=text
    )
    return case, np.maximum(result.astype(np.float64) + residual, 0)


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_epilogues(kind: str, data_format: str) -> None:
    runner = opencl()
    device = Capabilities(kind=kind, compute_units=2, local_mem_bytes=16 << 10)
    chosen = [_CONFIGS[i] for i in (1, 3, 4, 8, 11, 12, 13)]
    types = [dtypes.float32, dtypes.float16] + ([dtypes.float64] if runner.fp64 else [])
    made = [
        with_epilogue(config, dtype, data_format, device, backward)
        for dtype in types
        for config in (chosen if dtype is dtypes.float32 else chosen[1:4])
        for backward in (False, True)
    ]
    tolerance = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}
    for (case, want), (whole, real) in zip(made, runner.run([case for case, _ in made]), strict=True):
        off = tolerance[real.dtype.name] * max(1.0, float(want.max()))
        np.testing.assert_allclose(real.astype(np.float64), want, atol=off, rtol=0, err_msg=case.label)
        # Which of two neighbours a half rounds to is not the integer's: it comes from before the rounding.
        assert (np.abs(whole - want * 64) <= 64 * off + 1).all(), case.label
