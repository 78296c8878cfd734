"""DeepDream: ascent on an image by gradients of a layer, over octaves that are resized in the graph."""

from __future__ import annotations

import functools

import numpy as np

import graphrun as tf

SIZE, OCTAVES, STEPS = 24, 2, 10


def T(layer):
    """The output of a layer, by name."""
    return tf.get_default_graph().get_tensor_by_name(f"import/{layer}:0")


def build(rng: np.random.Generator):
    t_input = tf.placeholder(np.float32, name="input")  # neither rank nor sizes
    t_preprocessed = tf.expand_dims(t_input - 0.4, 0)
    x = t_preprocessed
    with tf.name_scope("import"):
        for name, n, m in (("conv2d0", 3, 8), ("conv2d1", 8, 12), ("mixed", 12, 16)):
            w = tf.constant(rng.normal(0, np.sqrt(2 / (9 * n)), (3, 3, n, m)), dtype=tf.float32)
            x = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")
            x = tf.nn.relu(tf.nn.bias_add(x, tf.zeros([m])), name=name)
            x = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    return t_input


def tffunc(*argtypes):
    """Make a function of tensors one of arrays, as the well-known notebook does."""
    placeholders = list(map(tf.placeholder, argtypes))

    def wrap(f):
        out = f(*placeholders)

        def wrapper(*args, **kw):
            return out.eval(dict(zip(placeholders, args)), session=kw.get("session"))

        return wrapper

    return wrap


@functools.cache
def dreamt(device: str) -> tuple[list[float], np.ndarray]:
    rng = np.random.default_rng(0)
    img0 = rng.uniform(0.3, 0.7, size=(SIZE, SIZE, 3)).astype(np.float32)
    graph = tf.Graph()
    sess = tf.InteractiveSession(graph=graph, device=device)
    try:
        t_input = build(rng)
        t_score = tf.reduce_mean(tf.square(T("mixed")))
        t_grad = tf.gradients(t_score, t_input)[0]

        @tffunc(np.float32, np.int32)
        def resize(img, size):
            return tf.image.resize_bilinear(tf.expand_dims(img, 0), size)[0, :, :, :]

        scores = []
        img = img0
        for octave in range(OCTAVES):
            if octave:
                hw = np.float32(img.shape[:2]) * 1.3
                img = resize(img, np.int32(hw))
            for _ in range(STEPS):
                g, score = sess.run([t_grad, t_score], {t_input: img})
                g /= g.std() + 1e-8
                img = img + g * 0.02
                scores.append(float(score))
        return scores, img
    finally:
        sess.close()


def test_the_score_climbs_in_each_octave(device: str) -> None:
    scores, image = dreamt(device)
    assert image.shape == (31, 31, 3)
    for octave in range(OCTAVES):
        part = scores[STEPS * octave : STEPS * (octave + 1)]
        assert part == sorted(part) and part[-1] > 1.2 * part[0]
    expected, reference = dreamt("cpu:0")
    np.testing.assert_allclose(scores, expected, rtol=1e-3)
    np.testing.assert_allclose(image, reference, atol=0.05)
