"""Makes dit_distil.safetensors: the loss and gradients of a tuned DiT that keeps its base's predictions, by PyTorch.

    python3 make_distil_vectors.py --dit PATH_TO_DIT_CHECKOUT

The base is the model of dit_run.safetensors, the tuned one the same with every weight moved a little (`moved`, which
test_reference.c repeats). The checkout is facebookresearch/DiT at ed81ce2: its modules are imported and called. Needs torch, numpy,
timm 0.6 and safetensors. README.md says what is in the file.
"""

import argparse
import copy
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
KEPT = ["x_embedder.proj.weight", "t_embedder.mlp.0.bias", "y_embedder.embedding_table.weight",
        "blocks.0.attn.proj.weight", "blocks.1.mlp.fc2.weight", "final_layer.linear.weight", "final_layer.linear.bias"]


def moved(name, w):
    """Value i of n becomes w + 0.02 sin(0.7 i + n)."""
    if name == "pos_embed":
        return w
    i = np.arange(w.numel(), dtype=np.float64)
    return w + torch.from_numpy((0.02 * np.sin(0.7 * i + w.numel())).astype(np.float32)).view(w.shape)


def read_base(dit):
    with safe_open(HERE / "dit_run.safetensors", "pt") as f:
        config = json.loads(f.metadata()["config"])
        weights = {k[2:]: f.get_tensor(k) for k in f.keys() if k.startswith("w.")}
    names = ("input_size", "patch_size", "in_channels", "hidden_size", "depth", "num_heads", "num_classes", "learn_sigma")
    base = dit.DiT(**{k: config[k] for k in names}).eval()
    base.load_state_dict(weights)
    tuned = copy.deepcopy(base)
    tuned.load_state_dict({k: moved(k, w) for k, w in weights.items()})
    return base, tuned, config


def distance(base, tuned, x, t, y, null_class):
    """Mean square between the two predictions of the noise; the base is told nothing and gives no gradient."""
    channels = x.shape[1]
    with torch.no_grad():
        kept = base(x, t, torch.full_like(y, null_class))[:, :channels]
    return ((tuned(x, t, y)[:, :channels] - kept) ** 2).mean(dim=(1, 2, 3))


def own_loss(diffusion, tuned, x0, noise, t, y):
    return diffusion.training_losses(tuned, x0, t, dict(y=y), noise=noise)["loss"].mean()


def gradients(tuned, loss):
    tuned.zero_grad()
    loss.backward()
    found = dict(tuned.named_parameters())
    return {"g." + name: found[name].grad.clone() for name in KEPT}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dit", required=True, help="checkout of facebookresearch/DiT")
    args = parser.parse_args()
    sys.path.insert(0, args.dit)
    import models as dit
    from diffusion import create_diffusion

    torch.set_num_threads(1)
    base, tuned, config = read_base(dit)
    diffusion = create_diffusion("")
    generator = torch.Generator().manual_seed(17)
    shape = (4, config["in_channels"], config["input_size"], config["input_size"])
    null = config["num_classes"]
    x0 = (0.8 * torch.randn(shape, generator=generator)).clamp(-1, 1)
    noise = torch.randn(shape, generator=generator)
    t, y = torch.tensor([437, 912, 60, 700]), torch.tensor([0, 2, null, null])
    xt = diffusion.q_sample(x0, t, noise)
    out = {"x0": x0, "noise": noise, "t": t, "y": y}

    # Two samples that are learned, two that are retained: of a bank or of the user's pictures, which is the same loss.
    kept = distance(base, tuned, xt[2:], t[2:], y[2:], null)
    loss = own_loss(diffusion, tuned, x0[:2], noise[:2], t[:2], y[:2]) + kept.mean()
    out.update({"split.loss": loss[None], "split.distance": kept})
    out.update({"split." + name: g for name, g in gradients(tuned, loss).items()})

    # SDFT: two more terms on all four.
    abar = torch.tensor(diffusion.alphas_cumprod)[t].float()
    near, far = distance(base, tuned, xt, t, y, null), distance(base, tuned, noise, t, y, null)
    loss = own_loss(diffusion, tuned, x0, noise, t, y)
    loss = loss + 0.1 * ((1 - abar) ** 3 * near).mean() + 0.1 * ((1 - abar) ** 50 * far).mean()
    out.update({"sdft.loss": loss[None], "sdft.distance": torch.cat([near, far])})
    out.update({"sdft." + name: g for name, g in gradients(tuned, loss).items()})
    arrays = {name: np.ascontiguousarray(a.detach().numpy()) for name, a in out.items()}
    save_file(arrays, HERE / "dit_distil.safetensors")


if __name__ == "__main__":
    main()
