"""Element types: one table that pairs NumPy, OpenCL C and ONNX.

``storage`` is how an element lies in a device buffer, ``compute`` is the OpenCL C type that kernels
calculate in: float16 is stored as ``half`` and computed as ``float`` (``vload_half`` needs no
extension), bool is stored as ``uchar`` holding 0 or 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun.errors import DTypeError, message


class DType:
    """An element type; compare it with another one, a NumPy dtype or a name.

    Examples
    --------
    >>> float32 == np.float32, float32 == "float32", as_dtype("float") is float32
    (True, True, True)
    """

    __slots__ = ("name", "numpy", "storage", "compute", "onnx_code", "size_bytes", "kind", "_hash")

    def __init__(self, name: str, numpy: Any, storage: str, compute: str, onnx_code: int) -> None:
        self.name = name
        self.numpy = np.dtype(numpy)
        self.storage = storage
        self.compute = compute
        self.onnx_code = onnx_code
        self.size_bytes = self.numpy.itemsize
        self.kind = self.numpy.kind
        self._hash = hash(("graphrun dtype", name))  # unlike that of any name or NumPy dtype

    @property
    def is_floating(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_unsigned(self) -> bool:
        return self.kind == "u"

    @property
    def is_bool(self) -> bool:
        return self.kind == "b"

    @property
    def is_string(self) -> bool:
        return self.kind == "O"

    @property
    def is_complex(self) -> bool:
        return self.kind == "c"

    @property
    def as_numpy_dtype(self) -> type:
        """The NumPy scalar class (TensorFlow's name)."""
        return self.numpy.type

    @property
    def base_dtype(self) -> DType:
        """Itself: graphrun has no reference types."""
        return self

    @property
    def min(self) -> Any:
        if self.is_bool:
            return False
        return np.finfo(self.numpy).min if self.is_floating else np.iinfo(self.numpy).min

    @property
    def max(self) -> Any:
        if self.is_bool:
            return True
        return np.finfo(self.numpy).max if self.is_floating else np.iinfo(self.numpy).max

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return self.size_bytes

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if other is None or isinstance(other, DType):
            return False
        try:
            return as_dtype(other) is self
        except TypeError:
            return False

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"graphrun.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


float16 = DType("float16", np.float16, "half", "float", 10)
float32 = DType("float32", np.float32, "float", "float", 1)
float64 = DType("float64", np.float64, "double", "double", 11)
int8 = DType("int8", np.int8, "char", "char", 3)
int16 = DType("int16", np.int16, "short", "short", 5)
int32 = DType("int32", np.int32, "int", "int", 6)
int64 = DType("int64", np.int64, "long", "long", 7)
uint8 = DType("uint8", np.uint8, "uchar", "uchar", 2)
uint32 = DType("uint32", np.uint32, "uint", "uint", 12)
uint64 = DType("uint64", np.uint64, "ulong", "ulong", 13)
bool_ = DType("bool", np.bool_, "uchar", "uchar", 9)
# On the host alone.
complex64 = DType("complex64", np.complex64, "", "", 14)
complex128 = DType("complex128", np.complex128, "", "", 15)
# On the host alone: bytes objects in arrays of objects.
string = DType("string", np.object_, "", "", 8)

ALL = (float16, float32, float64, int8, int16, int32, int64, uint8, uint32, uint64, bool_)
FLOATING = (float16, float32, float64)
INTEGER = (int8, int16, int32, int64, uint8, uint32, uint64)

# Python's float is float32 here, as in TensorFlow: a graph of doubles by accident helps nobody.
_ALIASES: dict[Any, DType] = {
    "float": float32, "double": float64, "half": float16, "int": int32, "long": int64,
    float: float32, int: int32, bool: bool_,
}  # fmt: skip
for _d in (*ALL, complex64, complex128, string):
    _ALIASES.update({_d.name: _d, _d.numpy: _d, _d.numpy.type: _d})
_ALIASES[complex] = complex128
_ALIASES.update(dict.fromkeys((str, bytes, object, np.str_, np.bytes_), string))


def as_dtype(value: Any) -> DType:
    """Return the :class:`DType` for a DType, a name, a NumPy dtype or a Python type.

    Raises
    ------
    DTypeError
        If graphrun has no such element type.
    """
    if type(value) is DType:
        return value
    try:
        return _ALIASES[value]
    except (KeyError, TypeError, ValueError):  # ValueError: a buffer that cannot be hashed
        pass
    try:
        if value is None:  # NumPy's default dtype, and nobody's wish
            raise TypeError
        kind = np.dtype(value)
        if kind.kind in "SU":
            return string
        if kind.kind == "O":  # NumPy's answer to any class
            raise TypeError
        return _ALIASES[kind.newbyteorder("=")]
    except (KeyError, TypeError, ValueError):
        from difflib import get_close_matches

        names = [d.name for d in (*ALL, complex64, complex128, string)]
        near = get_close_matches(value.lower(), names, n=1) if isinstance(value, str) else []
        raise DTypeError(
            message(
                f"no such dtype: {value!r}",
                expected=f"one of {', '.join(names)}, or NumPy's for them",
                fix=f"did you mean gr.{near[0]}?" if near else "write it as gr.float32",
            )
        ) from None


def holds_text(value: Any) -> bool:
    """Whether the first element of `value` is a string: str, bytes, or an array of either."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        value = value.flat[0] if value.size else ""
    return isinstance(value, str | bytes) or (isinstance(value, np.ndarray) and value.dtype.kind in "SU")


def as_strings(value: Any) -> np.ndarray | None:
    """`value` as an array of bytes objects, str encoded as UTF-8; None where something else is in it."""
    array = np.array(value, np.object_)
    result = np.empty(array.shape, np.object_)
    flat, items = result.reshape(-1), array.reshape(-1)
    for k, item in enumerate(items):
        if isinstance(item, str):
            flat[k] = item.encode()
        elif isinstance(item, bytes | bytearray | np.bytes_):
            flat[k] = bytes(item)
        else:
            return None
    return result
