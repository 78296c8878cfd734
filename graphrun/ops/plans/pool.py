"""Plans of pooling and its gradients (``kernels/pool.cl``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphrun.dtypes import DType
from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Spec
from graphrun.ops.host.conv import Window, windows

_GPU_GROUP = 64
_ITEMS_PER_UNIT = 4  # on a CPU: more than one a core, so that an interrupted core does not hold up the rest
_UNROLLED = 16  # pixels of a window for each of which code is made
_ITEM_READS = 65536  # window elements that make an item of a CPU worth its launch
_LOWEST = {
    "char": "CHAR_MIN", "short": "SHRT_MIN", "int": "INT_MIN", "long": "LONG_MIN",
    "uchar": "0", "uint": "0", "ulong": "0",
}  # fmt: skip


def plan_max_pool(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """max_pool(x; ksize, strides, padding, data_format), of any dtype but bool."""
    return None if ins[0].dtype.is_bool else _plan("max_pool", ins, ins[0].shape, False, attrs, device)


def plan_max_pool_grad(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """max_pool_grad(x, y, dy; ksize, strides, padding, data_format)."""
    return _plan_floating("max_pool_grad", ins, ins[0].shape, True, attrs, device)


def plan_max_pool_grad_grad(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """max_pool_grad_grad(x, y, ddx; ksize, strides, padding, data_format)."""
    return _plan_floating("max_pool_grad_grad", ins, ins[0].shape, False, attrs, device)


def plan_avg_pool(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """avg_pool(x; ksize, strides, padding, data_format)."""
    return _plan_floating("avg_pool", ins, ins[0].shape, False, attrs, device)


def plan_avg_pool_grad(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """avg_pool_grad(dy; shape, ksize, strides, padding, data_format)."""
    return _plan_floating("avg_pool_grad", ins, attrs["shape"], True, attrs, device)


def _plan_floating(
    entry: str, ins: Sequence[Spec], x_shape: Any, makes_input: bool, attrs: Mapping[str, Any],
    device: Capabilities,
) -> KernelPlan | None:  # fmt: skip
    return _plan(entry, ins, x_shape, makes_input, attrs, device) if ins[0].dtype.is_floating else None


def _plan(
    entry: str, ins: Sequence[Spec], x_shape: Any, makes_input: bool, attrs: Mapping[str, Any],
    device: Capabilities,
) -> KernelPlan | None:  # fmt: skip
    """`makes_input` says that results lie over the input's pixels and not over the windows."""
    dtype: DType = ins[0].dtype
    if not device.supports(dtype) or any(spec.dtype is not dtype for spec in ins):
        return None
    if x_shape is None or any(n is None for n in x_shape):
        return None
    if attrs.get("data_format", "NHWC") == "NHWC":
        outer, height, width, inner = x_shape
    else:
        outer, height, width, inner = x_shape[0] * x_shape[1], x_shape[2], x_shape[3], 1
    r, c = windows(
        (height, width), attrs["ksize"], attrs["strides"], (1, 1), attrs.get("padding", "VALID"), entry
    )
    inputs, outputs = outer * height * width * inner, outer * r.output * c.output * inner
    if not (inputs if makes_input else outputs):
        return KernelPlan(())
    geometry = _Geometry(outer, inner, r, c, dtype, device)
    buffers = tuple(("in", k) for k in range(len(ins)))
    if entry != "max_pool_grad":
        return KernelPlan((_launch(entry, geometry, makes_input, (*buffers, ("out", 0))),), flops=inputs)
    if geometry.tiled and outputs and not geometry.by_row:
        only = _launch("max_pool_spread", geometry, False, (*buffers, ("out", 0)))
        return KernelPlan((only,), flops=2 * inputs)
    # first which pixel each window chose, then every pixel asks its windows
    launches = [_launch(entry, geometry, True, (("scratch", 0), ("in", 2), ("out", 0)))]
    if outputs:
        first = (("in", 0), ("in", 1), ("scratch", 0))
        launches.insert(0, _launch("max_pool_argmax", geometry, False, first))
    return KernelPlan(tuple(launches), (max(outputs, 1) * (8 if dtype.name == "float64" else 4),), 2 * inputs)


