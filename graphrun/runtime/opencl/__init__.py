"""OpenCL: finding devices that work, buffers and queues, building programs.

The only package of graphrun that imports pyopencl, and it does so when a device is first asked for.
"""

from graphrun.runtime.opencl.discover import DeviceReport as DeviceReport
from graphrun.runtime.opencl.discover import DeviceWarning as DeviceWarning
from graphrun.runtime.opencl.discover import reports as reports
from graphrun.runtime.opencl.loader import LoaderReport as LoaderReport
from graphrun.runtime.opencl.loader import loader_report as loader_report
