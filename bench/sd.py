#!/usr/bin/env python3
"""Measures Stable Diffusion 1.5 at full size on the CPU beside diffusers under PyTorch: a training step of a ControlNet, sampling steps of
the UNet, and the memory of both.

    python3 bench/sd.py                                   # with a python3 that has PyTorch and diffusers; about 25 minutes, 18 GiB
    python3 bench/sd.py --rows train --precision bf16

difftune's side is bench_step, built where it is missing; the other one pytorch_unet.py. Pictures are of 256x256 (--latents 32), the
batch is 1. Two contenders at a time are in memory and take turns, difftune beside each of PyTorch's variants; a ratio is that of the
medians of such a pair. With --clock processor seconds are those of the processors, divided by the threads, and waiting counts for
nothing: for a machine that others use too. Memory is the peak of a process of its own that makes two steps, PyTorch's with its usual
allocator. Prints tables as Markdown.
"""

import argparse
import datetime
import os
import statistics
import sys
from pathlib import Path

from compare import CACHE, GIB, HERE, Contender, make_programs, take_turns

STEPS = {"train": 1, "sample": 3}  # of a round
ROWS = {"train": ("train", 1), "sample": ("sample", 1), "guided": ("sample", 1.5), "memory": ("train", 1)}
WANTED = {"train": 1.1, "sample": 1.0}  # at least, of PyTorch's speed
WANTED_MEMORY = 0.8  # at most, of PyTorch's
OURS = {"fused-backward-pass": "true", "ema-decay": 0}  # the other side keeps no average either


class OfProcessor(Contender):
    def round(self):
        super().round()
        last = self.rounds[-1]
        last.update(seconds_per_step=last["processor_seconds_per_step"], others_cores=0)


def contender(args, name, command, flags, env):
    kind = Contender
    if args.clock == "processor":
        kind, env = OfProcessor, {**env, "OMP_WAIT_POLICY": "passive"}
    return kind(name, [*command, *(str(w) for k, v in flags.items() for w in (f"--{k}", v))], env)


def difftune(args, task, precision, guidance, settings=()):
    flags = {"task": task, "shape": "ControlNet-1.5" if task == "train" else "SD-1.5", "threads": args.threads, "resolution": args.latents,
             "steps": STEPS[task], "warmup": 1, "mixed-precision": "bf16" if precision == "bf16" else "no", "num-inference-steps": 50,
             "guidance-scale": guidance, "train-batch-size": 1, "sample-batch-size": 1, **(OURS if task == "train" else {}), **dict(settings)}
    return contender(args, f"difftune {precision}", [args.build / "bench" / "bench_step", "--wait"], flags, {})


def pytorch(args, task, precision, guidance, variant, keep_memory=True):
    env = {"TORCHINDUCTOR_CACHE_DIR": str(CACHE / "inductor")}
    if keep_memory:
        env["GLIBC_TUNABLES"] = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"
    flags = {"task": task, "latents": args.latents, "threads": args.threads, "precision": precision, "variant": variant,
             "steps": STEPS[task], "warmup": 2 if variant == "compile" else 1, "guidance": guidance}
    return contender(args, f"PyTorch {precision} {variant}", [sys.executable, HERE / "pytorch_unet.py", "--wait"], flags, env)


def cell(result):
    seconds = result["round_seconds"]
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f}){' *' if result['disturbed'] else ''}"


def speed_lines(args, row):
    task, guidance = ROWS[row]
    plan = dict(rounds=args.rounds, passes=1, together=True)
    for precision in args.precision:
        for variant in args.variants:
            results = take_turns([difftune(args, task, precision, guidance), pytorch(args, task, precision, guidance, variant)], plan)
            if len(results) < 2:
                continue
            ours, theirs = results.values()
            ratio = theirs["seconds_per_step"] / ours["seconds_per_step"]
            yield f"| {row} | {precision} | {cell(ours)} | {variant} | {cell(theirs)} | {ratio:.2f} ({WANTED[task]:g} wanted) |"


def memory_lines(args):
    plan = dict(rounds=1, passes=1, together=False)
    for precision in args.precision:
        contenders = [difftune(args, "train", precision, 1),
                      *(pytorch(args, "train", precision, 1, v, keep_memory=False) for v in args.variants)]
        results = {name: r["peak_memory_bytes"] / GIB for name, r in take_turns(contenders, plan).items()}
        ours, *theirs = results.values()
        for name, gib in results.items():
            share = f"{100 * ours / gib:.0f} % ({100 * WANTED_MEMORY:.0f} % wanted)" if name.startswith("PyTorch") else ""
            yield f"| {name} | {gib:.2f} | {share} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=HERE.parent / "build-bench", help="build folder; made when missing")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {','.join(ROWS)}")
    parser.add_argument("--precision", default="bf16,f32")
    parser.add_argument("--variants", default="eager,channels_last,compile", help="of PyTorch")
    parser.add_argument("--latents", type=int, default=32, help="their side")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--rounds", type=int, default=5, help="at least")
    args = parser.parse_args()
    args.precision, args.variants, rows = args.precision.split(","), args.variants.split(","), args.rows.split(",")
    make_programs(args.build, ["bench/bench_step"])
    print(f"{datetime.date.today().isoformat()}, {args.threads} threads, seconds a step by the {args.clock}'s clock: the median (and the range) of the rounds. "
          "An asterisk marks figures that other processes disturbed.\n", flush=True)
    print("| step | precision | difftune | PyTorch | PyTorch's | ratio |\n" + "|---" * 6 + "|")
    for row in rows:
        for line in speed_lines(args, row) if row != "memory" else ():
            print(line, flush=True)
    if "memory" in rows:
        print("\n| training step | peak memory, GiB | difftune's share of it |\n" + "|---" * 3 + "|")
        for line in memory_lines(args):
            print(line, flush=True)


if __name__ == "__main__":
    main()
