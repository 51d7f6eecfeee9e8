"""Makes the reference vectors of this folder from the official DiT code, run under PyTorch on the CPU.

    python3 make_dit_vectors.py --dit PATH_TO_DIT_CHECKOUT --out .

The checkout is facebookresearch/DiT at ed81ce2; nothing of it is copied here, its modules are imported and called.
Needs torch, numpy, timm 0.6 and safetensors. README.md says what is in each file and what to beware of.
"""

import argparse
import contextlib
import copy
import json
import math
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

MODELS = {
    "dit_patch1": dict(input_size=4, patch_size=1, in_channels=3, hidden_size=24, depth=2, num_heads=2,
                       num_classes=3, learn_sigma=True),
    "dit_patch2": dict(input_size=8, patch_size=2, in_channels=4, hidden_size=36, depth=1, num_heads=4,
                       num_classes=5, learn_sigma=True),
    "dit_patch4": dict(input_size=12, patch_size=4, in_channels=3, hidden_size=24, depth=2, num_heads=3,
                       num_classes=2, learn_sigma=False),
    "dit_patch8": dict(input_size=16, patch_size=8, in_channels=1, hidden_size=16, depth=1, num_heads=1,
                       num_classes=4, learn_sigma=True),
}
RUN_MODEL = dict(input_size=4, patch_size=1, in_channels=4, hidden_size=16, depth=2, num_heads=2, num_classes=3,
                 learn_sigma=True)
RUN_STEPS, RUN_BATCH, LEARNING_RATE, EMA_DECAY = 10, 4, 1e-3, 0.99
RUN_TENSORS = ["x_embedder.proj.weight", "t_embedder.mlp.0.bias", "y_embedder.embedding_table.weight",
               "blocks.0.attn.proj.weight", "blocks.1.mlp.fc2.weight", "final_layer.linear.weight"]
FORWARD_GUIDANCE, SAMPLE_GUIDANCE = 2.5, 1.5


def random_weights(model, generator):
    """The published start has zero gates and a zero last layer, which would hide most of the network: every weight
    but the positions is drawn so that activations stay near 1."""
    for name, p in model.named_parameters():
        if name == "pos_embed":
            continue
        std = 0.1 if p.dim() == 1 else 0.5 if "table" in name else 1 / math.sqrt(p[0].numel())
        p.data.normal_(0, std, generator=generator)


def make_model(dit, config, generator):
    model = dit.DiT(**config).eval()  # eval: labels are used as given
    random_weights(model, generator)
    return model


def images(shape, generator):
    """Like pictures in [-1, 1]; some pixels lie on the edges, where the likelihood at t = 0 has its own rule."""
    return (0.8 * torch.randn(shape, generator=generator)).clamp(-1, 1)


def comparable_noise(model, diffusion, x0, t, y, noise, generator):
    """Where t = 0, noise near the prediction, and on every 16th value so far off that the probability is clamped.
    Between the two the float32 likelihood is a difference of numbers near 1: the official result there is rounding,
    and nothing could be compared with it."""
    with torch.no_grad():
        guess = model(diffusion.q_sample(x0, t, noise), t, y)[:, : x0.shape[1]]
    offset = 0.5 * torch.randn(x0.shape, generator=generator)
    offset.view(-1)[::16] = 9
    return torch.where((t == 0).view(-1, 1, 1, 1), guess + offset, noise)


def guided(model, x, t, y, null_class, scale):
    """First half of the official guided forward pass, and of the same with every noise channel guided. With fewer
    than three channels and learned variance the official slice would guide variances too; that one is left out."""
    channels = x.shape[1]
    both = [torch.cat([x, x]), torch.cat([t, t]), torch.cat([y, torch.full_like(y, null_class)])]
    cond, uncond = model(*both).chunk(2)
    every = torch.cat([uncond[:, :channels] + scale * (cond - uncond)[:, :channels], cond[:, channels:]], dim=1)
    out = {"cfg.all": every}
    if channels >= 3:
        out["cfg.three"] = model.forward_with_cfg(*both, scale)[: len(x)]
    return out


