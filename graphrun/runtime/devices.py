"""Devices by their canonical names."""

from __future__ import annotations

import os
from typing import Any

from graphrun.device_names import NUMPY
from graphrun.errors import DeviceError, message
from graphrun.graph.descriptor import Capabilities
from graphrun.runtime.null_device import NullDevice

_null = NullDevice()


def get_device(name: str) -> Any:
    """The device called `name`: ``opencl:N`` or ``null:0``.

    Raises
    ------
    DeviceError
        If there is none, with the devices that there are.
    """
    if name == "null:0":
        return _null
    kind, _, index = name.partition(":")
    if kind != "opencl":
        raise DeviceError(message(f"{name} is not a device that kernels run on", where="get_device"))
    from graphrun.runtime.opencl import reports

    working = [r.name for r in reports() if r.working]
    if name not in working:
        raise DeviceError(
            message(
                f"there is no device {name}",
                got=f"devices: {', '.join([NUMPY, *working])}",
                fix="`graphrun doctor` says what is found on this machine, and what is missing",
            )
        )
    from graphrun.runtime.opencl.device import open_device

    device = open_device(int(index))
    if device.process != os.getpid():
        raise forked(name)
    return device


def forked(names: str) -> DeviceError:
    """The error of a process that inherited an open device; a driver's threads do not survive a fork."""
    return DeviceError(
        message(
            f"this process was forked from one that had opened {names}",
            expected="a process that opens the device itself: drivers do not survive a fork",
            fix="use NumPy there (device='cpu:0'), or multiprocessing's 'spawn' start method",
        )
    )


def capabilities(name: str) -> Capabilities:
    """What the device called `name` can do."""
    found: Capabilities = get_device(name).capabilities
    return found


def list_devices() -> list[str]:
    """Canonical names of the devices that work here; NumPy is always among them."""
    from graphrun.runtime.opencl import reports

    return [NUMPY, *[r.name for r in reports() if r.working]]
