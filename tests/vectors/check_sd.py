#!/usr/bin/env python3
"""Files of Stable Diffusion 1 that difftune reads and writes, against diffusers.

    python3 check_sd.py PROGRAM [--full]

Needs torch, transformers and diffusers (made with 0.42.1). Networks of random weights and several configurations are saved by diffusers and,
under the names that its own conversion knows, as checkpoints of the original layout (.ckpt of Lightning, .safetensors, with
averages), and a ControlNet likewise. What `difftune convert` makes of each must hold equal values, and must be loaded by from_pretrained
without a word; what `predict` computes and what `sample` draws by prompts must be what diffusers does. With --full the network of Stable Diffusion 1.5 in float16
too, whose values are compared (12 GB of memory, 6 GB of disk). Nothing is downloaded.
"""

import argparse
import json
import logging
import math
import pathlib
import subprocess
import tempfile

import numpy as np
import safetensors.torch
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint, convert_ldm_unet_checkpoint
from make_unet_names import control_parts, original_parts
from PIL import Image
from safetensors import safe_open
from transformers import CLIPTextModel, CLIPTokenizer

PREFIX = "model.diffusion_model."
CONTROL_PREFIX = "control_model."
ATTENDS, PLAIN, UP_ATTENDS, UP_PLAIN = "CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"
CONFIGS = {
    "as Stable Diffusion 1.5, narrow": dict(sample_size=64, block_out_channels=(32, 64, 96, 96), cross_attention_dim=24,
                                            attention_head_dim=8),
    "one layer, two levels": dict(sample_size=64, block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=40,
                                  down_block_types=(PLAIN, ATTENDS), up_block_types=(UP_ATTENDS, UP_PLAIN),
                                  attention_head_dim=8),
    "three layers, three levels": dict(sample_size=64, block_out_channels=(32, 32, 64), layers_per_block=3,
                                       cross_attention_dim=8, down_block_types=(ATTENDS, PLAIN, ATTENDS),
                                       up_block_types=(UP_ATTENDS, UP_PLAIN, UP_ATTENDS), attention_head_dim=8),
}
FULL = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
TOKENS = 77
CLIP = pathlib.Path(__file__).parent / "clip"  # a small text encoder and its vocabulary (make_clip_vectors.py)


class Check:
    def __init__(self, program):
        self.program, self.failed = program, 0

    def __call__(self, what, good, figure=""):
        print(f"  {'ok  ' if good else 'FAIL'} {what}{': ' if figure != '' else ''}{figure}", flush=True)
        self.failed += not good

    def difftune(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"difftune {arguments[0]}: {done.stderr}")

    def convert(self, model, output, form, *more):
        self.difftune("convert", "--pretrained-model", model, "--output", output, "--save-model-as", form, *more)
        return output


class Words(logging.Handler):
    """What diffusers says while it loads."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def load_silently(check, what, folder, state, dtype=torch.float32, kind=UNet2DConditionModel):
    words = Words()
    logging.getLogger("diffusers").addHandler(words)
    model = kind.from_pretrained(folder, low_cpu_mem_usage=False, torch_dtype=dtype)
    logging.getLogger("diffusers").removeHandler(words)
    check(f"{what}: diffusers loads it and says nothing", not words.said, "; ".join(words.said))
    check(f"{what}: equal values", same(model.state_dict(), state))
    return model


def same(a, b):
    return set(a) == set(b) and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def original_of(model):
    """Its tensors under the original names: diffusers' conversion, given each name as its own value, says which is which."""
    config = model.config
    parts = original_parts(config.layers_per_block, [t == ATTENDS for t in config.down_block_types],
                           [t == UP_ATTENDS for t in config.up_block_types])
    names = {f"{PREFIX}{part}.{kind}": f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}
    names = convert_ldm_unet_checkpoint(names, dict(config))
    return {PREFIX + names[k]: v for k, v in model.state_dict().items()}


def averages_of(original):
    return {"model_ema." + k.removeprefix("model.").replace(".", ""): v for k, v in original.items()}


def random_unet(config, seed):
    torch.manual_seed(seed)
    model = UNet2DConditionModel(**config).eval()
    for p in model.parameters():
        p.data += 0.02 * torch.randn_like(p)
    return model


