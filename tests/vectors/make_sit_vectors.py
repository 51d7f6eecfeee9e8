"""Makes the reference vectors sit_*.safetensors from the official SiT code, run under PyTorch on the CPU.

    python3 make_sit_vectors.py --sit PATH_TO_SIT_CHECKOUT --out .

The checkout is willisma/SiT at 947f95b; nothing of it is copied here, its modules are imported and called. Needs what
make_dit_vectors.py needs, and torchdiffeq. README.md says what is in each file.
"""

import argparse
import copy
import pathlib
import sys

import torch

import make_dit_vectors as common

MODELS = {
    "sit_patch2": dict(input_size=8, patch_size=2, in_channels=4, hidden_size=36, depth=1, num_heads=4, num_classes=5,
                       learn_sigma=True),
    "sit_patch4": dict(input_size=12, patch_size=4, in_channels=3, hidden_size=24, depth=2, num_heads=3,
                       num_classes=2, learn_sigma=False),
}
SAMPLERS = {"euler50": ("euler", 50), "heun25": ("heun2", 25)}


class Given:
    """The official transport with noise and t that are given instead of drawn, called as DiT's diffusion is."""

    def __init__(self, transport):
        self.transport = transport

    def training_losses(self, model, x0, t, model_kwargs, noise):
        self.transport.sample = lambda x1: (t.to(x1), noise, x1)
        loss = self.transport.training_losses(model, x0, model_kwargs)["loss"]
        return {"mse": loss, "loss": loss}


def make_model(sit, config, generator):
    model = sit.SiT(**config).eval()  # eval: labels are used as given
    common.random_weights(model, generator)
    return model


def model_vectors(sit, transport, config, seed):
    generator = torch.Generator().manual_seed(seed)
    model = make_model(sit, config, generator)
    shape = (4, config["in_channels"], config["input_size"], config["input_size"])
    null_class = config["num_classes"]
    batch = {"x0": common.images(shape, generator), "t": torch.tensor([0, 1, 0.4371, 0.98765]),
             "y": torch.tensor([0, 1, null_class, null_class - 1]), "noise": torch.randn(shape, generator=generator)}
    x = torch.randn(shape, generator=generator)
    cfg = {"cfg.x": x[:2], "cfg.t": torch.zeros(2), "cfg.y": torch.tensor([1, 0])}
    with torch.no_grad():
        results = {"x": x, "out": model(x, batch["t"], batch["y"]), **batch, **cfg,
                   "x_t": transport.path_sampler.plan(batch["t"], batch["noise"], batch["x0"])[1],
                   **common.guided(model, cfg["cfg.x"], cfg["cfg.t"], cfg["cfg.y"], null_class,
                                   common.FORWARD_GUIDANCE)}
    given = Given(transport)
    terms, gradients = common.losses_and_gradients(model, given, **batch)
    results.update(terms)
    errors = common.rounding(model, given, results, gradients, batch, x)
    results.update({"w." + name: w for name, w in model.state_dict().items()})
    results.update({"g." + name: g for name, g in gradients.items()})
    return results, dict(config, flow=True, guidance_scale=common.FORWARD_GUIDANCE, float32_rounding=errors)


def settle(model, given, generator):
    """A short training on pictures of one colour per class, so that samples stay near 1."""
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    size, channels = common.RUN_MODEL["input_size"], common.RUN_MODEL["in_channels"]
    classes = common.RUN_MODEL["num_classes"]
    colours = common.images((classes + 1, channels, 1, 1), generator)
    for _ in range(1500):
        y = torch.randint(0, classes + 1, (32,), generator=generator)
        x0 = colours[y] + 0.2 * torch.randn((32, channels, size, size), generator=generator)
        noise, t = torch.randn(x0.shape, generator=generator), torch.rand(32, generator=generator)
        optimiser.zero_grad()
        given.training_losses(model, x0, t, dict(y=y), noise=noise)["loss"].mean().backward()
        optimiser.step()


def samples(model, sampler, start, y):
    """The official grid has num_steps points, so num_steps - 1 steps."""
    both, null = torch.cat([start, start]), torch.full_like(y, common.RUN_MODEL["num_classes"])
    arguments = dict(y=torch.cat([y, null]), cfg_scale=common.SAMPLE_GUIDANCE)
    out = {}
    for name, (method, steps) in SAMPLERS.items():
        draw = sampler.sample_ode(sampling_method=method, num_steps=steps + 1)
        with torch.no_grad():
            out[name] = draw(both, model.forward_with_cfg, **arguments)[-1][: len(start)]
    return out


def run_vectors(sit, transport, sampler, seed):
    generator = torch.Generator().manual_seed(seed)
    model, given = make_model(sit, common.RUN_MODEL, generator), Given(transport)
    settle(model, given, generator)
    size, channels = common.RUN_MODEL["input_size"], common.RUN_MODEL["in_channels"]
    shape = (common.RUN_STEPS, common.RUN_BATCH, channels, size, size)
    x0 = common.images(shape, generator)
    noise = torch.randn(shape, generator=generator)
    t = torch.rand(shape[:2], generator=generator)
    y = torch.randint(0, common.RUN_MODEL["num_classes"] + 1, shape[:2], generator=generator)
    out = {"w." + name: w for name, w in copy.deepcopy(model.state_dict()).items()}
    out.update({"train.x0": x0, "train.noise": noise, "train.t": t, "train.y": y})
    result = common.train(copy.deepcopy(model), given, (x0, noise, t, y), 0.0)
    out.update({"adamw." + name: value for name, value in result.items()})
    start, classes = torch.randn((2, *shape[2:]), generator=generator), torch.tensor([0, 2])
    made = samples(model, sampler, start, classes)
    twin = samples(common.double_twin(model), sampler, start.double(), classes)
    out.update({"sample." + name: value for name, value in {"start": start, "y": classes, **made}.items()})
    errors = {name: common.relative_error(made[name], twin[name]) for name in made}
    return out, dict(common.RUN_MODEL, flow=True, guidance_scale=common.SAMPLE_GUIDANCE,
                     learning_rate=common.LEARNING_RATE, ema_decay=common.EMA_DECAY, float32_rounding=errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sit", required=True, help="checkout of willisma/SiT")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    args = parser.parse_args()
    sys.path.insert(0, args.sit)
    import models as sit
    from transport import Sampler, create_transport

    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed, (name, config) in enumerate(MODELS.items(), start=300):
        common.save(args.out / f"{name}.safetensors", *model_vectors(sit, create_transport(), config, seed))
    transport = create_transport()
    common.save(args.out / "sit_run.safetensors", *run_vectors(sit, transport, Sampler(transport), seed=400))


if __name__ == "__main__":
    main()
