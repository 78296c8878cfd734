"""Operations that repeat a tensor along its dimensions: tile, meshgrid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.errors import RuleError
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import AffineMap, Spec, View
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.ops.attributes import attr_value, dims_of, ints, known_ints, shape_attr, static_ints
from graphrun.ops.fill import broadcast_to, size
from graphrun.ops.joining import stack
from graphrun.ops.reshape import reshape
from graphrun.shapes import (
    row_major_strides,
)

# -- tile ---------------------------------------------------------------------------------------


def _tile_rule(x: Spec, *, multiples: Any) -> tuple[Spec]:
    counts = known_ints(multiples)
    for m in counts or ():
        if m is not None and m < 0:
            raise RuleError(f"multiples {counts} hold a negative number", expected="0 or more")
    if counts is None:
        return (Spec(None if x.shape is None else (None,) * len(x.shape), x.dtype),)
    if x.shape is None:
        return (Spec((None,) * len(counts), x.dtype),)
    if len(counts) != len(x.shape):
        raise RuleError(
            f"{len(counts)} multiples for rank {len(x.shape)}", expected="one for each dimension",
            fix="write 1 for a dimension that is not repeated",
        )  # fmt: skip
    out = tuple(None if d is None or m is None else d * m for d, m in zip(x.shape, counts, strict=True))
    return (
        Spec(
            tuple(0 if d == 0 or m == 0 else o for d, m, o in zip(x.shape, counts, out, strict=True)), x.dtype
        ),
    )


def _tile_map(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int) -> AffineMap:
    shape = dims_of(specs[0])
    dims: list[int] = []
    strides: list[int] = []
    for d, s, m in zip(shape, row_major_strides(shape), static_ints(attrs["multiples"]), strict=True):
        if m != 1:
            dims.append(m)
            strides.append(0)
        dims.append(d)
        strides.append(s)
    return AffineMap(tuple(dims), tuple(strides))


def _tile_grad_rule(dy: Spec, *, multiples: Any, shape: Any) -> tuple[Spec]:
    counts, dims = known_ints(multiples), known_ints(shape)
    if dims is None:
        return (Spec(None if dy.shape is None else (None,) * len(dy.shape), dy.dtype),)
    if counts is not None and dy.shape is not None:
        for d, m, n in zip(dims, counts, dy.shape, strict=True):
            if None not in (d, m, n) and d * m != n:
                raise RuleError(f"dy has {n} where {d} is repeated {m} times", expected=str(d * m))
    return (Spec(dims, dy.dtype),)


def _split_dims(multiples: Any, shape: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Each dimension as (repeats, length), and the axes of the repeats."""
    dims = tuple(n for pair in zip(static_ints(multiples), static_ints(shape), strict=True) for n in pair)
    return dims, tuple(range(0, len(dims), 2))


def _tile_grad_numpy(dy: np.ndarray, *, multiples: Any, shape: Any) -> np.ndarray:
    dims, axes = _split_dims(multiples, shape)
    return dy.reshape(dims).sum(axes, dtype=dy.dtype)


def _tile_grad_expand(
    build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Mapping[str, Any]
) -> Any:
    dims, axes = _split_dims(attrs["multiples"], attrs["shape"])
    parts = build("reshape", inputs, {"shape": dims})
    return build("sum", [parts], {"axis": axes, "keepdims": False}) if axes else parts


tile_grad_op = register(
    OpDef(
        "tile_grad", _tile_grad_rule, _tile_grad_numpy, None,
        lambda op, ddx: apply("tile", (ddx,), {"multiples": attr_value(op, "multiples")}),
        value_attrs=("multiples", "shape"), expand=_tile_grad_expand, node_name="TileGrad",
        input_names=("dy",),
    )
)  # fmt: skip


def _tile_gradient(op: Operation, dy: Tensor) -> Tensor:
    attrs = {"multiples": attr_value(op, "multiples"), "shape": shape_attr(op.inputs[0])}
    return apply(tile_grad_op, (dy,), attrs)


tile_op = register(
    OpDef(
        "tile", _tile_rule, lambda x, *, multiples: np.tile(x, multiples), View(_tile_map), _tile_gradient,
        value_attrs=("multiples",), node_name="Tile", onnx="Tile", input_names=("input",),
    )
)  # fmt: skip


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """Repeat `input` ``multiples[i]`` times along each dimension i.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.tile([1, 2], [3])))
    [1 2 1 2 1 2]
    """
    return apply(
        tile_op, (convert_to_tensor(input),), {"multiples": ints(multiples, "tile", "multiples")}, name
    )


def meshgrid(*args: Any, indexing: str = "xy", name: str = "meshgrid") -> list[Tensor]:
    """Return the coordinates of a grid whose axes are the given vectors, as NumPy's ``meshgrid``.

    `indexing` is "xy" (the first two axes exchanged) or "ij".
    """
    if indexing not in ("xy", "ij"):
        from graphrun.errors import ShapeError, message

        raise ShapeError(message(f"indexing={indexing!r}", where="meshgrid", expected='"xy" or "ij"'))
    vectors = [convert_to_tensor(a) for a in args]
    if not vectors:
        return []
    with vectors[0].graph.name_scope(name):
        n = len(vectors)
        flat = [reshape(v, [-1]) for v in vectors]
        order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
        lengths: Any
        if all(v._shape is not None and v._shape[0] is not None for v in flat):
            lengths = tuple(v._shape[0] for v in (flat[i] for i in order))  # type: ignore[index]
        else:
            lengths = stack([size(flat[i]) for i in order])
        return [
            broadcast_to(reshape(v, tuple(-1 if j == i else 1 for j in order)), lengths)
            for i, v in enumerate(flat)
        ]
