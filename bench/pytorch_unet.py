"""The other side of the comparison for Stable Diffusion: diffusers' own UNet and ControlNet, timed as bench/step.c times difftune's.

    python bench/pytorch_unet.py --task train --precision bf16 --variant channels_last

Needs diffusers beside PyTorch. Training is the step of diffusers' examples/controlnet/train_controlnet.py: the UNet frozen (in bf16 its
weights are bf16), the ControlNet's weights in f32 under autocast, mean square error of the noise, AdamW in its fused form; latents, contexts
and controls are made in memory; gradients are not clipped, as difftune's are not. Sampling is a step of DDIM in inference mode, with the weights in bf16
where that is asked for, guided in one pass of both halves. Weights are random; no gate is zero.

Speaks the protocol of bench/compare.py (pytorch_rounds.py).
"""

import argparse
import contextlib

import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch.nn import functional

import pytorch_rounds

UNET = dict(sample_size=64, in_channels=4, out_channels=4, cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=8, layers_per_block=2)
CONTROL = dict(in_channels=4, conditioning_channels=3, cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280), attention_head_dim=8,
               layers_per_block=2)
TOKENS, CONTEXT, FACTOR, STEPS, SAMPLING_STEPS = 77, 768, 8, 1000, 50


def make(kind, config, dtype, device):
    with torch.device("meta"):
        model = kind(**config)
    model = model.to(dtype).to_empty(device=device)
    for p in model.parameters():
        p.data.uniform_(-0.03, 0.03)
    return model


def prepared(model, args):
    if args.variant == "channels_last":
        return model.to(memory_format=torch.channels_last)
    return torch.compile(model) if args.variant == "compile" else model


def schedule():
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
                         steps_offset=1)


def dtype_of(args):
    return torch.bfloat16 if args.precision == "bf16" else torch.float32


def make_training_step(args):
    dtype, noising = dtype_of(args), schedule()
    unet = prepared(make(UNet2DConditionModel, UNET, dtype, args.device).eval().requires_grad_(False), args)
    control = make(ControlNetModel, CONTROL, torch.float32, args.device).train()
    if args.checkpointing:
        unet.enable_gradient_checkpointing()
        control.enable_gradient_checkpointing()
    optimiser = torch.optim.AdamW(control.parameters(), lr=1e-5, weight_decay=0, fused=True)
    control = prepared(control, args)
    side = args.latents

    def step():
        n = args.batch
        made = dict(dtype=dtype, device=args.device)
        latents, noise = torch.randn(2, n, 4, side, side, **made).unbind(0)
        context, picture = torch.randn(n, TOKENS, CONTEXT, **made), torch.rand(n, 3, FACTOR * side, FACTOR * side, **made)
        t = torch.randint(0, STEPS, (n,), device=args.device)
        noisy = noising.add_noise(latents, noise, t)
        with torch.autocast(args.device, torch.bfloat16) if dtype == torch.bfloat16 else contextlib.nullcontext():
            skips, middle = control(noisy, t, encoder_hidden_states=context, controlnet_cond=picture, return_dict=False)
        out = unet(noisy, t, encoder_hidden_states=context, down_block_additional_residuals=[s.to(dtype) for s in skips],
                   mid_block_additional_residual=middle.to(dtype), return_dict=False)[0]
        functional.mse_loss(out.float(), noise.float()).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def make_sampling_step(args):
    if args.variant == "compile" and args.device == "cpu":
        from torch._inductor import config as inductor  # noqa: PLC0415, slow to import
        inductor.freezing = True
    dtype, solver, n, side = dtype_of(args), schedule(), args.batch, args.latents
    unet = prepared(make(UNet2DConditionModel, UNET, dtype, args.device).eval().requires_grad_(False), args)
    solver.set_timesteps(SAMPLING_STEPS)
    parts = 2 if args.guidance != 1 else 1
    x = torch.randn(n, 4, side, side, dtype=dtype, device=args.device)
    context = torch.randn(parts * n, TOKENS, CONTEXT, dtype=dtype, device=args.device)
    at = [0]

    @torch.no_grad()
    def step():
        nonlocal x
        t = solver.timesteps[at[0] % SAMPLING_STEPS]
        at[0] += 1
        out = unet(torch.cat([x] * parts), t, encoder_hidden_states=context, return_dict=False)[0]
        if parts == 2:
            free, told = out.chunk(2)
            out = free + args.guidance * (told - free)
        x = solver.step(out, t, x, return_dict=False)[0]

    return step


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["train", "sample"], default="train")
    parser.add_argument("--latents", type=int, default=32, help="their side; pictures are 8 times as wide")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--guidance", type=float, default=1, help="of sampling; 1: none")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--checkpointing", action="store_true", help="of training")
    parser.add_argument("--variant", choices=["eager", "channels_last", "compile"], default="eager")
    pytorch_rounds.add_options(parser)
    return parser.parse_args()


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    pytorch_rounds.measure((make_training_step if args.task == "train" else make_sampling_step)(args), args, args.batch)


if __name__ == "__main__":
    main()
