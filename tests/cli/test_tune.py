"""The command `graphrun tune`, with a clock and a measure that are made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from graphrun import cli
from graphrun.cli import tune as tune_module
from graphrun.cli.tune import MORE_PRODUCTS, MORE_WAYS, PRODUCTS, WAYS, DeviceBench, Product, Request, tune
from graphrun.errors import DeviceError
from graphrun.graph.descriptor import Capabilities
from graphrun.runtime.devices import get_device
from graphrun.runtime.opencl import tuned


@pytest.fixture
def machine(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("GRAPHRUN_CACHE", raising=False)
    report = SimpleNamespace(platform_name="P", device_name="D", driver_version="1")
    found = SimpleNamespace(name="opencl:0", report=report, capabilities=Capabilities())
    monkeypatch.setattr(tune_module, "get_device", lambda name: found)
    monkeypatch.setattr(
        tune_module, "device_list", lambda text: ("cpu:0", "opencl:0") if not text else (text,)
    )
    return found


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeBench:
    """Takes a second for each measurement; `times` tells what each way takes, a list one for each turn."""

    def __init__(self, times: dict[str, Any], clock: Clock | None = None) -> None:
        self.times, self.clock = times, clock or Clock()
        self.asked: list[tuple[str, list[str]]] = []

    def ways(self, case: Product) -> tuple[str, list[str]]:
        return f"class {case.m}x{case.n}x{case.k}", list(self.times)

    def measure(self, case: Product, shapes: str, ways: Sequence[str]) -> list[float | None]:
        turn = sum(s == shapes for s, _ in self.asked)
        self.asked.append((shapes, list(ways)))
        self.clock.now += 1.0
        found = [self.times[w] for w in ways]
        return [t[turn] if isinstance(t, list) else t for t in found]


def test_what_wins_twice_is_kept(machine, capsys, tmp_path):
    bench = FakeBench({"usual": 2e-3, "quick": 1e-3, "wrong": None, "slow": 9e-3})
    assert tune(Request(), bench, bench.clock) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "1024 x 1024 x 1024" in line)
    assert row.split()[-5:] == ["usual", "2.00", "quick", "1.00", "2.00"]
    assert f"{len(PRODUCTS)} choices kept in {tmp_path / 'tuned.json'}; new sessions use them" in out
    assert max(map(len, out.splitlines()[:-1])) <= 110
    assert tuned.load(machine.report).choice("gemm", "class 256x256x256") == "quick"
    assert bench.asked[1][1] == ["usual", "quick"], "the second time against the default alone"


@pytest.mark.parametrize(
    "quick", [1.95e-3, [1e-3, 2e-3], None], ids=["within the noise", "only once", "with a wrong result"]
)
def test_what_is_not_kept(machine, capsys, quick):
    bench = FakeBench({"usual": 2e-3, "quick": quick})
    assert tune(Request(), bench, bench.clock) == 0
    assert "the default" in capsys.readouterr().out
    assert tuned.load(machine.report).found == ()


def test_an_old_choice_goes_where_the_default_wins(machine, capsys):
    shapes = "class 256x256x256"
    tuned.remember(machine.report, [tuned.Found("gemm", shapes, "old", 2.0)])
    bench = FakeBench({"usual": 1e-3, "old": 2e-3})
    assert tune(Request(), bench, bench.clock) == 0
    assert tuned.load(machine.report).choice("gemm", shapes) == ""


def test_a_default_that_is_wrong_is_said(machine, capsys):
    bench = FakeBench({"usual": None, "quick": 1e-3})
    assert tune(Request(), bench, bench.clock) == 1
    assert "its result differs from NumPy's" in capsys.readouterr().out


def test_the_time_is_kept(machine, capsys):
    bench = FakeBench({"usual": 1e-3})
    assert tune(Request(seconds=2.5), bench, bench.clock) == 0
    assert len(bench.asked) == 3
    assert f"time is up before {len(PRODUCTS) - 3} of the shapes" in capsys.readouterr().out


@pytest.mark.parametrize("seconds", [60.0, 300.0])
def test_more_time_is_a_longer_search(machine, capsys, seconds):
    bench = FakeBench({f"way {i}": 1e-3 for i in range(20)})
    assert tune(Request(seconds=seconds), bench, bench.clock) == 0
    long = seconds > 100
    assert len(bench.asked) == len(PRODUCTS) + long * len(MORE_PRODUCTS)
    assert {len(ways) for _, ways in bench.asked} == {MORE_WAYS if long else WAYS}


def test_a_cache_that_is_off_is_said(machine, capsys, monkeypatch):
    monkeypatch.setenv("GRAPHRUN_CACHE", "0")
    bench = FakeBench({"usual": 2e-3, "quick": 1e-3})
    assert tune(Request(), bench, bench.clock) == 1
    assert "nothing is kept" in capsys.readouterr().err


def test_choices_are_shared(machine, capsys, monkeypatch, tmp_path):
    tuned.remember(machine.report, [tuned.Found("gemm", "s", "quick", 2.0)])
    file = tmp_path / "shared.json"
    assert cli.main(["tune", "--export", str(file)]) == 0
    assert f"1 choice written to {file}" in capsys.readouterr().out
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path / "other"))
    assert tuned.load(machine.report).found == ()
    assert cli.main(["tune", "--import", str(file)]) == 0
    assert f"1 choice from {file}" in capsys.readouterr().out
    assert tuned.load(machine.report).found == (("gemm", "s", "quick"),)


@pytest.mark.parametrize(("content", "complaint"), [(None, "cannot be read"), ("{", "it is damaged")])
def test_a_file_that_cannot_be_taken(machine, capsys, tmp_path, content, complaint):
    file = tmp_path / "shared.json"
    if content is not None:
        file.write_text(content)
    assert cli.main(["tune", "--import", str(file)]) == 1
    assert complaint in capsys.readouterr().err


# -- the file ------------------------------------------------------------------------------------


def test_choices_hold_for_a_device_its_driver_and_its_kernels(machine, monkeypatch):
    report = machine.report
    tuned.remember(report, [tuned.Found("gemm", "s", "quick", 2.0)])
    assert tuned.load(report).found == (("gemm", "s", "quick"),)
    other = SimpleNamespace(**{**vars(report), "driver_version": "2"})
    assert tuned.load(other).found == ()
    tuned.remember(other, [tuned.Found("gemm", "t", "quicker", 3.0)])
    assert tuned.load(report).found == (("gemm", "s", "quick"),), "what is known of others stays"
    monkeypatch.setattr(tuned, "kernels_key", lambda family: "newer")
    assert tuned.load(report).found == ()
    tuned.remember(report, [tuned.Found("gemm", "u", "new", 2.0)])
    assert tuned.load(report).found == (("gemm", "u", "new"),)


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", '{"format": "another", "devices": {}}', '{"format": "graphrun tuned 1", "devices": []}',
        '{"format": "graphrun tuned 1", "devices": {"P": {"gemm": {"kernels": "k", "choices": {"s": "x"}}}}}',
        '{"format": "graphrun tuned 1", "devices": {"P": {"gemm": 3}}}',
        '{"format": "graphrun tuned 1", "devices": {"P": 3}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_ignored_with_one_warning(machine, tmp_path, content):
    (tmp_path / "tuned.json").write_text(content)
    with pytest.warns(RuntimeWarning, match="tuned.json is not used: it ") as caught:
        assert tuned.load(machine.report).found == ()
        assert tuned.load(machine.report).found == ()
    assert len(caught) == 1
    # It is written anew.
    tuned.remember(machine.report, [tuned.Found("gemm", "s", "quick", 2.0)])
    assert json.loads((tmp_path / "tuned.json").read_text())["format"] == "graphrun tuned 1"
    assert tuned.load(machine.report).found == (("gemm", "s", "quick"),)


# -- measuring -----------------------------------------------------------------------------------


@pytest.mark.opencl
@pytest.mark.parametrize("case", [Product("small", 40, 48, 56), Product("turned", 24, 32, 64, True, True)])
def test_every_way_is_right_and_is_timed(case, monkeypatch):
    monkeypatch.setattr(tune_module, "alternate", lambda runs, **_: [_timed(run) for run in runs])
    bench = DeviceBench(get_device("opencl:0"))
    shapes, ways = bench.ways(case)
    assert shapes == f"float {'tt' if case.transpose_a else 'nn'} " + (
        "32x32x64" if case.transpose_a else "32x64x64"
    )
    assert len(ways) > 3 and len(set(ways)) == len(ways)
    assert bench.measure(case, shapes, ways) == [1.0] * len(ways)


@pytest.mark.opencl
def test_a_wrong_result_is_not_timed(monkeypatch):
    monkeypatch.setattr(tune_module, "alternate", lambda runs, **_: [_timed(run) for run in runs])
    bench = DeviceBench(get_device("opencl:0"))
    real = bench._bound

    def bound(case: Any, shapes: str, way: str) -> Any:
        run = real(case, shapes, way)
        return (lambda fed: run(fed[::-1])) if way == "bad" else run

    monkeypatch.setattr(bench, "_bound", bound)
    assert bench.measure(Product("square", 32, 32, 32), "", ["good", "bad"]) == [1.0, None]


def _timed(run: Any) -> Any:
    run()
    return SimpleNamespace(median_s=1.0)


@pytest.mark.parametrize("text", ["cpu:0", "cpu:0,opencl:0"])
def test_one_opencl_device_is_tuned(machine, capsys, monkeypatch, text):
    monkeypatch.setattr(tune_module, "device_list", lambda t: tuple(t.split(",")))
    assert cli.main(["tune", "--device", text]) == 2
    assert "one OpenCL device is tuned" in capsys.readouterr().err


def test_a_device_that_is_gone_is_an_error(machine, capsys, monkeypatch):
    def gone(name: str) -> Any:
        raise DeviceError("it is gone")

    monkeypatch.setattr(tune_module, "get_device", gone)
    assert cli.main(["tune"]) == 1
    assert "it is gone" in capsys.readouterr().err
