"""TensorFlow: as a graph of version 1, and as a function compiled by XLA."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sidebyside.graphs import GraphSystem, Ops
from sidebyside.system import SimpleRun, Unavailable
from sidebyside.work import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, Kernel, Step


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Turn file descriptor 2 away: libraries write to it without asking Python."""
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _module(on_gpu: bool) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with silent_stderr():
            import tensorflow as tf
    except ImportError as error:
        raise Unavailable(f"TensorFlow is not installed ({error})") from None
    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    if on_gpu and not gpus:
        raise Unavailable(f"TensorFlow {tf.__version__} sees no GPU")
    if not on_gpu:
        tf.config.set_visible_devices([], "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return tf


def graph_system(on_gpu: bool) -> GraphSystem:
    """TensorFlow 1: a graph and a session."""
    tf = _module(on_gpu)
    v1 = tf.compat.v1
    where = "GPU" if on_gpu else "CPU"
    return GraphSystem(
        v1, "tf1", f"TensorFlow {tf.__version__}, v1 graph, {where}", True,
        lambda graph: v1.Session(graph=graph),
    )  # fmt: skip


class XlaSystem:
    """A `tf.function` with ``jit_compile=True``."""

    key, is_peer = "xla", True

    def __init__(self, on_gpu: bool) -> None:
        self.tf = _module(on_gpu)
        self.ops = Ops(self.tf.compat.v1)
        self.detail = f"TensorFlow {self.tf.__version__}, jit_compile=True, {'GPU' if on_gpu else 'CPU'}"
        # On a CPU a call returns when it is done.
        self._finish = self.tf.test.experimental.sync_devices if on_gpu else lambda: None

    def kernel(self, kernel: Kernel, data: str) -> SimpleRun:
        arrays = kernel.inputs()

        @self.tf.function(jit_compile=True)
        def compute(tensors: dict[str, Any]) -> list[Any]:
            return list(kernel.build(self.ops, tensors))

        def fetch() -> list[np.ndarray]:
            # Of the same call that is timed, and not of one that would be compiled on its own.
            return [r.numpy() for r in compute(arrays if data == "fed" else tensors)]

        tensors = {k: self.tf.constant(a) for k, a in arrays.items()}

        def run() -> None:
            compute(tensors)
            self._finish()

        return SimpleRun(run if data == "resident" else fetch, fetch)

    def step(self, step: Step) -> SimpleRun:
        tf = self.tf
        parameters, fed = step.split()
        variables = {k: tf.Variable(a) for k, a in parameters.items()}
        adam = step.optimizer == "adam"
        moments = {k: [tf.Variable(tf.zeros(a.shape)) for _ in "mv"] for k, a in parameters.items() if adam}
        count = tf.Variable(0.0)

        def apply(gradients: list[Any]) -> None:
            if adam:
                count.assign_add(1.0)
                rate = step.rate * tf.sqrt(1 - ADAM_BETA2**count) / (1 - ADAM_BETA1**count)
            for (k, variable), g in zip(variables.items(), gradients):
                if isinstance(g, tf.IndexedSlices):  # with SGD alone
                    variable.scatter_sub(tf.IndexedSlices(step.rate * g.values, g.indices))
                    continue
                if not adam:
                    variable.assign_sub(step.rate * g)
                    continue
                m, v = moments[k]
                m.assign_add((1 - ADAM_BETA1) * (g - m))
                v.assign_add((1 - ADAM_BETA2) * (g * g - v))
                variable.assign_sub(rate * m / (tf.sqrt(v) + ADAM_EPSILON))

        @tf.function(jit_compile=True)
        def train(tensors: dict[str, Any]) -> Any:
            with tf.GradientTape() as tape:
                loss = step.loss(self.ops, variables, tensors)
            apply(tape.gradient(loss, list(variables.values())))
            return loss

        def run() -> Any:
            loss = train(fed).numpy()
            self._finish()
            return loss

        return SimpleRun(run, lambda: {k: v.numpy() for k, v in variables.items()})
