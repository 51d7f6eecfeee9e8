"""Times DiT's training step in PyTorch: the official model and loss, AdamW, and the average of the weights.

    python3 bench/pytorch_step.py --dit PATH_TO_DIT_CHECKOUT --hidden 192 --depth 6 --heads 3 --patch 4 \
        --size 32 --channels 3 --batch 32 --threads 2 --precision bf16

Prints one line of JSON with samples per second: the fastest and the middle of the rounds. The checkout is
facebookresearch/DiT; nothing of it is copied here. Data loading is left out, as it is on the other side.
"""

import argparse
import contextlib
import copy
import json
import statistics
import sys
import time

import torch


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dit", required=True, help="checkout of facebookresearch/DiT")
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--size", type=int, default=32, help="height and width of an image")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="steps in a round")
    parser.add_argument("--compile", action="store_true", help="torch.compile, where the version has it")
    return parser.parse_args()


def make_step(args, dit, create_diffusion):
    model = dit.DiT(input_size=args.size, patch_size=args.patch, in_channels=args.channels, hidden_size=args.hidden,
                    depth=args.depth, num_heads=args.heads, num_classes=args.classes).train()
    average = copy.deepcopy(model).requires_grad_(False)
    diffusion = create_diffusion("")
    fast = {"fused": True} if torch.__version__ >= "2.4" else {"foreach": True}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0, **fast)
    network = torch.compile(model) if args.compile else model
    precision = torch.autocast("cpu", torch.bfloat16) if args.precision == "bf16" else contextlib.nullcontext()
    weights, averages = list(model.parameters()), list(average.parameters())

    def step():
        x0 = torch.rand(args.batch, args.channels, args.size, args.size) * 2 - 1
        t = torch.randint(0, 1000, (args.batch,))
        y = torch.randint(0, args.classes, (args.batch,))
        with precision:
            loss = diffusion.training_losses(network, x0, t, dict(y=y))["loss"].mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            torch._foreach_mul_(averages, 0.9999)
            torch._foreach_add_(averages, weights, alpha=1 - 0.9999)

    return step


def main():
    args = parse()
    sys.path.insert(0, args.dit)
    import models as dit
    from diffusion import create_diffusion

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    step = make_step(args, dit, create_diffusion)
    for _ in range(3):
        step()
    seconds = []
    for _ in range(args.rounds):
        start = time.perf_counter()
        for _ in range(args.steps):
            step()
        seconds.append((time.perf_counter() - start) / args.steps)
    result = {name: getattr(args, name) for name in ("hidden", "depth", "heads", "patch", "size", "channels", "batch",
                                                     "threads", "precision", "compile")}
    result.update(torch=torch.__version__, samples_per_second=round(args.batch / min(seconds), 2),
                  samples_per_second_median=round(args.batch / statistics.median(seconds), 2),
                  step_seconds=round(min(seconds), 4))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
