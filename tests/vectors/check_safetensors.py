#!/usr/bin/env python3
"""Compares safetensors files with the reference library: each must be read by it, and written by it again, the header's
entries and all data must be the same bytes in the same order. Wants safetensors (0.8 or later) and numpy.

    python3 check_safetensors.py FILE...
"""
import json
import sys

import numpy as np
from safetensors import TensorSpec, deserialize, serialize

NAMES = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
         "I64": "int64", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


def split(content):
    """Metadata, the other header entries in order, and the data of a file."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    return header.pop("__metadata__", None), list(header.items()), content[8 + length:]


def rewritten(content):
    """The same tensors and metadata as the reference library lays them out."""
    arrays, specs = [], {}
    for name, info in deserialize(content):
        arrays.append(np.frombuffer(bytes(info["data"]), np.uint8))
        specs[name] = TensorSpec(dtype=NAMES[info["dtype"]], shape=info["shape"], data_ptr=arrays[-1].ctypes.data,
                                 data_len=arrays[-1].size)
    return bytes(serialize(specs, split(content)[0]))


def main():
    differ = 0
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            content = file.read()
        same = split(content) == split(rewritten(content))
        print(f"{path}: {'as' if same else 'NOT as'} the reference library writes it, {len(split(content)[1])} tensors")
        differ += not same
    return differ > 0


if __name__ == "__main__":
    sys.exit(main())
