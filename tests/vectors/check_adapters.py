#!/usr/bin/env python3
"""LoRA files between difftune and PEFT, over diffusers' DiT, over DiT's own module names and over a UNet of Stable Diffusion.

    python3 check_adapters.py PROGRAM           (torch, safetensors, diffusers, peft, Pillow)

A LoRA that `difftune train` made is loaded by the real PEFT over a network of DiT's own names and, converted, over diffusers'
DiTTransformer2DModel; what those compute must be what `difftune predict` says of base and adapter. Then the way back: adapters
that PEFT made (random matrices; ranks and alphas that differ by every kind of key that PEFT has; rank-stabilised; DoRA) are read by
difftune, and written by it in every layout, of which PEFT and diffusers must make the weights that the first network has when it is
merged. diffusers' time frequencies are put right first, as in check_writers.py.
"""

import copy
import pathlib
import shutil
import sys
import tempfile

import peft
import safetensors.torch
import torch
from diffusers import DiTTransformer2DModel, UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from check_writers import Check, difference, make_model  # noqa: E402

SHAPE = dict(size=16, channels=3, patch=4, width=64, depth=3, heads=1, classes=10)
SAME = 1e-5
WEIGHTS = 2e-6  # of the furthest that a weight was moved
SHARE = 1e-3  # of how far an adapter moves the outputs, which a wrong scale is not within
BLOCK = "transformer_blocks"
CONFIGS = {
    "attention, alpha 3": dict(r=4, lora_alpha=3, target_modules=["to_q", "to_k", "to_v", "to_out.0"]),
    "rank-stabilised": dict(r=5, lora_alpha=3, use_rslora=True, target_modules=["to_q", "to_v", "proj"]),
    "exceptions by ends": dict(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "net.2"], rank_pattern={"to_k": 2},
                               alpha_pattern={"attn1.to_k": 6, "net.2": -3}),
    "exceptions by names": dict(r=4, lora_alpha=3, target_modules=["to_q", "to_v", "to_out.0"],
                                rank_pattern={f"{BLOCK}.0.attn1.to_q": 2, f"{BLOCK}.1.attn1.to_out.0": 7},
                                alpha_pattern={f"{BLOCK}.0.attn1.to_q": 9, f"{BLOCK}.1.attn1.to_v": 1.5, "to_v": 5}),
    "exceptions by expressions": dict(r=4, lora_alpha=3, target_modules=["to_q", "to_k", "to_v", "to_out.0"],
                                      rank_pattern={f"^{BLOCK}\\.[01]\\.attn1.*": 3, "to_(q|k)": 6},
                                      alpha_pattern={"attn1\\.to_(q|out.0)": 7, f"{BLOCK}\\.\\d+\\..*to_v": 2}),
    "exceptions, rank-stabilised": dict(r=4, lora_alpha=3, use_rslora=True, target_modules=["to_q", "to_out.0", "proj"],
                                        rank_pattern={"to_out.0": 9}, alpha_pattern={"to_q": 5, "proj": 1}),
    "DoRA": dict(r=4, lora_alpha=6, target_modules=["to_q", "to_k", "to_v", "to_out.0"], use_dora=True),
    "DoRA, exceptions": dict(r=4, lora_alpha=6, target_modules=["to_q", "to_k", "to_v", "to_out.0"], use_dora=True,
                             rank_pattern={"to_out.0": 2}, alpha_pattern={"to_out.0": 5, "to_k": 2}),
}


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


def randomise(network, deviation=0.4):
    for name, weight in network.named_parameters():
        if "lora_magnitude" in name:
            weight.data *= 1 + deviation / 2 * torch.randn_like(weight)
        elif "lora_" in name:
            torch.nn.init.normal_(weight, std=deviation)
    return network.eval()


def saved_and_loaded(network, folder, base):
    """What PEFT makes of its own file: it sorts the keys of exceptions as it saves, so that another one of them may be the first that fits."""
    network.save_pretrained(folder)
    return peft.PeftModel.from_pretrained(base, folder).eval()


def merged(network):
    """The weights of a network with PEFT's layers in them, merged, under the names that they have without."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.merge()
    state = {k.removeprefix("base_model.model.").replace(".base_layer", ""): v for k, v in network.state_dict().items()}
    return {k: v for k, v in state.items() if "lora_" not in k}


def merged_here(check, source, adapter, form="diffusers"):
    out = check.folder / ("merged" if form == "diffusers" else "merged.safetensors")
    check.convert(source, out, form, "--adapter-weights", adapter, "--merge")
    return safetensors.torch.load_file(out / "diffusion_pytorch_model.safetensors" if form == "diffusers" else out)


def far(found, wanted, base):
    """The furthest of all weights from where they should be, as a share of the furthest that one was moved."""
    moved = max((wanted[k].double() - base[k].double()).abs().max().item() for k in wanted if k in base)
    return max((found[k].double() - wanted[k].double()).abs().max().item() for k in wanted if k in found) / moved


def layouts_of(check, source, adapter, config):
    """(layout, path) of what difftune writes of an adapter."""
    shutil.rmtree(check.folder / "written", ignore_errors=True)
    for layout in ("peft", "diffusers", "kohya"):
        if layout == "kohya" and config.get("use_dora"):
            continue
        out = check.folder / "written" / (layout + (".safetensors" if layout == "kohya" else ""))
        out.parent.mkdir(exist_ok=True)
        check.difftune("convert", "--pretrained-model", source, "--adapter-weights", adapter, "--save-adapter-as", layout,
                       "--output", out)
        yield layout, out


def diffusers_dit(base):
    return DiTTransformer2DModel.from_pretrained(str(base), low_cpu_mem_usage=False)


def check_layouts(check, name, config, own, source, base, adapter, wanted):
    """Of a DiT: what difftune writes, merged by PEFT over both names and by difftune; kohya's by its formula."""
    start = dict(diffusers_dit(base).state_dict())
    here = merged_here(check, source, adapter, "safetensors")
    for layout, path in layouts_of(check, source, adapter, config):
        check.bound(f"{name}: as {layout}, read back", far(merged_here(check, source, path), wanted, start), WEIGHTS)
        if layout == "diffusers":
            found = merged(peft.PeftModel.from_pretrained(diffusers_dit(base), path))
            check.bound(f"{name}: as diffusers, weights in PEFT", far(found, wanted, start), WEIGHTS)
        elif layout == "peft":
            found = merged(peft.PeftModel.from_pretrained(copy.deepcopy(own), path))
            check.bound(f"{name}: as peft, weights in PEFT", far(found, here, own.state_dict()), WEIGHTS)
        else:
            found, tensors = dict(own.state_dict()), safetensors.torch.load_file(path)
            for weight in [k for k in found if k.endswith(".weight")]:
                module = "lora_unet_" + weight.removesuffix(".weight").replace(".", "_")
                if f"{module}.alpha" in tensors:
                    a, b = (tensors[f"{module}.lora_{k}.weight"].flatten(1) for k in ("down", "up"))
                    change = tensors[f"{module}.alpha"] / len(a) * b @ a
                    found[weight] = found[weight] + change.reshape(found[weight].shape)
            check.bound(f"{name}: as kohya, weights by its formula", far(found, here, own.state_dict()), WEIGHTS)


