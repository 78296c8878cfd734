"""What does one run cost when there is next to nothing to compute?

Adds two fed scalars, so that all that is left is feeds, plan look-up, the executor, and fetches.  On NumPy
the limits are 15 us for `Session.run` and 5 us for a callable; the addition itself, as NumPy does it, is
printed beside them.  On OpenCL a run must wait for the device, so there are no limits.

    python benchmarks/session_overhead.py [--devices cpu,opencl:0]

The exit status is 1 where a limit is exceeded.
"""

from __future__ import annotations

import sys

import numpy as np
from common import devices_of, machine, time_calls, verdict

import graphrun as gr
from graphrun.device_names import NUMPY

LIMITS_S = {"Session.run": 15e-6, "make_callable": 5e-6}


def main(argv: list[str] | None = None) -> int:
    devices = devices_of(__doc__.partition("\n")[0], argv)
    print(machine())
    print(f"{'device':<10}{'a + b on scalars':<20}{'median us':>10}{'min us':>10}{'limit us':>10}")
    a_value, b_value = np.float32(1.5), np.float32(2.5)
    plain = time_calls(lambda: np.add(a_value, b_value), 2000)
    print(f"{'-':<10}{'numpy.add':<20}{plain.median_s * 1e6:>10.2f}{plain.min_s * 1e6:>10.2f}")
    failed = False
    for device in devices:
        with gr.Graph().as_default(), gr.Session(device=device) as session:
            a, b = (gr.placeholder(gr.float32, ()) for _ in range(2))
            total = a + b
            arrays = [np.array(v) for v in (a_value, b_value)]
            feeds = dict(zip((a, b), arrays))
            add = session.make_callable(total, [a, b])
            calls = {
                "Session.run": lambda session=session, total=total, feeds=feeds: session.run(total, feeds),
                "make_callable": lambda add=add, arrays=arrays: add(*arrays),
            }
            for name, call in calls.items():
                assert call() == a_value + b_value
                taken = time_calls(call, 2000 if device == NUMPY else 200)
                line = f"{device:<10}{name:<20}{taken.median_s * 1e6:>10.2f}{taken.min_s * 1e6:>10.2f}"
                if device == NUMPY:
                    word = verdict(taken.median_s, LIMITS_S[name])
                    failed |= word != "ok"
                    line += f"{LIMITS_S[name] * 1e6:>10.0f}  {word}"
                print(line)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
