"""Variable scopes and get_variable: names, sharing, defaults, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, GraphError, ShapeError
from graphrun.initializers import initializer_named


def test_names_of_variables_and_of_operations_part() -> None:
    with gr.variable_scope("a"):
        w = gr.get_variable("w", [2, 3])
        with gr.variable_scope("b"):
            u = gr.get_variable("u", (4,))
            assert gr.identity(u).name == "a/b/Identity:0"
        assert gr.get_variable_scope().name == "a"
    with gr.variable_scope("a", reuse=True):
        assert gr.get_variable("w") is w and gr.get_variable("b/u") is u
        assert gr.identity(w).name == "a_1/Identity:0"
    assert (w.name, u.name) == ("a/w:0", "a/b/u:0")
    with gr.name_scope("n"):
        assert gr.get_variable("v", [1]).name == "v:0", "name scopes do not count"


def test_default_names_are_unique_and_count_anew_in_a_scope_entered_again() -> None:
    found = []
    for _ in range(2):
        with gr.variable_scope("m", reuse=gr.AUTO_REUSE):
            for _ in range(2):
                with gr.variable_scope(None, default_name="d"):
                    found.append(gr.get_variable("x", [1]).name)
    assert found == ["m/d/x:0", "m/d_1/x:0"] * 2


def test_scope_objects_are_entered_from_anywhere() -> None:
    with gr.variable_scope("a", initializer=gr.constant_initializer(3.0)) as scope:
        w = gr.get_variable("w", [2])
    with gr.variable_scope("elsewhere"), gr.variable_scope(scope, reuse=True):
        assert gr.get_variable("w") is w
        assert gr.get_variable_scope().original_name_scope == "a/"
    scope.reuse_variables()
    with gr.variable_scope(scope):
        assert gr.get_variable("w") is w
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        np.testing.assert_array_equal(sess.run(w), [3.0, 3.0])


def test_reuse_goes_down_and_auto_reuse_makes_what_is_missing() -> None:
    with gr.variable_scope("a"), gr.variable_scope("b"):
        gr.get_variable("w", [1])
    with gr.variable_scope("a", reuse=True), gr.variable_scope("b"):
        assert gr.get_variable_scope().reuse is True
        gr.get_variable("w")
    with gr.variable_scope("a", reuse=gr.AUTO_REUSE):
        assert gr.get_variable("n", [2]) is gr.get_variable("n", [2])


def test_initializers_of_every_kind() -> None:
    kinds: dict[str, Any] = {
        "class": gr.zeros_initializer, "object": gr.constant_initializer(2.0),
        "function": lambda shape, dtype=None, partition_info=None: gr.ones(shape, dtype),
        "no arguments": lambda: gr.ones((2,)) * 4.0, "array": np.full(2, 5, np.float32), "list": [6.0, 6.0],
        "tensor": gr.constant([7.0, 7.0]),
    }  # fmt: skip
    made = {}
    for name, initializer in kinds.items():
        shape = [2] if name in ("class", "object", "function") else None
        made[name] = gr.get_variable(name.replace(" ", "_"), shape, initializer=initializer)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        values = {k: float(v[0]) for k, v in sess.run(made).items()}
    assert values == {
        "class": 0, "object": 2, "function": 1, "no arguments": 4, "array": 5, "list": 6, "tensor": 7
    }  # fmt: skip
    assert gr.get_variable("i", [2], gr.int32).initial_value.dtype is gr.int32


def test_regularizers_fill_their_collection_once() -> None:
    with gr.variable_scope("a", regularizer=lambda w: gr.nn.l2_loss(w) * 0.1):
        gr.get_variable("w", [2], initializer=gr.ones_initializer())
    with gr.variable_scope("a", reuse=True):
        gr.get_variable("w")
    (loss,) = gr.get_collection(gr.GraphKeys.REGULARIZATION_LOSSES)
    assert loss.name.startswith("a/w/Regularizer/")
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        assert sess.run(loss) == pytest.approx(0.1)


def test_custom_getters_see_full_names_inner_first() -> None:
    seen: list[str] = []

    def of(label: str) -> Any:
        def getter(original: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            seen.append(f"{label} {name}")
            return original(name, *args, **kwargs)

        return getter

    with gr.variable_scope("a", custom_getter=of("outer")), gr.variable_scope("b", custom_getter=of("inner")):
        gr.get_variable("w", [1])
    assert seen == ["inner a/b/w", "outer a/b/w"]


def test_collections_and_trainability() -> None:
    a = gr.get_variable("a", [1], trainable=False)
    b = gr.get_variable("b", [1], trainable=False, collections=[gr.GraphKeys.LOCAL_VARIABLES])
    assert gr.global_variables() == [a] and gr.trainable_variables() == [] and gr.local_variables() == [b]
    with gr.Session() as sess:
        sess.run([gr.local_variables_initializer(), gr.tables_initializer()])
        assert sess.run(b).shape == (1,)


def test_errors_name_the_line_and_what_to_do() -> None:
    gr.get_variable("w", [2])
    with pytest.raises(GraphError, match=r"'w' exists already(.|\n)*test_variable_scope.py(.|\n)*AUTO_REUSE"):
        gr.get_variable("w", [2])
    with gr.variable_scope("", reuse=True):
        with pytest.raises(GraphError, match=r"'ww' does not exist(.|\n)*did you mean 'w'"):
            gr.get_variable("ww", [2])
        with pytest.raises(ShapeError, match=r"another shape(.|\n)*\(3,\)(.|\n)*expected \(2,\)"):
            gr.get_variable("w", [3])
        with pytest.raises(DTypeError, match=r"another dtype(.|\n)*expected float32"):
            gr.get_variable("w", [2], gr.int32)
    with pytest.raises(ShapeError, match="its shape is not known"):
        gr.get_variable("z")
    with pytest.raises(ShapeError, match="the initial value of 'q' has another shape"):
        gr.get_variable("q", [3], initializer=gr.constant([1.0, 2.0]))
    with pytest.raises(GraphError, match=r"in parts, \[2\] of them"):
        gr.get_variable("p", [4], partitioner=lambda shape, dtype: [2])
    with pytest.raises(GraphError, match="reuse=True without a name"):
        with gr.variable_scope(None, "d", reuse=True):
            pass
    with pytest.raises(ValueError), gr.variable_scope(None):
        pass
    # What failed left nothing behind.
    assert gr.get_variable_scope().name == "" and gr.get_variable("z", [1]).name == "z:0"


def test_scopes_are_of_their_graph_and_thread() -> None:
    import threading

    names: list[str] = []
    with gr.variable_scope("outer"):
        graph = gr.get_default_graph()

        def work() -> None:
            with graph.as_default():
                names.append(gr.get_variable_scope().name)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with gr.Graph().as_default():
            names.append(gr.get_variable_scope().name)
    assert names == ["", ""]


@pytest.mark.parametrize(
    ("initializer", "stddev"),
    [
        (gr.initializers.variance_scaling(2.0, "fan_in"), np.sqrt(2 / 60)),
        (gr.glorot_uniform_initializer(), np.sqrt(2 / 100)),
        (gr.glorot_normal_initializer(), np.sqrt(2 / 100)),
        (gr.initializers.he_normal(), np.sqrt(2 / 60)), (gr.initializers.lecun_uniform(), np.sqrt(1 / 60)),
        (gr.random_uniform_initializer(-3, 3), np.sqrt(3)),
        (gr.random_uniform_initializer(), np.sqrt(1 / 12)), (gr.random_normal_initializer(0, 0.2), 0.2),
        (gr.truncated_normal_initializer(0, 1.0), 0.8796),
    ],
)  # fmt: skip
def test_spread_of_random_initializers(initializer: Any, stddev: float) -> None:
    gr.set_random_seed(3)
    with gr.Session() as sess:
        value = sess.run(initializer((60, 40)))
    assert value.std() == pytest.approx(stddev, rel=0.05)
    assert type(initializer).from_config(initializer.get_config()).get_config() == initializer.get_config()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal_and_identity(shape: tuple[int, ...]) -> None:
    with gr.Session() as sess:
        q = sess.run(gr.orthogonal_initializer(2.0, seed=1)(shape)).reshape(-1, shape[-1])
        eye = sess.run(gr.initializers.identity(3.0)((2, 3)))
    small = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)
    np.testing.assert_array_equal(eye, 3 * np.eye(2, 3))


def test_seeded_initializers_draw_the_same() -> None:
    with gr.Session() as sess:
        a, b = (gr.glorot_uniform_initializer(seed=5)((3, 4)) for _ in range(2))
        np.testing.assert_array_equal(*sess.run([a, b]))


def test_impossible_initializers_are_refused() -> None:
    with pytest.raises(ShapeError, match="mode='fan'"):
        gr.initializers.variance_scaling(mode="fan")
    with pytest.raises(ShapeError, match="expected above 0"):
        gr.initializers.variance_scaling(0.0)
    with pytest.raises(DTypeError, match="cannot be scaled"):
        gr.glorot_uniform_initializer()((2, 2), gr.int32)
    with pytest.raises(ShapeError, match="rank 2 or more"):
        gr.orthogonal_initializer()((3,))


def test_a_helper_that_is_called_twice_is_told_with_its_callers_line() -> None:
    def helper() -> Any:
        return gr.get_variable("w", [2])

    helper()
    with pytest.raises(GraphError, match="'w' exists already") as caught:
        helper()
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("  first made at ") and lines[2].startswith("  made again at ")
    assert lines[1].rpartition(":")[2] != lines[2].rpartition(":")[2]
    with pytest.raises(gr.errors.ShapeError, match=r"it was made at .*test_variable_scope\.py:\d+"):
        with gr.variable_scope("", reuse=True):
            gr.get_variable("w", [3])


def test_a_default_name_is_unique_apart_for_operations() -> None:
    # As in TensorFlow, where the second scope's variables and operations have different numbers.
    with gr.name_scope("d"):
        pass
    with gr.variable_scope(None, "d"):
        assert gr.get_variable("w", [2]).name == "d/w:0" and gr.constant(1.0, name="c").name == "d_1/c:0"
    with gr.variable_scope(None, "d"):
        assert gr.get_variable("w", [2]).name == "d_1/w:0" and gr.constant(1.0, name="c").name == "d_2/c:0"


def test_initializers_by_name() -> None:
    he = gr.layers.Dense(3, kernel_initializer="he_normal", bias_initializer="ones")
    with gr.variable_scope("a", initializer="zeros") as scope:
        scope_made = gr.get_variable("z", [2])
        with gr.variable_scope("b"):
            scope.set_initializer("Ones")
        changed = gr.get_variable("o", [2])
    own = gr.get_variable("i", [2, 2], initializer="identity")
    text = gr.get_variable("t", initializer="zeros")  # a value: no shape was given
    word = gr.get_variable("u", [], gr.string, "zeros")
    he(gr.ones([2, 1000]))
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        np.testing.assert_array_equal(sess.run(scope_made), [0, 0])
        np.testing.assert_array_equal(sess.run(changed), [1, 1])
        np.testing.assert_array_equal(sess.run(own), np.eye(2))
        assert sess.run([text, word]) == [b"zeros", b"zeros"]
        kernel, bias = sess.run(he.variables)
        assert kernel.std() == pytest.approx(np.sqrt(2 / 1000), rel=0.1) and bias.tolist() == [1, 1, 1]
        spread = sess.run(initializer_named("truncated_normal", "test")([10_000]))
        assert spread.std() == pytest.approx(0.05 * 0.88, rel=0.05)


def test_an_unknown_initializer_is_told_with_a_near_name() -> None:
    for name, near in (
        ("glorot_unifrom", "glorot_uniform"), ("xavier", "glorot_uniform"), ("HeNorml", "he_normal"),
        ("zeros_initializer", "zeros"), ("xavier_normal", "glorot_normal"),
    ):  # fmt: skip
        with pytest.raises(GraphError, match=f"no initializer is named '{name}'") as caught:
            gr.layers.dense(gr.ones([2, 2]), 3, kernel_initializer=name, name="top")
        text = str(caught.value)
        assert "variable 'top/kernel'" in text and f"did you mean '{near}'?" in text, text
        assert "test_variable_scope.py" in text and "he_uniform" in text
        gr.reset_default_graph()
    with pytest.raises(GraphError, match=r"variable_scope\('s'\): no initializer is named 'qqq'") as caught:
        with gr.variable_scope("s", initializer="qqq"):
            pass
    assert "did you mean" not in str(caught.value)


def test_an_initializer_that_does_not_fit_names_its_variable() -> None:
    with pytest.raises(ShapeError, match=r"variable 'net/bias': orthogonal: shape \(3,\)\n.*\n.*rank 2 or"):
        gr.layers.dense(gr.ones([2, 2]), 3, bias_initializer="orthogonal", name="net")
    with pytest.raises(DTypeError, match="variable 'n': variance_scaling: numbers of dtype int32"):
        gr.get_variable("n", [2, 2], gr.int32, "variance_scaling")
