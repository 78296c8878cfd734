"""Index maps of views: how elements of a result are found in what it is a view of."""

from __future__ import annotations

from graphrun.compiler.ir import Node
from graphrun.device_names import runs_kernels
from graphrun.graph.descriptor import AffineMap, View


def broadcast_map(shape: tuple[int, ...], out_shape: tuple[int, ...]) -> AffineMap | None:
    """How an input of `shape` is read for an output of `out_shape`; None for the same place."""
    if shape == out_shape:
        return None
    padded = (1,) * (len(out_shape) - len(shape)) + tuple(shape)
    strides = []
    step = 1
    for d in reversed(padded):
        strides.append(0 if d == 1 else step)
        step *= d
    return collapse(AffineMap(out_shape, tuple(reversed(strides))))


def collapse(m: AffineMap) -> AffineMap:
    """The same map over as few dimensions as possible."""
    dims: list[int] = []
    strides: list[int] = []
    for d, s in zip(m.dims, m.strides, strict=True):
        if d == 1:
            continue
        if dims and strides[-1] == s * d:
            dims[-1] *= d
            strides[-1] = s
        else:
            dims.append(d)
            strides.append(s)
    return AffineMap(tuple(dims), tuple(strides), m.offset)


def is_contiguous(m: AffineMap) -> bool:
    """Whether the map is a shift alone, so that a view needs no kernel."""
    m = collapse(m)
    return not m.dims or m.strides == (1,)


def view_map(node: Node, index: int) -> AffineMap | None:
    """The index map of a view node's output, else None."""
    if not runs_kernels(node.device):
        return None
    descriptor = node.op.descriptor(node.input_specs, node.attrs)
    if not isinstance(descriptor, View):
        return None
    return descriptor.map(node.input_specs, node.specs[index], node.attrs, index)