def double_twin(model):
    """The same model computed in float64, to learn how much of a float32 result is rounding. The embedding of t stays
    float32, as the official code makes it."""
    twin = copy.deepcopy(model).double()
    twin.t_embedder.mlp.register_forward_pre_hook(lambda module, args: (args[0].double(),))
    return twin


def relative_error(a, b):
    return float((a.double() - b.double()).abs().max() / b.double().abs().max())


def losses_and_gradients(model, diffusion, x0, noise, t, y):
    model.zero_grad()
    terms = diffusion.training_losses(model, x0, t, dict(y=y), noise=noise)
    terms["loss"].mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {name: terms[name].detach() for name in ("mse", "vb") if name in terms}, gradients


def rounding(model, diffusion, results, gradients, batch, x):
    """Largest relative distance of the float32 results from float64 arithmetic."""
    twin = double_twin(model)
    terms, twin_gradients = losses_and_gradients(twin, diffusion, batch["x0"].double(), batch["noise"].double(),
                                                 batch["t"], batch["y"])
    with torch.no_grad():
        errors = {"out": relative_error(results["out"], twin(x.double(), batch["t"], batch["y"]))}
    errors.update({name: relative_error(results[name], terms[name]) for name in terms})
    errors["gradient"] = max(relative_error(g, twin_gradients[name]) for name, g in gradients.items())
    return errors


def model_vectors(dit, create_diffusion, config, seed):
    generator = torch.Generator().manual_seed(seed)
    model = make_model(dit, config, generator)
    diffusion = create_diffusion("", learn_sigma=config["learn_sigma"])
    shape = (4, config["in_channels"], config["input_size"], config["input_size"])
    null_class = config["num_classes"]
    batch = {"x0": images(shape, generator), "t": torch.tensor([0, 999, 1, 437]),
             "y": torch.tensor([0, 1, null_class, null_class - 1])}
    noise = torch.randn(shape, generator=generator)
    batch["noise"] = comparable_noise(model, diffusion, noise=noise, generator=generator, **batch)
    x = torch.randn(shape, generator=generator)
    cfg = {"cfg.x": x[:2], "cfg.t": torch.tensor([980, 21]), "cfg.y": torch.tensor([1, 0])}
    with torch.no_grad():
        results = {"x": x, "out": model(x, batch["t"], batch["y"]), **batch, **cfg,
                   "x_t": diffusion.q_sample(batch["x0"], batch["t"], batch["noise"]),
                   **guided(model, cfg["cfg.x"], cfg["cfg.t"], cfg["cfg.y"], null_class, FORWARD_GUIDANCE)}
    terms, gradients = losses_and_gradients(model, diffusion, **batch)
    results.update(terms)
    errors = rounding(model, diffusion, results, gradients, batch, x)
    results.update({"w." + name: w for name, w in model.state_dict().items()})
    results.update({"g." + name: g for name, g in gradients.items()})
    return results, dict(config, guidance_scale=FORWARD_GUIDANCE, float32_rounding=errors)


def settle(model, diffusion, generator):
    """A short training on pictures of one colour per class. Without it samples grow to hundreds, and an error of 1 in
    a sampler's last step would pass unseen."""
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    size, classes = RUN_MODEL["input_size"], RUN_MODEL["num_classes"]
    colours = images((classes + 1, RUN_MODEL["in_channels"], 1, 1), generator)
    for _ in range(1500):
        y = torch.randint(0, classes + 1, (32,), generator=generator)
        x0 = colours[y] + 0.2 * torch.randn((32, RUN_MODEL["in_channels"], size, size), generator=generator)
        t = torch.randint(0, 1000, (32,), generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        optimiser.zero_grad()
        diffusion.training_losses(model, x0, t, dict(y=y), noise=noise)["loss"].mean().backward()
        optimiser.step()


def train(model, diffusion, batches, weight_decay):
    """AdamW and the average of the weights, as the official training loop does them; labels are not dropped."""
    average = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=weight_decay)
    losses = []
    for x0, noise, t, y in zip(*batches):
        loss = diffusion.training_losses(model, x0, t, dict(y=y), noise=noise)["loss"].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for a, w in zip(average.parameters(), model.parameters()):
                a.mul_(EMA_DECAY).add_(w, alpha=1 - EMA_DECAY)
        losses.append(loss.detach())
    weights, averages = model.state_dict(), average.state_dict()
    out = {"losses": torch.stack(losses)}
    for name in RUN_TENSORS:
        out["w." + name], out["ema." + name] = weights[name], averages[name]
    return out


