"""From a node of an OpenCL device to launches: kernel text, arguments and sizes.

Buffers are still symbolic here: ``("in", k)``, ``("out", k)`` and ``("scratch", k)``; the lowering puts
places in.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from graphrun.compiler import codegen
from graphrun.compiler.codegen import EPILOGUE_MACROS, epilogue_args, epilogue_text
from graphrun.compiler.codegen.rows import GPU_GROUP as ROWS_GROUP
from graphrun.compiler.codegen.rows import SCRATCH_BYTES, row_kernel, row_literals
from graphrun.compiler.epilogue import Epilogue
from graphrun.compiler.fusion import Group
from graphrun.compiler.ir import Node, attrs_key
from graphrun.compiler.kernel_plans import kernel_plan
from graphrun.compiler.rows import RowGroup
from graphrun.dtypes import DType
from graphrun.graph.descriptor import Capabilities, Expr, Index, Kernel, KernelPlan, Launch, Reduce
from graphrun.kernel_files import kernel_source
from graphrun.shapes import normalize_axes, num_elements

# Below this many elements a second work-item on a CPU costs more than it saves.
CPU_GRAIN = 16384
CPU_ITEMS_PER_UNIT = 4
GPU_GROUP = 128
GPU_GROUPS_PER_UNIT = 32
# Work units that a reduction should have, so that every compute unit gets some.
REDUCE_UNITS_PER_CU = {"cpu": 4, "gpu": 512}
MIN_SPLIT_LENGTH = 4096


@dataclass(frozen=True)
class KernelLaunch:
    """One launch with symbolic buffers."""

    name: str
    text: str
    args: tuple[tuple[str, Any], ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None
    label: str
    flops: int = 0


def _named(prefix: str, text: str) -> tuple[str, str]:
    """The kernel's name, made of its text so that equal ones are one, and the text that bears it."""
    name = f"{prefix}_{hashlib.sha1(text.encode()).hexdigest()[:12]}"
    return name, text.replace("GR_KERNEL", name)


