"""What classes of values cost a start: `python -m tests.bench.named_tuple [--rounds 15]`.

All such classes of batchctl's are made anew, with the fields and defaults that they have, by typing.NamedTuple and by
batchctl.named_tuple, in interleaved rounds in shuffled order: the classes alone, and each with one object, and with
five, which make what was put off. Prints the median of the rounds in ms.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import random
import statistics
import time
import typing
from typing import Any

import batchctl
from batchctl import named_tuple

MAKERS: dict[str, Any] = {"typing.NamedTuple": typing.NamedTuple, "batchctl.named_tuple": named_tuple.NamedTuple}


def sources() -> list[Any]:
    """Code of a class statement for each of batchctl's classes of values."""
    found = []
    for module in pkgutil.walk_packages(batchctl.__path__, "batchctl."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and hasattr(value, "_field_defaults") and value.__module__ == module.name:
                notes = {name: getattr(note, "__forward_arg__", note) for name, note in value.__annotations__.items()}
                lines = [
                    f"    {name}: {note!r}" + (" = None" if name in value._field_defaults else "")
                    for name, note in notes.items()
                ]
                text = f"class {value.__name__}(NamedTuple):\n" + "\n".join(lines or ["    pass"])
                found.append(compile(text, module.name, "exec"))
    return found


def seconds(codes: list[Any], maker: Any, *, objects: int) -> float:
    """The time to make them all, and that many objects of each."""
    began = time.perf_counter()
    for code in codes:
        names: dict[str, Any] = {"NamedTuple": maker, "__name__": __name__}
        exec(code, names)
        made = names[code.co_names[-1]]
        for _ in range(objects):
            made(*range(len(made._fields)))
    return time.perf_counter() - began


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args(arguments)
    codes = sources()
    plan = [(name, objects) for name in MAKERS for objects in (0, 1, 5)]
    took: dict[tuple[str, int], list[float]] = {key: [] for key in plan}
    for _ in range(given.rounds):
        for name, objects in random.sample(plan, len(plan)):
            took[name, objects].append(seconds(codes, MAKERS[name], objects=objects))
    print(f"{len(codes)} classes; ms, median of {given.rounds} rounds\n")
    print("| made by | the classes | and an object of each | and five |\n|---|---:|---:|---:|")
    for name in MAKERS:
        figures = [statistics.median(took[name, objects]) * 1e3 for objects in (0, 1, 5)]
        print(f"| {name} | {' | '.join(f'{figure:.1f}' for figure in figures)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
