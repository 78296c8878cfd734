"""kernels/vectors.cl: vectors at any address, in each kind of memory, and stores past the caches."""

from __future__ import annotations

import numpy as np
import pytest
from harness import KERNELS, opencl

TYPES = ("char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "float", "double")
NUMPY = dict(zip(TYPES, ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"), strict=True))
LENGTH = 40


def _kernel(name: str, t: str, lanes: int, chunked: bool) -> str:
    """By way of private and local memory, each from an odd element to another one."""
    store = f"gr_vstream{lanes}" if t == "float" and lanes > 2 and chunked else f"gr_vstore{lanes}"
    return f"""
    __kernel void {name}(__global const {t} *a, __global {t} *b) {{
        {t} own[{LENGTH}];
        __local {t} shared[{LENGTH}];
        gr_vstore{lanes}(gr_vload{lanes}(a + 3), own + 1);
        gr_vstore{lanes}(gr_vload{lanes}(own + 1), shared + 5);
        gr_fetch(a + 1000000);
        gr_fetch_to(b + 1000000);
        {store}(gr_vload{lanes}(shared + 5), b + 7);
        gr_vstore{lanes}(gr_vload{lanes}(a), b + {LENGTH - 16});
    }}"""


@pytest.mark.opencl
@pytest.mark.parametrize("chunked", [1, 0])
def test_vectors_at_any_element(chunked: int) -> None:
    runner = opencl()
    cl = runner.cl
    types = [t for t in TYPES if t != "double" or runner.fp64]
    kernels = {f"k_{t}_{n}": (t, n) for t in types for n in (2, 4, 8, 16)}
    fp64 = "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n" if runner.fp64 else ""
    text = (KERNELS / "vectors.cl").read_text()
    bodies = "".join(_kernel(name, t, n, bool(chunked)) for name, (t, n) in kernels.items())
    program = runner.build(f"{fp64}#define GR_CHUNKED {chunked}\n{text}{bodies}")
    for name, (t, lanes) in kernels.items():
        a = np.arange(1, LENGTH + 1).astype(NUMPY[t])
        b = np.zeros_like(a)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        buffers = [cl.Buffer(runner.context, flags, hostbuf=x) for x in (a, b)]
        cl.Kernel(program, name)(runner.queue, (1,), (1,), *buffers)
        cl.enqueue_copy(runner.queue, b, buffers[1])
        expected = np.zeros_like(a)
        expected[7 : 7 + lanes] = a[3 : 3 + lanes]
        expected[LENGTH - 16 : LENGTH - 16 + lanes] = a[:lanes]
        np.testing.assert_array_equal(b, expected, err_msg=name)


@pytest.mark.opencl
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_stores_past_the_caches(lanes: int) -> None:
    """From each alignment: the first store may be at any element, and whole vectors lie behind it."""
    runner = opencl()
    cl = runner.cl
    text = (KERNELS / "vectors.cl").read_text()
    program = runner.build(f"""#define GR_CHUNKED 1
    {text}
    __kernel void stream(__global const float *a, __global float *b, int shift, int n) {{
        for (int i = shift; i + {lanes} <= n; i += {lanes}) gr_vstream{lanes}(gr_vload{lanes}(a + i), b + i);
    }}""")
    n = 64 * lanes
    a = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    source = cl.Buffer(runner.context, cl.mem_flags.COPY_HOST_PTR, hostbuf=a)
    kernel = cl.Kernel(program, "stream")
    for shift in range(lanes):
        b = np.zeros(n, np.float32)
        target = cl.Buffer(runner.context, cl.mem_flags.COPY_HOST_PTR, hostbuf=b)
        kernel(runner.queue, (1,), (1,), source, target, np.int32(shift), np.int32(n))
        cl.enqueue_copy(runner.queue, b, target)
        end = n - (n - shift) % lanes
        np.testing.assert_array_equal(b[shift:end], a[shift:end])
        assert not b[:shift].any() and not b[end:].any()
