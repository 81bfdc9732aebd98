"""`check --strict-azure`: what Azure's own client would refuse in a deployment that batchctl takes.

The rules are those of the client's two schemas: with `type: model` the settings stand below `settings:`, without a type
they stand at the root. Only what batchctl is lenient about on purpose is repeated here; the rest is a problem anyway.
A file that passes is one that `az ml batch-deployment create` loads. `--set` is held against what an invocation may
override.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from batchctl.spec.azure_keys import MODEL_TYPES
from batchctl.spec.nodes import SET_SOURCE, KeyPath, Kind, Node, Place, unknown_keys
from batchctl.spec.paths import Found, anchored, found
from batchctl.spec.problems import Problem, Wrong, quoted

_OS_TYPES = ("linux", "windows")
# Quoted numbers are read as Python's int() reads them; a plain fraction is cut.
_QUOTED_WHOLE = re.compile(r"\s*[+-]?\d+(?:_\d+)*\s*", re.ASCII)


class _Shape(StrEnum):
    """What the client's schema wants a value to be."""

    TEXT = "a text"
    WHOLE = "a whole number"
    MAPPING = "a mapping"
    LIST = "a list"
    WORDS = "a text or a list"
    ANY = "a text or a mapping"


_TEXT, _WHOLE, _MAPPING, _LIST, _WORDS, _ANY = _Shape

# Keys are dotted, from the root.
_EVERYWHERE: Mapping[str, _Shape] = MappingProxyType(
    {
        "name": _TEXT,
        "endpoint_name": _TEXT,
        "type": _TEXT,
        "description": _TEXT,
        "id": _TEXT,
        "tags": _MAPPING,
        "properties": _MAPPING,
        "model": _ANY,
        "model.path": _TEXT,
        "model.name": _TEXT,
        "model.type": _TEXT,
        "code_configuration": _MAPPING,
        "code_configuration.code": _TEXT,
        "code_configuration.scoring_script": _TEXT,
        "environment": _ANY,
        "environment.image": _TEXT,
        "environment.build": _MAPPING,
        "environment.conda_file": _ANY,
        "environment.os_type": _TEXT,
        "environment_variables": _MAPPING,
        "compute": _TEXT,
        "error_threshold": _WHOLE,
        "resources": _MAPPING,
        "resources.instance_count": _WHOLE,
        "resources.max_instance_count": _WHOLE,
        "resources.instance_type": _TEXT,
        "resources.shm_size": _TEXT,
        "resources.properties": _MAPPING,
        "resources.locations": _LIST,
        "resources.docker_args": _WORDS,
    }
)
# At the root of the flat layout, below `settings` in the other.
_FLAT: Mapping[str, _Shape] = MappingProxyType(
    {
        "mini_batch_size": _WHOLE,
        "max_concurrency_per_instance": _WHOLE,
        "output_action": _TEXT,
        "output_file_name": _TEXT,
        "retry_settings": _MAPPING,
        "retry_settings.max_retries": _WHOLE,
        "retry_settings.timeout": _WHOLE,
        "logging_level": _TEXT,
    }
)
_ONLY_IN_SETTINGS: Mapping[str, _Shape] = MappingProxyType(
    {"instance_count": _WHOLE, "error_threshold": _WHOLE, "environment_variables": _MAPPING}
)
# What an invocation may override, dotted; whole numbers among them may be written as text, as --set does.
_OVERRIDABLE: Mapping[str, _Shape] = MappingProxyType(
    {
        "mini_batch_size": _WHOLE,
        "error_threshold": _WHOLE,
        "retry_settings.max_retries": _WHOLE,
        "retry_settings.timeout": _WHOLE,
        "compute.instance_count": _WHOLE,
        "compute.instance_type": _TEXT,
        "output_file_name": _TEXT,
        "output_dataset.datastore_id": _TEXT,
        "output_dataset.path": _TEXT,
        "job_name": _TEXT,
    }
)
_OVERRIDABLE_BELOW = ("input_data", "output_data", "dataset", "properties", "inputs", "outputs")


def refusals(root: Node, sets: Iterable[str], *, base: Path) -> tuple[Problem, ...]:
    """Every reason why Azure's client would not take the file (`root`, without --set) and the texts of `--set`."""
    return (*_file(root, base=base), *(problem for text in sets for problem in _override(text)))


def _file(root: Node, *, base: Path) -> Iterator[Problem]:
    kind = root.get("type")
    by_model = kind is not None and kind.text.strip().lower() == "model"
    settings = root.get("settings")
    yield from _required(root, ("name", "endpoint_name", *(("compute",) if by_model else ())))
    yield from _shapes(root, _EVERYWHERE)
    if by_model:
        for key in _FLAT:
            node = root.get(key)
            if node is not None:
                yield node.problem("unknown to az ml at the root of type: model", f"Write settings.{key}")
        if settings is not None:
            yield from _settings(root, settings)
    else:
        yield from _shapes(root, _FLAT)
        if settings is not None:
            yield settings.problem("unknown to az ml without a type", "Add type: model, or write the keys at the root")
    count = root.get("instance_count")
    if count is not None:
        yield count.problem("unknown to az ml at the root", "Write resources.instance_count")
    yield from _output(root if settings is None else settings)
    yield from _model(root.get("model"), base=base)
    yield from _environment(root.get("environment"), base=base)


def _required(root: Node, keys: Iterable[str]) -> Iterator[Problem]:
    for key in keys:
        if root.get(key) is None:
            yield Problem(root.place.source, "missing, and az ml requires it", f"Write {key}: ...", key=key)


