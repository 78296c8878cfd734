"""What errors say: what happened, where, what was met, what was expected, how to mend it.

Each mistake here is made by a user's line in this file, whose number must be in the message where the
mistake is told later than it is made.  Afterwards the session works and no variable has changed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun import errors

F32 = np.float32


def here() -> int:
    """The line of the caller."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno


# -- the classes and the layout ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ShapeError, ValueError), (errors.DTypeError, TypeError), (errors.GraphError, ValueError),
        (errors.NotFoundError, KeyError), (errors.FeedError, ValueError), (errors.FetchError, TypeError),
        (errors.FileMissingError, FileNotFoundError),
        (errors.FetchError, ValueError), (errors.GradientError, ValueError),
        (errors.UninitializedError, RuntimeError), (errors.DeviceError, RuntimeError),
        (errors.KernelBuildError, errors.DeviceError), (errors.ExecutionError, RuntimeError),
        (errors.SessionClosedError, RuntimeError), (errors.VerifyError, AssertionError),
        (errors.MissingExtraError, ImportError), (errors.InvalidArgumentError, errors.ExecutionError),
        (errors.OpError, RuntimeError), (errors.ExecutionError, errors.OpError),
        (errors.NotFoundError, errors.OpError), (errors.UninitializedError, errors.FailedPreconditionError),
        (errors.FailedPreconditionError, errors.OpError), (errors.InvalidArgumentError, ValueError),
        (errors.OutOfRangeError, errors.OpError), (errors.CancelledError, errors.OpError),
        (errors.UnknownError, errors.OpError), (errors.DeadlineExceededError, errors.OpError),
        (errors.AlreadyExistsError, errors.OpError), (errors.PermissionDeniedError, errors.OpError),
        (errors.UnauthenticatedError, errors.OpError), (errors.ResourceExhaustedError, MemoryError),
        (errors.AbortedError, errors.OpError), (errors.UnimplementedError, NotImplementedError),
        (errors.InternalError, errors.OpError), (errors.UnavailableError, errors.OpError),
        (errors.DataLossError, errors.OpError), (errors.FinalizedError, errors.GraphError),
        (errors.FeedError, errors.InvalidArgumentError), (errors.RunShapeError, errors.ShapeError),
        (errors.RunShapeError, errors.InvalidArgumentError),
        (errors.FinalizedError, RuntimeError), (errors.MemoryLimitError, errors.ResourceExhaustedError),
    ],
)  # fmt: skip
def test_classes_are_builtins_too(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, errors.GraphrunError) and issubclass(kind, builtin)
    assert "two\n  lines" in str(kind("two\n  lines"))  # KeyError shows a repr, with its line breaks hidden


def test_every_class_is_listed_above() -> None:
    classes = {
        c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.GraphrunError)
    }
    listed = {p[0] for p in test_classes_are_builtins_too.pytestmark[0].args[1]}
    assert classes - listed == {errors.GraphrunError}


def test_codes_are_tensorflows() -> None:
    codes = "CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED"
    codes += " RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE"
    codes += " DATA_LOSS UNAUTHENTICATED"
    for number, name in enumerate(codes.split(), 1):
        kind = errors.exception_type_from_error_code(number)
        assert kind.__name__ == name.title().replace("_", "") + "Error"
        assert getattr(errors, name) == number == errors.error_code_from_exception_type(kind)
        for fault in (kind("what"), kind(None, None, "what")):
            assert (fault.message, str(fault), fault.error_code) == ("what", "what", number)
    op = gr.no_op()
    assert errors.CancelledError("node", op, "what").op is op
    assert errors.CancelledError("node", op, "what").node_def == "node"


def test_layout() -> None:
    text = errors.message(
        "inner dimensions differ", where="matmul 'y'", site=("a.py", 7), got=["a: (2, 3)", "b: (4, 5)"],
        expected="a.shape[-1] == b.shape[-2]", fix="transpose one",
    )  # fmt: skip
    assert text.split("\n  ") == [
        "matmul 'y': inner dimensions differ", "a: (2, 3)", "b: (4, 5)", "created at a.py:7",
        "expected a.shape[-1] == b.shape[-2]", "transpose one",
    ]  # fmt: skip
    assert errors.message("what") == "what"
    assert errors.message("what", got="one line") == "what\n  one line"
    assert errors.format_site(None) == ""


def test_missing_extra() -> None:
    fault = errors.missing_extra("matplotlib", "plot", "a plot")
    assert str(fault) == (
        "a plot needs matplotlib, which is not installed: pip install matplotlib"
        " (it is in graphrun's extra 'plot')"
    )
    assert isinstance(fault, ImportError)


# -- mistakes that are told when the graph is built -------------------------------------------------


def test_design_documents_example() -> None:
    a = gr.placeholder(gr.float32, (32, 128))
    b = gr.placeholder(gr.float32, (64, 10))
    with pytest.raises(errors.ShapeError) as fault:
        with gr.name_scope("dense_1"):
            line = here() + 1
            gr.matmul(a, b, name="matmul")
    text = str(fault.value)
    assert text.startswith("matmul 'dense_1/matmul': inner dimensions differ, 128 != 64\n")
    assert "a: (32, 128) float32   b: (64, 10) float32" in text
    assert f"test_errors.py:{line}" in text
    assert "expected a.shape[-1] == b.shape[-2]" in text and "transpose_b=True" in text


