"""Self-tests: every family has one, verdicts are remembered, and what fails is left to NumPy."""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.compiler import launch
from graphrun.compiler.placement import family_of
from graphrun.graph.descriptor import Expr, Index, Kernel, Reduce, View
from graphrun.runtime import selftest
from graphrun.runtime.devices import get_device, list_devices
from graphrun.runtime.doctor import diagnose, format_diagnosis
from graphrun.runtime.opencl import DeviceWarning, discover
from graphrun.runtime.selftest_cases import FAMILIES, GROUPS, Builder, difference


@pytest.fixture
def fresh(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The first OpenCL device as a new object, in place of the one that sessions use, with an empty cache."""
    name = next((n for n in list_devices() if n.startswith("opencl")), None)
    if name is None:
        pytest.skip("no OpenCL device works on this machine")
    from graphrun.runtime.opencl import device as device_module

    report = get_device(name).report
    device = device_module.OpenCLDevice(report, discover.handle(report))
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(device_module._devices, report.index, device)
    return device


def _plant(monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]) -> None:
    """Let every program be built from a changed source."""
    original = launch.program_source

    def planted(*args: Any) -> str:
        return change(original(*args))

    monkeypatch.setattr("graphrun.compiler.lower.program_source", planted)


# -- cases ----------------------------------------------------------------------------------------


def test_every_family_has_a_test() -> None:
    # All that there are, also those that an operation chooses by case, but those of users.
    families = {k.family for k in gc.get_objects() if isinstance(k, Kernel) and k.repeatable}
    families |= {family_of(d) for d in (Expr("a"), View(None), Index(None), Reduce("0"))}  # type: ignore[arg-type]
    # Passes make these of other families' operations.
    assert families | {"rows", "epilogue"} == set(FAMILIES)
    assert sorted(FAMILIES) == sorted(family for group in GROUPS for family in group)


@pytest.mark.parametrize("family", FAMILIES)
def test_cases_are_of_their_family(family: str) -> None:
    builder = Builder()
    builder.begin(family)
    FAMILIES[family](builder)
    assert builder.checks, "nothing is compared"
    for node, _ in builder.checks:
        # A pass makes row kernels of what is elementwise and of reductions; another, epilogues of the former.
        own = {"rows": {"elementwise", "reduce"}, "epilogue": {"elementwise"}}.get(family, {family})
        assert family_of(node.op.descriptor(node.input_specs, node.attrs)) in own
    for (node, i), expected in zip(builder.checks, builder.expected(), strict=True):
        assert node.specs[i] == (expected.shape, node.specs[i].dtype)
        assert expected.dtype == node.specs[i].dtype.numpy and expected.size


@pytest.mark.parametrize(
    ("actual", "expected", "text"),
    [
        ([1.0, 2.0], [1.0, 2.0], ""),
        ([1.0, np.nan], [1.0, np.nan], ""),
        ([1.0, 2.00001], [1.0, 2.0], ""),
        ([1.0, 2.1, 3.3], [1.0, 2.0, 3.0], "2 of 3 values differ; at [1] it gives 2.1, NumPy 2.0"),
        ([1.0, np.nan], [1.0, np.inf], "1 of 2 values differ; at [1] it gives nan, NumPy inf"),
        ([[1.0]], [1.0], "it is (1, 1) float32, NumPy's is (1,) float32"),
    ],
)
def test_difference(actual: Any, expected: Any, text: str) -> None:
    assert difference(np.array(actual, np.float32), np.array(expected, np.float32)) == text


def test_integers_must_be_equal() -> None:
    assert difference(np.array([10**9 + 1]), np.array([10**9])).startswith("1 of 1 values differ")


# -- verdicts -------------------------------------------------------------------------------------


def test_null_device_has_nothing_blocked() -> None:
    null = get_device("null:0")
    assert "gemm" not in selftest.blocked_families(null)
    assert selftest.results(null) == {}


@pytest.mark.opencl
def test_every_family_agrees_on_this_device(fresh: Any) -> None:
    found = selftest.results(fresh)
    assert list(found) == list(FAMILIES)
    assert {family: detail for family, (ok, detail) in found.items() if not ok} == {}
    assert all("with NumPy" in detail for _, detail in found.values())


@pytest.mark.opencl
def test_plans_share_no_kernels_with_a_test(fresh: Any) -> None:
    """The next process does not run the test, and would have to compile what a plan then has by itself."""
    assert not fresh.known_kernels
    assert all(ok for ok, _ in selftest.results(fresh).values())
    assert not fresh.known_kernels


@pytest.mark.opencl
def test_verdicts_are_remembered(fresh: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "scatter" not in selftest.blocked_families(fresh)
    calls = []
    monkeypatch.setattr(selftest, "_tried", lambda device, families: calls.append(families))
    again = selftest.BlockedFamilies(fresh)
    assert again.verdict("scatter") == (True, "3 results agree with NumPy")
    assert calls == [], "a verdict that is remembered was made again"
    stored = json.loads((tmp_path / "selftests.json").read_text())
    (key,) = stored
    assert key.startswith(fresh.report.key) and fresh.report.driver_version in key


@pytest.mark.opencl
def test_what_is_expected_is_tested_at_once(
    fresh: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several groups make one program of the kernels that each has alone, and each has its own verdict."""
    built = []
    build = fresh.build
    monkeypatch.setattr(fresh, "build", lambda source: built.append(source) or build(source))
    blocked = selftest.BlockedFamilies(fresh)
    blocked.expect({"scatter", "cumulative"})
    assert len(built) == 1
    assert blocked.verdict("scatter")[0] and blocked.verdict("cumulative")[0]
    again = selftest.BlockedFamilies(fresh)
    again.expect({"cumulative"})
    assert again.verdict("scatter")[0] and len(built) == 1
    assert len(json.loads((tmp_path / "selftests.json").read_text())) == 2
    families = [family for group in GROUPS for family in group]
    together = selftest._plan(fresh, selftest._built(families)).kernels[fresh.name]
    apart = [selftest._plan(fresh, selftest._built(group)).kernels[fresh.name] for group in GROUPS]
    assert together == {name: text for kernels in apart for name, text in kernels.items()}


@pytest.mark.opencl
def test_other_kernels_are_tested_again(fresh: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict is on the kernels as they are: a changed file, or a changed generator, needs a new one."""
    assert "scatter" not in selftest.blocked_families(fresh)
    _plant(monkeypatch, lambda source: source + "\n// another version\n")
    assert "scatter" not in selftest.BlockedFamilies(fresh)
    assert len(json.loads((tmp_path / "selftests.json").read_text())) == 2


@pytest.mark.opencl
@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"x": 3}', '{"x": {"at_s": "noon"}}', '{"x": {"at_s": [1]}, "y": {}}', "[" * 100_000],
    ids=lambda content: content[:30],
)
def test_damaged_memory_is_no_memory(fresh: Any, tmp_path: Any, content: str) -> None:
    (tmp_path / "selftests.json").write_text(content)
    assert "scatter" not in selftest.blocked_families(fresh)


@pytest.mark.opencl
def test_failures_are_believed_for_an_hour(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e9
    calls = []

    def tried(device: Any, families: Any) -> Any:
        calls.append(families)
        return {"scatter": (False, "1 of 9 values differ")}

    monkeypatch.setattr(selftest, "_tried", tried)
    monkeypatch.setattr(selftest.time, "time", lambda: now)
    for later, count in ((0, 1), (3500, 1), (7300, 2)):
        now = 1e9 + later
        with pytest.warns(DeviceWarning, match=r"fails its self-test.*: scatter \(1 of 9 values differ\)"):
            assert "scatter" in selftest.BlockedFamilies(fresh)
        assert len(calls) == count


@pytest.mark.opencl
def test_unwritable_cache(fresh: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path / "file" / "folder"))
    with pytest.warns(RuntimeWarning, match="folder cannot be written"):
        assert "scatter" not in selftest.blocked_families(fresh)


# -- faults ---------------------------------------------------------------------------------------


@pytest.mark.opencl
def test_wrong_kernel(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong kernel blocks its family alone; NumPy computes instead, with one warning; doctor names it."""
    _plant(monkeypatch, lambda source: source.replace("gr_all4.s0", "gr_all4.s1"))
    x = np.arange(300, dtype=np.float32).reshape(3, 100)
    t = gr.placeholder(gr.float32, (3, 100))
    total, more = gr.reduce_sum(t, 1), t + 1.0
    with gr.Session(device=fresh.name) as session, pytest.warns(DeviceWarning) as warned:
        np.testing.assert_allclose(session.run(total, {t: x}), x.sum(1), rtol=1e-6)
        np.testing.assert_array_equal(session.run(more, {t: x}), x + 1)
        reasons = [(str(o), why) for o, why in session.plan([total, more], {t: x}).host_fallbacks()]
    assert len(warned) == 1
    assert str(warned[0].message).startswith(
        f"{fresh.name} fails its self-test, so NumPy replaces these kernels: reduce (mean of (9, 70):"
    )
    assert [why for _, why in reasons] == ["the device failed the self-test of the reduce kernels"]
    assert reasons[0][0].startswith("sum 'Sum'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeviceWarning)
        found = selftest.results(fresh)
    assert [family for family, (ok, _) in found.items() if not ok] == ["reduce"]
    page = format_diagnosis(diagnose(selftests={fresh.name: found}), ascii_only=True, width=100)
    flat = " ".join(page.split())
    assert "-- reduce: mean of (9, 70): " in flat and "NumPy runs these instead" in flat
    assert "ok " + ", ".join(family for family in found if family != "reduce") in flat


@pytest.mark.opencl
def test_wrong_row_kernels_leave_their_parts(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where row kernels are wrong alone, reductions and elementwise groups do their work."""
    _plant(monkeypatch, lambda source: source.replace("(lane", "0.5f * (lane"))
    x = np.linspace(-1, 1, 16 * 20, dtype=np.float32).reshape(16, 20)
    t = gr.placeholder(gr.float32, (16, 20))
    p = gr.nn.softmax(t)
    with gr.Session(device=fresh.name) as session:
        with pytest.warns(DeviceWarning, match="rows"):
            found = session.run(p, {t: x})
        labels = [s.label for s in session.plan(p, {t: x}).launches]
        assert labels == ["max", "subtract+exp", "sum", "reciprocal", "multiply"]
    np.testing.assert_allclose(found, np.exp(x) / np.exp(x).sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.opencl
def test_wrong_epilogues_leave_kernels_alone(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where epilogues are wrong alone, products and elementwise groups are launches of their own."""
    _plant(monkeypatch, lambda source: source.replace("gr_a0 = (v_)", "gr_a0 = 0.5f * (v_)"))
    x, w = (gr.placeholder(gr.float32, (16, 16)) for _ in range(2))
    y = gr.tanh(gr.matmul(x, w))
    a = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)
    with gr.Session(device=fresh.name) as session:
        with pytest.warns(DeviceWarning, match="epilogue"):
            found = session.run(y, {x: a, w: a})
        labels = [s.label for s in session.plan(y, {x: a, w: a}).launches]
    assert labels[-1] == "tanh" and labels[-2].startswith("matmul:gemm")
    np.testing.assert_allclose(found, np.tanh(a @ a), rtol=1e-5, atol=1e-6)


@pytest.mark.opencl
def test_strict_session_refuses_a_failed_family(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch, lambda source: source.replace("gr_all4.s0", "gr_all4.s1"))
    t = gr.placeholder(gr.float32, (3, 100))
    total = gr.reduce_sum(t, 1)
    with gr.Session(device=fresh.name, strict=True) as session, pytest.warns(DeviceWarning):
        with pytest.raises(gr.errors.DeviceError, match="failed the self-test of the reduce kernels"):
            session.plan(total, {t: np.zeros((3, 100), np.float32)})


@pytest.mark.opencl
def test_kernel_that_does_not_compile(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that fails takes no other family along."""
    mark = "__kernel void index_"
    _plant(monkeypatch, lambda source: source.replace(mark, f"no such thing; {mark}"))
    with pytest.warns(DeviceWarning, match=r"index \(KernelBuildError: .*does not compile") as warned:
        blocked = [f for f in GROUPS[0] if f in selftest.blocked_families(fresh)]
    assert blocked == ["index"] and len(warned) == 1


@pytest.mark.opencl
def test_device_that_raises(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def launcher(*args: Any) -> Any:
        raise RuntimeError("the driver is out of order")

    monkeypatch.setattr(fresh, "launcher", launcher)
    with pytest.warns(DeviceWarning):
        found = selftest.results(fresh)
    assert {ok for ok, _ in found.values()} == {False}
    assert "the driver is out of order" in found["gemm"][1]


@pytest.mark.opencl
def test_test_that_took_its_process_down(fresh: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test began and left no verdict, the families are tried in processes of their own."""
    assert "scatter" not in selftest.blocked_families(fresh)
    (key,) = stored = json.loads((tmp_path / "selftests.json").read_text())
    del stored[key]["results"]
    stored[key]["begun"] = True
    (tmp_path / "selftests.json").write_text(json.dumps(stored))
    monkeypatch.setattr(selftest, "_tried", lambda *_: pytest.fail("tried in this process"))
    assert selftest.BlockedFamilies(fresh).verdict("scatter") == (True, "3 results agree with NumPy")
    assert "results" in json.loads((tmp_path / "selftests.json").read_text())[key]


@pytest.mark.opencl
@pytest.mark.skipif(sys.platform == "win32", reason="there, all are taken for dead")
def test_a_process_that_is_at_it_has_not_been_taken_down(
    fresh: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(how: str) -> Any:
        def answer(device: Any, families: Any) -> Any:
            ways.append(how)
            return dict.fromkeys(families, (True, "agrees"))

        return answer

    ways: list[str] = []
    monkeypatch.setattr(selftest, "_tried", tried("together"))
    monkeypatch.setattr(selftest, "_tried_apart", tried("apart"))
    remembered = tmp_path / "selftests.json"

    def told(by: Any) -> str:
        remembered.write_text(json.dumps({key: {"begun": True, "by": by, "at_s": 1.0}}))
        assert "scatter" not in selftest.BlockedFamilies(fresh)
        return ways[-1]

    assert "scatter" not in selftest.BlockedFamilies(fresh)
    (key,) = json.loads(remembered.read_text())
    here = platform.node()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert told([here, process.pid]) == "together"
        for by in (
            ["another machine", process.pid],
            [here, os.getpid()],
            None,
            [],
            [here, "1"],
            [here, 1 << 80],
        ):
            assert told(by) == "apart"
    assert told([here, process.pid]) == "apart", "it has ended"


def test_process_that_dies(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device = get_device("null:0")
    for script, verdict in (
        ("kill -SEGV $$", "it crashed its process (SIGSEGV)"),
        ("exit 3", "it ended its process with status 3"),
        ("exec sleep 60", "timed out after 0.2 s"),
        ("", None),
    ):
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755 if verdict else 0o644)
        monkeypatch.setattr(selftest.sys, "executable", str(program))
        if script.startswith("exec"):
            monkeypatch.setattr(selftest, "_TIMEOUT_S", 0.2)
        ok, detail = selftest._tried_in_process(device, "gemm")
        assert not ok
        assert detail == verdict if verdict else detail.startswith(f"cannot start {program}: ")
