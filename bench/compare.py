#!/usr/bin/env python3
"""Measures difftune against the current PyTorch release on this machine, side by side, and writes docs/performance.md's table.

    python3 bench/compare.py                                  # everything: about 35 minutes on two AVX2 cores, 20 GiB
    python3 bench/compare.py --rows demo,S --precision f32    # a part; other rows keep what was measured before

Contenders of a row take turns, round after round: difftune (bench_step, in each precision) and PyTorch (pytorch_dit.py,
eager and torch.compile); models too large to be in memory together run one after the other. A round in which other
processes used the machine is repeated. Printed and stored are medians; each figure's share of the ceiling is of what a loop
in registers reached in the same process. PyTorch runs with an allocator that keeps its memory (faster for it), except where
memory is measured. difftune's f32 is compared with PyTorch's fastest f32, its bf16 with PyTorch's fastest in either. PyTorch's bf16 is
not run where its products take much longer than in f32.

The PyTorch environment and the programs are made when missing. Run it on a quiet machine.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "difftune-bench"
GIB = 2**30
QUIET = 0.1  # cores that others may use during a round
REPEATS = 2  # extra rounds for disturbed ones
PATIENCE_S = 900  # for a start, a warm-up or a round

SHAPES = {"demo": "demo", "S": "DiT-S/2", "B": "DiT-B/2", "XL": "DiT-XL/2"}
# batch, steps of a round, rounds, passes over the contenders; together: all contenders stay in memory and take turns
TRAINING = {"demo": dict(batch=64, steps=3, rounds=5, passes=1, together=True),
            "S": dict(batch=16, steps=1, rounds=4, passes=1, together=True),
            "B": dict(batch=8, steps=1, rounds=1, passes=2, together=False),
            "XL": dict(batch=4, steps=1, rounds=2, passes=1, together=False)}
SAMPLING = {"demo": dict(batch=8, steps=25, rounds=3, passes=1, together=True),
            "S": dict(batch=8, steps=3, rounds=3, passes=1, together=True),
            "B": dict(batch=8, steps=1, rounds=2, passes=2, together=False),
            "XL": dict(batch=8, steps=1, rounds=2, passes=1, together=False)}
SAMPLING_STEPS = 50
TRAINING_SETTINGS = {"fused-backward-pass": "true"}
ACCUMULATION_SETTINGS = {"train-batch-size": 4, "gradient-accumulation-steps": 8, "gradient-checkpointing": "true"}
WANTED = {  # (task, shape): ratio in f32, ratio in bf16
    ("train", "demo"): (1.2, 1.5), ("train", "S"): (1.2, 1.5), ("train", "B"): (1.2, 1.3), ("train", "XL"): (1.2, 1.5),
    ("sample", "demo"): (None, 1.4), ("sample", "S"): (None, 1.4), ("sample", "B"): (None, 1.4), ("sample", "XL"): (None, 1.4)}
WANTED_SHARE = {"demo": (None, 0.70), "S": (0.85, 0.80), "B": (0.85, 0.80), "XL": (0.85, 0.80)}
PYTORCH_ISA = {"auto": (None, None, None), "portable": ("default", "SSE41", "SSE4_2"), "avx2": ("avx2", "AVX2", "AVX2"),
               "avx512": ("avx512", "AVX512_CORE", "AVX512"), "avx512bf16": ("avx512", "AVX512_CORE_BF16", "AVX512"),
               "amx": (None, None, None)}
ADAPTERS = {"none": {}, "lora": {"adapter": "lora"}, "difffit": {"adapter": "difffit"}}
ADAPTED = {"S": dict(batch=16, steps=1, rounds=5, passes=1, together=True),
           "XL": dict(batch=4, steps=1, rounds=2, passes=2, together=False)}
ADAPTED_WANTED = {("lora", "XL"): (0.72, 0.45)}  # at most: of the full step's time and memory
GUIDED = {"none": {"guidance-scale": 1}, "its own branch": {}, "another model": {"guidance-model": "another"}}
ROWS = ["start", "growth", "demo", "S", "B", "XL", "sampling", "memory", "adapters", "guidance"]


# ---- contenders: two programs with one protocol ----


class Contender:
    """A program that warms up, then makes one round for each line it is sent."""

    def __init__(self, name, command, env):
        self.name, self.command, self.env = name, command, {**os.environ, **env}
        self.rounds, self.summaries = [], []

    def start(self):
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.env)
        self.ready = self.answer()

    def answer(self):
        timer = _alarm(PATIENCE_S, self.process)
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise RuntimeError(f"{self.name}: no answer (status {self.process.wait()}): {' '.join(map(str, self.command))}")
        return json.loads(line)

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.rounds.append(self.answer())

    def finish(self):
        self.process.stdin.close()
        self.summaries.append(self.answer())
        self.process.wait()

    def result(self):
        quiet = [r["seconds_per_step"] for r in self.rounds if r["others_cores"] <= QUIET]
        kept = quiet or [r["seconds_per_step"] for r in self.rounds]
        summary = dict(self.summaries[-1])
        summary.pop("rounds", None)
        summary.update(name=self.name, disturbed=not quiet and bool(self.rounds), round_seconds=kept,
                       seconds_per_step=statistics.median(kept) if kept else None,
                       peak_memory_bytes=min(s["peak_memory_bytes"] for s in self.summaries))
        if "peak_gflops_before" in summary:
            summary["peak_gflops"] = max(max(s["peak_gflops_before"], s["peak_gflops_after"]) for s in self.summaries)
        return summary


def _alarm(seconds, process):
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    return timer


def difftune(args, task, shape, plan, precision, settings, name=None):
    batch = {"train-batch-size" if task == "train" else "sample-batch-size": plan["batch"]}
    flags = {"task": task, "shape": SHAPES[shape], "threads": args.threads, "isa": args.isa, "steps": plan["steps"],
             "warmup": plan.get("warmup", 1), "mixed-precision": "bf16" if precision == "bf16" else "no",
             "num-inference-steps": SAMPLING_STEPS, "guidance-scale": 1.5, **batch, **settings}
    command = [args.build / "bench" / "bench_step", "--wait"]
    return Contender(name or f"difftune {precision}", [*command, *(str(w) for k, v in flags.items() for w in (f"--{k}", v))], {})


def pytorch(args, task, shape, plan, precision, variant, keep_memory=True):
    env = {"TORCHINDUCTOR_CACHE_DIR": str(CACHE / "inductor")}
    if keep_memory:
        env["GLIBC_TUNABLES"] = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"
    aten, onednn, mkl = PYTORCH_ISA[args.isa]
    if aten:
        env.update(ATEN_CPU_CAPABILITY=aten, ONEDNN_MAX_CPU_ISA=onednn, MKL_ENABLE_INSTRUCTIONS=mkl)
    flags = {"task": task, "model": SHAPES[shape], "batch": plan["batch"], "threads": args.threads, "precision": precision,
             "variant": variant, "steps": plan["steps"], "warmup": plan.get("warmup", 2 if variant == "compile" else 1)}
    command = [args.venv / "bin" / "python", HERE / "pytorch_dit.py", "--wait"]
    return Contender(f"PyTorch {precision} {variant}", [*command, *(str(w) for k, v in flags.items() for w in (f"--{k}", v))], env)


def take_turns(contenders, plan):
    """Runs all contenders and returns their results by name; one that fails is reported and left out."""
    def attempt(contender, action):
        try:
            action()
            return True
        except (RuntimeError, OSError, ValueError) as error:
            print(f"  {contender.name} failed: {error}", flush=True)
            contender.process.kill()
            return False

    def rounds_of(group):
        for turn in range(plan["rounds"] + REPEATS):
            for c in group[:]:
                enough = sum(r["others_cores"] <= QUIET for r in c.rounds[-turn:]) >= plan["rounds"] if turn else False
                if (turn < plan["rounds"] or not enough) and not attempt(c, c.round):
                    group.remove(c)

    alive = list(contenders)
    for _ in range(plan["passes"]):
        for group in [alive] if plan["together"] else [[c] for c in alive]:
            group = [c for c in group if attempt(c, c.start)]
            rounds_of(group)
            for c in group:
                attempt(c, c.finish)
        alive = [c for c in alive if c.summaries]
    return {c.name: c.result() for c in alive}


# ---- rows ----


def precision_of(name):
    return name.split()[1]


def variant_of(name):
    return name.split()[2]


def fastest(row, precisions):
    """Name of PyTorch's fastest contender of a row in one of the precisions, or None."""
    seconds = {n: r["seconds_per_step"] for n, r in row.items()
               if n.startswith("PyTorch") and precision_of(n) in precisions and r["seconds_per_step"]}
    return min(seconds, key=seconds.get) if seconds else None


