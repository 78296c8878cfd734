"""The command ``graphrun doctor``."""

from __future__ import annotations

import sys
from dataclasses import replace

from graphrun.cli.progress import Progress
from graphrun.errors import GraphrunError
from graphrun.runtime.devices import get_device
from graphrun.runtime.doctor import diagnose, format_diagnosis
from graphrun.runtime.selftest import Results, results


def doctor(refresh: bool = False) -> int:
    """Print what was found on this machine; return 0 where something better than NumPy works, else 1.

    Parameters
    ----------
    refresh : bool
        Try devices and kernels again instead of believing the last verdicts.
    """
    diagnosis = diagnose(refresh=refresh)
    selftests: dict[str, Results] = {}
    with Progress(len(diagnosis.working)) as progress:
        for report in diagnosis.working:
            progress.label(f"kernels on {report.name}")
            try:
                selftests[report.name] = results(get_device(report.name), refresh=refresh)
            except GraphrunError as error:
                selftests[report.name] = {"all": (False, " ".join(str(error).split()))}
            progress.advance()
    sys.stdout.write(format_diagnosis(replace(diagnosis, selftests=selftests)))
    return diagnosis.exit_code
