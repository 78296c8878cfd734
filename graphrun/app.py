"""Running a program: ``gr.app.run(main)`` reads the flags and calls ``main(argv)``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from graphrun import flags as flags


def run(main: Callable[[list[str]], Any] | None = None, argv: Sequence[str] | None = None) -> NoReturn:
    """Read the command line, call ``main`` with what is left of it, and exit with what that returns.

    Parameters
    ----------
    main : function
        The program's own ``main`` by default.
    argv : list of str
        ``sys.argv`` by default.

    Notes
    -----
    Flags that nobody has defined are left in `argv`, as in TensorFlow.  ``--help`` prints the flags.  What is
    wrong with a flag goes to standard error, and the exit status is 1.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.app.run(main=lambda argv: print("called with", argv), argv=["prog", "file"])
    Traceback (most recent call last):
    SystemExit
    """
    given = list(sys.argv if argv is None else argv)
    words = given[1 : given.index("--")] if "--" in given else given[1:]
    if any(w.lstrip("-") in ("help", "helpfull", "helpshort") and w.startswith("-") for w in words):
        sys.stdout.write(flags.usage())
        sys.exit(1)
    try:
        rest = flags.FLAGS(given, known_only=True)
    except flags.Error as error:
        sys.stderr.write(f"FATAL Flags parsing error:\n  {error}\nPass --help to see help on flags.\n")
        sys.exit(1)
    function = main or sys.modules["__main__"].main
    sys.exit(function(rest))
