"""Exceptions of graphrun, and the one function that lays out their messages.

Every class is a :class:`GraphrunError` and also the builtin that fits, so ``except ValueError``
works for people who have never read this file.  A message answers, in this order: what happened,
where (operation name and the user's file and line), what was got, what was expected, how to fix it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class GraphrunError(Exception):
    """Base of every error that graphrun raises on purpose."""


class ShapeError(GraphrunError, ValueError):
    """Shapes do not fit an operation, a feed or an assignment."""


class DTypeError(GraphrunError, TypeError):
    """An element type does not fit, or a Python value cannot be held by one."""


class GraphError(GraphrunError, ValueError):
    """A graph is put together wrongly: another graph's tensor, a finalized graph, a bad name."""


class FinalizedError(GraphError, RuntimeError):
    """A finalized graph was to grow; programs expect a RuntimeError, as TensorFlow raises."""


# TensorFlow's codes of what can go wrong in a run.
OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16


class OpError(GraphrunError, RuntimeError):
    """Base of what can go wrong in a run.

    Parameters
    ----------
    *args
        The message; or, as TensorFlow has it, a node, an operation and the message.

    Examples
    --------
    >>> import graphrun as gr
    >>> fault = gr.errors.OutOfRangeError(None, None, "the data is at its end")
    >>> fault.message, fault.error_code == gr.errors.OUT_OF_RANGE
    ('the data is at its end', True)
    """

    _code = UNKNOWN

    def __init__(self, *args: object) -> None:
        self._node_def = self._op = None
        if len(args) >= 3:
            self._node_def, self._op, *rest = args
            args = (rest[0],)
        super().__init__(*args)

    @property
    def message(self) -> str:
        """What happened."""
        return str(self.args[0]) if self.args else ""

    @property
    def op(self) -> object:
        """The operation that failed, where it was given."""
        return self._op

    @property
    def node_def(self) -> object:
        """As `op`; what TensorFlow keeps of a graph's node."""
        return self._node_def

    @property
    def error_code(self) -> int:
        """One of the numbers `CANCELLED`, `INVALID_ARGUMENT`, ..."""
        return self._code

    def __str__(self) -> str:
        return self.message


class NotFoundError(OpError, KeyError):
    """A name was looked up that is not there."""

    _code = NOT_FOUND


class FileMissingError(NotFoundError, FileNotFoundError):
    """A file or folder is not there."""


class FetchError(GraphrunError, TypeError, ValueError):
    """Something that cannot be fetched was passed to ``run``."""


class GradientError(GraphrunError, ValueError):
    """A gradient is asked for that does not exist."""


class FailedPreconditionError(OpError):
    """Something is not in the state that is needed."""

    _code = FAILED_PRECONDITION


class UninitializedError(FailedPreconditionError):
    """A variable is read in a session in which it has no value yet."""


class DeviceError(GraphrunError, RuntimeError):
    """A device does not exist, cannot be used, or failed."""


class KernelBuildError(DeviceError):
    """An OpenCL program did not compile."""


class ExecutionError(OpError):
    """A step of a plan failed while it ran."""


class InvalidArgumentError(ExecutionError, ValueError):
    """A check in the graph does not hold, or a Python function in it has refused its arguments."""

    _code = INVALID_ARGUMENT


class FeedError(InvalidArgumentError):
    """A feed_dict key or value is missing or does not fit."""


class RunShapeError(ShapeError, InvalidArgumentError):
    """Shapes that a run alone knows do not fit: what TensorFlow tells as an `InvalidArgumentError`."""

    @classmethod
    def of(cls, fault: ShapeError) -> ShapeError:
        """Return the error of a shape rule as one of the run in which the rule was applied."""
        return fault if isinstance(fault, cls) else cls(*fault.args).with_traceback(fault.__traceback__)


class OutOfRangeError(OpError):
    """Input is at its end; a `MonitoredSession` takes it for the end of training."""

    _code = OUT_OF_RANGE


class CancelledError(OpError):
    """What was waited for has been stopped."""

    _code = CANCELLED


class UnknownError(OpError):
    """Something failed, and no other class says what."""

    _code = UNKNOWN


class DeadlineExceededError(OpError):
    """Something took longer than it may."""

    _code = DEADLINE_EXCEEDED


class AlreadyExistsError(OpError):
    """What is to be made is there already."""

    _code = ALREADY_EXISTS


class PermissionDeniedError(OpError):
    """It is not allowed."""

    _code = PERMISSION_DENIED


class UnauthenticatedError(OpError):
    """Who asks is not known."""

    _code = UNAUTHENTICATED


class ResourceExhaustedError(OpError, MemoryError):
    """There is not enough memory, or of something else."""

    _code = RESOURCE_EXHAUSTED


class MemoryLimitError(ResourceExhaustedError):
    """A run would need more memory than the session's ``memory_limit``; nothing has run."""


class AbortedError(OpError):
    """It was given up because of what happened elsewhere."""

    _code = ABORTED


class UnimplementedError(OpError, NotImplementedError):
    """It is not there."""

    _code = UNIMPLEMENTED


class InternalError(OpError):
    """What must hold within the system does not."""

    _code = INTERNAL


class UnavailableError(OpError):
    """It is not there now, and may be there later."""

    _code = UNAVAILABLE


class DataLossError(OpError):
    """Data is lost or damaged."""

    _code = DATA_LOSS


class SessionClosedError(GraphrunError, RuntimeError):
    """A session is used after it was closed."""


class VerifyError(GraphrunError, AssertionError):
    """A compiler pass left a malformed program behind; always a fault of graphrun itself."""


class MissingExtraError(GraphrunError, ImportError):
    """An optional library is needed and is not installed."""


_BY_CODE: dict[int, type[OpError]] = {
    kind._code: kind
    for kind in (
        CancelledError, UnknownError, InvalidArgumentError, DeadlineExceededError, NotFoundError,
        AlreadyExistsError, PermissionDeniedError, UnauthenticatedError, ResourceExhaustedError,
        FailedPreconditionError, AbortedError, OutOfRangeError, UnimplementedError, InternalError,
        UnavailableError, DataLossError,
    )
}  # fmt: skip


# Those that say no more than their code: what raises one may be told as one.
CODED = frozenset(_BY_CODE.values())


def exception_type_from_error_code(error_code: int) -> type[OpError]:
    """The class of a code; KeyError for a number that is none."""
    return _BY_CODE[error_code]


def error_code_from_exception_type(cls: type[OpError]) -> int:
    """The code of a class."""
    return cls._code


Site = tuple[str, int] | None


def format_site(site: Site) -> str:
    """Return ``created at file.py:41``, or an empty string where no line of the user is known."""
    return f"created at {site[0]}:{site[1]}" if site else ""


def place(site: Site) -> str:
    """Return ``file.py:41``; for a place in the middle of a sentence."""
    return f"{site[0]}:{site[1]}" if site else "a line that is not known"


class NotPickled:
    """Base of what belongs to this process and is neither pickled nor copied."""

    __slots__ = ()

    def __copy__(self) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            message(
                f"a {type(self).__name__} cannot be pickled: it belongs to a graph of this process",
                fix="keep the values that session.run gives, with np.savez; build the graph again by the code"
                " that made it, and put them back by v.load(value, session)",
            )
        )


def counted(count: int, what: str) -> str:
    """Return ``1 gradient`` or ``2 gradients``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


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
