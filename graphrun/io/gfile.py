"""Files and folders of this machine by the names of TensorFlow's ``tf.io.gfile``.

>>> import tempfile, graphrun as gr
>>> with tempfile.TemporaryDirectory() as folder:
...     with gr.io.gfile.GFile(f"{folder}/a.txt", "w") as f:
...         f.write("one\\ntwo\\n")
...     print(gr.io.gfile.listdir(folder), gr.io.gfile.GFile(f"{folder}/a.txt").readlines())
['a.txt'] ['one\\n', 'two\\n']
"""

from __future__ import annotations

import glob as _glob
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any, NamedTuple

from graphrun.errors import AlreadyExistsError, FileMissingError, GraphError, message

__all__ = [
    "GFile", "copy", "exists", "get_registered_schemes", "glob", "isdir", "join", "listdir", "makedirs",
    "mkdir", "remove", "rename", "rmtree", "stat", "walk",
]  # fmt: skip

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def _local(path: Any) -> str:
    """A path of this machine as text."""
    text = os.fsdecode(path)
    found = _SCHEME.match(text)
    if found and found[1] == "file":
        return text[found.end() :]
    if found:
        raise GraphError(
            message(f"'{text}' is not on this machine", where="gfile", expected="a path of a local file",
                    fix="copy the file here first")
        )  # fmt: skip
    return text


@contextmanager
def _told(path: Any, what: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        text = message(f"'{path}' is not there", where=what, got=error.strerror or ())
        raise FileMissingError(text) from None
    except FileExistsError as error:
        text = message(f"'{path}' is there already", where=what, got=error.strerror or ())
        raise AlreadyExistsError(text) from None


class GFile:
    """A file, opened when it is first read or written.

    Parameters
    ----------
    name : str or path
    mode : str
        "r", "w", "a", "r+", "w+" or "a+", for text in UTF-8; with "b" for bytes.

    Raises
    ------
    FileMissingError
        When it is first read, if it is not there; it is a `FileNotFoundError` too.
    """

    def __init__(self, name: Any, mode: str = "r") -> None:
        if mode.replace("b", "") not in ("r", "w", "a", "r+", "w+", "a+"):
            raise GraphError(
                message(f"mode {mode!r}", where="GFile", expected="r, w, a, r+, w+ or a+; with b for bytes")
            )
        self._name, self._mode = name, mode
        self._file: IO[Any] | None = None

    @property
    def name(self) -> Any:
        return self._name

    @property
    def mode(self) -> str:
        return self._mode

    def _open(self) -> IO[Any]:
        if self._file is None:
            encoding = None if "b" in self._mode else "utf-8"
            newline = None if "b" in self._mode else ""  # line ends are what the file has
            with _told(self._name, "GFile"):
                self._file = open(_local(self._name), self._mode, encoding=encoding, newline=newline)
        return self._file

    def read(self, n: int = -1) -> Any:
        """The rest of the file, or `n` characters or bytes of it."""
        return self._open().read(n)

    def readline(self) -> Any:
        """The next line with its end; empty at the end of the file."""
        return self._open().readline()

    def readlines(self) -> list[Any]:
        """All further lines with their ends."""
        return self._open().readlines()

    def write(self, file_content: Any) -> None:
        """Append to what was written."""
        self._open().write(file_content)

    def seek(self, offset: int | None = None, whence: int = 0, position: int | None = None) -> None:
        """Go on at another place; `position` is the older name of `offset`."""
        to = position if offset is None else offset
        if to is None:
            raise TypeError("seek(): offset argument required")
        self._open().seek(to, whence)

    def tell(self) -> int:
        """Where the next read or write is."""
        return self._open().tell()

    def size(self) -> int:
        """How many bytes the file has."""
        self.flush()
        return stat(self._name).length

    def seekable(self) -> bool:
        return self._open().seekable()

    def flush(self) -> None:
        """Hand over to the system what was written."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file; reading or writing opens it anew.  One opened for writing is made, if empty."""
        if self._file is None and self._mode[0] in "wa":
            self._open()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __iter__(self) -> GFile:
        return self

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    next = __next__

    def __enter__(self) -> GFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FileStatistics(NamedTuple):
    """What `stat` returns."""

    length: int
    mtime_nsec: int
    is_directory: bool


def exists(path: Any) -> bool:
    """Whether there is such a file or folder."""
    return os.path.exists(_local(path))


def isdir(path: Any) -> bool:
    """Whether it is a folder."""
    return os.path.isdir(_local(path))


def makedirs(path: Any) -> None:
    """Make a folder and those above it; it may be there already."""
    with _told(path, "makedirs"):
        os.makedirs(_local(path), exist_ok=True)


def mkdir(path: Any) -> None:
    """Make a folder in one that is there."""
    with _told(path, "mkdir"):
        os.mkdir(_local(path))


def remove(path: Any) -> None:
    """Delete a file."""
    with _told(path, "remove"):
        os.remove(_local(path))


def rmtree(path: Any) -> None:
    """Delete a folder with all that is in it."""
    with _told(path, "rmtree"):
        target = _local(path)
        if os.path.isdir(target) and not os.path.islink(target):
            shutil.rmtree(target)
        else:
            os.remove(target)


def listdir(path: Any) -> list[str]:
    """The names in a folder, sorted."""
    with _told(path, "listdir"):
        return sorted(os.listdir(_local(path)))


def glob(pattern: Any) -> list[str]:
    """The paths that fit a pattern with ``*``, ``?`` and ``[...]``, or one of a list of them; sorted."""
    patterns = [pattern] if isinstance(pattern, str | bytes | os.PathLike) else list(pattern)
    return [name for p in patterns for name in sorted(_glob.glob(_local(p)))]


def _free(path: str, overwrite: bool, what: str) -> None:
    if not overwrite and os.path.exists(path):
        raise AlreadyExistsError(
            message(f"'{path}' is there already", where=what, fix="overwrite=True puts it in its place")
        )


def copy(src: Any, dst: Any, overwrite: bool = False) -> None:
    """Copy a file."""
    _free(_local(dst), overwrite, "copy")
    with _told(src, "copy"):
        shutil.copyfile(_local(src), _local(dst))


def rename(src: Any, dst: Any, overwrite: bool = False) -> None:
    """Rename a file or folder."""
    _free(_local(dst), overwrite, "rename")
    with _told(src, "rename"):
        os.replace(_local(src), _local(dst))


def stat(path: Any) -> FileStatistics:
    """The length in bytes, the time of the last change in nanoseconds, and whether it is a folder."""
    with _told(path, "stat"):
        found = os.stat(_local(path))
    return FileStatistics(found.st_size, found.st_mtime_ns, isdir(path))


def walk(
    top: Any, topdown: bool = True, onerror: Callable[[OSError], Any] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """The folders below `top` and itself: each as its path, the folders in it and the files in it."""
    for path, folders, files in os.walk(_local(top), topdown=topdown, onerror=onerror):
        folders.sort()
        yield path, folders, sorted(files)


def join(path: Any, *paths: Any) -> str:
    """One path of several parts."""
    return os.path.join(os.fsdecode(path), *map(os.fsdecode, paths))


def get_registered_schemes() -> list[str]:
    """What paths may begin with, before ``://``; without it they are of this machine as well."""
    return ["", "file"]
