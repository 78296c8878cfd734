"""What the compiler is told of the devices of this process."""

from __future__ import annotations

from typing import Any

from graphrun.compiler.ir import Node
from graphrun.compiler.limit import MemoryLimit
from graphrun.compiler.placement import Target
from graphrun.errors import DeviceError
from graphrun.runtime.block_runner import BlockRunner
from graphrun.runtime.devices import get_device
from graphrun.runtime.loop_runner import LoopRunner
from graphrun.runtime.selftest import blocked_families


def target(device: str, soft: bool, strict: bool, memory: MemoryLimit | None = None) -> Target:
    """What to compile for.

    Parameters
    ----------
    device : str
        Where operations run that ask for no device.
    soft : bool
        Leave out devices that do not exist, instead of raising.
    strict : bool
        Raise where a device cannot run an operation.
    memory : MemoryLimit, optional
        What each plan has to keep to.
    """
    return Target(device, _Capabilities(soft), strict, _Blocked(), _loop_runner, BlockRunner, memory=memory)


class _Capabilities(dict[str, Any]):
    """Capabilities by device, asked for when a node wants the device; None for a missing one if `soft`."""

    def __init__(self, soft: bool) -> None:
        super().__init__()
        self.soft = soft

    def __missing__(self, name: str) -> Any:
        try:
            self[name] = get_device(name).capabilities
        except DeviceError:
            if not self.soft:
                raise
            self[name] = None
        return self[name]


class _Blocked(dict[str, Any]):
    """Kernel families that failed on a device."""

    def __missing__(self, name: str) -> frozenset[str]:
        self[name] = blocked_families(get_device(name))
        return self[name]


def _loop_runner(node: Node, target: Target) -> tuple[LoopRunner, Any]:
    where = f"{node.op.name} '{node.name}'"
    runner = LoopRunner(node.attrs["repeat"], target, get_device, where, node.site)
    return runner, runner.plans(node.input_specs)
