#!/usr/bin/env python3
"""The SHA-256 that tests/test_unet_files.c and test_control_files.c expect of the names of Stable Diffusion 1.5 and its ControlNet:
lines "diffusers original shape" in byte order.

    python3 make_unet_names.py

Needs torch and diffusers (made with 0.42.1). The original names are those of openaimodel.py and cldm.py, laid out here by their
loops; which is which says diffusers' own conversion, given each name as its own value. Nothing is downloaded.
"""

import hashlib

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint, convert_ldm_unet_checkpoint

LAYERS, ATTENDS = 2, [True, True, True, False]
CONFIG = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
RESNET = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection"]
BLOCK = ["norm1", "norm2", "norm3", "attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k",
         "attn2.to_v", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2"]
ATTENTION = ["norm", "proj_in", "proj_out"] + [f"transformer_blocks.0.{name}" for name in BLOCK]


def original_parts(layers, down_attends, up_attends):
    """Every part that might have weights; the conversion takes those that diffusers' network has. up_attends is in diffusers'
    order, from the smallest image on."""
    parts = ["time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2"]
    levels, at = len(down_attends), 1
    for level in range(levels):
        for _ in range(layers):
            parts += [f"input_blocks.{at}.0.{p}" for p in RESNET]
            parts += [f"input_blocks.{at}.1.{p}" for p in ATTENTION if down_attends[level]]
            at += 1
        parts += [f"input_blocks.{at}.0.op"] if level < levels - 1 else []
        at += 1
    parts += [f"middle_block.{i}.{p}" for i in (0, 2) for p in RESNET] + [f"middle_block.1.{p}" for p in ATTENTION]
    for at in range(len(up_attends) * (layers + 1)):
        level = at // (layers + 1)
        parts += [f"output_blocks.{at}.0.{p}" for p in RESNET]
        parts += [f"output_blocks.{at}.1.{p}" for p in ATTENTION if up_attends[level]]
        if level < levels - 1 and at % (layers + 1) == layers:
            parts += [f"output_blocks.{at}.{2 if up_attends[level] else 1}.conv"]
    return parts


def control_parts(layers, down_attends):
    encoder = [p for p in original_parts(layers, down_attends, []) if not p.startswith("out")]
    return (encoder + [f"input_hint_block.{i}" for i in range(0, 16, 2)] + ["middle_block_out.0"]
            + [f"zero_convs.{i}.0" for i in range(len(down_attends) * (layers + 1))])


def show(model, parts, prefix, convert):
    shapes = {name: list(p.shape) for name, p in model.named_parameters()}
    names = [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]
    converted = convert({prefix + n: n for n in names}, dict(model.config))
    lines = sorted(f"{name} {converted[name]} [{','.join(map(str, shape))}]\n" for name, shape in shapes.items())
    print(len(lines), "names,", sum(p.numel() for p in model.parameters()), "parameters")
    print(hashlib.sha256("".join(lines).encode()).hexdigest())


def main():
    with torch.device("meta"):
        unet, control = UNet2DConditionModel(**CONFIG), ControlNetModel(cross_attention_dim=768, attention_head_dim=8)
    show(unet, original_parts(LAYERS, ATTENDS, ATTENDS[::-1]), "model.diffusion_model.", convert_ldm_unet_checkpoint)
    show(control, control_parts(LAYERS, ATTENDS), "control_model.", convert_controlnet_checkpoint)


if __name__ == "__main__":
    main()
