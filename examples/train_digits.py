"""Train a small network on the handwritten digits of scikit-learn, with placeholders and feed_dict.

    pip install '.[examples]'    (in a clone of graphrun)
    python examples/train_digits.py [--device opencl:0] [--epochs 40]

The exit status is 0 where 97 % of the test images are recognised.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from sklearn.datasets import load_digits

import graphrun as gr

BATCH = 64
SEED = 0
REQUIRED = 0.97


def dense(x, n_in, n_out, name):
    with gr.name_scope(name):
        w = gr.Variable(gr.truncated_normal((n_in, n_out), stddev=np.sqrt(2 / n_in)), name="weights")
        b = gr.Variable(gr.zeros((n_out,)), name="bias")
        return gr.matmul(x, w) + b


def images():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int32)
    test = len(x) // 5
    return (x[test:], y[test:]), (x[:test], y[:test])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", help="as cpu:0 (NumPy) or opencl:0")
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args(argv)
    try:
        gr.Session(device=arguments.device).close()
    except gr.errors.DeviceError as fault:
        parser.error(f"--device {arguments.device}: {' '.join(str(fault).split())}")
    (train_x, train_y), (test_x, test_y) = images()

    with gr.Graph().as_default():
        gr.set_random_seed(SEED)
        x = gr.placeholder(gr.float32, (None, 64), name="images")
        y = gr.placeholder(gr.int32, (None,), name="labels")
        hidden = gr.nn.relu(dense(x, 64, 128, "layer1"))
        hidden = gr.nn.relu(dense(hidden, 128, 64, "layer2"))
        logits = dense(hidden, 64, 10, "output")
        loss = gr.reduce_mean(gr.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
        train = gr.train.AdamOptimizer(2e-3).minimize(loss)
        hits = gr.equal(gr.cast(gr.argmax(logits, 1), gr.int32), y)
        accuracy = gr.reduce_mean(gr.cast(hits, gr.float32))

        with gr.Session(device=arguments.device) as sess:
            sess.run(gr.global_variables_initializer())
            rng = np.random.default_rng(SEED)
            begin = time.perf_counter()
            steps = 0
            for epoch in range(arguments.epochs):
                order = rng.permutation(len(train_x))
                for k in range(0, len(order) - BATCH + 1, BATCH):
                    batch = order[k : k + BATCH]
                    # New noise each time keeps the network from learning the images by heart.
                    noise = 0.2 * rng.standard_normal((BATCH, 64), np.float32)
                    _, value = sess.run([train, loss], {x: train_x[batch] + noise, y: train_y[batch]})
                    steps += 1
                if epoch % 10 == 9:
                    print(f"epoch {epoch + 1:3d}  loss of the last batch {value:.4f}")
            elapsed_s = time.perf_counter() - begin
            found = float(sess.run(accuracy, {x: test_x, y: test_y}))
    print(f"{steps} steps in {elapsed_s:.2f} s, compilation included")
    print(f"test accuracy {found:.2%}")
    return 0 if found >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
