"""The command line: help, version, wrong arguments, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import graphrun
from graphrun import cli
from graphrun.cli import bench as bench_module
from graphrun.errors import DeviceError

ROOT = Path(__file__).resolve().parents[2]


def test_no_command_is_answered_with_help(capsys):
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert "graphrun doctor" in out and "graphrun bench" in out and "--version" in out


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"graphrun {graphrun.__version__}\n"


@pytest.mark.parametrize("command", ["doctor", "bench", "tune"])
def test_help_of_a_command(capsys, command):
    assert cli.main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: graphrun {command}") and "exit status" in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dance"], "invalid choice: 'dance'"),
        (["bench", "matmull"], "there is no workload 'matmull', only matmul, elementwise, train"),
        (["bench", "--devices", "cuda:0"], "graphrun bench: error: --devices: there is no device 'cuda:0'"),
        (["bench", "--sizes", "big"], "graphrun bench: error: --sizes: 'big' is not a whole number"),
        (["bench", "train", "--sizes", "8"], "--sizes means nothing to train"),
        (["bench", "--json", "no/such/folder/a.json"], "--json: there is no folder 'no/such/folder'"),
        (["bench", "--plot", "a.txt"], "--plot: 'a.txt' does not end in .png, .svg, .pdf"),
        (["bench", "--repeat=8"], "unrecognized arguments: --repeat=8"),
        (["tune", "sort"], "there is no tunable family 'sort', only gemm"),
        (["tune", "--seconds", "soon"], "'soon' is not a number of seconds"),
        (["tune", "--device", "cuda:0"], "there is no device 'cuda:0'"),
        (["doctor", "now"], "unrecognized arguments: now"),
    ],
)
def test_wrong_arguments_get_one_line(capsys, arguments, complaint):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert complaint in captured.err
    assert captured.err.count("\n") == 1


def test_a_failure_is_a_line_and_not_a_trace(monkeypatch, capsys):
    def fail(request):
        raise DeviceError("opencl:0: the device is on fire")

    monkeypatch.setattr(bench_module, "bench", fail)
    assert cli.main(["bench", "--devices", "cpu"]) == 1
    assert capsys.readouterr().err == "graphrun bench: DeviceError: opencl:0: the device is on fire\n"


def test_interrupt(monkeypatch, capsys):
    def interrupt(request):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_module, "bench", interrupt)
    assert cli.main(["bench", "--devices", "cpu"]) == 130
    assert capsys.readouterr().err.strip() == "graphrun bench: interrupted"


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip


def test_python_m_graphrun_is_the_command():
    done = run("-m", "graphrun", "--version")
    assert (done.returncode, done.stdout) == (0, f"graphrun {graphrun.__version__}\n")
    done = run("-m", "graphrun", "bench", "--sizes", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("graphrun bench: error: --sizes")


def test_doctor_without_opencl_says_so_and_fails():
    done = run("-m", "graphrun", "doctor", GRAPHRUN_OPENCL="0")
    assert done.returncode == 1, done.stderr
    assert "unset GRAPHRUN_OPENCL" in done.stdout
    assert "No OpenCL device can be used: graphrun computes with NumPy." in done.stdout


def test_bench_where_pyopencl_does_not_import():
    code = (
        "import sys; sys.modules['pyopencl'] = None; from graphrun.cli import bench, main;"
        "from graphrun.cli.peaks import Peak; bench.measure_peak = lambda d: Peak(1.0, 1.0, 'a', 'b');"
        "sys.exit(main(['bench', 'matmul', '--sizes', '8']))"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert "cpu:0" in done.stdout and "opencl:0" not in done.stdout


@pytest.mark.opencl
def test_doctor_with_opencl():
    done = run("-m", "graphrun", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "opencl:0" in done.stdout


def test_reader_that_goes_away():
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "graphrun", "doctor"], stdout=write, stderr=subprocess.PIPE, text=True,
            check=False, cwd=ROOT, env={**os.environ, "GRAPHRUN_OPENCL": "0"},
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_is_unknown_is_told_by_the_command(capsys):
    from graphrun.cli import main as run

    assert run(["bench", "matmul", "--bogus"]) == 2
    text = capsys.readouterr().err
    assert text == "graphrun bench: error: unrecognized arguments: --bogus  (see graphrun bench --help)\n"
