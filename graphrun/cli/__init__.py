"""The ``graphrun`` command: ``graphrun doctor``, ``bench``, ``tune`` and ``cache``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from graphrun import __version__
from graphrun.cli.usage import UsageError, device_list, size_list
from graphrun.errors import GraphrunError, MissingExtraError

_DESCRIPTION = "graphrun: define a graph, then run it, on OpenCL devices or on NumPy."
_EPILOG = """\
examples:
  graphrun doctor                         what works on this machine, and how to mend the rest
  graphrun cache                          what is kept on disk, and where; `graphrun cache clear`
  graphrun tune                           measure what is quickest here; --seconds 300 searches longer
  graphrun bench                          the main job: matmul, an elementwise chain, training on digits
  graphrun bench matmul --sizes 512,2048  one workload
  graphrun bench --devices cpu,opencl:0 --json bench.json --plot bench.png
"""

_BENCH_DESCRIPTION = """\
Compare devices on work that is checked before it is timed.

workloads:
  matmul       C = A B of n x n matrices
  elementwise  tanh(a * b + 1) * b on n x n elements
  train        a small network on the handwritten digits of scikit-learn, with feed_dict
"""
_BENCH_EPILOG = """\
exit status: 0 when every result is right; 1 when one is wrong, failed or could not be run;
2 for a usage error or a library that is not installed.
"""
_TUNE_DESCRIPTION = """\
Time the ways in which a device can multiply matrices, for a short list of shapes, and keep those
that beat what graphrun would choose by more than noise. Results are compared with NumPy's first.
Everything works without it; where it has run, new sessions use what was found, for shapes of about
that size.
"""
_TUNE_EPILOG = """\
What is found lies in the cache (`graphrun cache`), for the device, its driver and the kernels.
--export and --import share it with other machines that have such a device.
exit status: 0 when something was measured, or shared; else 1.
"""
_CACHE_EPILOG = """\
environment:
  GRAPHRUN_CACHE_DIR  the folder
  GRAPHRUN_CACHE=0    keep nothing and read nothing
  GRAPHRUN_CACHE_MIB  how large it may become (default 512)
"""


class _Parser(argparse.ArgumentParser):
    """Answers a wrong command line with one line, and not with the whole usage."""

    commands: dict[str, argparse.ArgumentParser]

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}  (see {self.prog} --help)\n")


def _parser() -> _Parser:
    form = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="graphrun", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=form)
    parser.add_argument("--version", action="version", version=f"graphrun {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="{doctor,bench,tune,cache}", title="commands")

    doctor = commands.add_parser(
        "doctor", formatter_class=form, help="say which OpenCL devices work, and how to mend the others",
        description="List every OpenCL platform and device, which work, and why the others do not.",
        epilog="exit status: 0 when something better than NumPy works, else 1.\n",
    )  # fmt: skip
    doctor.add_argument(
        "--refresh", action="store_true", help="try every device again instead of believing the last verdict"
    )

    bench = commands.add_parser(
        "bench", formatter_class=form, help="compare the devices of this machine",
        description=_BENCH_DESCRIPTION, epilog=_BENCH_EPILOG,
    )  # fmt: skip
    bench.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", type=_workload,
        help="matmul, elementwise, train; all three, the main job, when none is named",
    )  # fmt: skip
    bench.add_argument(
        "--devices", metavar="LIST", help="as cpu,opencl:0; NumPy and every working OpenCL device by default"
    )
    bench.add_argument(
        "--sizes", metavar="LIST", help="n of the n x n arrays of matmul and elementwise, as 256,1024"
    )
    bench.add_argument("--json", metavar="FILE", help="write every measurement to a JSON file")
    bench.add_argument("--plot", metavar="FILE", help="draw a chart: .png, .svg or .pdf (needs matplotlib)")

    tune = commands.add_parser(
        "tune", formatter_class=form, help="measure which kernels are quickest on a device, and keep that",
        description=_TUNE_DESCRIPTION, epilog=_TUNE_EPILOG,
    )  # fmt: skip
    tune.add_argument(
        "families", nargs="*", metavar="FAMILY", type=_family, help="gemm, matrix products; the only one yet"
    )
    tune.add_argument("--device", metavar="NAME", default="", help="as opencl:0, the default")
    tune.add_argument("--seconds", metavar="N", type=_seconds, help="time for it all (default 60)")
    tune.add_argument("--export", metavar="FILE", help="write what was found to a file, and measure nothing")
    tune.add_argument("--import", metavar="FILE", dest="take", help="take what was found from such a file")

    cache = commands.add_parser(
        "cache", formatter_class=form, help="show or clear what is kept on disk",
        description="Show the cache of compiled kernels and of verdicts on devices, or clear it.",
        epilog=_CACHE_EPILOG,
    )  # fmt: skip
    cache.add_argument(
        "action", nargs="?", choices=("show", "clear"), default="show", metavar="{show,clear}",
        help="show, the default, changes nothing; clear deletes everything, which costs time once",
    )  # fmt: skip
    parser.commands = dict(commands.choices)
    return parser


def _family(text: str) -> str:
    from graphrun.runtime.opencl.tuned import FAMILIES

    if text not in FAMILIES:
        raise argparse.ArgumentTypeError(f"there is no tunable family {text!r}, only {', '.join(FAMILIES)}")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _workload(text: str) -> str:
    from graphrun.cli.workloads import WORKLOADS

    if text not in WORKLOADS:
        raise argparse.ArgumentTypeError(f"there is no workload {text!r}, only {', '.join(WORKLOADS)}")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``graphrun`` command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        The exit status.
    """
    parser = _parser()
    try:
        arguments, unknown = parser.parse_known_args(argv)
        if unknown:  # told by the command that was called, whose help lists what there is
            own = parser.commands.get(arguments.command, parser)
            own.error(f"unrecognized arguments: {' '.join(unknown)}")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    command = arguments.command
    try:
        if command == "doctor":
            from graphrun.cli.doctor import doctor

            code = doctor(refresh=arguments.refresh)
        elif command == "bench":
            code = _bench(arguments)
        elif command == "tune":
            from graphrun.cli.tune import DEFAULT_SECONDS, Request, tune

            asked = Request(
                arguments.device, arguments.seconds or DEFAULT_SECONDS, tuple(arguments.families),
                arguments.export, arguments.take,
            )  # fmt: skip
            code = tune(asked)
        elif command == "cache":
            from graphrun.cli import cache

            code = cache.clear() if arguments.action == "clear" else cache.show()
        else:
            parser.print_help()
            code = 0
        sys.stdout.flush()
        return code
    except (UsageError, MissingExtraError) as error:
        print(f"graphrun {command}: error: {error}", file=sys.stderr)
        return 2
    except GraphrunError as error:
        print(f"graphrun {command}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ngraphrun {command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever reads has gone (`graphrun doctor | head`); the interpreter must not flush again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _bench(arguments: argparse.Namespace) -> int:
    from graphrun.cli.bench import Request, bench

    # Everything that can be wrong with the command line is told before the first measurement.
    workloads = tuple(dict.fromkeys(arguments.workloads))
    if arguments.sizes is not None and workloads == ("train",):
        raise UsageError("--sizes means nothing to train, which has one size")
    return bench(
        Request(
            workloads=workloads,
            devices=device_list(arguments.devices),
            sizes=None if arguments.sizes is None else size_list(arguments.sizes),
            json_file=arguments.json,
            plot_file=arguments.plot,
        )
    )
