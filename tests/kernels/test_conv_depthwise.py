"""kernels/conv_depthwise.cl against NumPy: channels that straddle vectors, odd windows, epilogues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Case, opencl, spec
from test_conv_cl import attrs_of, check, device_cases
from test_conv_tiles import with_epilogue

from graphrun import dtypes
from graphrun.graph.descriptor import Capabilities
from graphrun.ops.host import conv
from graphrun.ops.plans import conv as plans

EDGES = (2, 3, 7, 15, 16, 17, 31, 33, 63, 65, 127, 129)
_SAME = ((1, 1), (1, 1), "SAME")
# images, image size, filter size, strides, dilations, padding, channels of the input, the filter, the output
_CONFIGS: list[tuple[Any, ...]] = [
    *((1, (4, 9), (3, 3), *_SAME, n, 1, n) for n in EDGES),
    *((1, (3, 7), (3, 3), *_SAME, n, 1, n * times) for n, times in ((7, 2), (17, 3), (33, 2), (8, 2))),
    *((2, (5, n), (3, 5), (2, 3), (1, 1), "SAME", 20, 1, 20) for n in (1, 2, 6, 13, 23)),
    (2, (9, 13), (3, 3), (1, 2), (2, 3), "SAME", 18, 1, 18),
    (2, (11, 13), (2, 3), (3, 2), (2, 2), "VALID", 9, 1, 18),
    (1, (11, 13), (3, 2), (4, 6), (2, 4), "SAME", 5, 1, 5),  # strides and dilations with a common divisor
    (1, (11, 13), (3, 3), (4, 2), (2, 2), "VALID", 5, 1, 10),
    (1, (6, 5), (1, 1), (3, 2), (1, 1), "SAME", 24, 1, 24),
    (1, (1, 1), (3, 3), *_SAME, 16, 1, 16),
    (2, (3, 4), (2, 2), (1, 1), (1, 1), ((5, 3), (0, 6)), 6, 1, 6),  # windows that lie in the padding alone
    (1, (2, 3), (7, 9), *_SAME, 4, 1, 8),  # a filter larger than the image
]
_ENTRIES = {"conv_depthwise", "conv_depthwise_input", "conv_depthwise_filter"}


@pytest.mark.opencl
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_channels_and_windows(lanes: int) -> None:
    opencl()
    device = Capabilities(compute_units=2, vector_width_float=lanes)
    cases = [c for config in _CONFIGS for c in device_cases(config, "float32", "NHWC", device)]
    assert {case.plan.launches[0].entry for case, _ in cases} == _ENTRIES
    check(cases)


@pytest.mark.opencl
def test_half_and_double() -> None:
    runner = opencl()
    device = Capabilities(compute_units=3)
    for dtype in ["float16"] + (["float64"] if runner.fp64 else []):
        check([c for config in _CONFIGS[3::3] for c in device_cases(config, dtype, "NHWC", device)])


@pytest.mark.opencl
def test_many_items_give_the_same_bits_twice() -> None:
    opencl()
    device = Capabilities(compute_units=4)
    cases = device_cases((5, (33, 31), (3, 3), (1, 1), (1, 1), "SAME", 37, 1, 37), "float32", "NHWC", device)
    assert all(case.plan.launches[0].global_size[0] > 4 for case, _ in cases)
    check(cases)
    first, second = (opencl().run([case for case, _ in cases]) for _ in range(2))
    assert [a.tobytes() for (a,) in first] == [a.tobytes() for (a,) in second]


@pytest.mark.opencl
def test_infinities_and_nan_stay_in_their_channel() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 6, 7, 19)).astype("float32"), rng.normal(size=(3, 3, 1, 19)).astype("float32")
    x[0, 2, 3, :3] = np.inf, -np.inf, np.nan
    x[0, 2, 3, 17] = np.nan
    attrs = attrs_of((1, 1), "VALID", (1, 1))
    want = conv.conv2d(x, w, **attrs)
    plan = plans.plan_conv2d([spec(x), spec(w)], [spec(want)], attrs, Capabilities(compute_units=2))
    assert plan is not None
    ((got,),) = opencl().run([Case(plan, [x, w], [spec(want)], "special")])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert np.isfinite(got[..., 3:17]).all() and np.isnan(got[0, :, 1:4, 17]).any()


@pytest.mark.opencl
def test_epilogues() -> None:
    runner = opencl()
    device = Capabilities(compute_units=2)
    types = [dtypes.float32, dtypes.float16] + ([dtypes.float64] if runner.fp64 else [])
    made = [
        with_epilogue(config, dtype, "NHWC", device, backward)
        for dtype in types
        for config in (_CONFIGS[2], _CONFIGS[5], _CONFIGS[13], _CONFIGS[19])
        for backward in (False, True)
    ]
    tolerance = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}
    for (case, want), (_, real) in zip(made, runner.run([case for case, _ in made]), strict=True):
        off = tolerance[real.dtype.name] * max(1.0, float(want.max()))
        np.testing.assert_allclose(real.astype(np.float64), want, atol=off, rtol=0, err_msg=case.label)


def test_numpy_agrees_with_groups_of_one_channel() -> None:
    """The way of single channels against the matrix products that other groups take."""
    rng = np.random.default_rng(1)
    for times in (1, 3):
        attrs = attrs_of((2, 1), "SAME", (1, 2))
        x, w = rng.normal(size=(2, 7, 6, 4)), rng.normal(size=(3, 2, 1, 4 * times))
        parts = [
            conv.conv2d(x[..., k : k + 1], w[..., k * times : (k + 1) * times], **attrs) for k in range(4)
        ]
        np.testing.assert_allclose(conv.conv2d(x, w, **attrs), np.concatenate(parts, -1), atol=1e-12)
