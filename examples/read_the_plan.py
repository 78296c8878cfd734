"""What the compiler makes of a graph: the program after each pass, and the plan that a session runs.

python examples/read_the_plan.py [--device opencl:0] [--kernels]
"""

from __future__ import annotations

import argparse

import numpy as np

import graphrun as gr


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", help="as cpu:0 (NumPy) or opencl:0")
    parser.add_argument("--kernels", action="store_true", help="print the OpenCL C of the plan as well")
    arguments = parser.parse_args(argv)

    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (None, 8), name="x")
        w = gr.Variable(gr.ones((8, 4)), name="w")
        b = gr.Variable(gr.zeros((4,)), name="b")
        y = gr.nn.softmax(gr.tanh(gr.matmul(x, w) + b))
        loss = gr.reduce_mean(gr.square(y - 0.25))
        step = gr.train.GradientDescentOptimizer(0.1).minimize(loss)
        feeds = {x: np.ones((16, 8), np.float32)}

        with gr.Session(device=arguments.device) as sess:
            sess.run(gr.global_variables_initializer())
            for name, program in sess.passes([step, loss], feeds).items():
                print(f"== after {name}\n{program}\n")

            plan = sess.plan([step, loss], feeds)
            print(f"== the plan\n{plan}\n")
            for launch in plan.launches:
                moved = launch.read_bytes + launch.written_bytes
                print(f"{launch.label}: {launch.flops:,} flops, {moved:,} bytes")
            for origin, reason in plan.host_fallbacks():
                print(f"on the host: {origin}: {reason}")
            if arguments.kernels:
                for device, source in plan.sources.items():
                    print(f"\n== OpenCL C for {device}\n{source}")


if __name__ == "__main__":
    main()