def _settings(root: Node, settings: Node) -> Iterator[Problem]:
    yield from _shapes(settings, {**_FLAT, **_ONLY_IN_SETTINGS})
    if settings.kind is Kind.MAPPING and settings.get("mini_batch_size") is None:
        what = "names no mini_batch_size, without which az ml fails"
        yield settings.problem(what, "Write mini_batch_size: 10, which is the default")
    inner = settings.get("instance_count")
    if inner is not None and root.get("resources") is not None:
        yield inner.problem("az ml refuses it beside resources", "Write resources.instance_count only")


def _output(settings: Node) -> Iterator[Problem]:
    action, name = settings.get("output_action"), settings.get("output_file_name")
    if name is not None and action is not None and action.text.strip().lower() == "summary_only":
        yield name.problem("az ml refuses it with output_action: summary_only", "Remove one of the two")


def _shapes(root: Node, shapes: Mapping[str, _Shape]) -> Iterator[Problem]:
    for dotted, shape in shapes.items():
        node = root.find(dotted)
        if node is None:
            continue
        if node.kind is Kind.NULL:
            yield node.problem("has no value, which az ml refuses", "Give it one, or remove the line")
        elif not _fits(node, shape):
            yield node.problem(f"az ml wants {shape} here", _remedy(node, shape))


def _fits(node: Node, shape: _Shape) -> bool:
    if shape is _TEXT:
        return node.kind is Kind.SCALAR and _yaml_type(node) == "str"
    if shape is _WHOLE:
        return node.kind is Kind.SCALAR and _is_whole(node)
    if node.kind is Kind.SCALAR:
        return shape in (_ANY, _WORDS) and _yaml_type(node) == "str"
    return node.kind is (Kind.MAPPING if shape in (_MAPPING, _ANY) else Kind.LIST)


def _is_whole(node: Node) -> bool:
    kind = _yaml_type(node)
    if kind == "str":
        return _QUOTED_WHOLE.fullmatch(node.text) is not None
    return kind == "int" or (kind == "float" and "inf" not in node.text.lower() and "nan" not in node.text.lower())


def _yaml_type(node: Node) -> str:
    """What YAML 1.1 makes of a scalar: str, int, float, bool, timestamp, ..."""
    if not node.plain:
        return "str"
    from yaml.nodes import ScalarNode
    from yaml.resolver import Resolver

    resolver: Any = Resolver()
    tag: str = resolver.resolve(ScalarNode, node.text, (True, False))
    return tag.rpartition(":")[2]


def _remedy(node: Node, shape: _Shape) -> str:
    if node.kind is not Kind.SCALAR or shape not in (_TEXT, _WHOLE):
        return f"Write {shape}"
    return f'Write "{node.text}"' if shape is _TEXT else "Write digits only"


def _model(model: Node | None, *, base: Path) -> Iterator[Problem]:
    if model is None:
        return
    if model.kind is Kind.SCALAR and not model.text.startswith("azureml:"):
        what = f"az ml takes {quoted(model.text)} neither for a registered model nor for a path"
        yield model.problem(what, "Write model: {path: ...}, or azureml:NAME:VERSION")
    kind, path = model.get("type"), model.get("path")
    if kind is not None and kind.kind is Kind.SCALAR and kind.text.lower() not in MODEL_TYPES:
        yield kind.problem(f"{quoted(kind.text)} is no model type of az ml's", f"Write one of {', '.join(MODEL_TYPES)}")
    yield from _there(path, base=base)


def _environment(environment: Node | None, *, base: Path) -> Iterator[Problem]:
    if environment is None:
        return
    if environment.kind is Kind.SCALAR and not environment.text.startswith("azureml:"):
        what = f"az ml does not take {quoted(environment.text)} for an environment"
        yield environment.problem(what, "Write azureml:NAME:VERSION, or environment: {image: ...}")
    system = environment.get("os_type")
    if system is not None and system.text.lower() not in _OS_TYPES:
        yield system.problem(f"{quoted(system.text)} is no system of az ml's", f"Write one of {', '.join(_OS_TYPES)}")
    build = environment.get("build")
    if build is not None:
        yield from unknown_keys(build, ("path", "dockerfile_path"))
    yield from _there(environment.get("conda_file"), base=base, want=Found.FILE)
    yield from _there(environment.find("build.path"), base=base)


def _there(node: Node | None, *, base: Path, want: Found | None = None) -> Iterator[Problem]:
    """A local path must exist when the client loads the file."""
    if node is None or node.kind is not Kind.SCALAR or "://" in node.text or node.text.startswith("azureml:"):
        return
    try:
        stands = found(anchored(base, node.text))
    except Wrong:
        stands = Found.MISSING
    if stands is Found.MISSING or want not in (None, stands):
        yield node.problem(f"{quoted(node.text)} is {stands}, which az ml refuses", "Check the path")


def _override(assignment: str) -> Iterator[Problem]:
    dotted, _, text = assignment.partition("=")
    keys = dotted.strip().split(".")
    if not all(keys) or keys[0] in _OVERRIDABLE_BELOW:
        return
    path: KeyPath | None = None
    for key in keys:
        path = KeyPath(key, path)
    node = Node(Kind.SCALAR, Place(SET_SOURCE), path, text=text)
    shape = _OVERRIDABLE.get(".".join(keys))
    if shape is None:
        what = "az ml batch-endpoint invoke takes no such override"
        inner = ".".join(keys[1:])
        remedy = (
            f"Write --set {inner}=..." if keys[0] == "settings" and inner in _OVERRIDABLE else "Write it in the file"
        )
        yield node.problem(what, remedy)
    elif shape is _WHOLE and not _is_whole(node):
        yield node.problem(f"az ml wants {shape} here", "Write digits only")
