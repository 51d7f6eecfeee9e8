"""Numbers made by a formula, which tests/formula.h repeats: value i of NAME is a multiple of splitmix64(fnv1a(NAME) + i). So networks
of many megabytes can be proven without keeping their weights."""
import numpy as np


def splitmix64(x):
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def noise(name, count):
    """`count` numbers in [-1, 1), exact in double."""
    with np.errstate(over="ignore"):
        bits = splitmix64(np.uint64(fnv1a(name)) + np.arange(count, dtype=np.uint64))
    return (bits >> np.uint64(32)).astype(np.float64) / 2.0**31 - 1


def picture(name, width, height):
    """Smooth and rough parts, as bytes [height, width, 3]."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3].astype(np.int64)
    rough = ((noise(name, height * width * 3).reshape(height, width, 3) + 1) * 128).astype(np.int64)
    smooth = (x * 200 // width + y * 50 // height + c * 20) % 256
    return np.where((x * 4 // width + y * 4 // height) % 2 == 0, rough, smooth).astype(np.uint8)
