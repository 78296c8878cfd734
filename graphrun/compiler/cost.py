"""What plans cost, roughly: good enough to tell where a plan is worth trying, not to predict its time.

The rates are those of two cores of a current server, measured by ``benchmarks/`` and rounded; of a choice
that they make wrongly the runtime finds out by measuring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphrun.compiler.blocks import BLOCKS
from graphrun.compiler.ir import Node
from graphrun.compiler.kernel_plans import kernel_plan
from graphrun.compiler.plan import Plan
from graphrun.compiler.steps import DownloadStep, LaunchStep, UploadStep, size_bytes
from graphrun.graph.descriptor import Capabilities, Expr, Kernel
from graphrun.shapes import num_elements

# NumPy: one call; elements a core takes on; memory that was never written; products through BLAS.
_CALL_NS = 1_500.0
_ELEMENT_NS = 0.3
_FLOP_NS = 0.05
_FRESH_BYTE_NS = 0.2
_PRODUCT_FLOPS_PER_NS = 30.0
# A result beyond this comes from the operating system, page by page.
_FRESH_BYTES = 1 << 18
# Operations that run block by block do not go to memory, and take more than one core.
_BLOCK_SPEED_UP = 2
# Below, asking what a kernel would do costs more than the answer is worth.
_SMALL_ELEMENTS = 1 << 14

# A device: one launch, and rates for each compute unit of a CPU, or of a GPU as a whole.
_LAUNCH_NS = {"cpu": 15_000.0, "gpu": 8_000.0}
_CPU_UNIT_FLOPS_PER_NS = 100.0
_CPU_BYTES_PER_NS = 10.0
_GPU_FLOPS_PER_NS = 2_000.0
_GPU_BYTES_PER_NS = 200.0
_TRANSFER_BYTES_PER_NS = 8.0

_GENERIC = Capabilities()


def host_ns(node: Node) -> float:
    """The time that an operation takes on NumPy."""
    made = sum(num_elements(s.shape) or 0 for s in node.specs)
    read = max((num_elements(s.shape) or 0 for s in node.input_specs), default=0)
    if made + read < _SMALL_ELEMENTS:
        return _CALL_NS
    elements = max(made, read)
    if node.op is BLOCKS:
        elements //= _BLOCK_SPEED_UP
        return _CALL_NS + sum(_ELEMENT_NS * elements for _ in node.attrs["group"].calls)
    made_bytes = sum(size_bytes(s) for s in node.specs)
    fresh = _FRESH_BYTE_NS * made_bytes if made_bytes >= _FRESH_BYTES else 0.0
    descriptor = node.op.descriptor(node.input_specs, node.attrs)
    flops = 0
    if isinstance(descriptor, Expr):
        flops = descriptor.flops * elements
    elif isinstance(descriptor, Kernel):
        plan = kernel_plan(node.op, node.input_specs, node.specs, node.attrs, _GENERIC)
        if plan is not None and plan.flops:
            return _CALL_NS + fresh + plan.flops / _PRODUCT_FLOPS_PER_NS
    return _CALL_NS + fresh + _ELEMENT_NS * elements + _FLOP_NS * flops


def plan_ns(plan: Plan, capabilities: Mapping[str, Any]) -> float:
    """The time that a run of a plan takes."""
    total = plan.host_ns
    for step in plan.steps:
        if isinstance(step, UploadStep | DownloadStep):
            c = capabilities[step.device]
            total += _LAUNCH_NS[c.kind] + step.place.size_bytes / _TRANSFER_BYTES_PER_NS
        elif isinstance(step, LaunchStep):
            total += _launch_ns(step, capabilities[step.device])
    return total


def _launch_ns(step: LaunchStep, c: Capabilities) -> float:
    if step.once is not None:
        return 0.0
    moved = step.read_bytes + step.written_bytes
    if c.kind == "gpu":
        return _LAUNCH_NS["gpu"] + max(step.flops / _GPU_FLOPS_PER_NS, moved / _GPU_BYTES_PER_NS)
    flops_per_ns = _CPU_UNIT_FLOPS_PER_NS * c.compute_units
    return _LAUNCH_NS["cpu"] + max(step.flops / flops_per_ns, moved / _CPU_BYTES_PER_NS)
