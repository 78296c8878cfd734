"""Plans that follow each other where shapes depend on data: the first finds what the next is planned for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun.collector import collector_paused
from graphrun.compiler.pipeline import Split
from graphrun.compiler.plan import Plan
from graphrun.compiler.show import described
from graphrun.compiler.specialize import Found, Place
from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import Spec
from graphrun.runtime.executor import BoundPlan
from graphrun.runtime.store import Store
from graphrun.shapes import format_shape

Compile = Callable[[Found], Plan]


class Stage:
    """One bound plan; a first one also has those that follow, by what it has found."""

    __slots__ = ("bound", "values", "results", "found", "followers")

    def __init__(self, bound: BoundPlan, found: Found, values: list[Place], results: list[Place]) -> None:
        self.bound = bound
        # Of a first plan: the places of what it fetches, and what the plans before it have found.
        self.values = values
        self.results = results
        self.found = found
        self.followers: OrderedDict[Any, Stage] = OrderedDict()

    @property
    def is_first(self) -> bool:
        return bool(self.values or self.results)


def compiled(compile: Compile, found: Found, store: Store, devices: Callable[[str], Any]) -> Stage:
    """The plan for what has been found so far, or the first part of it."""
    with collector_paused():
        return _compiled(compile, found, store, devices)


def _compiled(compile: Compile, found: Found, store: Store, devices: Callable[[str], Any]) -> Stage:
    values: list[Place] = []
    results: list[Place] = []
    try:
        plan = compile(found)
    except Split as split:
        plan, values, results = split.plan, split.values, split.results
    fetched = [plan.labels.get(r, "a value") for r in plan.fetches if r is not None]
    plan.asks = [*fetched[: len(values)], *(f"the shape of {n}" for n in fetched[len(values) :])]
    if not (values or results):
        plan.asks = []
    return Stage(BoundPlan(plan, store, devices), found, values, results)


def with_followers(stage: Stage) -> Plan:
    """The plan of a stage, which tells of those that followed it so far."""
    plan = stage.bound.plan
    plan.followers = []
    for follower in list(stage.followers.values()):
        values = [follower.found.values[place] for place in stage.values]
        shapes = [format_shape(follower.found.results[place].shape) for place in stage.results]
        found = described(list(zip(plan.asks, [*values, *shapes], strict=False)))
        plan.followers.append((found, with_followers(follower)))
    return plan


def run_stages(
    stage: Stage, arrays: Sequence[Any], follow: Callable[[Found], Stage], limit: int
) -> tuple[Any, ...]:
    """Run a first plan, and those that follow for what it finds; return what the last one fetches."""
    fed = list(arrays)
    while stage.is_first:
        fetched = [np.asarray(v) for v in stage.bound.run(fed)]
        values, results = fetched[: len(stage.values)], fetched[len(stage.values) :]
        key = (tuple((v.shape, v.tobytes()) for v in values), tuple(r.shape for r in results))
        assert not stage.found.values.keys() & set(stage.values), (
            "a value has been found, and is asked for again"
        )
        follower = stage.followers.get(key)
        if follower is None:
            specs = [Spec(r.shape, as_dtype(r.dtype)) for r in results]
            found = stage.found.and_more(
                dict(zip(stage.values, values, strict=True)), dict(zip(stage.results, specs, strict=True))
            )
            follower = follow(found)
            remember(stage.followers, key, follower, limit)
        stage = follower
        fed += results
    return stage.bound.run(fed)


def remember(cache: OrderedDict[Any, Any], key: Any, value: Any, limit: int) -> None:
    """Keep `value`; what was not used for longest goes where there are more than `limit`."""
    try:
        cache[key] = value
        cache.move_to_end(key)
        while len(cache) > limit:
            cache.popitem(last=False)
    except KeyError:  # another thread was quicker
        pass
