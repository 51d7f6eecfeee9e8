#!/usr/bin/env python3
"""The UNet of Stable Diffusion 1.5 and a ControlNet at full size beside diffusers, on random weights.

    python3 bench/full_size_sd.py --program build/difftune --bench build/bench/bench_step [--work FOLDER] [--latents 64]

Needs PyTorch, diffusers, 12 GiB of memory and 6 GB of disk; takes some minutes on two cores. It is no part of the tests.

diffusers' UNet2DConditionModel (859,520,964 parameters) and ControlNetModel (361,279,120) are filled with random values that leave no gate
at zero, and saved by save_pretrained; a process that ends before the next begins says in f32 what they make of random latents, context
and control. difftune's predict reads the same folders. Then two training steps of such a ControlNet in bf16 at the same size, through the pieces
of a real run (bench/step.c). Broken bounds end in exit status 1.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

from full_size import Bench

COUNTS = {"unet": 859_520_964, "controlnet": 361_279_120}
PREDICT_BOUND, TRAIN_BOUND_GIB, TOKENS, FACTOR = 1e-4, 20.0, 77, 8


def make(work, latents):
    """Both networks, an input, and what diffusers says of it: alone and controlled."""
    import torch  # noqa: PLC0415, this process alone needs it
    from diffusers import ControlNetModel, UNet2DConditionModel  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    def random(kind, name, **config):
        with torch.device("meta"):
            model = kind(cross_attention_dim=768, attention_head_dim=8, **config)
        model = model.to_empty(device="cpu").eval().requires_grad_(False)
        for key, p in model.named_parameters():
            fan_in = p[0].numel() if p.dim() > 1 else 1
            p.uniform_(-1, 1).mul_(fan_in**-0.5 if p.dim() > 1 else 0.1).add_(1 if "norm" in key and key.endswith("weight") else 0)
        count = sum(p.numel() for p in model.parameters())
        if count != COUNTS[name]:
            sys.exit(f"{name}: {count} parameters")
        model.save_pretrained(work / name)
        return model

    torch.manual_seed(0)
    unet = random(UNet2DConditionModel, "unet", sample_size=latents)
    control = random(ControlNetModel, "controlnet")
    x, context = torch.randn(1, 4, latents, latents), torch.randn(1, TOKENS, 768)
    picture, t = torch.rand(1, 3, FACTOR * latents, FACTOR * latents), torch.tensor([500])
    save_file({"x": x, "t": t, "context": context}, work / "in.safetensors")
    save_file({"x": x, "t": t, "context": context, "control": picture}, work / "in_control.safetensors")
    start = time.monotonic()
    with torch.no_grad():
        skips, middle = control(x, t, context, picture, return_dict=False)
        controlled = unet(x, t, context, down_block_additional_residuals=skips, mid_block_additional_residual=middle).sample
        out = unet(x, t, context).sample
    print(f"diffusers, f32, the UNet twice and the ControlNet once: {time.monotonic() - start:.1f} s", flush=True)
    save_file({"unet": out, "controlled": controlled}, work / "expected.safetensors")


def check_forward(bench):
    from safetensors.numpy import load_file  # noqa: PLC0415

    expected = load_file(bench.work / "expected.safetensors")
    for what, name, control in (("unet", "in.safetensors", ()),
                                ("controlled", "in_control.safetensors", ("--controlnet-model", bench.work / "controlnet"))):
        out = bench.work / "out.safetensors"
        bench.run(f"predict, f32, {what}", "predict", "--pretrained-model", bench.work / "unet", *control, "--input", bench.work / name,
                  "--output", out)
        found = load_file(out)["out"]
        error = float(abs(found - expected[what]).max() / abs(expected[what]).max())
        bench.note(f"{what} against diffusers", relative_error=error, bound=PREDICT_BOUND)
        bench.bound(f"{what} agrees with diffusers", error <= PREDICT_BOUND)


def check_training(bench, program, latents):
    for checkpointing in ("false", "true"):
        step = Bench(program, bench.work)
        peak = step.run(f"training step of a ControlNet, bf16, batch 1, gradient_checkpointing {checkpointing}", "--task", "train", "--shape",
                        "ControlNet-1.5", "--resolution", latents, "--train-batch-size", 1, "--mixed-precision", "bf16",
                        "--fused-backward-pass", "true", "--ema-decay", 0, "--gradient-checkpointing", checkpointing, "--warmup", 1, "--rounds", 1, "--steps", 1)
        bench.bound("a training step within its memory", peak <= TRAIN_BOUND_GIB)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", required=True)
    arguments.add_argument("--bench", help="bench_step; without it no step is trained")
    arguments.add_argument("--work", help="folder for its files, which are removed")
    arguments.add_argument("--latents", type=int, default=64, help="their side")
    arguments.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if args.make:
        make(args.make, args.latents)
        return
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        bench = Bench(args.program, pathlib.Path(work))
        subprocess.run([sys.executable, __file__, "--program", args.program, "--latents", str(args.latents), "--make", work], check=True)
        check_forward(bench)
        if args.bench:
            check_training(bench, args.bench, args.latents)
    sys.exit(f"broken: {', '.join(bench.broken)}" if bench.broken else 0)


if __name__ == "__main__":
    main()
