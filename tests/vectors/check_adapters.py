#!/usr/bin/env python3
"""LoRA files between difftune and PEFT, over diffusers' DiT and over DiT's own module names.

    python3 check_adapters.py PROGRAM           (torch, safetensors, diffusers, peft, Pillow)

A LoRA that `difftune train` made is loaded by the real PEFT over a network of DiT's own names and, converted, over diffusers'
DiTTransformer2DModel; what those compute must be what `difftune predict` says of base and adapter. Then the way back: adapters
that PEFT made (random matrices, one rank-stabilised, one with parts of different rank and alpha) are read by difftune. kohya's
layout goes there and back. Of each way one adapter is a DoRA. diffusers' time frequencies are put right first, as in check_writers.py.
"""

import copy
import pathlib
import sys
import tempfile

import peft
import safetensors.torch
import torch
from diffusers import DiTTransformer2DModel
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from check_writers import Check, difference, make_model  # noqa: E402

SHAPE = dict(size=16, channels=3, patch=4, width=64, depth=3, heads=1, classes=10)
SAME = 1e-5


def predict(check, base, *more):
    out = check.folder / "out.safetensors"
    check.difftune("predict", "--pretrained-model", base, "--input", check.folder / "in.safetensors", "--output", out, *more)
    return safetensors.torch.load_file(out)["out"]


def evaluate_diffusers(model, inputs):
    for name, module in model.named_modules():
        if name.endswith("time_proj"):
            module.downscale_freq_shift = 0
    with torch.no_grad():
        return model(inputs["x"], timestep=inputs["t"], class_labels=inputs["y"]).sample


def evaluate_own(model, inputs):
    with torch.no_grad():
        return model(inputs["x"], inputs["t"], inputs["y"])


def train(check, base, *more):
    for i in range(20):
        folder = check.folder / f"data/class {i % SHAPE['classes']}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 255, (16, 16, 3), generator=torch.Generator().manual_seed(i), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
    run = check.folder / "-".join(["run", *more])
    check.difftune("train", "--method", "finetune", "--pretrained-model", base, "--train-data", check.folder / "data",
                   "--output-dir", run, "--adapter", "lora", "--lora-rank", "4", "--lora-alpha", "6",
                   "--lora-targets", "attn.qkv,attn.proj,mlp.fc1", "--max-train-steps", "8", "--learning-rate", "0.01",
                   "--train-batch-size", "4", "--validation-steps", "0", "--sample-steps", "0", "--weights", "last", *more)
    return run / "final"


def check_ours(check, model, source, inputs):
    adapter = train(check, source)
    expected = predict(check, source, "--adapter-weights", adapter)
    plain = predict(check, source)
    print(f"       the adapter moves the outputs by {difference(expected, plain):.1e}")
    own = peft.PeftModel.from_pretrained(model, adapter).eval()
    check.bound("PEFT over DiT's names: outputs against difftune predict", difference(evaluate_own(own, inputs), expected), SAME)
    folder = check.folder / "for_diffusers"
    check.difftune("convert", "--pretrained-model", source, "--adapter-weights", adapter, "--save-adapter-as", "diffusers",
                   "--output", folder)
    back = predict(check, source, "--adapter-weights", folder)
    base = check.convert(source, check.folder / "transformer", "diffusers")
    network = DiTTransformer2DModel.from_pretrained(str(base), low_cpu_mem_usage=False)
    network = peft.PeftModel.from_pretrained(network, folder).eval()
    check.bound("PEFT over diffusers: outputs against difftune predict, classes as the base's",
                difference(evaluate_diffusers(network, inputs), back), SAME)
    kohya = check.folder / "kohya.safetensors"
    check.difftune("convert", "--pretrained-model", source, "--adapter-weights", adapter, "--save-adapter-as", "kohya",
                   "--output", kohya)
    names = set(safetensors.torch.load_file(kohya))
    check("kohya: names and alphas", {f"lora_unet_blocks_0_attn_qkv.{k}" for k in ("lora_down.weight", "lora_up.weight", "alpha")} <= names)
    check.bound("kohya: read back", difference(predict(check, source, "--adapter-weights", kohya), back), 1e-6)


def check_our_dora(check, model, source, inputs):
    adapter = train(check, source, "--use-dora")
    expected = predict(check, source, "--adapter-weights", adapter)
    own = peft.PeftModel.from_pretrained(model, adapter).eval()
    check.bound("PEFT over DiT's names, DoRA: outputs against difftune predict",
                difference(evaluate_own(own, inputs), expected), SAME)
    folder = check.folder / "dora_for_diffusers"
    check.difftune("convert", "--pretrained-model", source, "--adapter-weights", adapter, "--save-adapter-as", "diffusers",
                   "--output", folder)
    base = check.convert(source, check.folder / "transformer", "diffusers")
    network = DiTTransformer2DModel.from_pretrained(str(base), low_cpu_mem_usage=False)
    network = peft.PeftModel.from_pretrained(network, folder).eval()
    check.bound("PEFT over diffusers, DoRA: outputs against difftune predict",
                difference(evaluate_diffusers(network, inputs), predict(check, source, "--adapter-weights", folder)), SAME)


def randomise(network, deviation=0.05):
    for name, weight in network.named_parameters():
        if "lora_magnitude" in name:
            weight.data *= 1 + 4 * deviation * torch.randn_like(weight)
        elif "lora_" in name:
            torch.nn.init.normal_(weight, std=deviation)
    return network.eval()


def check_theirs(check, source, inputs):
    base = check.convert(source, check.folder / "transformer", "diffusers")
    configs = {
        "attention, alpha 3": dict(r=4, lora_alpha=3, target_modules=["to_q", "to_k", "to_v", "to_out.0"]),
        "rank-stabilised": dict(r=5, lora_alpha=3, use_rslora=True, target_modules=["to_q", "to_v", "proj"]),
        "ranks that differ": dict(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "net.2"], rank_pattern={"to_k": 2},
                                  alpha_pattern={"to_k": 6}),
        "DoRA": dict(r=4, lora_alpha=6, target_modules=["to_q", "to_v", "to_out.0", "proj"], use_dora=True),
    }
    for name, config in configs.items():
        network = DiTTransformer2DModel.from_pretrained(str(base), low_cpu_mem_usage=False)
        torch.manual_seed(1)
        network = randomise(peft.get_peft_model(network, peft.LoraConfig(**config)))
        folder = check.folder / "theirs"
        network.save_pretrained(folder)
        expected = evaluate_diffusers(network, inputs)
        check.bound(f"difftune predict with PEFT's adapter over diffusers, {name}",
                    difference(predict(check, source, "--adapter-weights", folder), expected), SAME)


def main():
    with tempfile.TemporaryDirectory() as folder:
        check = Check(sys.argv[1], pathlib.Path(folder), None)
        model, source, inputs = make_model(check, SHAPE)
        check.bound("PyTorch's outputs against difftune predict", difference(evaluate_own(model, inputs), predict(check, source)), SAME)
        check_theirs(check, source, inputs)
        check_our_dora(check, copy.deepcopy(model), source, inputs)
        check_ours(check, model, source, inputs)
        sys.exit(f"{check.failed} checks failed" if check.failed else 0)


if __name__ == "__main__":
    main()
