"""Prints what scikit-image and SciPy say of the maps of test_convergence.c, for the table there."""
import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity


def ring(height, width, row, column, radius):
    """255 where the distance to a point is within a pixel of the radius."""
    y, x = np.mgrid[:height, :width]
    inside = ((y - row) ** 2 + (x - column) ** 2 < (radius + 1) ** 2) & ((y - row) ** 2 + (x - column) ** 2 >= radius**2)
    return np.where(inside, 255, 0).astype(np.uint8)


def noise(height, width, state):
    out = np.empty(height * width, np.uint8)
    for i in range(out.size):
        state = (state * 1103515245 + 12345) % 2**31
        out[i] = state >> 16 & 255
    return out.reshape(height, width)


def ssim(a, b, blur):
    a, b = (m.astype(np.float64) / 255 for m in (a, b))
    if blur:
        a, b = (gaussian_filter(m, blur, mode="nearest", truncate=4) for m in (a, b))
    return structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)


a, b = ring(48, 64, 20, 30, 12), ring(48, 64, 21, 33, 11)
n, m = noise(48, 64, 1), noise(48, 64, 2)
for blur in (0, 0.375, 2.5):
    print(blur, *("%.12f" % ssim(x, y, blur) for x, y in ((a, b), (a, n), (n, m))))
print("11x11", "%.12f" % ssim(a[10:21, 20:31], b[10:21, 20:31], 0.5))
print("mse", *("%.12f" % np.mean((x / 255.0 - y / 255.0) ** 2) for x, y in ((a, b), (n, m))))
print("accuracy", "%.12f" % np.mean(a == b), "%.12f" % np.mean(n // 32 == m // 32))
