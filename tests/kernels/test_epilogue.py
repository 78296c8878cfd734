"""The macros of an epilogue in a kernel written by hand, against NumPy: bias, residual, several outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Array, Runner, opencl, spec

from graphrun import dtypes
from graphrun.compiler.codegen import PRELUDE, epilogue_args, epilogue_text, vector_defines
from graphrun.compiler.fusion import Group, Instruction
from graphrun.compiler.views import broadcast_map
from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Expr, Spec
from graphrun.kernel_files import kernel_source

# Stores x, row by row, in vectors and what is left of the row in numbers.
KERNEL = """
#define GR_OUT y
__kernel void stores(__global const IN_TYPE *x, __global OUT_TYPE *restrict y, const ulong y_o,
                     const int rows, const int cols GR_EPI_PARAMS) {
    y += y_o;
    GR_EPI_BEGIN
    for (int r = 0; r < rows; ++r) {
        const ulong row = (ulong)r * cols;
        int c = 0;
        for (; c + LANES <= cols; c += LANES) GR_STORE_V(LOAD_V(x + row + c), row + c);
        for (; c < cols; ++c) GR_STORE_S(x[row + c], row + c);
    }
}
"""


def _instruction(code: str, operands: Any, dtype: DType = dtypes.float32, **attrs: Any) -> Instruction:
    in_dtypes = tuple(dtype if kind != "in" or what != "flag" else dtypes.bool_ for kind, what in operands)
    return Instruction("test", Expr(code), attrs, tuple(operands), in_dtypes, dtype)


def run(
    runner: Runner, group: Group, position: int, arrays: list[Array], outs: list[Spec], lanes: int
) -> list[Array]:
    """Run the kernel on ``arrays[position]`` with `group` as its epilogue."""
    cl = runner.cl
    x = arrays[position].astype(np.float32)
    epilogue = epilogue_text(group, position, [spec(a) for a in arrays], outs, lanes)
    parts = ["#define GR_CHUNKED 1\n", kernel_source("vectors.cl")]
    parts += [*vector_defines([epilogue]), kernel_source("math.cl"), PRELUDE]
    parts += [f"#define LANES {lanes}\n#define IN_TYPE float\n#define LOAD_V(p) vload{lanes}(0, p)\n"]
    kernel = cl.Kernel(runner.build("".join([*parts, epilogue, KERNEL])), "stores")
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR

    def buffer(array: Array) -> Any:
        # Behind an odd offset, so that one that is forgotten shows.
        return cl.Buffer(
            runner.context, flags, hostbuf=np.concatenate([array.ravel()[:1].repeat(3), array.ravel()])
        )

    targets = [buffer(np.zeros(s.dims, s.dtype.numpy)) for s in outs]
    sources = [buffer(a) for a in arrays]
    rows, cols = outs[0].dims
    args: list[Any] = [cl.Buffer(runner.context, flags, hostbuf=x), targets[0], np.uint64(3)]
    args += [np.int32(rows), np.int32(cols)]
    for kind, value in epilogue_args(group, position, outs):
        if kind in ("in", "out"):
            args += [(sources if kind == "in" else targets)[value], np.uint64(3)]
        else:
            args.append({"float": np.float32, "int": np.int32}[kind](value))
    kernel.set_args(*args)
    cl.enqueue_nd_range_kernel(runner.queue, kernel, (1,), (1,))
    results = []
    for s, target in zip(outs, targets, strict=True):
        host = np.empty(rows * cols + 3, s.dtype.numpy)
        cl.enqueue_copy(runner.queue, host, target)
        assert not host[:3].any(), "written before the tensor"
        results.append(host[3:].reshape(rows, cols))
    return results


@pytest.mark.opencl
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("cols", [1, 5, 16, 50])
def test_bias_residual_and_two_outputs(lanes: int, cols: int, rng: np.random.Generator) -> None:
    x, residual = (rng.standard_normal((6, cols)).astype(np.float32) for _ in range(2))
    bias, rows = (rng.standard_normal(s).astype(np.float32) for s in ((cols,), (6, 1)))
    one = np.array(0.5, np.float32)
    group = Group(
        (
            _instruction("a + b", [("in", 0), ("in", 1)]),
            _instruction("gr_max(a, ({T})0)", [("t", 0)]),
            _instruction("a * b + c", [("t", 1), ("lit", np.float32(3)), ("in", 2)]),
            _instruction("a > 0 ? a : b", [("t", 2), ("in", 3)]),  # not for vectors: taken lane by lane
            _instruction("a - b", [("t", 3), ("in", 4)]),
        ),
        (
            None, broadcast_map((cols,), (6, cols)), None, broadcast_map((6, 1), (6, cols)),
            broadcast_map((), (6, cols)),
        ),
        "test",
        extra=(1,),
    )  # fmt: skip
    outs = [Spec((6, cols), dtypes.float32)] * 2
    got = run(opencl(), group, 0, [x, bias, residual, rows, one], outs, lanes)
    relu = np.maximum(x + bias, 0)
    scaled = relu * np.float32(3) + residual
    np.testing.assert_allclose(got[0], np.where(scaled > 0, scaled, rows) - one, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(got[1], relu)


@pytest.mark.opencl
@pytest.mark.parametrize("lanes", [4, 16])
def test_maps_that_are_no_lines_and_other_dtypes(lanes: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 36)).astype(np.float16)
    turned = rng.standard_normal((36, 4)).astype(np.float32)
    tile = rng.standard_normal(3).astype(np.float32)
    back = np.arange(36, dtype=np.float32)
    maps = (
        AffineMap((4, 36), (1, 4)), None, AffineMap((4, 12, 3), (0, 0, 1)), AffineMap((4, 36), (0, -1), 35)
    )  # fmt: skip
    half, single = dtypes.float16, dtypes.float32
    group = Group(
        (
            _instruction("a * b", [("in", 1), ("lit", np.float16(1.0999))], half),
            Instruction("cast", Expr("convert_{O}(a)"), {}, (("t", 0),), (half,), single),
            _instruction("a + b * c + d", [("t", 1), ("in", 0), ("in", 2), ("in", 3)]),
            Instruction("cast", Expr("convert_{O}_sat(a)"), {}, (("t", 2),), (single,), dtypes.int32),
            _instruction("gr_exp(a)", [("t", 0)], half),
        ),
        maps,
        "test",
        extra=(3, 2),
    )
    outs = [Spec((4, 36), d) for d in (half, dtypes.int32, single)]
    got = run(opencl(), group, 1, [turned, x, tile, back], outs, lanes)
    scaled = x * np.float16(1.0999)
    mixed = scaled.astype(np.float32) + turned.T * np.tile(tile, 12) + back[::-1]
    np.testing.assert_allclose(got[0], np.exp(scaled.astype(np.float32)).astype(half.numpy), rtol=1e-3)
    np.testing.assert_array_equal(got[1], got[2].astype(np.int32))
    np.testing.assert_allclose(got[2], mixed, rtol=1e-6, atol=1e-6)
