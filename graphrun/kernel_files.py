"""Where the OpenCL C sources lie, and their text.

In a checkout they are the folder ``kernels/`` beside ``graphrun/``; an installed package has them in
``graphrun/kernels/``.  Both are found from this file's own place and not by an import, so that one
checkout never reads the kernels of another one that happens to be installed.
"""

from __future__ import annotations

import functools
from pathlib import Path

from graphrun.errors import NotFoundError, message


@functools.cache
def kernel_folder() -> Path:
    """Return the folder with the ``.cl`` files.

    Raises
    ------
    NotFoundError
        If the installation has none.
    """
    here = Path(__file__).resolve().parent
    candidates = (here / "kernels", here.parent / "kernels")
    for folder in candidates:
        if any(folder.glob("*.cl")):
            return folder
    raise NotFoundError(
        message(
            "the OpenCL C sources of graphrun are missing",
            got=[f"no .cl file in {folder}" for folder in candidates],
            fix="install graphrun again, or run it from a complete checkout",
        )
    )


def kernel_names() -> list[str]:
    """Return the names of all kernel files, sorted, as ``["conv.cl", "gemm.cl", ...]``."""
    return sorted(path.name for path in kernel_folder().glob("*.cl"))


@functools.cache
def kernel_source(name: str) -> str:
    """Return the text of a kernel file, read once per process.

    Parameters
    ----------
    name : str
        Its file name, as ``"gemm.cl"``.

    Raises
    ------
    NotFoundError
        If there is no such file.
    """
    if name not in kernel_names():
        raise NotFoundError(
            message(f"no kernel file {name!r}", expected=f"one of {', '.join(kernel_names())}")
        )
    return (kernel_folder() / name).read_text(encoding="utf-8")
