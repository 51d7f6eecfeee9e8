#!/usr/bin/env python3
"""Writes midas.safetensors, midas_names.txt, segmentation.safetensors and segmentation_names.txt: what the networks of ControlNet's
demos make, in double, with weights by a formula (depth_reference.py), and what OpenCV and NumPy make of it.

    python3 make_depth_vectors.py --controlnet CHECKOUT [--full FOLDER]

--full writes the same of networks of the published widths into a folder; test_depth and test_segmentation take it as
their argument. Needs torch, timm, opencv-python-headless, safetensors."""
import argparse
import pathlib

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

import depth_reference as reference

parser = argparse.ArgumentParser()
parser.add_argument("--controlnet", required=True)
parser.add_argument("--full", type=pathlib.Path)
options = parser.parse_args()
folder = options.full or pathlib.Path(__file__).parent
full = options.full is not None
torch.set_grad_enabled(False)


def write_names(path, shapes, unused):
    with open(path, "w") as f:
        for name, shape in shapes.items():
            if not name.startswith(unused):
                print(name, *shape, file=f)


def depth_image(depth):
    """annotator/midas/__init__.py"""
    part = depth - depth.min()
    part = part / part.max()
    return part, (part * np.float32(255)).clip(0, 255).astype(np.uint8)


def normal_image(depth, background=0.4):
    part, _ = depth_image(depth)
    x = cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=3)
    y = cv2.Sobel(depth, cv2.CV_32F, 0, 1, ksize=3)
    z = np.ones_like(x) * (np.pi * 2.0)
    x[part < background] = 0
    y[part < background] = 0
    normal = np.stack([x, y, z], axis=2)
    normal /= np.sum(normal**2.0, axis=2, keepdims=True) ** 0.5
    return (normal * 127.5 + 127.5).clip(0, 255).astype(np.uint8)[:, :, ::-1].copy()


def rough_depths():
    """Depths of several sizes, smooth, rough and of one value."""
    rng = np.random.default_rng(3)
    smooth = cv2.GaussianBlur(rng.normal(size=(37, 53)).astype(np.float32) * 900, (0, 0), 4) + 300
    wild = np.exp(rng.normal(size=(20, 19)) * 4).astype(np.float32)
    flat = rng.normal(size=(16, 33)).astype(np.float32) * np.float32(0.5)
    line = rng.normal(size=(1, 9)).astype(np.float32)
    return dict(smooth=smooth, wild=wild, flat=flat, line=line)


def make_depth():
    net = reference.midas(options.controlnet, reference.FULL_DEPTH if full else reference.SMALL_DEPTH)
    shapes = reference.fill(net)
    write_names(folder / "midas_names.txt", shapes,
                ("pretrained.model.norm.", "pretrained.model.head.", "scratch.refinenet4.resConfUnit1."))
    net = net.double()
    out = {}
    for name, (height, width) in dict(depth=(64, 96), odd=(50, 100), full=(384, 384)).items():
        if (name == "full") != full:
            continue
        x = torch.from_numpy(reference.picture(f"picture {name}", width, height)).double() / 127.5 - 1
        x = x.permute(2, 0, 1)[None]
        if name == "odd":  # to the nearest multiples of 64
            x = F.interpolate(x, (64, 128), mode="bilinear")
        y = net(x)[:, None]
        if name == "odd":
            y = F.interpolate(y, (height, width), mode="bilinear")
        out[name] = y[0, 0].float().numpy()
        print(name, out[name].shape, "mean", out[name].mean(), "zero", (out[name] == 0).mean())
    if not full:
        for name, depth in rough_depths().items():
            out[f"{name}.depth"], out[f"{name}.bytes"] = depth, depth_image(depth)[1]
            out[f"{name}.normal"] = normal_image(depth)
    save_file(out, folder / "midas.safetensors")


def make_segmentation():
    net = reference.Segmentor(options.controlnet, reference.FULL_SEG if full else reference.SMALL_SEG)
    shapes = reference.fill(net)
    write_names(folder / "segmentation_names.txt", shapes, "auxiliary_head.")
    net = net.double().eval()
    out = {}
    mean, std = np.array([[123.675, 116.28, 103.53]]), np.array([[58.395, 57.12, 57.375]])
    for name, (height, width) in dict(small=(30, 40), square=(64, 64), full=(512, 512)).items():
        if (name == "full") != full:
            continue
        rgb = reference.picture(f"picture {name}", width, height)
        scale = min(2048 / max(height, width), 512 / min(height, width))
        seen = (int(width * scale + 0.5), int(height * scale + 0.5))
        x = cv2.resize(rgb, seen, interpolation=cv2.INTER_LINEAR)  # the demo gives RGB where BGR is expected
        x = cv2.cvtColor(x.astype(np.float32), cv2.COLOR_BGR2RGB)
        x = cv2.multiply(cv2.subtract(x, mean), 1 / std)
        logits = net(torch.from_numpy(x).double().permute(2, 0, 1)[None])
        # every so many positions, that the file stays small
        out[f"{name}.logits"] = logits[0, :, 3::16, 5::16].permute(1, 2, 0).contiguous().float().numpy()
        y = F.interpolate(logits, x.shape[:2], mode="bilinear")
        y = F.interpolate(y, (height, width), mode="bilinear")
        best = y[0].topk(2, dim=0)
        out[f"{name}.labels"] = best.indices[0].to(torch.uint8).numpy()
        out[f"{name}.lead"] = (best.values[0] - best.values[1]).float().numpy()
        labels, counts = np.unique(out[f"{name}.labels"], return_counts=True)
        print(name, logits.shape, "largest", float(logits.abs().max()), "labels", len(labels), counts.max())
    if not full:
        for name, (old, new) in dict(grown=((5, 7), (19, 23)), shrunk=((30, 40), (13, 17)), line=((1, 9), (3, 4))).items():
            rgb = reference.picture(f"bytes {name}", old[1], old[0])
            out[f"{name}.bytes"] = cv2.resize(rgb, new[::-1], interpolation=cv2.INTER_LINEAR)
    save_file(out, folder / "segmentation.safetensors")


folder.mkdir(exist_ok=True)
make_depth()
make_segmentation()
