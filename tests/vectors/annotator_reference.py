"""What ControlNet's edge annotators do, said again with PyTorch and OpenCV, for make_annotator_vectors.py and check_annotators.py.
Needs torch, numpy and opencv-python-headless 4."""
import cv2
import numpy as np
import torch
import torch.nn.functional as F

from formula import noise

# ---- weights by a formula, which test_annotators.c repeats ----


def made(name, shape):
    """Float32 values that keep a network's activations in bounds from layer to layer."""
    r = noise(name, int(np.prod(shape)))
    if name == "norm":
        r = 100 + 20 * r
    elif name.endswith("projection.weight"):
        r = r / 64
    elif name.endswith(".weight"):
        r = r * np.sqrt((6 if ".convs." in name else 2) / np.prod(shape[1:]))
    else:
        r = 0.25 * r
    return torch.from_numpy(r.astype(np.float32).reshape(shape))


# ---- Canny ----


def canny(rgb):
    return cv2.Canny(rgb, 100, 200)


# ---- HED ----

HED_SIZES = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]


def hed_shapes():
    shapes, inputs = {"norm": (1, 3, 1, 1)}, 3
    for b, (convs, width) in enumerate(HED_SIZES, 1):
        for k in range(convs):
            shapes[f"block{b}.convs.{k}.weight"] = (width, inputs, 3, 3)
            shapes[f"block{b}.convs.{k}.bias"] = (width,)
            inputs = width
        shapes[f"block{b}.projection.weight"] = (1, width, 1, 1)
        shapes[f"block{b}.projection.bias"] = (1,)
    return shapes


def hed_logits(w, rgb):
    h, logits = torch.from_numpy(rgb).to(w["norm"].dtype).permute(2, 0, 1)[None] - w["norm"], []
    for b, (convs, _) in enumerate(HED_SIZES, 1):
        if b > 1:
            h = F.max_pool2d(h, 2)
        for k in range(convs):
            h = F.relu(F.conv2d(h, w[f"block{b}.convs.{k}.weight"], w[f"block{b}.convs.{k}.bias"], padding=1))
        logits.append(F.conv2d(h, w[f"block{b}.projection.weight"], w[f"block{b}.projection.bias"])[0, 0].numpy())
    return logits


def hed_map(logits, height, width):
    full = [cv2.resize(m.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) for m in logits]
    mean = np.mean(np.stack(full, axis=2), axis=2).astype(np.float64)
    return (1 / (1 + np.exp(-mean)) * 255.0).clip(0, 255).astype(np.uint8)


def sketch(soft):
    blurred = cv2.GaussianBlur(soft.astype(np.float32), (0, 0), 3.0)
    lines = [np.zeros((3, 3), np.uint8) for _ in range(4)]
    lines[0][1, :] = lines[1][:, 1] = 1
    lines[2][range(3), range(3)] = lines[3][range(3), [2, 1, 0]] = 1
    ridge = np.any([cv2.dilate(blurred, line) == blurred for line in lines], axis=0)
    strokes = np.where(ridge & (blurred > 127), 255, 0).astype(np.uint8)
    return np.where(cv2.GaussianBlur(strokes, (0, 0), 3.0) > 4, 255, 0).astype(np.uint8)


# ---- PiDiNet, by its differences: nothing is converted ----


def shift(x, dy, dx):
    """Pixel (y + dy, x + dx) of x at (y, x), 0 outside."""
    h, w = x.shape[2:]
    return F.pad(x, (2, 2, 2, 2))[:, :, 2 + dy:2 + dy + h, 2 + dx:2 + dx + w]


NEIGHBOURS = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]  # clockwise


def difference(x, w, kind):
    """A convolution of single channels, w [C,1,3,3]."""
    w = w[:, 0, :, :, None, None]  # [C,3,3,1,1]
    at = lambda dy, dx: w[:, dy + 1, dx + 1]
    y = torch.zeros_like(x)
    if kind == "plain":
        return F.conv2d(x, w[:, None, :, :, 0, 0], padding=1, groups=x.shape[1])
    if kind == "central":
        for dy, dx in NEIGHBOURS:
            y = y + at(dy, dx) * (shift(x, dy, dx) - x)
    if kind == "angular":
        for i, (dy, dx) in enumerate(NEIGHBOURS):
            y = y + at(dy, dx) * (shift(x, dy, dx) - shift(x, *NEIGHBOURS[(i + 1) % 8]))
    if kind == "radial":  # weight k + 1 of nine belongs to neighbour k in row-major order
        order = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
        flat = w.flatten(1, 2)
        for k, (dy, dx) in enumerate(order):
            y = y + flat[:, k + 1] * (shift(x, 2 * dy, 2 * dx) - shift(x, dy, dx))
    return y


