#!/usr/bin/env python3
"""Compares `difftune annotate` with OpenCV and PyTorch on a folder of pictures: how many pixels of each kind of map differ.

    check_annotators.py PROGRAM PICTURES [PIDINET_WEIGHTS]

HED and the sketch of it run with weights made by a formula, as the published ones are not at hand. Needs torch, numpy, pillow,
safetensors and opencv-python-headless 4."""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import annotator_reference as reference

program, pictures = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
torch.set_grad_enabled(False)


def hed(weights):
    def run(rgb):
        return reference.hed_map(reference.hed_logits(weights, rgb), *rgb.shape[:2])
    return run


def sketch(weights):
    def run(rgb):
        return reference.sketch(hed(weights)(rgb))
    return run


def pidinet(path):
    weights = reference.pidinet_weights(path)
    return lambda rgb: (reference.pidinet_edges(weights, rgb) * 255.0).clip(0, 255).astype(np.uint8)


def compare(kind, expected, options, folder):
    out = folder / kind
    subprocess.run([program, "annotate", kind, pictures, out, *options], check=True, stderr=subprocess.DEVNULL)
    differ, most, pixels, count = 0, 0, 0, 0
    for path in sorted(p for p in out.rglob("*.png")):
        source = next(p for p in (pictures / path.relative_to(out)).parent.glob(path.stem + ".*"))
        with Image.open(source) as picture:
            rgb = np.asarray(picture.convert("RGB"))
        found = np.asarray(Image.open(path)).astype(int)
        assert (found == found[:, :, :1]).all(), path
        off = np.abs(found[:, :, 0] - expected(rgb))
        differ, most, pixels, count = differ + (off > 0).sum(), max(most, off.max()), pixels + off.size, count + 1
    print(f"{kind}: {count} pictures, {differ} of {pixels} pixels differ, by {most} of 255 at most", flush=True)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    compare("canny", reference.canny, [], folder)
    made = {name: reference.made(name, shape) for name, shape in reference.hed_shapes().items()}
    save_file(made, folder / "hed.safetensors")
    for kind, expected in (("hed", hed), ("sketch", sketch)):
        compare(kind, expected(made), ["--annotator-weights", folder / "hed.safetensors"], folder)
    if len(sys.argv) > 3:
        compare("pidinet", pidinet(sys.argv[3]), ["--annotator-weights", sys.argv[3]], folder)
