"""JAX: functions compiled by `jax.jit`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from sidebyside.reference import LAYER_NORM_EPSILON
from sidebyside.system import SimpleRun, Unavailable
from sidebyside.work import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, Kernel, Step


class Ops:
    """The operations that works are written in."""

    def __init__(self, jax: Any) -> None:
        jnp = jax.numpy
        self.jax, self.jnp = jax, jnp
        self.matmul, self.tanh, self.square, self.sum = jnp.matmul, jnp.tanh, jnp.square, jnp.sum
        self.reshape, self.transpose, self.mean = jnp.reshape, jnp.transpose, jnp.mean
        self.relu, self.softmax = jax.nn.relu, jax.nn.softmax

    def dense(self, x: Any, w: Any, b: Any) -> Any:
        return x @ w + b

    def conv(self, x: Any, w: Any) -> Any:
        return self.jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def conv_bias(self, x: Any, w: Any, b: Any) -> Any:
        return self.conv(x, w) + b

    def conv_gradients(self, x: Any, w: Any, dy: Any) -> Sequence[Any]:
        return self.jax.vjp(self.conv, x, w)[1](dy)

    def max_pool(self, x: Any) -> Any:
        window = (1, 2, 2, 1)
        return self.jax.lax.reduce_window(x, -self.jnp.inf, self.jax.lax.max, window, window, "VALID")

    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        logs = self.jax.nn.log_softmax(logits)
        return -self.jnp.mean(self.jnp.take_along_axis(logs, labels[:, None], axis=1))

    def lookup(self, table: Any, ids: Any) -> Any:
        return table[ids]

    def split(self, x: Any, parts: int) -> Sequence[Any]:
        return self.jnp.split(x, parts, axis=1)

    def layer_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        mean, variance = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        return (x - mean) * self.jax.lax.rsqrt(variance + LAYER_NORM_EPSILON) * scale + shift

    def gelu(self, x: Any) -> Any:
        return self.jax.nn.gelu(x, approximate=True)

    def attention(self, q: Any, k: Any, v: Any) -> Any:
        return self.softmax(q @ k.swapaxes(2, 3) * q.shape[-1] ** -0.5) @ v

    def lstm(self, x: Any, w: Any, b: Any, state_shape: tuple[int, int]) -> Any:
        """The last output for a sequence x, unrolled."""
        sigmoid = self.jax.nn.sigmoid
        h = c = self.jnp.zeros(state_shape)
        for x_now in x:
            i, f, g, o = self.jnp.split(self.jnp.concatenate([x_now, h], 1) @ w + b, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * self.jnp.tanh(g)
            h = sigmoid(o) * self.jnp.tanh(c)
        return h

    def lstm_native(self, x: Any, wx: Any, wh: Any, b: Any, state_shape: tuple[int, int]) -> Any:
        """The same by `jax.lax.scan`, the inputs' products at once."""
        sigmoid = self.jax.nn.sigmoid

        def cell(state: Any, z: Any) -> Any:
            h, c = state
            i, f, g, o = self.jnp.split(z + h @ wh, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * self.jnp.tanh(g)
            return (sigmoid(o) * self.jnp.tanh(c), c), None

        zeros = self.jnp.zeros(state_shape)
        return self.jax.lax.scan(cell, (zeros, zeros), x @ wx + b)[0][0]


class JaxSystem:
    """JAX on its CPU or its GPU, in full float32."""

    key, is_peer = "jax", True

    def __init__(self, on_gpu: bool) -> None:
        if not on_gpu:
            os.environ.setdefault("JAX_PLATFORMS", "cpu")
        # Otherwise it takes most of a GPU's memory, and the others have none.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        try:
            import jax
        except ImportError as error:
            raise Unavailable(f"JAX is not installed ({error})") from None
        platform = jax.devices()[0].platform
        if on_gpu != (platform in ("gpu", "cuda", "rocm")):
            raise Unavailable(f"JAX {jax.__version__} runs on {platform} here")
        jax.config.update("jax_default_matmul_precision", "highest")
        self.jax = jax
        self.ops = Ops(jax)
        self.detail = f"JAX {jax.__version__}, jit, {'GPU' if on_gpu else 'CPU'}"

    def kernel(self, kernel: Kernel, data: str) -> SimpleRun:
        arrays = kernel.inputs()
        compute = self.jax.jit(lambda tensors: list(kernel.build(self.ops, tensors)))
        tensors = {k: self.jax.device_put(a) for k, a in arrays.items()}

        def fetch() -> list[np.ndarray]:
            return [np.asarray(r) for r in compute(arrays if data == "fed" else tensors)]

        def run() -> None:
            self.jax.block_until_ready(compute(tensors))

        return SimpleRun(run if data == "resident" else fetch, fetch)

    def step(self, step: Step) -> SimpleRun:
        jnp = self.jax.numpy
        parameters, fed = step.split()
        adam = step.optimizer == "adam"

        def train(state: Any, tensors: Any) -> Any:
            weights, moments, count = state
            loss, gradients = self.jax.value_and_grad(lambda p: step.loss(self.ops, p, tensors))(weights)
            if not adam:
                return ({k: w - step.rate * gradients[k] for k, w in weights.items()}, moments, count), loss
            count = count + 1
            rate = step.rate * jnp.sqrt(1 - ADAM_BETA2**count) / (1 - ADAM_BETA1**count)
            new_weights, new_moments = {}, {}
            for k, g in gradients.items():
                m, v = moments[k]
                m, v = m + (1 - ADAM_BETA1) * (g - m), v + (1 - ADAM_BETA2) * (g * g - v)
                new_moments[k] = (m, v)
                new_weights[k] = weights[k] - rate * m / (jnp.sqrt(v) + ADAM_EPSILON)
            return (new_weights, new_moments, count), loss

        compiled = self.jax.jit(train, donate_argnums=0)  # as users do, so that updates are in place
        weights = {k: self.jax.device_put(a) for k, a in parameters.items()}
        moments = {k: (jnp.zeros(a.shape), jnp.zeros(a.shape)) for k, a in parameters.items() if adam}
        state = (weights, moments, jnp.zeros(()))

        def run() -> Any:
            nonlocal state
            state, loss = compiled(state, fed)
            self.jax.block_until_ready(state)
            return np.asarray(loss)

        return SimpleRun(run, lambda: {k: np.asarray(w) for k, w in state[0].items()})
