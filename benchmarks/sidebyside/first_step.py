"""A process that does one training step and says how long each part took: ``python -m`` of `first_run.py`."""

from __future__ import annotations

import json
import sys
import time


def main(key: str, name: str, *quick: str) -> None:
    """Print a JSON object of seconds."""
    begin = time.perf_counter()
    import graphrun  # noqa: F401  what is timed

    imported = time.perf_counter()
    from sidebyside.process import find_step, opener

    step = find_step(name, bool(quick))
    open_system = opener(key)
    opening = time.perf_counter()
    system = open_system()
    opened = time.perf_counter()
    run = system.step(step)
    built = time.perf_counter()
    loss = float(run.run())
    first = time.perf_counter()
    again = float(run.run())
    second = time.perf_counter()
    if not again < loss:
        raise SystemExit(f"the loss does not fall: {loss} and then {again}")
    # A peer is imported when it is opened.
    import_s, open_s = imported - begin, opened - opening
    if system.is_peer:
        import_s, open_s = open_s, 0.0
    result = {
        "import_s": import_s, "open_s": open_s, "build_s": built - opened, "first_s": first - built,
        "after_import_s": open_s + first - opened, "second_s": second - first,
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
