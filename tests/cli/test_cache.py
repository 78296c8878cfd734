"""The command `graphrun cache`."""

from __future__ import annotations

import pytest

from graphrun import cli
from graphrun.runtime.opencl import cachedir, kernelcache


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path))
    for name in ("POCL_CACHE_DIR", "GRAPHRUN_CACHE", "GRAPHRUN_CACHE_MIB"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "pocl" / "AB" / "CDEF" / "program.bc"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(3 * 2**20))
    cachedir.write_bytes("programs/0123.bin", bytes(1536))
    cachedir.write_json("selftests.json", {})
    cachedir.write_json("tuned.json", {})
    return tmp_path


def test_shows_what_there_is(cache, capsys):
    assert cli.main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"graphrun cache: {cache}"
    rows = {line[:33].strip(): line[33:].split(maxsplit=3) for line in lines[4:11]}
    assert rows["kernels compiled by PoCL"] == ["1", "3.0", "MiB", "just now"]
    assert rows["programs kept for other drivers"] == ["1", "1.5", "KiB", "just now"]
    assert rows["sources that did not compile"] == ["0", "0", "B", "-"]
    assert rows["choices that graphrun tune made"][0] == "1"
    assert rows["total"] == ["4", "3.0", "MiB"]
    assert "limit: 512.0 MiB; " in lines[-1]
    assert max(map(len, lines)) <= 110
    assert len(kernelcache.entries()) == 4, "nothing was deleted"


def test_clear(cache, capsys):
    assert cli.main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"graphrun cache: deleted 4 entries, 3.0 MiB, from {cache}\n"
    assert kernelcache.entries() == []
    assert cli.main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"graphrun cache: deleted 0 entries, 0 B, from {cache}\n"


def test_what_is_special_is_said(cache, capsys, monkeypatch):
    monkeypatch.setenv("GRAPHRUN_CACHE", "0")
    monkeypatch.setenv("POCL_CACHE_DIR", "/elsewhere")
    assert cli.main(["cache", "show"]) == 0
    out = capsys.readouterr().out
    assert "it is switched off: GRAPHRUN_CACHE is 0" in out
    assert "PoCL keeps its kernels in /elsewhere (POCL_CACHE_DIR)" in out


def test_what_cannot_be_deleted_is_an_error(cache, capsys, monkeypatch):
    monkeypatch.setattr(kernelcache, "_delete", lambda path: None)
    assert cli.main(["cache", "clear"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("graphrun cache: deleted 0 entries, 0 B")
    assert captured.err.startswith("graphrun cache: 4 could not be deleted, such as ")


def test_unknown_action(cache, capsys):
    assert cli.main(["cache", "burn"]) == 2
    assert "invalid choice: 'burn'" in capsys.readouterr().err
