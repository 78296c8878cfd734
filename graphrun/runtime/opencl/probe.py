"""The probe: does a device compute what it is told to?

Run as ``python -m graphrun.runtime.opencl.probe`` in a process of its own, because a bad driver may
crash or hang the process that touches it.  It prints one line of JSON for each thing it learns, and
flushes it, so that the parent knows how far it came.  It imports nothing of graphrun.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

# Part of every key under which a verdict is kept: raise it when the probe asks for more.
PROBE_VERSION = 2

# Lines of ours start with this, since drivers print to stdout as well.
MARK = "@graphrun "

PAGE_BYTES = 4096

# A driver may load its compiler anew when a process has no context left.
_contexts: list[Any] = []

_N_ITEMS = 256
_N_WRITTEN = 250  # items beyond this must leave their element alone

# Every product is a multiple of 1/32 and small: exact in float32 with and without fused multiply-add.
_SOURCE = """
kernel void gr_probe_types(global const float *a, global const float *b, global float *f,
                           global int *i, global uchar *u, global long *l, const uint n) {
    const size_t g = get_global_id(0);
    if (g < n) {
        const float4 v = (float4)(a[g], b[g], 0.5f, 0.0f);
        f[g] = v.x * v.y + v.z;
        i[g] = (int)g * 3 - 400;
        u[g] = (uchar)(g * 5 + 1);
        l[g] = (long)g * 10000000000L - 1;
    }
}

kernel void gr_probe_local(global const int *x, global int *sums, local int *s) {
    const int t = get_local_id(0), n = get_local_size(0);
    s[n - 1 - t] = x[get_global_id(0)];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_n = n / 2; half_n > 0; half_n /= 2) {
        if (t < half_n) s[t] += s[t + half_n];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (t == 0) sums[get_group_id(0)] = s[0];
}
"""

_SOURCE_FP64 = """
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
kernel void gr_probe_fp64(global const double *a, global double *d) {
    const size_t g = get_global_id(0);
    d[g] = a[g] * 3.0 + 1.0 / 1048576.0;
}
"""


class ProbeFailure(Exception):
    """The device did not do what it was told; the text says what."""


def _check(what: str, got: np.ndarray, expected: np.ndarray) -> None:
    wrong = np.flatnonzero(got != expected)
    if wrong.size:
        k = int(wrong[0])
        raise ProbeFailure(
            f"wrong numbers: {what} kernel wrote {got[k]} at element {k}, expected {expected[k]} "
            f"({wrong.size} of {got.size} elements differ)"
        )


def _build(cl: Any, context: Any, source: str) -> Any:
    try:
        return cl.Program(context, source).build(cache_dir=False)
    except cl.Error as error:
        raise ProbeFailure(f"building a small kernel failed\n{error}") from None


def _prove_types(cl: Any, context: Any, queue: Any, program: Any) -> None:
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    index = np.arange(_N_ITEMS)
    a = (index.astype(np.float32) - 100) / 4
    b = (index[::-1].astype(np.float32) - 17) / 8
    results: dict[str, np.ndarray] = {
        "float32": a * b + np.float32(0.5),
        "int32": (index * 3 - 400).astype(np.int32),
        "uint8": (index * 5 + 1).astype(np.uint8),
        "int64": index.astype(np.int64) * 10_000_000_000 - 1,
    }
    inputs = [cl.Buffer(context, flags, hostbuf=x) for x in (a, b)]
    outputs = {}
    for name, expected in results.items():
        untouched = np.full(expected.shape, 77, expected.dtype)
        expected[_N_WRITTEN:] = 77
        outputs[name] = cl.Buffer(context, flags, hostbuf=untouched)
    kernel = cl.Kernel(program, "gr_probe_types")
    kernel.set_args(*inputs, *outputs.values(), np.uint32(_N_WRITTEN))
    cl.enqueue_nd_range_kernel(queue, kernel, (_N_ITEMS,), None)
    for name, expected in results.items():
        got = np.empty_like(expected)
        cl.enqueue_copy(queue, got, outputs[name])
        _check(f"the {name}", got, expected)


def _prove_local_memory(cl: Any, device: Any, context: Any, queue: Any, program: Any) -> None:
    kernel = cl.Kernel(program, "gr_probe_local")
    limit = min(
        64,
        device.max_work_group_size,
        kernel.get_work_group_info(cl.kernel_work_group_info.WORK_GROUP_SIZE, device),
    )
    local = 1 << (int(limit).bit_length() - 1)
    x = (np.arange(_N_ITEMS, dtype=np.int32) * 37) % 101 - 50
    n_groups = _N_ITEMS // local
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    source = cl.Buffer(context, flags, hostbuf=x)
    sums = cl.Buffer(context, flags, hostbuf=np.full(n_groups, 77, np.int32))
    kernel.set_args(source, sums, cl.LocalMemory(4 * local))
    cl.enqueue_nd_range_kernel(queue, kernel, (_N_ITEMS,), (local,))
    got = np.empty(n_groups, np.int32)
    cl.enqueue_copy(queue, got, sums)
    _check("the local memory", got, x.reshape(n_groups, local).sum(axis=1, dtype=np.int32))


def _built(cl: Any, context: Any, with_double: bool) -> tuple[Any, Any]:
    """The program of the first kernels and that of float64's: one, since a build takes long, if it builds."""
    if with_double:
        try:
            program = _build(cl, context, _SOURCE + _SOURCE_FP64)
        except ProbeFailure:  # of which of the two it is, each build alone will tell
            pass
        else:
            return program, program
    return _build(cl, context, _SOURCE), None


