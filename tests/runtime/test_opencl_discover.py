"""Discovery: a device that is listed is not a device that works."""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from graphrun.errors import DeviceError
from graphrun.graph.descriptor import Capabilities
from graphrun.runtime.opencl import advice, cachedir, discover, loader, prober

ROOT = Path(__file__).resolve().parents[2]
WORKS = {"ok": True, "fp64": True, "reason": ""}
UNKNOWN_CPU = {"ok": False, "fp64": False, "reason": "building failed\nerror: unknown target CPU 'generic'"}


def report(name, kind="cpu", platform="Vendor CL", p=0, d=0):
    return discover.DeviceReport(
        platform_name=platform, platform_vendor="Vendor", platform_version="OpenCL 3.0 LLVM 14.0.6",
        device_name=name, type=kind, driver_version="1.2", opencl_c_version="OpenCL C 1.2",
        memory_bytes=1 << 30, compute_units=2, working=False, reason="", fix="",
        capabilities=Capabilities(kind="gpu" if kind == "gpu" else "cpu"), platform_index=p, device_index=d,
    )  # fmt: skip


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with made-up devices: set `listed` and `verdicts`, read `probes`."""

    class Machine:
        listed: list = []
        verdicts: dict = {}
        failure = ""
        probes: list = []

        def forget(self):
            """What a new process knows: nothing."""
            monkeypatch.setattr(discover, "_found", None)
            monkeypatch.setattr(discover, "_warned", set())

        def probe(self, only=None, list_only=False, icd="", stay=False):
            self.probes.append(only)
            places = [f"{r.platform_index}.{r.device_index}" for r in self.listed]
            tried = [] if list_only else (only or places)
            verdicts = {place: dict(self.verdicts[place]) for place in tried}
            return prober.ProbeOutcome(places, verdicts, self.failure)

    m = Machine()
    m.probes = []
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GRAPHRUN_OPENCL", raising=False)
    monkeypatch.setattr(discover, "_list_devices", lambda: ([(r, r.device_name) for r in m.listed], ()))
    monkeypatch.setattr(prober, "probe", m.probe)
    monkeypatch.setattr(loader, "import_problem", lambda: "")
    monkeypatch.setattr(loader, "pyopencl_folder", lambda: tmp_path)
    m.forget()
    return m


def test_broken_device_is_skipped_with_one_warning_and_the_next_one_is_first(machine):
    machine.listed = [report("wheel", platform="Portable Computing Language"), report("good", p=1)]
    machine.verdicts = {"0.0": UNKNOWN_CPU, "1.0": WORKS}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            found = discover.reports()
        discover.reports(refresh=True)
    assert [str(w.message) for w in caught if w.category is discover.DeviceWarning] == [
        "OpenCL device 'wheel' (Portable Computing Language) is skipped: every build fails: error: unknown "
        "target CPU 'generic'; this PoCL's compiler (LLVM 14.0.6) does not know this processor; "
        "run `graphrun doctor`"
    ]
    assert [(r.device_name, r.working, r.index, r.name) for r in found] == [
        ("wheel", False, None, ""),
        ("good", True, 0, "opencl:0"),
    ]
    assert found[0].fix == advice.install_pocl()
    assert discover.handle(found[1]) == "good"


def test_pocl_wheel_beside_a_working_pocl_is_to_be_removed(machine):
    pocl = "Portable Computing Language"
    machine.listed = [report("wheel", platform=pocl), report("system", platform=pocl, p=1)]
    machine.verdicts = {"0.0": UNKNOWN_CPU, "1.0": WORKS}
    assert "pip uninstall pocl-binary-distribution" in discover.reports(warn=False)[0].fix


def test_gpus_come_first_and_simulators_last(machine):
    machine.listed = [
        report("simulator", "gpu", platform="Oclgrind"),
        report("cpu", p=1),
        report("gpu a", "gpu", p=2),
        report("gpu b", "gpu", p=2, d=1),
    ]
    machine.verdicts = dict.fromkeys(("0.0", "1.0", "2.0", "2.1"), WORKS)
    names = {r.name: r.device_name for r in discover.reports()}
    assert names == {"opencl:0": "gpu a", "opencl:1": "gpu b", "opencl:2": "cpu", "opencl:3": "simulator"}


def test_verdicts_are_remembered_and_refresh_asks_again(machine):
    machine.listed = [report("good")]
    machine.verdicts = {"0.0": WORKS}
    assert discover.reports()[0].working
    machine.forget()
    assert discover.reports()[0].working
    assert len(machine.probes) == 1
    machine.verdicts = {"0.0": UNKNOWN_CPU}
    assert not discover.reports(refresh=True, warn=False)[0].working
    assert machine.probes == [None, ["0.0"]]


def test_failed_verdict_is_believed_for_an_hour_only(machine, monkeypatch):
    machine.listed = [report("repaired")]
    machine.verdicts = {"0.0": UNKNOWN_CPU}
    assert not discover.reports(warn=False)[0].working
    machine.verdicts = {"0.0": WORKS}
    machine.forget()
    assert not discover.reports(warn=False)[0].working
    machine.forget()
    now = time.time()
    monkeypatch.setattr(discover.time, "time", lambda: now + 3700)
    assert discover.reports()[0].working


def test_new_driver_version_is_tried_again(machine):
    machine.listed = [report("device")]
    machine.verdicts = {"0.0": WORKS}
    discover.reports()
    machine.forget()
    machine.listed = [replace(report("device"), driver_version="1.3")]
    assert discover.reports()[0].working
    assert machine.probes == [None, ["0.0"]]


@pytest.mark.parametrize(
    "damage", [b"", b"not json", b"[1, 2]", b'{"x": 3}', b"\xff\xfe\x00", b'{"FINGERPRINT": {"verdicts": 7}}']
)
def test_damaged_cache_is_harmless(machine, damage):
    machine.listed = [report("good")]
    machine.verdicts = {"0.0": WORKS}
    discover.reports()
    path = cachedir.cache_dir() / "opencl_devices.json"
    path.write_bytes(damage.replace(b"FINGERPRINT", loader.fingerprint().encode()))
    machine.forget()
    assert discover.reports()[0].working
    assert len(machine.probes) == 2
    assert json.loads(path.read_text())


def test_cache_that_cannot_be_written_is_harmless(machine, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    machine.listed = [report("good")]
    machine.verdicts = {"0.0": WORKS}
    with pytest.warns(RuntimeWarning) as warned:
        assert discover.reports()[0].working
    (text,) = [str(w.message) for w in warned]
    assert text.startswith(
        f"graphrun's cache folder {tmp_path / 'file' / 'cache'} cannot be written (Not a dir"
    )
    assert text.endswith(
        "set GRAPHRUN_CACHE_DIR to a folder that can be written, or GRAPHRUN_CACHE=0 to do without one"
    )


def test_device_without_working_float64_is_used_without_it(machine):
    machine.listed = [report("gpu", "gpu")]
    machine.verdicts = {"0.0": {"ok": True, "fp64": False, "reason": "float64 is claimed but fails: boom"}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = discover.reports()[0]
    assert found.working and not found.capabilities.fp64
    assert "float64 is claimed but fails" in found.reason


def test_discovery_never_raises(machine, monkeypatch):
    monkeypatch.setattr(discover, "_list_devices", lambda: 1 / 0)
    machine.listed = []
    assert discover.reports(warn=False) == []
    assert "ZeroDivisionError" in discover.listing_failure()[0]


def test_threads_share_one_discovery(machine):
    machine.listed = [report("good")]
    machine.verdicts = {"0.0": WORKS}
    results = []
    threads = [threading.Thread(target=lambda: results.append(discover.reports())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and len(machine.probes) == 1
    assert all(r == results[0] for r in results)


def test_missing_device_names_those_that_exist(machine):
    pytest.importorskip("pyopencl", reason="opening devices needs pyopencl")
    from graphrun.runtime.opencl import device

    machine.listed = [report("broken"), report("good", p=1)]
    machine.verdicts = {"0.0": UNKNOWN_CPU, "1.0": WORKS}
    with pytest.raises(DeviceError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        device.open_device(93)
    text = str(caught.value)
    assert text.startswith(
        "there is no device opencl:93\n  opencl:0: good (Vendor CL)\n  not usable: broken: "
    )
    assert text.endswith("expected opencl:0\n  `graphrun doctor` says what is missing")


def test_opencl_can_be_switched_off(machine, monkeypatch):
    machine.listed = [report("good")]
    machine.verdicts = {"0.0": WORKS}
    monkeypatch.setenv("GRAPHRUN_OPENCL", "0")
    assert discover.reports() == [] and machine.probes == []


def test_list_that_crashes_is_blamed_on_the_driver_and_reported_once(machine, monkeypatch, tmp_path):
    for name in ("bad.icd", "fine.icd"):
        (tmp_path / name).write_text(f"/nowhere/lib{name}.so\n")
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path))

    def probe(only=None, list_only=False, icd="", stay=False):
        crashes = not icd or icd.endswith("bad.icd")
        return prober.ProbeOutcome(failure="crashed its process (SIGSEGV)" if crashes else "")

    monkeypatch.setattr(prober, "probe", probe)
    with pytest.warns(discover.DeviceWarning, match=r"bad\.icd.* crashed its process \(SIGSEGV\)"):
        assert discover.reports() == []
    reason, fix = discover.listing_failure()
    assert "/nowhere/libbad.icd.so" in reason
    assert fix == f"mv {tmp_path / 'bad.icd'} {tmp_path / 'bad.icd'}.off"


FAKE_PYOPENCL = """
import os, time

