#!/usr/bin/env python3
"""Compares `difftune eval --feature inception` with pytorch-fid, torch-fidelity and clean-fid, end to end: the weights of
inception_reference.py in a file with the container, names and strides of pt_inception-2015-12-05-6726825d.pth, pictures of
several sizes in folders, everything else through the programs. Prints the figures; fails when one is out of bounds.

    python3 tests/vectors/check_inception.py build/difftune [--keys keys.tsv] [--count 40]

--keys: a list of the real file's tensors (name, dtype, shape, stride, ..) to compare the made file with."""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
from PIL import Image

import inception_reference as reference

warnings.filterwarnings("ignore")
failed = []


def report(what, found, bound):
    print(f"{what:64s} {found:.2e}  (bound {bound:.0e})")
    if not found <= bound:
        failed.append(what)


def relative(found, expected):
    return float(np.abs(np.asarray(found) - np.asarray(expected)).max() / np.abs(np.asarray(expected)).max())


def write_pth(path, weights):
    """The old container; convolutions stored as TensorFlow has them, [H,W,I,O], and shown as [O,I,H,W]."""
    out = {}
    for name, value in weights.items():
        t = torch.from_numpy(value)
        if name.endswith("conv.weight"):
            t = t.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
        elif name == "fc.weight":
            t = t.t().contiguous().t()
        out[name] = t
        if name.endswith("running_var"):
            out[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    torch.save(out, path, _use_new_zipfile_serialization=False)
    return out


def check_keys(path, tensors):
    rows = [line.rstrip("\n").split("\t") for line in open(path)][1:]
    listed = {r[0]: (r[2], r[3]) for r in rows}
    def text(v):
        return "x".join(map(str, v))
    made = {k: (text(v.shape) or "scalar", text(v.stride()) or "-") for k, v in tensors.items()}
    # a side of 1 has no stride that means anything
    differ = [k for k in listed if k not in made or made[k][0] != listed[k][0] or
              any(a != b for a, b, n in zip(made[k][1].split("x"), listed[k][1].split("x"), made[k][0].split("x"))
                  if n != "1")]
    report(f"tensors of {len(listed)} unlike the real file's list", len(differ) + len(set(made) - set(listed)), 0)


def difftune(program, folder, weights, *more):
    command = [program, "eval", "--feature", "inception", "--feature-weights", weights, *map(str, more)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    found = {}
    for name, value in re.findall(r"(FID|sFID|IS|KID|precision|recall)(?: tf1| pytorch-fid| clean)? +(-?[\d.e+-]+)",
                                  done.stdout):
        found[name] = float(value)
    return found, done.stdout + done.stderr


def make_pictures(folder, name, count, sizes):
    (folder / name).mkdir()
    for i in range(count):
        width, height = sizes[i % len(sizes)]
        Image.fromarray(reference.picture(f"{name} {i}", width, height)).save(folder / name / f"{i:04d}.png")


def paths(folder):
    return sorted(folder.iterdir())


@torch.no_grad()
def in_batches(f, files):
    return np.concatenate([f(p) for p in files])


def check_statistics(what, npz, features, spatial=None):
    report(f"{what}: mean of features", relative(npz["mu"], features.mean(0)), 1e-4)
    report(f"{what}: covariance", relative(npz["sigma"], np.cov(features, rowvar=False)), 1e-3)
    if spatial is not None:
        report(f"{what}: mean for sFID", relative(npz["mu_s"], spatial.mean(0)), 1e-4)
        report(f"{what}: covariance for sFID", relative(npz["sigma_s"], np.cov(spatial, rowvar=False)), 1e-3)


def pytorch_fid_features(net):
    from torchvision.transforms.functional import to_tensor
    def f(path):
        x = to_tensor(Image.open(path).convert("RGB"))[None]
        x = torch.nn.functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
        return reference.outputs(net, 2 * x - 1)[0].double().numpy()
    return f


def fidelity_features(net):
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resize
    def f(path):
        x = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float()
        x = (resize(x, size=(299, 299), align_corners=False) - 128) / 128
        return np.concatenate([v.double().numpy() for v in reference.outputs(net, x)], 1)
    return f


def clean_features(net):
    from cleanfid.resize import build_resizer
    resize = build_resizer("clean")
    def f(path):
        x = torch.from_numpy(resize(np.array(Image.open(path).convert("RGB")))).permute(2, 0, 1)[None]
        return reference.outputs(net, (x - 128) / 128)[0].double().numpy()
    return f


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--keys")
    parser.add_argument("--count", type=int, default=40)
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        weights = reference.state()
        tensors = write_pth(folder / "inception.pth", weights)
        if args.keys:
            check_keys(args.keys, tensors)
        net = reference.network(weights)
        sizes = [(299, 299), (256, 256), (64, 48), (400, 333), (37, 501)]
        make_pictures(folder, "a", args.count, sizes)
        make_pictures(folder, "b", args.count + 5, sizes[::-1])
        compare(program, folder, net, args.count)
    sys.exit(f"out of bounds: {', '.join(failed)}" if failed else None)


def compare(program, folder, net, count):
    from pytorch_fid.fid_score import calculate_frechet_distance
    from scipy import linalg
    a, b = paths(folder / "a"), paths(folder / "b")
    flavours = {"pytorch-fid": pytorch_fid_features(net), "tf1": fidelity_features(net), "clean": clean_features(net)}
    for flavour, f in flavours.items():
        of_a, of_b = in_batches(f, a), in_batches(f, b)
        pool_a, pool_b = of_a[:, :2048], of_b[:, :2048]
        spatial = of_a[:, 2048:4071] if flavour == "tf1" else None
        more = ("--inception-resize", flavour)
        found, _ = difftune(program, folder, "inception.pth", "--reference", "a", "--candidate", "b",
                            "--save-statistics", "a.npz", *more)
        npz = np.load(folder / "a.npz")
        check_statistics(flavour, npz, pool_a, spatial)
        expected = frechet(pool_a, pool_b)
        report(f"{flavour}: FID {found['FID']:.6g}, the exact distance of the reference's features {expected:.6g}",
               abs(found["FID"] / expected - 1), 1e-3)
        if flavour == "tf1":
            compare_tf1(program, folder, found, of_a, of_b)
        if flavour == "pytorch-fid":
            compare_files(program, folder, pool_a, pool_b)


def frechet(x, y):
    """Without the square root of a singular matrix: the trace is the sum of singular values of X^T Y, centred."""
    u, v = (x - x.mean(0)) / np.sqrt(len(x) - 1), (y - y.mean(0)) / np.sqrt(len(y) - 1)
    root = np.linalg.svd(u @ v.T, compute_uv=False).sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + (u * u).sum() + (v * v).sum() - 2 * root


def compare_tf1(program, folder, found, of_a, of_b):
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric
    (pool_a, spatial_a, _), (pool_b, spatial_b, logits_b) = (np.split(v, [2048, 4071], 1) for v in (of_a, of_b))
    expected = frechet(spatial_a, spatial_b)
    report(f"tf1: sFID {found['sFID']:.6g}, exact {expected:.6g}", abs(found["sFID"] / expected - 1), 1e-3)
    unbiased = logits_b - reference.tensor("fc.bias", (1008,)).astype(np.float64)
    p = np.exp(unbiased - unbiased.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    expected = np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean())
    report(f"tf1: IS {found['IS']:.6g} in parts of 5000, by its formula {expected:.6g}",
           abs(found["IS"] / expected - 1), 1e-3)
    fidelity = isc_features_to_metric(torch.from_numpy(unbiased).float())["inception_score_mean"]
    other, _ = difftune(program, folder, "inception.pth", "--reference", "a", "--candidate", "b",
                        "--inception-score-parts", "torch-fidelity")
    report(f"tf1: IS {other['IS']:.6g} in ten parts, torch-fidelity {fidelity:.6g}", abs(other["IS"] / fidelity - 1),
           1e-3)
    full = min(len(pool_a), len(pool_b))
    t_a, t_b = torch.from_numpy(pool_a).float(), torch.from_numpy(pool_b).float()
    kid = kid_features_to_metric(t_b, t_a, kid_subsets=100, kid_subset_size=full, verbose=False, rng_seed=2020)
    mean, std = kid["kernel_inception_distance_mean"], kid["kernel_inception_distance_std"]
    report(f"tf1: KID {found['KID']:.6g}, torch-fidelity (other subsets) {mean:.6g} +- {std:.2g}; in deviations",
           abs(found["KID"] - mean) / max(std, 1e-12), 3)
    prc = prc_features_to_metric(t_b, t_a, prc_neighborhood=3, prc_batch_size=10000, save_cpu_ram=False, verbose=False)
    for what in ("precision", "recall"):
        report(f"tf1: {what} {found[what]:.4f}, torch-fidelity {prc[what]:.4f}", abs(found[what] - prc[what]), 1e-4)


def compare_files(program, folder, pool_a, pool_b):
    """Files of the other programs are read, and ours by them."""
    from pytorch_fid.fid_score import calculate_frechet_distance
    np.savez(folder / "theirs.npz", mu=pool_a.mean(0), sigma=np.cov(pool_a, rowvar=False))
    ours, said = difftune(program, folder, "inception.pth", "--reference", "theirs.npz", "--candidate", "b",
                          "--inception-resize", "pytorch-fid")
    report("pytorch-fid's statistics file as the reference", abs(ours["FID"] / frechet(pool_a, pool_b) - 1), 1e-3)
    if "does not say" not in said:
        failed.append("no word about the unnamed file")
    npz = np.load(folder / "a.npz")
    rows = np.random.RandomState(0).randn(3000, 2048) @ np.diag(np.linspace(0.2, 2, 2048))
    mean, sigma = rows.mean(0), np.cov(rows, rowvar=False)
    np.savez(folder / "full.npz", mu=mean, sigma=sigma)
    np.savez(folder / "shifted.npz", mu=mean * 1.5 + 0.1, sigma=sigma * 1.3 + 0.01 * np.eye(2048))
    theirs = calculate_frechet_distance(mean, sigma, mean * 1.5 + 0.1, sigma * 1.3 + 0.01 * np.eye(2048))
    ours, _ = difftune(program, folder, "inception.pth", "--reference", "full.npz", "--candidate", "shifted.npz")
    report(f"FID of two files of full rank {ours['FID']:.6g}, pytorch-fid {theirs:.6g}", abs(ours["FID"] / theirs - 1),
           1e-3)
    report("our statistics file in pytorch-fid", abs(float(npz["mu"].sum() / pool_a.mean(0).sum()) - 1), 1e-4)
    stack = np.stack([reference.picture(f"stack {i}", 64, 48) for i in range(12)])
    np.savez(folder / "stack.npz", stack, np.arange(12))
    np.savez_compressed(folder / "packed.npz", stack)
    (folder / "unpacked").mkdir()
    for i, picture in enumerate(stack):
        Image.fromarray(picture).save(folder / "unpacked" / f"{i:03d}.png")
    made = {}
    for name in ("stack.npz", "packed.npz", "unpacked"):
        difftune(program, folder, "inception.pth", "--reference", name, "--save-statistics", "made.npz")
        made[name] = np.load(folder / "made.npz")["sigma"]
    same = all(np.array_equal(made["unpacked"], v) for v in made.values())
    report("ADM's stack, plain and compressed, against its pictures as PNG: bits that differ", 0 if same else 1, 0)


if __name__ == "__main__":
    main()
