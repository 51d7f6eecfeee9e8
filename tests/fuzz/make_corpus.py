#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus that PyTorch and NumPy make (the safetensors ones are older and stay).

    python3 make_corpus.py            (PyTorch, NumPy)
"""

import argparse
import collections
import io
import pathlib
import zipfile

import numpy as np
import torch

OUT = pathlib.Path(__file__).parent / "corpus"

SEEDS = {
    "plain": collections.OrderedDict(a=torch.ones(2, 2), b=torch.ones(1, dtype=torch.int64)),
    "checkpoint": {
        "ema": {"a": torch.arange(6).reshape(2, 3).t()},
        "opt": [{"lr": 0.5, "betas": (0.9, 0.99), 1: torch.nn.Parameter(torch.zeros(1))}, None, True],
        "args": argparse.Namespace(a=1, b="text"),
        "note": "n",
    },
    "newer": torch.ones(2, dtype=torch.uint16).expand(3, 2),
}


def main():
    (OUT / "pickle").mkdir(parents=True, exist_ok=True)
    (OUT / "npz").mkdir(exist_ok=True)
    for name, value in SEEDS.items():
        buffer = io.BytesIO()
        torch.save(value, buffer)
        (OUT / "tensor_file" / f"zip_{name}").write_bytes(buffer.getvalue())
        for protocol in (2, 4):
            old = io.BytesIO()
            if name != "newer":
                torch.save(value, old, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
                (OUT / "tensor_file" / f"old_{name}_{protocol}").write_bytes(old.getvalue())
            other = io.BytesIO()
            torch.save(value, other, pickle_protocol=protocol)
            with zipfile.ZipFile(other) as archive:
                (OUT / "pickle" / f"{name}_{protocol}").write_bytes(archive.read("archive/data.pkl"))
    arrays = {"mu": np.arange(3.0), "sigma": np.ones((2, 2), np.float32), "n": np.array(5), "u": np.zeros(2, np.uint8)}
    np.savez(OUT / "npz" / "stored", **arrays)
    np.savez_compressed(OUT / "npz" / "deflated", **arrays)
    for path in (OUT / "npz").glob("*.npz"):
        path.rename(path.with_suffix(""))


if __name__ == "__main__":
    main()
