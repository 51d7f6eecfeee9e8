"""Makes samplers.safetensors: samples that diffusers' schedulers draw with a network whose answer is a formula.

    python3 make_sampler_vectors.py [--out .]

Needs torch, numpy, scipy, safetensors and diffusers (made with 0.42.1). README.md says what is in the file.

The network is the exact one for data that are +m or -m, each with deviation DEVIATION, independently at every value; m depends
on the channel and the class. test_sampler_reference.c has the same formula. The noise is that of the program (src/base/rng.h).
"""

import argparse
import json
import pathlib

import diffusers
import numpy as np
import torch
from safetensors.numpy import save_file

SHAPE, CLASSES, SEED = (2, 2, 2), (0, 3), 11
DEVIATION = 0.3
STEPS = (10, 25, 50)
NOISY = ("ddim_eta1", "ddpm", "ddpm_learned")
START, STEP = 8, 9  # purposes of random numbers
BETAS = dict(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", num_train_timesteps=1000)
ABAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))

# name here, scheduler, its arguments, spacings; "ddim" is diffusers' leading without offset, "leading" has the offset 1.
SAMPLERS = [
    ("ddim", diffusers.DDIMScheduler, dict(clip_sample=False), ("ddim", "leading", "trailing")),
    ("ddim_eta1", diffusers.DDIMScheduler, dict(clip_sample=False), ("ddim",)),
    ("ddpm", diffusers.DDPMScheduler, dict(clip_sample=False, variance_type="fixed_large"), ("ddim",)),
    ("ddpm_learned", diffusers.DDPMScheduler, dict(clip_sample=False, variance_type="learned_range"), ("ddim",)),
    ("dpm++2m", diffusers.DPMSolverMultistepScheduler, {}, ("linspace", "leading", "trailing", "karras")),
    ("unipc", diffusers.UniPCMultistepScheduler, {}, ("linspace", "leading", "trailing", "karras")),
    ("heun", diffusers.HeunDiscreteScheduler, {}, ("linspace", "leading", "trailing", "karras")),
    ("euler", diffusers.EulerDiscreteScheduler, {}, ("linspace", "leading", "trailing", "karras")),
]


def philox(seed, purpose, step, sample, position):
    """The four words of one position: Philox-4x32-10."""
    c, k = [position, sample, step, purpose], [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def normals(purpose, step):
    """One array of normals for each sample."""
    out = []
    for sample in range(len(CLASSES)):
        values = []
        for position in range(int(np.prod(SHAPE)) // 4):
            w = philox(SEED, purpose, step, sample, position)
            for a, b in ((w[0], w[1]), (w[2], w[3])):
                radius, angle = np.sqrt(-2 * np.log((a + 1) * 2.0**-32)), 2 * np.pi * b * 2.0**-32
                values += [radius * np.cos(angle), radius * np.sin(angle)]
        out.append(values)
    return torch.tensor(np.array(out, np.float32).reshape(len(CLASSES), *SHAPE))


def network(x, t, velocity):
    """Prediction and raw variance. The network knows whole steps, whatever fraction a scheduler asks at."""
    t = int(np.rint(t))
    x = x.double()
    alpha, sigma = ABAR[t] ** 0.5, (1 - ABAR[t]) ** 0.5
    channel = torch.arange(SHAPE[0]).reshape(1, -1, 1, 1)
    label = torch.tensor(CLASSES).reshape(-1, 1, 1, 1)
    m = 0.5 + 0.2 * channel + 0.1 * label
    variance = (alpha * DEVIATION) ** 2 + sigma**2
    eps = sigma * (x - alpha * m * torch.tanh(alpha * m * x / variance)) / variance
    raw = torch.sin(3 * x + 0.01 * t) * 1.5
    answer = alpha * eps - sigma * (x - sigma * eps) / alpha if velocity else eps
    return answer.float(), raw.float()


def make_scheduler(kind, arguments, spacing, velocity):
    spaced = dict(timestep_spacing={"ddim": "leading", "karras": "linspace"}.get(spacing, spacing))
    if spacing == "karras":
        spaced["use_karras_sigmas"] = True
    if spacing == "leading":
        spaced["steps_offset"] = 1
    if kind is diffusers.DDIMScheduler:
        spaced["set_alpha_to_one"] = spacing != "leading"
    return kind(**BETAS, prediction_type="v_prediction" if velocity else "epsilon", **spaced, **arguments)


def step(scheduler, name, answer, raw, t, x, number):
    """number: that of the step here, counted down to 0."""
    if name not in NOISY:
        return scheduler.step(answer, t, x).prev_sample
    noise = normals(STEP, number)
    if name == "ddim_eta1":
        return scheduler.step(answer, t, x, eta=1.0, variance_noise=noise).prev_sample
    given = diffusers.schedulers.scheduling_ddpm.randn_tensor
    diffusers.schedulers.scheduling_ddpm.randn_tensor = lambda *_, **__: noise
    output = torch.cat([answer, raw], 1) if name == "ddpm_learned" else answer
    x = scheduler.step(output, t, x).prev_sample
    diffusers.schedulers.scheduling_ddpm.randn_tensor = given
    return x


def draw(name, kind, arguments, spacing, steps, velocity):
    scheduler = make_scheduler(kind, arguments, spacing, velocity)
    scheduler.set_timesteps(steps)
    x = normals(START, 0)
    if name in ("heun", "euler"):  # these hold x / alpha; the start here has deviation 1 whatever the first noise level
        x = x * (scheduler.sigmas[0] ** 2 + 1) ** 0.5
    for i, t in enumerate(scheduler.timesteps):
        answer, raw = network(scheduler.scale_model_input(x, t), float(t), velocity)
        x = step(scheduler, name, answer, raw, t, x, steps - 1 - i)
    return x.numpy()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."))
    out = parser.parse_args().out
    tensors = {}
    for name, kind, arguments, spacings in SAMPLERS:
        for spacing in spacings:
            for velocity in (False, True):
                if velocity and name == "ddpm_learned":
                    continue
                predicts = "velocity" if velocity else "noise"
                tensors[f"{name}.{spacing}.{predicts}"] = np.stack(
                    [draw(name, kind, arguments, spacing, n, velocity) for n in STEPS])
    config = dict(diffusers=diffusers.__version__, steps=STEPS, classes=CLASSES, seed=SEED, deviation=DEVIATION)
    save_file(tensors, out / "samplers.safetensors", metadata=dict(config=json.dumps(config)))


if __name__ == "__main__":
    main()
