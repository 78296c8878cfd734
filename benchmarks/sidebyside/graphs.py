"""graphrun and TensorFlow 1: the same program for both, since the names are the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sidebyside.reference import GELU_CUBIC, GELU_SCALE, LAYER_NORM_EPSILON
from sidebyside.system import Planned, SimpleRun
from sidebyside.work import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, Kernel, Step


class Ops:
    """The operations that works are written in, with the names of TensorFlow 1.

    Parameters
    ----------
    tf : module
        ``graphrun`` or ``tensorflow.compat.v1``.
    """

    def __init__(self, tf: Any) -> None:
        self.tf = tf
        self.matmul, self.tanh, self.square = tf.matmul, tf.tanh, tf.square
        self.reshape, self.transpose = tf.reshape, tf.transpose
        self.relu, self.softmax, self.mean = tf.nn.relu, tf.nn.softmax, tf.reduce_mean

    def sum(self, x: Any, axis: int | None) -> Any:
        return self.tf.reduce_sum(x, axis)

    def dense(self, x: Any, w: Any, b: Any) -> Any:
        return self.tf.nn.bias_add(self.tf.matmul(x, w), b)

    def conv(self, x: Any, w: Any) -> Any:
        return self.tf.nn.conv2d(x, w, strides=[1, 1, 1, 1], padding="SAME")

    def conv_bias(self, x: Any, w: Any, b: Any) -> Any:
        return self.tf.nn.bias_add(self.conv(x, w), b)

    def conv_gradients(self, x: Any, w: Any, dy: Any) -> list[Any]:
        """The gradients of x and of w."""
        return list(self.tf.gradients(self.conv(x, w), [x, w], dy))

    def max_pool(self, x: Any) -> Any:
        return self.tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")

    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        losses = self.tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        return self.tf.reduce_mean(losses)

    def lookup(self, table: Any, ids: Any) -> Any:
        return self.tf.nn.embedding_lookup(table, ids)

    def split(self, x: Any, parts: int) -> Sequence[Any]:
        return self.tf.split(x, parts, axis=1)

    def layer_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        mean, variance = self.tf.nn.moments(x, [1], keep_dims=True)
        return self.tf.nn.batch_normalization(x, mean, variance, shift, scale, LAYER_NORM_EPSILON)

    def gelu(self, x: Any) -> Any:
        return 0.5 * x * (1.0 + self.tf.tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x)))

    def attention(self, q: Any, k: Any, v: Any) -> Any:
        scores = self.tf.matmul(q, k, transpose_b=True) * (1 / math.sqrt(int(q.shape[-1])))
        return self.tf.matmul(self.tf.nn.softmax(scores), v)

    def lstm(self, x: Any, w: Any, b: Any, state_shape: tuple[int, int]) -> Any:
        """The last output for a sequence x, unrolled as TensorFlow's BasicLSTMCell writes a step."""
        tf = self.tf
        h = c = tf.zeros(state_shape)
        for x_now in tf.unstack(x):
            i, f, g, o = tf.split(self.dense(tf.concat([x_now, h], 1), w, b), 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            h = tf.sigmoid(o) * tf.tanh(c)
        return h

    def lstm_native(self, x: Any, wx: Any, wh: Any, b: Any, state_shape: tuple[int, int]) -> Any:
        """The same by `dynamic_rnn`, which runs a cell over time in a loop."""
        cell = _Cell(self, wx, wh, b, state_shape[1])
        output, _ = self.tf.nn.dynamic_rnn(cell, x, dtype=x.dtype, time_major=True)
        return output[-1]


class _Cell:
    """What `dynamic_rnn` asks of a cell, with weights that are given."""

    def __init__(self, ops: Ops, wx: Any, wh: Any, b: Any, hidden: int) -> None:
        self._ops, self._wx, self._wh, self._b = ops, wx, wh, b
        self.state_size = (hidden, hidden)
        self.output_size = hidden

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return tuple(self._ops.tf.zeros([batch_size, n], dtype) for n in self.state_size)

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        tf = self._ops.tf
        h, c = state
        z = self._ops.dense(inputs, self._wx, self._b) + tf.matmul(h, self._wh)
        i, f, g, o = tf.split(z, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, (h, c)


class GraphSystem:
    """A module with TensorFlow 1's names.

    Parameters
    ----------
    tf : module
    key, detail : str
    is_peer : bool
    session : function
        From a graph to a new session.
    finish : function
        Waits until nothing runs any more, where `Session.run` may return earlier.
    """

    def __init__(
        self, tf: Any, key: str, detail: str, is_peer: bool, session: Callable[[Any], Any],
        finish: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.tf, self.key, self.detail, self.is_peer = tf, key, detail, is_peer
        self._session, self._finish = session, finish
        self.ops = Ops(tf)

    def _variables(self, arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[Any, Any], list[Any]]:
        """Return variables, feeds for their first values, and what loads these."""
        tf = self.tf
        variables, feeds, loads = {}, {}, []
        for k, array in arrays.items():
            variables[k] = tf.Variable(tf.zeros(array.shape))
            value = tf.placeholder(tf.float32, array.shape)
            feeds[value] = array
            loads.append(tf.assign(variables[k], value).op)
        return variables, feeds, loads

    def kernel(self, kernel: Kernel, data: str) -> SimpleRun:
        tf = self.tf
        arrays = kernel.inputs()
        graph = tf.Graph()
        with graph.as_default():
            if data == "fed":
                inputs = {k: tf.placeholder(tf.float32, a.shape) for k, a in arrays.items()}
                feeds, loads, first_values = {inputs[k]: a for k, a in arrays.items()}, [], {}
            else:
                inputs, first_values, loads = self._variables(arrays)
                feeds = {}
            results = list(kernel.build(self.ops, inputs))
            # Kept in a variable, because graphrun does not compute what nobody reads.
            kept = [tf.Variable(tf.zeros(r.shape), trainable=False) for r in results]
            compute = tf.group(*(tf.assign(k, r).op for k, r in zip(kept, results)))
            initialize = tf.global_variables_initializer()
        session = self._session(graph)
        session.run(initialize)
        session.run(loads, first_values)
        fetches = results[0] if len(results) == 1 else results

        def run() -> None:
            session.run(compute)
            self._finish()

        def kept_values() -> list[np.ndarray]:
            run()
            return list(session.run(kept))

        if data == "resident":
            made = SimpleRun(run, kept_values, session.close)
        else:
            made = SimpleRun(
                lambda: session.run(fetches, feeds), lambda: session.run(results, feeds), session.close
            )
        return _with_plan(made, session, compute if data == "resident" else fetches, feeds)

    def step(self, step: Step) -> SimpleRun:
        tf = self.tf
        parameters, fed = step.split()
        graph = tf.Graph()
        with graph.as_default():
            variables, first_values, loads = self._variables(parameters)
            inputs = {k: tf.placeholder(tf.as_dtype(a.dtype), a.shape) for k, a in fed.items()}
            loss = step.loss(self.ops, variables, inputs)
            if step.optimizer == "adam":
                optimizer = tf.train.AdamOptimizer(step.rate, ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON)
            else:
                optimizer = tf.train.GradientDescentOptimizer(step.rate)
            update = optimizer.minimize(loss, var_list=list(variables.values()))
            initialize = tf.global_variables_initializer()
        session = self._session(graph)
        session.run(initialize)
        session.run(loads, first_values)
        feeds = {inputs[k]: a for k, a in fed.items()}

        def run() -> Any:
            value, _ = session.run([loss, update], feeds)
            self._finish()
            return value

        made = SimpleRun(run, lambda: session.run(variables), session.close)
        return _with_plan(made, session, [loss, update], feeds)


def _with_plan(run: SimpleRun, session: Any, fetches: Any, feeds: Any) -> SimpleRun:
    """Let a run of graphrun tell what its plan says."""

    def planned() -> Planned:
        from graphrun.compiler.steps import size_bytes

        plan = session.plan(fetches, feeds)
        states = sum(size_bytes(spec) for spec in plan.state_specs.values())
        run_bytes = plan.peak_bytes() + sum(plan.peak_bytes(device) for device in plan.devices)
        return Planned(states, run_bytes, len(plan.launches))

    if hasattr(session, "plan"):  # TensorFlow has none
        run.planned = planned
    return run


def graphrun_system(device: str | None) -> GraphSystem:
    """Return graphrun on a device, or on what it chooses itself for None."""
    import graphrun as gr
    from graphrun.device_names import NUMPY
    from graphrun.runtime.devices import get_device, list_devices

    def session(graph: Any) -> Any:
        return gr.Session(graph=graph, device=device)

    # Which devices graphrun would choose for each operation is its own business, so all are waited for.
    names = [n for n in (list_devices() if device is None else [device]) if n != NUMPY]

    opened = [get_device(name) for name in names]

    def finish() -> None:
        for each in opened:
            each.finish()

    return GraphSystem(
        gr, device or "default", f"graphrun {gr.__version__}, {device or 'no device named'}", False, session,
        finish if opened else lambda: None,
    )  # fmt: skip