@contextlib.contextmanager
def given_noise(noises):
    """Inside, the sampler's noise calls are answered from the list, the same for the guided and unguided half."""
    source, original = iter(noises), torch.randn_like
    torch.randn_like = lambda x: torch.cat([(n := next(source)), n]).to(x)
    try:
        yield
    finally:
        torch.randn_like = original


def leading_diffusion(gaussian, respace, count):
    """Stable Diffusion's spacing, with its last step, which goes to abar[0] and not to 1."""
    betas = gaussian.get_named_beta_schedule("linear", 1000)
    d = respace.SpacedDiffusion(use_timesteps=[i * (1000 // count) + 1 for i in range(count)], betas=betas,
                                model_mean_type=gaussian.ModelMeanType.EPSILON,
                                model_var_type=gaussian.ModelVarType.LEARNED_RANGE, loss_type=gaussian.LossType.MSE)
    d.alphas_cumprod_prev[0] = 1 - betas[0]
    return d


def samples(model, create_diffusion, leading, start, noise, y):
    arguments = dict(noise=torch.cat([start, start]), clip_denoised=False, device="cpu",
                     model_kwargs=dict(y=torch.cat([y, torch.full_like(y, RUN_MODEL["num_classes"])]),
                                       cfg_scale=SAMPLE_GUIDANCE))
    shape = (2 * len(start), *start.shape[1:])
    ddim = {"ddim50": create_diffusion("ddim50"), "sections50": create_diffusion("50"), "leading50": leading}
    out = {name: d.ddim_sample_loop(model.forward_with_cfg, shape, **arguments) for name, d in ddim.items()}
    with given_noise(noise):
        out["ancestral10"] = create_diffusion("10").p_sample_loop(model.forward_with_cfg, shape, **arguments)
    with given_noise(noise):
        out["ddim10_eta1"] = create_diffusion("ddim10").ddim_sample_loop(model.forward_with_cfg, shape, eta=1.0,
                                                                         **arguments)
    return {name: both[: len(start)] for name, both in out.items()}


def run_vectors(dit, create_diffusion, leading, seed):
    generator = torch.Generator().manual_seed(seed)
    model = make_model(dit, RUN_MODEL, generator)
    diffusion = create_diffusion("")
    settle(model, diffusion, generator)
    shape = (RUN_STEPS, RUN_BATCH, RUN_MODEL["in_channels"], RUN_MODEL["input_size"], RUN_MODEL["input_size"])
    x0 = images(shape, generator)
    noise = torch.randn(shape, generator=generator)
    t = torch.randint(1, 1000, shape[:2], generator=generator)
    y = torch.randint(0, RUN_MODEL["num_classes"] + 1, shape[:2], generator=generator)
    out = {"w." + name: w for name, w in copy.deepcopy(model.state_dict()).items()}
    out.update({"train.x0": x0, "train.noise": noise, "train.t": t, "train.y": y})
    for prefix, weight_decay in {"adamw.": 0.0, "adamw_decay.": 0.01}.items():
        result = train(copy.deepcopy(model), diffusion, (x0, noise, t, y), weight_decay)
        out.update({prefix + name: value for name, value in result.items()})
    start = torch.randn((2, *shape[2:]), generator=generator)
    step_noise = torch.randn((10, *start.shape), generator=generator)
    drawn = {"start": start, "noise": step_noise, "y": torch.tensor([0, 2])}
    made = samples(model, create_diffusion, leading, **drawn)
    twin = samples(double_twin(model), create_diffusion, leading, start.double(), step_noise, drawn["y"])
    out.update({"sample." + name: value for name, value in {**drawn, **made}.items()})
    errors = {name: relative_error(made[name], twin[name]) for name in made}
    return out, dict(RUN_MODEL, guidance_scale=SAMPLE_GUIDANCE, learning_rate=LEARNING_RATE, ema_decay=EMA_DECAY,
                     float32_rounding=errors)


def schedule_tables(d, at):
    names = dict(beta="betas", abar="alphas_cumprod", abar_prev="alphas_cumprod_prev",
                 posterior_variance="posterior_variance", posterior_log_variance="posterior_log_variance_clipped",
                 posterior_mean_x0="posterior_mean_coef1", posterior_mean_xt="posterior_mean_coef2",
                 sqrt_recip_abar="sqrt_recip_alphas_cumprod", sqrt_recipm1_abar="sqrt_recipm1_alphas_cumprod")
    return {ours: [float(getattr(d, theirs)[i]) for i in at] for ours, theirs in names.items()}


def step_vectors(create_diffusion, generator):
    """Single sampler steps on arrays of numbers; the model is a constant."""
    cases = []
    draw = lambda: torch.randn((1, 1, 2, 3), generator=generator).double()
    for learned in (True, False):
        d = create_diffusion("ddim50", learn_sigma=learned)
        for i in (49, 20, 1, 0):
            x, eps, v, noise = draw(), draw(), draw(), draw()
            output = torch.cat([eps, v], dim=1) if learned else eps
            torch_t = torch.tensor([i])
            model = lambda *args, **kwargs: output
            original, torch.randn_like = torch.randn_like, lambda x: noise
            result = dict(learned=learned, index=i, eta=0.4,
                          ancestral=d.p_sample(model, x, torch_t, clip_denoised=False)["sample"],
                          ddim=d.ddim_sample(model, x, torch_t, clip_denoised=False)["sample"],
                          ddim_eta=d.ddim_sample(model, x, torch_t, clip_denoised=False, eta=0.4)["sample"],
                          x=x, eps=eps, v=v, noise=noise)
            torch.randn_like = original
            cases.append({k: a.flatten().tolist() if torch.is_tensor(a) else a for k, a in result.items()})
    return cases


def schedule_vectors(create_diffusion, respace, seed):
    at = [0, 1, 2, 20, 41, 99, 250, 499, 750, 980, 998, 999]
    spaced = {}
    for text in ("ddim2", "ddim10", "ddim50", "ddim100", "ddim334", "ddim1000", "1", "2", "7", "10", "50", "250",
                 "333", "999", "1000"):
        spaced[text] = sorted(respace.space_timesteps(1000, text))
    tables = {text: dict(at=list(range(7)), **schedule_tables(create_diffusion(text), range(7)))
              for text in ("ddim10", "7", "50", "250")}
    return dict(full=dict(at=at, **schedule_tables(create_diffusion(""), at)), respaced=tables, timesteps=spaced,
                steps=step_vectors(create_diffusion, torch.Generator().manual_seed(seed)))


def save(path, tensors, config):
    arrays = {name: np.ascontiguousarray(a.detach().numpy()) for name, a in tensors.items()}
    save_file(arrays, path, metadata={"config": json.dumps(config)})
    print(f"{path.name}: {path.stat().st_size} bytes {config.get('float32_rounding', '')}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dit", required=True, help="checkout of facebookresearch/DiT")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    args = parser.parse_args()
    sys.path.insert(0, args.dit)
    import models as dit
    from diffusion import create_diffusion, gaussian_diffusion, respace

    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed, (name, config) in enumerate(MODELS.items()):
        save(args.out / f"{name}.safetensors", *model_vectors(dit, create_diffusion, config, seed))
    leading = leading_diffusion(gaussian_diffusion, respace, 50)
    save(args.out / "dit_run.safetensors", *run_vectors(dit, create_diffusion, leading, seed=100))
    with open(args.out / "schedule.json", "w") as file:
        json.dump(schedule_vectors(create_diffusion, respace, seed=200), file)
        file.write("\n")


if __name__ == "__main__":
    main()
