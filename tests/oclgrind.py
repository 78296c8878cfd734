"""Run tests under oclgrind, which interprets kernels and reports what they do wrong.

    python tests/oclgrind.py                          the short pass of .ci/run, about two minutes
    python tests/oclgrind.py tests/kernels -k pool    other tests, with any arguments of pytest
    python tests/oclgrind.py --uninitialized tests/kernels/test_pool_cl.py    looks for unset values too
    python tests/oclgrind.py --plain tests/test_ops.py -k test_device    a second OpenCL vendor: no checks

Reported are reads and writes outside of buffers, races between work-items and wrong calls of OpenCL's
functions.  Values that are used before they are written can be looked for where buffers are filled by copies,
as in tests of single kernels; in sessions, which share the host's memory, oclgrind does not see who wrote.
Any report fails, and so does a test.  Where oclgrind is not installed (Debian and Ubuntu: ``apt-get install
oclgrind``), exit code 3 says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "liboclgrind-rt-icd.so"
_KERNELS = "tests/kernels/test_"
SHORT_PASS = [
    ["tests/simulated.py", *(f"{_KERNELS}{name}.py" for name in ("conv_depthwise", "conv_tiles", "pool_cl"))],
    ["--uninitialized", *(f"{_KERNELS}{name}.py" for name in ("copy_cl", "first_places_cl", "scatter_cl"))],
]
NOT_INSTALLED = 3
SHOWN = 20  # reports that are printed
FLAGS = {"--plain", "--uninitialized"}

# pyopencl asks a device about extensions that it may not have; oclgrind counts that as an error.
_HARMLESS = re.compile(r"Function: cl(GetDeviceInfo|GetPlatformInfo)\b")
_REPORT = re.compile(
    r"Oclgrind|OCLGRIND|Invalid|Uninitialized|Read-write|Write-write|Work-item|Work-group", re.I
)


def find_library() -> Path | None:
    """Where the OpenCL driver of oclgrind lies."""
    command = shutil.which("oclgrind")
    prefixes = ([Path(command).resolve().parents[1]] if command else []) + [Path("/usr"), Path("/usr/local")]
    for prefix in prefixes:
        for folder in (prefix / "lib" / "oclgrind", prefix / "lib"):
            if (folder / LIBRARY).exists():
                return folder / LIBRARY
    return None


def environment(library: Path, scratch: Path, flags: set[str]) -> dict[str, str]:
    """That of a process in which oclgrind is the only OpenCL driver."""
    vendors = scratch / "vendors"
    vendors.mkdir()
    (vendors / "oclgrind.icd").write_text(f"{library}\n")
    chosen = {
        **os.environ,
        "OCL_ICD_VENDORS": str(vendors),
        # Compiled kernels are neither read nor kept: the options below would not reach those of other runs.
        "PYOPENCL_NO_CACHE": "1",
        "GRAPHRUN_CACHE": "0",
        "GRAPHRUN_CACHE_DIR": str(scratch / "cache"),
        "GRAPHRUN_COMPILE_AHEAD": "0",
        "GRAPHRUN_REQUIRE_OPENCL": "1",
        # Of optimized code oclgrind 21.10 gets some arithmetic of chars wrong, and "freeze" it does not know,
        # nor "prefetch" in any code.
        "OCLGRIND_BUILD_OPTIONS": "-cl-opt-disable -D GR_NO_FETCH",
        "OCLGRIND_LOCAL_MEM_SIZE": str(1 << 20),  # what tests of plans say that their device has
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
    }
    if "--plain" not in flags:
        chosen |= {"OCLGRIND_CHECK_API": "1", "OCLGRIND_DATA_RACES": "1", "OCLGRIND_MAX_ERRORS": "200"}
    if "--uninitialized" in flags:
        chosen["OCLGRIND_UNINITIALIZED"] = "1"
    return chosen


def reports(text: str) -> list[str]:
    """What oclgrind wrote, one entry for each report that counts."""
    found = []
    for block in (part.strip() for part in re.split(r"\n\s*\n", text)):
        harmless = block.startswith("Oclgrind - OpenCL runtime error") and _HARMLESS.search(block)
        if _REPORT.match(block) and not harmless:
            found.append(block)
    return found


def run(library: Path, arguments: list[str]) -> int:
    """One run of pytest, whose exit code is 1 where oclgrind reports something."""
    flags = {a for a in arguments if a in FLAGS}
    chosen = [a for a in arguments if a not in FLAGS]
    with tempfile.TemporaryDirectory(prefix="graphrun-oclgrind-") as folder:
        scratch = Path(folder)
        log = scratch / "reports"
        # oclgrind writes to the standard error of the process; pytest must leave that alone.
        command = [sys.executable, "-m", "pytest", "-q", "--capture=no", "-p", "no:cacheprovider", *chosen]
        with log.open("w") as errors:
            done = subprocess.run(
                command, cwd=ROOT, env=environment(library, scratch, flags), stderr=errors, check=False
            )
        text = log.read_text(errors="replace")
    found = reports(text)
    for report in found[:SHOWN]:
        print(f"\n{report}")
    if found:
        print(
            f"\noclgrind: {len(found)} reports" + (f", {SHOWN} of them shown" if len(found) > SHOWN else "")
        )
        return 1
    if done.returncode:
        print(text[-4000:])
    return done.returncode


def main(arguments: list[str]) -> int:
    library = find_library()
    if library is None:
        print("oclgrind is not installed; on Debian and Ubuntu: apt-get install oclgrind")
        return NOT_INSTALLED
    runs = [arguments] if set(arguments) - FLAGS else SHORT_PASS
    failed = [code for code in [run(library, each) for each in runs] if code]
    if not failed and "--plain" not in arguments:
        print("oclgrind: no reports")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
