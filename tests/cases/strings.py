"""Rows of ``graphrun/ops/strings.py``: all run on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, case, fixed
from graphrun import dtypes
from graphrun.ops.strings import _ByCharacters, _BySeparator


def strings(values: Any) -> np.ndarray:
    return np.vectorize(lambda v: v.encode(), otypes=[object])(np.array(values, object))


def text(op: str, values: Any, attrs: Any = None, expected: Any = None, *more: Any, label: str = "") -> Case:
    wanted = None if expected is None else lambda *_: expected
    return case(op, [fixed(strings(values), "object"), *more], attrs, host_ok=True, expected=wanted,
                label=label or op)  # fmt: skip


def number(dtype: Any, **attrs: Any) -> dict[str, Any]:
    plain = {"precision": -1, "scientific": False, "shortest": False, "width": -1, "fill": ""}
    return {**plain, **attrs}


def written(values: Any, dtype: str, expected: Any, label: str, **attrs: Any) -> Case:
    return case("as_string", [fixed(values, dtype)], number(dtype, **attrs), host_ok=True, label=label,
                expected=lambda *_: strings(expected))  # fmt: skip


def raw(values: Any, dtype: Any, expected: Any, little: bool = True, length: int = -1) -> Case:
    attrs = {"out_type": dtype, "little_endian": little, "length": length}
    label = f"{dtype} {little} {length}"
    items = np.empty(len(values), object)
    items[:] = values
    return case("decode_raw", [fixed(items, "object")], attrs, host_ok=True, label=label,
                expected=lambda *_: np.array(expected, dtype.numpy))  # fmt: skip


WORDS = ["Graph run", "", "a,b;c", " x "]

CASES: list[Case] = [
    *(text("string_to_number", ["1", " -25 ", "300"], {"out_type": t}, np.array([1, -25, 300]), label=t.name)
      for t in (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64)),
    text("string_to_number", ["1.5e3", "inf"], {"out_type": dtypes.float32}, np.array([1500, np.inf]),
         label="e"),
    written([1, -2], "int32", ["1", "-2"], "ints"),
    written([1, -2], "int64", ["00001", "-0002"], "filled", width=5, fill="0"),
    written([True, False], "bool", ["true", "false"], "bools"),
    written([1.5, 2], "float32", ["1.500000", "2.000000"], "floats"),
    written([1.5, 2], "float32", ["1.50", "2.00"], "precision", precision=2),
    written([1500.0], "float64", ["1.500000e+03"], "scientific", scientific=True),
    written([0.25, 2], "float64", ["0.25", "2"], "shortest", shortest=True),
    *(case("string_split", [fixed(strings(source), "object")], {"split": split}, host_ok=True, label=label,
           expected=lambda *_, e=expected: (np.array(e[0]).reshape(-1, 2), strings(e[1]), np.array(e[2])))
      for label, source, split, expected in (
          ("spaces", ["a b", "c  d e", ""], _ByCharacters(b" ", True),
           ([[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]], ["a", "b", "c", "d", "e"], [3, 3])),
          ("empty parts", ["a,,b", ""], _ByCharacters(b",", False),
           ([[0, 0], [0, 1], [0, 2]], ["a", "", "b"], [2, 3])),
          ("several", ["a,b;c"], _ByCharacters(b",;", True),
           ([[0, 0], [0, 1], [0, 2]], ["a", "b", "c"], [1, 3])),
          ("bytes", ["ab"], _ByCharacters(b"", True), ([[0, 0], [0, 1]], ["a", "b"], [1, 2])),
          ("whole", ["a<>b<>"], _BySeparator(b"<>", -1), ([[0, 0], [0, 1], [0, 2]], ["a", "b", ""], [1, 3])),
          ("white", [" a \tb "], _BySeparator(b"", -1), ([[0, 0], [0, 1]], ["a", "b"], [1, 2])),
          ("most", ["a b c"], _BySeparator(b" ", 1), ([[0, 0], [0, 1]], ["a", "b c"], [1, 2])),
      )),
    text("string_join", [["a", "b"], ["c", "d"]], {"separator": b"-"},
         strings([["a-x", "b-y"], ["c-x", "d-y"]]),
         fixed(strings(["x", "y"]), "object")),
    *(text("reduce_join", [["a", "b"], ["c", "d"]], {"axis": a, "keepdims": k, "separator": b"."},
           strings(e), label=f"{a} {k}")
      for a, k, e in ((None, False, "a.b.c.d"), ((0,), False, ["a.c", "b.d"]),
                      ((-1,), True, [["a.b"], ["c.d"]]),
                      ((1, 0), False, "a.c.b.d"))),
    text("substr", ["hello", "world"], None, strings(["el", "rl"]), fixed([1, -3], "int32"),
         fixed(2, "int32")),
    text("string_length", WORDS, None, np.array([9, 0, 5, 3])),
    text("string_lower", WORDS, None, strings([w.lower() for w in WORDS])),
    text("string_upper", WORDS, None, strings([w.upper() for w in WORDS])),
    text("string_strip", WORDS, None, strings([w.strip() for w in WORDS])),
    text("regex_full_match", WORDS, {"pattern": b".*[a-c].*"}, np.array([True, False, True, False])),
    text("regex_replace", WORDS, {"pattern": b"([a-c])", "rewrite": rb"<\1>", "count": 0},
         strings(["Gr<a>ph run", "", "<a>,<b>;<c>", " x "])),
    *(text("encode_base64", ["", "a", "ab?>", "abcd\xff"], {"pad": p}, label=str(p)) for p in (False, True)),
    text("decode_base64", ["", "YQ", "YQ==", "Pz4_"], None, strings(["", "a", "a", "?>?"])),
    raw([b"AB", b"CD"], dtypes.uint8, [[65, 66], [67, 68]]),
    raw([b"\x01\x00\x00\x02"], dtypes.int16, [[1, 512]]),
    raw([b"\x01\x00\x00\x02"], dtypes.int16, [[256, 2]], little=False),
    raw([np.float32(1.5).tobytes()], dtypes.float32, [[1.5]]),
    raw([b"\x01", b"\x01\x02\x03"], dtypes.uint8, [[1, 0], [1, 2]], length=2),
]  # fmt: skip
