"""What is said of a name that graphrun does not have."""

from __future__ import annotations

import importlib
import pickle
import re
import subprocess
import sys

import pytest

import graphrun as gr
from graphrun.absent import NAMESPACES, advice_for
from graphrun.absent_names import _SAME, ADVICE, ELSEWHERE


def said_of(path: str) -> str:
    """The message for a dotted name."""
    with pytest.raises(AttributeError) as caught:
        found: object = gr
        for part in path.split("."):
            found = getattr(found, part)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "tells"),
    [
        ("import_graph_def", "instead: build the graph by the code that made it"),
        ("estimator", "instead: a gr.Session, and a loop of Python around session.run"),
        ("contrib", "contrib.rnn is gr.nn.rnn_cell"),
        ("keras", "instead: gr.layers, gr.train and session.run"),
        ("py_function", "graphs are defined, then run"),
        ("neg", "instead: gr.negative"),
        ("distributions", "gr.random_normal"),
        ("image.ssim", "gr.image.psnr"),
        ("image.crop_and_resize", "gr.image.resize_images"),
        ("fixed_size_partitioner", "embedding_lookup"),
        ("test.TestCase", "unittest"),
        ("lookup", "gr.gather"),
        ("train.Supervisor", "a loop of Python around session.run"),
        ("image.decode_jpeg", "decode the image in Python"),
        ("linalg.LinearOperator", "docs/api.md"),
    ],
)
def test_a_name_of_tensorflow_is_known_to_be_missing(name: str, tells: str) -> None:
    text = said_of(name)
    assert text.startswith(f"graphrun has no tf.{name} yet\n")
    assert tells in text and text.endswith("docs/api.md says which names of TensorFlow 1 are there")


def test_the_whole_message() -> None:
    assert said_of("bitwise").splitlines() == [
        "graphrun has no tf.bitwise yet",
        "  docs/api.md says which names of TensorFlow 1 are there",
    ]


def test_near_names_are_offered() -> None:
    assert said_of("reduce_maen") == "graphrun has no 'reduce_maen'\n  did you mean 'reduce_mean'?"
    assert said_of("nn.Relu").startswith("module 'graphrun.nn' has no 'Relu'\n  did you mean 'relu'?")
    assert "did you mean 'matmul'" in said_of("MatMul")
    assert "AdamOptimizer" in said_of("train.AdamOptimiser")
    assert (
        said_of("zxqv") == "graphrun has no 'zxqv'\n  docs/api.md says which names of TensorFlow 1 are there"
    )


def test_python_may_ask() -> None:
    assert not hasattr(gr, "no_such_name") and getattr(gr.train, "no_such_name", 7) == 7
    assert not hasattr(gr, "__wrapped__") and not hasattr(gr.nn, "_private")
    for namespace in NAMESPACES:
        module = gr
        for part in namespace.split("."):
            module = getattr(module, part, None)  # type: ignore[assignment]
        assert module is None or "__getattr__" in vars(module), namespace
    assert importlib.import_module("graphrun.session").Session is gr.Session
    assert pickle.loads(pickle.dumps(gr.nn.relu)) is gr.nn.relu


def test_imports_say_it_too() -> None:
    with pytest.raises(ImportError, match=r"graphrun has no tf\.contrib yet\n  much of it has a name"):
        from graphrun import contrib  # type: ignore[attr-defined]  # noqa: F401
    with pytest.raises(ImportError, match="did you mean 'conv2d'"):
        from graphrun.nn import conv2D  # type: ignore[attr-defined]  # noqa: F401
    from graphrun import compiler, feeds  # what is there is found, as a module too

    assert compiler.__name__ == "graphrun.compiler" and feeds.__name__ == "graphrun.feeds"


def test_what_is_advised_is_there() -> None:
    for name, ours in _SAME.items():
        found: object = gr
        for part in ours.removeprefix("gr.").partition("(")[0].split("."):
            found = getattr(found, part)
        assert found is not None, name
    assert advice_for("train.Saver") == ADVICE["train.Saver"] and advice_for("contrib.layers.conv2d")
    assert advice_for("matrix_square_root") == "" and advice_for("nothing_of_the_kind") is None


def test_other_frameworks_names_get_those_of_tensorflow() -> None:
    assert said_of("nn.Linear") == "module 'graphrun.nn' has no 'Linear'\n  here it is gr.layers.dense"
    assert said_of("randn") == "graphrun has no 'randn'\n  here it is gr.random_normal(shape)"
    for symbol, ours in ELSEWHERE.items():
        assert "here it is" in said_of(symbol), symbol
        for name in re.findall(r"gr\.([\w.]+)", ours):
            found: object = gr
            for part in name.split("."):
                found = getattr(found, part)


def test_the_tables_are_not_read_by_an_import() -> None:
    code = "import sys, graphrun; assert 'graphrun.absent_names' not in sys.modules; print(graphrun.SaverDef)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "AttributeError: graphrun has no tf.train." in done.stderr
    assert "Did you mean" not in done.stderr  # Python's own guess, which would come twice


def test_a_name_of_another_namespace_that_is_missing_there_too() -> None:
    assert said_of("non_max_suppression").startswith("graphrun has no tf.image.non_max_suppression yet\n")
