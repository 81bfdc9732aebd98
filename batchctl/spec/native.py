"""batchctl.toml: flat keys named like the flags, `script`, `code`, `input`, and an `[env]` table.

Relative paths are against the folder of the file. The bare script dialect is the same with an empty file: `--set` takes
these keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from batchctl.spec import values
from batchctl.spec.draft import Draft, Rank, Value
from batchctl.spec.fields import SETTINGS, Setting
from batchctl.spec.mlflow_model import ask_for_mlflow
from batchctl.spec.nodes import Kind, Node
from batchctl.spec.problems import Problem, Wrong, did_you_mean, quoted
from batchctl.spec.scoring import check_script, code_folder, take_script

SCRIPT, CODE, INPUT = "script", "code", "input"

BY_KEY: Mapping[str, Setting] = MappingProxyType({setting.key: setting for setting in SETTINGS})
KEYS: tuple[str, ...] = (SCRIPT, CODE, INPUT, *BY_KEY)

# Names that people bring along from Azure or from the flags.
_ALIASES = MappingProxyType(
    {
        "max_concurrency_per_instance": "workers",
        "retry_settings": "max_retries and timeout",
        "scoring_script": "script",
        "code_configuration": "script and code",
        "environment_variables": "[env]",
        "environment": "[env]",
        "inputs": "input",
        "output": "-o OUT on the command line",
        "settings": "the same keys at the top",
    }
)
_HINTS = 100  # unknown keys that are compared with the known ones: a file of nothing else took minutes


def read(root: Node, draft: Draft, *, base: Path) -> None:
    """Put the values of a batchctl.toml into the draft; `base` is the folder of the file."""
    _settings(root, draft, base=base)
    script = root.get(SCRIPT)
    if script is None and root.get("model") is not None:
        ask_for_mlflow(draft, f"no script in {root.place.source}")
        return
    if script is None:
        draft.add(Problem(root.place.source, "no script", 'Write script = "score.py"', key=SCRIPT))
        return
    node = root.get(CODE)
    if node is None:
        take_script(draft, script, base=base, code=None, code_source=f"folder of {script.source}")
        return
    code = code_folder(draft, node, base)
    if code is not None:
        take_script(draft, script, base=base, code=code, code_source=node.source)


def read_model(path: Path, root: Node, draft: Draft) -> None:
    """A model of MLflow's that is its own spec, by its MLmodel file; the tree holds what --set gave."""
    _settings(root, draft, base=path.parent)
    for key in (SCRIPT, CODE):
        node = root.get(key)
        if node is not None:
            draft.add(node.problem("the spec is an MLflow model, which needs none", "Give the script as SPEC"))
    ask_for_mlflow(draft, "SPEC")
    draft.put("model", Value(path.parent, "SPEC", Rank.FILE))


def read_bare(path: Path, root: Node, draft: Draft, *, shown: str) -> None:
    """A script that is its own spec: its folder is the code folder; the tree holds what --set gave."""
    base = path.parent
    _settings(root, draft, base=base)
    for key in (SCRIPT, CODE):
        node = root.get(key)
        if node is not None:
            draft.add(node.problem("the spec is the script itself", "Give another SPEC, or write a batchctl.toml"))
    try:
        check_script(path, shown)
    except Wrong as wrong:
        draft.add(Problem(shown, wrong.what, wrong.remedy))
        return
    draft.put("script", Value(path, "SPEC", Rank.FILE))
    draft.put("code", Value(base, "folder of SPEC", Rank.FILE))
    if "name" not in draft.values:
        draft.put("name", Value(path.stem, "default (name of the script)", Rank.DEFAULT))


def _settings(root: Node, draft: Draft, *, base: Path) -> None:
    _unknown(root, draft)
    for key, setting in BY_KEY.items():
        node = root.get(key)
        if node is None:
            continue
        if setting.field == "environment" and node.kind is not Kind.MAPPING:
            draft.add(node.problem("is not a table", 'Write [env] and below it NAME = "value"', field="environment"))
            continue
        draft.take(setting, node, base=base, rank=Rank.FILE)
    node = root.get(INPUT)
    if node is not None:
        _inputs(node, draft, base=base)


def _unknown(root: Node, draft: Draft) -> None:
    unknown = [(name, node) for name, node in root.entries if name not in BY_KEY and name not in (SCRIPT, CODE, INPUT)]
    for number, (name, node) in enumerate(unknown):
        known = _ALIASES.get(name)
        hint = f"write {known}" if known else did_you_mean(name, KEYS) if number < _HINTS else ""
        draft.add(node.problem("unknown key", hint[:1].upper() + hint[1:] or "Remove it"))


def _inputs(node: Node, draft: Draft, *, base: Path) -> None:
    try:
        given = values.texts(node, base)
        inputs = tuple(_anchored_input(base, text) for text in given)
    except Wrong as wrong:
        draft.add(node.problem(wrong.what, wrong.remedy, field="inputs"))
        return
    draft.put("inputs", Value(inputs, node.source, Rank.SET if node.from_set else Rank.FILE))


def _anchored_input(base: Path, text: str) -> str:
    """An input as the command line would name it from anywhere: the file's folder put before relative paths."""
    if text == "-" or "://" in text:
        raise Wrong(f"{quoted(text)} cannot be an input in a file", "Name a folder, a file, a glob or @list.txt")
    marker = "@" if text.startswith("@") else ""
    try:
        # Joined, not resolved: a glob is no path.
        return marker + str(base / Path(text[len(marker) :]).expanduser())
    except RuntimeError as error:  # an unknown ~user, or no home at all
        raise Wrong(f"{quoted(text)} is no usable path", "Check the path") from error
