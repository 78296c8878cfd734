"""The command `graphrun doctor`; what its page looks like is tested with the runtime's doctor."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from graphrun import cli
from graphrun.cli import doctor as module
from graphrun.errors import DeviceError


@dataclass(frozen=True)
class Report:
    name: str


@dataclass(frozen=True)
class Diagnosis:
    working: tuple[Report, ...]
    exit_code: int
    selftests: dict[str, object] = field(default_factory=dict)


@pytest.fixture
def asked(monkeypatch):
    """What the command asked for; its page is the verdicts."""
    log = []
    found = Diagnosis((Report("opencl:0"), Report("opencl:1")), 0)

    def device(name):
        if name == "opencl:1":
            raise DeviceError("opencl:1: gone\n  device: it was there")
        return name

    def results(opened, refresh):
        log.append((opened, refresh))
        return {"gemm": (True, "")}

    monkeypatch.setattr(module, "diagnose", lambda refresh: log.append(refresh) or found)
    monkeypatch.setattr(module, "get_device", device)
    monkeypatch.setattr(module, "results", results)
    monkeypatch.setattr(module, "format_diagnosis", lambda diagnosis: f"{diagnosis.selftests}\n")
    return log


def test_kernels_of_each_device_are_tested(asked, capsys):
    assert cli.main(["doctor"]) == 0
    assert asked == [False, ("opencl:0", False)]
    assert capsys.readouterr().out == (
        "{'opencl:0': {'gemm': (True, '')},"
        " 'opencl:1': {'all': (False, 'opencl:1: gone device: it was there')}}\n"
    )


def test_refresh(asked):
    assert cli.main(["doctor", "--refresh"]) == 0
    assert asked == [True, ("opencl:0", True)]


def test_nothing_that_works(monkeypatch, asked, capsys):
    monkeypatch.setattr(module, "diagnose", lambda refresh: Diagnosis((), 1))
    assert cli.main(["doctor"]) == 1
    assert asked == []
    assert capsys.readouterr().out == "{}\n"
