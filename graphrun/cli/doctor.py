"""The command ``graphrun doctor``."""

from __future__ import annotations

import sys

from graphrun.runtime.doctor import diagnose, format_diagnosis


def doctor(refresh: bool = False) -> int:
    """Print what was found on this machine; return 0 where something better than NumPy works, else 1."""
    diagnosis = diagnose(refresh=refresh)
    sys.stdout.write(format_diagnosis(diagnosis))
    return diagnosis.exit_code