class Error(Exception):
    pass

class Device:
    def __init__(self, name):
        self.name, self.int_ptr = name, id(self)

_DEVICES = [Device(n) for n in ("crashes", "hangs", "rejects", "exits")]

class Platform:
    def get_devices(self):
        print("a driver that talks on standard output")
        return _DEVICES

_PLATFORMS = [Platform()]

def get_platforms():
    return _PLATFORMS

def Context(devices):
    name = devices[0].name
    if name == "crashes":
        os.abort()
    if name == "hangs":
        time.sleep(60)
    if name == "exits":
        os._exit(3)
    raise Error("BUILD_PROGRAM_FAILURE")
"""


def test_probe_survives_drivers_that_crash_and_hang(monkeypatch, tmp_path):
    (tmp_path / "pyopencl.py").write_text(FAKE_PYOPENCL)
    monkeypatch.syspath_prepend(tmp_path)
    # The path of the checkout comes first in the child; it holds no pyopencl, so the fake one is found.
    monkeypatch.setattr(prober, "TIMEOUT_S", 4.0)
    outcome = prober.probe()
    assert outcome.failure == "" and outcome.places == ["0.0", "0.1", "0.2", "0.3"]
    reasons = {place: verdict["reason"] for place, verdict in outcome.verdicts.items()}
    assert "its process" in reasons["0.0"]
    assert reasons["0.1"] == "timed out after 4 s"
    assert reasons["0.2"] == "Error: BUILD_PROGRAM_FAILURE"
    assert reasons["0.3"] == "ended its process with status 3"
    assert not any(verdict["ok"] for verdict in outcome.verdicts.values())


def run_python(code, tmp_path, **environment):
    """Run code in a fresh process and return what it printed as JSON."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
        "GRAPHRUN_CACHE_DIR": str(tmp_path / "cache"),
        **environment,
    }
    environment.pop("GRAPHRUN_OPENCL", None)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LIST = """
    import json, warnings
    from graphrun.runtime.opencl import discover, loader
    warnings.simplefilter("ignore")
    files = loader.loader_report().icd_files
    print(json.dumps({
        "devices": [r.device_name for r in discover.reports()],
        "failure": discover.listing_failure(),
        "icds": [[i.library, i.loads, i.reason, i.fix] for i in files],
    }))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the .icd files of Linux loaders")
class TestBrokenIcd:
    @pytest.fixture(autouse=True)
    def _needs_pyopencl(self):
        pytest.importorskip("pyopencl", reason="needs pyopencl")

    def folder(self, tmp_path, library):
        vendors = tmp_path / "vendors"
        vendors.mkdir()
        (vendors / "broken.icd").write_text(f"{library}\n")
        return str(vendors)

    def test_missing_library(self, tmp_path):
        found = run_python(LIST, tmp_path, OCL_ICD_VENDORS=self.folder(tmp_path, "/nowhere/libgone.so"))
        library, loads, reason, fix = found["icds"][0]
        assert (library, loads, reason) == ("/nowhere/libgone.so", None, "its library is not there")
        assert "mv " in fix and "broken.icd.off" in fix

    def test_library_that_is_no_driver(self, tmp_path):
        library = ctypes.util.find_library("m")
        if not library:
            pytest.skip("no C library to misuse as a driver")
        found = run_python(LIST, tmp_path, OCL_ICD_VENDORS=self.folder(tmp_path, library))
        assert found["failure"] == ["", ""]
        assert found["icds"][0] == [library, True, "", ""]

    def test_file_that_is_no_library(self, tmp_path):
        (tmp_path / "libtext.so").write_text("not a library")
        vendors = self.folder(tmp_path, tmp_path / "libtext.so")
        found = run_python(LIST, tmp_path, OCL_ICD_VENDORS=vendors)
        _, loads, reason, fix = found["icds"][0]
        assert loads is False and "file too short" in reason or "invalid ELF header" in reason
        assert "install the driver again" in fix

    def test_driver_that_crashes_when_it_is_loaded(self, tmp_path):
        compiler = next(
            (c for c in ("/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang") if os.path.exists(c)), ""
        )
        if not compiler:
            pytest.skip("no C compiler to make a driver that crashes")
        source = tmp_path / "crash.c"
        source.write_text(
            "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }\n"
        )
        library = tmp_path / "libcrash.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
        found = run_python(LIST, tmp_path, OCL_ICD_VENDORS=self.folder(tmp_path, library))
        assert found["devices"] == []
        assert "crashed its process (SIGABRT)" in found["failure"][0]
        assert "broken.icd.off" in found["failure"][1]
        assert found["icds"][0][1:3] == [False, "loading its library crashes (SIGABRT)"]


def test_no_platform_at_all(tmp_path):
    pytest.importorskip("pyopencl", reason="needs pyopencl")
    if sys.platform != "linux":
        pytest.skip("hides the drivers by a variable that Linux loaders read")
    code = """
        import json, warnings
        from graphrun.runtime.opencl import discover
        warnings.simplefilter("error")
        print(json.dumps([len(discover.reports()), discover.listing_failure()]))
    """
    assert run_python(code, tmp_path, OCL_ICD_VENDORS=str(tmp_path / "none")) == [0, ["", ""]]


@pytest.mark.parametrize(
    ("text", "reason", "fix"),
    [
        ("timed out after 90 s", "the driver hangs: timed out after 90 s", "reboot"),
        ("crashed its process (SIGSEGV)", "the driver crashed its process (SIGSEGV)", "newer driver"),
        ("clCreateContext: Permission denied", "permission denied", "sudo usermod -aG render,video"),
        ("clCreateContext failed: OUT_OF_RESOURCES", "no room on the device", "end other programs"),
        (
            "wrong numbers: the int32 kernel wrote 3",
            "wrong numbers: the int32 kernel wrote 3",
            "newer driver",
        ),
        ("never seen\nline 3: error: strange", "never seen: line 3: error: strange", "newer driver"),
        ("", "without a word", "newer driver"),
    ],
)
def test_advice(text, reason, fix):
    got_reason, got_fix = advice.explain(text)
    assert reason in got_reason and fix in got_fix


@pytest.mark.parametrize(
    ("problem", "fix"),
    [
        ("ModuleNotFoundError: No module named 'pyopencl'", "-m pip install pyopencl"),
        ("ImportError: numpy.core failed", "-m pip install --force-reinstall pyopencl"),
    ],
)
def test_pyopencl_that_does_not_import(problem, fix):
    assert fix in advice.pyopencl(problem)


def test_missing_libopencl_names_the_loader_package(monkeypatch):
    monkeypatch.setattr(advice, "_distribution", lambda: "fedora")
    problem = "ImportError: libOpenCL.so.1: cannot open shared object file: No such file or directory"
    if sys.platform == "linux":
        assert advice.pyopencl(problem) == "sudo dnf install ocl-icd"


def test_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path))
    assert cachedir.cache_dir() == tmp_path
    if sys.platform == "linux":
        monkeypatch.delenv("GRAPHRUN_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cachedir.cache_dir() == tmp_path / "xdg" / "graphrun"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert cachedir.cache_dir() == Path.home() / ".cache" / "graphrun"


@pytest.mark.opencl
@pytest.mark.skipif(sys.platform == "win32", reason="the variables of Unix caches")
def test_device_works_where_the_home_cannot_be_written(tmp_path):
    if not any(r.working for r in discover.reports(warn=False)):
        pytest.skip("no working OpenCL device on this machine")
    (tmp_path / "file").write_text("in the way")
    blocked = str(tmp_path / "file")
    code = """
        import json, warnings
        import numpy as np
        from graphrun.runtime.opencl.device import open_device
        warnings.simplefilter("ignore")
        d = open_device(0)
        b = d.alloc(4)
        d.launcher(d.build("kernel void f(global int *a) { a[0] = 5; }").kernel("f"), [b], (1,))()
        print(json.dumps(int(d.download(b, (), np.int32))))
    """
    environment = {"HOME": blocked, "XDG_CACHE_HOME": blocked, "GRAPHRUN_CACHE_DIR": blocked}
    assert run_python(code, tmp_path, **environment) == 5


def test_pyopencl_missing(tmp_path):
    code = """
        import json, sys, warnings
        sys.modules["pyopencl"] = None
        from graphrun.errors import DeviceError
        from graphrun.runtime.opencl import discover
        from graphrun.runtime import doctor
        warnings.simplefilter("error")
        found = discover.reports()
        page = doctor.format_diagnosis(doctor.diagnose(), width=100, ascii_only=True)
        try:
            from graphrun.runtime.opencl.device import open_device
        except DeviceError as error:
            print(json.dumps([len(found), discover.listing_failure(), page, str(error)]))
    """
    count, (reason, fix), page, error = run_python(code, tmp_path)
    assert count == 0
    assert reason.startswith("ModuleNotFoundError: ")
    assert "-m pip install" in fix and fix in page
    assert error.startswith("OpenCL devices need pyopencl, which cannot be imported\n  ModuleNotFoundError: ")
    assert error.endswith(fix)
