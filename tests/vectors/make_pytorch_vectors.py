#!/usr/bin/env python3
"""Writes tests/vectors/pytorch/: files of torch.save with random values, and the same tensors as safetensors.

    python3 make_pytorch_vectors.py            (PyTorch, safetensors)

NAME.safetensors holds what NAME.pt (the zip) and NAME.pth (the container before it) must give, under the names that the
reader makes: the keys on the way to a tensor, joined by dots. NAME.pK.pt is the zip with pickle protocol K.
"""

import argparse
import collections
import pathlib

import torch
from safetensors import safe_open
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "pytorch"


def kinds():
    """Every number type, a scalar, an empty tensor."""
    state = collections.OrderedDict()
    for name in ("float32", "float16", "bfloat16", "float64"):
        state[name] = torch.randn(3, 5).to(getattr(torch, name))
    for name in ("int64", "int32", "int16", "int8", "uint8"):
        kind = getattr(torch, name)
        low = 0 if name == "uint8" else -100
        state[name] = torch.randint(low, 100, (7,)).to(kind)
    state["int64"][0] = -(2**62)
    state["bool"] = torch.tensor([True, False, True])
    state["scalar"] = torch.tensor(-1.25)
    state["empty"] = torch.zeros(0, 4)
    state["special"] = torch.tensor([float("inf"), float("-inf"), -0.0, 1e-45])
    return state


def strides():
    """Views: storage order is not tensor order, storages are shared, values repeat or are left out."""
    base = torch.randn(6, 4)
    conv = torch.randn(3, 3, 3, 32).permute(3, 2, 0, 1)  # as the FID Inception file: shape 32x3x3x3, see stride below
    inception = torch.empty_strided((32, 3, 3, 3), (1, 32, 288, 96))
    inception.copy_(conv)
    return {
        "base": base,
        "transposed": base.t(),
        "rows": base[2:5],
        "columns": base[:, 1:3],
        "every_second": base[::2, ::2],
        "one_row": base[3:4],
        "expanded": base[0].expand(5, 4),
        "expanded_scalar": torch.tensor(2.5).expand(2, 3),
        "windows": torch.as_strided(base, (4, 3), (4, 1), 2),
        "inception": inception,
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "integers": torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1),
    }


def inception():
    """The kinds of tensor in the published FID Inception file, which came from TensorFlow: shapes are cut down, names and
    the order of storage are that file's (kernel rows, columns, inputs, outputs; for fc inputs, outputs)."""
    shapes = {
        "Conv2d_1a_3x3.conv.weight": (8, 3, 3, 3),
        "Conv2d_3b_1x1.conv.weight": (8, 6, 1, 1),
        "Mixed_5b.branch5x5_2.conv.weight": (6, 4, 5, 5),
        "Mixed_6b.branch7x7_2.conv.weight": (5, 4, 1, 7),
        "Mixed_6b.branch7x7_3.conv.weight": (6, 5, 7, 1),
        "Mixed_7b.branch3x3_2a.conv.weight": (5, 4, 1, 3),
        "Mixed_7b.branch3x3_2b.conv.weight": (5, 4, 3, 1),
    }
    state = {name: torch.randn(h, w, i, o).permute(3, 2, 0, 1) for name, (o, i, h, w) in shapes.items()}
    for name in ("weight", "bias", "running_mean", "running_var"):
        state[f"Conv2d_1a_3x3.bn.{name}"] = torch.randn(8)
    state["Conv2d_1a_3x3.bn.num_batches_tracked"] = torch.tensor(0)
    state["fc.weight"] = torch.randn(12, 7).t()
    state["fc.bias"] = torch.randn(7)
    return collections.OrderedDict(state)


class Stranger:
    """Any class: its state, with a tensor in it, must be passed over."""

    def __init__(self):
        self.tensor = torch.ones(2)
        self.text = "state"


def checkpoint():
    """What DiT's train.py saves: {model, ema, opt, args}, and more that is not a tensor."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    ema = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model(torch.randn(5, 3)).square().sum().backward()
    opt.step()
    return {
        "model": model.state_dict(),
        "ema": ema.state_dict(),
        "opt": opt.state_dict(),
        "args": argparse.Namespace(data_path="nowhere", epochs=3, nested={"x": [1, 2.5, None]}),
        "stranger": Stranger(),
        "note": "texts of the outermost dictionary are metadata",
        "epoch": 7,
        ("a", "tuple"): torch.ones(3),
        "parameters": [torch.nn.Parameter(torch.randn(2)), (torch.randn(1), {5: torch.randn(2, 2)})],
        "set": {1, 2},
        "bytes": b"some",
        "long": 1 << 100,
    }


def newer():
    """Types without a storage class of their own."""
    return {
        "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
        "uint32": torch.tensor([1, 4294967295], dtype=torch.uint32),
        "uint64": torch.tensor([1, 2**63 - 1], dtype=torch.uint64),
        "part": torch.arange(10).to(torch.uint16)[3:6],
    }


def dit():
    """A training checkpoint of a DiT whose average is the model of dit_patch8.safetensors; `model` is all zeros."""
    with safe_open(OUT.parent / "dit_patch8.safetensors", "pt") as f:
        ema = collections.OrderedDict((key[2:], f.get_tensor(key)) for key in f.keys() if key.startswith("w."))
    model = {key: torch.zeros(1).expand(tensor.shape) for key, tensor in ema.items()}
    more = {"opt": {"state": {}}, "args": argparse.Namespace(model="DiT"), "difftune.heads": "1"}
    return {"model": model, "ema": ema, **more}


def flatten(value, name=""):
    if isinstance(value, torch.Tensor):
        yield name or "tensor", value.detach()
    items = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, item in items:
        if isinstance(key, (str, int)):
            yield from flatten(item, f"{name}.{key}" if name else str(key))


def write(name, value, protocols=(), old=True):
    tensors = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in flatten(value)}
    save_file(tensors, OUT / f"{name}.safetensors")
    torch.save(value, OUT / f"{name}.pt")
    if old:
        torch.save(value, OUT / f"{name}.pth", _use_new_zipfile_serialization=False)
    for protocol in protocols:
        torch.save(value, OUT / f"{name}.p{protocol}.pt", pickle_protocol=protocol)
        torch.save(value, OUT / f"{name}.p{protocol}.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=False)


def main():
    torch.manual_seed(20)
    OUT.mkdir(exist_ok=True)
    write("kinds", kinds())
    write("strides", strides())
    write("checkpoint", checkpoint(), protocols=(3, 4, 5))
    write("newer", newer(), old=False)
    write("bare", torch.randn(2, 3).t())
    torch.save(dit(), OUT / "dit.pt")
    torch.manual_seed(21)
    write("inception", inception())
    torch.jit.trace(torch.nn.Linear(2, 1), torch.ones(1, 2)).save(OUT / "script.pt")  # to be refused


if __name__ == "__main__":
    main()
