"""The line on the terminal while kernels are compiled for the first time."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from graphrun.runtime import first_run


class Terminal(io.StringIO):
    def __init__(self, is_terminal: bool = True) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self.written = threading.Event()

    def isatty(self) -> bool:
        return self._is_terminal

    def flush(self) -> None:
        self.written.set()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_run, "_SAID_AFTER_S", 0.01)
    monkeypatch.setattr(first_run, "_said", threading.Event())


def test_it_is_said_once(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for _ in range(2):
        with first_run.said_when_long():
            assert terminal.written.wait(10)
    lines = terminal.getvalue().splitlines()
    assert len(lines) == 1 and lines[0].startswith("graphrun: compiling kernels for the first time")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_is_not_said(monkeypatch: pytest.MonkeyPatch, quick: None, is_terminal: bool) -> None:
    terminal = Terminal(is_terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    if is_terminal:  # a compilation that does not take long
        monkeypatch.setattr(first_run, "_SAID_AFTER_S", 60.0)
    before = threading.active_count()
    with first_run.said_when_long():
        pass
    assert terminal.getvalue() == "" and threading.active_count() <= before + 1