def sizes(n: int, cost: int, capabilities: Capabilities) -> tuple[tuple[int], tuple[int]]:
    """Global and local size for `n` pieces of work of about `cost` elements each."""
    if capabilities.kind == "cpu":
        wanted = max(1, n * cost // CPU_GRAIN)
        return (min(wanted, n, capabilities.compute_units * CPU_ITEMS_PER_UNIT),), (1,)
    group = min(GPU_GROUP, capabilities.max_work_group_size)
    groups = min(-(-n // group), capabilities.compute_units * GPU_GROUPS_PER_UNIT)
    return (groups * group,), (group,)


def _reduce_sizes(
    n: int, cost: int, capabilities: Capabilities, groups: bool
) -> tuple[tuple[int], tuple[int]]:
    """As `sizes`; `groups` tells that each piece is for a whole group."""
    if not groups:
        return sizes(n, cost, capabilities)
    group = 1 << (min(GPU_GROUP, capabilities.max_work_group_size).bit_length() - 1)
    return (min(n, capabilities.compute_units * GPU_GROUPS_PER_UNIT) * group,), (group,)


class KernelCache:
    """Kernel texts of one lowering: a deep network repeats the same few again and again."""

    def __init__(self) -> None:
        self._kernels: dict[Any, Any] = {}

    def of(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returned for an equal key."""
        found = self._kernels.get(key)
        if found is None:
            found = self._kernels[key] = make()
        return found


def _group_key(group: Group) -> Any:
    in_text = not group.scalars

    def operand(kind: str, what: Any) -> Any:
        # The bits of a literal in the text, since 0.0 == -0.0 and NaN differs from itself.
        return (kind, what) if kind != "lit" else (kind, what.tobytes() if in_text else None)

    return tuple(
        (
            i.op, attrs_key(i.attrs), i.dtype, i.in_dtypes,
            tuple(operand(*o) for o in i.operands),
        )
        for i in group.instructions
    ), group.maps, group.extra, group.places  # fmt: skip


def fused_launch(
    node: Node, group: Group, capabilities: Capabilities, in_place: Mapping[int, int], cache: KernelCache
) -> KernelLaunch:
    """The launch of a fused group, or of a view that must be made."""
    outs = node.specs
    n = num_elements(outs[0].shape) or 0
    in_specs = node.input_specs
    name, text = cache.of(
        (_group_key(group), tuple(s.dtype for s in (*in_specs, *outs)), tuple(in_place.items())),
        lambda: _named("fused", codegen.elementwise(group, in_specs, outs, in_place)),
    )
    args: list[tuple[str, Any]] = [("in", k) for k in range(len(node.inputs)) if k not in in_place]
    args += [("out", j) for j in range(len(outs))]
    args += [(dtype.compute, value.item()) for value, dtype in group.scalars] + [("ulong", n)]
    flops = sum(i.expr.flops for i in group.instructions)
    global_size, local_size = sizes(n, max(1, flops // 4), capabilities)
    return KernelLaunch(name, text, tuple(args), global_size, local_size, group.label, flops * n)


def _rows_key(group: RowGroup) -> Any:
    # A literal that is an argument is known by which argument it is, not by its value.
    number = {(v.tobytes(), d.name): m for m, (v, d) in enumerate(row_literals(group))}

    def operand(kind: str, what: Any, dtype: DType) -> Any:
        if kind != "lit":
            return kind, what
        return kind, number.get((what.tobytes(), dtype.name), what.tobytes())

    return group.columns, group.inputs, group.results, tuple(
        (
            i.op, i.kind, attrs_key(i.attrs), i.dtype, i.in_dtypes,
            tuple(operand(*o, d) for o, d in zip(i.operands, i.in_dtypes, strict=True)),
        )
        for i in group.instructions
    )  # fmt: skip


def rows_launches(
    node: Node, group: RowGroup, capabilities: Capabilities, in_place: Mapping[int, int], cache: KernelCache
) -> tuple[list[KernelLaunch], tuple[int, ...]]:
    """The launch of a row group, and the bytes of its scratch."""
    columns, n = group.columns, node.attrs["rows"]
    text, scratch_rows = cache.of(
        ("rows", _rows_key(group), tuple(node.input_specs), node.specs, tuple(in_place.items())),
        lambda: row_kernel(group, node.input_specs, node.specs, in_place, capabilities.kind),
    )
    name, text = _named("rows", text)
    flops = sum(i.code.flops if isinstance(i.code, Expr) else 1 for i in group.instructions)
    if capabilities.kind == "gpu":
        local = 1
        while local * 2 <= min(ROWS_GROUP, capabilities.max_work_group_size, columns):
            local *= 2
        groups = min(n, capabilities.compute_units * GPU_GROUPS_PER_UNIT)
        global_size, local_size = (groups * local,), (local,)
    else:
        groups = sizes(n, columns * max(1, flops // 4), capabilities)[0][0]
        global_size, local_size = (groups,), (1,)
    args: list[tuple[str, Any]] = [("in", k) for k in range(len(node.inputs)) if k not in in_place]
    args += [("out", k) for k in range(len(node.specs))]
    scratch: tuple[int, ...] = ()
    if scratch_rows:
        args.append(("scratch", 0))
        scratch = (groups * scratch_rows * columns * SCRATCH_BYTES,)
    args += [(dtype.compute, value.item()) for value, dtype in row_literals(group)] + [("ulong", n)]
    launch = KernelLaunch(name, text, tuple(args), global_size, local_size, group.label, flops * n * columns)
    return [launch], scratch


class PackLaunches(NamedTuple):
    """The launches of a `Pack`: which input of the node they read, and what makes two packs one."""

    number: int  # among the packs of the node
    source: int
    launches: list[KernelLaunch]
    size_bytes: int
    key: Any


# Launches, bytes of the scratch buffers that they share, and packs that they read.
NodeLaunches = tuple[list[KernelLaunch], tuple[int, ...], list[PackLaunches]]


def node_launches(
    node: Node, capabilities: Capabilities, cache: KernelCache, readers: tuple[int, ...] = ()
) -> NodeLaunches:
    """The launches of an unfused node; `readers` is for kernels with packs."""
    key = (node.op.name, tuple(node.input_specs), node.specs, attrs_key(node.attrs), readers)
    found: NodeLaunches = cache.of(key, lambda: _launches(node, capabilities, readers))
    return found


def _launches(node: Node, capabilities: Capabilities, readers: tuple[int, ...]) -> NodeLaunches:
    descriptor = node.op.descriptor(node.input_specs, node.attrs)
    if isinstance(descriptor, Index):
        return [_index_launch(node, descriptor, capabilities)], (), []
    if isinstance(descriptor, Reduce):
        return *_reduce_launches(node, descriptor, capabilities), []
    if isinstance(descriptor, Kernel):
        ins, outs, attrs = node.input_specs, node.specs, node.attrs
        plan = kernel_plan(node.op, ins, outs, attrs, capabilities, readers=readers)
        assert plan is not None, "placement asked the same question"
        launches = [_file_launch(node.op.name, launch) for launch in plan.launches]
        return _with_flops(launches, plan.flops), plan.scratch_bytes, _pack_launches(node.op.name, plan)
    raise AssertionError(f"{node.op.name} has no launch of its own")


def _with_flops(launches: list[KernelLaunch], flops: int) -> list[KernelLaunch]:
    return [*launches[:-1], replace(launches[-1], flops=flops)] if launches and flops else launches


def _pack_launches(name: str, plan: KernelPlan) -> list[PackLaunches]:
    return [
        PackLaunches(j, p.source[1], [_file_launch(name, x) for x in p.launches], p.size_bytes, p.key)
        for j, p in enumerate(plan.packs)
    ]


def epilogue_plan(node: Node, capabilities: Capabilities, readers: tuple[int, ...]) -> KernelPlan:
    """What the kernels under an epilogue launch."""
    e: Epilogue = node.attrs["epilogue"]
    specs = node.input_specs[: e.count]
    plan = kernel_plan(e.op, specs, e.outs(node)[:1], e.attrs, capabilities, True, readers)
    assert plan is not None, "the pass asked the same question"
    return plan


def epilogue_launches(node: Node, group: Group, plan: KernelPlan, cache: KernelCache) -> NodeLaunches:
    """The launches of a kernel with an epilogue; `group` is its group, with the places of outputs."""
    e: Epilogue = node.attrs["epilogue"]
    position, outs, specs = e.position, e.outs(node), e.group_specs(node)
    more = tuple((k, e.input_of(v) if k == "in" else v) for k, v in epilogue_args(group, position, outs))
    launches = []
    for number, launch in enumerate(plan.launches):
        if number not in plan.storing:
            launches.append(_file_launch(e.op.name, launch))
            continue
        lanes = dict(launch.defines).get("W", 1)
        macros = cache.of(
            ("epilogue", _group_key(group), position, tuple(specs), tuple(outs), lanes),
            lambda lanes=lanes: epilogue_text(group, position, specs, outs, lanes),  # type: ignore[misc]
        )
        name, text = _file_kernel(launch.file, launch.entry, launch.defines, macros)
        label = f"{e.op.name}:{launch.entry}:{group.label}"
        launches.append(
            KernelLaunch(name, text, (*launch.args, *more), launch.global_size, launch.local_size, label)
        )
    flops = sum(i.expr.flops for i in group.instructions) * (num_elements(e.spec.shape) or 0)
    return _with_flops(launches, plan.flops + flops), plan.scratch_bytes, _pack_launches(e.op.name, plan)


def _index_launch(node: Node, descriptor: Index, capabilities: Capabilities) -> KernelLaunch:
    out = node.specs[0]
    n = num_elements(out.shape) or 0
    text = codegen.index_kernel(descriptor, node.input_specs, out, node.attrs, node.op.name)
    name, text = _named("index", text)
    args = (*[("in", k) for k in range(len(node.inputs))], ("out", 0), ("ulong", n))
    global_size, local_size = sizes(n, 4, capabilities)
    return KernelLaunch(name, text, args, global_size, local_size, node.op.name)


def _reduce_launches(
    node: Node, reduce: Reduce, capabilities: Capabilities
) -> tuple[list[KernelLaunch], tuple[int, ...]]:
    x, out = node.input_specs[0], node.specs[0]
    shape: Sequence[int] = x.shape  # type: ignore[assignment]
    axes = normalize_axes(node.attrs.get("axis"), len(shape))
    outputs = num_elements(out.shape) or 0
    if not outputs:
        return [], ()
    length = math.prod(shape[a] for a in axes)
    label = node.op.name
    inout = (("in", 0), ("out", 0))
    kind = capabilities.kind
    units = codegen.reduce_units(shape, axes, kind)
    if reduce.arg:
        name, text = _named("arg", codegen.arg_kernel(reduce, x, out, axes[0], node.attrs, label, kind))
        sized = sizes(units, length * outputs // units, capabilities)
        args: tuple[tuple[str, Any], ...] = (*inout, ("ulong", units), ("long", length))
        return [KernelLaunch(name, text, args, *sized, label, outputs * length)], ()
    groups = codegen.by_groups(shape, axes, kind)
    wanted = REDUCE_UNITS_PER_CU[kind] * capabilities.compute_units // (GPU_GROUP if groups else 1)
    splits = max(1, min(wanted // max(units, 1), length * max(outputs, 1) // CPU_GRAIN, length // 64))
    if kind == "gpu" and length >= MIN_SPLIT_LENGTH // 16:
        splits = max(splits, min(wanted // max(units, 1), length // 32))
    if splits <= 1:
        text, last = codegen.reduce_kernel(reduce, x, out, axes, node.attrs, 1, "all", label, kind)
        name, text = _named("reduce", text)
        sized = _reduce_sizes(units, length * outputs // max(units, 1), capabilities, groups)
        args = (*inout, ("ulong", units), *last)
        return [KernelLaunch(name, text, args, *sized, label, outputs * length)], ()
    splits = -(-length // -(-length // splits))  # no part is empty
    first, last1 = codegen.reduce_kernel(reduce, x, out, axes, node.attrs, splits, "first", label, kind)
    second, last2 = codegen.reduce_kernel(reduce, x, out, axes, node.attrs, splits, "second", label, kind)
    accumulator_bytes = {"double": 8, "long": 8, "ulong": 8}.get(x.dtype.compute, 4)
    name1, text1 = _named("reduce", first)
    name2, text2 = _named("reduce", second)
    n = units * splits
    return [
        KernelLaunch(name1, text1, (("in", 0), ("scratch", 0), ("ulong", n), *last1),
                     *_reduce_sizes(n, length * outputs // n, capabilities, groups), label, outputs * length),
        KernelLaunch(name2, text2, (("scratch", 0), ("out", 0), ("ulong", outputs), *last2),
                     *sizes(outputs, splits, capabilities), f"{label} (second stage)"),
    ], (splits * outputs * accumulator_bytes,)  # fmt: skip


def _file_launch(op_name: str, launch: Launch) -> KernelLaunch:
    name, text = _file_kernel(launch.file, launch.entry, launch.defines, source=launch.source)
    return KernelLaunch(
        name, text, launch.args, launch.global_size, launch.local_size, f"{op_name}:{launch.entry}"
    )


@functools.lru_cache(maxsize=256)
def _file_kernel(
    file: str, entry: str, given: tuple[tuple[str, Any], ...], epilogue: str = "", source: str = ""
) -> tuple[str, str]:
    defines = dict(given)
    defines.setdefault(f"GR_ENTRY_{entry}", 1)
    head = "".join(f"#define {k} {v}\n" for k, v in defines.items())
    tail = "".join(f"#undef {k}\n" for k in (*defines, *(EPILOGUE_MACROS if epilogue else ())))
    body = source or kernel_source(file)
    return _named(entry, f"{epilogue}{head}#define GR_NAME GR_KERNEL\n{body}\n#undef GR_NAME\n{tail}")


# What math.cl and the prelude define, but not what vectors.cl does, which every program has.
_HELPER = re.compile(r"\bgr_(?!v(load|store|stream)\d|fetch)")


def program_source(texts: Sequence[str], capabilities: Capabilities) -> str:
    """One OpenCL program of the kernels, each text once."""
    parts = [f"#define GR_CHUNKED {int(capabilities.kind == 'cpu')}\n"]
    if capabilities.fp64:
        parts.append("#define GR_FP64 1\n")
    unique = list(dict.fromkeys(texts))
    parts.append(kernel_source("vectors.cl"))
    if any(_HELPER.search(text) for text in unique):
        parts += [*codegen.vector_defines(unique), kernel_source("math.cl")]
    return "\n".join([*parts, codegen.PRELUDE, *unique])
