"""Makes the reference vectors unet_*.safetensors with diffusers' UNet2DConditionModel, run under PyTorch on the CPU.

    python3 make_unet_vectors.py --out .

Needs torch, diffusers (made with 0.42.1), numpy and safetensors. Weights and inputs are not stored: both sides make them from
the tensors' names (numbers_of; tests/named_numbers.h). Of each gradient its length and its products with fixed
vectors are stored (sketch), of what comes out every number. Everything is computed in float64.
"""

import argparse
import json
import math
import pathlib

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.numpy import save_file

SKETCHES = 8
COMMON = dict(norm_num_groups=8, mid_block_type="UNetMidBlock2DCrossAttn")
MODELS = {
    "unet_text": dict(COMMON, sample_size=8, in_channels=4, out_channels=4, block_out_channels=(32, 64),
                      layers_per_block=2, attention_head_dim=(2, 4), cross_attention_dim=24,
                      down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                      up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")),
    "unet_label": dict(COMMON, sample_size=8, in_channels=3, out_channels=3, block_out_channels=(16, 24, 32),
                       layers_per_block=1, attention_head_dim=2, cross_attention_dim=20,
                       down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                       up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")),
}
CLASSES, TOKENS = 3, 5
TIMES = [0, 1, 437, 999]


def numbers_of(name, count):
    """Numbers in [-1, 1), 24 bits each: splitmix64 of FNV-1a of the name, plus the place."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = (start ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def tensor_of(name, shape):
    return torch.from_numpy(numbers_of(name, math.prod(shape)).reshape(shape))


def weight_of(name, shape):
    """Norms near one, biases and class tokens that count, matrices that keep a variance of one."""
    u = tensor_of(name, shape)
    if len(shape) == 1:
        w = (1 if "norm" in name and name.endswith(".weight") else 0) + 0.2 * u
    elif name.startswith("class_tokens"):
        w = u
    else:
        w = math.sqrt(3 / math.prod(shape[1:])) * u
    return w.float().double()


def sketch(name, gradient):
    g = gradient.double().flatten().numpy()
    rows = [numbers_of(f"{name}/{i}", g.size) @ g for i in range(SKETCHES)]
    return np.array([np.sqrt(g @ g), *rows], dtype=np.float32)


def fill(model):
    for name, p in model.named_parameters():
        p.data = weight_of(name, tuple(p.shape))


def unet_vectors(config, told):
    model = UNet2DConditionModel(**config).double().eval()
    fill(model)
    size, channels, n = config["sample_size"], config["in_channels"], len(TIMES)
    x = tensor_of("x", (n, channels, size, size))
    t = torch.tensor(TIMES)
    if told == "label":
        table = weight_of("class_tokens.weight", (CLASSES + 1, config["cross_attention_dim"])).requires_grad_()
        context = table[[0, CLASSES, 1, 0]][:, None]
    else:
        table = None
        context = tensor_of("context", (n, TOKENS, config["cross_attention_dim"]))
    middle = []
    model.mid_block.register_forward_hook(lambda module, args, out: middle.append(out.mean(dim=(2, 3))))
    out = model(x, t, context).sample
    (out * tensor_of("gradient", tuple(out.shape))).sum().backward()
    results = {"out": out.detach().float().numpy(), "features": middle[0].detach().float().numpy()}
    gradients = {name: p.grad for name, p in model.named_parameters()}
    if table is not None:
        gradients["class_tokens.weight"] = table.grad
    results["gradients"] = np.stack([sketch(name, g) for name, g in gradients.items()])
    return results, dict(model.config), list(gradients)


def save(path, tensors, config, names):
    """Row i of "gradients" is about names[i]."""
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    save_file(tensors, path, metadata={"config": json.dumps(config), "names": json.dumps(names)})
    print(path, path.stat().st_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    args = parser.parse_args()
    for name, config in MODELS.items():
        save(args.out / f"{name}.safetensors", *unet_vectors(config, name.removeprefix("unet_")))


if __name__ == "__main__":
    main()
