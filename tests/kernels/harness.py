"""Run a `KernelPlan` on an OpenCL device straight from NumPy arrays, without compiler or executor.

    cases = [Case(plan, inputs, out_specs), ...]
    for case, outputs in zip(cases, opencl().run(cases)): ...

All cases of one call go into one program, because a build costs far more than a kernel in it; the
source texts are put together in the way that the compiler does it: ``math.cl`` once, then for each
distinct (file, entry, defines) the defines, the file's text and the matching ``#undef`` lines.

Every tensor lies in the middle of a larger buffer, at an odd element offset.  The elements around it
hold NaN (or a bit pattern) and are compared after the run, so that a write out of bounds fails the
test, and a read out of bounds is likely to poison a float result.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from graphrun.compiler.codegen import PRELUDE, vector_defines
from graphrun.compiler.codegen.epilogue import EPILOGUE_MACROS
from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import KernelPlan, Launch, Spec

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
GUARD_BEFORE = 37  # elements; odd, so that nothing can rely on the alignment of a tensor
GUARD_AFTER = 69

Array = npt.NDArray[Any]

_SCALARS = {
    "char": np.int8, "uchar": np.uint8, "short": np.int16, "ushort": np.uint16, "int": np.int32,
    "uint": np.uint32, "long": np.int64, "ulong": np.uint64, "float": np.float32, "double": np.float64,
}  # fmt: skip


def spec(array: Array) -> Spec:
    """Return the `Spec` of a concrete array."""
    return Spec(array.shape, as_dtype(array.dtype))


@dataclass
class Case:
    """One plan with the arrays it reads; outputs listed in `inplace` start as a copy of that input.

    `epilogue` is text that is put before the files of the launches that store results.
    """

    plan: KernelPlan
    inputs: Sequence[Array]
    out_specs: Sequence[Spec]
    label: str = ""
    inplace: dict[int, int] = field(default_factory=dict)  # output index -> input index
    epilogue: str = ""

    def __post_init__(self) -> None:
        self.plan = self.plan.alone()

    def heads(self) -> list[str]:
        """What is put before the file of each launch."""
        return [self.epilogue if i in self.plan.storing else "" for i in range(len(self.plan.launches))]


def program_source(
    launches: Sequence[Launch], with_math: bool = True, heads: Sequence[str] = ()
) -> tuple[str, dict[Any, str]]:
    """Return one program for `launches`, and the kernel name of each (file, entry, defines, head)."""
    names: dict[Any, str] = {}
    parts = ["#define GR_CHUNKED 1", (KERNELS / "vectors.cl").read_text()]
    if with_math and (KERNELS / "math.cl").exists():
        parts.append((KERNELS / "math.cl").read_text())
    if any(heads):
        parts.insert(2, "".join(vector_defines(heads)))
        parts.append(PRELUDE)
    for launch, head in zip(launches, heads or [""] * len(launches), strict=True):
        key = (launch.file, launch.entry, launch.defines, head)
        if key in names:
            continue
        names[key] = f"k{len(names)}_{launch.entry}"
        defines = (*launch.defines, ("GR_NAME", names[key]))
        parts += [f"#define {k} {v}" for k, v in defines]
        parts += [head, (KERNELS / launch.file).read_text()]
        parts += [f"#undef {k}" for k in (*dict(defines), *(EPILOGUE_MACROS if head else ()))]
    return "\n".join(parts) + "\n", names


class _Guarded:
    """A device buffer that holds one tensor between two guard zones."""

    def __init__(
        self, cl: Any, queue: Any, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int = GUARD_BEFORE
    ) -> None:
        self._cl, self._queue, self.shape, self.offset = cl, queue, shape, offset
        self.count = int(np.prod(shape, dtype=np.int64))
        fill = np.array(np.nan if dtype.kind == "f" else 0x55, dtype)
        self.host = np.full(offset + self.count + GUARD_AFTER, fill, dtype)
        self._guard_bytes = self._guards(self.host)
        self.buffer: Any = None

    def _guards(self, host: Array) -> bytes:
        return host[: self.offset].tobytes() + host[self.offset + self.count :].tobytes()

    def upload(self, value: Array | None) -> None:
        if value is not None:
            self.host[self.offset : self.offset + self.count] = value.ravel()
        flags = self._cl.mem_flags.READ_WRITE | self._cl.mem_flags.COPY_HOST_PTR
        self.buffer = self._cl.Buffer(self._queue.context, flags, hostbuf=self.host)

    def download(self, label: str) -> Array:
        after = np.empty_like(self.host)
        self._cl.enqueue_copy(self._queue, after, self.buffer)
        self.buffer.release()
        assert self._guards(after) == self._guard_bytes, f"{label}: a kernel wrote outside its tensor"
        return after[self.offset : self.offset + self.count].reshape(self.shape).copy()


class Runner:
    """One OpenCL device with a queue."""

    def __init__(self, cl: Any, device: Any) -> None:
        self.cl = cl
        self.device = device
        self.context = cl.Context([device])
        self.queue = cl.CommandQueue(self.context, properties=cl.command_queue_properties.PROFILING_ENABLE)
        self.fp64 = "cl_khr_fp64" in device.extensions or bool(device.double_fp_config)

    def options(self) -> list[str]:
        return ["-cl-std=CL1.2"] + (["-D", "GR_FP64=1"] if self.fp64 else [])

    def build(self, source: str) -> Any:
        """Return a built program."""
        return self.cl.Program(self.context, source).build(options=self.options())

    def kernels(self, cases: Sequence[Case], with_math: bool = True) -> dict[Any, Any]:
        """Return the kernel object of each (file, entry, defines, head), all from one program."""
        launches = [x for case in cases for x in case.plan.launches]
        source, names = program_source(launches, with_math, [h for case in cases for h in case.heads()])
        if not names:
            return {}
        program = self.build(source)
        return {key: self.cl.Kernel(program, name) for key, name in names.items()}

    def run(self, cases: Sequence[Case], with_math: bool = True) -> list[list[Array]]:
        """Run each case and return its outputs; guard zones are checked."""
        kernels = self.kernels(cases, with_math)
        return [self._run(case, kernels) for case in cases]

    def run_plan(self, plan: KernelPlan, inputs: Sequence[Array], out_specs: Sequence[Spec]) -> list[Array]:
        """Run one plan alone."""
        return self.run([Case(plan, inputs, out_specs)])[0]

    def _run(self, case: Case, kernels: dict[Any, Any]) -> list[Array]:
        ins = [_Guarded(self.cl, self.queue, x.shape, x.dtype) for x in case.inputs]
        for guarded, value in zip(ins, case.inputs):
            guarded.upload(value)
        outs = []
        for index, out in enumerate(case.out_specs):
            assert out.shape is not None
            shape = tuple(int(n) for n in out.shape if n is not None)
            guarded = _Guarded(self.cl, self.queue, shape, out.dtype.numpy)
            guarded.upload(case.inputs[case.inplace[index]] if index in case.inplace else None)
            outs.append(guarded)
        # Scratch has no element type of its own, so it starts at 0; bytes of 0xff make a NaN of any
        # float that is read before it was written.
        scratch = [
            _Guarded(self.cl, self.queue, (size_bytes,), np.dtype(np.uint8), offset=0)
            for size_bytes in case.plan.scratch_bytes
        ]
        for guarded in scratch:
            guarded.upload(np.full(guarded.count, 0xFF, np.uint8))
        for launch, head in zip(case.plan.launches, case.heads(), strict=True):
            self.enqueue(kernels, launch, head, ins, outs, scratch)
        for guarded in (*ins, *scratch):
            guarded.download(case.label)
        return [guarded.download(case.label) for guarded in outs]

    def enqueue(
        self,
        kernels: dict[Any, Any],
        launch: Launch,
        head: str,
        ins: Sequence[_Guarded],
        outs: Sequence[_Guarded],
        scratch: Sequence[_Guarded],
    ) -> Any:
        """Set the arguments of one launch, queue it and return its event."""
        assert all(n > 0 for n in launch.global_size), f"empty launch: {launch}"
        if launch.local_size is not None:
            assert all(g % n == 0 for g, n in zip(launch.global_size, launch.local_size)), launch
        kernel = kernels[launch.file, launch.entry, launch.defines, head]
        buffers = {"in": ins, "out": outs, "scratch": scratch}
        position = 0
        for kind, value in launch.args:
            if kind in buffers:
                guarded = buffers[kind][value]
                kernel.set_arg(position, guarded.buffer)
                kernel.set_arg(position + 1, np.uint64(guarded.offset))
                position += 2
            else:
                kernel.set_arg(position, _SCALARS[kind](value))
                position += 1
        return self.cl.enqueue_nd_range_kernel(self.queue, kernel, launch.global_size, launch.local_size)


_PROBE = "__kernel void probe(__global int *x) { x[get_global_id(0)] += 1; }"


@functools.cache
def _find() -> Runner | None:
    try:
        import pyopencl as cl

        devices = [d for p in cl.get_platforms() for d in p.get_devices()]
    except Exception:  # noqa: BLE001 - no library, no driver: whatever the reason, nothing to test on
        return None
    for device in devices:
        try:  # a listed device may fail every build
            runner = Runner(cl, device)
            array = np.zeros(4, np.int32)
            flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
            buffer = cl.Buffer(runner.context, flags, hostbuf=array)
            kernel = cl.Kernel(runner.build(_PROBE), "probe")
            kernel.set_arg(0, buffer)
            cl.enqueue_nd_range_kernel(runner.queue, kernel, (4,), (1,))
            cl.enqueue_copy(runner.queue, array, buffer)
            if (array == 1).all():
                return runner
        except cl.Error:
            continue
    return None


def opencl() -> Runner:
    """Return the first device that works; skip the calling test where there is none."""
    runner = _find()
    if runner is None:
        pytest.skip("no working OpenCL device")
    return runner
