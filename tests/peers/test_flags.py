"""How command lines are read, beside absl, which TensorFlow's flags are."""

from __future__ import annotations

from typing import Any

import pytest

from graphrun import flags as ours

theirs = pytest.importorskip("absl.flags")


def _read(lib: Any, words: list[str], known_only: bool) -> Any:
    v = lib.FlagValues()
    lib.DEFINE_string("name", "x", "the name", v)
    lib.DEFINE_integer("n", 3, "number", lower_bound=0, flag_values=v)
    lib.DEFINE_float("rate", 0.5, "rate", flag_values=v)
    lib.DEFINE_boolean("train", True, "whether", v, short_name="t")
    lib.DEFINE_list("items", ["a"], "items", v)
    lib.DEFINE_spaceseplist("words", None, "words", flag_values=v)
    lib.DEFINE_enum("kind", "a", ["a", "b"], "kind", v)
    lib.DEFINE_multi_integer("m", [1], "many", flag_values=v, short_name="k")
    lib.DEFINE_multi_string("s", None, "many", v)
    lib.DEFINE_alias("alias", "name", v)
    lib.mark_flag_as_required("name", v)
    lib.register_validator("rate", lambda r: r < 9, "too much", v)
    if lib is theirs:
        v.set_gnu_getopt(True)  # as absl.app does
    try:
        rest = v(["prog", *words], known_only=known_only)
    except lib.Error as error:
        return type(error).__name__, str(error).partition(":")[0]
    names = "name n rate train items words kind m s".split()
    return rest, [getattr(v, n) for n in names], [v[n].present for n in names], v.flags_into_string()[:0]


LINES = [
    "", "--name=b c", "--name b c", "-name=b", "--alias=q", "--name=a=b", "--name=", "--n=0x1F", "--n 4",
    "--rate -2e-3", "--rate=7", "--rate=10", "--notrain", "--train=false", "--train=T", "-t", "--train false",
    "--items=a,b", "--items=", "--items=a,", "--words=a", "--kind=b", "--kind=c", "-k 4 --m=7", "--s=a --s=b",
    "a -- --name=b", "a --name=b -", "--nosuch=1", "--nosuch", "--nam=1", "--n=abc", "--n=-1", "--n=1.5",
    "--train=maybe", "--name", "--nokind", "--nonsense --n=2 b",
]  # fmt: skip


@pytest.mark.parametrize("known_only", [False, True])
@pytest.mark.parametrize("line", LINES)
def test_same_as_absl(line: str, known_only: bool) -> None:
    words = line.split()
    assert _read(ours, words, known_only) == _read(theirs, words, known_only)
