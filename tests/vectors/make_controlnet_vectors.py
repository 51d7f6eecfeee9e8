"""Makes the reference vectors controlnet_*.safetensors with diffusers' ControlNetModel on a UNet2DConditionModel, run under PyTorch on
the CPU.

    python3 make_controlnet_vectors.py --out .

Needs torch, diffusers (made with 0.42.1), numpy and safetensors. Networks, numbers and what is stored of a gradient are those of
make_unet_vectors.py; the names of a ControlNet's weights stand behind "controlnet." where their numbers are made, so that it is
no copy of the UNet. Of the one that is told a text there are ten steps of AdamW (their losses, and what is predicted then)
and pictures of 20 and 50 steps of DDIM. Everything is computed in float64.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from safetensors.numpy import save_file

from make_unet_vectors import CLASSES, MODELS, TIMES, TOKENS, fill, sketch, tensor_of, weight_of

STEMS = {"text": (4, 6, 8), "label": (6,)}
LEARNING_RATE, STEPS = 1e-3, 10
GUIDANCE, DRAWN = 3.0, 2


def networks(kind):
    config = MODELS[f"unet_{kind}"]
    unet = UNet2DConditionModel(**config).double().eval().requires_grad_(False)
    fill(unet)
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=STEMS[kind]).double().eval()
    control.requires_grad_(True)
    for name, p in control.named_parameters():
        p.data = weight_of(f"controlnet.{name}", tuple(p.shape))
    return unet, control


def inputs_of(kind, n):
    config = MODELS[f"unet_{kind}"]
    size, channels, width = config["sample_size"], config["in_channels"], config["cross_attention_dim"]
    side = size * 2 ** (len(STEMS[kind]) - 1)
    if kind == "label":
        context = weight_of("class_tokens.weight", (CLASSES + 1, width))[[0, CLASSES, 1, 0]][:, None]
    else:
        context = tensor_of("context", (n, TOKENS, width))
    return tensor_of("x", (n, channels, size, size)), context, tensor_of("control", (n, 3, side, side))


def predict(unet, control, x, t, context, picture):
    skips, middle = control(x, t, context, picture, return_dict=False)
    return unet(x, t, context, down_block_additional_residuals=skips, mid_block_additional_residual=middle).sample


def gradients(kind):
    unet, control = networks(kind)
    x, context, picture = inputs_of(kind, len(TIMES))
    out = predict(unet, control, x, torch.tensor(TIMES), context, picture)
    (out * tensor_of("gradient", tuple(out.shape))).sum().backward()
    named = [(f"controlnet.{name}", p.grad) for name, p in control.named_parameters()]
    return out.detach(), np.stack([sketch(name, g) for name, g in named]), [name for name, _ in named], control.config


def training(kind):
    """The same batch ten times."""
    unet, control = networks(kind)
    x, context, picture = inputs_of(kind, len(TIMES))
    t, noise = torch.tensor(TIMES), tensor_of("noise", tuple(x.shape))
    optimizer = torch.optim.AdamW(control.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    losses = []
    for _ in range(STEPS):
        loss = ((predict(unet, control, x, t, context, picture) - noise) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        return np.array(losses), predict(unet, control, x, t, context, picture)


@torch.no_grad()
def drawing(kind, steps):
    """The unconditional branch is told zeros for a context, and the control."""
    unet, control = networks(kind)
    x, context, picture = inputs_of(kind, DRAWN)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                              set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        told = predict(unet, control, x, t, context, picture)
        untold = predict(unet, control, x, t, torch.zeros_like(context), picture)
        x = scheduler.step(untold + GUIDANCE * (told - untold), t, x).prev_sample
    return x


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    args = parser.parse_args()
    for kind in STEMS:
        out, sketches, names, config = gradients(kind)
        results = {"out": out, "gradients": sketches}
        if kind == "text":
            results["losses"], results["trained"] = training(kind)
            results["ddim20"], results["ddim50"] = drawing(kind, 20), drawing(kind, 50)
        results = {key: np.asarray(value, dtype=np.float32) for key, value in results.items()}
        told = {key: value for key, value in config.items() if not key.startswith("_") or key == "_class_name"}
        base = {key: value for key, value in MODELS[f"unet_{kind}"].items()}
        path = args.out / f"controlnet_{kind}.safetensors"
        save_file(results, path, metadata={"config": json.dumps(told), "base": json.dumps(base), "names": json.dumps(names)})
        print(path, path.stat().st_size, {key: float(np.abs(value).max()) for key, value in results.items()})


if __name__ == "__main__":
    main()
