"""Index maps of views: how elements of a result are found in what it is a view of."""

from __future__ import annotations

import math

from graphrun.compiler.ir import Node, Value
from graphrun.device_names import runs_kernels
from graphrun.graph.descriptor import AffineMap, Expr, Kernel, View


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
    known = node.op.opencl
    if not runs_kernels(node.device) or known is None or isinstance(known, Expr | Kernel):
        return None
    descriptor = node.op.descriptor(node.input_specs, node.attrs)
    if not isinstance(descriptor, View):
        return None
    return descriptor.map(node.input_specs, node.specs[index], node.attrs, index)


def compose(outer: AffineMap, inner: AffineMap) -> AffineMap | None:
    """The map of a view of a view: `outer` leads to elements of what `inner` is the map of.

    None where the two together are no affine map over split dimensions of the outer one.
    """
    outer, inner = collapse(outer), collapse(inner)
    if 0 in outer.dims or 0 in inner.dims or any(s < 0 for s in outer.strides):
        return None
    steps = [math.prod(inner.dims[j + 1 :]) for j in range(len(inner.dims))]
    # Where the walk begins, and how far it goes in each dimension of the inner map.
    at = [outer.offset // step % d for step, d in zip(steps, inner.dims, strict=True)]
    if outer.offset >= math.prod(inner.dims):
        return None
    offset = inner.offset + sum(k * s for k, s in zip(at, inner.strides, strict=True))
    reach = list(at)
    dims: list[int] = []
    strides: list[int] = []
    for d, s in zip(outer.dims, outer.strides, strict=True):
        found = _walk(d, s, steps, inner, reach)
        if found is None:
            return None
        dims += [n for n, _ in found]
        strides += [t for _, t in found]
    return collapse(AffineMap(tuple(dims), tuple(strides), offset))


def _walk(
    count: int, step: int, steps: list[int], inner: AffineMap, reach: list[int]
) -> list[tuple[int, int]] | None:
    """Dimensions that take `count` steps of `step` elements through the inner map, slowest first."""
    if step == 0:
        return [(count, 0)]
    j = next((j for j, size in enumerate(steps) if step >= size), None)
    if j is None or step % steps[j]:
        return None
    stride = step // steps[j]
    if reach[j] + (count - 1) * stride < inner.dims[j]:
        reach[j] += (count - 1) * stride
        return [(count, stride * inner.strides[j])]
    # All of this dimension and some of the next slower one.
    whole = inner.dims[j] // stride
    if j == 0 or inner.dims[j] % stride or count % whole or reach[j] >= stride:
        return None
    slower = _walk(count // whole, steps[j - 1], steps, inner, reach)
    if slower is None:
        return None
    reach[j] += (whole - 1) * stride
    return [*slower, (whole, stride * inner.strides[j])]


def spread(m: AffineMap, shape: tuple[int, ...]) -> AffineMap | None:
    """The same map with one stride for each dimension of `shape`; None where that cannot be."""
    if 0 in shape:
        return None  # nothing is read
    m = collapse(m)
    rest = list(zip(m.dims, m.strides, strict=True))
    strides: list[int] = []
    for d in reversed(shape):
        if d == 1:
            strides.append(0)
            continue
        count, stride = rest.pop() if rest else (1, 0)
        while count < d and rest:
            more, further = rest.pop()
            if further != stride * count:
                return None
            count *= more
        if count % d:
            return None
        strides.append(stride)
        if count > d:
            rest.append((count // d, stride * d))
    return AffineMap(shape, tuple(reversed(strides)), m.offset) if not rest else None


def seen_through(value: Value) -> tuple[Value, AffineMap | None]:
    """What is behind the views that a value is, and the map of them all; None where it is no view."""
    m: AffineMap | None = None
    while True:
        step = view_map(value[0], value[1])
        if step is None:
            return value, m
        both = collapse(step) if m is None else compose(m, step)
        if both is None:
            return value, m
        value, m = value[0].inputs[0], both


def only_renames(node: Node) -> bool:
    """Whether a node's results are its input, or parts of it, as they lie."""
    if not node.specs:
        return False
    maps = (view_map(node, i) for i in range(len(node.specs)))
    return all(m is not None and is_contiguous(m) for m in maps)


def block_of(value: Value) -> tuple[Value, int]:
    """The value of which `value` is one piece in the order of memory, and where it begins there, in elements.

    Views of views are followed to the first value that is computed, or comes in; that may be `value` itself.
    """
    offset = 0
    while True:
        m = view_map(value[0], value[1])
        if m is None or not is_contiguous(m) or 0 in m.dims:
            return value, offset
        offset += m.offset
        value = value[0].inputs[0]
