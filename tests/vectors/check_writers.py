#!/usr/bin/env python3
"""Every format that difftune writes, loaded back by the program it is written for.

    python3 check_writers.py PROGRAM            (torch, safetensors, diffusers; dit: --dit PATH_TO_DIT_CHECKOUT and timm)

A model of random weights goes through `difftune convert` into a .pt file, safetensors and a diffusers folder, and through
`difftune predict`. torch.load (weights_only, plain and mapped), safetensors and diffusers read the results with strict
names; what their networks compute must be what difftune computes. For diffusers that holds after its one constant that no
file can change is put right (its time frequencies divide by 127); how far its own outputs are off is printed. Then the way
back: each result is converted to safetensors again and must have the same bits. With --large a model of 4.9 GB too, which
has records longer and beginning later than plain zip can say (12 GB of memory, 15 GB of disk).
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import safetensors
import safetensors.torch
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench"))
import pytorch_dit  # noqa: E402

# A published width with the head count that follows from it, and one that does not.
MODELS = {
    "DiT-S/2 of depth 3": dict(size=32, channels=4, patch=2, width=384, depth=3, heads=6, classes=1000),
    "custom, 8 heads of 9": dict(size=16, channels=3, patch=4, width=72, depth=2, heads=8, classes=10),
}
LARGE = dict(size=32, channels=4, patch=2, width=1152, depth=1, heads=16, classes=1 << 20)
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
SAME = 1e-5  # of the largest value: rounding of f32


def difference(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


class Check:
    def __init__(self, program, folder, dit):
        self.program, self.folder, self.dit, self.failed = program, folder, dit, 0

    def __call__(self, what, good, figure=""):
        print(f"  {'ok  ' if good else 'FAIL'} {what}{': ' if figure != '' else ''}{figure}")
        self.failed += not good

    def bound(self, what, value, limit):
        self(f"{what} (bound {limit:g})", value <= limit, f"{value:.2e}")

    def difftune(self, *arguments):
        subprocess.run([self.program, *map(str, arguments)], check=True, capture_output=True)

    def predict(self, model):
        out = self.folder / "out.safetensors"
        self.difftune("predict", "--pretrained-model", model, "--input", self.folder / "in.safetensors", "--output", out)
        return safetensors.torch.load_file(out)["out"]

    def convert(self, model, output, form, *more):
        self.difftune("convert", "--pretrained-model", model, "--output", output, "--save-model-as", form, *more)
        return output


def save_model(check, shape):
    torch.manual_seed(0)
    model = pytorch_dit.DiT(dropout=0, **shape).fill().eval()
    path = check.folder / "source.safetensors"
    metadata = {"difftune.heads": str(shape["heads"]), "difftune.base_sha256": "0" * 64,
                "difftune.classes": json.dumps([f"class {i}" for i in range(shape["classes"])])}
    safetensors.torch.save_file(model.state_dict(), path, metadata)
    return model, path


def make_model(check, shape):
    model, path = save_model(check, shape)
    x = torch.randn(4, shape["channels"], shape["size"], shape["size"])
    inputs = {"x": x, "t": torch.tensor([0, 37, 500, 999]), "y": torch.tensor([0, 3, 7, shape["classes"]])}
    safetensors.torch.save_file(inputs, check.folder / "in.safetensors")
    return model, path, inputs


def evaluate(model, inputs):
    with torch.no_grad():
        return model(inputs["x"], inputs["t"], inputs["y"])


def check_pt(check, model, source, inputs, expected, dtype):
    path = check.convert(source, check.folder / "model.pt", "pt", "--save-dtype", dtype)
    state = torch.load(path, map_location=lambda storage, _: storage, weights_only=True)
    mapped = torch.load(path, weights_only=True, mmap=True)
    names = list(model.state_dict())
    check(".pt: an OrderedDict of the official names and nothing else", set(state) == set(names) and "ema" not in state)
    check(f".pt: every tensor is {DTYPES[dtype]}, the values of the source rounded",
          all(v.dtype == DTYPES[dtype] and torch.equal(v, model.state_dict()[k].to(DTYPES[dtype])) for k, v in state.items()))
    check(".pt: mapped, the same", all(torch.equal(v, mapped[k]) for k, v in state.items()))
    check(".pt: storages at multiples of 64 bytes", all(v.data_ptr() % 64 == mapped[names[0]].data_ptr() % 64
                                                         for v in mapped.values()))
    if dtype != "f32":
        return
    model.load_state_dict(state, strict=True)
    check.bound(".pt: PyTorch's outputs against difftune predict", difference(evaluate(model, inputs), expected), SAME)
    if check.dit:
        official(check, state, inputs, expected)


def official(check, state, inputs, expected):
    """The network of DiT's sample.py, by its own model code."""
    sys.path.insert(0, check.dit)
    from models import DiT_models  # noqa: PLC0415, from the checkout
    from download import find_model  # noqa: PLC0415

    size = inputs["x"].shape[-1]
    if inputs["x"].shape[1] != 4:
        return
    model = DiT_models["DiT-S/2"](input_size=size, num_classes=1000)
    model.blocks = model.blocks[: sum(k.endswith("attn.qkv.weight") for k in state)]
    model.load_state_dict(find_model(str(check.folder / "model.pt")))
    model.eval()
    check.bound(".pt: DiT's own code through its find_model, against difftune predict",
                difference(evaluate(model, inputs), expected), SAME)