def variants_for(measured, task, shape, precision):
    """For models that take minutes, the variant of PyTorch that was the faster one for B/2, if this run has measured that."""
    faster = fastest(measured.get(f"{task} B", {}), [precision]) if shape == "XL" else None
    return [variant_of(faster)] if faster else ["eager", "compile"]


def speed_row(args, results, measured, task, shape):
    plan = (TRAINING if task == "train" else SAMPLING)[shape]
    settings = TRAINING_SETTINGS if task == "train" else {}
    precisions = ["f32"] + (["bf16"] if results["machine"]["pytorch_bf16_is_fast"] else [])
    contenders = [difftune(args, task, shape, plan, p, settings) for p in args.precision]
    contenders += [pytorch(args, task, shape, plan, p, v) for p in precisions for v in variants_for(measured, task, shape, p)]
    measured[f"{task} {shape}"] = results[f"{task} {shape}"] = take_turns(contenders, plan)


def memory_row(args, results):
    """Full tuning with the average at batch 4 on both sides, and batch 32 by accumulation; one step each."""
    plan = dict(batch=4, steps=1, rounds=0, passes=1, together=False, warmup=1)
    contenders = [difftune(args, "train", "XL", plan, p, TRAINING_SETTINGS) for p in args.precision]
    contenders += [pytorch(args, "train", "XL", plan, "f32", "eager", keep_memory=False)]
    accumulated = difftune(args, "train", "XL", plan, args.precision[-1], ACCUMULATION_SETTINGS,
                           f"difftune {args.precision[-1]} batch 32")
    results["memory"] = take_turns([*contenders, accumulated], plan)


