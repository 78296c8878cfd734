"""conv2d and its gradients: NumPy against a definition by loops, OpenCL against NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from harness import Case, opencl, spec

from graphrun.dtypes import as_dtype
from graphrun.errors import ShapeError
from graphrun.graph.descriptor import Capabilities, Spec
from graphrun.ops.host import conv
from graphrun.ops.plans import conv as plans

Config = tuple[Any, ...]


def attrs_of(strides: Any, padding: Any, dilations: Any, data_format: str = "NHWC") -> dict[str, Any]:
    return {"strides": strides, "padding": padding, "dilations": dilations, "data_format": data_format}


def by_definition(x: Any, w: Any, strides: Any, padding: Any, dilations: Any) -> Any:
    """NHWC convolution from TensorFlow's documented rule, one product at a time."""
    n, h, width, channels = x.shape
    kh, kw, ci, co = w.shape
    groups = channels // ci
    reach = [(k - 1) * d + 1 for k, d in zip((kh, kw), dilations)]
    if padding == "SAME":
        out = [-(-size // s) for size, s in zip((h, width), strides)]
        total = [max((o - 1) * s + r - size, 0) for o, s, r, size in zip(out, strides, reach, (h, width))]
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(0, 0), (0, 0)] if padding == "VALID" else list(padding)
        out = [(size + sum(p) - r) // s + 1 for size, p, r, s in zip((h, width), pads, reach, strides)]
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    y = np.zeros((n, *out, co))
    for p, q, i, j in itertools.product(range(out[0]), range(out[1]), range(kh), range(kw)):
        pixel = padded[:, p * strides[0] + i * dilations[0], q * strides[1] + j * dilations[1]]
        for g in range(groups):
            outputs = slice(g * co // groups, (g + 1) * co // groups)
            y[:, p, q, outputs] += pixel[:, g * ci : (g + 1) * ci] @ w[i, j, :, outputs]
    return y


HOST_CONFIGS = list(
    itertools.product(
        [(7, 9), (5, 4)],
        [(1, 1), (2, 3), (3, 3)],
        [(1, 1), (2, 3)],
        [(1, 1), (2, 1)],
        ["SAME", "VALID", ((1, 2), (0, 3))],
        [(3, 3, 4), (4, 2, 6), (3, 1, 3)],
    )
)


def test_numpy_follows_the_definition_and_gradients_are_adjoint() -> None:
    rng = np.random.default_rng(1)
    for size, kernel, strides, dilations, padding, (channels, ci, co) in HOST_CONFIGS:
        kwargs = attrs_of(strides, padding, dilations)
        x = rng.normal(size=(2, *size, channels))
        w = rng.normal(size=(*kernel, ci, co))
        y = conv.conv2d(x, w, **kwargs)
        np.testing.assert_allclose(y, by_definition(x, w, strides, padding, dilations), atol=1e-12)
        nchw = conv.conv2d(x.transpose(0, 3, 1, 2), w, **{**kwargs, "data_format": "NCHW"})
        np.testing.assert_allclose(nchw.transpose(0, 2, 3, 1), y, atol=1e-12)
        # y is linear in x and in w, so <dy, conv(v)> = <gradient, v> for every v
        dy, v, u = rng.normal(size=y.shape), rng.normal(size=x.shape), rng.normal(size=w.shape)
        dx = conv.conv2d_backprop_input(w, dy, shape=x.shape, **kwargs)
        dw = conv.conv2d_backprop_filter(x, dy, shape=w.shape, **kwargs)
        np.testing.assert_allclose(np.sum(dy * conv.conv2d(v, w, **kwargs)), np.sum(dx * v), rtol=1e-9)
        np.testing.assert_allclose(np.sum(dy * conv.conv2d(x, u, **kwargs)), np.sum(dw * u), rtol=1e-9)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_numpy_gradients_by_finite_differences(data_format: str) -> None:
    rng = np.random.default_rng(2)
    kwargs = attrs_of((2, 1), "SAME", (1, 2), data_format)
    x = rng.normal(size=(1, 5, 4, 2) if data_format == "NHWC" else (1, 2, 5, 4))
    w = rng.normal(size=(3, 2, 2, 3))
    weights = rng.normal(size=conv.conv2d(x, w, **kwargs).shape)

    def loss(x: Any, w: Any) -> float:
        return float(np.sum(weights * np.sin(conv.conv2d(x, w, **kwargs))))

    dy = weights * np.cos(conv.conv2d(x, w, **kwargs))
    dx = conv.conv2d_backprop_input(w, dy, shape=x.shape, **kwargs)
    dw = conv.conv2d_backprop_filter(x, dy, shape=w.shape, **kwargs)
    step = 1e-6
    for value, gradient in ((x, dx), (w, dw)):
        for index in np.ndindex(value.shape):
            kept = value[index]
            value[index] = kept + step
            above = loss(x, w)
            value[index] = kept - step
            below = loss(x, w)
            value[index] = kept
            assert abs((above - below) / (2 * step) - gradient[index]) < 1e-7


def test_numpy_pieces_join(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    kwargs = attrs_of((2, 1), "SAME", (1, 1))
    x, w = rng.normal(size=(5, 9, 8, 3)), rng.normal(size=(3, 3, 3, 4))
    y = conv.conv2d(x, w, **kwargs)

    def all_three() -> list[Any]:
        return [
            conv.conv2d(x, w, **kwargs),
            conv.conv2d_backprop_input(w, y, shape=x.shape, **kwargs),
            conv.conv2d_backprop_filter(x, y, shape=w.shape, **kwargs),
        ]

    whole = all_three()
    for size_bytes in (1, 8 * 8 * 27 * 2, 8 * 8 * 27 * 5 * 2):  # one row, two rows, two images at a time
        monkeypatch.setattr(conv, "_COLUMN_BYTES", size_bytes)
        for a, b in zip(all_three(), whole):
            np.testing.assert_allclose(a, b, atol=1e-12)


def test_numpy_leaves_inputs_alone_and_keeps_dtypes() -> None:
    rng = np.random.default_rng(4)
    for dtype in ("float16", "float32", "float64"):
        x, w = rng.normal(size=(2, 5, 5, 3)).astype(dtype), rng.normal(size=(3, 3, 3, 2)).astype(dtype)
        kept = x.copy(), w.copy()
        y = conv.conv2d(x, w)
        dx = conv.conv2d_backprop_input(w, y, shape=x.shape)
        dw = conv.conv2d_backprop_filter(x, y, shape=w.shape)
        assert {a.dtype.name for a in (y, dx, dw)} == {dtype}
        np.testing.assert_array_equal(kept[0], x)
        np.testing.assert_array_equal(kept[1], w)
        want = conv.conv2d(x.astype(np.float64), w.astype(np.float64))
        np.testing.assert_allclose(y, want, atol={"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}[dtype])


def test_errors_name_what_does_not_fit() -> None:
    x, w = np.zeros((1, 4, 4, 3)), np.zeros((5, 5, 3, 2))
    with pytest.raises(ShapeError, match=r"conv2d: the filter is larger than the padded input\n.*input 4"):
        conv.conv2d(x, w, padding="VALID")
    with pytest.raises(ShapeError, match="unknown padding 'same'"):
        conv.conv2d(x, w, padding="same")
    with pytest.raises(ShapeError, match="input channels 3, filter .* \\(5, 5, 2, 2\\)"):
        conv.conv2d(x, w[:, :, :2])
    with pytest.raises(ShapeError, match="the output's gradient does not have the output's shape"):
        conv.conv2d_backprop_input(w, np.zeros((1, 3, 4, 2)), shape=x.shape)


# images, image size, filter size, strides, dilations, padding, channels of the input, the filter, the output
DEVICE_CONFIGS: list[Config] = [
    (2, (16, 16), (3, 3), (1, 1), (1, 1), "SAME", 32, 32, 32),
    (3, (9, 7), (3, 3), (1, 1), (1, 1), "SAME", 3, 3, 16),
    (2, (13, 11), (3, 3), (2, 2), (1, 1), "SAME", 16, 16, 17),
    (1, (8, 8), (5, 5), (1, 1), (1, 1), "SAME", 1, 1, 32),
    (2, (11, 14), (5, 5), (2, 2), (1, 1), "VALID", 3, 3, 3),
    (2, (7, 7), (1, 1), (1, 1), (1, 1), "VALID", 17, 17, 32),
    (2, (7, 8), (1, 1), (2, 2), (1, 1), "SAME", 16, 16, 16),
    (2, (6, 5), (1, 1), (3, 3), (1, 1), "SAME", 3, 3, 1),
    (2, (12, 13), (3, 3), (3, 3), (1, 1), "SAME", 16, 16, 32),
    (2, (12, 13), (2, 2), (2, 2), (1, 1), "VALID", 17, 17, 3),
    (2, (10, 9), (2, 2), (1, 1), (1, 1), "SAME", 1, 1, 1),
    (2, (12, 10), (3, 3), (1, 1), (2, 2), "SAME", 16, 16, 16),
    (2, (12, 11), (3, 3), (2, 2), (2, 2), "SAME", 3, 3, 17),
    (2, (13, 12), (3, 2), (2, 3), (3, 2), "SAME", 5, 5, 16),
    (2, (9, 10), (3, 5), (1, 2), (1, 1), ((2, 0), (1, 3)), 3, 3, 32),
    (1, (5, 6), (3, 3), (1, 1), (1, 1), ((3, 4), (0, 2)), 16, 16, 3),
    (1, (1, 1), (3, 3), (1, 1), (1, 1), "SAME", 32, 32, 48),
    (1, (3, 2), (2, 2), (1, 1), (1, 1), "VALID", 3, 3, 80),
    (2, (9, 8), (3, 3), (1, 1), (1, 1), "SAME", 6, 3, 8),
    (2, (9, 8), (3, 3), (2, 1), (1, 2), "SAME", 16, 1, 16),
    (0, (8, 8), (3, 3), (1, 1), (1, 1), "SAME", 3, 3, 16),
    (2, (6, 6), (3, 3), (1, 1), (1, 1), "SAME", 3, 3, 0),
]
TOLERANCE = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-14}  # of the largest value, where sums cancel


def device_cases(
    config: Config, dtype: str, data_format: str, device: Capabilities
) -> list[tuple[Case, Any]]:
    """All three operations of one configuration with what NumPy says."""
    images, size, kernel, strides, dilations, padding, channels, per_group, outputs = config
    rng = np.random.default_rng(5)
    shape = (images, *size, channels) if data_format == "NHWC" else (images, channels, *size)
    kwargs = attrs_of(strides, padding, dilations, data_format)
    x = rng.normal(size=shape).astype(dtype)
    w = rng.normal(size=(*kernel, per_group, outputs)).astype(dtype)
    y = conv.conv2d(x, w, **kwargs)
    dy = rng.normal(size=y.shape).astype(dtype)
    made = []
    for name, arrays, more in (
        ("conv2d", (x, w), {}),
        ("conv2d_backprop_input", (w, dy), {"shape": x.shape}),
        ("conv2d_backprop_filter", (x, dy), {"shape": w.shape}),
    ):
        want = getattr(conv, name)(*arrays, **more, **kwargs)
        out = Spec(want.shape, as_dtype(dtype))
        plan = getattr(plans, f"plan_{name}")([spec(a) for a in arrays], [out], {**more, **kwargs}, device)
        label = f"{name} {config} {dtype} {data_format} {device.kind} {device.vector_width_float}"
        assert plan is not None, label
        made.append((Case(plan, arrays, [out], label), want))
    return made


def check(cases: list[tuple[Case, Any]]) -> None:
    for (case, want), (got,) in zip(cases, opencl().run([case for case, _ in cases])):
        assert got.shape == want.shape and got.dtype == want.dtype, case.label
        if want.size:
            largest = max(1.0, float(np.abs(want).max()))
            apart = float(np.abs(got.astype(np.float64) - want).max())  # a NaN fails, too
            assert apart <= TOLERANCE[want.dtype.name] * largest * 2, (case.label, apart, largest)


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_device_equals_numpy(kind: str, data_format: str) -> None:
    opencl()
    device = Capabilities(kind=kind, compute_units=2)
    check([c for config in DEVICE_CONFIGS for c in device_cases(config, "float32", data_format, device)])


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_other_dtypes_and_vector_widths(kind: str) -> None:
    runner = opencl()
    chosen = [DEVICE_CONFIGS[i] for i in (2, 3, 9, 12)]
    cases = []
    for config, data_format in zip(chosen, ["NHWC", "NCHW", "NHWC", "NCHW"]):
        device = Capabilities(kind=kind, compute_units=3)
        for dtype in ["float16"] + (["float64"] if runner.fp64 else []):
            cases += device_cases(config, dtype, data_format, device)
    if kind == "cpu":
        for width in (4, 8):
            device = Capabilities(compute_units=2, vector_width_float=width)
            cases += device_cases(DEVICE_CONFIGS[2], "float32", "NHWC", device)
    check(cases)


@pytest.mark.opencl
def test_many_items_and_slices() -> None:
    """Enough work that rows, pixels and partial sums are shared out among items."""
    opencl()
    device = Capabilities(compute_units=2)
    config = (4, (24, 30), (3, 3), (1, 1), (1, 1), "SAME", 24, 24, 40)
    first, second = (device_cases(config, "float32", "NHWC", device) for _ in range(2))
    assert any(launch.global_size[0] > 4 for case, _ in first for launch in case.plan.launches)
    check(first)
    again = opencl().run([case for case, _ in second])
    for a, b in zip(opencl().run([case for case, _ in first]), again):
        assert a[0].tobytes() == b[0].tobytes()


def test_plans_refuse_what_the_kernels_cannot_do() -> None:
    x, w = Spec((1, 4, 4, 3), as_dtype("float64")), Spec((3, 3, 3, 2), as_dtype("float64"))
    attrs = attrs_of((1, 1), "SAME", (1, 1))
    assert plans.plan_conv2d([x, w], [x], attrs, Capabilities(fp64=False)) is None
    unknown = Spec((None, 4, 4, 3), as_dtype("float32"))
    assert plans.plan_conv2d([unknown, unknown], [unknown], attrs, Capabilities()) is None
    integer = Spec((1, 4, 4, 3), as_dtype("int32"))
    assert plans.plan_conv2d([integer, w], [x], attrs, Capabilities()) is None
