"""A process that compiles kernels ahead of the one that waits for them.

PoCL compiles a kernel when it is launched for the first time, one kernel at a time, and keeps what it has
compiled in a folder that all processes share.  This process launches the same kernels, from the last to the
first, so that the two meet in the middle.  It runs one work-group of each, on zeros.

Started by `graphrun.runtime.opencl.ahead`, or by `probe` when that has tried the devices.  Each line that it
reads is a JSON object; one that comes while it works ends that work.  It ends with its input, or when it has
nothing to do.  It imports nothing of graphrun, whose import takes as long as compiling some kernels.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any

IDLE_S = 20.0

Tasks = queue.SimpleQueue[dict[str, Any]]


def _read(tasks: Tasks) -> None:
    try:
        for line in sys.stdin:
            tasks.put(json.loads(line))
    finally:
        os._exit(0)  # whoever wants these kernels is gone; the compiler cannot be interrupted otherwise


def compile_task(cl: Any, context: Any, queue_: Any, task: dict[str, Any], tasks: Tasks) -> int:
    """Launch a task's kernels until another task comes; return how many were launched."""
    import numpy as np

    program = cl.Program(context, task["source"]).build(task["options"], cache_dir=False)
    buffers: dict[int, Any] = {}
    count = 0
    for name, args, local in task["launches"]:
        if not tasks.empty():
            break
        kernel = cl.Kernel(program, name)
        for k, (dtype, value) in enumerate(args):
            if dtype != "buffer":
                kernel.set_arg(k, np.dtype(dtype).type(value))
                continue
            if value not in buffers:
                zeros = np.zeros(max(task["buffers"][str(value)], 16), np.uint8)
                flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
                buffers[value] = cl.Buffer(context, flags, hostbuf=zeros)
            kernel.set_arg(k, buffers[value])
        cl.enqueue_nd_range_kernel(queue_, kernel, local, local)
        queue_.finish()
        count += 1
    return count


def serve() -> None:
    """Compile what the input asks for."""
    tasks: Tasks = queue.SimpleQueue()
    threading.Thread(target=_read, args=(tasks,), daemon=True).start()
    import warnings

    warnings.simplefilter("ignore")
    import pyopencl as cl

    opened: dict[tuple[int, int], tuple[Any, Any]] = {}
    while True:
        try:
            task = tasks.get(timeout=IDLE_S)
        except queue.Empty:
            return
        while not tasks.empty():  # only the latest is still wanted
            task = tasks.get()
        if task:
            platform, device = task["device"]
            if (platform, device) not in opened:
                handle = cl.get_platforms()[platform].get_devices()[device]
                context = cl.Context([handle])
                opened[platform, device] = context, cl.CommandQueue(context, handle)
            compile_task(cl, *opened[platform, device], task, tasks)


if __name__ == "__main__":
    serve()
