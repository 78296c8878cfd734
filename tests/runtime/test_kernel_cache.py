"""What is kept of compiled kernels: damage, limits, switching off, several processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from graphrun.runtime.opencl import cachedir, kernelcache, loader

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
    import numpy as np, graphrun as gr
    x = gr.placeholder(gr.float32, (1000,))
    with gr.Session(device="opencl:0") as session:
        for op in (gr.tanh, gr.exp):
            print(session.run(gr.reduce_sum(op(x)), {x: np.zeros(1000, np.float32)}))
"""


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache with PoCL's folder in it."""
    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("POCL_CACHE_DIR", raising=False)
    monkeypatch.delenv("GRAPHRUN_CACHE", raising=False)
    return tmp_path


def compiled(cache, place="AB/CDEF", kernels=("k1", "k2")):
    """Files as PoCL writes them for a program."""
    folder = cache / "pocl" / place
    for kernel in kernels:
        path = folder / kernel / "1-1-1-goffs0-smallgrid" / f"{kernel}.so"
        path.parent.mkdir(parents=True)
        path.write_bytes(kernel.encode() * 100)
    (folder / "program.bc").write_bytes(b"BC" * 50)
    (folder / "last_accessed").write_bytes(b"")
    return folder


def test_a_program_is_known_once_it_has_run(cache):
    compiled(cache)
    assert not kernelcache.is_compiled("digest")
    kernelcache.note_compiled("digest", ["k1", "k2"])
    assert kernelcache.is_compiled("digest")
    assert not kernelcache.is_compiled("another")


def test_files_whose_checksums_are_lost_are_not_trusted(cache):
    folder = compiled(cache)
    kernelcache.note_compiled("digest", ["k1", "k2"])
    (note,) = (cache / "compiled").glob("*.json")
    note.write_bytes(os.urandom(80))
    assert not kernelcache.is_compiled("digest")
    assert not folder.exists() and not note.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is said there")
def test_an_empty_name_of_pocls_folder_is_none(cache, monkeypatch):
    """PoCL ends a process whose POCL_CACHE_DIR is empty."""
    monkeypatch.setenv("PYOPENCL_NO_CACHE", "1")
    monkeypatch.setenv("POCL_CACHE_DIR", "")
    loader.prepare_environment()
    assert os.environ["POCL_CACHE_DIR"] == str(cache / "pocl")


@pytest.mark.parametrize("name", ["program.bc", "k2/1-1-1-goffs0-smallgrid/k2.so"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_what_is_damaged_is_deleted_before_the_driver_sees_it(cache, name, damage):
    folder = compiled(cache)
    kernelcache.note_compiled("digest", ["k1", "k2"])
    path = folder / name
    if damage == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + b"?")
    assert not kernelcache.is_compiled("digest")
    assert not folder.exists()
    assert not kernelcache.is_compiled("digest")


def test_other_programs_stay(cache):
    one, other = compiled(cache), compiled(cache, "AB/GHIJ", ("k3",))
    kernelcache.note_compiled("one", ["k1", "k2"])
    kernelcache.note_compiled("other", ["k3"])
    (one / "program.bc").unlink()
    assert not kernelcache.is_compiled("one")
    assert kernelcache.is_compiled("other") and other.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 3}', "\x00"])
def test_a_damaged_note_means_not_compiled(cache, text):
    compiled(cache)
    kernelcache.note_compiled("digest", ["k1", "k2"])
    (cache / "compiled" / "digest.json").write_text(text)
    assert not kernelcache.is_compiled("digest")


@pytest.mark.parametrize("place", ["..", "../..", "", ".", "AB/../..", "/"])
def test_a_damaged_note_deletes_nothing_else(cache, tmp_path, place):
    (tmp_path / "pocl" / "AB").mkdir(parents=True)
    cachedir.write_json("compiled/digest.json", {"folder": place, "files": {"x": "0"}})
    assert not kernelcache.is_compiled("digest")
    assert (tmp_path / "pocl" / "AB").exists()


def test_kernels_that_lie_elsewhere_count_as_compiled(cache):
    """PoCL had read its settings before graphrun made them: nothing can be checked, nothing is repeated."""
    kernelcache.note_compiled("digest", ["k1"])
    assert kernelcache.is_compiled("digest")