def check_theirs(check, own, source, inputs):
    base = check.convert(source, check.folder / "transformer", "diffusers")
    for name, config in CONFIGS.items():
        torch.manual_seed(1)
        network = randomise(peft.get_peft_model(diffusers_dit(base), peft.LoraConfig(**config)))
        folder = check.folder / "theirs"
        network = saved_and_loaded(network, folder, diffusers_dit(base))
        expected, found = evaluate_diffusers(network, inputs), predict(check, source, "--adapter-weights", folder)
        moved = difference(predict(check, source), expected)
        check.bound(f"{name}: difftune predict with PEFT's, which moves it by {moved:.3f}", difference(found, expected),
                    min(SAME, SHARE * moved))
        wanted = merged(network)
        check.bound(f"{name}: merged", far(merged_here(check, source, folder), wanted, diffusers_dit(base).state_dict()), WEIGHTS)
        check_layouts(check, name, config, own, source, base, folder, wanted)


def random_unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(sample_size=64, block_out_channels=(32, 64), cross_attention_dim=24, attention_head_dim=8,
                                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")).eval()


def load_in_pipeline(unet, path):
    """As a pipeline's load_lora_weights does."""
    state, alphas, metadata = StableDiffusionLoraLoaderMixin.lora_state_dict(path, unet_config=unet.config,
                                                                             return_lora_metadata=True)
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, alphas, unet, metadata=metadata)
    return unet


def check_unet(check):
    """Of a UNet: PEFT's and diffusers' own files, and what difftune writes of them, in PEFT and in a pipeline's loader."""
    unet = random_unet()
    source, start = check.folder / "unet", dict(unet.state_dict())
    unet.save_pretrained(source)
    targets = ["to_q", "to_k", "to_out.0", "proj_in", "ff.net.0.proj"]
    exceptions = dict(rank_pattern={"attn2.to_k": 2, "down_blocks.0.attentions.0.proj_in": 7, "ff.net.0.proj": 4},
                      alpha_pattern={"attn2.to_k": 6, "mid_block.*": 1, "to_out.0": 5})
    for dora in (False, True):
        name = "UNet, DoRA" if dora else "UNet"
        config = dict(r=3, lora_alpha=2, target_modules=targets, use_dora=dora, **exceptions)
        torch.manual_seed(2)
        network = randomise(peft.get_peft_model(random_unet(), peft.LoraConfig(**config)))
        folder = check.folder / "unet_theirs"
        wanted = merged(saved_and_loaded(network, folder, random_unet()))
        check.bound(f"{name}: PEFT's adapter, merged", far(merged_here(check, source, folder), wanted, start), WEIGHTS)
        for layout, path in layouts_of(check, source, folder, config):
            check.bound(f"{name}: as {layout}, read back", far(merged_here(check, source, path), wanted, start), WEIGHTS)
            if layout == "peft":
                found = merged(peft.PeftModel.from_pretrained(random_unet(), path))
            else:
                found = merged(load_in_pipeline(random_unet(), path))
            check.bound(f"{name}: as {layout}, weights in {'PEFT' if layout == 'peft' else 'a pipeline'}",
                        far(found, wanted, start), WEIGHTS)
        network = random_unet()
        network.add_adapter(peft.LoraConfig(**config))
        described = check.folder / "described/pytorch_lora_weights.safetensors"
        randomise(network).save_lora_adapter(described.parent)
        check.bound(f"{name}: diffusers' file with its description, merged",
                    far(merged_here(check, source, described), merged(network), start), WEIGHTS)


def main():
    with tempfile.TemporaryDirectory() as folder:
        check = Check(sys.argv[1], pathlib.Path(folder), None)
        model, source, inputs = make_model(check, SHAPE)
        check.bound("PyTorch's outputs against difftune predict", difference(evaluate_own(model, inputs), predict(check, source)), SAME)
        check_theirs(check, model, source, inputs)
        check_unet(check)
        check_our_dora(check, copy.deepcopy(model), source, inputs)
        check_ours(check, model, source, inputs)
        sys.exit(f"{check.failed} checks failed" if check.failed else 0)


if __name__ == "__main__":
    main()
