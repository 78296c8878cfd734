"""pyopencl, imported after the settings that it and the drivers read at their start."""

from __future__ import annotations

from graphrun.errors import DeviceError, message
from graphrun.runtime.opencl import advice
from graphrun.runtime.opencl.loader import prepare_environment

prepare_environment()

try:
    import pyopencl as cl
except Exception as error:  # a broken libOpenCL shows as anything from ImportError to RuntimeError
    problem = f"{type(error).__name__}: {error}"
    raise DeviceError(
        message(
            "OpenCL devices need pyopencl, which cannot be imported",
            got=problem,
            fix=advice.pyopencl(problem),
        )
    ) from error

__all__ = ["cl"]
