"""The other side of the comparison: a DiT in plain PyTorch, timed as bench/step.c times difftune's.

    python bench/pytorch_dit.py --task train --model DiT-S/2 --batch 16 --precision bf16 --variant compile
    python bench/pytorch_dit.py --device cuda --model DiT-XL/2 --batch 32 --precision bf16 --variant compile

Written as a careful user of PyTorch would: fused attention, autocast or bf16 weights, AdamW in its fused form, the moving
average through foreach functions, torch.compile on request. The work is the same on both sides: forward, loss with learned
variance, backward, AdamW and moving average on data made in memory; or steps of 50-step DDIM with guidance.

Parameter names are those of facebookresearch/DiT. Outputs, loss and gradients were once compared with that code on random
weights (patch 2 and 4, t from 0 to 999): in f32 outputs and loss were equal, gradients within 5e-7 of the largest. That check
was thrown away.

Speaks the protocol of bench/compare.py (pytorch_rounds.py).
"""

import argparse
import contextlib
import math

import torch
from torch import nn
from torch.nn import functional

import pytorch_rounds

NAMED = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}
STEPS, SAMPLING_STEPS, GUIDANCE, EMA_DECAY = 1000, 50, 1.5, 0.9999


# ---- the network ----


def modulate(x, shift, scale):
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        n, s, d = x.shape
        q, k, v = self.qkv(x).view(n, s, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, s, d))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.width = width
        self.attn = Attention(width, heads)
        self.mlp = Mlp(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x, cond):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(cond).chunk(6, dim=1)
        norm = functional.layer_norm(x, (self.width,), eps=1e-6)
        x = x + gate1.unsqueeze(1) * self.attn(modulate(norm, shift1, scale1))
        norm = functional.layer_norm(x, (self.width,), eps=1e-6)
        return x + gate2.unsqueeze(1) * self.mlp(modulate(norm, shift2, scale2))


class Final(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.width = width
        self.linear = nn.Linear(width, outputs)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x, cond):
        shift, scale = self.adaLN_modulation(cond).chunk(2, dim=1)
        return self.linear(modulate(functional.layer_norm(x, (self.width,), eps=1e-6), shift, scale))


