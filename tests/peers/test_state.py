"""Assignments to slices, counters, templates and what is asked of variables, beside TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from beside import in_both, tf

TABLE = np.arange(24, dtype=np.float32).reshape(4, 3, 2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (2, np.ones((3, 2))), (2, 5.0), ((1, 2), [7.0, 8.0]), ((1, 2, 0), 9.0), (slice(None, None, -2), 1.0),
        ((Ellipsis, 1), [1.0, 2.0, 3.0]), ((slice(None), None, slice(1, 3)), np.ones((4, 1, 2, 2))),
        ((1, 2, 0), [9.0]), (slice(1, 3), np.ones((1, 3, 2))),
    ],
)  # fmt: skip
def test_slices_are_assigned(key: Any, value: Any) -> None:
    def build(lib: Any, session: Any) -> list[Any]:
        v = lib.Variable(TABLE)
        if lib is tf and isinstance(key, tuple):
            place = tuple(tf.newaxis if k is None else k for k in key)
        else:
            place = key
        step = lib.assign(v[place], np.float32(value))
        session.run(lib.global_variables_initializer())
        return [session.run(step), session.run(v), step.name]

    in_both(build)


def test_questions_and_counters() -> None:
    def build(lib: Any, session: Any) -> list[Any]:
        v, w = lib.Variable(0, name="v"), lib.Variable(1.0, name="w")
        lib.get_local_variable("n", [2])
        report, known = lib.report_uninitialized_variables(), lib.is_variable_initialized(w)
        count = lib.count_up_to(v, 3)
        results = [session.run(report), session.run(known)]
        session.run(v.initializer)
        results += [session.run(report), session.run(count), session.run(count), session.run(v), count.name]
        with lib.control_dependencies([w.initializer]):
            then = lib.is_variable_initialized(w)
        together = lib.tuple([lib.constant(1.0), v])
        return [*results, session.run(then), together[0].name, together[1].name]

    in_both(build)


def test_templates() -> None:
    def scaled(lib: Any, x: Any) -> Any:
        return lib.multiply(x, lib.get_variable("w", [1]), name="o")

    def build(lib: Any, session: Any) -> list[Any]:
        scale = lib.make_template("t", scaled, lib=lib)
        names = [scale(x=1.0).name, scale(x=2.0).name]
        names += [lib.make_template("t", scaled, lib=lib)(x=1.0).name]
        now = lib.make_template("t", scaled, create_scope_now_=True, lib=lib)
        with lib.variable_scope("other"):
            names += [now(x=1.0).name, now(x=2.0).name]
            names += [lib.make_template("t", scaled, unique_name_="u", lib=lib)(x=1.0).name]
        return names + [v.name for v in lib.global_variables()] + [scale.variable_scope_name]

    in_both(build)


def test_rows_by_methods() -> None:
    def build(lib: Any, session: Any) -> list[Any]:
        v = lib.Variable(TABLE + 1)
        rows = lib.IndexedSlices(lib.constant(TABLE[:2] + 2), lib.constant([3, 1]))
        session.run(lib.global_variables_initializer())
        return [
            session.run(getattr(v, f"scatter_{mode}")(rows))
            for mode in ("add", "sub", "update", "mul", "div", "min", "max")
        ]

    in_both(build)
