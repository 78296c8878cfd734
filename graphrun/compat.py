"""Texts and bytes, and what counts as a number: TensorFlow's ``tf.compat``.

>>> import graphrun as gr
>>> gr.compat.as_bytes("é"), gr.compat.as_str(b"abc"), gr.compat.as_str_any(3)
(b'\\xc3\\xa9', 'abc', '3')
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from graphrun.errors import DTypeError, message

bytes_or_text_types = (bytes, str)
integral_types = (numbers.Integral, np.integer)
real_types = (numbers.Real, np.integer, np.floating)
complex_types = (numbers.Complex, np.number)


def as_bytes(bytes_or_text: Any, encoding: str = "utf-8") -> bytes:
    """Return bytes; a str is encoded.

    Raises
    ------
    TypeError
        It is neither a str nor bytes.
    """
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    if isinstance(bytes_or_text, bytes | bytearray):
        return bytes(bytes_or_text)
    raise _no_text(bytes_or_text, "as_bytes")


def as_text(bytes_or_text: Any, encoding: str = "utf-8") -> str:
    """Return a str; bytes are decoded.

    Raises
    ------
    TypeError
        It is neither a str nor bytes.
    """
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text.decode(encoding)
    raise _no_text(bytes_or_text, "as_text")


as_str = as_text


def as_str_any(value: Any, encoding: str = "utf-8") -> str:
    """Return a str: bytes are decoded, and all else is what ``str`` makes of it."""
    return as_text(value, encoding) if isinstance(value, bytes) else str(value)


def _no_text(value: Any, where: str) -> DTypeError:
    return DTypeError(
        message(f"{value!r} is no text", where=f"compat.{where}", got=type(value).__name__,
                expected="str or bytes", fix="gr.compat.as_str_any takes anything")
    )  # fmt: skip
