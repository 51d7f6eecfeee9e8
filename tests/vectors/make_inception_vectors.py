#!/usr/bin/env python3
"""Writes inception_names.txt (name and shape of every convolution) and inception.safetensors: what pytorch-fid's network
makes, in double, of two pictures with the weights of inception_reference.py. Needs torch, torchvision, pytorch-fid,
safetensors."""
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

import inception_reference as reference

here = pathlib.Path(__file__).parent
weights = reference.state()
with open(here / "inception_names.txt", "w") as f:
    for name, value in weights.items():
        if name.endswith(".conv.weight"):
            print(name.removesuffix(".conv.weight"), *value.shape, file=f)
net = reference.network(weights).double()
pictures = np.stack([reference.picture(f"picture {i}", 299, 299) for i in range(2)])
x = (torch.from_numpy(pictures).double().permute(0, 3, 1, 2) - 128) / 128
pool, spatial, logits = reference.outputs(net, x)
save_file({k: v.float().numpy() for k, v in (("pool", pool), ("spatial", spatial), ("logits", logits))},
          here / "inception.safetensors")
for name, v in (("pool", pool), ("spatial", spatial), ("logits", logits)):
    print(name, tuple(v.shape), "mean", float(v.mean()), "std", float(v.std()), "largest", float(v.abs().max()))