def build_mistakes() -> list[tuple[Callable[[], Any], type[Exception], list[str]]]:
    x = gr.placeholder(gr.float32, (2, 3), name="x")
    n = gr.placeholder(gr.int32, (), name="n")
    return [
        (lambda: x + gr.ones([4]), errors.ShapeError, ["add 'add'", "(2, 3) and (1, 4) cannot be broadcast"]),
        (lambda: x + n, errors.DTypeError, ["add 'add'", "float32", "int32"]),
        (lambda: gr.reshape(x, [4, 2]), errors.ShapeError, ["reshape 'Reshape'", "6 elements", "(4, 2)"]),
        (lambda: gr.reduce_sum(x, 2), errors.ShapeError, ["sum 'Sum'", "axis 2 is out of range for rank 2"]),
        (lambda: gr.concat([x, gr.ones([3, 3])], 1), errors.ShapeError, ["concat 'concat'", "(3, 3)"]),
        (lambda: gr.transpose(x, [0, 0]), errors.ShapeError, ["transpose 'transpose'"]),
        (lambda: gr.logical_and(x, x), errors.DTypeError, ["float32", "bool"]),
        (lambda: gr.expand_dims(x, 5), errors.ShapeError, ["expand_dims 'ExpandDims'", "5"]),
        (lambda: gr.squeeze(x, [0]), errors.ShapeError, ["squeeze 'Squeeze'"]),
        (lambda: gr.gather(x, x), errors.DTypeError, ["gather", "float32"]),
        (lambda: x[5], errors.ShapeError, ["strided_slice 'strided_slice'", "5"]),
        (lambda: gr.zeros([2, -3]), errors.ShapeError, ["-3"]),
        (lambda: gr.split(x, 2, 1), errors.ShapeError, ["split 'split'", "3"]),
        (lambda: gr.tile(x, [1]), errors.ShapeError, ["tile 'Tile'"]),
        (lambda: gr.nn.softmax(n), errors.GraphrunError, ["int32"]),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(build_mistakes())))
def test_mistakes_while_building(number: int) -> None:
    gr.reset_default_graph()  # that of the list above
    build, kind, texts = build_mistakes()[number]
    graph = gr.get_default_graph()
    line = build.__code__.co_firstlineno
    with pytest.raises(kind) as fault:
        build()
    text = str(fault.value)
    for expected in texts:
        assert expected in text, text
    assert f"test_errors.py:{line}" in text, text
    # The graph is as usable as before.
    x = graph.get_tensor_by_name("x:0")
    with gr.Session() as sess:
        np.testing.assert_array_equal(sess.run(x * 2.0, {x: np.ones((2, 3))}), np.full((2, 3), 2))


# -- mistakes that are told in the run ---------------------------------------------------------------


class Setup:
    """A graph with a variable that each run would change."""

    def __init__(self, device: str) -> None:
        self.x = gr.placeholder(gr.float32, None, name="x")
        self.n = gr.placeholder(gr.int32, None, name="n")
        self.v = gr.Variable(np.arange(4, dtype=F32), name="v")
        self.add = self.v.assign_add(np.ones(4, F32))
        self.session = gr.Session(device=device, verify=True)
        self.session.run(self.v.initializer)

    def fails(self, fetch: Any, feeds: Any, kind: type[Exception], line: int, *texts: str) -> str:
        """Run `fetch` with the update: the error says `texts` and `line`, and nothing has changed."""
        with pytest.raises(kind) as fault:
            self.session.run([self.add, fetch], feeds)
        text = str(fault.value)
        for expected in texts:
            assert expected in text, text
        assert f"test_errors.py:{line}" in text, text
        np.testing.assert_array_equal(self.session.run(self.v), np.arange(4))
        np.testing.assert_array_equal(self.session.run(self.v * self.x, {self.x: 2.0}), np.arange(4) * 2)
        return text


@pytest.fixture
def setup(device: str) -> Iterator[Setup]:
    made = Setup(device)
    with made.session:
        yield made


def test_shapes_that_do_not_fit_in_the_run(setup: Setup) -> None:
    x, line = setup.x, here() + 1
    y = gr.matmul(x, gr.ones([3, 2]), name="product")
    setup.fails(
        y,
        {x: np.ones((5, 4))},
        errors.ShapeError,
        line,
        "matmul 'product'",
        "inner dimensions differ, 4 != 3",
        "(5, 4)",
        "transpose_b=True",
    )
    setup.fails(y, {x: np.ones(3)}, errors.ShapeError, line, "matmul 'product'", "rank")
    line = here() + 1
    z = gr.add(x, gr.ones([3]), name="total")
    setup.fails(
        z, {x: np.ones(4)}, errors.ShapeError, line, "add 'total'", "(4,) and (3,) cannot be broadcast"
    )
    line = here() + 1
    r = gr.reshape(x, [-1, 4], name="rows")
    setup.fails(r, {x: np.ones(6)}, errors.ShapeError, line, "reshape 'rows'", "6 elements")
    line = here() + 1
    s = gr.reduce_sum(x, setup.n, name="along")
    setup.fails(
        s, {x: np.ones((2, 2)), setup.n: 2}, errors.ShapeError, line, "sum 'along'", "axis 2 is out of range"
    )


