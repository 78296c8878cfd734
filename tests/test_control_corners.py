"""Loops in unusual places: over no rows, and in Python functions that loops call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as tf


@pytest.mark.parametrize("rows", [0, None])
def test_functions_over_no_rows(rows: int | None, device: str) -> None:
    x = tf.placeholder(tf.float32, (rows, 2))
    doubled = tf.map_fn(lambda row: row * 2, x)
    sums = tf.map_fn(tf.reduce_sum, x)
    totals = tf.scan(lambda total, row: total + row, x, initializer=tf.ones([2]))
    fetches = [doubled, sums, totals, *tf.gradients([doubled, totals], [x])]
    assert [t.shape.as_list() for t in fetches] == [[rows, 2], [rows], [rows, 2], [rows, 2]]
    session = tf.Session(device=device, verify=True)
    shapes = [value.shape for value in session.run(fetches, {x: np.zeros((0, 2))})]
    assert shapes == [(0, 2), (0,), (0, 2), (0, 2)]
    if rows is None:  # with rows they are what they were
        assert session.run(totals, {x: np.ones((2, 2))}).tolist() == [[2, 2], [3, 3]]


def test_a_function_in_a_body_may_run_the_loop(device: str) -> None:
    n, session, calls = tf.placeholder(tf.int32, ()), tf.Session(device=device), []

    def one_more(total: Any) -> Any:
        calls.append(total)
        return session.run(sums, {n: 2}) if len(calls) == 1 else total + 1

    def body(i: Any, total: Any) -> Any:
        return i + 1, tf.ensure_shape(tf.py_func(one_more, [total], tf.float32), ())

    sums = tf.while_loop(lambda i, total: (i < n) & (total < 99), body, [0, tf.constant(0.0)])[1]
    assert session.run(sums, {n: 3}) == 4.0  # 2 within the first iteration, and 1 in each that follows
