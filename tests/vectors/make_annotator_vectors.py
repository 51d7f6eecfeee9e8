#!/usr/bin/env python3
"""Writes annotators.safetensors: maps and networks' results of annotator_reference.py for pictures and weights of formula.py. With the
folder of PiDiNet's published files as an argument also what these make of a picture.

Needs torch, numpy, safetensors and opencv-python-headless 4."""
import pathlib
import sys

import cv2
import numpy as np
import torch
from safetensors.numpy import save_file

import annotator_reference as reference
from formula import noise, picture

here = pathlib.Path(__file__).parent
torch.set_grad_enabled(False)
out = {}

for height, width in [(80, 100), (47, 33), (1, 40), (40, 1), (2, 2), (1, 1), (3, 5)]:
    out[f"canny.{height}x{width}"] = reference.canny(picture("canny", width, height))

for height, width in [(64, 72), (37, 29), (1, 40), (40, 1), (1, 1), (90, 8)]:
    soft = picture("soft", width, height)[:, :, 0]
    soft = np.maximum(cv2.GaussianBlur(soft, (0, 0), 2.0), np.where(soft > 250, 255, 0).astype(np.uint8))
    soft[height // 2:height // 2 + 4] = 255  # a plateau, where ties decide
    out[f"soft.{height}x{width}"], out[f"sketch.{height}x{width}"] = soft, reference.sketch(soft)

for height, width in [(64, 96), (37, 53)]:
    logits = [(4 * noise(f"logit {b}", (height >> b) * (width >> b))).astype(np.float32).reshape(height >> b, width >> b)
              for b in range(5)]
    out[f"hed_map.{height}x{width}"] = reference.hed_map(logits, height, width)


def weights(shapes):
    return {name: reference.made(name, shape).double() for name, shape in shapes.items()}


small = picture("network", 50, 37)
for b, logit in enumerate(reference.hed_logits(weights(reference.hed_shapes()), small)):
    out[f"hed.logit.{b}"] = logit.astype(np.float32)
out["pidinet.made"] = reference.pidinet_edges(weights(reference.pidinet_shapes(20, 8)), small).astype(np.float32)
if len(sys.argv) > 1:
    for name in ("table5_pidinet", "table5_pidinet-tiny"):
        w = {k: v.double() for k, v in reference.pidinet_weights(f"{sys.argv[1]}/{name}.pth").items()}
        out[f"pidinet.{name}"] = reference.pidinet_edges(w, small).astype(np.float32)
save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, here / "annotators.safetensors")
for name, v in out.items():
    print(name, v.shape, v.dtype, "mean", float(v.mean()), "least", float(v.min()), "most", float(v.max()))