def checkpoints(folder, model, averaged):
    original = original_of(model)
    rest = {"first_stage_model.post_quant_conv.weight": torch.randn(4, 4, 1, 1),
            "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(TOKENS)[None]}
    both = original | averages_of(original_of(averaged)) | {"model_ema.decay": torch.tensor(0.9999)} | rest
    safetensors.torch.save_file(both, folder / "both.safetensors")
    torch.save({"state_dict": original | rest, "epoch": 3, "global_step": 7, "callbacks": {}}, folder / "model.ckpt")
    return original, rest


def check_files(check, folder, config):
    model, averaged = random_unet(config, 0), random_unet(config, 1)
    state = model.state_dict()
    original, rest = checkpoints(folder, model, averaged)
    model.save_pretrained(folder / "saved")
    for source in ("saved", "model.ckpt", "both.safetensors"):
        out = check.convert(folder / source, folder / "unet", "diffusers")
        load_silently(check, f"{source} as diffusers", out, state)
        out = check.convert(folder / source, folder / "original.safetensors", "original")
        found = safetensors.torch.load_file(out)
        check(f"{source} as original: equal values", same(found, original))
        check(f"{source} as original: diffusers' conversion gives them back",
              same(convert_ldm_unet_checkpoint(found, dict(model.config)), state))
        out = check.convert(folder / source, folder / "model.pt", "pt")
        check(f"{source} as pt: equal values", same(dict(torch.load(out, weights_only=True)), state))
    out = check.convert(folder / "both.safetensors", folder / "unet", "diffusers", "--file-weights", "ema")
    load_silently(check, "averages as diffusers", out, averaged.state_dict())
    averaged.save_pretrained(folder / "tuned")
    out = check.convert(folder / "tuned", folder / "whole.safetensors", "original", "--original-checkpoint",
                        folder / "model.ckpt")
    check("into a whole checkpoint: the rest as it was, the network the new one",
          same(safetensors.torch.load_file(out), original_of(averaged) | rest))
    check_numbers(check, folder, model)
    check_lora(check, folder, model)


def original_of_control(model):
    parts = control_parts(model.config.layers_per_block, [t == ATTENDS for t in model.config.down_block_types])
    names = {f"{CONTROL_PREFIX}{part}.{kind}": f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}
    names = convert_controlnet_checkpoint(names, dict(model.config))
    return {CONTROL_PREFIX + names[k]: v for k, v in model.state_dict().items()}


def check_control(check, folder, config):
    """ControlNet's own files (version 1.0 beside a whole Stable Diffusion, 1.1 alone) and diffusers' folder; moved to another base."""
    base, new = random_unet(config, 6), random_unet(config, 7)
    model = ControlNetModel.from_unet(base).eval()
    for p in model.parameters():
        p.data += 0.02 * torch.randn_like(p)
    state, original = model.state_dict(), original_of_control(model)
    model.save_pretrained(folder / "saved")
    torch.save(original | original_of(base) | {"betas": torch.zeros(3)}, folder / "v10.pth")
    torch.save({"state_dict": original, "epoch": 3}, folder / "v11.ckpt")
    safetensors.torch.save_file(original, folder / "v11.safetensors")
    for source in ("saved", "v10.pth", "v11.ckpt", "v11.safetensors"):
        out = check.convert(folder / source, folder / "controlnet", "diffusers")
        load_silently(check, f"ControlNet {source} as diffusers", out, state, kind=ControlNetModel)
        out = check.convert(folder / source, folder / "original.safetensors", "original")
        check(f"ControlNet {source} as original: equal values", same(safetensors.torch.load_file(out), original))
        out = check.convert(folder / source, folder / "model.pt", "pt")
        check(f"ControlNet {source} as pt: equal values", same(dict(torch.load(out, weights_only=True)), state))
    base.save_pretrained(folder / "base")
    new.save_pretrained(folder / "new")
    out = check.convert(folder / "v10.pth", folder / "moved.safetensors", "safetensors", "--transfer-from", folder / "base",
                        "--transfer-to", folder / "new")
    old, other, moved = base.state_dict(), new.state_dict(), safetensors.torch.load_file(out)
    wanted = {k: (v.double() - old[k] + other[k]).float() if k in old else v for k, v in state.items()}
    check("ControlNet moved to another base: model - old + new", same(moved, wanted))


def check_lora(check, folder, model):
    """Matrices for a few maps in kohya's and PEFT's layouts, merged; rank 3, alpha 2."""
    torch.manual_seed(5)
    state = model.state_dict()
    block = next(k for k in state if k.endswith("attn2.to_k.weight")).removesuffix("attn2.to_k.weight")
    maps = [block + end for end in ("attn1.to_q", "attn2.to_k", "attn2.to_out.0", "ff.net.0.proj")]
    kohya, peft, wanted = {}, {}, dict(state)
    for name in maps:
        out, inner = state[f"{name}.weight"].shape
        a, b = torch.randn(3, inner), torch.randn(out, 3)
        plain = "lora_unet_" + name.replace(".", "_")
        kohya |= {f"{plain}.lora_down.weight": a, f"{plain}.lora_up.weight": b, f"{plain}.alpha": torch.tensor(2.0)}
        peft |= {f"unet.{name}.lora_A.weight": a, f"unet.{name}.lora_B.weight": b * 2 / 3}
        wanted[f"{name}.weight"] = state[f"{name}.weight"] + b @ a * 2 / 3
    for layout, tensors in (("kohya", kohya), ("diffusers", peft)):
        safetensors.torch.save_file(tensors, folder / f"{layout}.safetensors")
        out = check.convert(folder / "model.ckpt", folder / "unet", "diffusers", "--adapter-weights",
                            folder / f"{layout}.safetensors", "--merge")
        found = safetensors.torch.load_file(out / "diffusion_pytorch_model.safetensors")
        far = max((found[k] - wanted[k]).abs().max().item() for k in wanted)
        check(f"LoRA in the layout of {layout}, merged (bound 1e-5)", far <= 1e-5, f"{far:.1e}")
    check.difftune("convert", "--pretrained-model", folder / "model.ckpt", "--adapter-weights",
                   folder / "diffusers.safetensors", "--save-adapter-as", "kohya", "--output", folder / "back.safetensors")
    back = safetensors.torch.load_file(folder / "back.safetensors")
    check("LoRA written in kohya's layout: its names", set(back) == set(kohya))
    check_pipeline_lora(check, folder, model, block)


def check_pipeline_lora(check, folder, model, block):
    """A folder that load_lora_weights takes: the network with what diffusers makes of it, a convolution and DoRA included, against predict."""
    inputs = safetensors.torch.load_file(folder / "in.safetensors")
    maps = [block + end for end in ("attn1.to_q", "attn2.to_k", "attn2.to_out.0", "ff.net.0.proj")]
    maps.append(block[: block.index("transformer_blocks")] + "proj_in")
    for dora in (False, True):
        torch.manual_seed(8)
        tensors = {}
        for name in maps:
            weight = model.state_dict()[f"{name}.weight"].flatten(1)
            tensors[f"base_model.model.{name}.lora_A.weight"] = 0.2 * torch.randn(3, weight.shape[1])
            tensors[f"base_model.model.{name}.lora_B.weight"] = 0.2 * torch.randn(weight.shape[0], 3)
            if dora:
                length = weight.norm(dim=1)
                tensors[f"base_model.model.{name}.lora_magnitude_vector"] = length * (1 + 0.2 * torch.randn_like(length))
        ours = folder / f"peft_{dora}"
        ours.mkdir()
        safetensors.torch.save_file(tensors, ours / "adapter_model.safetensors")
        (ours / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 3, "lora_alpha": 2, "use_dora": dora}))
        check.difftune("convert", "--pretrained-model", folder / "model.ckpt", "--adapter-weights", ours, "--save-adapter-as",
                       "diffusers", "--output", folder / f"pipeline_{dora}")
        check.difftune("predict", "--pretrained-model", folder / "model.ckpt", "--adapter-weights", ours, "--input",
                       folder / "in.safetensors", "--output", folder / "out.safetensors")
        network = UNet2DConditionModel.from_config(model.config)
        network.load_state_dict(model.state_dict())
        state = StableDiffusionLoraLoaderMixin.lora_state_dict(folder / f"pipeline_{dora}")[0]
        StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, None, network)
        with torch.no_grad():
            wanted = network.eval()(inputs["x"], inputs["t"], inputs["context"]).sample
            plain = model(inputs["x"], inputs["t"], inputs["context"]).sample
        found = safetensors.torch.load_file(folder / "out.safetensors")["out"]
        far, moved = ((found - other).abs().max().item() / plain.abs().max().item() for other in (wanted, plain))
        check(f"{'DoRA' if dora else 'LoRA'} in diffusers' pipeline against predict (bound 1e-5; it moves the output)",
              far <= 1e-5 and moved > 0.01, f"{far:.1e}, {moved:.1e}")


