"""``tests/oclgrind.py`` finds what is wrong, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from oclgrind import ROOT, find_library, reports

_BAD = '''
import numpy as np
from harness import KERNELS as FOLDER
from harness import opencl

KERNELS = "#define GR_CHUNKED 1\\n" + (FOLDER / "vectors.cl").read_text() + """
__kernel void outside(__global int *x) { x[get_global_id(0) + 1] = 1; }
__kernel void race(__global int *x) { x[0] = get_global_id(0); }
__kernel void right(__global int *x) { x[get_global_id(0)] = 1; }
__kernel void early(__global int *x) {
    gr_fetch(x + 1000);
    gr_fetch_to(x + 1000);
    x[get_global_id(0)] = 1;
}
"""

def test_it():
    runner = opencl()
    cl = runner.cl
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    x = cl.Buffer(runner.context, flags, hostbuf=np.zeros(4, np.int32))
    kernel = cl.Kernel(runner.build(KERNELS), "NAME")
    kernel.set_args(x)
    cl.enqueue_nd_range_kernel(runner.queue, kernel, (4,), (2,))
    runner.queue.finish()
'''


def test_what_counts_as_a_report() -> None:
    asked = "Oclgrind - OpenCL runtime error detected\n\tFunction: clGetDeviceInfo\n\tError: CL_INVALID_VALUE"
    race = "Write-write data race at global memory address 0x1\n\tKernel: race"
    assert reports(f"\n{asked}\n\n\n{race}\n\nsome words\n") == [race]


@pytest.mark.parametrize(
    ("kernel", "text"), [("outside", "Invalid write"), ("race", "race"), ("right", ""), ("early", "")]
)
def test_faults_are_found(kernel: str, text: str, tmp_path: Path) -> None:
    if find_library() is None:
        pytest.skip("oclgrind is not installed")
    (tmp_path / "test_bad.py").write_text(_BAD.replace("NAME", kernel))
    command = [sys.executable, str(ROOT / "tests" / "oclgrind.py"), "--rootdir", str(ROOT), "-c",
               str(ROOT / "pyproject.toml"), str(tmp_path / "test_bad.py")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == bool(text), done.stdout
    assert text in done.stdout
