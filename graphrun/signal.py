"""Fourier transforms: TensorFlow's ``tf.signal`` and ``tf.spectral``.

>>> import graphrun as gr
>>> gr.signal.rfft(gr.zeros([3, 8])).shape.as_list()
[3, 5]
"""

from graphrun.ops.complex import (
    fft,
    fft2d,
    fft3d,
    ifft,
    ifft2d,
    ifft3d,
    irfft,
    irfft2d,
    irfft3d,
    rfft,
    rfft2d,
    rfft3d,
)

__all__ = [
    "fft",
    "fft2d",
    "fft3d",
    "ifft",
    "ifft2d",
    "ifft3d",
    "irfft",
    "irfft2d",
    "irfft3d",
    "rfft",
    "rfft2d",
    "rfft3d",
]
