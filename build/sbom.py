"""What is inside the executable, as CycloneDX 1.6 JSON: packages, libraries, interpreter, and whose each file is.

    python build/sbom.py --env VENV --collected collected.json --out FILE [--version V] [--tree DIR]

Written by hand (a few dozen keys of a public schema) because a library for it would put its own dependencies into the
build environment; tests/unit/build/test_sbom.py holds the result against the official schema. The same inputs give the
same bytes: the time is SOURCE_DATE_EPOCH, the serial number follows from the content.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import origins
from origins import Collected, Component, OriginError

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
# Fixed, so that the serial number depends on the content alone.
NAMESPACE = uuid.UUID("5f1c1c0e-6f0a-5d7e-9a44-0e5f3a1b7c29")
TYPES = {"application": "application", "interpreter": "platform"}
_IDENTIFIER = re.compile(r"^[A-Za-z0-9.+-]+$")
_EXPRESSION = re.compile(r"^[A-Za-z0-9.+() -]+$")


def document(components: Sequence[Component], *, epoch: int, tree: Path | None = None) -> dict[str, Any]:
    """The BOM. `components` begin with the application; files are hashed as `tree` has them, else at their source."""
    application, *inside = components
    references = {each.name: _reference(each) for each in components}
    edges = [(references[each.name], sorted(references[name] for name in each.needs)) for each in inside]
    bom: dict[str, Any] = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": _component(application, tree=tree),
        },
        "components": [_component(each, tree=tree) for each in inside],
        "dependencies": [
            {"ref": references[application.name], "dependsOn": sorted(_reference(each) for each in inside)},
            *({"ref": ref, "dependsOn": needs} for ref, needs in sorted(edges)),
        ],
        # pyarrow and pandas link further code statically and say so in their licence texts only.
        "compositions": [{"aggregate": "incomplete", "assemblies": [references[application.name]]}],
    }
    content = json.dumps(bom, sort_keys=True)
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}"
    return bom


def _reference(each: Component) -> str:
    return each.purl or f"{each.group}:{each.name}"


def _component(each: Component, *, tree: Path | None, within: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": TYPES.get(each.group, "library"),
        "bom-ref": f"{within}{_reference(each)}",
        "name": each.name,
    }
    if each.version:
        made["version"] = each.version
    if each.licence:
        made["licenses"] = _licences(each.licence)
    if each.purl:
        made["purl"] = each.purl
    if each.notes:
        made["properties"] = [{"name": name, "value": value} for name, value in sorted(each.notes.items())]
    reference = f"{within}{_reference(each)}"
    nested = [_component(part, tree=tree, within=f"{reference}#") for part in each.parts]
    nested += [_file(file, tree, within=f"{reference}#") for file in each.files if file.kind != "data"]
    if nested:
        made["components"] = nested
    return made


def _file(file: Collected, tree: Path | None, *, within: str) -> dict[str, Any]:
    shipped = tree / file.name if tree and file.kind != "static" else file.source
    digest = hashlib.sha256(shipped.read_bytes()).hexdigest()
    return {
        "type": "file",
        "bom-ref": f"{within}{file.name}",
        "name": file.name,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _licences(said: str) -> list[dict[str, Any]]:
    """One SPDX expression where it is one, else the words as they are."""
    if _IDENTIFIER.match(said) or (_EXPRESSION.match(said) and re.search(r" (AND|OR|WITH) ", said)):
        return [{"expression": said}]
    return [{"license": {"name": said}}]


def dump(bom: dict[str, Any]) -> str:
    return json.dumps(bom, indent=1, sort_keys=True) + "\n"


def missing(collected: Iterable[Collected], tree: Path) -> list[str]:
    """Files that were collected and are not in the tree, linked ones aside: the list is not that tree's."""
    return [each.name for each in collected if each.kind != "static" and not (tree / each.name).exists()]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sbom.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tree", type=Path, help="take files' hashes here; default tree/batchctl beside the list")
    parser.add_argument("--version", help="batchctl's; refused where pyproject.toml says another")
    origins.add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    except (KeyError, ValueError):
        return origins.fail(
            OriginError("SOURCE_DATE_EPOCH must be set to the time of the sources, in seconds since 1970")
        )
    beside = args.collected.parent / "tree/batchctl"
    tree = args.tree or (beside if beside.is_dir() else None)
    try:
        collected = origins.read_collected(args.collected)
        if tree and (absent := missing(collected, tree)):
            raise OriginError(f"{tree}: has no {', '.join(absent)}: {args.collected} is not of this tree")
        found = origins.chosen(args)
        if args.version not in (None, found[0].version):
            raise OriginError(f"pyproject.toml says version {found[0].version}, and --version {args.version}")
    except OriginError as error:
        return origins.fail(error)
    args.out.write_text(dump(document(found, epoch=epoch, tree=tree)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
