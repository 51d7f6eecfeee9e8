#!/usr/bin/env python3
"""Makes demo_resize_vectors.txt: what ControlNet's resize_image makes, with OpenCV, of pictures made by a formula.

Needs NumPy and OpenCV (4.10 and 5.0 give the same bits):
    python3 tests/vectors/make_demo_resize_vectors.py > tests/vectors/demo_resize_vectors.txt
Each line: width, height, side asked for, new width, new height, SHA-256 of the resulting RGB bytes.
"""
import hashlib

import cv2
import numpy as np
from busy_picture import picture

SIZES = [(64, 64, 64), (1, 1, 64), (40, 30, 64), (77, 50, 64), (333, 500, 512), (101, 67, 128), (63, 64, 64), (500, 40, 128),  # grow
         (256, 128, 64), (192, 192, 64), (256, 192, 64), (1024, 512, 128), (90, 100, 64), (500, 333, 256), (801, 600, 512),
         (640, 480, 448), (130, 4096, 128), (97, 353, 96), (1000, 999, 64),  # shrink
         (550, 512, 512), (90, 64, 64), (512, 100, 64), (255, 213, 192), (64, 97, 64)]  # the long side may grow


def resize_image(image, resolution):
    """annotator/util.py of lllyasviel/ControlNet."""
    height, width, _ = image.shape
    k = float(resolution) / min(float(height), float(width))
    new_height, new_width = (int(np.round(side * k / 64.0)) * 64 for side in (float(height), float(width)))
    return cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LANCZOS4 if k > 1 else cv2.INTER_AREA)


if __name__ == "__main__":
    print(f"# made by make_demo_resize_vectors.py with OpenCV {cv2.__version__}")
    for width, height, side in SIZES:
        out = resize_image(picture(width, height), side)
        print(width, height, side, out.shape[1], out.shape[0], hashlib.sha256(np.ascontiguousarray(out).tobytes()).hexdigest())
