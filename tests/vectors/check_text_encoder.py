#!/usr/bin/env python3
"""The text encoder of Stable Diffusion 1.x at full size (123,060,480 parameters) against transformers' CLIPTextModel.

    python check_text_encoder.py BUILD VOCABULARY

BUILD is the folder of a build with its tests, VOCABULARY openai's bpe_simple_vocab_16e6.txt.gz. Random weights are written as
diffusers' folder text_encoder/ and, in f16, as the part of a checkpoint that Stable Diffusion's own has; prompts are encoded from
both. Needs torch and transformers, 1.5 GB of disk below $TMPDIR.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from check_tokenizer import make_lines, read_openai, write_folder

BOUND = 1e-5
PROMPTS = ["", "a photo of an astronaut riding a horse on mars", "a high-quality, detailed, and professional image"]


def make_model():
    torch.manual_seed(3)
    config = CLIPTextConfig(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                            num_attention_heads=12, max_position_embeddings=77, hidden_act="quick_gelu")
    model = CLIPTextModel(config).eval()
    for name, p in model.named_parameters():
        scale = 0.2 if p.ndim == 1 else 0.5 if "embed" in name else p.shape[1] ** -0.5
        p.data = torch.randn_like(p) * scale + ("norm" in name and name.endswith("weight"))
        p.data = p.data.half().float()
    return model


def main():
    build, vocabulary = sys.argv[1:]
    merges = read_openai(vocabulary)
    lines = PROMPTS + make_lines(merges, 9, 5)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        write_folder(root / "tokenizer", merges)
        model = make_model()
        model.save_pretrained(root / "text_encoder")
        state = {"cond_stage_model.transformer.text_model." + k.removeprefix("text_model."): v.half()
                 for k, v in model.state_dict().items()}
        state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
        torch.save({"state_dict": state, "global_step": 1}, root / "sd.ckpt")
        tokens = CLIPTokenizer.from_pretrained(root / "tokenizer")(
            lines, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        with torch.no_grad():
            expected = model(input_ids=tokens.input_ids).last_hidden_state.numpy()
        wrong = False
        for path in root, root / "sd.ckpt":
            run = subprocess.run([f"{build}/tests/test_clip_text", path, vocabulary], check=True, stdout=subprocess.PIPE,
                                 input="".join(x + "\n" for x in lines).encode())
            found = np.frombuffer(run.stdout, np.float32).reshape(expected.shape)
            off = float(np.abs(found - expected).max() / np.abs(expected).max())
            print(f"{path.name}: {len(lines)} prompts, largest difference {off:.2g} of the largest value")
            wrong |= not off < BOUND
    sys.exit(wrong)


if __name__ == "__main__":
    main()
