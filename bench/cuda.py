#!/usr/bin/env python3
"""Measures difftune on a GPU against PyTorch on the same GPU: checks first, then training and guided sampling of DiT-XL/2, training a
ControlNet of Stable Diffusion 1.5 and sampling its UNet, and whole runs of a small model.

    python3 bench/cuda.py          # with a python3 that has PyTorch, and for SD diffusers. About 12 minutes, and what the build takes
    python3 bench/cuda.py --rows "small 32,small 512,two at once"          # a minute, without PyTorch

The programs are built where they are missing, with the CUDA engine and its checks. Contenders of a row follow one another, each in a
process of its own that has the GPU's memory to itself: difftune (bench_step), PyTorch eager and compiled (pytorch_dit.py, pytorch_unet.py).
A figure is the median of the rounds. Shares are of what PyTorch's own product of two 8192 x 8192 bf16 matrices reaches in the same run;
memory is what the GPU has in use at the end. A small model is the demo's base, tuned by `difftune train` on made-up pictures: all that a
run does for a step is in its figures. Prints tables as Markdown.
"""

import argparse
import datetime
import json
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from compare import GIB, HERE, ROOT, SAMPLING_STEPS, Contender, make_programs, take_turns

ROWS = {  # shape, task, batch, steps of a round; compiled models take 1 to 2 minutes to warm up
    "train 32": ("DiT-XL/2", "train", 32, 10),
    "train 256": ("DiT-XL/2", "train", 256, 3),
    "sample 64": ("DiT-XL/2", "sample", 64, 10),
    "ControlNet 4": ("ControlNet-1.5", "train", 4, 10),
    "UNet 8": ("SD-1.5", "sample", 8, 10),
}
LATENTS = 64  # of SD 1.5: pictures of 512x512
WANTED = {"DiT-XL/2": (1.2, {"train": 0.50, "sample": 0.55}), "ControlNet-1.5": (1.1, {}), "SD-1.5": (1.0, {})}  # ratio, share
SMALL = {"small 32": (32, 500), "small 512": (512, 200)}  # batch, steps a second wanted
TOGETHER, TOGETHER_BATCH, TOGETHER_WANTED = "two at once", 32, 2.2  # times as long as one alone, at most
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


def difftune(args, shape, task, batch, steps):
    name = "train-batch-size" if task == "train" else "sample-batch-size"
    flags = {"task": task, "device": "cuda", "shape": shape, name: batch, "mixed-precision": "bf16", "steps": steps,
             "warmup": 1, "num-inference-steps": SAMPLING_STEPS, "guidance-scale": 1.5}
    if shape != "DiT-XL/2":
        flags.update({"resolution": LATENTS, "ema-decay": 0})
    command = [args.build / "bench" / "bench_step", "--wait"]
    return Contender("difftune", [*command, *(str(w) for k, v in flags.items() for w in (f"--{k}", v))], {})


def pytorch(shape, task, batch, steps, variant):
    flags = {"device": "cuda", "task": task, "batch": batch, "precision": "bf16", "variant": variant, "steps": steps, "warmup": 3}
    program = "pytorch_dit.py" if shape == "DiT-XL/2" else "pytorch_unet.py"
    flags.update({"model": shape} if shape == "DiT-XL/2" else {"latents": LATENTS, "guidance": 1.5})
    command = [sys.executable, HERE / program, "--wait"]
    return Contender(f"PyTorch {variant}", [*command, *(str(w) for k, v in flags.items() for w in (f"--{k}", v))], {})


def check(args):
    for program in CHECKS:
        done = subprocess.run([(args.build / program).resolve()], cwd=HERE.parent / "tests", stdout=subprocess.PIPE, text=True)
        print("\n".join(line for line in done.stdout.splitlines() if "FAILED" in line or "failures" in line or "skipped" in line))
        if done.returncode:
            raise SystemExit(f"{program} failed")


def lines_of(name, row, ceiling):
    shape, task, batch, _ = ROWS[name]
    ratio_wanted, shares_wanted = WANTED[shape]
    ours, theirs = row["difftune"], [r for n, r in row.items() if n != "difftune"]
    best = min(r["seconds_per_step"] for r in theirs)
    lines = []
    for contender, r in row.items():
        seconds = r["seconds_per_step"]
        verdict = f"{100 * ours['flops_per_step'] / seconds / 1e12 / ceiling:.0f} %"
        if contender == "difftune":
            share = f" ({100 * shares_wanted[task]:.0f} % wanted)" if task in shares_wanted else ""
            verdict = f"{best / seconds:.2f} ({ratio_wanted:g} wanted), {verdict}{share}"
        lines.append(f"| {shape}, {task}, batch {batch} | {contender} | {1e3 * seconds:.1f} | {batch / seconds:.0f} | {verdict} | "
                     f"{r['peak_memory_bytes'] / GIB:.1f} |")
    return lines


