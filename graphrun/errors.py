"""Exceptions of graphrun, and the one function that lays out their messages.

Every class is a :class:`GraphrunError` and also the builtin that fits, so ``except ValueError``
works for people who have never read this file.  A message answers, in this order: what happened,
where (operation name and the user's file and line), what was got, what was expected, how to fix it.
"""

from __future__ import annotations

from collections.abc import Iterable


class GraphrunError(Exception):
    """Base of every error that graphrun raises on purpose."""


class ShapeError(GraphrunError, ValueError):
    """Shapes do not fit an operation, a feed or an assignment."""


class DTypeError(GraphrunError, TypeError):
    """An element type does not fit, or a Python value cannot be held by one."""


class GraphError(GraphrunError, ValueError):
    """A graph is put together wrongly: another graph's tensor, a finalized graph, a bad name."""


class NotFoundError(GraphrunError, KeyError):
    """A name was looked up that is not there."""

    def __str__(self) -> str:  # KeyError shows the repr of its argument, which hides line breaks
        return str(self.args[0]) if self.args else ""


class FeedError(GraphrunError, ValueError):
    """A feed_dict key or value is missing or does not fit."""


class FetchError(GraphrunError, TypeError, ValueError):
    """Something that cannot be fetched was passed to ``run``."""


class GradientError(GraphrunError, ValueError):
    """A gradient is asked for that does not exist."""


class UninitializedError(GraphrunError, RuntimeError):
    """A variable is read in a session in which it has no value yet."""


class DeviceError(GraphrunError, RuntimeError):
    """A device does not exist, cannot be used, or failed."""


class KernelBuildError(DeviceError):
    """An OpenCL program did not compile."""


class ExecutionError(GraphrunError, RuntimeError):
    """A step of a plan failed while it ran."""


class InvalidArgumentError(ExecutionError, ValueError):
    """A check in the graph does not hold, or a Python function in it has refused its arguments."""


class SessionClosedError(GraphrunError, RuntimeError):
    """A session is used after it was closed."""


class VerifyError(GraphrunError, AssertionError):
    """A compiler pass left a malformed program behind; always a fault of graphrun itself."""


class MissingExtraError(GraphrunError, ImportError):
    """An optional library is needed and is not installed."""


Site = tuple[str, int] | None


def format_site(site: Site) -> str:
    """Return ``created at file.py:41``, or an empty string where no line of the user is known."""
    return f"created at {site[0]}:{site[1]}" if site else ""


def message(
    what: str,
    *,
    where: str = "",
    site: Site = None,
    got: str | Iterable[str] = (),
    expected: str = "",
    fix: str = "",
) -> str:
    """Lay out an error message.

    Parameters
    ----------
    what : str
        What happened, in one sentence without a full stop.
    where : str
        The operation, as ``matmul 'dense_1/matmul'``; it stands before `what`.
    site : (str, int), optional
        The user's file and line.
    got : str or iterable of str
        The values that were met, one line each.
    expected, fix : str
        What would have been right, and what to do.

    Examples
    --------
    >>> print(message("inner dimensions differ, 3 != 4", where="matmul 'y'", site=("a.py", 7),
    ...               got="a: (2, 3)   b: (4, 5)", expected="a.shape[-1] == b.shape[-2]"))
    matmul 'y': inner dimensions differ, 3 != 4
      a: (2, 3)   b: (4, 5)
      created at a.py:7
      expected a.shape[-1] == b.shape[-2]
    """
    lines = [f"{where}: {what}" if where else what]
    lines += [got] if isinstance(got, str) and got else list(got)
    if site:
        lines.append(format_site(site))
    if expected:
        lines.append(f"expected {expected}")
    if fix:
        lines.append(fix)
    return "\n  ".join(lines)


def missing_extra(library: str, extra: str, purpose: str) -> MissingExtraError:
    """Return the one clear line for an optional library that is not installed."""
    return MissingExtraError(
        f"{purpose} needs {library}, which is not installed: pip install {library}"
        f" (it is in graphrun's extra '{extra}')"
    )


class RuleError(Exception):
    """Raised by a shape and dtype rule, which knows what is wrong but not whose operation it is.

    Whoever applies the rule turns it into `kind` with the operation's name, line and inputs.
    """

    def __init__(
        self, what: str, *, expected: str = "", fix: str = "", kind: type[GraphrunError] = ShapeError
    ) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.fix = fix
        self.kind = kind
