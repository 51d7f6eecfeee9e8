#!/usr/bin/env python3
"""Writes clip/: a small vocabulary of CLIP's kind, a text encoder of random weights in diffusers' folders, what transformers gives
for them, and lines of text with their ids.

    python make_clip_vectors.py [bpe_simple_vocab_16e6.txt.gz]

With openai's list of merges also ids_openai.txt, of the same lines. Needs transformers and torch.
"""

import os
import re
import sys
from collections import Counter

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from check_tokenizer import byte_names, make_lines, read_openai, reference, vocabulary_of, write_folder

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clip")
MERGES, LINES, WIDTH = 400, 160, 16
PROMPTS = ["", "a photo of a cat", "A high-quality, detailed, and professional image! " * 9]
TEXT = """a photo of a cat on a sofa. a painting of two dogs in the snow, high quality, detailed and professional image.
the best picture of an old house near the river; it's raining and they're waiting for the train in the morning light.
a drawing of a red car and a blue bicycle in front of the station, with people who don't look at the photographer's camera.
portrait of a woman with a hat, oil on canvas, in the style of the old masters. an astronaut riding a horse on mars.
extremely detailed, sharp focus, soft light, mountains, lakes, forest, clouds, sunset, city at night, neon signs, caf\u00e9."""


def train(text, count):
    """The most frequent pair again and again; the smaller one where two are as frequent."""
    name = byte_names()
    words = Counter(re.findall(r"[^\W\d_]+|[^\s\w]+", text.lower()))
    words = {tuple([name[b] for b in w.encode()[:-1]] + [name[w.encode()[-1]] + "</w>"]): n for w, n in words.items()}
    merges = []
    for _ in range(count):
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(" ".join(best))
        merged = {}
        for word, n in words.items():
            out = []
            for s in word:
                if out and (out[-1], s) == best:
                    out[-1] += s
                else:
                    out.append(s)
            merged[tuple(out)] = n
        words = merged
    return merges


def ids_of(path, ids):
    with open(os.path.join(OUT, path), "w") as f:
        f.write("".join(" ".join(map(str, i)) + "\n" for i in ids))


@torch.no_grad()
def encode(model, ids):
    return model(input_ids=torch.tensor(ids)).last_hidden_state.contiguous()


def main():
    merges = train(TEXT, MERGES)
    folder = os.path.join(OUT, "tokenizer")
    write_folder(folder, merges)
    with open(os.path.join(OUT, "bpe.txt"), "w", encoding="utf-8") as f:
        f.write("a list of merges\n" + "".join(m + "\n" for m in merges))
    lines = make_lines(read_openai(sys.argv[1]) if len(sys.argv) > 1 else merges, LINES, 7)
    with open(os.path.join(OUT, "lines.txt"), "w", encoding="utf-8", newline="") as f:
        f.write("".join(x + "\n" for x in lines))
    ids_of("ids.txt", reference(folder, lines))
    if len(sys.argv) > 1:
        full = os.path.join(OUT, "full")
        write_folder(full, read_openai(sys.argv[1]))
        ids_of("ids_openai.txt", reference(full, lines))
        for name in os.listdir(full):
            os.remove(os.path.join(full, name))
        os.rmdir(full)

    torch.manual_seed(5)
    entries = len(vocabulary_of(merges))
    config = CLIPTextConfig(vocab_size=entries, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=2,
                            num_attention_heads=2, max_position_embeddings=77, hidden_act="quick_gelu",
                            bos_token_id=entries - 2, eos_token_id=entries - 1)
    model = CLIPTextModel(config).eval()
    for p in model.parameters():
        p.data = torch.randn_like(p) * (0.5 if p.ndim == 1 else 0.3) + (1 if p.ndim == 1 else 0)
    encoder = os.path.join(OUT, "text_encoder")
    model.save_pretrained(encoder)
    ids = [i[:76] + [entries - 1] * (77 - len(i[:76])) for i in reference(folder, PROMPTS)]
    expected = {"quick_gelu": encode(model, ids)}
    exact = CLIPTextModel(CLIPTextConfig(**{**config.to_dict(), "hidden_act": "gelu"})).eval()
    exact.load_state_dict(model.state_dict())
    expected["gelu"] = encode(exact, ids)
    save_file(expected | {"ids": torch.tensor(ids, dtype=torch.int32)}, os.path.join(OUT, "expected.safetensors"))
    print(sorted(load_file(os.path.join(encoder, "model.safetensors")))[:3])


if __name__ == "__main__":
    main()
