"""Times one training step side by side: difftune's own `train` (data, logs and all) and PyTorch on the official DiT model.

    python3 bench/step.py --difftune build/difftune --data demo/out/emoji/train --dit PATH_TO_DIT_CHECKOUT --batch 32

Both sides run in turn, round after round, with the same sizes and threads; printed are the medians of samples per second
and the ratio of each pair. Run it on a quiet machine with an interpreter that has torch and timm.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

STEPS = 24


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--difftune", required=True)
    parser.add_argument("--data", required=True, help="class folders of images, at least 32 pixels wide")
    parser.add_argument("--dit", required=True, help="checkout of facebookresearch/DiT")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def difftune(args):
    """Samples per second from the second logged stretch on: the first touches memory for the first time."""
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        subprocess.run([args.difftune, "train", "--method", "pretrain", "--train-data", args.data, "--output-dir", run,
                        "--resolution", "32", "--train-batch-size", str(args.batch), "--max-train-steps", str(STEPS),
                        "--threads", str(args.threads), "--mixed-precision", "bf16" if args.precision == "bf16" else "no",
                        "--logging-steps", "4", "--validation-steps", "0", "--sample-steps", "0", "--checkpointing-steps",
                        "0"], check=True, stderr=subprocess.DEVNULL)
        with open(os.path.join(run, "metrics.jsonl")) as lines:
            times = [(line["step"], line["time_s"]) for line in map(json.loads, lines) if line["kind"] == "train"]
    (first, begin), (last, end) = times[0], times[-1]
    return (last - first) * args.batch / (end - begin)


def pytorch(args):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pytorch_step.py")
    out = subprocess.run([sys.executable, script, "--dit", args.dit, "--batch", str(args.batch), "--threads",
                          str(args.threads), "--precision", args.precision, "--rounds", "3"], check=True,
                         stdout=subprocess.PIPE).stdout
    return json.loads(out)["samples_per_second_median"]


def main():
    args = parse()
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(difftune(args))
        theirs.append(pytorch(args))
        print(f"difftune {ours[-1]:7.1f}  PyTorch {theirs[-1]:7.1f}  ratio {ours[-1] / theirs[-1]:.2f}", flush=True)
    ratios = [a / b for a, b in zip(ours, theirs)]
    print(f"median: difftune {statistics.median(ours):.1f}/s, PyTorch {statistics.median(theirs):.1f}/s, "
          f"ratio {statistics.median(ratios):.2f} ({args.precision}, batch {args.batch}, {args.threads} threads)")


if __name__ == "__main__":
    main()