def _prove_fp64(cl: Any, context: Any, queue: Any, program: Any) -> None:
    program = program or _build(cl, context, _SOURCE_FP64)
    # The step is below float32's resolution here, so arithmetic done in float32 shows.
    a = np.arange(64, dtype=np.float64) + 1000
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    x = cl.Buffer(context, flags, hostbuf=a)
    y = cl.Buffer(context, flags, hostbuf=np.zeros_like(a))
    kernel = cl.Kernel(program, "gr_probe_fp64")
    kernel.set_args(x, y)
    cl.enqueue_nd_range_kernel(queue, kernel, (a.size,), None)
    got = np.empty_like(a)
    cl.enqueue_copy(queue, got, y)
    _check("the float64", got, a * 3 + 1 / 1048576)


def page_aligned(size_bytes: int) -> np.ndarray:
    """Return uninitialised bytes that fill whole pages of memory, which drivers use without a copy."""
    size_bytes = -(-max(size_bytes, 1) // PAGE_BYTES) * PAGE_BYTES
    memory = np.empty(size_bytes + PAGE_BYTES, np.uint8)
    start = -memory.ctypes.data % PAGE_BYTES
    return memory[start : start + size_bytes]


def _shares_memory(cl: Any, device: Any, context: Any, queue: Any, program: Any) -> bool:
    """Whether a buffer over pages of the host is those pages: each side sees what the other writes.

    The standard wants such memory to be mapped first, and processors that run kernels on themselves do
    not need it.  Only a device that has memory in common with the host is asked.
    """
    try:
        if not (device.host_unified_memory and device.type & cl.device_type.CPU):
            return False
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
        pages = [page_aligned(4 * _N_ITEMS).view(np.int32) for _ in range(2)]
        numbers, sums = pages
        buffers = [cl.Buffer(context, flags, hostbuf=p) for p in pages]
        kernel = cl.Kernel(program, "gr_probe_local")
        kernel.set_args(*buffers, cl.LocalMemory(4))
        for turn in (1, 2):  # what the host writes after a launch counts too
            numbers[:] = 77 * turn
            numbers[:_N_ITEMS] = np.arange(_N_ITEMS) * turn + 3
            sums[:] = 0
            cl.enqueue_nd_range_kernel(queue, kernel, (_N_ITEMS,), (1,))
            queue.finish()
            if not np.array_equal(sums[:_N_ITEMS], numbers[:_N_ITEMS]):
                return False
    except Exception:  # the device is as good without
        return False
    return True


def prove(device: Any) -> dict[str, Any]:
    """Try a ``pyopencl.Device``.

    Returns
    -------
    dict
        ``ok``, ``fp64`` (claimed and proven), ``zero_copy`` (proven), ``reason`` (empty if nothing is wrong;
        set as well when only float64 fails).
    """
    import pyopencl as cl

    try:
        context = cl.Context([device])
        _contexts.append(context)
        queue = cl.CommandQueue(context)
        double = claims_fp64(device)
        program, double_program = _built(cl, context, double)
        _prove_types(cl, context, queue, program)
        _prove_local_memory(cl, device, context, queue, program)
        shared = _shares_memory(cl, device, context, queue, program)
    except ProbeFailure as failure:
        return {"ok": False, "fp64": False, "reason": str(failure)}
    except Exception as error:  # whatever a driver thinks of, it is a verdict and not a crash of ours
        return {"ok": False, "fp64": False, "reason": f"{type(error).__name__}: {error}"}
    if not double:
        return {"ok": True, "fp64": False, "zero_copy": shared, "reason": ""}
    try:
        _prove_fp64(cl, context, queue, double_program)
    except Exception as error:
        reason = f"float64 is claimed but fails: {error}"
        return {"ok": True, "fp64": False, "zero_copy": shared, "reason": reason}
    return {"ok": True, "fp64": True, "zero_copy": shared, "reason": ""}


def claims_fp64(device: Any) -> bool:
    """Whether the driver says that the device has double precision."""
    try:
        return bool(device.double_fp_config)
    except Exception:  # OpenCL 1.1 drivers without the extension reject the query
        return "cl_khr_fp64" in str(getattr(device, "extensions", ""))


def _say(**facts: Any) -> None:
    sys.stdout.write(MARK + json.dumps(facts) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """List the devices and try them; ``--list`` tries none, ``P.D`` arguments only these.

    With ``--stay`` the process then compiles kernels, as `ahead_process` does: its compiler is loaded.
    """
    try:
        import pyopencl as cl
    except Exception as error:
        _say(event="import", reason=f"{type(error).__name__}: {error}")
        return 1
    _say(event="import", reason="")
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        if "PLATFORM_NOT_FOUND" not in str(error):
            raise
        platforms = []  # the loader's way of saying that it found none
    only = [a for a in arguments if not a.startswith("-")]
    found: list[tuple[str, Any]] = []
    for p, platform in enumerate(platforms):
        try:
            devices = platform.get_devices()
        except cl.Error:  # a platform without devices reports DEVICE_NOT_FOUND
            devices = []
        seen = {device.int_ptr for _, device in found}  # a driver announced twice lists its devices twice
        found += [(f"{p}.{d}", device) for d, device in enumerate(devices) if device.int_ptr not in seen]
    _say(event="listed", places=[place for place, _ in found])
    if "--list" not in arguments:
        for place, device in found:
            if not only or place in only:
                _say(event="begin", place=place)
                _say(event="verdict", place=place, **prove(device))
    more = Path(__file__).with_name("ahead_process.py")  # not there where this comes from an archive
    stays = "--stay" in arguments and more.exists()
    # Some drivers crash while a process ends; what was asked for is known by now.
    _say(event="end", stays=stays)
    if stays:
        _say_no_more()
        runpy.run_path(str(more))["serve"]()
    return 0


def _say_no_more() -> None:
    """Let go of the pipes to the parent, which reads them to their end; drivers may print on."""
    with open(os.devnull, "wb") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
