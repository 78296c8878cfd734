"""The progress bar, with and without tqdm, on a terminal and not."""

from __future__ import annotations

import io
import sys

import pytest

from graphrun.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def use(stream):
    with Progress(2, stream) as progress:
        progress.label("matmul 8")
        progress.advance()
        progress.write("a table")
        progress.advance()
    return stream.getvalue()


def test_nothing_where_nobody_looks(capsys):
    assert use(io.StringIO()) == ""
    assert capsys.readouterr().out == "a table\n"


def test_counter_without_tqdm(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    shown = use(Terminal())
    assert "[0/2] matmul 8" in shown and "[2/2] matmul 8" in shown
    assert "\n" not in shown
    assert shown.endswith("\r") and not shown.split("\r")[-2].strip(), "the line is wiped at the end"
    assert capsys.readouterr().out == "a table\n"


def test_tqdm(capsys):
    pytest.importorskip("tqdm")
    shown = use(Terminal())
    assert "matmul 8" in shown and "1/2" in shown
    assert capsys.readouterr().out == "a table\n"
