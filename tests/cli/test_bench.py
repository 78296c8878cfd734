"""`graphrun bench` end to end, on sizes that take no time."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from graphrun import cli
from graphrun.cli import bench, digits, workloads
from graphrun.cli.peaks import Peak
from graphrun.errors import DeviceError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    peak = Peak(100.0, 10.0, "a loop", "a copy")
    monkeypatch.setattr(bench, "measure_peak", lambda device: peak)
    monkeypatch.setattr(bench, "alternate", lambda runs: timing_module_alternate(runs, budget_s=0.0, turns=2))


timing_module_alternate = bench.alternate


def test_arrays_on_a_device(device, tmp_path, capsys):
    path = tmp_path / "bench.json"
    arguments = [
        "bench",
        "matmul",
        "elementwise",
        "--devices",
        device,
        "--sizes",
        "32,9",
        "--json",
        str(path),
    ]
    assert cli.main(arguments) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "matmul: C = A B" in out and "elementwise: tanh(a * b + 1) * b" in out
    assert "100 GFLOP/s (a loop), 10.0 GB/s (a copy)" in out
    assert "speed-up" not in out.splitlines()[6], "one device has nothing to be compared with"
    assert f"written: {path}" in out
    assert max(map(len, out.splitlines())) <= max(100, len(f"written: {path}"))

    found = json.loads(path.read_text())
    assert [d["name"] for d in found["devices"]] == [device]
    assert [(r["workload"], r["n"]) for r in found["results"]] == [
        ("matmul", 9), ("matmul", 32), ("elementwise", 9), ("elementwise", 32),
    ]  # fmt: skip
    for row in found["results"]:
        assert row["relative_error"] <= row["relative_error_limit"]
        assert row["problem"] is None
        for way in ("fed", "resident"):
            assert 0 < row[way]["min_ms"] <= row[way]["median_ms"]
            assert row[way]["repeats"] == 2
            assert row[way]["speedup"] == 1
    first = found["results"][1]
    assert first["operations_flop"] == 2 * 32**3
    assert first["fed"]["gflop_per_s"] == pytest.approx(2 * 32**3 / first["fed"]["median_ms"] / 1e6)
    assert first["fed"]["share_of_peak"] == pytest.approx(first["fed"]["gflop_per_s"] / 100)
    assert found["results"][3]["traffic_bytes"] == 12 * 32**2


def test_table_is_aligned_and_plain(capsys):
    assert cli.main(["bench", "elementwise", "--devices", "cpu", "--sizes", "8,16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("elementwise"))
    rule = lines[start + 3]
    assert set(rule) == {" ", "-"}
    for row in lines[start + 4 : start + 6]:
        assert len(row) == len(rule), "right-aligned numbers end where the rule ends"
        assert all(cell == " " for cell, mark in zip(row, rule) if mark == " "), "columns do not touch"
    assert "\x1b" not in "".join(lines)


def test_wrong_result_is_not_timed(monkeypatch, capsys, tmp_path):
    wrong = replace(workloads.MATMUL, build=lambda a, b: a)
    monkeypatch.setitem(workloads.ARRAY_WORKLOADS, "matmul", wrong)
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "matmul", "--devices", "cpu", "--sizes", "8", "--json", str(path)]) == 1
    captured = capsys.readouterr()
    assert "wrong: an error below 5e-06 is expected" in captured.out
    assert "graphrun bench: matmul 8 on cpu:0 is wrong: relative error" in captured.err
    (row,) = json.loads(path.read_text())["results"]
    assert "fed" not in row and row["problem"].startswith("wrong")


def test_result_that_is_not_a_number_is_wrong(monkeypatch, capsys, tmp_path):
    wrong = replace(workloads.MATMUL, reference=lambda a, b: np.full_like(a, np.nan))
    monkeypatch.setitem(workloads.ARRAY_WORKLOADS, "matmul", wrong)
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "matmul", "--devices", "cpu", "--sizes", "8", "--json", str(path)]) == 1
    assert json.loads(path.read_text())["results"][0]["relative_error"] is None


def test_device_that_fails_does_not_stop_the_others(monkeypatch, capsys):
    class Failing(workloads.Case):
        def __init__(self, workload, n, device):
            if n == 8:
                raise DeviceError("cpu:0: out of memory\n  asked for: 8 bytes")
            super().__init__(workload, n, device)

    monkeypatch.setattr(bench, "Case", Failing)
    assert cli.main(["bench", "matmul", "--devices", "cpu", "--sizes", "8,16"]) == 1
    captured = capsys.readouterr()
    assert "failed, see below" in captured.out
    assert captured.err == (
        "graphrun bench: matmul 8 on cpu:0 failed: cpu:0: out of memory asked for: 8 bytes\n"
    )


def test_peak_that_cannot_be_measured(monkeypatch, capsys):
    def fail(device):
        raise DeviceError("no")

    monkeypatch.setattr(bench, "measure_peak", fail)
    assert cli.main(["bench", "matmul", "--devices", "cpu", "--sizes", "8"]) == 1
    captured = capsys.readouterr()
    assert "peak: not measured" in captured.out
    assert captured.err == "graphrun bench: the peak of cpu:0 could not be measured: no\n"


@pytest.mark.opencl
def test_two_devices_and_a_chart(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "bench.png"
    arguments = ["bench", "matmul", "--devices", "cpu,opencl:0", "--sizes", "16", "--plot", str(path)]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert out.count("speed-up") >= 2 and "1.00x" in out
    assert path.read_bytes().startswith(PNG)


def test_chart_needs_matplotlib(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["bench", "matmul", "--devices", "cpu", "--plot", str(tmp_path / "a.png")]) == 2
    captured = capsys.readouterr()
    assert captured.out == "", "told before anything is measured"
    assert captured.err == (
        "graphrun bench: error: --plot needs matplotlib, which is not installed:"
        " pip install matplotlib (it is in graphrun's extra 'plot')\n"
    )


def without_sklearn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)


def test_training_needs_scikit_learn(monkeypatch, capsys):
    without_sklearn(monkeypatch)
    assert cli.main(["bench", "train", "--devices", "cpu"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("graphrun bench: error: training on the digits needs scikit-learn")
    assert captured.err.endswith("pip install scikit-learn (it is in graphrun's extra 'examples')\n")


def test_main_job_without_scikit_learn_runs_the_rest(monkeypatch, capsys):
    without_sklearn(monkeypatch)
    assert cli.main(["bench", "--devices", "cpu", "--sizes", "8"]) == 1
    captured = capsys.readouterr()
    assert "matmul:" in captured.out and "elementwise:" in captured.out and "train:" not in captured.out
    assert captured.err == (
        "graphrun bench: train was left out: training on the digits needs scikit-learn, which is not "
        "installed: pip install scikit-learn (it is in graphrun's extra 'examples')\n"
    )


def test_main_job_is_all_three(monkeypatch, capsys, tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(bench, "EPOCHS", 2)
    monkeypatch.setattr(bench, "REQUIRED_ACCURACY", 0.2)
    monkeypatch.setattr(digits, "REQUIRED_ACCURACY", 0.2)
    files = [tmp_path / "bench.json", tmp_path / "bench.svg"]
    arguments = [
        "bench",
        "--devices",
        "cpu",
        "--sizes",
        "8",
        "--json",
        str(files[0]),
        "--plot",
        str(files[1]),
    ]
    assert cli.main(arguments) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    for heading in ("devices\n", "matmul: ", "elementwise: ", "train: "):
        assert heading in out
    (trained,) = json.loads(files[0].read_text())["training"]
    assert trained["step"]["repeats"] == len(trained["losses"]) - 1 == 2 * 22 - 1
    assert trained["steps_per_s"] == pytest.approx(1e3 / trained["step"]["median_ms"])
    assert b"<svg" in files[1].read_bytes()


def test_ratios_have_the_digits_that_are_worth_reading() -> None:
    from graphrun.cli.report import _times

    assert [_times(v) for v in (None, 0.256, 9.994, 12.345, 614.45, 12345.6)] == [
        "-", "0.26x", "9.99x", "12.3x", "610x", "12,000x",
    ]  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_file_that_cannot_be_written_is_told(capsys):
    assert cli.main(["bench", "matmul", "--devices", "cpu", "--sizes", "8", "--json", "/dev/full"]) == 2
    assert "graphrun bench: error: cannot write /dev/full: No space left" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "getloadavg"), reason="this system tells no load")
def test_a_busy_machine_is_told(monkeypatch, capsys):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for load, told in ((0.4, False), (8.25, True)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert cli.main(["bench", "elementwise", "--sizes", "8", "--devices", "cpu"]) == 0
        text = "in the last minute 8.25 programs wanted to run, on 2 cores.\nWhat follows may be"
        assert (text in capsys.readouterr().out) is told
