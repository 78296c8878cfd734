"""Files, messages, command lines and switches of versions, beside TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import graphrun as gr

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from beside import in_both, tf

tf.disable_v2_behavior()


def _files(lib: Any, root: Path) -> list[Any]:
    base = str(root)
    lib.gfile.MakeDirs(f"{base}/a/b")
    lib.gfile.MakeDirs(f"{base}/a/b")  # no error where it is there
    with lib.gfile.GFile(f"{base}/a/x.txt", "w") as file:
        file.write("one\ntwo\nthree")
    with lib.gfile.GFile(f"{base}/a/x.txt", "a") as file:
        file.write("\nfour\n")
    with lib.gfile.GFile(f"{base}/a/raw.bin", "wb") as file:
        file.write(b"\x00\xff\n")
    found: list[Any] = []
    with lib.gfile.GFile(f"{base}/a/x.txt") as file:
        found += [file.readline(), file.tell(), file.read(3), file.size(), list(file)]
        file.seek(4)
        found += [file.read(), file.read(), file.readline()]
    found += [
        lib.gfile.GFile(f"{base}/a/x.txt").readlines(),
        lib.gfile.GFile(f"{base}/a/raw.bin", "rb").read(),
    ]
    found += [lib.gfile.Exists(f"{base}/{p}") for p in ("a", "a/x.txt", "a/y")]
    found += [lib.gfile.IsDirectory(f"{base}/{p}") for p in ("a", "a/x.txt", "a/y")]
    for pattern in ("a/*", "a/*.txt", "*/?.t[xy]t", "none/*"):
        found.append(sorted(p[len(base) :] for p in lib.gfile.Glob(f"{base}/{pattern}")))
        found.append(sorted(p[len(base) :] for p in lib.io.gfile.glob(f"{base}/{pattern}")))
    lib.gfile.Copy(f"{base}/a/x.txt", f"{base}/a/z.txt")
    lib.gfile.Rename(f"{base}/a/z.txt", f"{base}/w.txt")
    found.append(sorted(lib.gfile.ListDirectory(base)))
    lib.gfile.Remove(f"{base}/w.txt")
    found.append([(d[len(base) :], sorted(s), sorted(f)) for d, s, f in lib.gfile.Walk(base)])
    for fails in (
        lambda: lib.gfile.Remove(f"{base}/w.txt"), lambda: lib.gfile.GFile(f"{base}/none").read(),
        lambda: lib.gfile.DeleteRecursively(f"{base}/none"), lambda: lib.gfile.ListDirectory(f"{base}/none"),
    ):  # fmt: skip
        with pytest.raises(lib.errors.NotFoundError):
            fails()
    lib.gfile.DeleteRecursively(f"{base}/a")
    return [*found, lib.gfile.Exists(f"{base}/a")]


def test_files(tmp_path: Path) -> None:
    ours, theirs = (_files(lib, tmp_path / name) for lib, name in ((gr, "ours"), (tf, "theirs")))
    assert ours == theirs


def test_levels_of_messages() -> None:
    for lib in (gr, tf):
        kept = lib.logging.get_verbosity()
        try:
            for level in (lib.logging.DEBUG, lib.logging.INFO, lib.logging.WARN, lib.logging.ERROR):
                lib.logging.set_verbosity(level)
                assert lib.logging.get_verbosity() == level
            lib.logging.info("not shown %d", 3)
        finally:
            lib.logging.set_verbosity(kept)
    for level in ("DEBUG", "INFO", "WARN", "ERROR", "FATAL"):
        assert getattr(gr.logging, level) == getattr(tf.logging, level)


PROGRAM = """
import {library} as tf

flags = tf.app.flags
flags.DEFINE_string("name", None, "a name")
flags.DEFINE_integer("n", 3, "a number")
tf.flags.mark_flag_as_required("name")

def main(argv):
    tf.logging.set_verbosity(tf.logging.INFO)
    tf.logging.info("said %d", 7)
    tf.logging.debug("not said")
    print(argv[1:], tf.app.flags.FLAGS.name, flags.FLAGS.n)
    return 3

tf.app.run(main)
"""


@pytest.mark.parametrize("line", ["--name=x rest", "--n=4", "--name=x --n=four"])
def test_programs_with_a_command_line(tmp_path: Path, line: str) -> None:
    found = []
    for k, library in enumerate(("graphrun", "tensorflow.compat.v1")):
        path = tmp_path / f"program{k}.py"
        path.write_text(PROGRAM.format(library=library))
        done = subprocess.run(
            [sys.executable, str(path), *line.split()], capture_output=True, text=True, env=os.environ
        )
        said = [part for part in ("said 7", "not said", "--name", "four") if part in done.stderr]
        found.append((done.returncode, done.stdout, said))
    ours, theirs = found
    assert ours[:2] == theirs[:2]
    assert ours[2] == theirs[2]


def test_switches_and_checks() -> None:
    def build(lib: Any, session: Any) -> Any:
        x = lib.placeholder(lib.int32, [None])
        with lib.control_dependencies([lib.assert_equal(x, [1, 2], message="the pair")]):
            y = lib.identity(x)
        with lib.op_scope([x], None, "scope"):
            z = x + 1
        faults = []
        for value in ([1, 3], [1, 2]):
            try:
                session.run(y, {x: value})
                faults.append("")
            except lib.errors.InvalidArgumentError as fault:
                faults.append("the pair" if "the pair" in str(fault) else str(fault))
        lib.disable_eager_execution()
        tables = lib.tables_initializer()
        session.run(tables)
        return [
            z.name, faults, lib.executing_eagerly(), type(lib.test.is_gpu_available()), tables.name,
            issubclass(lib.errors.CancelledError, lib.errors.OpError), lib.errors.CANCELLED,
        ]  # fmt: skip

    in_both(build)