class _Geometry(NamedTuple):
    """Elements lie as (outer, rows, columns, inner); one of outer and inner holds the channels."""

    outer: int
    inner: int
    rows: Window
    columns: Window
    dtype: DType
    device: Capabilities

    @property
    def tiled(self) -> bool:
        """Whether each pixel is in one window, and all of each window's pixels are real."""
        return all(
            w.kernel == w.stride and not w.before and w.output * w.kernel == w.input
            for w in (self.rows, self.columns)
        )

    @property
    def by_row(self) -> bool:
        return self.device.kind == "cpu" and self.inner == 1


def _launch(entry: str, g: _Geometry, makes_input: bool, buffers: tuple[tuple[str, int], ...]) -> Launch:
    r, c = g.rows, g.columns
    on_cpu = g.device.kind == "cpu"
    by_row = g.by_row and entry != "max_pool_grad_grad"
    chunk = g.inner if on_cpu else 1
    line = c.input if makes_input else c.output
    lines = g.outer * (r.input if makes_input else r.output)
    count = lines if by_row else lines * line * (g.inner // chunk)
    reads = _reads_per_pixel(r, c, makes_input) * (line if by_row else chunk)
    share = -(-count // (g.device.compute_units * _ITEMS_PER_UNIT))
    per_item = min(count, max(share, _ITEM_READS // reads, 1)) if on_cpu else 1
    items = -(-count // per_item)
    sizes = ((items,), (1,)) if on_cpu else ((-(-items // _GPU_GROUP) * _GPU_GROUP,), (_GPU_GROUP,))
    defines = _defines(entry, g.dtype, _vector(g.dtype, chunk, g.device))
    if entry == "max_pool_spread" and r.kernel * c.kernel <= _UNROLLED:
        defines += (("GR_POOL_HIGH", r.kernel), ("GR_POOL_WIDE", c.kernel))
    if by_row:
        defines += (("GR_POOL_ROWS", 1), ("GR_POOL_STRIDE", c.stride))
    return Launch(
        "pool.cl",
        entry,
        defines,
        (
            *buffers,
            ("ulong", count),
            ("ulong", per_item),
            *(("int", v) for v in (g.inner, chunk, r.input, c.input, r.output, c.output)),
            *(("int", v) for v in (r.kernel, c.kernel, r.stride, c.stride, r.before, c.before)),
        ),
        *sizes,
    )


def _reads_per_pixel(r: Window, c: Window, makes_input: bool) -> int:
    if makes_input:
        return -(-r.kernel // r.stride) * -(-c.kernel // c.stride)
    return max(1, r.kernel * c.kernel)


def _vector(dtype: DType, chunk: int, device: Capabilities) -> int:
    """The largest vector width that the device has and that `chunk` elements fill."""
    size_bytes = 4 if dtype.name == "float16" else dtype.size_bytes
    widest = min(16, device.vector_width_float * 4 // size_bytes, chunk)
    return 1 << (max(widest, 1).bit_length() - 1)


def _defines(entry: str, dtype: DType, vector: int) -> tuple[tuple[str, Any], ...]:
    defines: list[tuple[str, Any]] = [
        (f"GR_ENTRY_{entry}", 1),
        ("GR_POOL_REAL", dtype.compute),
        ("GR_POOL_VW", vector),
    ]
    if dtype.name == "float64":
        defines.append(("GR_POOL_MASK", "long"))
    if dtype.name == "float16":
        defines.append(("GR_POOL_HALF", 1))
    if not dtype.is_floating:
        defines += [("GR_POOL_INTEGER", 1), ("GR_POOL_LOWEST", _LOWEST[dtype.compute])]
    return tuple(defines)