def test_values_that_a_host_function_refuses(setup: Setup) -> None:
    line = here() + 2
    with gr.device("/cpu:0"):
        y = gr.gather(setup.x, setup.n, name="pick")
    text = setup.fails(
        y, {setup.x: np.ones((2, 2)), setup.n: [5]}, errors.ExecutionError, line, "gather 'pick'", "cpu:0"
    )
    assert "5" in text


def test_missing_values(setup: Setup) -> None:
    line = here() + 1
    w = gr.Variable(np.ones((3, 2), F32), name="w")
    setup.fails(
        w * 1.0,
        None,
        errors.UninitializedError,
        line,
        "variable 'w' has no value in this session",
        "(3, 2) float32",
        "global_variables_initializer",
    )
    line = here() + 1
    p = gr.placeholder(gr.float64, (None, 7), name="p")
    setup.fails(
        p * 2.0,
        None,
        errors.FeedError,
        line,
        "placeholder 'p:0' is needed and not fed",
        "(?, 7) float64",
        "feed_dict of run",
    )
    setup.fails(p, {p: np.ones((2, 6))}, errors.ShapeError, line, "(2, 6)", "'p:0'", "expected shape (?, 7)")
    setup.fails(p, {p: [["a"] * 7]}, errors.FeedError, line, "'p:0' cannot be fed", "not numbers", "float64")


def test_what_fails_in_a_run_is_tensorflows_invalid_argument(setup: Setup) -> None:
    """As TensorFlow tells it; while a graph is built the same shapes are a ValueError and no more."""
    invalid, x, n = errors.InvalidArgumentError, setup.x, setup.n
    with gr.device("/cpu:0"):
        picked = gr.gather(gr.ones([3]), n)
    counted = gr.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a + gr.ones([2])), (0, x))[1]
    for fetch, feeds, also in (
        (x * 2.0, {}, errors.FeedError), (picked, {n: [5]}, errors.ExecutionError),
        (x + gr.ones([3]), {x: np.ones(4)}, errors.ShapeError),
        (gr.reshape(x, [4]), {x: np.ones(3)}, errors.ShapeError),
        (counted, {x: np.ones(3), n: 2}, errors.ShapeError),
        (setup.v.assign(x), {x: np.ones(3)}, errors.ShapeError),
    ):  # fmt: skip
        with pytest.raises(invalid) as fault:
            setup.session.run(fetch, feeds)
        assert isinstance(fault.value, also) and isinstance(fault.value, ValueError)
        assert fault.value.message == str(fault.value) and fault.value.error_code == errors.INVALID_ARGUMENT
    with pytest.raises(errors.ShapeError) as built:
        gr.ones([2]) + gr.ones([3])
    assert not isinstance(built.value, errors.OpError)


def test_assigned_shape_is_told_with_the_line_of_the_assign(setup: Setup) -> None:
    line = here() + 1
    put = setup.v.assign(setup.x * 1.0, name="put")
    setup.fails(
        put,
        {setup.x: np.ones(5)},
        errors.ShapeError,
        line,
        "assign 'put'",
        "(5,)",
        "(4,)",
        "validate_shape=False",
    )


def test_strict_session_names_what_the_device_cannot_run(device: str) -> None:
    if device == "cpu:0":
        pytest.skip("NumPy runs everything")
    x = gr.placeholder(gr.float32, (4,))
    line = here() + 1
    where = gr.where(x > 0.0, name="where")
    with gr.Session(device=device, strict=True) as sess:
        with pytest.raises(errors.DeviceError) as fault:
            sess.run(where, {x: np.ones(4)})
        text = str(fault.value)
        assert "'where'" in text and f"cannot run on {device}: it has no OpenCL kernel" in text
        assert f"test_errors.py:{line}" in text and "strict=False" in text
        np.testing.assert_array_equal(sess.run(x * 2.0, {x: np.ones(4)}), np.full(4, 2))
    with gr.Session(device=device) as sess:
        assert sess.run(where, {x: np.ones(4)}).shape == (4, 1)


def test_the_lines_of_gradients_lead_to_the_user(setup: Setup) -> None:
    """A node that `gradients` made carries the line that asked for it."""
    y = gr.reduce_sum(gr.square(setup.x))
    line = here() + 1
    (g,) = gr.gradients(y, setup.x)
    assert g.op.site == (__file__, line)
    assert re.search(rf"test_errors\.py:{line}\b", str(setup.session.plan(g, {setup.x: np.ones(3)})))


def test_an_error_in_the_users_own_function_passes_through() -> None:
    def broken() -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        gr.Variable(broken)
    assert gr.Variable(1.0).name.startswith("Variable")
    assert gr.get_default_graph().get_name_scope() == ""
