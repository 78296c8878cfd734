"""TensorFlow's switches between its versions: graphrun has the manner of TensorFlow 1 alone."""

from __future__ import annotations


def disable_v2_behavior() -> None:
    """Do nothing: graphs are defined, then run, from the beginning."""


def disable_eager_execution() -> None:
    """Do nothing: graphs are defined, then run, from the beginning."""


def executing_eagerly() -> bool:
    """False: operations are nodes of a graph, and run in a session."""
    return False
