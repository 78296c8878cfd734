"""Environment variables: what they hold, or a warning where that means nothing."""

from __future__ import annotations

import math
import os
import warnings

_ON = ("1", "yes", "on", "true")
_OFF = ("0", "no", "off", "false")


def flag(name: str) -> bool:
    """Whether something that is on by default is on; ``NAME=0`` switches it off."""
    text = os.environ.get(name, "").strip()
    if text and text.lower() not in (*_ON, *_OFF):
        _warn(name, text, "0 or 1", "1")
    return text.lower() not in _OFF


def number(name: str, default: float) -> float:
    """A number of 0 or more, or `default` where the variable is not set."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= 0:
        return value
    _warn(name, text, "a number, 0 or more", f"{default:g}")
    return default


def _warn(name: str, text: str, expected: str, used: str) -> None:
    warnings.warn(
        f"the environment variable {name} is {text!r}; expected {expected}; {used} is used",
        RuntimeWarning,
        stacklevel=3,
    )
