"""Devices, the executor and the profiler.  Nothing here ever sees a Graph."""
