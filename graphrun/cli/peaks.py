"""What a device reaches at best: multiply-adds per second, and bytes copied per second.

On OpenCL these are kernels written for the purpose; on NumPy, which has no such loop, the best of its
own matmul and its own copy.  A share of these peaks says how much of a device a workload uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrun.cli.timing import settle
from graphrun.device_names import NUMPY
from graphrun.errors import DeviceError

if TYPE_CHECKING:
    from graphrun.runtime.opencl.device import OpenCLDevice

_NUMPY_MATMUL_N = 2048
_COPY_BYTES = 64 << 20  # far more than a last-level cache holds of it, little enough for any board
_REPEATS = 7
_LAUNCH_S = 0.02  # long against a launch, short against a driver's watchdog
_MOST_ROUNDS = 1 << 20

# b is just below 1 and c makes 1 the fixed point, so the values stay near 1 whatever the rounds: no
# denormals, no overflow.  Both are arguments, so that no compiler can work the loop out in advance.
# x * b + c becomes one instruction by OpenCL C's default contraction; mad() is two on some CPUs' drivers.
_MULTIPLY_ADD = """
__kernel void peak_multiply_add(__global float *out, const float b, const float c, const int rounds) {
  const VEC vb = (VEC)(b), vc = (VEC)(c);
%(start)s
  for (int r = 0; r < rounds; r++) {
%(step)s
  }
  const VEC sum = %(sum)s;
  out[get_global_id(0)] = FIRST(sum) / %(chains)d.0f;
}
"""

_COPY = """
__kernel void peak_copy(__global const VEC *in, __global VEC *out, const int per_item) {
  const size_t stride = ADJACENT ? get_global_size(0) : 1;
  const size_t first = ADJACENT ? get_global_id(0) : get_global_id(0) * per_item;
  for (int k = 0; k < per_item; k++) out[first + k * stride] = in[first + k * stride];
}
"""


@dataclass(frozen=True)
class Peak:
    """The measured best of one device, and what it was measured with."""

    gflop_per_s: float
    gb_per_s: float
    compute_by: str
    copy_by: str


def measure_peak(device: str) -> Peak:
    """Measure a device, ``cpu:0`` or ``opencl:N``; takes about a second.

    Raises
    ------
    DeviceError
        If the device fails, or computes something wrong.
    """
    settle()
    if device == NUMPY:
        return _numpy_peak()
    # Here, so that NumPy can be measured where pyopencl does not import.
    from graphrun.runtime.opencl.device import DRIVER_ERRORS, open_device

    opened = open_device(int(device.partition(":")[2]))
    try:
        gflop_per_s = max(_multiply_add_rate(opened, *form) for form in _forms(opened))
        gb_per_s, copy_by = _copy_rate(opened)
    except DRIVER_ERRORS as error:
        raise opened.failure(error, "measuring the device's peak") from error
    return Peak(gflop_per_s, gb_per_s, "multiply-add kernel", copy_by)


def _best_s(run: Callable[[], object], repeats: int = _REPEATS) -> float:
    run()
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return best


def _numpy_peak() -> Peak:
    n = _NUMPY_MATMUL_N
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, n), np.float32) for _ in range(2))
    c = np.empty((n, n), np.float32)
    gflop_per_s = 2 * n**3 / _best_s(lambda: np.matmul(a, b, out=c)) / 1e9
    source = np.ones(_COPY_BYTES // 4, np.float32)
    target = np.zeros_like(source)
    gb_per_s = 2 * source.nbytes / _best_s(lambda: np.copyto(target, source)) / 1e9
    return Peak(gflop_per_s, gb_per_s, "NumPy's matmul", "NumPy's copy")


def _forms(device: OpenCLDevice) -> list[tuple[int, int, int, int | None]]:
    """Ways to write the loop that suit the device: lanes, independent chains, work-items, work-group."""
    units = max(1, device.report.compute_units)
    if device.capabilities.kind == "cpu":
        # One work-item fills a core; the chains hide the latency of an add (4 cycles on 2 or more ports).
        return [(lanes, chains, 4 * units, 1) for lanes in (8, 16) for chains in (12, 20)]
    group = min(256, device.capabilities.max_work_group_size)
    return [(lanes, 8, units * 8 * group, group) for lanes in (1, 4)]


def _multiply_add_rate(device: OpenCLDevice, lanes: int, chains: int, items: int, group: int | None) -> float:
    vector, first = ("float", "") if lanes == 1 else (f"float{lanes}", ".s0")
    source = f"#define VEC {vector}\n#define FIRST(v) (v){first}\n" + _MULTIPLY_ADD % {
        # Named variables, because an array may end up in memory.
        "start": "\n".join(f"  VEC x{k} = (VEC)(1.0f + 0.001f * {k}.0f);" for k in range(chains)),
        "step": "\n".join(f"    x{k} = x{k} * vb + vc;" for k in range(chains)),
        "sum": " + ".join(f"x{k}" for k in range(chains)),
        "chains": chains,
    }
    program = device.build(source, ["-cl-mad-enable"])
    out = device.alloc(4 * items)
    b = np.float32(0.999)
    c = np.float32(1) - b

    def run_of(rounds: int) -> Callable[[], None]:
        launch = device.launcher(
            program.kernel("peak_multiply_add"), [out, b, c, np.int32(rounds)],
            (items,), None if group is None else (group,),
        )  # fmt: skip

        def run() -> None:
            launch()
            device.finish()

        return run

    rounds = 256
    while _best_s(run_of(rounds), 1) < _LAUNCH_S and rounds < _MOST_ROUNDS:
        rounds *= 2
    best_s = _best_s(run_of(rounds))
    values = device.download(out, (items,), np.float32)
    if not np.allclose(values, 1.0, atol=1e-2):
        raise DeviceError(f"{device.name}: the multiply-add kernel computes {values[0]}, not 1")
    return 2 * lanes * chains * items * rounds / best_s / 1e9


def _copy_rate(device: OpenCLDevice) -> tuple[float, str]:
    limits = device.capabilities
    room = min(limits.max_alloc_bytes or _COPY_BYTES, (limits.global_mem_bytes or _COPY_BYTES) // 8)
    # A power of two, so that it divides into work-items of any power of two.
    size_bytes = 1 << (min(_COPY_BYTES, room).bit_length() - 1)
    source, target = device.alloc(size_bytes), device.alloc(size_bytes)
    pattern = np.arange(size_bytes // 4, dtype=np.uint32)
    device.upload(source, pattern)
    on_cpu = limits.kind == "cpu"
    lanes, per_item = (16, 1024) if on_cpu else (4, 4)
    program = device.build(f"#define VEC uint{lanes}\n#define ADJACENT {int(not on_cpu)}\n{_COPY}")
    items = max(1, size_bytes // (4 * lanes * per_item))
    copy_kernel = device.launcher(
        program.kernel("peak_copy"), [source, target, np.int32(per_item)], (items,), (1,) if on_cpu else None
    )
    runs: dict[str, Callable[[], Any]] = {
        "copy kernel": copy_kernel,
        "driver's copy": lambda: device.copy(target, source, size_bytes),
    }
    rates = {}
    for name, queue in runs.items():
        device.upload(target, np.zeros_like(pattern))

        def run(queue: Callable[[], Any] = queue) -> None:
            queue()
            device.finish()

        rates[name] = 2 * size_bytes / _best_s(run) / 1e9
        if not np.array_equal(device.download(target, pattern.shape, pattern.dtype), pattern):
            raise DeviceError(f"{device.name}: the {name} did not copy all bytes")
    best = max(rates, key=lambda name: rates[name])
    return rates[best], best
