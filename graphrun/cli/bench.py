"""The command ``graphrun bench``: check, time, report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from graphrun.cli.digits import (
    EPOCHS,
    EPOCHS_PER_TURN,
    REQUIRED_ACCURACY,
    Digits,
    Trained,
    Training,
    load_digits,
)
from graphrun.cli.peaks import Peak, measure_peak
from graphrun.cli.plot import PLOT_ENDINGS, draw, load_figure
from graphrun.cli.progress import Progress
from graphrun.cli.report import busy_text, devices_text, notes_text, training_text, workload_text
from graphrun.cli.results import Device, Measured, Results, write_json
from graphrun.cli.timing import alternate, settle
from graphrun.cli.usage import output_file
from graphrun.cli.workloads import ARRAY_WORKLOADS, WORKLOADS, ArrayWorkload, Case, reference_result
from graphrun.device_names import NUMPY
from graphrun.errors import GraphrunError, MissingExtraError
from graphrun.runtime.doctor import diagnose


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes
    ----------
    workloads : tuple of str
        Empty for the main job: all of them, and those that need a library that is missing are left out.
    devices : tuple of str
        Canonical names; the first is what the others are compared with.
    sizes : tuple of int, optional
        Each workload's own by default.
    json_file, plot_file : str, optional
    """

    workloads: tuple[str, ...]
    devices: tuple[str, ...]
    sizes: tuple[int, ...] | None = None
    json_file: str | None = None
    plot_file: str | None = None


def bench(request: Request) -> int:
    """Measure what is asked for, print tables; return 0 when everything was right, else 1.

    Raises
    ------
    UsageError
        If a file cannot be written.
    MissingExtraError
        If a workload or an option that was asked for by name needs a library that is not installed.
    """
    json_path = output_file(request.json_file, "--json") if request.json_file else None
    plot_path = output_file(request.plot_file, "--plot", PLOT_ENDINGS) if request.plot_file else None
    if plot_path is not None:
        load_figure()
    results = Results()
    busy = busy_text()  # before this keeps the cores busy itself
    workloads = [ARRAY_WORKLOADS[name] for name in request.workloads or WORKLOADS if name in ARRAY_WORKLOADS]
    images: Digits | None = None
    if not request.workloads or "train" in request.workloads:
        try:
            images = load_digits("training on the digits")
        except MissingExtraError as error:
            if request.workloads:
                raise
            results.problems.append(f"train was left out: {error}")
    sizes = {w.name: request.sizes or w.default_sizes for w in workloads}
    array_steps = sum(len(sizes[w.name]) for w in workloads) * (len(request.devices) + 2)
    train_steps = EPOCHS * len(request.devices) if images is not None else 0
    with Progress(len(request.devices) + array_steps + train_steps) as progress:
        _measure_devices(results, request.devices, progress)
        progress.write(devices_text(results) + "\n")
        if busy:
            progress.write(busy + "\n")
        for workload in workloads:
            for n in sizes[workload.name]:
                _measure(results, workload, n, progress)
            progress.write(workload_text(results, workload) + "\n")
        if images is not None:
            _train(results, images, progress)
            if results.trained:
                progress.write(training_text(results) + "\n")
    print(notes_text(results))
    if json_path is not None:
        write_json(results, json_path)
    if plot_path is not None:
        draw(results, plot_path)
    _list_problems(results, json_path, plot_path)
    return 1 if results.problems else 0


def _list_problems(results: Results, json_path: Path | None, plot_path: Path | None) -> None:
    for path in (json_path, plot_path):
        if path is not None:
            print(f"written: {path}")
    sys.stdout.flush()
    for problem in results.problems:
        print(f"graphrun bench: {problem}", file=sys.stderr)


def _measure_devices(results: Results, names: tuple[str, ...], progress: Progress) -> None:
    found = diagnose()
    for name in names:
        if name == NUMPY:
            blas = f" with {found.blas}" if found.blas else ""
            plural = "s" if found.cpu_count != 1 else ""
            text = f"NumPy {found.numpy_version}{blas} on {found.cpu}, {found.cpu_count} CPU{plural}"
        else:
            report = next(d for d in found.working if d.name == name)
            text = f"{report.device_name}; {report.platform_name}, driver {report.driver_version}"
        progress.label(f"peak of {name}")
        peak: Peak | None = None
        with _noting(results, f"the peak of {name} could not be measured"):
            peak = measure_peak(name)
        results.devices.append(Device(name, text, peak))
        progress.advance()


@contextmanager
def _noting(results: Results, what: str) -> Iterator[None]:
    """Turn a failure of one device into a line of the report: the other devices go on."""
    try:
        yield
    except (GraphrunError, MemoryError) as error:
        results.problems.append(f"{what}: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _measure(results: Results, workload: ArrayWorkload, n: int, progress: Progress) -> None:
    """Check one size on every device, then time those that are right."""
    right = reference_result(workload, n)
    limit = workload.error_limit(n)
    rows: dict[str, Measured] = {}
    cases: dict[str, Case] = {}
    for device in results.devices:
        progress.label(f"{workload.name} {n}: check {device.name}")
        row = Measured(workload, n, device.name, problem="failed, see below")
        what = f"{workload.name} {n} on {device.name}"
        with _noting(results, f"{what} failed"):
            case = Case(workload, n, device.name)
            error = case.relative_error(right)
            row = replace(row, relative_error=error, problem="")
            if error <= limit:
                cases[device.name] = case
            else:  # also where it is NaN
                row = replace(row, problem=f"wrong: an error below {limit:.0e} is expected")
                results.problems.append(f"{what} is wrong: relative error {error:.1e}, limit {limit:.0e}")
                case.close()
        rows[device.name] = row
        progress.advance()
    for way in ("fed", "resident"):
        progress.label(f"{workload.name} {n}: {way}")
        with _noting(results, f"timing {workload.name} {n} failed"):
            timings = alternate([getattr(case, way) for case in cases.values()])
            for name, timing in zip(cases, timings):
                fed = way == "fed"
                rows[name] = replace(rows[name], fed=timing) if fed else replace(rows[name], resident=timing)
        progress.advance()
    for case in cases.values():
        case.close()
    results.measured += rows.values()


def _train(results: Results, images: Digits, progress: Progress) -> None:
    """Train on every device, in turns of a few epochs."""
    running: list[Training] = []
    for device in results.devices:
        with _noting(results, f"train on {device.name} failed"):
            running.append(Training(images, device.name))
    for first in range(0, EPOCHS, EPOCHS_PER_TURN):
        epochs = range(first, min(first + EPOCHS_PER_TURN, EPOCHS))
        for training in list(running):
            progress.label(f"train, epoch {first + 1}: {training.device}")
            before = len(results.problems)
            settle()
            with _noting(results, f"train on {training.device} failed"):
                for _ in epochs:
                    training.epoch()
            if len(results.problems) > before:
                running.remove(training)
            progress.advance(len(epochs))
    for training in running:
        with _noting(results, f"the test on {training.device} failed"):
            results.trained.append(_trained(training, running[0]))
        training.close()
    for t in results.trained:
        if not t.passed:
            results.problems.append(
                f"train on {t.device}: test accuracy {t.accuracy:.2%}, below {REQUIRED_ACCURACY:.0%}"
            )


def _trained(training: Training, first: Training) -> Trained:
    return Trained(
        device=training.device,
        accuracy=training.test_accuracy(),
        timing=training.timing(),
        first_step_s=training.first_step_s,
        losses=training.losses,
        loss_difference=max(abs(a - b) for a, b in zip(training.losses, first.losses)),
    )
