"""Neural style: an image is the variable; its features shall fit one image, their Gram matrices another."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

HEIGHT = WIDTH = 24
CONTENT_LAYERS = {"conv3": 1.0}
STYLE_LAYERS = {"conv1": 0.5, "conv2": 0.3, "conv3": 0.2}


def images() -> tuple[np.ndarray, np.ndarray]:
    """A disc, and stripes."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT - 0.5
    disc = np.where(x**2 + y**2 < 0.1, 0.9, -0.3)
    content = np.stack([disc, 0.5 * disc, -disc], -1)
    stripes = np.sign(np.sin(30 * (x + y)))
    style = np.stack([stripes, -stripes, 0.2 * stripes + 0.3], -1)
    return content[None].astype(np.float32), style[None].astype(np.float32)


def load_filters(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Fixed filters that stand in for a trained net's."""
    sizes = [3, 12, 16, 24]
    return {
        f"conv{i + 1}": rng.normal(0, np.sqrt(2 / (9 * n)), (3, 3, n, m)).astype(np.float32)
        for i, (n, m) in enumerate(zip(sizes, sizes[1:]))
    }


def build_model(input_img, filters):
    net = {"input": input_img}
    layer = net["input"]
    for i, (name, w) in enumerate(filters.items()):
        layer = tf.nn.relu(tf.nn.conv2d(layer, filter=tf.constant(w), strides=[1, 1, 1, 1], padding="SAME"))
        net[name] = layer
        if i < len(filters) - 1:
            layer = tf.nn.avg_pool(layer, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    return net


def gram_matrix(x, area, depth):
    F = tf.reshape(x, (area, depth))
    return tf.matmul(tf.transpose(F), F)


def style_layer_loss(a, x):
    _, h, w, d = a.get_shape()
    M, N = h.value * w.value, d.value
    A, G = gram_matrix(a, M, N), gram_matrix(x, M, N)
    return (1.0 / (4 * N**2 * M**2)) * tf.reduce_sum(tf.pow((G - A), 2))


@functools.cache
def transferred(device: str) -> tuple[list[float], list[float], np.ndarray]:
    content_img, style_img = images()
    filters = load_filters(np.random.default_rng(8))
    with tf.Graph().as_default(), tf.Session(device=device) as sess:
        image = tf.Variable(np.zeros((1, HEIGHT, WIDTH, 3)), dtype=tf.float32, trainable=True, name="image")
        net = build_model(image, filters)
        sess.run(tf.global_variables_initializer())
        sess.run(net["input"].assign(content_img))
        L_content = 0.0
        for layer, weight in CONTENT_LAYERS.items():
            # The features of the other image, fixed by running the net now.
            p = tf.convert_to_tensor(sess.run(net[layer]))
            L_content += weight * 0.5 * tf.reduce_sum(tf.pow((net[layer] - p), 2))
        sess.run(net["input"].assign(style_img))
        L_style = 0.0
        for layer, weight in STYLE_LAYERS.items():
            L_style += style_layer_loss(tf.convert_to_tensor(sess.run(net[layer])), net[layer]) * weight
        across = tf.reduce_sum(tf.abs(image[:, :, 1:, :] - image[:, :, :-1, :]))
        down = tf.reduce_sum(tf.abs(image[:, 1:] - image[:, :-1]))
        L_total = 1e-2 * L_content + 20.0 * L_style + 1e-5 * (across + down)

        train_op = tf.train.AdamOptimizer(learning_rate=0.03).minimize(L_total, var_list=[image])
        sess.run(tf.global_variables_initializer())
        sess.run(image.assign(content_img + 0.05 * np.random.default_rng(1).normal(size=content_img.shape)))
        totals, styles = [], []
        for _ in range(150):
            _, total, style = sess.run([train_op, L_total, L_style])
            totals.append(float(total))
            styles.append(float(style))
        return totals, styles, image.eval()


def test_the_image_takes_the_style(device: str) -> None:
    totals, styles, image = transferred(device)
    assert totals[-1] < 0.4 * totals[0]
    assert styles[-1] < 0.25 * styles[0]
    # And it still shows the disc, more than it shows the stripes.
    content_img, style_img = images()
    near_content = np.corrcoef(image.ravel(), content_img.ravel())[0, 1]
    assert near_content > 0.3 > abs(np.corrcoef(image.ravel(), style_img.ravel())[0, 1])
    expected, _, result = transferred("cpu:0")
    assert_same_curve(totals, expected, first=50, early=1e-4, late=1e-2)
    # Where nothing pulls at a pixel, rounding decides where Adam takes it, in small steps.
    assert np.mean(np.abs(image - result)) < 0.03 * np.std(result)
