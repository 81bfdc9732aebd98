"""The licence texts of everything inside the executable, as one file with a table of contents.

    python build/licences.py --env VENV --collected collected.json --out FILE

The same inputs give the same bytes. A component without a text fails the build.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import debian
import origins
from origins import Component, OriginError

RULE = "=" * 100
TITLES = {
    "application": "batchctl",
    "python": "Python packages",
    "bundled": "Libraries inside Python packages",
    "interpreter": "The interpreter",
    "library": "Libraries of the system that it was built on",
}


def document(components: Iterable[Component]) -> str:
    """The whole text. A text that several components share word for word is printed once, under all their names."""
    listed = list(components)
    heads: dict[str, list[str]] = {}
    for each in listed:
        for place, text in each.texts:
            heads.setdefault(_plain(text), []).append(f"{each.name} {each.version}: {place}")
    everything = "\n".join(heads)
    for path in debian.common(everything):
        heads.setdefault(_plain(path.read_text(encoding="utf-8")), []).append(f"common licence: {path.name}")
    lines = [
        "Licences of batchctl and of everything inside its executable.",
        "",
        "Each line: what, version, licence (where its author says it in a word), numbers of its texts below.",
    ]
    numbers = {head: number for number, names in enumerate(heads.values(), 1) for head in names}
    for group, title in TITLES.items():
        rows = sorted(_rows(listed, group, numbers))
        if rows:
            lines += ["", title, *(f"  {row}" for row in rows)]
    shared = [
        f"[{numbers[names[0]]}] {names[0].removeprefix('common licence: ')}"
        for names in heads.values()
        if _shared(names)
    ]
    if shared:
        lines += [
            "",
            "Licences that the texts refer to as /usr/share/common-licenses/NAME",
            *(f"  {row}" for row in shared),
        ]
    for text, names in heads.items():
        lines += ["", RULE, *(f"[{numbers[names[0]]}] {name}" for name in names), RULE, "", text]
    return "\n".join(lines) + "\n"


def _shared(names: list[str]) -> bool:
    return names[0].startswith("common licence: ")


def _rows(listed: list[Component], group: str, numbers: dict[str, int]) -> Iterable[str]:
    for each in listed:
        if each.group == group:
            yield _row(f"{each.name} {each.version}", each, numbers, of=each)
        if group == "bundled":
            for part in each.parts:
                yield _row(f"{part.name} in {each.name}", part, numbers, of=each)


def _row(head: str, each: Component, numbers: dict[str, int], *, of: Component) -> str:
    found = sorted({numbers[f"{of.name} {of.version}: {place}"] for place, _ in each.texts})
    said = f" ({each.licence})" if each.licence else ""
    return f"{head}{said} {' '.join(f'[{number}]' for number in found)}"


def _plain(text: str) -> str:
    """The text without what differs between copies of it and says nothing: line ends, trailing blanks, form feeds."""
    return "\n".join(line.rstrip() for line in text.replace("\f", "").splitlines()).strip("\n")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="licences.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    origins.add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        found = origins.chosen(args)
    except OriginError as error:
        return origins.fail(error)
    args.out.write_text(document(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