def check_numbers(check, folder, model):
    torch.manual_seed(2)
    size, width = model.config.sample_size, model.config.cross_attention_dim
    inputs = {"x": torch.randn(2, 4, size, size), "t": torch.tensor([3, 801]), "context": torch.randn(2, TOKENS, width)}
    safetensors.torch.save_file(inputs, folder / "in.safetensors")
    with torch.no_grad():
        wanted = model(inputs["x"], inputs["t"], inputs["context"]).sample
    check.difftune("predict", "--pretrained-model", folder / "model.ckpt", "--input", folder / "in.safetensors",
                   "--output", folder / "out.safetensors")
    found = safetensors.torch.load_file(folder / "out.safetensors")["out"]
    far = ((found - wanted).abs().max() / wanted.abs().max()).item()
    check("what the checkpoint predicts is what diffusers computes (bound 1e-5)", far <= 1e-5, f"{far:.1e}")


def normals(seed, sample, count):
    """What difftune's sample starts from: Philox-4x32-10, by Box and Muller."""
    values = []
    for position in range(count // 4):
        c, k = [position, sample, 0, 8], [seed, 0]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        for a, b in ((c[0], c[1]), (c[2], c[3])):
            radius, angle = math.sqrt(-2 * math.log((a + 1) * 2.0**-32)), 2 * math.pi * b * 2.0**-32
            values += [radius * math.cos(angle), radius * math.sin(angle)]
    return torch.tensor(values)


def contexts(texts):
    words = CLIPTokenizer.from_pretrained(CLIP / "tokenizer")
    ids = words(texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt").input_ids
    encoder = CLIPTextModel.from_pretrained(CLIP / "text_encoder")
    return encoder(ids)[0]


@torch.no_grad()
def check_pictures(check, folder):
    """Twenty steps of DDIM with guidance, told two prompts and an empty one, from one noise. The network knows nothing, so that only
    clipping at each step keeps x from growing, and with it what rounding makes of it."""
    config = dict(sample_size=32, in_channels=3, out_channels=3, block_out_channels=(32, 64), cross_attention_dim=16,
                  down_block_types=(ATTENDS, PLAIN), up_block_types=(UP_PLAIN, UP_ATTENDS), attention_head_dim=4)
    model, seed, scale = random_unet(config, 4), 42, 1.5
    model.save_pretrained(folder / "unet")
    prompts = ["a line", "the other line"]
    (folder / "prompts.txt").write_text("\n".join(prompts) + "\n")
    check.difftune("sample", "--pretrained-model", folder, "--text-encoder", CLIP, "--prompt", folder / "prompts.txt",
                   "--num-samples", 2, "--num-inference-steps", 20, "--timestep-spacing", "leading", "--seed", seed,
                   "--guidance-scale", scale, "--clip-sample", "--output-dir", folder / "out")
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=True,
                              set_alpha_to_one=False,
                              steps_offset=1, timestep_spacing="leading")
    scheduler.set_timesteps(20)
    x = torch.stack([normals(seed, i, 3 * 32 * 32).reshape(3, 32, 32) for i in range(2)])
    told, nothing = contexts(prompts), contexts(["", ""])
    for t in scheduler.timesteps:
        with_text, without = model(x, t, told).sample, model(x, t, nothing).sample
        noise = without + scale * (with_text - without)
        x = scheduler.step(noise, t, x, use_clipped_model_output=True).prev_sample
    wanted = (127.5 * x + 127.5).round().clip(0, 255).permute(0, 2, 3, 1)
    files = sorted(f for f in (folder / "out").rglob("*.png") if "grid" not in f.name)
    found = torch.stack([torch.from_numpy(np.array(Image.open(f).convert("RGB"))) for f in files]).float()
    inside = ((wanted > 0) & (wanted < 255)).float().mean().item()
    far = (found - wanted).abs().max().item()
    check("pictures of 20 steps (within 2 of 255; told: the share that no bound cut)", far <= 2, f"{far:g}, {inside:.2f}")


def check_full(check, folder):
    with torch.device("meta"):
        model = UNet2DConditionModel(**FULL)
    model = model.half().to_empty(device="cpu")
    torch.manual_seed(3)
    for p in model.parameters():
        p.data.uniform_(-0.1, 0.1)
    state = model.state_dict()
    safetensors.torch.save_file(original_of(model), folder / "full.safetensors")
    out = check.convert(folder / "full.safetensors", folder / "unet", "diffusers", "--save-dtype", "f16")
    (folder / "full.safetensors").unlink()
    found = {}
    with safe_open(out / "diffusion_pytorch_model.safetensors", "pt") as f:
        check("Stable Diffusion 1.5: 686 tensors", len(list(f.keys())) == 686)
        found = all(torch.equal(f.get_tensor(k), state[k]) for k in f.keys())
    check("Stable Diffusion 1.5: equal values", found)
    with torch.device("meta"):
        again = UNet2DConditionModel.from_config(json.loads((out / "config.json").read_text()))
    check("Stable Diffusion 1.5: config.json makes it",
          {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in state.items()})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    check = Check(arguments.program)
    for name, config in CONFIGS.items():
        print(name)
        with tempfile.TemporaryDirectory() as folder:
            check_files(check, pathlib.Path(folder), config)
        with tempfile.TemporaryDirectory() as folder:
            check_control(check, pathlib.Path(folder), config)
    with tempfile.TemporaryDirectory() as folder:
        check_pictures(check, pathlib.Path(folder))
    if arguments.full:
        with tempfile.TemporaryDirectory() as folder:
            check_full(check, pathlib.Path(folder))
    raise SystemExit(check.failed > 0)


if __name__ == "__main__":
    main()
