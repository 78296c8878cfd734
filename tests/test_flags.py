"""Flags and `app.run`: how command lines are read, and what is said of wrong ones."""

from __future__ import annotations

import enum
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import graphrun as gr
from graphrun import flags


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@pytest.fixture
def values() -> flags.FlagValues:
    v = flags.FlagValues()
    flags.DEFINE_string("name", "x", "the name", v)
    flags.DEFINE_integer("n", 3, "number", lower_bound=0, flag_values=v)
    flags.DEFINE_float("rate", 0.5, "rate", upper_bound=9, flag_values=v)
    flags.DEFINE_boolean("train", True, "whether", v, short_name="t")
    flags.DEFINE_list("items", ["a"], "items", v)
    flags.DEFINE_spaceseplist("words", "a b", "words", comma_compat=True, flag_values=v)
    flags.DEFINE_enum("kind", "a", ["a", "b"], "kind", v)
    flags.DEFINE_enum_class("color", Color.RED, Color, "color", v)
    flags.DEFINE_multi_integer("m", [1], "many", flag_values=v, short_name="k")
    flags.DEFINE_multi_string("s", None, "many", v)
    flags.DEFINE_alias("alias", "name", v)
    return v


def test_defaults(values: flags.FlagValues) -> None:
    assert values(["prog"]) == ["prog"]
    assert values.flag_values_dict() == {
        "name": "x", "n": 3, "rate": 0.5, "train": True, "items": ["a"], "words": ["a", "b"], "kind": "a",
        "color": Color.RED, "m": [1], "s": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "name", "value", "rest"),
    [
        ("--name=b", "name", "b", []),
        ("--name b c", "name", "b", ["c"]),
        ("-name=b", "name", "b", []),
        ("--alias=q", "name", "q", []),
        ("--name=a=b", "name", "a=b", []),
        ("--name=", "name", "", []),
        ("--n=0x10", "n", 16, []),
        ("--rate -2e-3", "rate", -0.002, []),
        ("--notrain", "train", False, []),
        ("--train=false", "train", False, []),
        ("-t", "train", True, []),
        ("--train false", "train", True, ["false"]),
        ("--items=a,b", "items", ["a", "b"], []),
        ("--items=", "items", [], []),
        ("--words=a,b", "words", ["a", "b"], []),
        ("--kind=b", "kind", "b", []),
        ("--color=blue", "color", Color.BLUE, []),
        ("-k 4 --m=7", "m", [4, 7], []),
        ("--s=a --s=b", "s", ["a", "b"], []),
        ("a -- --name=b", "name", "x", ["a", "--name=b"]),
        ("a --name=b -", "name", "b", ["a", "-"]),
    ],
)
def test_command_lines(values: flags.FlagValues, words: str, name: str, value: Any, rest: list[str]) -> None:
    assert values(["prog", *words.split()]) == ["prog", *rest]
    assert getattr(values, name) == value == values[name].value


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        ("--nosuch=1", flags.UnrecognizedFlagError, "Unknown command line flag 'nosuch'"),
        ("--nam=1", flags.UnrecognizedFlagError, r"'nam'\. Did you mean: name \?"),
        ("--n=abc", flags.IllegalFlagValueError, "flag --n=abc: invalid literal"),
        ("--n=-1", flags.IllegalFlagValueError, "flag --n=-1: -1 is not a non-negative integer"),
        ("--rate=10", flags.IllegalFlagValueError, "10.0 is not a number <= 9"),
        ("--train=maybe", flags.IllegalFlagValueError, "'maybe' is not true or false"),
        ("--kind=c", flags.IllegalFlagValueError, r"value should be one of <a\|b>"),
        ("--color=green", flags.IllegalFlagValueError, r"value should be one of <RED\|BLUE>"),
        ("--notrain=1", flags.IllegalFlagValueError, "--notrain=1 does not take an argument"),
        ("--name", flags.Error, "Missing value for flag --name"),
    ],
)
def test_wrong_command_lines(values: flags.FlagValues, words: str, kind: Any, text: str) -> None:
    with pytest.raises(kind, match=text):
        values(["prog", *words.split()])


