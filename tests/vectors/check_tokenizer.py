#!/usr/bin/env python3
"""Compares the program's ids of text with those of transformers' CLIPTokenizer (5.x; the tokenizers library).

    python check_tokenizer.py BUILD VOCABULARY [--lines N] [--seed N]

BUILD is the folder of a build with its tests, VOCABULARY openai's bpe_simple_vocab_16e6.txt.gz (openai/CLIP, MIT). The lines are
made here: words of the vocabulary between emoji, accents in either form, HTML's entities, very long words, Chinese, Japanese and
Korean, digits, contractions, punctuation, white space of every kind, and special tokens in every case. Needs transformers.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

MERGES = 48894
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_names():
    """What stands for each byte, in the order of openai's ids."""
    itself = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in itself]
    return {b: chr(b) for b in itself} | {b: chr(256 + i) for i, b in enumerate(others)}


def vocabulary_of(merges):
    names = list(byte_names().values())
    entries = names + [n + "</w>" for n in names] + ["".join(m.split()) for m in merges] + [START, END]
    return {e: i for i, e in enumerate(entries)}


def read_openai(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return f.read().split("\n")[1 : MERGES + 1]


def write_folder(folder, merges):
    """A tokenizer's folder as Stable Diffusion 1.5 has it."""
    os.makedirs(folder, exist_ok=True)
    special = lambda text: {"__type": "AddedToken", "content": text, "lstrip": False, "normalized": True,
                            "rstrip": False, "single_word": False}
    config = {"add_prefix_space": False, "bos_token": special(START), "do_lower_case": True, "eos_token": special(END),
              "errors": "replace", "model_max_length": 77, "pad_token": END, "tokenizer_class": "CLIPTokenizer",
              "unk_token": special(END)}
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump(vocabulary_of(merges), f, ensure_ascii=False)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(m + "\n" for m in merges))
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, indent=1)


def words_of(merges):
    """Whole words of the vocabulary, as text."""
    of_name = {n: b for b, n in byte_names().items()}
    words = []
    for merge in merges:
        entry = "".join(merge.split())
        if entry.endswith("</w>"):
            try:
                words.append(bytes(of_name[x] for x in entry[:-4]).decode())
            except UnicodeDecodeError:
                pass
    return words


def make_lines(merges, count, seed):
    rng = random.Random(seed)
    words = words_of(merges)
    pick = rng.choice
    letters = "".join(chr(c) for c in [*range(0xC0, 0x250), *range(0x370, 0x400), *range(0x400, 0x530),
                                       *range(0x5D0, 0x5EB), *range(0x620, 0x64B), *range(0x905, 0x93A),
                                       *range(0x1E00, 0x1F00), *range(0xE01, 0xE31)] if unicodedata.name(chr(c), ""))
    asian = [*range(0x4E00, 0x9FA6), *range(0x3041, 0x3097), *range(0x30A1, 0x30FB), *range(0xAC00, 0xD7A4)]
    emoji = ["\U0001F600", "\U0001F468\u200D\U0001F469\u200D\U0001F467", "\u2764\uFE0F", "\U0001F1E9\U0001F1EA",
             "\U0001F44D\U0001F3FD", "\u263A", "\U0001F98A", "\u270C\uFE0F", "0\uFE0F\u20E3", "\U0001FAE0"]
    marks = [chr(c) for c in [*range(0x300, 0x315), 0x323, 0x327, 0x328, 0x338, 0x345]]
    spaces = [" ", " ", " ", " ", "  ", "\t", "\u00A0", "\u3000", "\u2009", "\r", "\x0b", "\u2028", "\x85", "\u200B", ""]
    word = lambda: pick(words)
    kinds = [
        word, word, word, word,
        lambda: word().upper(), lambda: word().title(),
        lambda: word() + pick(["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "\u2019s", "'", "''s", "'x"]),
        lambda: pick(emoji) * rng.randint(1, 3),
        lambda: "".join(pick(letters) for _ in range(rng.randint(1, 8))),
        lambda: unicodedata.normalize("NFD", "".join(pick(letters) for _ in range(rng.randint(1, 6)))),
        lambda: word() + "".join(pick(marks) for _ in range(rng.randint(1, 4))),
        lambda: "".join(chr(pick(asian)) for _ in range(rng.randint(1, 6))),
        lambda: unicodedata.normalize("NFD", chr(rng.randrange(0xAC00, 0xD7A4))),
        lambda: str(rng.randrange(10 ** rng.randint(1, 9))),
        lambda: pick(["\u00BD", "\u00B2", "\u2460", "\u2163", "\u0663\u0664", "1,000.5", "3.14e-10", "1st", "\uFF11\uFF12", "4K"]),
        lambda: pick(["&amp;", "&lt;b&gt;", "&#39;", "&quot;", "&nbsp;", "&amp;amp;", "<br/>", "&eacute;", "&copy"]),
        lambda: "".join(word() for _ in range(rng.randint(4, 30))),
        lambda: pick("abcxyz\u00E9\u4F60!\U0001F525") * rng.randint(20, 300),
        lambda: "".join(pick("!?.,;:-_()[]{}<>|/\\@#$%^&*+=~`\"'") for _ in range(rng.randint(1, 6))),
        lambda: pick([START, END, START.upper(), "<|EndOfText|>", "<|endoftext|", "!" + START, END + "!!", "<|" + word() + "|>"]),
        lambda: pick(["\u0130stanbul", "\u03A3\u03AF\u03C3\u03C5\u03C6\u03BF\u03C2", "STRASSE stra\u00DFe \u1E9E", "\uFB01ne", "\u212Bngstr\u00F6m",
                      "\u01C5", "na\u00EFve", "Z\u0351\u036B\u0343\u036Aalgo", "\uFEFFbom", "a\u00ADb", "\uFF21\uFF22", "\U00010400"]),
        lambda: pick(["(best quality:1.2)", "[deformed | ugly]", "<lora:x:0.8>", "8k--ar 16:9", "a_b-c", "...", "photo,,portrait", "e.g."]),
    ]
    lines = []
    for _ in range(count):
        parts = [pick(kinds)() + pick(spaces) for _ in range(rng.randint(0, 14))]
        lines.append("".join(parts).replace("\n", " "))
    return lines


def reference(folder, lines):
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)(lines).input_ids


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("build")
    parse.add_argument("vocabulary")
    parse.add_argument("--lines", type=int, default=10000)
    parse.add_argument("--seed", type=int, default=1)
    a = parse.parse_args()
    merges = read_openai(a.vocabulary)
    lines = make_lines(merges, a.lines, a.seed)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, merges)
        expected = reference(folder, lines)
        wrong, text = 0, "".join(x + "\n" for x in lines).encode()
        for path in a.vocabulary, folder:
            run = subprocess.run([os.path.join(a.build, "tests", "test_tokenizer"), path], check=True,
                                 input=text, stdout=subprocess.PIPE)
            found = [[int(i) for i in x.split()] for x in run.stdout.decode().split("\n")[:-1]]
            bad = [i for i in range(len(lines)) if i >= len(found) or found[i] != expected[i]]
            cut = sum(len(x) > 77 for x in found)
            print(f"{len(lines)} lines, {sum(map(len, expected))} ids: {len(bad)} lines differ; {cut} longer than 77")
            for i in bad[:5]:
                print(repr(lines[i]), expected[i], found[i] if i < len(found) else None, sep="\n ")
            wrong += len(bad)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
