#!/usr/bin/env python3
"""Makes resample_vectors.txt: what Pillow's resize and DiT's centre crop give for pictures made by a formula.

Needs NumPy and Pillow below 13, which changed the order of the passes for some shapes:
    python3 tests/vectors/make_resample_vectors.py > tests/vectors/resample_vectors.txt
Each line: what, width, height, new width, new height, SHA-256 of the resulting RGB bytes, or of the float32 values for
pillow-float (bicubic on images of mode F) and tf1 (TensorFlow 1's resize_bilinear, written anew; torch-fidelity's has
the same bits, see check_inception.py). test_resample.c makes the same pictures and compares the hashes, so that a
single wrong bit is found.
"""
import hashlib

import numpy as np
import PIL
from busy_picture import picture
from PIL import Image

FILTERS = {"box": Image.BOX, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
RESIZES = [(1, 1, 1, 1), (1, 1, 7, 5), (2, 3, 1, 1), (5, 5, 2, 2), (17, 9, 17, 4), (17, 9, 6, 9), (31, 33, 32, 32),
           (64, 48, 32, 24), (101, 67, 13, 29), (40, 30, 123, 77), (255, 3, 4, 200), (333, 250, 299, 299)]
CROPS = [(1, 1, 8), (1, 50, 4), (3, 2, 5), (32, 32, 32), (33, 32, 32), (45, 32, 32), (64, 64, 32), (65, 131, 32),
         (63, 200, 32), (127, 129, 32), (250, 333, 64), (301, 199, 256), (640, 427, 48), (29, 23, 24), (19, 13, 6)]


def centre_crop(image, size):
    """The rule of DiT's center_crop_arr, written anew."""
    while min(image.size) >= 2 * size:
        image = image.resize((image.size[0] // 2, image.size[1] // 2), Image.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.size[0] * scale), round(image.size[1] * scale)), Image.BICUBIC)
    left, top = (image.size[0] - size) // 2, (image.size[1] - size) // 2
    return image.crop((left, top, left + size, top + size))


def pillow_float(pixels, size):
    planes = [Image.fromarray(pixels[:, :, c].astype(np.float32)).resize(size, Image.BICUBIC) for c in range(3)]
    return np.stack([np.asarray(p) for p in planes], 2)


def tf1(pixels, size):
    """Corner to corner: output i lies at i * in/out. All in float32."""
    pixels = pixels.astype(np.float32)
    for axis, count in ((1, size[0]), (0, size[1])):
        place = np.arange(count, dtype=np.float32) * np.float32(pixels.shape[axis] / count)
        low = np.minimum(place.astype(np.int64), pixels.shape[axis] - 1)
        high = np.minimum(low + 1, pixels.shape[axis] - 1)
        fraction = (place - low.astype(np.float32)).reshape((-1, 1) if axis == 1 else (-1, 1, 1))
        a, b = np.take(pixels, low, axis), np.take(pixels, high, axis)
        pixels = a + (b - a) * fraction
    return pixels


def line(what, before, after, size=None):
    digest = hashlib.sha256(np.asarray(after).tobytes()).hexdigest()
    print(what, *before.size, *(size or after.size), digest)


assert int(PIL.__version__.split(".")[0]) < 13, "Pillow 13 filters some shapes in another order"
print("# made by make_resample_vectors.py with Pillow", PIL.__version__)
for width, height, new_width, new_height in RESIZES:
    before = Image.fromarray(picture(width, height))
    for name, method in FILTERS.items():
        line(name, before, before.resize((new_width, new_height), method))
    for name, method in (("pillow-float", pillow_float), ("tf1", tf1)):
        size = (new_width, new_height)
        line(name, before, method(np.asarray(before), size), size)
for width, height, size in CROPS:
    before = Image.fromarray(picture(width, height))
    line("crop", before, centre_crop(before, size))
