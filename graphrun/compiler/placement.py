"""Pass 7: give every node a device, by what it can do, and insert copies where devices meet.

A node goes where its `device` scope says, else to the session's device.  What an OpenCL device cannot run
goes to the host, with the reason noted for the plan; in strict mode it is an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphrun.compiler.ir import CONST, COPY, FEED, STATE, Node, Program, Value
from graphrun.compiler.kernel_plans import kernel_plan
from graphrun.compiler.loops import LOOP
from graphrun.device_names import NUMPY, runs_kernels
from graphrun.errors import DeviceError, format_site, message
from graphrun.graph.descriptor import Capabilities, Expr, Index, Kernel, Reduce, View
from graphrun.graph.opdef import get_op
from graphrun.shapes import format_shape

_FAMILY = {Expr: "elementwise", View: "view", Index: "index", Reduce: "reduce"}


@dataclass(frozen=True)
class Target:
    """Where a program is to run.

    Parameters
    ----------
    default : str
        Device of nodes that ask for none.
    capabilities : mapping of str to Capabilities
        Of each device other than NumPy that nodes ask for; None where a missing device is replaced by
        the host.
    strict : bool
        Make it an error where a node asks for a device that cannot run it.
    blocked : mapping
        Kernel families that failed their self-test, a set for each device.  One with a method ``expect`` is
        told which families a program is going to ask for.
    loops : function
        From the node of a loop, and this, to a function of arrays that runs it.
    blocks : function
        From a `BlockGroup` to a function of arrays that runs it; None where the host runs node by node.
    memory : MemoryLimit, optional
        What each plan has to keep to (see `compiler/limit.py`).
    """

    default: str = NUMPY
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False
    blocked: Mapping[str, Container[str]] = field(default_factory=lambda: defaultdict(frozenset))
    loops: Callable[[Node, Target], tuple[Callable[..., Any], Any]] | None = field(
        default=None, compare=False, repr=False
    )
    blocks: Callable[[Any], Callable[..., Any]] | None = field(default=None, compare=False, repr=False)
    obstacles: dict[Any, str] = field(default_factory=dict, compare=False, repr=False)
    memory: Any = None


def obstacle(node: Node, capabilities: Capabilities, blocked: Container[str]) -> str:
    """Why a device cannot run `node`; empty where it can."""
    specs = node.input_specs
    for spec in (*specs, *node.specs):
        if not capabilities.supports(spec.dtype):
            return f"the device has no {spec.dtype}"
    descriptor = node.op.descriptor(specs, node.attrs)
    if descriptor is None:
        return "" if node.op.expand is not None else "it has no OpenCL kernel"
    if family_of(descriptor) in blocked:
        return f"the device failed the self-test of the {family_of(descriptor)} kernels"
    if (
        isinstance(descriptor, Kernel)
        and kernel_plan(node.op, specs, node.specs, node.attrs, capabilities) is None
    ):
        return f"its OpenCL kernel does not take {', '.join(str(s.dtype) for s in specs)} of these shapes"
    return ""


def family_of(descriptor: Any) -> str:
    """The name under which kernels of this form are tested."""
    return descriptor.family if isinstance(descriptor, Kernel) else _FAMILY[type(descriptor)]


def place(program: Program, target: Target) -> Program:
    """Run the pass."""
    _expect(program, target)
    nodes: list[Node] = []
    replaced: dict[Value, Value] = {}
    for node in program.nodes:
        if replaced:
            node.inputs = [replaced.get(v, v) for v in node.inputs]
        if node.op in (CONST, FEED, STATE):
            node.device = ""
            nodes.append(node)
            continue
        for new in _place_one(node, target, nodes):
            replaced.update(new)
    program.nodes = nodes
    program.replace(replaced)
    _insert_copies(program)
    program.remove_dead()
    return program


def _expect(program: Program, target: Target) -> None:
    """Say which families will be asked for: to test them one by one takes longer."""
    device = target.default
    if not runs_kernels(device) or target.capabilities[device] is None:
        return
    expect = getattr(target.blocked[device], "expect", None)
    if expect is not None:
        with_kernels = [n for n in program.nodes if n.op.opencl is not None]
        descriptors = [n.op.descriptor(n.input_specs, n.attrs) for n in with_kernels]
        expect({family_of(d) for d in descriptors if d is not None})


def _place_one(node: Node, target: Target, nodes: list[Node]) -> list[dict[Value, Value]]:
    """Append `node`, or what it expands to, to `nodes`; return the values to replace."""
    if node.op is CONST:
        nodes.append(node)
        return []
    if node.op is LOOP:
        # The host drives it; its iterations are plans of their own, on the session's device.
        node.device = NUMPY
        nodes.append(node)
        return []
    # What calls back into Python is on the host by its nature, whatever device the data is on.
    wish = NUMPY if node.op.effect else node.device or target.default
    if not runs_kernels(wish):
        node.device = wish
        nodes.append(node)
        return []
    try:
        capabilities = target.capabilities[wish]
    except DeviceError as fault:
        asked = f"{node.op.name} '{node.name}' asks for a device: {fault}\n  {format_site(node.site)}"
        raise DeviceError(asked.rstrip()) from None
    if capabilities is None:
        node.device, node.note = NUMPY, f"there is no device {wish}"
        nodes.append(node)
        return []
    reason = _known_obstacle(node, wish, target)
    if not reason and node.op.descriptor(node.input_specs, node.attrs) is None:
        expanded = _expand(node, wish, target, nodes)
        if expanded is not None:
            return [expanded]
        reason = "it has no OpenCL kernel for this case"
    if reason and target.strict:
        raise DeviceError(
            message(
                f"cannot run on {wish}: {reason}",
                where=f"{node.op.name} '{node.name}'",
                site=node.site,
                got=", ".join(f"{format_shape(s.shape)} {s.dtype}" for s in node.input_specs),
                fix="Session(strict=False) runs it on the host, and the plan says so",
            )
        )
    node.device = NUMPY if reason else wish
    node.note = reason
    nodes.append(node)
    return []


def _known_obstacle(node: Node, device: str, target: Target) -> str:
    """`obstacle`, asked once for equal nodes: plans of kernels take their time."""
    key = (device, node.op.name, tuple(node.input_specs), node.specs, frozenset(node.attrs.items()))
    found = target.obstacles.get(key)
    if found is None:
        found = target.obstacles[key] = obstacle(node, target.capabilities[device], target.blocked[device])
    return found


def _expand(node: Node, device: str, target: Target, nodes: list[Node]) -> dict[Value, Value] | None:
    mark = len(nodes)
    replaced: dict[Value, Value] = {}

    def build(name: str, values: Sequence[Value], attrs: Mapping[str, Any] | None = None) -> Value:
        op = get_op(name)
        new = Node(op, [replaced.get(v, v) for v in values], dict(attrs or {}), (), node.origin, device)
        new.specs = tuple(op.check(node.name, node.site, new.input_specs, new.attrs))
        for more in _place_one(new, target, nodes):
            replaced.update(more)
        return replaced.get((new, 0), (new, 0))

    result = node.op.expand(build, list(node.inputs), node.input_specs, node.attrs)  # type: ignore[misc]
    if result is None:
        del nodes[mark:]
        return None
    results = result if isinstance(result, list) else [result]
    return {(node, i): replaced.get(v, v) for i, v in enumerate(results) if v is not None}


def _insert_copies(program: Program) -> None:
    copies: dict[tuple[Value, str], Value] = {}
    nodes: list[Node] = []
    for node in program.nodes:
        if node.op not in (CONST, FEED, STATE):
            for i, value in enumerate(node.inputs):
                source = value[0]
                # Constants, feeds and states are made where they are read.
                if not source.device or source.device == node.device:
                    continue
                key = (value, node.device)
                if key not in copies:
                    copy = Node(COPY, [value], {}, (source.specs[value[1]],), source.origin, node.device)
                    nodes.append(copy)
                    copies[key] = (copy, 0)
                node.inputs[i] = copies[key]
        nodes.append(node)
    program.nodes = nodes
