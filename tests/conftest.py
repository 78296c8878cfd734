"""Fixtures of all tests, and on which devices they run.

A test that takes `device` runs on NumPy (``cpu:0``) and on each OpenCL device that works.  Environment:

``GRAPHRUN_TEST_DEVICES``
    The devices to use, as ``cpu:0,opencl:1``.
``GRAPHRUN_REQUIRE_OPENCL=1``
    Makes it an error if no OpenCL device works, for machines that are there to test OpenCL.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import pytest

from graphrun.device_names import parse_device
from graphrun.graph.default import reset_default_graph
from graphrun.runtime.opencl import discover, loader

NUMPY = "cpu:0"


@functools.cache
def _opencl_devices() -> tuple[dict[str, str], str]:
    """The working OpenCL devices by name with their descriptions, and why others are left out."""
    working: dict[str, str] = {}
    problems = []
    for report in discover.reports(warn=False):
        if report.working:
            working[report.name] = f"{report.device_name.strip()}, {report.platform_version.strip()}"
        else:
            problems.append(f"{report.device_name.strip()}: {report.reason}")
    if loader.disabled():
        problems.append("switched off by GRAPHRUN_OPENCL")
    failure, _ = discover.listing_failure()
    if failure:
        problems.append(failure)
    return working, "; ".join(problems) or ("" if working else "no OpenCL device is installed")


@functools.cache
def selected_devices() -> tuple[str, ...]:
    """The devices that tests run on."""
    working, _ = _opencl_devices()
    wanted = os.environ.get("GRAPHRUN_TEST_DEVICES", "")
    names = [parse_device(n.strip()) for n in wanted.split(",") if n.strip()] or [NUMPY, *working]
    missing = [n for n in names if n != NUMPY and n not in working]
    if missing:
        raise pytest.UsageError(
            f"GRAPHRUN_TEST_DEVICES={wanted}: {', '.join(missing)} does not work; there are"
            f" {', '.join([NUMPY, *working])}"
        )
    return tuple(names)


def pytest_configure(config: pytest.Config) -> None:
    # There are more kernels than a cache holds by default: the next run would not find those it begins with.
    os.environ.setdefault("GRAPHRUN_CACHE_MIB", "2048")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # The cores are busy with other tests, and two processes that compile one program work more than one.
        os.environ.setdefault("GRAPHRUN_COMPILE_AHEAD", "0")
    # The first listing loads drivers, with the LLVM of PoCL: before a test loads that of TensorFlow.
    working, problem = _opencl_devices()
    if os.environ.get("GRAPHRUN_REQUIRE_OPENCL", "") not in ("", "0"):
        if not working:
            raise pytest.UsageError(f"GRAPHRUN_REQUIRE_OPENCL is set and no OpenCL device works: {problem}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" not in metafunc.fixturenames:
        return
    params: list[Any] = list(selected_devices())
    if params == [NUMPY] and "GRAPHRUN_TEST_DEVICES" not in os.environ:
        reason = f"no OpenCL device works: {_opencl_devices()[1]}"
        params.append(pytest.param("opencl:0", marks=pytest.mark.skip(reason=reason)))
    metafunc.parametrize("device", params)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("opencl")]
    if marked and not _opencl_devices()[0]:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=f"no OpenCL device works: {_opencl_devices()[1]}"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    working, problem = _opencl_devices()
    used = selected_devices()
    names = [f"{n} ({working[n]})" if n in working else f"{n} (NumPy {np.__version__})" for n in used]
    terminalreporter.write_line(f"devices: {', '.join(names)}")
    left_out = [f"{n} ({text})" for n, text in working.items() if n not in used]
    if not working or problem:
        left_out.append(f"OpenCL: {problem}" if not working else problem)
    if left_out:
        terminalreporter.write_line(f"not run on: {', '.join(left_out)}")


@pytest.fixture(autouse=True)
def _fresh_graph() -> None:
    """Every test starts with an empty default graph."""
    reset_default_graph()


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator that starts the same in every test."""
    return np.random.default_rng(0)
