"""Rows of the files behind ``graphrun/ops/array.py``: shapes, and the places of elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, bools, case, cases, fixed, floats, ints
from graphrun import dtypes
from graphrun.graph.opdef import Constant

ALL = tuple(d.name for d in dtypes.ALL)
NARROW = ("float64", "int64", "uint8", "bool")


def number(value: Any, dtype: str) -> dict[str, Any]:
    return {"value": Constant(np.array(value, dtypes.as_dtype(dtype).numpy)), "dtype": dtypes.as_dtype(dtype)}


NO_MASKS = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)


def index(shape: tuple[int, ...], key: tuple[Any, ...], **more: Any) -> Case:
    """A row of `strided_slice` for ``x[key]``, with NumPy's own result as the expected one."""
    attrs: dict[str, Any] = dict(NO_MASKS)
    bounds = []
    for i, k in enumerate(key):
        b, e, s = 0, 0, 1
        if k is Ellipsis:
            attrs["ellipsis_mask"] |= 1 << i
        elif k is None:
            attrs["new_axis_mask"] |= 1 << i
        elif isinstance(k, int):
            b, e = k, k + 1
            attrs["shrink_axis_mask"] |= 1 << i
        else:
            b, e, s = k.start or 0, k.stop or 0, 1 if k.step is None else k.step
            attrs["begin_mask"] |= (k.start is None) << i
            attrs["end_mask"] |= (k.stop is None) << i
        bounds.append((b, e, s))
    attrs.update(zip(("begin", "end", "strides"), zip(*bounds, strict=True), strict=True))
    label = ",".join(repr(k).replace("slice", "") for k in key)
    return case("strided_slice", [shape], attrs, expected=lambda x: x[key], label=label, **more)


def pads(shape: tuple[int, ...], pairs: list[tuple[int, int]], mode: str = "CONSTANT", **more: Any) -> Case:
    before, after = zip(*pairs, strict=True)
    fill = more.pop("fill", 0)
    dtype = more.get("dtype", "float32")
    extra = {"constant_values": fill} if mode == "CONSTANT" else {}
    return case(
        "pad", [shape],
        {"before": before, "after": after, "mode": mode, "value": number(fill, dtype)["value"]},
        expected=lambda x: np.pad(x, pairs, mode.lower(), **extra),
        **more,
    )  # fmt: skip


def takes(params: tuple[int, ...], indices: Any, axis: int = 0, batch: int = 0, **more: Any) -> Case:
    negative = more.pop("negative", False)
    return case(
        "gather", [params, indices], {"axis": axis, "batch_dims": batch, "negative": negative}, **more
    )


def adds(
    dy: tuple[int, ...], indices: Any, shape: tuple[int, ...], axis: int = 0, batch: int = 0, **more: Any
) -> Case:
    attrs = {"axis": axis, "batch_dims": batch, "negative": more.pop("negative", False), "shape": shape}
    return case("gather_grad", [dy, indices], attrs, **more)


def slow_add(dy: np.ndarray, indices: np.ndarray) -> np.ndarray:
    result = np.zeros((5, 3), dy.dtype)
    np.add.at(result, indices, dy)
    return result


_S = np.s_
ZERO, MINUS_ONE, TWO = (number(v, "float32")["value"] for v in (0, -1, 2))
SLICE = {"begin": (1, 0), "end": (3, 4), "strides": (1, 2)}

