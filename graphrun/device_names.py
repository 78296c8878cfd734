"""Device names as users write them, and the two kinds that graphrun knows.

``cpu:0`` is NumPy.  ``opencl:N`` is the Nth working OpenCL device, GPUs first; ``gpu:N`` is another name
for it.  TensorFlow's spellings (``/gpu:0``, ``/device:GPU:0``, ``/job:localhost/.../device:CPU:0``) are read.
"""

from __future__ import annotations

import functools
import re

from graphrun.errors import DeviceError, message

_PATTERN = re.compile(r"^(?:device:)?(cpu|gpu|opencl|numpy|null)(?::(\d+|\*))?$")
NUMPY = "cpu:0"


def parse_device(name: str) -> str:
    """Return the canonical name: ``cpu:0``, ``opencl:N`` or ``null:0``; an empty one for no wish.

    Examples
    --------
    >>> parse_device("/gpu:1"), parse_device("/job:worker/task:0/device:CPU:3"), parse_device("")
    ('opencl:1', 'cpu:0', '')
    """
    if not isinstance(name, str):
        raise DeviceError(message(f"a device is named by a string, got {name!r}", expected='"/gpu:0"'))
    parts = [p for p in name.lower().split("/") if p]
    parts = [p for p in parts if p.split(":")[0] not in ("job", "replica", "task")]
    if not parts:
        return ""
    match = _PATTERN.match(parts[-1])
    if len(parts) > 1 or not match:
        raise DeviceError(
            message(
                f"no such device: {name!r}",
                expected='"/cpu:0" (NumPy), "/gpu:0" or "opencl:0"',
                fix="`graphrun doctor` lists the devices of this machine",
            )
        )
    kind, index = match[1], match[2] or "0"
    if kind in ("cpu", "numpy"):
        return NUMPY  # every CPU of a machine is one NumPy device
    return f"{'null' if kind == 'null' else 'opencl'}:{0 if index == '*' else int(index)}"


@functools.lru_cache(maxsize=256)
def runs_kernels(device: str) -> bool:
    """Whether a canonical name is that of a device that runs OpenCL kernels (or pretends to, as null)."""
    return device.startswith(("opencl", "null"))
