"""The benchmarks still run: their figures are not looked at, since a test machine does other things too."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("common", "session_overhead", "compile_time")

    def import_fresh(name):
        for each in names:
            monkeypatch.delitem(sys.modules, each, raising=False)
        return importlib.import_module(name)

    yield import_fresh
    for each in names:
        sys.modules.pop(each, None)


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


def test_every_benchmark_is_in_the_readme():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for path in BENCHMARKS.glob("*.py"):
        assert f"`{path.name}`" in text
