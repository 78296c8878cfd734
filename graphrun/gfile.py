"""Files and folders of this machine by TensorFlow 1's names, ``tf.gfile``; see `graphrun.io.gfile`.

>>> import graphrun as gr
>>> gr.gfile.Exists("/no/such/file"), gr.gfile.IsDirectory("/")
(False, True)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphrun.io import gfile as _new
from graphrun.io.gfile import GFile

__all__ = [
    "Copy", "DeleteRecursively", "Exists", "FastGFile", "GFile", "Glob", "IsDirectory", "ListDirectory",
    "MakeDirs", "MkDir", "Open", "Remove", "Rename", "Stat", "Walk",
]  # fmt: skip

FastGFile = Open = GFile


def Copy(oldpath: Any, newpath: Any, overwrite: bool = False) -> None:
    """Copy a file."""
    _new.copy(oldpath, newpath, overwrite)


def DeleteRecursively(dirname: Any) -> None:
    """Delete a folder with all that is in it."""
    _new.rmtree(dirname)


def Exists(filename: Any) -> bool:
    """Whether there is such a file or folder."""
    return _new.exists(filename)


def Glob(filename: Any) -> list[str]:
    """The paths that fit a pattern, or one of a list of patterns; sorted."""
    return _new.glob(filename)


def IsDirectory(dirname: Any) -> bool:
    """Whether it is a folder."""
    return _new.isdir(dirname)


def ListDirectory(dirname: Any) -> list[str]:
    """The names in a folder, sorted."""
    return _new.listdir(dirname)


def MakeDirs(dirname: Any) -> None:
    """Make a folder and those above it; it may be there already."""
    _new.makedirs(dirname)


def MkDir(dirname: Any) -> None:
    """Make a folder in one that is there."""
    _new.mkdir(dirname)


def Remove(filename: Any) -> None:
    """Delete a file."""
    _new.remove(filename)


def Rename(oldname: Any, newname: Any, overwrite: bool = False) -> None:
    """Rename a file or folder."""
    _new.rename(oldname, newname, overwrite)


def Stat(filename: Any) -> _new.FileStatistics:
    """The length in bytes, the time of the last change in nanoseconds, and whether it is a folder."""
    return _new.stat(filename)


def Walk(top: Any, in_order: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """The folders below `top` and itself: each as its path, the folders in it and the files in it."""
    return _new.walk(top, in_order)