def test_the_oldest_goes_first(cache):
    old, new = compiled(cache), compiled(cache, "AB/GHIJ", ("k3", "k4"))
    for path in old, old / "last_accessed":
        os.utime(path, (1e9, 1e9))
    for path in new, new / "last_accessed":
        os.utime(path, (1.1e9, 1.1e9))
    total = sum(e.size_bytes for e in kernelcache.entries())
    assert kernelcache.shrink(total) == 0
    assert kernelcache.shrink(total - 1) == 500
    assert not old.exists() and new.exists()


def test_what_is_in_use_is_spared(cache):
    folder = compiled(cache)
    os.utime(folder, (1e9, 1e9))  # made long ago, and used just now
    assert kernelcache.shrink(0) == 0
    assert folder.exists()


def test_limit_from_the_environment(cache, monkeypatch):
    monkeypatch.delenv("GRAPHRUN_CACHE_MIB", raising=False)
    assert kernelcache.limit_bytes() == kernelcache.DEFAULT_LIMIT_MIB * 2**20
    for text, mib in (("1.5", 1.5), ("0", 0), ("", kernelcache.DEFAULT_LIMIT_MIB)):
        monkeypatch.setenv("GRAPHRUN_CACHE_MIB", text)
        assert kernelcache.limit_bytes() == mib * 2**20
    for text in ("-3", "much", "nan", "inf"):
        monkeypatch.setenv("GRAPHRUN_CACHE_MIB", text)
        with pytest.warns(RuntimeWarning, match=f"GRAPHRUN_CACHE_MIB is '{text}'; expected a number, 0 or"):
            assert kernelcache.limit_bytes() == kernelcache.DEFAULT_LIMIT_MIB * 2**20


def test_clear_leaves_what_is_not_graphruns(cache):
    compiled(cache)
    kernelcache.note_compiled("digest", ["k1", "k2"])
    cachedir.write_json("selftests.json", {})
    cachedir.write_bytes("programs/0123.bin", b"x")
    (cache / "thesis.tex").write_text("mine")
    (cache / "programs" / "hello.c").write_text("mine")
    count, size_bytes = kernelcache.clear()
    assert count == 4 and size_bytes > 500
    assert {p.name for p in cache.rglob("*") if p.is_file()} == {"thesis.tex", "hello.c"}
    assert kernelcache.entries() == []


def test_switched_off(cache, monkeypatch):
    cachedir.write_bytes("programs/a.bin", b"x")
    monkeypatch.setenv("GRAPHRUN_CACHE", "0")
    assert cachedir.read_bytes("programs/a.bin") is None
    assert cachedir.write_bytes("programs/b.bin", b"x") is None
    assert [p.name for p in (cache / "programs").iterdir()] == ["a.bin"]


def start(cache, **settings):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRAPHRUN_CACHE_DIR": str(cache), **settings}
    environment.pop("POCL_CACHE_DIR", None)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], env=environment, cwd=cache,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def result(process):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out.split()


@pytest.fixture
def pocl(tmp_path):
    from graphrun.runtime.opencl import discover

    first = [r for r in discover.reports(warn=False) if r.index == 0]
    if not first or first[0].platform_name != "Portable Computing Language":
        pytest.skip("the first OpenCL device of this machine is not PoCL's")


@pytest.mark.opencl
def test_processes_share_and_survive_damage(pocl, tmp_path):
    both = [start(tmp_path), start(tmp_path)]
    assert [result(p) for p in both] == [["0.0", "1000.0"]] * 2
    libraries = list((tmp_path / "pocl").rglob("*.so"))
    assert libraries and list((tmp_path / "compiled").glob("*.json"))
    stamps = {p: p.stat().st_mtime_ns for p in libraries}
    assert result(start(tmp_path)) == ["0.0", "1000.0"]
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "pocl").rglob("*.so")} == stamps, (
        "nothing is compiled"
    )
    for path in (tmp_path / "pocl").rglob("*.so"):
        path.write_bytes(path.read_bytes()[:100])
    for path in (tmp_path / "pocl").rglob("program.bc"):
        path.write_bytes(path.read_bytes()[:100])
    assert result(start(tmp_path)) == ["0.0", "1000.0"]


@pytest.mark.opencl
def test_nothing_is_written_when_switched_off(pocl, tmp_path):
    assert result(start(tmp_path, GRAPHRUN_CACHE="0")) == ["0.0", "1000.0"]
    assert not list(tmp_path.iterdir())