def growth_row(args, results):
    """Time and memory of a training step over the batch."""
    rows = []
    for shape, batches, precision in (("demo", (8, 16, 32, 64, 128), "f32"), ("S", (8, 16, 32), "f32"), ("S", (8, 16, 32), "bf16")):
        plans = [dict(batch=n, steps=max(1, 192 // n if shape == "demo" else 16 // n), rounds=3, passes=1, together=True)
                 for n in batches]
        contenders = [difftune(args, "train", shape, plan, precision, {}, f"batch {plan['batch']}") for plan in plans]
        for name, r in take_turns(contenders, plans[0]).items():
            batch = int(name.split()[1])
            rows.append(dict(shape=shape, batch=batch, precision=precision, seconds_per_sample=r["seconds_per_step"] / batch,
                             peak_memory_bytes=r["peak_memory_bytes"], disturbed=r["disturbed"],
                             activations=r["step_arena_bytes"] + r["pass_arena_bytes"]))
    results["growth"] = rows


def adapters_row(args, results):
    """A step of tuning all weights, LoRA and DiffFit with their default settings, in the last precision named."""
    results["adapters"] = {}
    for shape, plan in ADAPTED.items():
        contenders = [difftune(args, "train", shape, plan, args.precision[-1], {**TRAINING_SETTINGS, **settings}, kind)
                      for kind, settings in ADAPTERS.items()]
        results["adapters"][shape] = take_turns(contenders, plan)


def guidance_row(args, results):
    """A sampling step without guidance, with the model's own unconditional branch, and with another model's."""
    contenders = [difftune(args, "sample", "S", SAMPLING["S"], args.precision[-1], settings, who)
                  for who, settings in GUIDED.items()]
    results["guidance"] = take_turns(contenders, SAMPLING["S"])


def per_sample_formula(shape, precision):
    """Bytes that one more sample costs in training without checkpointing. docs/performance.md explains the counts."""
    width, depth, heads, tokens, patch, channels_in, channels_out = {"demo": (192, 6, 3, 64, 4, 3, 3),
                                                                     "S": (384, 12, 6, 256, 2, 4, 8)}[shape]
    inside, around = depth * 10 * width + 13 * width, depth * (2 * width + heads + 4) + 3 * width
    pixels = patch * patch * (12 * channels_in + 2 * channels_out)
    return tokens * ((2 if precision == "bf16" else 4) * inside + 4 * (around + pixels)) + 4 * 6 * depth * width


def write_png(path, pixel):
    rows = b"".join(b"\0" + bytes(pixel(x, y)[i] for x in range(32) for i in range(3)) for y in range(32))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def start_row(args, results):
    """Seconds from starting `difftune train` on the demo's base model to its first logged step; batch 32 of 32 pictures."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data" / "one"
        data.mkdir(parents=True)
        for i in range(32):
            write_png(data / f"{i:02}.png", lambda x, y, i=i: (8 * x, 8 * y, 8 * i))
        ours = [start_difftune(args, Path(folder) / f"run{i}", data.parent) for i in range(5)]
    plan = dict(batch=32, steps=1, rounds=0, passes=1, together=False, warmup=1)
    contender = pytorch(args, "train", "demo", plan, "f32", "eager")
    contender.start()
    theirs = contender.ready["first_step_at"] - contender.started
    contender.finish()
    results["start"] = dict(difftune=statistics.median(ours), pytorch=theirs)


def start_difftune(args, run, data):
    command = [args.build / "difftune", "train", "--method", "finetune", "--pretrained-model", ROOT / "demo/base.safetensors",
               "--train-data", data, "--output-dir", run, "--threads", str(args.threads), "--max-train-steps", "2",
               "--logging-steps", "1", "--validation-steps", "0", "--sample-steps", "0", "--checkpointing-steps", "0"]
    begin, log = time.monotonic(), run / "metrics.jsonl"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (log.exists() and '"train"' in log.read_text()):
        if process.poll() is not None:
            raise RuntimeError(f"difftune train ended with {process.returncode} before its first step was logged")
        time.sleep(0.002)
    seconds = time.monotonic() - begin
    process.wait()
    return seconds


# ---- the table ----


def rate(task, batch, seconds):
    return batch / seconds / (SAMPLING_STEPS if task == "sample" else 1)


def mark(value, wanted, text):
    return text if wanted is None else f"{text} ({'' if value >= wanted else '**below** '}{wanted:g})"


def at_most(value, wanted):
    return f"{value:.2f}" + ("" if wanted is None else f" ({'' if value <= wanted else '**above** '}{wanted:g})")


def speed_lines(results):
    lines = ["| work | difftune | samples/s | GFLOP/s | of the ceiling (wanted) | fastest PyTorch | samples/s | ratio (wanted) |",
             "|---|---|---|---|---|---|---|---|"]
    for task, plans in (("train", TRAINING), ("sample", SAMPLING)):
        for shape, plan in plans.items():
            lines += speed_lines_of(results, task, shape, plan["batch"])
    return lines if len(lines) > 2 else []


def speed_lines_of(results, task, shape, batch):
    row = results.get(f"{task} {shape}", {})
    ours = {n: r for n, r in row.items() if n.startswith("difftune")}
    lines = []
    for name, r in ours.items():
        precision = precision_of(name)
        rival = fastest(row, ["f32"] if precision == "f32" else ["f32", "bf16"])
        best = row[rival] if rival else None
        column = 1 if precision == "bf16" else 0
        gflops = r["flops_per_step"] / r["seconds_per_step"] / 1e9
        share, ratio = gflops / r["peak_gflops"], best["seconds_per_step"] / r["seconds_per_step"] if best else float("nan")
        work = f"{'training' if task == 'train' else 'sampling'}, {SHAPES[shape]}, batch {batch}"
        star = " *" if r["disturbed"] or (best and best["disturbed"]) else ""
        share_wanted = WANTED_SHARE[shape][column] if task == "train" else (None, 0.85)[column and shape != "demo"]
        lines.append(f"| {work}{star} | {precision} | {rate(task, batch, r['seconds_per_step']):.3g} | {gflops:.0f} | "
                     f"{mark(share, share_wanted, f'{100 * share:.0f} %')} | "
                     + (f"{best['name'].removeprefix('PyTorch ')} | {rate(task, batch, best['seconds_per_step']):.3g} | " if best
                        else "none | | ")
                     + f"{mark(ratio, WANTED[task, shape][column], f'{ratio:.2f}')} |")
    return lines


def memory_lines(results):
    row = results.get("memory")
    if not row:
        return []
    theirs = [r["peak_memory_bytes"] for n, r in row.items() if n.startswith("PyTorch")]
    lines = ["| DiT-XL/2, full tuning with average, one step | peak resident memory | of PyTorch's |", "|---|---|---|"]
    for name, r in row.items():
        batch = 32 if name.endswith("batch 32") else 4
        share = f"{100 * r['peak_memory_bytes'] / theirs[0]:.0f} %" if theirs and batch == 4 else "(14 GiB wanted)"
        lines.append(f"| {name.removesuffix(' batch 32')}, batch {batch} | {r['peak_memory_bytes'] / GIB:.2f} GiB | {share} |")
    return lines


def adapter_lines(results):
    lines = ["| training, what trains | values that train | their file, MB | ms a step | of all weights' | peak memory | "
             "of all weights' |", "|---|---|---|---|---|---|---|"]
    for shape, row in results.get("adapters", {}).items():
        for kind, r in row.items():
            time = r["seconds_per_step"] / row["none"]["seconds_per_step"]
            memory = r["peak_memory_bytes"] / row["none"]["peak_memory_bytes"]
            wanted, what = ADAPTED_WANTED.get((kind, shape), (None, None)), "all weights" if kind == "none" else kind
            star = " *" if r["disturbed"] else ""
            lines.append(f"| {SHAPES[shape]}, batch {ADAPTED[shape]['batch']}{star}, {what} | "
                         f"{r['trained']:,} | {4e-6 * r['trained']:.1f} | {1e3 * r['seconds_per_step']:.0f} | "
                         f"{at_most(time, wanted[0])} | {r['peak_memory_bytes'] / GIB:.2f} GiB | {at_most(memory, wanted[1])} |")
    return lines if len(lines) > 2 else []


def guidance_lines(results):
    row = results.get("guidance", {})
    lines = [f"| sampling, DiT-S/2, batch {SAMPLING['S']['batch']}, guided by | ms a step | of its own branch's |", "|---|---|---|"]
    for who, r in row.items():
        share = r["seconds_per_step"] / row["its own branch"]["seconds_per_step"]
        lines.append(f"| {who}{' *' if r['disturbed'] else ''} | {1e3 * r['seconds_per_step']:.0f} | {share:.2f} |")
    return lines if row else []


def growth_lines(results):
    rows = results.get("growth")
    if not rows:
        return []
    lines = ["| training | batch | ms per sample | peak memory, MiB | MiB per further sample | formula |", "|---|---|---|---|---|---|"]
    before = None
    for r in rows:
        step = f"{(r['activations'] - before['activations']) / (r['batch'] - before['batch']) / 2**20:.3f}" \
            if before and r["batch"] > before["batch"] else ""
        lines.append(f"| {SHAPES[r['shape']]} {r['precision']}{' *' if r['disturbed'] else ''} | {r['batch']} | {1e3 * r['seconds_per_sample']:.2f} | "
                     f"{r['peak_memory_bytes'] / 2**20:.0f} | {step} | {per_sample_formula(r['shape'], r['precision']) / 2**20:.3f} |")
        before = r
    return lines


def start_lines(results):
    if "start" not in results:
        return []
    return [f"From starting the program to the first finished step of the demo model (batch 32): difftune {results['start']['difftune']:.2f} s "
            f"(0.5 wanted), PyTorch {results['start']['pytorch']:.1f} s."]


def table(results):
    machine = results["machine"]
    slow = "" if machine["pytorch_bf16_is_fast"] else \
        f" PyTorch's bf16 matrix product takes {machine['pytorch_bf16_slowdown']:.0f} times as long as its f32 one here, so its f32 stands beside difftune's bf16 too."
    head = f"{machine['date']}, {machine['processor']}, {machine['threads']} threads, isa {machine['isa']}; difftune {machine['difftune']}, " \
        f"PyTorch {machine['torch']}, {machine['system']}. An asterisk marks rows that other processes disturbed.{slow}"
    parts = [[head], *(part(results) for part in (speed_lines, memory_lines, adapter_lines, guidance_lines, growth_lines, start_lines))]
    return "\n\n".join("\n".join(p) for p in parts if p)


def write_page(page, text):
    begin, end = "<!-- measured: written by bench/compare.py -->", "<!-- end of what was measured -->"
    content = page.read_text() if page.exists() else f"# Speed and memory\n\n{begin}\n{end}\n"
    before, _, rest = content.partition(begin)
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


# ---- the environment ----


def make_environment(venv):
    if not (venv / "bin" / "python").exists():
        print(f"making {venv} with the current PyTorch release", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", "torch", "numpy"], check=True)


def make_programs(build, targets, options=()):
    """The targets in the folder `build`, which is a Release build if it is new; options are set in one that is there too."""
    kind = [] if (build / "build.ninja").exists() else ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
    if kind or options:
        subprocess.run(["cmake", "-S", ROOT, "-B", build, *kind, *options], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", build, *targets], check=True, stdout=subprocess.DEVNULL)


def look_at_machine(args):
    probe = "import time, torch; torch.set_num_threads(%d); print(torch.__version__)\n" \
            "for dtype in (torch.float32, torch.bfloat16):\n" \
            "    x = torch.randn(512, 512).to(dtype); x @ x; start = time.perf_counter(); x @ x; x @ x\n" \
            "    print(time.perf_counter() - start)" % args.threads
    words = subprocess.run([args.venv / "bin" / "python", "-c", probe], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    slowdown = float(words[2]) / float(words[1])
    with open("/proc/cpuinfo") as f:
        info = dict(line.split(":", 1) for line in f.read().split("\n\n")[0].splitlines())
    info = {k.strip(): v.strip() for k, v in info.items()}
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in info.get("flags", "").split()]
    version = subprocess.run([args.build / "difftune", "--version"], stdout=subprocess.PIPE, text=True).stdout.split()
    return dict(date=datetime.date.today().isoformat(), processor=f"{info.get('model name', platform.processor())} ({', '.join(flags)})",
                threads=args.threads, isa=args.isa, torch=words[0], difftune=" ".join(version[:2]).removeprefix("difftune "),
                system=f"Linux {platform.release().partition('-')[0]}", pytorch_bf16_slowdown=slowdown, pytorch_bf16_is_fast=slowdown < 1.5)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {','.join(ROWS)}; sampling-S names one size of sampling")
    parser.add_argument("--precision", default="f32,bf16", help="of difftune")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", default="auto", choices=PYTORCH_ISA, help="highest instruction set on both sides")
    parser.add_argument("--venv", type=Path, default=CACHE / "venv", help="Python environment with torch; made when missing")
    parser.add_argument("--build", type=Path, default=ROOT / "build-bench", help="build folder; made when missing")
    parser.add_argument("--results", type=Path, default=CACHE / "results.json", help="figures of all rows measured so far")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md", help="page whose table is replaced")
    args = parser.parse_args()
    args.precision = args.precision.split(",")
    args.rows = args.rows.split(",")
    return args


def jobs(args):
    measured = {}  # by this run
    single = {"start": start_row, "growth": growth_row, "memory": memory_row, "adapters": adapters_row,
              "guidance": guidance_row}
    for row in args.rows:
        if row in single:
            yield row, lambda results, f=single[row]: f(args, results)
        elif row.startswith("sampling"):
            for shape in [row.partition("-")[2]] if "-" in row else SAMPLING:
                yield f"sampling {shape}", lambda results, shape=shape: speed_row(args, results, measured, "sample", shape)
        elif row in TRAINING:
            yield f"training {row}", lambda results, row=row: speed_row(args, results, measured, "train", row)
        else:
            sys.exit(f"row {row}: one of {', '.join(ROWS)} expected")


def main():
    args = parse()
    planned = list(jobs(args))
    CACHE.mkdir(parents=True, exist_ok=True)
    make_environment(args.venv)
    make_programs(args.build, ["bench/bench_step", "difftune"])
    results = json.loads(args.results.read_text()) if args.results.exists() else {}
    results["machine"] = look_at_machine(args)
    for name, job in planned:
        begin = time.monotonic()
        job(results)
        args.results.write_text(json.dumps(results, indent=1))
        print(f"\n[{name}: {time.monotonic() - begin:.0f} s]\n\n{table(results)}", flush=True)
    write_page(args.page, table(results))


if __name__ == "__main__":
    main()
