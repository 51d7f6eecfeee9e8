#!/usr/bin/env python3
"""DiT-XL/2 at full size, from the published kind of file to tuned pictures, on random weights.

    python3 bench/full_size.py --program build/difftune [--work FOLDER] [--json FILE]

Needs PyTorch, diffusers, Pillow, some 20 GiB of memory and 40 GB of disk; takes about ten minutes on two cores. It is no
part of the tests.

DiT-XL/2 (675 million parameters, learned variance, 32x32x4 latents, 1000 classes) is filled with random values that leave
no gate at zero and saved with torch.save, as DiT publishes it; the codec is an AutoencoderKL of Stable Diffusion's shape from
diffusers. Then: predict against PyTorch in f32; convert to .pt and to diffusers' layout and predict from those; a bank of two
latents; four steps of Diff-Tuning in bf16 on eight pictures of 256x256, once through and once stopped by a signal; two pictures
drawn from the result. Each line has the command, its time and its peak resident memory; broken bounds end in exit status 1.
"""

import argparse
import contextlib
import hashlib
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pytorch_dit  # noqa: E402

GIB = 1 << 30
PREDICT_BOUND, TRAIN_BOUND_GIB, STEPS = 1e-4, 14.0, 4
SHAPE = dict(size=32, channels=4, patch=2, width=1152, depth=28, heads=16, classes=1000)


class PeakMemory(threading.Thread):
    """Peak resident memory of a running program, looked at every 20 ms. What wait4 tells of it will not do: that begins with
    the memory of whoever started the program."""

    def __init__(self, pid):
        super().__init__()
        self.status, self.kib = f"/proc/{pid}/status", 0
        self.start()

    def run(self):
        with contextlib.suppress(OSError):  # the program has ended
            while (found := re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(self.status).read_text())):
                self.kib = int(found[1])
                time.sleep(0.02)

    def gib(self):
        self.join()
        return self.kib * 1024 / GIB


class Bench:
    def __init__(self, program, work):
        self.program, self.work, self.rows, self.broken = program, work, [], []

    def note(self, what, **figures):
        self.rows.append({"what": what, **figures})
        print(f"{what}: " + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items()),
              flush=True)

    def bound(self, what, good):
        if not good:
            self.broken.append(what)
            print(f"BROKEN: {what}", flush=True)

    def run(self, what, *arguments, stop_at=None, expect=0):
        """Runs difftune; with `stop_at` it gets SIGTERM when its log has that text. Gives its peak memory in GiB."""
        start, log = time.monotonic(), []
        child = subprocess.Popen([self.program, *map(str, arguments)], stderr=subprocess.PIPE, text=True)
        watch = PeakMemory(child.pid)
        for line in child.stderr:
            log.append(line)
            if stop_at and stop_at in line:
                child.send_signal(signal.SIGTERM)
        child.wait()
        peak = watch.gib()
        self.note(what, seconds=time.monotonic() - start, peak_gib=peak)
        if child.returncode != expect:
            sys.exit(f"difftune {' '.join(map(str, arguments))}: exit status {child.returncode}\n{''.join(log[-5:])}")
        return peak


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def digests(folder):
    """Of every file of a run that must not depend on having been stopped."""
    files = sorted(folder.glob("checkpoints/*/*.safetensors")) + [folder / "final/model.safetensors"]
    return {str(path.relative_to(folder)): digest(path) for path in files}


def make_model(bench):
    torch.manual_seed(0)
    model = pytorch_dit.DiT(dropout=0, **SHAPE).fill().eval()
    torch.save(model.state_dict(), bench.work / "DiT-XL-2-256x256.pt")
    inputs = {"x": torch.randn(2, 4, 32, 32), "t": torch.tensor([37, 980]), "y": torch.tensor([207, 1000])}
    start = time.monotonic()
    with torch.no_grad():
        expected = model(inputs["x"], inputs["t"], inputs["y"])
    bench.note("PyTorch, f32, batch of 2", parameters=sum(p.numel() for p in model.parameters()),
               seconds=time.monotonic() - start)
    return inputs, expected


def make_codec(bench):
    from diffusers import AutoencoderKL  # noqa: PLC0415

    codec = AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                          block_out_channels=[128, 256, 512, 512], layers_per_block=2, latent_channels=4, sample_size=256,
                          scaling_factor=0.18215)
    codec.save_pretrained(bench.work / "vae")
    bench.note("AutoencoderKL", parameters=sum(p.numel() for p in codec.parameters()))


