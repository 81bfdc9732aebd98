"""Counts bright and dark words: a line per text, and the words found in a file of their own."""

import argparse
import json
import os

ARGS = argparse.Namespace()
BRIGHT = set()
DARK = set()


def init():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--lexicon")
    parser.add_argument("--details")
    parser.parse_known_args(namespace=ARGS)
    for name, words in (("bright.txt", BRIGHT), ("dark.txt", DARK)):
        with open(os.path.join(ARGS.lexicon, name), encoding="utf-8") as file:
            words.update(file.read().split())


def run(mini_batch):
    lines = []
    for path in mini_batch:
        with open(path, encoding="utf-8") as file:
            words = file.read().split()
        found = {"bright": sum(word in BRIGHT for word in words), "dark": sum(word in DARK for word in words)}
        name = os.path.splitext(os.path.basename(path))[0]
        if os.environ.get("DETAILS") == "1":
            with open(os.path.join(ARGS.details, name + ".json"), "w", encoding="utf-8") as file:
                json.dump(found, file)
        lines.append(f"{name}: {found['bright'] - found['dark']}")
    return lines
