#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus that PyTorch, NumPy and Pillow make (the safetensors ones are older and stay).

    python3 make_corpus.py            (PyTorch, NumPy, Pillow)
"""

import argparse
import collections
import io
import json
import pathlib
import struct
import tarfile
import zipfile

import numpy as np
import torch
from PIL import Image

OUT = pathlib.Path(__file__).resolve().parent / "corpus"

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

OTHER_FORMATS = ["bmp_4", "bmp_565", "bmp_core_24", "bmp_rle4", "bmp_rle8", "bmp_v5_alpha", "gif_clear", "gif_interlaced",
                 "gif_small_frame", "tiff_16_big_endian", "tiff_1_group4", "tiff_big", "tiff_cmyk", "tiff_jpeg",
                 "tiff_multiplied", "tiff_palette", "tiff_planes", "tiff_predictor", "tiff_tiles", "avif", "avif_10",
                 "avif_alpha", "avif_frames"]


def picture(mode, form, **options):
    pixels = np.arange(9 * 7 * 4, dtype=np.uint8).reshape(7, 9, 4)
    image = Image.fromarray(pixels, "RGBA")
    image = image.convert("RGB").convert(mode) if mode != "RGBA" else image
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def write_pictures():
    turned = Image.Exif()
    turned[0x0112] = 6
    seeds = {
        "png_rgba": picture("RGBA", "PNG"),
        "png_palette": picture("P", "PNG", transparency=3),
        "png_grey": picture("L", "PNG"),
        "png_bits": picture("1", "PNG"),
        "jpeg": picture("RGB", "JPEG", exif=turned),
        "jpeg_progressive": picture("RGB", "JPEG", progressive=True, subsampling=2),
        "jpeg_cmyk": picture("CMYK", "JPEG"),
        "webp": picture("RGBA", "WEBP"),
        "webp_lossless": picture("RGBA", "WEBP", lossless=True, exif=turned),
    }
    for name, data in [*seeds.items(), *other_formats()]:
        (OUT / "image" / name).write_bytes(data)
    return seeds


def other_formats():
    """Some files of vectors/make_picture_vectors.py."""
    whole = (OUT.parent.parent / "vectors" / "pictures.safetensors").read_bytes()
    (size,) = struct.unpack_from("<Q", whole)
    header = json.loads(whole[8:8 + size])
    for name in OTHER_FORMATS:
        begin, end = header[f"{name}.file"]["data_offsets"]
        yield name, whole[8 + size + begin:8 + size + end]


def write_zips(pictures):
    members = {"train/a/1.png": pictures["png_grey"], "train/b/x/2.jpg": pictures["jpeg"], "val/a/3.webp": pictures["webp"]}
    labelled = {"1.png": pictures["png_grey"], "1.cls": b"10", "x/2.left.jpg": pictures["jpeg"], "x/2.cls": b"cat\n", "1.json": b"{}"}
    for name, content, packing in (("zip", members, zipfile.ZIP_DEFLATED), ("zip_stored", members, zipfile.ZIP_STORED),
                                   ("zip_labels", labelled, zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(OUT / "dataset" / name, "w", packing) as archive:
            for path, data in content.items():
                archive.writestr(zipfile.ZipInfo(path), data, packing)
    with tarfile.open(OUT / "dataset" / "labels", "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in labelled.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_tars(pictures):
    members = {"train/a/1.png": "png_grey", "train/b/x/2.jpg": "jpeg", "val/a/3.webp": "webp", ".hidden/4.png": "png_bits"}
    for name, mode, form in (("ustar", "w", tarfile.USTAR_FORMAT), ("pax", "w", tarfile.PAX_FORMAT), ("gnu", "w", tarfile.GNU_FORMAT),
                             ("gz", "w:gz", tarfile.USTAR_FORMAT), ("xz", "w:xz", tarfile.USTAR_FORMAT)):
        with tarfile.open(OUT / "dataset" / name, mode, format=form) as tar:
            for path, picture_name in members.items():
                long = "n" * 120 + "/" if name in ("pax", "gnu") else ""
                info = tarfile.TarInfo(long + path)
                info.size = len(pictures[picture_name])
                tar.addfile(info, io.BytesIO(pictures[picture_name]))


def main():
    for folder in ("image", "dataset"):
        (OUT / folder).mkdir(exist_ok=True)
    pictures = write_pictures()
    write_tars(pictures)
    write_zips(pictures)
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
