"""The benchmarks still run: their figures are not looked at, since a test machine does other things too."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
OURS = {p.stem for p in BENCHMARKS.glob("*.py")} | {"sidebyside"}


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in OURS:
            del sys.modules[name]


def test_session_overhead(load, monkeypatch, capsys):
    module = load("session_overhead")
    taken = module.time_calls(lambda: None, 2, batches=3)
    monkeypatch.setattr(module, "time_calls", lambda call, calls: taken)
    assert module.main(["--devices", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "median us" in out and out.count("  ok\n") == 2
    monkeypatch.setattr(module, "LIMITS_S", {"Session.run": 0.0, "make_callable": 0.0})
    assert module.main(["--devices", "cpu"]) == 1
    assert capsys.readouterr().out.count("  over\n") == 2


def test_compile_time(load, monkeypatch, capsys):
    module = load("compile_time")
    monkeypatch.setattr(module, "SIZES", (50, 100))
    monkeypatch.setattr(module, "ROUNDS", 1)
    monkeypatch.setattr(module, "LIMIT_RATIO", 1000.0)
    assert module.main(["--devices", "cpu:0,null:0"]) == 0
    out = capsys.readouterr().out
    assert "gradients s" in out and out.count(" ratio ") == 2 and out.count(": ok") == 4


@pytest.fixture
def peers(load, monkeypatch):
    module = load("peers")
    from graphrun.cli.peaks import Peak

    monkeypatch.setattr(
        load("sidebyside.choose"), "measure_peak", lambda device: Peak(100.0, 10.0, "a guess", "another")
    )
    return module


def test_peers_agree_with_the_reference(peers, load, capsys, tmp_path):
    """NumPy by hand and graphrun on NumPy compute every work of `peers.py` rightly."""
    file = tmp_path / "found.json"
    arguments = ["--quick", "--seconds", "0", "--systems", "cpu:0,numpy", "--json", str(file)]
    assert peers.main(arguments) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "steps, medians" in out and "kernels resident, minima" in out and "NumPy" in out
    found = json.loads(file.read_text())
    assert len(found["works"]) == 17
    for work in found["works"]:
        assert set(work["systems"]) == {"cpu:0", "numpy"} and not work["problems"]
        assert 0 <= work["systems"]["numpy"]["error_over_tolerance"] < 1
    assert load("sidebyside.markdown").main([str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 17 and len({line.count("|") for line in lines}) == 1


@pytest.mark.opencl
def test_peers_on_opencl(peers, capsys):
    arguments = ["--quick", "--seconds", "0", "--systems", "opencl:0", "--only", "gemm,conv,two-layer"]
    assert peers.main(arguments) == 0, capsys.readouterr().err
    assert "reached" in capsys.readouterr().out


def test_peers_does_not_time_what_is_wrong(peers, load, capsys):
    system_type = load("sidebyside.numpy_system").NumpySystem
    original = system_type.kernel

    def off_by_a_little(self, kernel, data):
        run = original(self, kernel, data)
        values = run.values
        run.values = lambda: [v + 0.001 for v in values()]
        return run

    system_type.kernel = off_by_a_little
    assert peers.main(["--quick", "--seconds", "0", "--systems", "cpu,numpy", "--only", "softmax"]) == 1
    out, err = capsys.readouterr()
    assert "WRONG" in out and "times the tolerated error" in err


def test_peers_that_are_missing_are_told(peers, load, capsys, monkeypatch):
    for name in ("tensorflow", "jax", "torch"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    assert (
        peers.main(["--quick", "--seconds", "0", "--systems", "cpu,tf1,xla,jax,torch", "--only", "tiny"]) == 0
    )
    assert capsys.readouterr().out.count("takes no part") == 4


def test_peers_command_line(peers, capsys):
    assert peers.main(["--only", "gemm,nothing"]) == 2
    assert "nothing begins with 'nothing'" in capsys.readouterr().err
    assert peers.main(["--systems", "theano"]) == 2
    assert "'theano' is none of" in capsys.readouterr().err
    assert peers.main(["--list", "--only", "steps"]) == 0
    assert "cnn-64x32x32x3" in capsys.readouterr().out


def test_first_run(load, capsys, monkeypatch, device):
    module = load("first_run")
    module.LIMITS_S = {"cold": 1000.0, "warm": 1000.0}
    arguments = ["--devices", device, "--step", "two-layer", "--quick", "--rounds", "1"]
    assert module.main(arguments) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert out.count(device) == 2 and "cold" in out and "warm" in out
    if device != "cpu:0":
        slow = {"cold": dict.fromkeys(module.PHASES, 2000.0), "warm": dict.fromkeys(module.PHASES, 1.0)}
        monkeypatch.setattr(module, "measure", lambda *arguments: slow)
        assert module.main(arguments) == 1
        out, err = capsys.readouterr()
        assert "over" in out and "cold: the limit of 1000.0 s is exceeded" in err


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.opencl
def test_memory(load, capsys, monkeypatch):
    module = load("memory")
    monkeypatch.setattr(module, "cache_environment", lambda folder: {})  # what is built already, to be quick
    arguments = ["--only", "mlp", "--systems", "opencl:0,numpy", "--quick"]
    assert module.main(arguments) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "mlp-8x12-9-7-10" in out and "OpenCL's plan" in out
    assert module.main(["--systems", "theano"]) == 2


def test_planned_memory_is_counted(load):
    """Variables: three copies of 12 x 9 and so on, for Adam."""
    step = next(s for s in load("sidebyside.models").steps(True) if s.name.startswith("mlp"))
    run = load("sidebyside.graphs").graphrun_system("cpu:0").step(step)
    variables_bytes, run_bytes, launches = run.planned()
    weights = 12 * 9 + 9 + 9 * 7 + 7 + 7 * 10 + 10
    assert 3 * 4 * weights <= variables_bytes <= 3 * 4 * weights + 16
    assert run_bytes > 4 * 8 * 9 and launches == 0
    run.close()


def test_a_process_that_fails_is_told(load):
    process = load("sidebyside.process")
    with pytest.raises(process.ChildError, match="no device"):
        process.in_new_process("sidebyside.first_step", ["opencl:99", "mlp", "quick"], {})


def test_every_benchmark_is_in_the_readme():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for path in BENCHMARKS.glob("*.py"):
        assert f"`{path.name}`" in text
