#!/usr/bin/env python3
"""Measures difftune on a GPU against PyTorch on the same GPU: checks first, then training and guided sampling of DiT-XL/2.

    python3 bench/cuda.py          # with a python3 that has PyTorch. About 7 minutes, and what the build takes

The programs are built where they are missing, with the CUDA engine and its checks. Contenders of a row follow one another, each in a
process of its own that has the GPU's memory to itself: difftune (bench_step), PyTorch eager and compiled (pytorch_dit.py). A figure is the median of the rounds. Shares are of what PyTorch's own product of two
8192 x 8192 bf16 matrices reaches in the same run; memory is what the GPU has in use at the end. Prints the table as Markdown.
"""

import argparse
import datetime
import subprocess
import sys
from pathlib import Path

from compare import GIB, HERE, SAMPLING_STEPS, Contender, make_programs, take_turns

ROWS = {  # task, batch, steps of a round; compiled models take 1 to 2 minutes to warm up
    "train 32": ("train", 32, 10),
    "train 256": ("train", 256, 3),
    "sample 64": ("sample", 64, 10),
}
WANTED = {"train": (1.2, 0.50), "sample": (1.2, 0.55)}  # ratio, share
CHECKS = ("tests/check_kernels", "tests/test_cuda")

PROBE = """
import time, torch
def best(work, laps=10):
    work(); torch.cuda.synchronize(); times = []
    for _ in range(laps):
        start = time.perf_counter(); work(); torch.cuda.synchronize(); times.append(time.perf_counter() - start)
    return sorted(times)[laps // 2]
a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
x, y = (torch.empty(1 << 28, device="cuda") for _ in range(2))
print(2 * 8192**3 / best(lambda: a @ b) / 1e12, 8 * 2**28 / best(lambda: y.copy_(x)) / 1e12, torch.__version__)
"""


def difftune(args, task, batch, steps):
    name = "train-batch-size" if task == "train" else "sample-batch-size"
    flags = {"task": task, "device": "cuda", "shape": "DiT-XL/2", name: batch, "mixed-precision": "bf16", "steps": steps,
             "warmup": 1, "num-inference-steps": SAMPLING_STEPS, "guidance-scale": 1.5}
    command = [args.build / "bench" / "bench_step", "--wait"]
    return Contender("difftune", [*command, *(str(w) for k, v in flags.items() for w in (f"--{k}", v))], {})


def pytorch(task, batch, steps, variant):
    flags = {"device": "cuda", "task": task, "model": "DiT-XL/2", "batch": batch, "precision": "bf16", "variant": variant,
             "steps": steps, "warmup": 3}
    command = [sys.executable, HERE / "pytorch_dit.py", "--wait"]
    return Contender(f"PyTorch {variant}", [*command, *(str(w) for k, v in flags.items() for w in (f"--{k}", v))], {})


def check(args):
    for program in CHECKS:
        done = subprocess.run([(args.build / program).resolve()], cwd=HERE.parent / "tests", stdout=subprocess.PIPE, text=True)
        print("\n".join(line for line in done.stdout.splitlines() if "FAILED" in line or "failures" in line or "skipped" in line))
        if done.returncode:
            raise SystemExit(f"{program} failed")


def lines_of(name, row, ceiling):
    task, batch, _ = ROWS[name]
    ratio_wanted, share_wanted = WANTED[task]
    ours, theirs = row["difftune"], [r for n, r in row.items() if n != "difftune"]
    best = min(r["seconds_per_step"] for r in theirs)
    lines = []
    for contender, r in row.items():
        seconds = r["seconds_per_step"]
        share = ours["flops_per_step"] / seconds / 1e12 / ceiling
        verdict = f"{best / seconds:.2f} ({ratio_wanted:g} wanted), {100 * share:.0f} % ({100 * share_wanted:.0f} % wanted)" \
            if contender == "difftune" else f"{100 * share:.0f} %"
        lines.append(f"| {task}, batch {batch} | {contender} | {1e3 * seconds:.1f} | {batch / seconds:.0f} | {verdict} | "
                     f"{r['peak_memory_bytes'] / GIB:.1f} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=HERE.parent / "build-bench-cuda", help="build folder; made when missing")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {','.join(ROWS)}")
    parser.add_argument("--variants", default="eager,compile", help="of PyTorch")
    parser.add_argument("--rounds", type=int, default=5, help="at least")
    parser.add_argument("--unchecked", action="store_true", help="leave out the checks")
    args = parser.parse_args()
    make_programs(args.build, ["bench/bench_step", "difftune_cuda", *CHECKS], ["-DDT_CUDA=ON", "-DDT_TESTS=ON"])
    if not args.unchecked:
        check(args)
    probe = subprocess.run([sys.executable, "-c", PROBE], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    gpu = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], stdout=subprocess.PIPE, text=True).stdout
    print(f"{datetime.date.today().isoformat()}, {gpu.strip()}; PyTorch {probe[2]}; its large bf16 product {float(probe[0]):.0f} TFLOP/s, "
          f"its large copy {float(probe[1]):.2f} TB/s\n")
    print("| DiT-XL/2, bf16 | by | ms a step | samples/s (of one step) | of the fastest PyTorch, of the ceiling | GiB in use |\n|---|---|---|---|---|---|")
    for name in args.rows.split(","):
        task, batch, steps = ROWS[name]
        contenders = [difftune(args, task, batch, steps)] + [pytorch(task, batch, steps, v) for v in args.variants.split(",")]
        row = take_turns(contenders, dict(rounds=args.rounds, passes=1, together=False))
        print("\n".join(lines_of(name, row, float(probe[0]))), flush=True)


if __name__ == "__main__":
    main()
