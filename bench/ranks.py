#!/usr/bin/env python3
"""How much of two ranks' time is work: training by 1 rank and by several, of one thread each, with the same batch.

    python3 bench/ranks.py --program build/difftune --data FOLDER [--ranks 2] [--rounds 3] [--steps 12] [--mpirun "mpirun ..."]

FOLDER holds classes of pictures of 32x32 at least, and as many cores as ranks are idle. The program's build has DT_MPI; with
--mpirun "" the processes have torchrun's variables instead, and need no MPI. Rows are the demo's model (batch 64) and DiT-S/2 on
32x32x3 (256 tokens; batch 16). A round makes both numbers of ranks in turn; a time is the median of the steps of all rounds but each
one's first two, from metrics.jsonl. Efficiency is the time of one by ranks times the time of several; a pair of runs that have nothing
to do with each other, at the same time, says what two busy cores cost by themselves.
"""

import argparse
import json
import os
import pathlib
import shlex
import socket
import statistics
import subprocess
import tempfile

ROWS = {
    "demo": (64, "--pretrained-model demo/base.safetensors --method finetune"),
    "S/2": (16, "--method pretrain --model DiT-S/2 --resolution 32"),
    "S/2 bf16": (16, "--method pretrain --model DiT-S/2 --resolution 32 --mixed-precision bf16"),
}


def command(args, row, folder):
    batch, how = ROWS[row]
    return [args.program, "train", *shlex.split(how), "--train-data", args.data, "--output-dir", str(folder),
            "--train-batch-size", str(batch), "--max-train-steps", str(args.steps), "--logging-steps", "1",
            "--checkpointing-steps", "0", "--validation-steps", "0", "--sample-steps", "0", "--threads", "1"]


def step_times(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    clock = [line["time_s"] for line in lines if line["kind"] == "train"]
    return [after - before for before, after in zip(clock[1:], clock[2:])]


def free_port():
    with socket.socket() as s:
        s.bind(("", 0))
        return s.getsockname()[1]


def run_ranks(args, one):
    if args.mpirun:
        return run([shlex.split(args.mpirun) + ["-n", str(args.ranks)] + one])
    told = {"WORLD_SIZE": str(args.ranks), "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    return run([one] * args.ranks, [{**told, "RANK": str(rank)} for rank in range(args.ranks)])


def run(commands, variables=None):
    variables = variables or [{}] * len(commands)
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **v})
               for c, v in zip(commands, variables)]
    for process in running:
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(f"{shlex.join(process.args)}\n{said}")


def measure(args, row, work):
    times = {"one": [], "pair": [], "ranks": []}
    for number in range(args.rounds):
        folder = {name: work / f"{row.replace('/', '').replace(' ', '-')}-{name}-{number}" for name in times}
        beside = work / f"{row.replace('/', '').replace(' ', '-')}-beside-{number}"
        run([command(args, row, folder["one"])])
        run([command(args, row, folder["pair"]), command(args, row, beside)])
        run_ranks(args, command(args, row, folder["ranks"]))
        for name, where in folder.items():
            times[name] += step_times(where)
    return {name: statistics.median(steps) for name, steps in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/difftune")
    parser.add_argument("--data", required=True)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--mpirun", default="mpirun --bind-to core")
    parser.add_argument("--rows", default=",".join(ROWS))
    args = parser.parse_args()
    print(f"| model, batch | 1 rank, s a step | one of two runs at once | {args.ranks} ranks | efficiency | "
          "of what two busy cores give |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        for row in args.rows.split(","):
            t = measure(args, row, pathlib.Path(work))
            print(f"| {row}, {ROWS[row][0]} | {t['one']:.3f} | {t['pair']:.3f} | {t['ranks']:.3f} | "
                  f"{t['one'] / t['ranks'] / args.ranks:.1%} | {t['pair'] / t['ranks'] / args.ranks:.1%} |", flush=True)


if __name__ == "__main__":
    main()
