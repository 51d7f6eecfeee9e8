#!/usr/bin/env python3
"""Measures convolutions of Stable Diffusion's UNet beside PyTorch's, forward and both gradients, in turn.

    python3 bench/conv.py            # with a python3 that has PyTorch; about 2 minutes

difftune's side is bench_conv, built where it is missing. PyTorch's images and weights lie channels last; in bf16 both are, while
difftune's weights are f32, of which it makes its operands in every call. A figure is the median over the rounds of the best lap of each;
times are the processors' own, divided by the threads. Prints the tables as Markdown.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUIET = dict(os.environ, OMP_WAIT_POLICY="passive")


def difftune(args, precision):
    return [args.build / "bench" / "bench_conv", precision, args.isa, str(args.laps)]


def pytorch(args, precision):
    return [sys.executable, __file__, "--pytorch", precision, "--laps", str(args.laps)]


def measure(command):
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=QUIET).stdout.splitlines()
    return {name: [float(t) for t in times.split()] for name, times in (line.split(";") for line in lines)}


def run_pytorch(precision, laps):
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    for name, side, c, o, window, stride in shapes():
        x = torch.randn(1, c, side, side, dtype=dtype).to(memory_format=torch.channels_last)
        w = torch.randn(o, c, window, window, dtype=dtype).to(memory_format=torch.channels_last)
        y = torch.conv2d(x, w, None, stride, window // 2)
        dy = torch.randn_like(y)

        def backward(*wanted):
            torch.ops.aten.convolution_backward(dy, x, w, None, [stride] * 2, [window // 2] * 2, [1, 1], False, [0, 0], 1, wanted)

        calls = (lambda: torch.conv2d(x, w, None, stride, window // 2), lambda: backward(True, False, False),
                 lambda: backward(False, True, False))
        print(f"{name};", *(f"{best(call, laps):.4f}" for call in calls), flush=True)


def best(call, laps):
    times = []
    for _ in range(laps + 1):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times[1:]) / len(os.sched_getaffinity(0))


def shapes():
    """Those of bench_conv: side, channels in and out, window, stride."""
    for name in ("320 at 64", "320 at 32", "640 at 32", "640 at 16", "1280 at 16", "1280 at 8"):
        channels, side = (int(word) for word in name.split(" at "))
        yield name, side, channels, channels, 3, 1
    yield "320 at 64, by 2", 64, 320, 320, 3, 2
    yield "640 at 32, by 2", 32, 640, 640, 3, 2
    yield "960 to 320 at 32, 1x1", 32, 960, 320, 1, 1
    yield "4 to 320 at 64", 64, 4, 320, 3, 1


def table(args, precision):
    rounds = [(measure(difftune(args, precision)), measure(pytorch(args, precision))) for _ in range(args.rounds)]
    print(f"| {precision}, ms | y | dx | dw | PyTorch's y | dx | dw | ratio of y | of dx | of dw |\n" + "|---" * 10 + "|")
    for name in rounds[0][0]:
        ours, theirs = ([statistics.median(r[who][name][i] for r in rounds) for i in range(3)] for who in (0, 1))
        cells = [f"{t:.2f}" for t in (*ours, *theirs, *(b / a for a, b in zip(ours, theirs)))]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=HERE.parent / "build-bench", help="build folder; made when missing")
    parser.add_argument("--precision", default="bf16,f32")
    parser.add_argument("--isa", default="auto", help="difftune's instruction set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--laps", type=int, default=5, help="calls of a round, beside one that warms up")
    parser.add_argument("--pytorch", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pytorch:
        run_pytorch(args.pytorch, args.laps)
        return
    from compare import make_programs

    make_programs(args.build, ["bench/bench_conv"])
    for precision in args.precision.split(","):
        table(args, precision)


if __name__ == "__main__":
    main()