def make_pictures(bench):
    from PIL import Image  # noqa: PLC0415

    for i in range(8):
        folder = bench.work / "pictures" / f"class{i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = torch.rand(3, 8, 8)
        smooth = torch.nn.functional.interpolate(coarse[None], size=(256, 256), mode="bicubic")[0].clamp(0, 1)
        pixels = (smooth * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")


def predict(bench, what, model):
    from safetensors.torch import load_file  # noqa: PLC0415

    out = bench.work / "out.safetensors"
    bench.run(what, "predict", "--pretrained-model", model, "--input", bench.work / "in.safetensors", "--output", out)
    return load_file(out)["out"]


def check_predict(bench, inputs, expected):
    from safetensors.torch import save_file  # noqa: PLC0415

    model = bench.work / "DiT-XL-2-256x256.pt"
    save_file(inputs, bench.work / "in.safetensors")
    out = predict(bench, "predict, f32, from .pt", model)
    error = ((out - expected).abs().max() / expected.abs().max()).item()
    bench.note("predict against PyTorch", relative_error=error, bound=PREDICT_BOUND)
    bench.bound("predict agrees with PyTorch", error <= PREDICT_BOUND)
    for form, name in (("pt", "again.pt"), ("diffusers", "transformer")):
        path = bench.work / name
        bench.run(f"convert to {form}", "convert", "--pretrained-model", model, "--output", path, "--save-model-as", form)
        same = torch.equal(predict(bench, f"predict from {form}", path), out)
        bench.note(f"the same bits from {form}", same=same)
        bench.bound(f"the same bits from {form}", same)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def train(bench, folder, what, **options):
    return bench.run(what, "train", "--pretrained-model", bench.work / "DiT-XL-2-256x256.pt", "--vae", bench.work / "vae",
                     "--train-data", bench.work / "pictures", "--cache-dir", bench.work / "latents", "--bank",
                     bench.work / "bank", "--preset", "paper", "--output-dir", folder, "--max-train-steps", STEPS, "--train-batch-size", 2,
                     "--mixed-precision", "bf16", "--gradient-checkpointing", "--fused-backward-pass", "--logging-steps", 1,
                     "--checkpointing-steps", 0, "--checkpoints-total-limit", 1, "--validation-steps", 0, "--sample-steps", 0,
                     **options)


def check_training(bench):
    model = bench.work / "DiT-XL-2-256x256.pt"
    bench.run("bank of 2 latents, 2 steps", "bank", "--pretrained-model", model, "--bank", bench.work / "bank", "--bank-size", 2,
              "--num-inference-steps", 2, "--mixed-precision", "bf16")
    bench.run("cache of 8 pictures, plain and mirrored", "cache", "--vae", bench.work / "vae", "--train-data",
              bench.work / "pictures", "--resolution", 256, "--cache-dir", bench.work / "latents")
    stopped, whole = bench.work / "stopped", bench.work / "whole"
    peaks = [train(bench, stopped, f"train of {STEPS} steps, stopped by SIGTERM after the second", stop_at=f"train 2/{STEPS}", expect=75),
             train(bench, stopped, "train, gone on with to the end")]
    found = digests(stopped)
    shutil.rmtree(stopped)
    peaks.append(train(bench, whole, f"train, {STEPS} steps at once"))
    same = digests(whole) == found
    bench.note("stopped and not stopped", files=len(found), same_bits=same)
    bench.bound("the same bits however often stopped", same and len(found) > 1)
    bench.note("training's peak memory", gib=max(peaks), bound_gib=TRAIN_BOUND_GIB)
    bench.bound("training within its memory", max(peaks) <= TRAIN_BOUND_GIB)
    for line in (whole / "metrics.jsonl").read_text().splitlines():
        print(f"  {line}")
    bench.run("sample 2 pictures of 256x256, 4 steps, guidance 1.5", "sample", "--pretrained-model", whole, "--vae",
              bench.work / "vae", "--output-dir", bench.work / "samples", "--num-samples", 2, "--num-inference-steps", 4,
              "--mixed-precision", "bf16")
    pictures = len(list((bench.work / "samples" / "images").glob("*.png")))
    bench.bound("two pictures", pictures == 2)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", required=True)
    arguments.add_argument("--work", help="folder for its files, which are removed")
    arguments.add_argument("--json", help="where to keep the figures")
    args = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        bench = Bench(args.program, pathlib.Path(work))
        inputs, expected = make_model(bench)
        check_predict(bench, inputs, expected)
        make_codec(bench)
        make_pictures(bench)
        check_training(bench)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(bench.rows, indent=1))
    sys.exit(f"broken: {', '.join(bench.broken)}" if bench.broken else 0)


if __name__ == "__main__":
    main()