CASES: list[Case] = [
    # -- shape, size, rank
    *cases("shape", [(2, 3, 0)], {"out_type": dtypes.int32}, dtypes=("float32", "int64", "bool")),
    case("shape", [()], {"out_type": dtypes.int64}),
    case("size", [(2, 3)], {"out_type": dtypes.int32}, expected=lambda x: np.int32(6)),
    case("rank", [(2, 3)], {"out_type": dtypes.int32}, expected=lambda x: np.int32(2)),
    # -- one value
    *(case("fill", [], {"shape": (2, 3), **number(1, d)}, label=d) for d in ALL),
    case("fill", [], {"shape": (), **number(-0.0, "float32")}, label="minus zero"),
    case("fill", [], {"shape": (3,), **number(np.nan, "float32")}, label="nan"),
    case("fill", [], {"shape": (3,), **number(-np.inf, "float64")}, label="minus inf"),
    case("fill", [], {"shape": (2,), **number(-(2**63), "int64")}, label="smallest int64"),
    case("fill", [], {"shape": (2,), **number(2**64 - 1, "uint64")}, label="largest uint64"),
    case("fill", [], {"shape": (2,), **number(-(2**31), "int32")}, label="smallest int32"),
    case("fill", [], {"shape": (2, 0), **number(1.1, "float32")}, label="empty"),
    *cases("broadcast_to", [(3, 1)], {"shape": (2, 3, 4)}, dtypes=ALL,
           expected=lambda x: np.broadcast_to(x, (2, 3, 4))),
    case("broadcast_to", [()], {"shape": (2, 3)}),
    case("broadcast_to", [(2, 1)], {"shape": (2, 0)}, gradient=False),
    # -- the same elements in another shape
    *cases("reshape", [(4, 6)], {"shape": (2, -1, 3)}, dtypes=ALL),
    case("reshape", [(1, 1)], {"shape": ()}),
    case("reshape", [()], {"shape": (1,)}),
    case("reshape", [(0, 3)], {"shape": (-1, 3)}, gradient=False),
    case("reshape", [(0, 3)], {"shape": (5, 0)}, gradient=False),
    *(case("expand_dims", [(2, 3)], {"axis": a}) for a in (0, 1, 2, -1, -3)),
    case("expand_dims", [()], {"axis": 0}),
    case("squeeze", [(1, 2, 1, 3)], {"axis": ()}, expected=lambda x: np.squeeze(x)),
    case("squeeze", [(1, 2, 1, 3)], {"axis": (2,)}),
    case("squeeze", [(1, 2, 1, 3)], {"axis": (0, -2)}),
    case("squeeze", [(1, 1)], {"axis": ()}),
    # -- another order
    *cases("transpose", [(3, 5)], {"perm": (1, 0)}, dtypes=ALL, expected=lambda x: x.T),
    case("transpose", [(2, 3, 4)], {"perm": (2, 0, 1)}),
    case("transpose", [(2, 3, 4, 5)], {"perm": (0, -2, -1, 1)}),
    case("transpose", [(2, 3, 4)], {"perm": "reversed"}),
    case("transpose", [(3,)], {"perm": (0,)}),
    case("transpose", [(2, 0, 3)], {"perm": (2, 1, 0)}, gradient=False),
    case("transpose", [(67, 131)], {"perm": (1, 0)}, gradient=False),
    case("fitting_mask", [bools((3,))], {"dims": (2, 3, 4), "axis": 1}),
    case("fitting_mask", [bools((3, 4))], {"dims": (2, 3, 4), "axis": 1}),
    case("fitting_mask", [bools((2,))], {"dims": (3,), "axis": 0}),
    case("invert_permutation", [fixed([3, 1, 0, 2], "int32")], host_ok=True,
         expected=lambda x: np.argsort(x).astype(x.dtype)),
    case("invert_permutation", [fixed([1, 0], "int64")], host_ok=True),
    *cases("reverse", [(3, 4)], {"axis": (0, 1)}, dtypes=NARROW, expected=lambda x: x[::-1, ::-1]),
    case("reverse", [(3, 4)], {"axis": (-1,)}),
    case("reverse", [(3, 4)], {"axis": ()}),
    case("reverse", [(3, 0)], {"axis": (1,)}, gradient=False),
    # -- repeats
    *cases("tile", [(2, 3)], {"multiples": (2, 3)}, dtypes=NARROW, expected=lambda x: np.tile(x, (2, 3))),
    case("tile", [(2, 1, 3)], {"multiples": (1, 4, 1)}),
    case("tile", [()], {"multiples": ()}),
    case("tile", [(2, 3)], {"multiples": (0, 2)}, gradient=False),
    case("tile_grad", [(4, 9)], {"multiples": (2, 3), "shape": (2, 3)},
         expected=lambda dy: dy.reshape(2, 2, 3, 3).sum((0, 2))),
    case("tile_grad", [(2, 0)], {"multiples": (1, 0), "shape": (2, 3)}, gradient=False),
    case("tile_grad", [()], {"multiples": (), "shape": ()}),
    # -- slices
    *(
        index((4, 5), key)
        for key in (
            (2,), (-1,), (0, -2), (_S[:],), (_S[1:3],), (_S[::-1], _S[::2]), (_S[-3:-1], _S[4:0:-2]),
            (Ellipsis, 1), (None, _S[:2], None, 3), (_S[1:],  Ellipsis, None), (_S[2:2],), (_S[10:1:-1],),
            (_S[3:1],), (_S[-100:100], _S[::-100]), (Ellipsis,), (None,),
        )
    ),
    index((3, 4, 5), (_S[::2], Ellipsis, _S[1::3])),
    index((3, 4, 5), (1, Ellipsis, None, 2)),
    *(index((6,), (_S[4:1:-1],), dtype=d) for d in NARROW),
    case("strided_slice_grad", [(2, 2)], {**SLICE, **NO_MASKS, "shape": (4, 5)}),
    case("strided_slice_grad", [(3,)],
         {**NO_MASKS, "begin": (4,), "end": (-7,), "strides": (-2,), "shape": (5,)}),
    case("strided_slice_grad", [(0,)],
         {**NO_MASKS, "begin": (2,), "end": (2,), "strides": (1,), "shape": (5,)}, gradient=False),
    case("strided_slice_grad", [(2, 1, 4)],
         {**NO_MASKS, "begin": (0, 0, 3), "end": (2, 0, 4), "strides": (1, 1, 1), "new_axis_mask": 2,
          "shrink_axis_mask": 4, "shape": (3, 5, 4)}),
    case("slice", [(4, 5)], {"begin": (1, 0), "size": (2, 5)}, expected=lambda x: x[1:3]),
    case("slice", [(4, 5)], {"begin": (1, 2), "size": (-1, 1)}, expected=lambda x: x[1:, 2:3]),
    case("slice", [(4, 5)], {"begin": (4, 0), "size": (0, -1)}, gradient=False),
    case("slice", [()], {"begin": (), "size": ()}),
    *cases("slice", [(7,)], {"begin": (2,), "size": (3,)}, dtypes=NARROW),
    # -- joining and cutting
    *cases("concat", [(2, 3), (2, 1), (2, 4)], {"axis": 1}, dtypes=ALL,
           expected=lambda *x: np.concatenate(x, 1)),
    case("concat", [(2, 3), (0, 3), (1, 3)], {"axis": 0}),
    case("concat", [(2, 3, 2), (2, 2, 2)], {"axis": -2}),
    case("concat", [(0, 3), (0, 3)], {"axis": 0}, gradient=False),
    case("concat", [(2, 1)] * 9, {"axis": 1}),
    *cases("stack", [(2, 3), (2, 3)], {"axis": 1}, dtypes=NARROW, expected=lambda *x: np.stack(x, 1)),
    case("stack", [(), (), ()], {"axis": 0}),
    case("stack", [(2, 3)] * 3, {"axis": -1}),
    case("stack", [(2,)], {"axis": 0}),
    # More inputs than one kernel takes.
    case("concat", [(2, 1)] * 65, {"axis": 1}, label="many"),
    case("stack", [(2,)] * 40, {"axis": 1}, label="many"),
    # So large that each input is copied by a launch of its own.
    *cases("concat", [(60, 200), (60, 0), (60, 300)], {"axis": 1}, dtypes=NARROW, gradient=False,
           label="large"),
    case("concat", [(3, 70, 40), (3, 80, 40)], {"axis": -2}, gradient=False, label="large"),
    case("concat", [(9000,), (9000,)], {"axis": 0}, dtype="float16", gradient=False, label="large"),
    case("stack", [(90, 100)] * 2, {"axis": 2}, gradient=False, label="large"),
    case("stack", [(90, 100)] * 2, {"axis": 0}, gradient=False, label="large in front"),
    case("unstack", [(3, 2)], {"axis": 0, "num": 3}),
    case("unstack", [(3, 2, 4)], {"axis": -1, "num": 4}),
    case("unstack", [(2,)], {"axis": 0, "num": 2}, dtype="uint8"),
    case("split", [(2, 6)], {"sizes": (), "axis": 1, "num": 3}),
    case("split", [(6, 2)], {"sizes": (1, -1, 2), "axis": 0, "num": 3},
         expected=lambda x: tuple(np.split(x, [1, 4]))),
    case("split", [(2, 3, 4)], {"sizes": (1, 0, 3), "axis": -1, "num": 3}),
    case("split", [(4,)], {"sizes": (4,), "axis": 0, "num": 1}, dtype="int64"),
    # -- borders
    pads((2, 3), [(1, 2), (0, 1)]),
    pads((2, 3), [(1, 0), (0, 0)], fill=-1.5),
    pads((3,), [(2, 2)], fill=7, dtype="uint8"),
    pads((3,), [(2, 1)], fill=True, dtype="bool"),
    pads((2, 0), [(1, 1), (2, 0)], gradient=False),
    case("pad", [()], {"before": (), "after": (), "mode": "CONSTANT", "value": ZERO}),
    pads((4, 3), [(3, 1), (0, 2)], "REFLECT"),
    pads((4, 3), [(4, 1), (0, 3)], "SYMMETRIC"),
    pads((2, 3, 4), [(1, 1), (2, 0), (0, 0)], "REFLECT", dtype="int32"),
    case("mirror_pad_grad", [(8, 5)], {"before": (3, 0), "after": (1, 2), "mode": "REFLECT"}),
    case("mirror_pad_grad", [(9, 6)], {"before": (4, 0), "after": (1, 3), "mode": "SYMMETRIC"}),
    # -- gather
    takes((5, 3), ints((4,), 0, 5), expected=lambda p, i: p[i]),
    takes((5, 3), ints((2, 2), 0, 5), expected=lambda p, i: p[i]),
    takes((5, 3), ints((), 0, 3), 1, expected=lambda p, i: p[:, i]),
    takes((2, 5, 3), ints((4, 2), 0, 5, "int64"), 1, expected=lambda p, i: p[:, i]),
    takes((2, 5), fixed([-1, 0, -5], "int32"), -1, negative=True, expected=lambda p, i: p[:, i]),
    takes((2, 5, 3), ints((2, 4), 0, 5), 1, 1,
          expected=lambda p, i: np.stack([p[k][i[k]] for k in range(2)])),
    takes((2, 3, 5), ints((2, 4), 0, 5), 2, 1,
          expected=lambda p, i: np.stack([p[k][:, i[k]] for k in range(2)])),
    takes((2, 5), ints((2,), 0, 5), 1, 1, expected=lambda p, i: p[np.arange(2), i]),
    takes((5,), ints((0,), 0, 5), gradient=False),
    *(takes((5, 2), ints((3,), 0, 5), dtype=d) for d in NARROW),
    adds((4, 3), fixed([1, 4, 1, 1], "int32"), (5, 3), expected=slow_add),
    adds((4, 3), fixed([4, 0, 2, 1], "int64"), (5, 3), expected=slow_add, label="distinct"),
    adds((2, 4, 2, 3), ints((4, 2), 0, 5), (2, 5, 3), 1),
    adds((2, 3), ints((), 0, 4), (2, 4, 3), 1),
    adds((2,), fixed(-1, "int32"), (2, 3), 1, negative=True),
    adds((2, 4, 3), ints((2, 4), 0, 5), (2, 5, 3), 1, 1),
    adds((2, 3, 4), ints((2, 4), 0, 5), (2, 3, 5), 2, 1),
    adds((4, 2), ints((4,), 0, 3), (3, 2), dtype="int32"),
    adds((64, 3), ints((64,), 0, 3), (3, 3), dtype="float16", gradient=False),
    adds((3000, 30), ints((3000,), 0, 70), (70, 30), gradient=False),
    adds((300,), ints((300,), -7, 7), (7,), negative=True, gradient=False),
    adds((2, 40, 200), ints((40,), 0, 9), (2, 9, 200), 1, gradient=False),
    # -- from positions
    *(case("range", [], {"start": 3, "limit": 18, "delta": 4, "dtype": dtypes.as_dtype(d)}, label=d)
      for d in ("int32", "int64", "uint8", "float32", "float64", "float16")),
    case("range", [], {"start": 2.5, "limit": -1.0, "delta": -0.5, "dtype": dtypes.float32}, label="down"),
    case("range", [], {"start": 0, "limit": 0, "delta": 1, "dtype": dtypes.int32}, label="empty"),
    *(case("linspace", [floats((), 1, 2), floats((), 3, 4)], {"num": 5}, dtype=d,
           expected=lambda a, b: np.linspace(a, b, 5, dtype=a.dtype))
      for d in ("float16", "float32", "float64")),
    case("linspace", [(), ()], {"num": 1}),
    *(case("eye", [], {"rows": 2, "columns": 3, "dtype": dtypes.as_dtype(d)}, label=d) for d in ALL),
    # So large that the compiler does not compute them in advance.
    *(case("fill", [], {"shape": (2, 70000), **number(v, d)}, label=f"large {v} {d}")
      for d, v in [*((d, 1) for d in ALL), ("int32", -(2**31)), ("int64", -(2**63)), ("uint64", 2**64 - 1),
                   ("float64", 0.1), ("float32", np.inf)]),
    case("range", [], {"start": -5, "limit": 200000, "delta": 3, "dtype": dtypes.int32}, label="large"),
    case("range", [], {"start": 1.5, "limit": -3e3, "delta": -0.1, "dtype": dtypes.float32},
         label="large down"),
    case("eye", [], {"rows": 200, "columns": 300, "dtype": dtypes.float32}, label="large"),
    *(case("one_hot", [ints((2, 3), -1, 5)],
           {"depth": 4, "axis": a, "on": TWO, "off": MINUS_ONE, "dtype": dtypes.float32}, label=f"axis {a}")
      for a in (-1, 0, 1)),
    case("one_hot", [fixed(2, "int64")],
         {"depth": 3, "axis": -1, "on": number(True, "bool")["value"], "off": number(False, "bool")["value"],
          "dtype": dtypes.bool_}, label="bool"),
    case("sequence_mask", [ints((2, 2), 0, 5)], {"maxlen": 4, "dtype": dtypes.bool_}, label="bool",
         expected=lambda n: np.arange(4) < n[..., None]),
    case("sequence_mask", [ints((), 0, 5)], {"maxlen": 4, "dtype": dtypes.float32}, label="float"),
]  # fmt: skip
