"""Which line of the user's program is running."""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_internal: dict[str, bool] = {}  # by file name: asked for at every operation, so remembered


def user_site(beyond: tuple[str, int] | None = None) -> tuple[str, int] | None:
    """Return file name and line of the nearest frame outside of graphrun.

    `beyond` is a line that says nothing new, as that of a function of the user which makes something for the
    second time: who calls it does.  It is returned where nobody does.
    """
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        internal = _internal.get(file)
        if internal is None:
            internal = _internal[file] = os.path.abspath(file).startswith(_PACKAGE)
        if not internal and (file, frame.f_lineno) != beyond:
            return file, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return beyond
