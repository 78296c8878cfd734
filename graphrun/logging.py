"""Messages of programs: TensorFlow 1's ``tf.logging``, on the logger "graphrun" of the standard library.

>>> import graphrun as gr
>>> gr.logging.set_verbosity(gr.logging.INFO)
>>> gr.logging.get_verbosity() == gr.logging.INFO
True
>>> gr.logging.set_verbosity(gr.logging.WARN)
"""

from __future__ import annotations

import logging as _logging
import sys as _sys
from collections import Counter as _Counter
from typing import Any as _Any

DEBUG, INFO, WARN = _logging.DEBUG, _logging.INFO, _logging.WARNING
ERROR, FATAL = _logging.ERROR, _logging.CRITICAL


class _ToStandardError(_logging.Handler):
    """Writes to standard error, unless the program has set up handlers of its own, which get it all."""

    def emit(self, record: _logging.LogRecord) -> None:
        if not _logging.getLogger().handlers:
            _sys.stderr.write(self.format(record) + "\n")


_logger = _logging.getLogger("graphrun")
_handler = _ToStandardError()
_handler.setFormatter(_logging.Formatter(_logging.BASIC_FORMAT))
_counts: _Counter[tuple[str, int]] = _Counter()


def _log(level: int, msg: _Any, args: tuple[_Any, ...], kwargs: _Any) -> None:
    # Not before the first message: who never logs here keeps a logger without handlers.
    if _handler not in _logger.handlers:
        _logger.addHandler(_handler)
    _logger.log(level, msg, *args, stacklevel=3, **kwargs)


def set_verbosity(v: int | str) -> None:
    """Leave out messages below this level: ``DEBUG``, ``INFO``, ``WARN`` (at first), ``ERROR``, ``FATAL``."""
    _logger.setLevel(v)


def get_verbosity() -> int:
    """The level below which messages are left out."""
    return _logger.getEffectiveLevel()


def log(level: int, msg: _Any, *args: _Any, **kwargs: _Any) -> None:
    """Log ``msg % args`` at a level."""
    _log(level, msg, args, kwargs)


def debug(msg: _Any, *args: _Any, **kwargs: _Any) -> None:
    """Log ``msg % args`` at level DEBUG."""
    _log(DEBUG, msg, args, kwargs)


def info(msg: _Any, *args: _Any, **kwargs: _Any) -> None:
    """Log ``msg % args`` at level INFO."""
    _log(INFO, msg, args, kwargs)


def warn(msg: _Any, *args: _Any, **kwargs: _Any) -> None:
    """Log ``msg % args`` at level WARN."""
    _log(WARN, msg, args, kwargs)


def warning(msg: _Any, *args: _Any, **kwargs: _Any) -> None:
    """Log ``msg % args`` at level WARN."""
    _log(WARN, msg, args, kwargs)


def error(msg: _Any, *args: _Any, **kwargs: _Any) -> None:
    """Log ``msg % args`` at level ERROR."""
    _log(ERROR, msg, args, kwargs)


def fatal(msg: _Any, *args: _Any, **kwargs: _Any) -> None:
    """Log ``msg % args`` at level FATAL; the program goes on."""
    _log(FATAL, msg, args, kwargs)


def vlog(level: int, msg: _Any, *args: _Any, **kwargs: _Any) -> None:
    """The same as `log`."""
    _log(level, msg, args, kwargs)


def TaskLevelStatusMessage(msg: _Any) -> None:  # noqa: N802
    """Log at level ERROR."""
    _log(ERROR, msg, (), {})


def flush() -> None:
    """Wait until all messages are written."""
    for handler in (*_logger.handlers, *_logging.getLogger().handlers):
        handler.flush()


def _times() -> int:
    """How often the caller's caller has come to its line before."""
    frame = _sys._getframe(2)
    place = frame.f_code.co_filename, frame.f_lineno
    _counts[place] += 1
    return _counts[place] - 1


def log_every_n(level: int, msg: _Any, n: int, *args: _Any) -> None:
    """Log the first of every `n` times that the program comes to this line."""
    if _times() % n == 0:
        _log(level, msg, args, {})


def log_first_n(level: int, msg: _Any, n: int, *args: _Any) -> None:
    """Log the first `n` times that the program comes to this line."""
    if _times() < n:
        _log(level, msg, args, {})


def log_if(level: int, msg: _Any, condition: _Any, *args: _Any) -> None:
    """Log where `condition` holds."""
    if condition:
        _log(level, msg, args, {})