def large_rows(args, rows):
    probe = subprocess.run([sys.executable, "-c", PROBE], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    print(f"PyTorch {probe[2]}; its large bf16 product {float(probe[0]):.0f} TFLOP/s, its large copy {float(probe[1]):.2f} TB/s\n")
    print("| bf16 | by | ms a step | samples/s (of one step) | of the fastest PyTorch, of the ceiling | GiB in use |\n|---|---|---|---|---|---|")
    for name in rows:
        shape, task, batch, steps = ROWS[name]
        contenders = [difftune(args, shape, task, batch, steps)] + [pytorch(shape, task, batch, steps, v) for v in args.variants.split(",")]
        row = take_turns(contenders, dict(rounds=args.rounds, passes=1, together=False))
        print("\n".join(lines_of(name, row, float(probe[0]))), flush=True)


# ---- whole runs of a small model ----


def write_pictures(folder, classes=10, of_each=100, side=32):
    """Bitmaps of 32x32 that are all different."""
    size = 3 * side * side
    head = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + size, 0, 0, 54, 40, side, side, 1, 24, 0, size, 2835, 2835, 0, 0)
    for i in range(classes * of_each):
        path = folder / f"c{i % classes}" / f"{i}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(head + bytes((i * 7 + k * (i % 13 + 1)) % 256 for k in range(size)))


def start_run(args, data, output, batch):
    flags = {"pretrained-model": ROOT / "demo" / "base.safetensors", "train-data": data, "output-dir": output, "method": "finetune",
             "train-batch-size": batch, "max-train-steps": args.small_steps, "logging-steps": args.small_steps // 10, "device": args.device,
             "mixed-precision": "bf16", "validation-steps": 0, "sample-steps": 0, "checkpointing-steps": 0}
    command = [args.build / "difftune", "train", *(str(w) for k, v in flags.items() for w in (f"--{k}", v))]
    output.parent.mkdir(exist_ok=True)
    with open(f"{output}.log", "w") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)


def steps_a_second(output, batch):
    """The median of what the run logged, without its first two lines."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(line["samples_per_second"] / batch for line in [x for x in lines if x["kind"] == "train"][2:])


def runs(args, data, folder, batch, count):
    """Runs beside each other; steps a second of each."""
    outputs = [folder / f"run-{batch}-{count}-{i}" for i in range(count)]
    started = [start_run(args, data, o, batch) for o in outputs]
    for process, output in zip(started, outputs):
        if process.wait():
            raise SystemExit(Path(f"{output}.log").read_text())
    return [steps_a_second(o, batch) for o in outputs]


def small_rows(args, rows):
    print("\n| the demo's base, bf16 | steps/s | pictures/s | wanted |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "data")
        for row in rows:
            batch, wanted = SMALL.get(row, (TOGETHER_BATCH, None))
            [alone] = runs(args, folder / "data", folder / row, batch, 1)
            if wanted:
                print(f"| batch {batch} | {alone:.0f} | {batch * alone:.0f} | {wanted} steps/s |", flush=True)
            else:
                slower = alone / min(runs(args, folder / "data", folder / row, batch, 2))
                print(f"| two runs at once, batch {batch} | {slower:.2f} times as long as one | | at most {TOGETHER_WANTED} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*SMALL, TOGETHER, *ROWS]
    parser.add_argument("--build", type=Path, default=HERE.parent / "build-bench-cuda", help="build folder; made when missing")
    parser.add_argument("--rows", default=",".join(names), help=f"of {','.join(names)}")
    parser.add_argument("--variants", default="eager,compile", help="of PyTorch")
    parser.add_argument("--rounds", type=int, default=5, help="at least")
    parser.add_argument("--small-steps", type=int, default=2000, help="of a run of the small model")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="of the small model's runs")
    parser.add_argument("--unchecked", action="store_true", help="leave out the checks")
    args = parser.parse_args()
    asked = args.rows.split(",")
    make_programs(args.build, ["bench/bench_step", "difftune", "difftune_cuda", *CHECKS], ["-DDT_CUDA=ON", "-DDT_TESTS=ON"])
    if not args.unchecked:
        check(args)
    gpu = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], stdout=subprocess.PIPE, text=True).stdout
    print(f"{datetime.date.today().isoformat()}, {gpu.strip()}")
    small, large = [r for r in asked if r not in ROWS], [r for r in asked if r in ROWS]
    if small:
        small_rows(args, small)
    if large:
        large_rows(args, large)


if __name__ == "__main__":
    main()
