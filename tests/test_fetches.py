"""Fetches of any nesting: the result has their form, and each value its place."""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrun as gr
from graphrun.errors import FetchError, GraphError, NotFoundError

SITE = r"created at .*test_fetches\.py:\d+"
Pair = namedtuple("Pair", "first second")


class Three(namedtuple("Three", "a b c")):
    """A namedtuple with a constructor of its own, as TensorFlow's specs have."""

    def __new__(cls, a: Any) -> Any:
        return super().__new__(cls, a, None, None)


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def test_forms(sess: gr.Session) -> None:
    a, b = gr.constant(1.0, name="a"), gr.constant(2.0, name="b")
    v = gr.Variable(3.0, name="v")
    op = gr.group(a, name="op")
    sess.run(gr.global_variables_initializer())
    assert sess.run(a) == 1.0
    assert sess.run([a, b]) == [1.0, 2.0]
    assert sess.run((a, b)) == (1.0, 2.0)
    assert sess.run([a, b, a, a]) == [1.0, 2.0, 1.0, 1.0]
    assert sess.run([v, op, b]) == [3.0, None, 2.0]
    assert sess.run(op) is None
    assert sess.run({"x": a, "y": [b, {"z": v}]}) == {"x": 1.0, "y": [2.0, {"z": 3.0}]}
    assert sess.run(Pair(a, (b, [v]))) == Pair(1.0, (2.0, [3.0]))
    assert type(sess.run(Pair(a, b))) is Pair
    assert sess.run([Pair(a, b)]) == [Pair(1.0, 2.0)]
    assert sess.run("a:0") == 1.0
    assert sess.run(["a:0", "op", "v:0"]) == [1.0, None, 3.0]
    assert sess.run([]) == []
    assert sess.run(()) == ()
    assert sess.run({}) == {}
    assert sess.run([[], ()]) == [[], ()]


def test_mappings_keep_their_order_and_kind() -> None:
    a, b = gr.constant(1.0), gr.constant(2.0)
    with gr.Session() as sess:
        ordered = sess.run(OrderedDict([("z", a), ("y", b)]))
        assert type(ordered) is OrderedDict and list(ordered.items()) == [("z", 1.0), ("y", 2.0)]
        grouped: Any = defaultdict(list, {"k": [a]})
        assert sess.run(grouped) == {"k": [1.0]}
        assert sess.run({1: a, (2, 3): b}) == {1: 1.0, (2, 3): 2.0}


def test_a_namedtuple_equals_a_tuple_and_is_not_taken_for_one(sess: gr.Session) -> None:
    """They have the same hash, so a cache of fetches could mix them up."""
    a, b = gr.constant(1.0), gr.constant(2.0)
    for fetches in [[(a, b)], [Pair(a, b)], ((a, b), a), (Pair(a, b), a), [(a, b)]]:
        for _ in range(2):
            got = sess.run(fetches)
            assert type(got) is type(fetches)
            assert type(got[0]) is type(fetches[0])
            assert tuple(got[0]) == (1.0, 2.0)


def test_namedtuple_with_its_own_constructor() -> None:
    fetches = Three._make([gr.constant(1.0), gr.constant(2.0), gr.constant(3.0)])
    with gr.Session() as sess:
        got = sess.run(fetches)
    assert type(got) is Three and tuple(got) == (1.0, 2.0, 3.0)


def test_scalars_are_numpy_scalars(sess: gr.Session) -> None:
    got = sess.run(
        [gr.constant(1.5), gr.constant(2), gr.constant(True), gr.reduce_sum([1.0, 2.0]), gr.constant(1) + 1]
    )
    assert [type(g) for g in got] == [np.float32, np.int32, np.bool_, np.float32, np.int32]


def test_many_forms_of_one_fetch_share_a_plan() -> None:
    a = gr.constant(1.0)
    with gr.Session() as sess:
        plans = {id(sess.plan(f)) for f in (a, [a], (a,), {"k": a}, [[a], a], "Const:0")}
        assert len(plans) == 1


TENSORS = 4


def _nested(leaves: Any) -> Any:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.tuples(inner, inner).map(lambda p: Pair(*p)),
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(OrderedDict),
        ),
        max_leaves=8,
    )


def _map(f: Any, form: Any) -> Any:
    if isinstance(form, Pair):
        return Pair(*[_map(f, x) for x in form])
    if isinstance(form, list | tuple):
        return type(form)([_map(f, x) for x in form])
    if isinstance(form, dict):
        return type(form)([(k, _map(f, x)) for k, x in form.items()])
    return f(form)


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


GRAPH = gr.Graph()
with GRAPH.as_default():
    LEAVES: list[Any] = [gr.constant(i, name=f"t{i}") for i in range(TENSORS)] + ["t1:0", gr.no_op("nothing")]
SESSION = gr.Session(GRAPH, verify=True)  # one for all examples, so that they meet each other's caches


@given(_nested(st.integers(0, len(LEAVES) - 1)))
@settings(max_examples=200, deadline=None)
def test_any_nesting(form: Any) -> None:
    values = [np.int32(i) for i in range(TENSORS)] + [np.int32(1), None]
    got = SESSION.run(_map(lambda i: LEAVES[i], form))
    assert _same(got, _map(lambda i: values[i], form))


# -- what cannot be fetched ----------------------------------------------------------------------


def test_wrong_fetches(sess: gr.Session) -> None:
    a = gr.constant(1.0, name="alpha")
    v = gr.Variable(0.0)
    add = v.assign_add(1.0)
    other = gr.Graph()
    with other.as_default():
        foreign = gr.constant(1.0, name="foreign")
        foreign_variable = gr.Variable(1.0, name="w")
    sess.run(gr.global_variables_initializer())

    def fails(fetches: Any, kind: type[Exception], *texts: str) -> None:
        with pytest.raises(kind) as fault:
            sess.run([add, fetches])
        for text in texts:
            assert re.search(text, str(fault.value)), str(fault.value)
        with pytest.raises(kind):
            sess.run(fetches)

    fails(None, FetchError, "None cannot be fetched", "gr.gradients returns None")
    fails([a, None], FetchError, "None cannot be fetched")
    fails(1.5, FetchError, "1.5 of type float cannot be fetched", "expected a tensor, operation, variable")
    fails(np.ones(2), FetchError, "of type ndarray cannot be fetched")
    fails({a}, FetchError, "of type set cannot be fetched")
    fails(gr.float32, FetchError, "of type DType cannot be fetched")
    fails("alph:0", NotFoundError, "no tensor named 'alph:0'", "did you mean 'alpha:0'?")
    fails("alph", NotFoundError, "no operation named 'alph'", "did you mean 'alpha'")
    fails("alpha:3", NotFoundError, "'alpha' has 1 outputs?, so there is no 'alpha:3'")
    fails("alpha:x", GraphError, "'alpha:x' is no tensor name")
    fails("", NotFoundError, "no operation named ''")
    fails(foreign, GraphError, "'foreign:0' is not in this session's graph", SITE, "graph=")
    fails(foreign.op, GraphError, "'foreign' is not in this session's graph", SITE)
    fails(foreign_variable, GraphError, "'w:0' is not in this session's graph", SITE)
    assert sess.run([v, a]) == [0.0, 1.0]
