"""The picture that test_resample.c makes too."""
import numpy as np


def picture(width, height):
    """Busy in all directions, and with flat black and white areas, where the bicubic filter overshoots."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3].astype(np.int64)
    busy = (x * 73 + y * 151 + c * 199 + x * y * 17 + x * x * (y + c) % 251 * 3) & 255
    flat = (x // 5 + y // 7 + c) % 2 * 255
    return np.where((x // 16 + y // 16) % 2 == 0, busy, flat).astype(np.uint8)
