"""PyTorch, eager."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sidebyside.reference import LAYER_NORM_EPSILON
from sidebyside.system import SimpleRun, Unavailable
from sidebyside.work import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, Kernel, Step, Work


class Ops:
    """The operations that works are written in.

    Images are channels last in memory, which is PyTorch's faster way on CPUs; filters are kept as PyTorch
    keeps them, out before in, and channels last.
    """

    def __init__(self, torch: Any) -> None:
        functional = torch.nn.functional
        self.torch, self.functional = torch, functional
        self.matmul, self.tanh, self.square = torch.matmul, torch.tanh, torch.square
        self.relu, self.mean, self.reshape = functional.relu, torch.mean, torch.reshape
        self.attention = functional.scaled_dot_product_attention
        self.cross_entropy = functional.cross_entropy

    def softmax(self, x: Any) -> Any:
        return self.functional.softmax(x, -1)

    def sum(self, x: Any, axis: int | None) -> Any:
        return x.sum() if axis is None else x.sum(axis)

    def transpose(self, x: Any, axes: Sequence[int]) -> Any:
        return x.permute(*axes)

    def dense(self, x: Any, w: Any, b: Any) -> Any:
        return self.torch.addmm(b, x, w)

    def conv(self, x: Any, w: Any, b: Any = None) -> Any:
        return self.functional.conv2d(x.permute(0, 3, 1, 2), w, b, padding=1).permute(0, 2, 3, 1)

    conv_bias = conv

    def conv_gradients(self, x: Any, w: Any, dy: Any) -> Sequence[Any]:
        dx, dw, _ = self.torch.ops.aten.convolution_backward(
            dy.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2), w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1,
            [True, True, False],
        )  # fmt: skip
        return [dx.permute(0, 2, 3, 1), dw.permute(2, 3, 1, 0)]

    def max_pool(self, x: Any) -> Any:
        return self.functional.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)

    def lookup(self, table: Any, ids: Any) -> Any:
        # The gradient is rows too, as users have it of large tables.
        return self.functional.embedding(ids, table, sparse=True)

    def split(self, x: Any, parts: int) -> Sequence[Any]:
        return x.chunk(parts, dim=1)

    def layer_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        return self.functional.layer_norm(x, scale.shape, scale, shift, LAYER_NORM_EPSILON)

    def gelu(self, x: Any) -> Any:
        return self.functional.gelu(x, approximate="tanh")

    def lstm(self, x: Any, w: Any, b: Any, state_shape: tuple[int, int]) -> Any:
        """The last output for a sequence x, unrolled."""
        torch = self.torch
        h = c = torch.zeros(state_shape, device=x.device)
        for x_now in x.unbind():
            i, f, g, o = self.dense(torch.cat([x_now, h], 1), w, b).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h

    def lstm_native(self, x: Any, wx: Any, wh: Any, b: Any, state_shape: tuple[int, int]) -> Any:
        """The same by what `torch.nn.LSTM` calls; the weights are kept as there, out before in."""
        zeros = self.torch.zeros(1, *state_shape, device=x.device)
        weights = [wx, wh, b, self.torch.zeros_like(b)]
        _, h, _ = self.torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, True, False, False)
        return h[0]


class TorchSystem:
    """PyTorch on the CPU or on CUDA, in full float32."""

    key, is_peer = "torch", True

    def __init__(self, on_gpu: bool) -> None:
        try:
            import torch
        except ImportError as error:
            raise Unavailable(f"PyTorch is not installed ({error})") from None
        if on_gpu and not torch.cuda.is_available():
            raise Unavailable(f"PyTorch {torch.__version__} sees no GPU")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.torch = torch
        self.ops = Ops(torch)
        self._device = "cuda" if on_gpu else "cpu"
        self._finish = torch.cuda.synchronize if on_gpu else lambda: None
        where = torch.cuda.get_device_name() if on_gpu else "CPU"
        self.detail = f"PyTorch {torch.__version__}, eager, {where}"

    def _tensor(self, work: Work, name: str, array: np.ndarray) -> Any:
        tensor = self.torch.from_numpy(np.array(array))
        if tensor.dtype == self.torch.int32:
            tensor = tensor.long()  # PyTorch's losses want labels so
        if name in work.filters:
            tensor = tensor.permute(3, 2, 0, 1).contiguous(memory_format=self.torch.channels_last)
        return tensor.t().contiguous() if name in work.transposed else tensor

    def _array(self, work: Work, name: str, tensor: Any) -> np.ndarray:
        tensor = tensor.detach().cpu()
        if name in work.filters:
            tensor = tensor.permute(2, 3, 1, 0)
        return np.array(tensor.t() if name in work.transposed else tensor)

    def kernel(self, kernel: Kernel, data: str) -> SimpleRun:
        on_host = {k: self._tensor(kernel, k, a) for k, a in kernel.inputs().items()}
        there = {k: t.to(self._device) for k, t in on_host.items()}

        def run() -> None:
            with self.torch.inference_mode():
                kernel.build(self.ops, there)
            self._finish()

        def fetch() -> list[np.ndarray]:
            with self.torch.inference_mode():
                tensors = {k: t.to(self._device) for k, t in on_host.items()} if data == "fed" else there
                return [r.cpu().numpy() for r in kernel.build(self.ops, tensors)]

        return SimpleRun(run if data == "resident" else fetch, fetch)

    def step(self, step: Step) -> SimpleRun:
        torch = self.torch
        parameters, fed = step.split()
        weights = {
            k: torch.nn.Parameter(self._tensor(step, k, a).to(self._device)) for k, a in parameters.items()
        }
        on_host = {k: self._tensor(step, k, a) for k, a in fed.items()}
        if step.optimizer == "adam":
            optimizer = torch.optim.Adam(
                weights.values(), step.rate, (ADAM_BETA1, ADAM_BETA2), ADAM_EPSILON, fused=True
            )
        else:
            optimizer = torch.optim.SGD(weights.values(), step.rate)

        def run() -> Any:
            tensors = {k: t.to(self._device) for k, t in on_host.items()}
            optimizer.zero_grad(set_to_none=True)
            loss = step.loss(self.ops, weights, tensors)
            loss.backward()
            optimizer.step()
            self._finish()
            return loss.item()

        return SimpleRun(run, lambda: {k: self._array(step, k, w) for k, w in weights.items()})