KINDS = ["central", "angular", "radial", "plain"]


def pidinet_shapes(width, side):
    shapes, inputs = {"init_block.weight": (width, 3, 3, 3)}, width
    for stage in range(4):
        outputs = width << min(stage, 2)
        for b in range(3 if stage == 0 else 4):
            name = f"block{stage + 1}_{b + 1}."
            shapes[name + "conv1.weight"] = (inputs, 1, 3, 3)
            shapes[name + "conv2.weight"] = (outputs, inputs, 1, 1)
            if stage and b == 0:
                shapes[name + "shortcut.weight"] = (outputs, inputs, 1, 1)
                shapes[name + "shortcut.bias"] = (outputs,)
            inputs = outputs
    for stage in range(4):
        shapes[f"dilations.{stage}.conv1.weight"] = (side, width << min(stage, 2), 1, 1)
        shapes[f"dilations.{stage}.conv1.bias"] = (side,)
        for k in range(4):
            shapes[f"dilations.{stage}.conv2_{k + 1}.weight"] = (side, side, 3, 3)
        shapes[f"attentions.{stage}.conv1.weight"] = (4, side, 1, 1)
        shapes[f"attentions.{stage}.conv1.bias"] = (4,)
        shapes[f"attentions.{stage}.conv2.weight"] = (1, 4, 3, 3)
        shapes[f"conv_reduces.{stage}.conv.weight"] = (1, side, 1, 1)
        shapes[f"conv_reduces.{stage}.conv.bias"] = (1,)
    shapes["classifier.weight"], shapes["classifier.bias"] = (1, 4, 1, 1), (1,)
    return shapes


def pidinet_edges(w, rgb):
    """[height,width] in 0..1; ControlNet gives the network blue, green, red."""
    x = torch.from_numpy(rgb[:, :, ::-1].copy()).to(w["classifier.bias"].dtype).permute(2, 0, 1)[None] / 255
    first = w["init_block.weight"]
    h = F.conv2d(x, first, padding=1) - F.conv2d(x, first.sum((2, 3), keepdim=True))
    edges = []
    for stage in range(4):
        for b in range(3 if stage == 0 else 4):
            name = f"block{stage + 1}_{b + 1}."
            if stage and b == 0:
                h = F.max_pool2d(h, 2)
            y = F.relu(difference(h, w[name + "conv1.weight"], KINDS[b + 1 if stage == 0 else b]))
            y = F.conv2d(y, w[name + "conv2.weight"])
            if stage and b == 0:
                h = F.conv2d(h, w[name + "shortcut.weight"], w[name + "shortcut.bias"])
            h = h + y
        name = f"dilations.{stage}."
        s = F.conv2d(F.relu(h), w[name + "conv1.weight"], w[name + "conv1.bias"])
        s = sum(F.conv2d(s, w[f"{name}conv2_{k + 1}.weight"], padding=5 + 2 * k, dilation=5 + 2 * k) for k in range(4))
        name = f"attentions.{stage}."
        a = F.conv2d(F.relu(s), w[name + "conv1.weight"], w[name + "conv1.bias"])
        s = s * torch.sigmoid(F.conv2d(a, w[name + "conv2.weight"], padding=1))
        name = f"conv_reduces.{stage}.conv."
        e = F.conv2d(s, w[name + "weight"], w[name + "bias"])
        edges.append(F.interpolate(e, rgb.shape[:2], mode="bilinear", align_corners=False))
    edge = F.conv2d(torch.cat(edges, 1), w["classifier.weight"], w["classifier.bias"])
    return torch.sigmoid(edge)[0, 0].numpy()


def pidinet_weights(path):
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {k.removeprefix("module."): v for k, v in state.items()}