def check_safetensors(check, model, source, dtype, implied):
    path = check.convert(source, check.folder / "model.safetensors", "safetensors", "--save-dtype", dtype)
    state = safetensors.torch.load_file(path)
    check(f"safetensors: every tensor is {DTYPES[dtype]}, the values of the source rounded",
          set(state) == set(model.state_dict()) and
          all(torch.equal(v, model.state_dict()[k].to(DTYPES[dtype])) for k, v in state.items()))
    with safetensors.safe_open(path, "pt") as f:
        metadata = f.metadata()
    wanted = {"difftune.heads", "difftune.classes", "difftune.base_sha256", "difftune.source_sha256", "difftune.tool", "format"}
    check("safetensors: metadata", wanted <= set(metadata))
    bare = check.convert(source, check.folder / "bare.safetensors", "safetensors", "--no-metadata")
    with safetensors.safe_open(bare, "pt") as f:
        metadata = f.metadata() or {}
    check("safetensors: --no-metadata leaves only heads that the width does not imply",
          set(metadata) == (set() if implied else {"difftune.heads"}), sorted(metadata))


def check_diffusers(check, source, inputs, dtype):
    from diffusers import DiTTransformer2DModel  # noqa: PLC0415

    folder = check.convert(source, check.folder / "transformer", "diffusers", "--save-dtype", dtype)
    model, report = DiTTransformer2DModel.from_pretrained(folder, output_loading_info=True, low_cpu_mem_usage=False,
                                                          torch_dtype=DTYPES[dtype])
    check(f"diffusers {dtype}: every key used, none missing or unexpected", not any(report.values()))
    model = model.float().eval()

    def outputs():
        with torch.no_grad():
            return model(inputs["x"], timestep=inputs["t"], class_labels=inputs["y"]).sample

    own = outputs()
    for block in model.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    expected = check.predict(folder)  # of weights in the same number type
    check.bound(f"diffusers {dtype}: outputs with DiT's time frequencies, against difftune predict",
                difference(outputs(), expected), SAME)
    each = [f"{difference(own[i], expected[i]):.1e}" for i in range(len(own))]
    print(f"       diffusers {dtype}: its own outputs are off by {', '.join(each)} at t = {inputs['t'].tolist()}")
    with tempfile.TemporaryDirectory() as saved:  # and what diffusers itself writes
        model.save_pretrained(saved)
        check.bound(f"diffusers {dtype}: its own folder in difftune predict", difference(check.predict(saved), outputs()), SAME)
        model.save_pretrained(saved + "/transformer", safe_serialization=False)
        check.bound(f"diffusers {dtype}: its pickle, in a pipeline's folder", difference(check.predict(saved), outputs()), SAME)


def check_round_trips(check, source, implied):
    reference = safetensors.torch.load_file(source)
    for form, name in (("pt", "model.pt"), ("diffusers", "transformer"), ("safetensors", "model.safetensors")):
        for flags in ([], ["--no-metadata"]):
            there = check.convert(source, check.folder / ("there-" + name), form, *flags)
            back = check.convert(there, check.folder / "back.safetensors", "safetensors")
            state = safetensors.torch.load_file(back)
            with safetensors.safe_open(back, "pt") as f:
                metadata = f.metadata()
            same = set(state) == set(reference) and all(
                torch.equal(v, state[k]) if k != "pos_embed" or form != "diffusers" else difference(state[k], v) < 1e-6
                for k, v in reference.items())
            check(f"{form} {' '.join(flags)} and back: the same bits, heads and classes",
                  same and (flags or "difftune.classes" in metadata) and difference(check.predict(there), check.predict(source)) < SAME)


def check_large(check):
    model, source = save_model(check, LARGE)
    path = check.convert(source, check.folder / "model.pt", "pt")
    state = torch.load(path, weights_only=True, mmap=True)
    check(".pt above 4 GiB: PyTorch maps it, the same bits",
          path.stat().st_size > 1 << 32 and all(torch.equal(v, state[k]) for k, v in model.state_dict().items()))
    del state
    back = check.convert(path, check.folder / "back.safetensors", "safetensors")
    state = safetensors.torch.load_file(back)
    check(".pt above 4 GiB and back: the same bits", all(torch.equal(v, state[k]) for k, v in model.state_dict().items()))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program")
    arguments.add_argument("--dit", help="checkout of facebookresearch/DiT")
    arguments.add_argument("--large", action="store_true", help="a model of 4.9 GB as well")
    args = arguments.parse_args()
    failed = 0
    for name, shape in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            check = Check(args.program, pathlib.Path(folder), args.dit)
            model, source, inputs = make_model(check, shape)
            expected = check.predict(source)
            implied = shape["width"] in (384, 768, 1024, 1152)
            print(name)
            check.bound("PyTorch's outputs against difftune predict", difference(evaluate(model, inputs), expected), SAME)
            for dtype in DTYPES:
                check_pt(check, model, source, inputs, expected, dtype)
                check_safetensors(check, model, source, dtype, implied)
                check_diffusers(check, source, inputs, dtype)
            check_round_trips(check, source, implied)
            failed += check.failed
    if args.large:
        with tempfile.TemporaryDirectory() as folder:
            check = Check(args.program, pathlib.Path(folder), args.dit)
            print("1,048,576 classes")
            check_large(check)
            failed += check.failed
    sys.exit(f"{failed} checks failed" if failed else 0)


if __name__ == "__main__":
    main()
