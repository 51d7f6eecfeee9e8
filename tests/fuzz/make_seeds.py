#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus that need nothing but Python and the names in tests/vectors; those that PyTorch, NumPy and
Pillow make are make_corpus.py's."""

import json
import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).parent
OUT = HERE / "corpus"
PART = b"\n----\n"


def seed(target, name, *parts):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    data = PART.join(p if isinstance(p, bytes) else p.encode() for p in parts)
    (folder / name).write_bytes(data)


def lines(tensors, **metadata):
    """Tensors as fuzz_tensors.h reads them: (name, type, shape, values)."""
    text = [
        f"{name} {kind} {','.join(map(str, shape))}{' = ' + values if values else ''}"
        for name, kind, shape, values in tensors
    ]
    return "\n".join(text + [f"@{key} {value}" for key, value in metadata.items()]) + "\n"


def dit(kind="F32", prefix="", channels=1, side=2, patch=2, hidden=4, depth=1, classes=2, outputs=1):
    square, area = (side // patch) ** 2, patch * patch * channels
    shapes = {
        "pos_embed": [1, square, hidden],
        "x_embedder.proj.weight": [hidden, channels, patch, patch],
        "x_embedder.proj.bias": [hidden],
        "t_embedder.mlp.0.weight": [hidden, 256],
        "t_embedder.mlp.0.bias": [hidden],
        "t_embedder.mlp.2.weight": [hidden, hidden],
        "t_embedder.mlp.2.bias": [hidden],
        "y_embedder.embedding_table.weight": [classes + 1, hidden],
        "final_layer.adaLN_modulation.1.weight": [2 * hidden, hidden],
        "final_layer.adaLN_modulation.1.bias": [2 * hidden],
        "final_layer.linear.weight": [area * outputs, hidden],
        "final_layer.linear.bias": [area * outputs],
    }
    for i in range(depth):
        for name, rows, columns in (
            ("adaLN_modulation.1", 6, 1),
            ("attn.qkv", 3, 1),
            ("attn.proj", 1, 1),
            ("mlp.fc1", 4, 1),
            ("mlp.fc2", 1, 4),
        ):
            shapes[f"blocks.{i}.{name}.weight"] = [rows * hidden, columns * hidden]
            shapes[f"blocks.{i}.{name}.bias"] = [rows * hidden]
    return [(prefix + name, kind, shape, "0 1" if name == "pos_embed" else "0.1 -0.2 0.3") for name, shape in shapes.items()]


def shapes_of(path, prefix):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return [
        (name[len(prefix) :], "F32", entry["shape"], "0.1 -0.1") for name, entry in header.items() if name.startswith(prefix)
    ]


def models():
    seed("model", "dit", lines(dit(), **{"difftune.heads": "1", "difftune.classes": '["a", "7"]'}), "a,7")
    seed(
        "model",
        "averages",
        lines(dit(prefix="ema.", kind="BF16") + dit(prefix="model.", kind="BF16"), **{"difftune.heads": "1"}),
        "0-1",
    )
    seed(
        "model",
        "wrapped",
        lines(dit(prefix="state_dict.module._orig_mod.", channels=3, outputs=2, depth=2), **{"difftune.heads": "2"}),
        "",
    )
    vectors = HERE.parent / "vectors"
    tiny = [t for t in shapes_of(vectors / "codec_tiny.safetensors", "") if t[0].startswith(("encoder.", "decoder."))]
    kl = shapes_of(vectors / "codec_kl.safetensors", "diffusers.")
    seed("codec", "tiny", lines(tiny))
    seed("codec", "kl", lines(kl), '{"norm_num_groups": 4, "scaling_factor": 0.5}')
    squeeze = [("conv1.weight", "F32", [64, 3, 3, 3], "0.1"), ("conv1.bias", "F32", [64], "")]
    inputs = 64
    for i, width in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        for part, outputs, ins, side in (
            ("squeeze1x1", width, inputs, 1),
            ("expand1x1", 4 * width, width, 1),
            ("expand3x3", 4 * width, width, 3),
        ):
            squeeze.append((f"fire{i + 2}.{part}.weight", "F32", [outputs, ins, side, side], ""))
            squeeze.append((f"fire{i + 2}.{part}.bias", "F32", [outputs], ""))
        inputs = 8 * width
    seed("features", "squeezenet", lines(squeeze))
    inception = []
    for line in (vectors / "inception_names.txt").read_text().split("\n")[:3]:
        name, *shape = line.split()
        inception.append((f"{name}.conv.weight", "F32", shape, "0.1"))
        inception += [
            (f"{name}.bn.{part}", "F32", shape[:1], "1") for part in ("weight", "bias", "running_mean", "running_var")
        ]
    seed("features", "inception_start", lines(inception))
    shared = [("t", "I64", [2], "5 900"), ("y", "I64", [2], "0 2")]
    seed("predict", "x", lines([("x", "F32", [2, 1, 2, 2], "0.5 -1"), *shared]))
    seed(
        "predict", "loss", lines([("x0", "F32", [2, 1, 2, 2], "0.5 -1"), ("noise", "BF16", [2, 1, 2, 2], "1 2 -1"), *shared])
    )
    weight_map = {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}
    seed("tensor_shards", "two", json.dumps({"metadata": {"total_size": 28}, "weight_map": weight_map}))


def adapters():
    lora = [
        ("base_model.model.blocks.0.attn.qkv.lora_A.weight", "F32", [2, 4], "0.1"),
        ("base_model.model.blocks.0.attn.qkv.lora_B.weight", "F32", [12, 2], "0.2"),
    ]
    kohya = [
        ("lora_unet_blocks_0_mlp_fc1.lora_down.weight", "BF16", [1, 4], "0.1"),
        ("lora_unet_blocks_0_mlp_fc1.lora_up.weight", "BF16", [16, 1], "0.2"),
        ("lora_unet_blocks_0_mlp_fc1.alpha", "F32", [], "2"),
    ]
    diffusers = [
        ("transformer.transformer_blocks.0.attn1.to_q.lora_A.weight", "F32", [1, 4], "0.1"),
        ("transformer.transformer_blocks.0.attn1.to_q.lora_B.weight", "F32", [4, 1], "0.2"),
    ]
    seed("adapter", "peft", lines(lora), '{"lora_alpha": 4, "use_rslora": true, "r": 2, "peft_type": "LORA"}', "")
    exceptions = {"rank_pattern": {"attn.qkv": 2, "^b(l)ocks.[0-9]+.x": 7}, "alpha_pattern": {"x|.*\\.qkv": 3, "a": 1}}
    seed("adapter", "peft_exceptions", lines(lora), json.dumps({"lora_alpha": 4, "r": 5, **exceptions}), "")
    seed("adapter", "described", lines(lora, lora_adapter_metadata='{"unet.r":2,"unet.alpha_pattern":{"qkv":3}}'), "", "")
    seed("adapter", "kohya", lines(kohya), "", "")
    seed("adapter", "diffusers", lines(diffusers), "", lines(dit(), **{"difftune.heads": "1"}))
    seed(
        "adapter", "bitfit", lines([("blocks.0.attn.qkv.bias", "F32", [12], "1")], **{"difftune.adapter": "bitfit"}), "", ""
    )
    seed(
        "adapter",
        "difffit",
        lines([("blocks.0.gamma1", "F32", [4], "1"), ("blocks.0.attn.gamma1", "F32", [12], "2")]),
        "",
        "",
    )
    down = [
        ("blocks.0.adaptmlp.down_proj.weight", "F32", [2, 4], "0.1"),
        ("blocks.0.adaptmlp.down_proj.bias", "F32", [2], ""),
    ]
    up = [("blocks.0.adaptmlp.up_proj.weight", "F32", [4, 2], "0.1"), ("blocks.0.adaptmlp.up_proj.bias", "F32", [4], "")]
    seed("adapter", "adaptformer", lines(down + up, **{"difftune.adapter_scale": "0.5"}), "", "")
    seed("adapter", "vpt", lines([("blocks.0.prompt_embeddings", "F32", [1, 3, 4], "0.1")]), "", "")
    seed("adapter", "no_values", lines([("blocks.0.gamma1", "F32", [0], "")]), "", "")
    seed("adapter", "tokens", lines([("blocks.0.prompt_embeddings", "F32", [0, 1 << 62, 1], "")]), "", "")
    hollow = [t for t in dit() if t[0] != "blocks.0.attn.qkv.weight"] + [("blocks.0.attn.qkv.weight", "F32", [0, 4], "")]
    seed("adapter", "hollow_base", lines(lora), "", lines(hollow, **{"difftune.heads": "1"}))


def folders():
    manifest = {
        "format": "difftune bank 1",
        "drawing": {"base_sha256": "b"},
        "shards": [{"file": "shard-00000.safetensors", "sha256": "0"}],
    }
    seed("bank", "manifest", json.dumps(manifest))
    seed("bank", "shard", lines([("x", "F32", [2, 1, 2, 2], "0.5 -1"), ("context", "F32", [2, 1, 2], "1")]))
    seed("run", "good", "", "", "", "", "")
    seed(
        "run",
        "state",
        '{"identity": {"seed": "0"}}',
        "",
        '{"step": 1, "update_count": 1, "skipped": 0, "skipped_in_row": 0}',
        "",
        "@difftune.steps 1\n",
    )
    weights = dit(channels=3, classes=1)
    moments = [(prefix + name, *rest) for name, *rest in weights for prefix in ("exp_avg.", "exp_avg_sq.")]
    seed("run", "weights", "", "", "", lines(weights + moments), "")
    seed("run", "manifest", "", '{"state.json": "0", "model.safetensors": "0"}', "", "", "")
    log = "".join(
        json.dumps(line, separators=(",", ":")) + "\n"
        for line in (
            {
                "kind": "train",
                "step": 5,
                "loss_target": 0.25,
                "loss_bank": None,
                "lr": 1e-4,
                "time_s": 3,
                "samples_per_second": 9,
            },
            {
                "kind": "validation",
                "step": 5,
                "set": "target",
                "loss": 0.1,
                "bands": [{"t_first": 0, "loss": 0.2, "mse": 0.1}],
            },
            {"kind": "eval", "step": 0, "measure": "FD-base", "frechet_distance": 3.5, "kernel_distance": 0.1, "count": 9},
            {"kind": "eval", "step": 9, "measure": "FD-base", "frechet_distance": 2.5, "kernel_distance": 0.1, "count": 9},
        )
    )
    seed("metrics_log", "lines", log + '{"step": 6}\n{"cut')
    entry = {"file_name": "a.png", "text": ["a cat", "an animal"], "conditioning_image": "edges/a.png"}
    seed("captions", "list", "m" + json.dumps(entry) + "\n" + json.dumps({"file_name": "no.png"}) + "\n[]\n")
    seed("captions", "controlnet", "p" + json.dumps({"source": "edges/a.png", "target": "a.png", "prompt": "a cat"}))
    seed("captions", "object", "j" + json.dumps({"caption": "a cat", "width": 2}))
    seed("captions", "lines", "ta cat\n\n another \xe9\n")
    run = json.dumps(
        {
            "tool": "difftune",
            "method": "diff-tuning",
            "preset": "paper",
            "classes": ["a", "<b>"],
            "parameters": 12,
            "method_line": "tau",
        }
    )
    data = json.dumps(
        {"path": "d", "images": 3, "classes": {"a": 2, "<b>": 1}, "skipped": [{"path": "x.png", "why": "broken"}]}
    )
    config = "method: finetune\nmax_train_steps: 9\ntrain_batch_size: 2\ntau: 1\nrecipe: Food-101\n"
    png = png_of(2, 2, bytes(12))
    seed("report", "run", run, data, config, log, "", png)
    seed("report", "experiment", run, "", config, log, '{"arms": ["run"], "stages": {}}', "")
    seed("report", "usual_arms", run, "", "", log, '{"stages": {}}', "")
    seed("sample_folder", "whole", "", struct.pack("<3f", 1, 2, 3), png)
    seed("sample_folder", "other", "drawn otherwise\x1b[2J", "", png)
    seed("experiment", "stages", '{"tool": "difftune", "arms": ["finetune"], "stages": {"bank": {"seed": "0"}}}')
    arms = "arms: {plain: {method: finetune}, b: {tau: 2, bank_size: 8}}\nseed: 3\n"
    recipe = "pretrained_model: base.pt\ntrain_data: data\noutput_dir: out\nreference: held\nmax_train_steps: 9\n"
    seed("recipe", "arms", recipe + arms)
    seed("recipe", "plain", recipe)
    seed("lock", "process", "process 17 on host\n")
    seed("lock", "terminal", "\x1b]0;x\x07\n")


def statistics():
    spread = "2 1 0 1 2 1 0 1 2"
    ours = [
        ("mu", "F64", [3], "1 2 3"),
        ("sigma", "F64", [3, 3], spread),
        ("count", "I64", [], "9"),
        ("measure", "U8", [1], "77"),
    ]
    seed("statistics", "ours", lines(ours))
    seed("statistics", "spatial", lines([*ours, ("mu_s", "F64", [2], "1"), ("sigma_s", "F64", [2, 2], "1 0 0 1")]))
    seed("statistics", "published", lines([("mu", "F32", [3], "1"), ("sigma", "F32", [3, 3], spread)]))


def published():
    seed("published", "lists", "0", "a/1\n", "b/2\n", "", "")
    seed("published", "partitions", "1", "", "", "", "/a/c/1.jpg\n", "/a/c/2.jpg\n")
    table = 'image_path,class_id,scientificName\n1.jpg,0,"A ""b"""\n2.jpg,1.0,C\n'
    seed("published", "tables", "2", table, table.replace("1.jpg", "3.jpg"), "", "")
    seed("published", "numbers", "4", "1 a/1.jpg\n2 b/2.jpg\n", "1 1\n2 0\n", "1 1\n2 2\n", "1 a\n2 b\n")
    mat = HERE.parent / "vectors" / "mat"
    files = {path.name: path.read_bytes() for path in mat.iterdir() if path.suffix == ".mat"}
    pick = lambda *names: next((files[n] for n in names if n in files), b"")
    seed("published", "mat_numbers", "6", pick("setid.mat", "setid_plain.mat"), pick("imagelabels.mat"))
    seed(
        "published",
        "mat_annotations",
        "7",
        pick("cars_train_annos.mat"),
        pick("cars_test_annos_withlabels.mat"),
        pick("cars_meta.mat"),
        "",
    )


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width, height, rgb):
    rows = b"".join(b"\0" + rgb[3 * width * y : 3 * width * (y + 1)] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def small():
    seed("label", "words", b"\x02\x02\x3c\x3c\x03" + "Ein Wort_mit-Trennung, \u4f60\u597d \U0001f600 \u0301x".encode())
    seed("label", "broken", b"\xf0\x02\xff\x20\x01" + b"\xff\xc0\x80 \xed\xa0\x80 \x1b[2J" + b"w" * 300)
    seed("time_table", "thousand", "0.5\n" * 1000)
    seed("time_table", "few", "1e5, 2, nan")
    seed("inspect", "run", "1", '{"tool": "difftune", "identity": {}}')
    seed("inspect", "bank", "2", '{"format": "difftune bank 1", "shards": []}')
    seed(
        "inspect",
        "latents",
        "4",
        '{"format": "difftune latents 1", "made_by": {"codec": "x"}, "shards": [{"number": 0, "count": 1, "sha256": "0"}]}',
    )
    header = json.dumps({"__metadata__": {"k": "v"}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    seed("inspect", "model", "0", struct.pack("<Q", len(header)) + header + bytes(4))
    seed("inspect", "finished", "6", struct.pack("<Q", len(header)) + header + bytes(4))
    seed("inspect", "index", "5", '{"weight_map": {"a": "model.pt"}}')
    seed("dataset_names", "classes", "a/1.png\nb/2.PNG\nb/x/3.jfif\n.hidden/4.png\n__MACOSX/a/._1.png\na/notes.txt\n")
    seed("dataset_names", "splits", "Train/a/1.png\nvalidation/a/2.png\ntest/b/3.png\nval:\n")
    seed("dataset_names", "one", "top/all/1.png\ntop/all/2.png\n")
    seed("cgroup", "second", "0::/g\n", "200000 100000\n", "", "")
    seed("cgroup", "infinite", "0::/g\n", "inf inf\n", "", "")
    seed("cgroup", "first", "4:cpu,cpuacct:/g\n", "", "150000\n", "100000\n")
    names = ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    words = json.dumps({name: i for i, name in enumerate(names)})
    seed("tokenizer", "pair", words, "#version: 0.2\na b</w>\n", "ab a<|endoftext|>b <|STARTOFTEXT|> it's \u00e9\u0301 12")
    seed("tokenizer", "list", "", "heading\na b</w>\n\u00c3 \u00a9\n", "ab \u0130 &amp; \u4f60")
    for name, text in {
        "number": "learning-rate=1e-4",
        "word": "method=finetune",
        "bool": "tensorboard=on",
        "path": "train_data=~/a",
        "other": "lr=3",
    }.items():
        seed("settings_value", name, text)
    entry = struct.pack(">HHIHH", 0x112, 3, 1, 6, 0)
    seed("exif", "big", b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry)
    seed("exif", "small", b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x112, 3, 1, 8, 0))


if __name__ == "__main__":
    models()
    adapters()
    folders()
    statistics()
    published()
    small()
