"""Pooling and its gradients: NumPy against a definition by loops, OpenCL against NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from harness import Case, opencl, spec

from graphrun.dtypes import as_dtype
from graphrun.errors import ShapeError
from graphrun.graph.descriptor import Capabilities, Spec
from graphrun.ops.host import pool
from graphrun.ops.plans import pool as plans

# images, image size, channels, window, strides, padding
CONFIGS: list[tuple[Any, ...]] = [
    (2, (8, 8), 16, (2, 2), (2, 2), "VALID"),
    (2, (9, 7), 17, (3, 3), (2, 2), "SAME"),
    (1, (7, 10), 3, (3, 2), (1, 3), "SAME"),
    (2, (6, 5), 1, (5, 5), (1, 1), "SAME"),
    (2, (11, 8), 32, (2, 3), (3, 3), "VALID"),
    (1, (8, 9), 3, (3, 3), (2, 1), ((1, 0), (2, 1))),
    (2, (5, 5), 16, (1, 1), (1, 1), "VALID"),
    (2, (5, 6), 2, (1, 1), (2, 3), "SAME"),
    (0, (8, 8), 3, (2, 2), (2, 2), "VALID"),
    (3, (4, 4), 5, (4, 4), (4, 4), "VALID"),
    (1, (3, 150), 2, (2, 5), (1, 2), "SAME"),
    (1, (4, 139), 1, (2, 2), (2, 1), ((0, 0), (1, 0))),
]


def attrs_of(config: tuple[Any, ...], data_format: str = "NHWC") -> dict[str, Any]:
    return {"ksize": config[3], "strides": config[4], "padding": config[5], "data_format": data_format}


def sample(config: tuple[Any, ...], data_format: str, dtype: str, seed: int = 0, ties: bool = False) -> Any:
    images, size, channels = config[:3]
    shape = (images, *size, channels) if data_format == "NHWC" else (images, channels, *size)
    rng = np.random.default_rng(seed)
    if ties:  # few values, so that windows have several maxima; NaN and infinities among them
        special = np.array([0, 1, 2, 2, 3, np.nan, np.inf, -np.inf])
        return special[rng.choice(8, size=shape, p=[0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])].astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def windows_by_definition(config: tuple[Any, ...]) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """For each output pixel the real input pixels of its window, in row-major order."""
    _, size, _, kernel, strides, padding = config
    if padding == "SAME":
        out = [-(-n // s) for n, s in zip(size, strides)]
        total = [max((o - 1) * s + k - n, 0) for o, s, k, n in zip(out, strides, kernel, size)]
        before = [t // 2 for t in total]
    else:
        pads = ((0, 0), (0, 0)) if padding == "VALID" else padding
        out = [(n + sum(p) - k) // s + 1 for n, p, k, s in zip(size, pads, kernel, strides)]
        before = [p[0] for p in pads]
    result = []
    for p, q in itertools.product(range(out[0]), range(out[1])):
        rows = [p * strides[0] - before[0] + i for i in range(kernel[0])]
        columns = [q * strides[1] - before[1] + j for j in range(kernel[1])]
        real = [(h, v) for h in rows for v in columns if 0 <= h < size[0] and 0 <= v < size[1]]
        result.append((p, q, real))
    return result


def first_maximum(values: list[float]) -> int:
    """NaN counts as the maximum."""
    for index, value in enumerate(values):
        if np.isnan(value):
            return index
    return values.index(max(values))


@pytest.mark.parametrize("ties", [False, True])
def test_numpy_follows_the_definition(ties: bool) -> None:
    for config in CONFIGS:
        attrs = attrs_of(config)
        x = sample(config, "NHWC", "float64", ties=ties)
        y = pool.max_pool(x, **attrs)
        dy = np.random.default_rng(1).normal(size=y.shape)
        dx = pool.max_pool_grad(x, y, dy, **attrs)
        ddx = np.random.default_rng(2).normal(size=x.shape)
        ddy = pool.max_pool_grad_grad(x, y, ddx, **attrs)
        want_dx = np.zeros_like(x)
        for p, q, real in windows_by_definition(config):
            for n, c in itertools.product(range(x.shape[0]), range(x.shape[3])):
                h, v = real[first_maximum([x[n, h, v, c] for h, v in real])]
                np.testing.assert_array_equal(y[n, p, q, c], x[n, h, v, c])
                assert ddy[n, p, q, c] == ddx[n, h, v, c]
                want_dx[n, h, v, c] += dy[n, p, q, c]
        np.testing.assert_allclose(dx, want_dx, atol=1e-12)
        if not ties:
            mean = pool.avg_pool(x, **attrs)
            gradient = pool.avg_pool_grad(dy, shape=x.shape, **attrs)
            want = np.zeros_like(x)
            for p, q, real in windows_by_definition(config):
                pixels = np.stack([x[:, h, v] for h, v in real])
                np.testing.assert_allclose(mean[:, p, q], pixels.mean(axis=0), atol=1e-12)
                for h, v in real:
                    want[:, h, v] += dy[:, p, q] / len(real)
            np.testing.assert_allclose(gradient, want, atol=1e-12)


def test_numpy_layouts_agree() -> None:
    for config in CONFIGS:
        x = sample(config, "NHWC", "float64", ties=True)
        other = x.transpose(0, 3, 1, 2)
        a, b = attrs_of(config, "NHWC"), attrs_of(config, "NCHW")
        y, y2 = pool.max_pool(x, **a), pool.max_pool(other, **b)
        np.testing.assert_array_equal(y2.transpose(0, 2, 3, 1), y)
        dy = np.random.default_rng(1).normal(size=y.shape)
        dx = pool.max_pool_grad(x, y, dy, **a)
        dx2 = pool.max_pool_grad(other, y2, dy.transpose(0, 3, 1, 2), **b)
        np.testing.assert_array_equal(dx2.transpose(0, 2, 3, 1), dx)
        finite = np.nan_to_num(x, posinf=5, neginf=-5)
        mean = pool.avg_pool(finite.transpose(0, 3, 1, 2), **b)
        np.testing.assert_array_equal(mean.transpose(0, 2, 3, 1), pool.avg_pool(finite, **a))


def test_numpy_window_of_padding_alone() -> None:
    attrs: dict[str, Any] = {"ksize": (1, 1), "strides": (1, 1), "padding": ((1, 0), (0, 0))}
    x = np.ones((1, 1, 1, 1))
    y = pool.max_pool(x, **attrs)
    assert y.ravel().tolist() == [-np.inf, 1.0]
    assert pool.max_pool(x.astype(np.int32), **attrs).ravel().tolist() == [-(2**31), 1]
    assert pool.avg_pool(x, **attrs).ravel().tolist() == [0.0, 1.0]
    assert pool.max_pool_grad(x, y, np.ones_like(y), **attrs).ravel().tolist() == [1.0]
    assert pool.avg_pool_grad(np.ones_like(y), shape=x.shape, **attrs).ravel().tolist() == [1.0]


def test_errors_name_what_does_not_fit() -> None:
    x = np.zeros((1, 4, 4, 2))
    with pytest.raises(ShapeError, match="max_pool: the filter is larger than the padded input"):
        pool.max_pool(x, ksize=(5, 5), strides=(1, 1))
    with pytest.raises(ShapeError, match="avg_pool_grad: the output's gradient has the wrong shape"):
        pool.avg_pool_grad(x, shape=x.shape, ksize=(2, 2), strides=(2, 2))


def device_cases(
    config: tuple[Any, ...], data_format: str, dtype: str, device: Capabilities
) -> list[tuple[Case, Any]]:
    attrs = attrs_of(config, data_format)
    x = sample(config, data_format, dtype, ties=True)
    plain = sample(config, data_format, dtype, seed=1)
    y = pool.max_pool(x, **attrs)
    dy = np.random.default_rng(2).normal(size=y.shape).astype(dtype)
    made = []
    for name, arrays, more in (
        ("max_pool", (x,), {}),
        ("max_pool_grad", (x, y, dy), {}),
        ("max_pool_grad_grad", (x, y, plain), {}),
        ("avg_pool", (plain,), {}),
        ("avg_pool_grad", (dy,), {"shape": x.shape}),
    ):
        want = getattr(pool, name)(*arrays, **more, **attrs)
        out = Spec(want.shape, as_dtype(dtype))
        plan = getattr(plans, f"plan_{name}")([spec(a) for a in arrays], [out], {**more, **attrs}, device)
        label = f"{name} {config} {data_format} {dtype} {device.kind}"
        assert plan is not None, label
        made.append((Case(plan, arrays, [out], label), want))
    return made


def check(cases: list[tuple[Case, Any]]) -> None:
    tolerance = {"float16": 4e-3, "float32": 1e-6, "float64": 1e-14}
    for (case, want), (got,) in zip(cases, opencl().run([case for case, _ in cases])):
        assert got.shape == want.shape and got.dtype == want.dtype, case.label
        if case.label.split()[0] in ("max_pool", "max_pool_grad_grad"):  # these only move values
            np.testing.assert_array_equal(got, want, case.label)
        else:
            allowed = tolerance[want.dtype.name]
            np.testing.assert_allclose(got, want, rtol=allowed, atol=4 * allowed, err_msg=case.label)


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_device_equals_numpy(kind: str) -> None:
    runner = opencl()
    device = Capabilities(kind=kind, fp64=runner.fp64, compute_units=2)
    cases = []
    for config, data_format in itertools.product(CONFIGS, ["NHWC", "NCHW"]):
        cases += device_cases(config, data_format, "float32", device)
    for dtype in ["float16"] + (["float64"] if runner.fp64 else []):
        cases += device_cases(CONFIGS[1], "NHWC", dtype, device)
        cases += device_cases(CONFIGS[5], "NCHW", dtype, device)
    check(cases)


@pytest.mark.opencl
def test_max_pool_of_integers() -> None:
    cases = []
    for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint32"):
        for kind in ("cpu", "gpu"):
            info = np.iinfo(dtype)
            x = np.random.default_rng(3).integers(info.min, info.max, (2, 5, 6, 17), dtype, endpoint=True)
            attrs = {"ksize": (2, 2), "strides": (2, 2), "padding": ((1, 1), (1, 0)), "data_format": "NHWC"}
            want = pool.max_pool(x, **attrs)
            out = Spec(want.shape, as_dtype(dtype))
            plan = plans.plan_max_pool([spec(x)], [out], attrs, Capabilities(kind=kind, compute_units=2))
            assert plan is not None
            cases.append((Case(plan, [x], [out], f"max_pool {dtype}"), want))
    check(cases)


@pytest.mark.opencl
def test_work_is_shared_out() -> None:
    config = (3, (40, 36), 20, (3, 3), (2, 2), "SAME")
    cases = device_cases(config, "NHWC", "float32", Capabilities(compute_units=2))
    assert all(case.plan.launches[0].global_size[0] > 1 for case, _ in cases[:3])
    check(cases)


@pytest.mark.opencl
def test_windows_that_tile_the_image_take_one_launch() -> None:
    configs = [
        (2, (8, 8), 16, (2, 2), (2, 2), "VALID"), (2, (8, 6), 19, (2, 3), (2, 3), "SAME"),
        (1, (10, 5), 33, (5, 5), (5, 5), "VALID"), (1, (4, 6), 1, (2, 2), (2, 2), "VALID"),
    ]  # fmt: skip
    cases = []
    for kind, data_format in itertools.product(("cpu", "gpu"), ("NHWC", "NCHW")):
        for config in configs:
            made = device_cases(config, data_format, "float32", Capabilities(kind=kind, compute_units=2))[1]
            cases.append(made)
            by_row = kind == "cpu" and (data_format == "NCHW" or config[2] == 1)
            entries = [launch.entry for launch in made[0].plan.launches]
            assert entries == (["max_pool_argmax", "max_pool_grad"] if by_row else ["max_pool_spread"])
    check(cases)
    apart = [(1, (9, 8), 4, (2, 2), (2, 2), "VALID"), (1, (8, 8), 4, (3, 3), (2, 2), "VALID")]
    for config in apart:
        ((case, _),) = device_cases(config, "NHWC", "float32", Capabilities())[1:2]
        assert len(case.plan.launches) == 2, "pixels in no window, or in several"


def test_plans_refuse_what_the_kernels_cannot_do() -> None:
    attrs = {"ksize": (2, 2), "strides": (2, 2), "padding": "VALID", "data_format": "NHWC"}
    integer, double = Spec((1, 4, 4, 2), as_dtype("int32")), Spec((1, 4, 4, 2), as_dtype("float64"))
    assert plans.plan_avg_pool([integer], [integer], attrs, Capabilities()) is None
    assert plans.plan_max_pool([double], [double], attrs, Capabilities(fp64=False)) is None
    unknown = Spec((None, 4, 4, 2), as_dtype("float32"))
    assert plans.plan_max_pool([unknown], [unknown], attrs, Capabilities()) is None