class DiT(nn.Module):
    """out[N,2C,H,W] for x[N,C,H,W], timesteps t[N] and labels y[N]; the label table's last row is the null class."""

    def __init__(self, size, channels, patch, width, depth, heads, classes, dropout=0.1):
        super().__init__()
        self.patch, self.channels, self.classes, self.dropout = patch, channels, classes, dropout
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(channels, width, patch, stride=patch)})
        self.t_embedder = nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))})
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(classes + 1, width)})
        self.pos_embed = nn.Parameter(positions(size // patch, width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.final_layer = Final(width, patch * patch * 2 * channels)
        frequency = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
        self.register_buffer("frequency", frequency, persistent=False)

    def fill(self):
        """Weights that leave no gradient and no gate at zero."""
        for name, p in self.named_parameters():
            if name != "pos_embed":
                nn.init.normal_(p, std=0.02)
        return self

    def forward(self, x, t, y):
        angle = t[:, None].float() * self.frequency
        time_embedding = torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1).to(self.pos_embed.dtype)
        if self.training and self.dropout > 0:
            y = torch.where(torch.rand(y.shape[0], device=y.device) < self.dropout, self.classes, y)
        cond = self.t_embedder["mlp"](time_embedding) + self.y_embedder["embedding_table"](y)
        h = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            h = block(h, cond)
        h = self.final_layer(h, cond)
        n, _, height, width = x.shape
        p, outputs = self.patch, 2 * self.channels
        h = h.view(n, height // p, width // p, p, p, outputs)
        return h.permute(0, 5, 1, 3, 2, 4).reshape(n, outputs, height, width)


def positions(grid, width):
    """[1, grid * grid, width]: sines and cosines of the column, then of the row."""
    omega = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    angles = [at.reshape(-1, 1).double() * omega for at in (column, row)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1).float()[None]


# ---- diffusion: the loss with learned variance, and DDIM ----


class Schedule:
    def __init__(self, device="cpu"):
        beta = torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64)
        abar = torch.cumprod(1 - beta, 0)
        previous = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
        variance = beta * (1 - previous) / (1 - abar)
        log_variance = torch.log(torch.cat([variance[1:2], variance[1:]]))
        table = (abar.sqrt(), (1 - abar).sqrt(), (1 / abar).sqrt(), (1 / abar - 1).sqrt(),
                 beta * previous.sqrt() / (1 - abar), (1 - previous) * (1 - beta).sqrt() / (1 - abar), log_variance,
                 torch.log(beta))
        self.abar = abar
        self.rows = torch.stack([row.float() for row in table], dim=1).to(device)

    def at(self, t):
        return [row.view(-1, 1, 1, 1) for row in self.rows[t].unbind(1)]


def normal_cdf(x):
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def pixel_likelihood(x, mean, log_scale):
    """Log probability of the 1/127.5 wide bin around x."""
    centred, inverse = x - mean, torch.exp(-log_scale)
    above, below = normal_cdf(inverse * (centred + 1 / 255)), normal_cdf(inverse * (centred - 1 / 255))
    inside = torch.log((above - below).clamp(min=1e-12))
    low, high = torch.log(above.clamp(min=1e-12)), torch.log((1 - below).clamp(min=1e-12))
    return torch.where(x < -0.999, low, torch.where(x > 0.999, high, inside))


def diffusion_loss(model, schedule_rows, x0, noise, t, y):
    """Mean over samples of the squared error of the noise and, in bits, the bound that teaches the variance."""
    signal, spread, recip, recipm1, mean_x0, mean_xt, low, high = [r.view(-1, 1, 1, 1) for r in schedule_rows.unbind(1)]
    xt = signal * x0 + spread * noise
    eps, v = model(xt, t, y).float().chunk(2, dim=1)
    mse = (noise - eps).square().mean(dim=(1, 2, 3))
    log_variance = low + (v + 1) / 2 * (high - low)
    predicted = mean_x0 * (recip * xt - recipm1 * eps.detach()) + mean_xt * xt
    true = mean_x0 * x0 + mean_xt * xt
    kl = 0.5 * (log_variance - low - 1 + torch.exp(low - log_variance) + (true - predicted).square() * torch.exp(-log_variance))
    likelihood = -pixel_likelihood(x0, predicted, 0.5 * log_variance)
    vb = torch.where(t == 0, likelihood.mean(dim=(1, 2, 3)), kl.mean(dim=(1, 2, 3))) / math.log(2)
    return (mse + vb).mean()


# ---- the two tasks ----


def sizes(args):
    if args.model == "demo":
        return dict(size=32, channels=3, patch=4, width=192, depth=6, heads=3, classes=9)
    letter, patch = args.model.removeprefix("DiT-").split("/")
    depth, width, heads = NAMED[letter]
    return dict(size=32, channels=4, patch=int(patch), width=width, depth=depth, heads=heads, classes=1000)


def compiled(function, args):
    return torch.compile(function) if args.variant == "compile" else function


def fastest_adamw(weights):
    try:
        return torch.optim.AdamW(weights, lr=1e-4, weight_decay=0, fused=True)
    except (RuntimeError, ValueError):
        return torch.optim.AdamW(weights, lr=1e-4, weight_decay=0, foreach=True)


def make_training_step(args, shape):
    model = DiT(**shape).fill().train().to(args.device)
    weights = [p for p in model.parameters() if p.requires_grad]
    average = [p.detach().clone() for p in weights]
    optimiser = fastest_adamw(weights)
    schedule, loss_of = Schedule(args.device), compiled(diffusion_loss, args)
    dim = (args.batch, shape["channels"], shape["size"], shape["size"])

    def micro_step():
        t = torch.randint(0, STEPS, (args.batch,), device=args.device)
        y = torch.randint(0, shape["classes"], (args.batch,), device=args.device)
        x0, noise = torch.rand(dim, device=args.device) * 2 - 1, torch.randn(dim, device=args.device)
        with autocast(args):
            loss = loss_of(model, schedule.rows[t], x0, noise, t, y)
        (loss / args.accumulation).backward()

    def step():
        for _ in range(args.accumulation):
            micro_step()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(average, weights, 1 - EMA_DECAY)

    return step


def autocast(args):
    return torch.autocast(args.device, torch.bfloat16) if args.precision == "bf16" else contextlib.nullcontext()


def make_sampling_step(args, shape):
    """One step of DDIM. Guidance is one pass over both halves; bf16 keeps the weights in bf16."""
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    model = DiT(**shape).fill().eval().requires_grad_(False).to(args.device, dtype)
    if args.variant == "compile" and args.device == "cpu":
        from torch._inductor import config as inductor  # noqa: PLC0415, slow to import
        inductor.freezing = True
    network, schedule = compiled(model, args), Schedule()
    kept = torch.linspace(0, STEPS - 1, SAMPLING_STEPS).round().long()
    x = torch.randn(args.batch, shape["channels"], shape["size"], shape["size"], device=args.device)
    y = torch.cat([torch.randint(0, shape["classes"], (args.batch,)), torch.full((args.batch,), shape["classes"])]).to(args.device)
    at = [SAMPLING_STEPS - 1]

    @torch.no_grad()
    def step():
        nonlocal x
        i = at[0]
        at[0] = i - 1 if i > 1 else SAMPLING_STEPS - 1
        t = torch.full((2 * args.batch,), int(kept[i]), device=args.device)
        out = network(torch.cat([x, x]).to(dtype), t, y).float()
        cond, free = out[:, :shape["channels"]].chunk(2)
        eps = torch.cat([free[:, :3] + GUIDANCE * (cond[:, :3] - free[:, :3]), cond[:, 3:]], dim=1)
        here, there = float(schedule.abar[kept[i]]), float(schedule.abar[kept[i - 1]])
        x0 = (x - math.sqrt(1 - here) * eps) / math.sqrt(here)
        x = math.sqrt(there) * x0 + math.sqrt(1 - there) * eps

    return step


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["train", "sample"], default="train")
    parser.add_argument("--model", default="demo", help="demo, DiT-S/2 .. DiT-XL/8")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--variant", choices=["eager", "compile"], default="eager")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    pytorch_rounds.add_options(parser)
    return parser.parse_args()


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    step = (make_training_step if args.task == "train" else make_sampling_step)(args, sizes(args))
    pytorch_rounds.measure(step, args, args.batch * args.accumulation)


if __name__ == "__main__":
    main()
