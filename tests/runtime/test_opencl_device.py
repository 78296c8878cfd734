"""Buffers, transfers, programs and launches on the first OpenCL device."""

from __future__ import annotations

import gc
import threading
import warnings

import numpy as np
import pytest

from graphrun.errors import DeviceError, KernelBuildError
from graphrun.runtime.opencl import discover

pytestmark = pytest.mark.opencl

ADD = """
kernel void add(global float *a, ulong n, float s) {
    if (get_global_id(0) < n) a[get_global_id(0)] += s;
}
kernel void twice(global int *a) { a[get_global_id(0)] *= 2; }
"""


@pytest.fixture(scope="module")
def opencl_device():
    if not any(r.working for r in discover.reports(warn=False)):
        pytest.skip("no working OpenCL device on this machine")
    from graphrun.runtime.opencl.device import open_device

    return open_device(0)


@pytest.fixture
def fresh(opencl_device):
    """The same hardware with counters and caches of its own."""
    from graphrun.runtime.opencl.device import OpenCLDevice

    return OpenCLDevice(opencl_device.report, discover.handle(opencl_device.report))


def test_one_object_per_index(opencl_device):
    from graphrun.runtime.opencl.device import open_device

    opened = []
    threads = [threading.Thread(target=lambda: opened.append(open_device(0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [opencl_device] * 4
    assert opencl_device.name == "opencl:0" and opencl_device.report.index == 0
    assert opencl_device.capabilities == opencl_device.report.capabilities


@pytest.mark.parametrize("index", [99, -1])
def test_index_out_of_range(opencl_device, index):
    from graphrun.runtime.opencl.device import open_device

    with pytest.raises(DeviceError, match=rf"no device opencl:{index}\n  opencl:0: "):
        open_device(index)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool", "int32"]
)
@pytest.mark.parametrize("shape", [(), (5,), (3, 4, 2), (0,), (2, 0, 3)])
def test_upload_then_download(opencl_device, shape, dtype):
    array = (np.arange(np.prod(shape)) % 2).reshape(shape).astype(dtype)
    buffer = opencl_device.alloc(array.nbytes)
    opencl_device.upload(buffer, array)
    back = opencl_device.download(buffer, shape, dtype)
    assert back.dtype == array.dtype and back.shape == shape
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable and back.flags.c_contiguous


def test_non_contiguous_upload_and_offsets(opencl_device):
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    buffer = opencl_device.alloc(64)
    opencl_device.upload(buffer, np.zeros(16, np.float32))
    opencl_device.upload(buffer, matrix.T, offset_bytes=16)
    np.testing.assert_array_equal(
        opencl_device.download(buffer, (4, 3), np.float32, offset_bytes=16), matrix.T
    )
    np.testing.assert_array_equal(opencl_device.download(buffer, (4,), np.float32), np.zeros(4))


def test_copy_between_buffers(opencl_device):
    a, b = opencl_device.alloc(40), opencl_device.alloc(40)
    opencl_device.upload(a, np.arange(10, dtype=np.int32))
    opencl_device.upload(b, np.zeros(10, np.int32))
    opencl_device.copy(b, a, 12, dst_offset_bytes=8, src_offset_bytes=4)
    opencl_device.copy(b, a, 0)
    assert opencl_device.download(b, (10,), np.int32).tolist() == [0, 0, 1, 2, 3, 0, 0, 0, 0, 0]


def test_ranges_outside_a_buffer(opencl_device):
    buffer = opencl_device.alloc(8)
    with pytest.raises(DeviceError) as caught:
        opencl_device.upload(buffer, np.zeros(4, np.float32))
    assert str(caught.value) == "opencl:0: upload: bytes 0 to 16 are not in the buffer\n  a buffer of 8 bytes"
    with pytest.raises(DeviceError, match="download: bytes 4 to 12 are not in the buffer"):
        opencl_device.download(buffer, (1,), np.float64, offset_bytes=4)
    with pytest.raises(DeviceError, match="copy to: bytes -4 to 0"):
        opencl_device.copy(buffer, opencl_device.alloc(8), 4, dst_offset_bytes=-4)


def test_memory_is_counted_and_released(fresh):
    assert (fresh.allocated_bytes, fresh.peak_bytes) == (0, 0)
    buffers = [fresh.alloc(n) for n in (1000, 0, 24)]
    assert fresh.allocated_bytes == 1024
    del buffers[0]
    gc.collect()
    assert fresh.allocated_bytes == 24
    buffers.append(fresh.alloc(100))
    assert (fresh.allocated_bytes, fresh.peak_bytes) == (124, 1024)
    fresh.reset_peak()
    assert fresh.peak_bytes == 124
    buffers.clear()
    gc.collect()
    assert fresh.allocated_bytes == 0


def test_memory_counters_with_threads(fresh):
    def work():
        for _ in range(300):
            fresh.alloc(64)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert fresh.allocated_bytes == 0
    assert 64 <= fresh.peak_bytes <= 4 * 300 * 64


def test_released_memory_can_be_used_again(fresh):
    """Many times the device's memory in all, one buffer at a time."""
    size_bytes = min(fresh.capabilities.max_alloc_bytes, 1 << 28)
    for _ in range(2 + 2 * fresh.capabilities.global_mem_bytes // size_bytes if size_bytes == 1 << 28 else 5):
        fresh.alloc(size_bytes)
    assert fresh.peak_bytes <= 2 * size_bytes


def test_allocating_too_much(fresh):
    kept = fresh.alloc(4096)
    size_bytes = fresh.capabilities.max_alloc_bytes + 1
    with pytest.raises(DeviceError) as caught:
        fresh.alloc(size_bytes)
    text = str(caught.value)
    assert text.startswith("opencl:0: cannot allocate ")
    assert "more than the device allows in one buffer" in text
    assert f"asked for: {size_bytes:,} bytes   in use: 4,096 bytes" in text
    assert f"device: {fresh.report.device_name}   memory: " in text
    assert "use a smaller batch" in text
    assert fresh.allocated_bytes == kept.size_bytes
    with pytest.raises(DeviceError, match="a buffer of -1 bytes"):
        fresh.alloc(-1)


def test_full_device(fresh, monkeypatch):
    from dataclasses import replace

    fresh.capabilities = replace(fresh.capabilities, global_mem_bytes=10_000)
    kept = fresh.alloc(9_000)
    with pytest.raises(DeviceError, match="the device's memory is full"):
        fresh.alloc(2_000)
    del kept
    fresh.alloc(2_000)


def test_driver_out_of_memory_frees_garbage_and_tries_again(fresh, monkeypatch):
    original, calls = fresh._new_buffer, []

    def refuse_once(size_bytes):
        calls.append(size_bytes)
        if len(calls) == 1:
            raise MemoryError("MEM_OBJECT_ALLOCATION_FAILURE")
        return original(size_bytes)

    monkeypatch.setattr(fresh, "_new_buffer", refuse_once)
    assert fresh.alloc(100).size_bytes == 100 and len(calls) == 2

    def refuse(size_bytes):
        raise MemoryError("MEM_OBJECT_ALLOCATION_FAILURE")

    monkeypatch.setattr(fresh, "_new_buffer", refuse)
    with pytest.raises(DeviceError, match="the driver says MEM_OBJECT_ALLOCATION_FAILURE"):
        fresh.alloc(100)


def test_launcher_keeps_its_arguments(opencl_device):
    program = opencl_device.build(ADD)
    assert set(program.kernel_names) == {"add", "twice"}
    a, b = opencl_device.alloc(400), opencl_device.alloc(400)
    for buffer in (a, b):
        opencl_device.upload(buffer, np.zeros(100, np.float32))
    one = opencl_device.launcher(program.kernel("add"), [a, np.uint64(100), np.float32(1)], (128,), (32,))
    ten = opencl_device.launcher(program.kernel("add"), [b, np.uint64(50), np.float32(10)], (100,))
    for _ in range(3):
        one()
        ten()
    opencl_device.finish()
    assert opencl_device.download(a, (100,), np.float32).tolist() == [3] * 100
    assert opencl_device.download(b, (100,), np.float32).tolist() == [30] * 50 + [0] * 50


def test_launcher_keeps_its_buffers_alive(fresh):
    buffer = fresh.alloc(256)
    launch = fresh.launcher(fresh.build(ADD).kernel("twice"), [buffer], (64,))
    del buffer
    gc.collect()
    assert fresh.allocated_bytes == 256
    launch()
    fresh.finish()
    del launch
    gc.collect()
    assert fresh.allocated_bytes == 0


def test_no_work_items_is_no_launch(opencl_device):
    kernel = opencl_device.build(ADD).kernel("twice")
    for size, local in (((0,), None), ((4, 0), (2, 2)), ((0, 0, 0), None)):
        assert opencl_device.launcher(kernel, [opencl_device.alloc(0)], size, local)() is None
    opencl_device.finish()


def test_bool_scalar_and_local_memory(opencl_device):
    import pyopencl as cl

    source = """
    kernel void f(global int *out, uchar flag, local int *scratch) {
        scratch[get_local_id(0)] = flag;
        barrier(CLK_LOCAL_MEM_FENCE);
        out[get_global_id(0)] = scratch[get_local_size(0) - 1 - get_local_id(0)];
    }
    """
    out = opencl_device.alloc(32)
    args = [out, np.True_, cl.LocalMemory(16)]
    opencl_device.launcher(opencl_device.build(source).kernel("f"), args, (8,), (4,))()
    assert opencl_device.download(out, (8,), np.int32).tolist() == [1] * 8


def test_wrong_launches(opencl_device):
    program = opencl_device.build(ADD)
    buffer = opencl_device.alloc(400)
    good = [buffer, np.uint64(100), np.float32(1)]
    limit = opencl_device.capabilities.max_work_group_size

    def bind(args=good, size=(128,), local=None):
        return opencl_device.launcher(program.kernel("add"), args, size, local)

    for arguments, text in (
        ({"args": good[:2]}, "kernel 'add': wrong number of kernel arguments\n  2 arguments\n  expected 3"),
        ({"args": [buffer, 100, np.float32(1)]}, "argument 1 does not fit"),
        ({"args": [buffer, np.int32(100), np.float32(1)]}, "argument 1 does not fit"),
        ({"args": [np.float32(1), *good[1:]]}, "argument 0 does not fit"),
        ({"local": (limit * 2,), "size": (limit * 2,)}, "work-items is too large"),
        ({"local": (3,)}, "the local size does not divide the global size"),
        ({"local": (8, 8)}, "not a local size"),
        ({"size": ()}, "not a global size"),
        ({"size": (1, 1, 1, 1)}, "not a global size"),
        ({"size": (-1,)}, "not a global size"),
    ):
        with pytest.raises(DeviceError) as caught:
            bind(**arguments)
        assert text in str(caught.value)


def test_driver_errors_become_device_errors(opencl_device):
    from graphrun.runtime.opencl.device import DRIVER_ERRORS

    kernel = opencl_device.build(ADD).kernel("twice")
    launch = opencl_device.launcher(kernel, [opencl_device.alloc(64)], (16,))
    assert issubclass(DRIVER_ERRORS[0], Exception)
    import pyopencl as cl

    error = opencl_device.failure(cl.Error("OUT_OF_RESOURCES"), "launching 'twice'")
    assert isinstance(error, DeviceError)
    assert str(error).startswith("opencl:0: launching 'twice' failed: OUT_OF_RESOURCES\n  device: ")
    assert "use a smaller batch" in str(error)
    launch()
    opencl_device.flush()
    opencl_device.finish()


def test_programs_are_built_once(fresh):
    source = ADD + "// built once\n"
    assert fresh.build(source) is fresh.build(source)
    assert fresh.build(source, ("-DX=1",)) is not fresh.build(source)
    program = fresh.build(source)
    assert program.kernel("add") is not program.kernel("add")
    with pytest.raises(KernelBuildError, match="no kernel 'sub'\n  expected one of add, twice"):
        program.kernel("sub")


def test_options_reach_the_compiler(opencl_device):
    source = "kernel void f(global int *a) { a[0] = VALUE; }"
    buffer = opencl_device.alloc(4)
    opencl_device.launcher(opencl_device.build(source, ("-DVALUE=42",)).kernel("f"), [buffer], (1,))()
    assert opencl_device.download(buffer, (), np.int32) == 42


def test_build_failure_says_everything(opencl_device, monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path))
    source = "kernel void f(global int *a) {\n    a[0] = missing_name;\n}\n"
    with pytest.raises(KernelBuildError) as caught:
        opencl_device.build(source, ("-DVALUE=42",))
    text = str(caught.value)
    report = opencl_device.report
    assert text.startswith("opencl:0: an OpenCL program of 4 lines does not compile\n  device: ")
    assert f"{report.device_name}   driver: {report.platform_name} {report.driver_version}" in text
    assert "options: -DVALUE=42" in text
    assert "missing_name" in text
    saved = list((tmp_path / "failed").glob("*.cl"))
    assert len(saved) == 1 and saved[0].read_text() == source
    assert text.endswith(f"the full source is in {saved[0]}")


def test_build_failure_shortens_the_log(opencl_device, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path / "file"))
    source = "kernel void f() {\n" + "\n".join(f"missing_{k} = {k};" for k in range(15)) * 4 + "}\n"
    with pytest.raises(KernelBuildError) as caught:
        opencl_device.build(source)
    assert len(str(caught.value).splitlines()) <= 46
    assert "set GRAPHRUN_CACHE_DIR to a folder that can be written" in str(caught.value)


def test_compiler_remarks_are_quiet(fresh):
    source = "#warning quiet please\nkernel void f(global int *a) { int unused; a[0] = 1; }\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh.build(source)


def test_programs_built_from_threads(fresh):
    sources = [f"kernel void f(global int *a) {{ a[0] = {k % 3}; }}" for k in range(6)]
    built = []
    threads = [threading.Thread(target=lambda s=s: built.append((s, fresh.build(s)))) for s in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(program) for _, program in built}) == 3


def test_binaries_are_kept_for_drivers_that_keep_none(fresh, monkeypatch, tmp_path):
    from graphrun.runtime.opencl.device import OpenCLDevice

    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path))
    source = "kernel void f(global int *a) { a[0] = 7; }"

    def run(on):
        on._programs._driver_caches = False
        buffer = on.alloc(4)
        on.launcher(on.build(source).kernel("f"), [buffer], (1,))()
        return int(on.download(buffer, (), np.int32))

    assert run(fresh) == 7
    (kept,) = (tmp_path / "programs").glob("*.bin")
    again = OpenCLDevice(fresh.report, discover.handle(fresh.report))
    assert again._programs._from_binary(kept.stem, ()) is not None
    assert run(again) == 7
    kept.write_bytes(kept.read_bytes()[:-1])
    damaged = OpenCLDevice(fresh.report, discover.handle(fresh.report))
    assert damaged._programs._from_binary(kept.stem, ()) is None
    assert run(damaged) == 7


def test_kernel_files_are_found():
    pytest.importorskip("pyopencl", reason="building programs needs pyopencl")
    from graphrun.kernel_files import kernel_names
    from graphrun.runtime.opencl.programs import load

    name = kernel_names()[0]
    assert "kernel" in load(name) or "gr_" in load(name)