def test_unknown_flags_may_be_left(values: flags.FlagValues) -> None:
    assert values(["p", "--zzz=1", "--n=2", "q"], known_only=True) == ["p", "--zzz=1", "q"]


def test_a_second_command_line_starts_from_the_defaults(values: flags.FlagValues) -> None:
    values(["p", "--n=7", "--m=2"])
    values(["p"])
    assert (values.n, values.m) == (3, [1])


def test_required_flags_and_validators() -> None:
    v = flags.FlagValues()
    flags.DEFINE_string("path", None, "where", v)
    flags.DEFINE_integer("even", 2, "even", flag_values=v)
    flags.mark_flag_as_required("path", v)
    flags.register_validator("even", lambda n: n % 2 == 0, "not even", v)
    with pytest.raises(flags.IllegalFlagValueError, match="--path=None: Flag --path must have a value"):
        v(["p"])
    v(["p", "--path=x"])
    with pytest.raises(flags.IllegalFlagValueError, match="flag --even=3: not even"):
        v.even = 3
    with pytest.raises(ValueError, match="cannot have a default"):
        flags.DEFINE_string("more", "x", "", v, required=True)


def test_flags_as_an_object(values: flags.FlagValues) -> None:
    assert "n" in values and "zzz" not in values and len(values) == 13
    values(["p", "--n=4"])
    holder = flags.DEFINE_integer("late", 1, "late", flag_values=values)
    assert (holder.value, holder.default, holder.present, holder.name) == (1, 1, 0, "late")
    values.n = 9
    assert values.n == 9 and values.get_flag_value("zzz", 3) == 3
    flags.set_default(holder, 5)
    assert values.late == 5
    values.set_default("n", 1)
    assert values.n == 9
    assert "--n=9\n" in values.flags_into_string() and "--train\n" in values.flags_into_string()
    with pytest.raises(flags.UnrecognizedFlagError, match="'zzz'"):
        values.zzz = 1
    with pytest.raises(AttributeError):
        _ = values.zzz
    with pytest.raises(flags.DuplicateFlagError, match="the flag 'n' is defined twice\n(.|\n)*first: number"):
        flags.DEFINE_integer("n", 1, "again", flag_values=values)
    del values.n
    assert "n" not in values


PROGRAM = """
import graphrun as tf
tf.app.flags.DEFINE_integer("steps", 3, "how many steps")
tf.flags.DEFINE_string("out", None, "where to")
tf.flags.mark_flag_as_required("out")
FLAGS = tf.app.flags.FLAGS

def main(argv):
    print(argv[1:], FLAGS.steps, FLAGS.out)
    return 0 if FLAGS.steps else 4

if __name__ == "__main__":
    tf.app.run()
"""


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        ("--out=x --steps 5 more --unknown", 0, "['more', '--unknown'] 5 x\n", ""),
        ("--out=x --steps=0", 4, "[] 0 x\n", ""),
        ("--steps=2", 1, "", "FATAL Flags parsing error:\n  flag --out=None: Flag --out must have a value"),
        ("--out=x --steps=many", 1, "", "FATAL Flags parsing error:\n  flag --steps=many: invalid literal"),
        ("--help", 1, "  --steps: how many steps\n    (default: 3)\n    (an integer)", ""),
    ],
)
def test_app_run(tmp_path: Path, words: str, code: int, out: str, err: str) -> None:
    program = tmp_path / "train.py"
    program.write_text(PROGRAM)
    found = subprocess.run(
        [sys.executable, str(program), *words.split()], capture_output=True, text=True, check=False,
        cwd=Path(gr.__file__).parents[1],
        env={"PYTHONPATH": str(Path(gr.__file__).parents[1]), "GRAPHRUN_OPENCL": "0"},
    )  # fmt: skip
    assert found.returncode == code, found.stderr
    assert out in found.stdout and err in found.stderr


def test_flags_are_read_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    v = flags.FlagValues()
    flags.DEFINE_integer("n", 3, "number", flag_values=v)
    monkeypatch.setattr(sys, "argv", ["prog", "--n=8"])
    assert v.n == 8
    v.unparse_flags()
    monkeypatch.setattr(sys, "argv", ["prog", "--other"])
    with pytest.raises(flags.UnrecognizedFlagError, match="'other'"):
        _ = v.n
