"""Files by TensorFlow's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import graphrun as gr

G, N = gr.gfile, gr.io.gfile


def test_write_and_read(tmp_path: Path) -> None:
    path = str(tmp_path / "a.txt")
    with G.GFile(path, "w") as f:
        f.write("one\ntwo\r\n")
        f.write("drei: ä")
        assert f.size() == 17
    with G.Open(path, mode="a") as f:
        f.write("!")
    f = G.FastGFile(path)
    assert f.readline() == "one\n" and f.tell() == 4
    assert list(f) == ["two\r\n", "drei: ä!"]
    f.seek(0)
    assert f.read(2) == "on" and f.read() == "e\ntwo\r\ndrei: ä!"
    f.seek(position=4)
    assert f.readlines() == ["two\r\n", "drei: ä!"]
    f.close()
    assert f.read(3) == "one" and f.seekable() and (f.name, f.mode) == (path, "r")
    f.close()
    with G.GFile(path, "rb") as b:
        assert b.read() == "one\ntwo\r\ndrei: ä!".encode()
    G.GFile(str(tmp_path / "empty"), "w").close()
    assert N.stat(tmp_path / "empty").length == 0


def test_folders(tmp_path: Path) -> None:
    top = str(tmp_path / "top")
    G.MakeDirs(N.join(top, "b", "c"))
    G.MakeDirs(N.join(top, "b"))
    G.MkDir(N.join(top, "a"))
    (tmp_path / "top" / "x.csv").write_text("1")
    (tmp_path / "top" / "b" / "y.csv").write_text("22")
    assert G.ListDirectory(top) == ["a", "b", "x.csv"] == N.listdir(top)
    assert G.IsDirectory(top) and not G.IsDirectory(top + "/x.csv") and G.Exists(top + "/x.csv")
    assert G.Glob(top + "/*.csv") == [top + "/x.csv"]
    assert N.glob([top + "/b/*", top + "/[ab]"]) == [top + "/b/c", top + "/b/y.csv", top + "/a", top + "/b"]
    assert list(G.Walk(top)) == [
        (top, ["a", "b"], ["x.csv"]), (top + "/a", [], []), (top + "/b", ["c"], ["y.csv"]),
        (top + "/b/c", [], []),
    ]  # fmt: skip
    assert [p for p, _, _ in G.Walk(top, in_order=False)][-1] == top
    assert [p for p, _, _ in N.walk(top, topdown=True)][0] == top
    assert (G.Stat(top).is_directory, G.Stat(top + "/b/y.csv").length) == (True, 2)
    G.DeleteRecursively(top)
    assert not N.exists(top) and not N.isdir(top)


def test_copy_and_rename(tmp_path: Path) -> None:
    a, b, c = (str(tmp_path / n) for n in "abc")
    Path(a).write_text("a")
    G.Copy(a, b)
    G.Rename(b, c)
    assert not G.Exists(b) and Path(c).read_text() == "a"
    Path(a).write_text("new")
    for call in (G.Copy, G.Rename, N.copy, N.rename):
        with pytest.raises(
            gr.errors.AlreadyExistsError, match=r"'.*/c' is there already(.|\n)*overwrite=True"
        ):
            call(a, c)
    G.Copy(a, c, overwrite=True)
    assert Path(c).read_text() == "new"
    N.rename(a, c, True)
    N.remove(c)
    assert N.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "call",
    [G.Remove, G.ListDirectory, G.Stat, G.DeleteRecursively, lambda p: G.GFile(p).read(),
     lambda p: G.MkDir(p + "/b"), lambda p: G.Copy(p, p + "2"), lambda p: G.GFile(p).size()],
)  # fmt: skip
def test_missing_files(tmp_path: Path, call: Any) -> None:
    with pytest.raises(gr.errors.NotFoundError, match="is not there") as info:
        call(str(tmp_path / "none"))
    assert isinstance(info.value, FileNotFoundError)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(gr.errors.GraphError, match="'gs://bucket/x' is not on this machine"):
        G.Exists("gs://bucket/x")
    with pytest.raises(gr.errors.GraphError, match="mode 'x'"):
        G.GFile("a", "x")
    with pytest.raises(gr.errors.AlreadyExistsError):
        G.MkDir(str(tmp_path))
    assert G.Exists(f"file://{tmp_path}") and N.get_registered_schemes() == ["", "file"]
