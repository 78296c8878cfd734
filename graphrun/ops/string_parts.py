"""Parts of strings, patterns, letter case, and encodings.  All run on the host."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_operands
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.families import require_same_dtype
from graphrun.ops.text import (
    STRING,
    Array,
    as_bytes,
    as_text,
    each,
    elementwise,
    objects,
    require_string,
    run_fault,
)
from graphrun.shapes import broadcast

# -- parts and cases ----------------------------------------------------------------------------------


def _substr_rule(x: Spec, pos: Spec, length: Spec) -> tuple[Spec]:
    require_string(x)
    require_same_dtype(pos, length)
    if not pos.dtype.is_integer:
        raise RuleError(f"pos has dtype {pos.dtype}", expected="int32 or int64", kind=DTypeError)
    return (Spec(broadcast(x.shape, broadcast(pos.shape, length.shape)), STRING),)


def _substring(item: bytes, pos: int, length: int) -> bytes:
    if not -len(item) <= pos <= len(item):
        raise run_fault(f"pos {pos} is out of range for a string of {len(item)} bytes")
    first = pos + len(item) if pos < 0 else pos
    return item[first : first + max(0, length)]


substr_op = register(
    OpDef(
        "substr", _substr_rule, lambda x, pos, length: each(_substring, x, pos, length), None, no_gradient,
        node_name="Substr", input_names=("input", "pos", "len"),
    )
)  # fmt: skip


def substr(input: Any, pos: Any, len: Any, name: str | None = None, unit: str = "BYTE") -> Tensor:
    """Return `len` bytes of each string from `pos` on; a negative `pos` counts from the end.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.substr(["hello", "world"], 1, 3)))
    [b'ell' b'orl']
    """
    if unit != "BYTE":
        raise DTypeError(message(f"unit is {unit!r}", where="substr", site=user_site(), expected="'BYTE'"))
    at, count = convert_operands((pos, len))
    return apply(substr_op, (as_text(input, "substr"), at, count), None, name)


length_op = elementwise("string_length", len, "StringLength", dtypes.int32)
lower_op = elementwise("string_lower", bytes.lower, "StringLower")
upper_op = elementwise("string_upper", bytes.upper, "StringUpper")
strip_op = elementwise("string_strip", bytes.strip, "StringStrip")
full_match_op = elementwise(
    "regex_full_match", lambda item, *, pattern: re.fullmatch(pattern, item) is not None,
    "StaticRegexFullMatch", dtypes.bool_,
)  # fmt: skip
replace_op = elementwise(
    "regex_replace",
    lambda item, *, pattern, rewrite, count: re.sub(pattern, rewrite, item, count=count),
    "StaticRegexReplace",
)


def length(input: Any, name: str | None = None, unit: str = "BYTE") -> Tensor:
    """The number of bytes of each string."""
    return apply(length_op, (as_text(input, "strings.length"),), None, name)


def lower(input: Any, encoding: str = "", name: str | None = None) -> Tensor:
    """Each string with its ASCII letters in lower case."""
    return apply(lower_op, (as_text(input, "strings.lower"),), None, name)


def upper(input: Any, encoding: str = "", name: str | None = None) -> Tensor:
    """Each string with its ASCII letters in upper case."""
    return apply(upper_op, (as_text(input, "strings.upper"),), None, name)


def string_strip(input: Any, name: str | None = None) -> Tensor:
    """Each string without whitespace at its ends."""
    return apply(strip_op, (as_text(input, "string_strip"),), None, name)


def _pattern(pattern: Any, where: str) -> bytes:
    try:
        re.compile(as_bytes(pattern))
    except re.error as error:
        raise ShapeError(
            message(f"the pattern {pattern!r} cannot be read: {error}", where=where, site=user_site())
        ) from None
    return as_bytes(pattern)


def regex_replace(
    input: Any, pattern: str, rewrite: str, replace_global: bool = True, name: str | None = None
) -> Tensor:
    r"""Each string with what `pattern` matches replaced by `rewrite`, in which ``\1`` is the first group."""
    rewritten = as_bytes(rewrite).replace(rb"\0", rb"\g<0>")
    attrs = {
        "pattern": _pattern(pattern, "regex_replace"), "rewrite": rewritten,
        "count": 0 if replace_global else 1,
    }  # fmt: skip
    return apply(replace_op, (as_text(input, "regex_replace"),), attrs, name)


def regex_full_match(input: Any, pattern: str, name: str | None = None) -> Tensor:
    """Whether `pattern` matches each whole string."""
    attrs = {"pattern": _pattern(pattern, "regex_full_match")}
    return apply(full_match_op, (as_text(input, "regex_full_match"),), attrs, name)


# -- encodings ----------------------------------------------------------------------------------------


def _encode(item: bytes, *, pad: bool) -> bytes:
    found = base64.urlsafe_b64encode(item)
    return found if pad else found.rstrip(b"=")


def _decode(item: bytes) -> bytes:
    bare = item.rstrip(b"=")
    try:
        if re.fullmatch(rb"[A-Za-z0-9_-]*", bare) is None:
            raise binascii.Error
        return base64.urlsafe_b64decode(bare + b"=" * (-len(bare) % 4))
    except binascii.Error:
        raise run_fault(f"{item!r} is not web-safe base64") from None


encode_base64_op = elementwise("encode_base64", _encode, "EncodeBase64")
decode_base64_op = elementwise("decode_base64", _decode, "DecodeBase64")


def encode_base64(input: Any, pad: bool = False, name: str | None = None) -> Tensor:
    """Each string in web-safe base64, with ``=`` at the end where `pad` is true.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.decode_base64(gr.encode_base64("graph"))))
    b'graph'
    """
    return apply(encode_base64_op, (as_text(input, "encode_base64"),), {"pad": bool(pad)}, name)


def decode_base64(input: Any, name: str | None = None) -> Tensor:
    """The strings that web-safe base64 stands for; ``=`` at the end may be left out."""
    return apply(decode_base64_op, (as_text(input, "decode_base64"),), None, name)


def _raw_rule(x: Spec, *, out_type: DType, little_endian: bool, length: int) -> tuple[Spec]:
    require_string(x, "input_bytes")
    if out_type.kind == "O":
        raise RuleError("out_type is string", expected="a dtype of numbers", kind=DTypeError)
    count = length // out_type.size_bytes if length >= 0 else None
    return (Spec(None if x.shape is None else (*x.shape, count), out_type),)


def _raw_numpy(x: Any, *, out_type: DType, little_endian: bool, length: int) -> Array:
    x = objects(x)
    items = [bytes(item) for item in x.reshape(-1)]
    if length >= 0:
        items = [item[:length].ljust(length, b"\0") for item in items]
    sizes = {len(item) for item in items}
    if len(sizes) > 1:
        raise run_fault(f"strings of {min(sizes)} and of {max(sizes)} bytes in one tensor")
    size = sizes.pop() if sizes else 0
    if size % out_type.size_bytes:
        raise run_fault(f"{size} bytes are no whole number of {out_type}, which has {out_type.size_bytes}")
    stored = out_type.numpy.newbyteorder("<" if little_endian else ">")
    values = np.frombuffer(b"".join(items), stored).astype(out_type.numpy)
    return values.reshape(*x.shape, size // out_type.size_bytes)


decode_raw_op = register(
    OpDef(
        "decode_raw", _raw_rule, _raw_numpy, None, no_gradient, node_name="DecodeRaw",
        input_names=("input_bytes",),
    )
)  # fmt: skip


def decode_raw(
    input_bytes: Any = None,
    out_type: Any = None,
    little_endian: bool = True,
    name: str | None = None,
    bytes: Any = None,
    fixed_length: int | None = None,
) -> Tensor:
    """Read the bytes of strings as numbers.

    Parameters
    ----------
    input_bytes : string tensor
        All strings are of one length.  `bytes` is another name.
    out_type : dtype
    little_endian : bool
        The order of a number's bytes.
    fixed_length : int, optional
        Cut or fill up each string with zeros to so many bytes, which makes the shape known.

    Returns
    -------
    Tensor
        With one more dimension, whose length is known in the run.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.decode_raw("AB", gr.uint8)))
    [65 66]
    """
    text = as_text(bytes if input_bytes is None else input_bytes, "decode_raw")
    attrs = {
        "out_type": as_dtype(out_type), "little_endian": little_endian,
        "length": -1 if fixed_length is None else int(fixed_length),
    }  # fmt: skip
    return apply(decode_raw_op, (text,), attrs, name)
