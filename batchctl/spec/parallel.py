"""`type: parallel`: a parallel job of Azure ML (v2), as the file of a step or of a component, translated at this door.

A local path of the input that `input_data` names is the INPUT where none is given on the command line. Without
`append_row_to` rows are only counted. Tabular inputs are refused by name.
"""

from __future__ import annotations

import re
from pathlib import Path

from batchctl.model.job import OutputAction
from batchctl.spec import azure
from batchctl.spec.bindings import Bindings, file_of, is_bound, is_remote, problem_of
from batchctl.spec.draft import Draft, Rank, Value
from batchctl.spec.fields import BY_FIELD, SETTINGS
from batchctl.spec.nodes import Kind, Node, unknown_keys
from batchctl.spec.parallel_keys import (
    DATA_TYPES,
    IGNORED,
    INPUT_KEYS,
    METADATA,
    OUTPUT_KEYS,
    OWN_SETTINGS,
    SETTING_KEYS,
    TASK_KEYS,
    TASK_TYPES,
    USED_AT_ROOT,
)
from batchctl.spec.problems import Problem, Wrong, quoted
from batchctl.spec.program_arguments import USED, take_arguments
from batchctl.spec.scoring import code_folder, take_script

_DEFAULT = "default (parallel job)"
_BYTES = re.compile(r"\s*\d+(?:[kmg]b)+\s*", re.ASCII | re.IGNORECASE)
_BY_AZURE_KEY = {setting.azure: setting for setting in SETTINGS if setting.azure}
KNOWN = (*USED_AT_ROOT, *(key.partition(".")[0] for key in SETTING_KEYS), *OWN_SETTINGS, *METADATA, *IGNORED)


def is_parallel(root: Node) -> bool:
    """Is the file a parallel job, by its `type`?"""
    kind = root.get("type")
    return kind is not None and kind.text.strip().lower() == "parallel"


def read(root: Node, draft: Draft, *, base: Path) -> None:
    """Put the values of a parallel job into the draft; `base` is the folder of the file."""
    draft.put("max_retries", Value(2, _DEFAULT, Rank.DEFAULT))
    draft.put("timeout", Value(60.0, _DEFAULT, Rank.DEFAULT))
    _root_keys(root, draft)
    bindings = Bindings(root, base=base)
    task = _task(root, draft)
    if task is not None:
        _scorer(task, draft, base=base)
        arguments = task.get("program_arguments")
        if arguments is not None:
            take_arguments(arguments, draft, bindings=bindings)
        _append_row(task, draft, bindings=bindings)
    _settings(root, draft, base=base)
    azure.take_variables(root, None, draft, base=base)
    name = root.get("name")
    if name is not None:
        draft.take(BY_FIELD["name"], name, base=base, rank=Rank.FILE)
    _input_data(root, draft, bindings=bindings)
    _sides(root, draft, bindings=bindings)


def _root_keys(root: Node, draft: Draft) -> None:
    for problem in unknown_keys(root, KNOWN):
        draft.add(problem)
    metadata = [name for name, _ in root.entries if name in METADATA]
    if metadata:
        draft.note(Node(Kind.NULL, root.place), f"not needed to score, ignored: {', '.join(metadata)}")
    for name, node in root.entries:
        if name in IGNORED:
            draft.note(node, IGNORED[name])
    azure.heed_ignored(root, "resources", draft)


def _task(root: Node, draft: Draft) -> Node | None:
    task = root.get("task")
    if task is None:
        what = "missing: a parallel job is its task"
        draft.add(Problem(root.place.source, what, "Write task: with code and entry_script", key="task"))
        return None
    if task.kind is not Kind.MAPPING:
        draft.add(task.problem("is no mapping", "Write code: and entry_script: below it"))
        return None
    for problem in unknown_keys(task, TASK_KEYS):
        draft.add(problem)
    kind = task.get("type")
    if kind is not None and kind.text.strip().lower() not in TASK_TYPES:
        draft.add(kind.problem(f"tasks of type {quoted(kind.text)} are not supported", "Write type: run_function"))
    return task


def _scorer(task: Node, draft: Draft, *, base: Path) -> None:
    code_node, script = task.get("code"), task.get("entry_script")
    code: Path | None = base
    if code_node is not None:
        code = code_folder(draft, code_node, base)
    if script is None:
        draft.add(task.problem("names no entry_script", "Write entry_script: score.py"))
    elif code is not None:
        source = code_node.source if code_node is not None else "folder of the job"
        take_script(draft, script, base=base, code=code, code_source=source)
    model = task.get("model")
    if model is not None:
        azure.take_model(model, draft, base=base)
    azure.heed_ignored(task, "environment", draft)
    azure.heed_environment(task, draft, base=base)


def _append_row(task: Node, draft: Draft, *, bindings: Bindings) -> None:
    node = task.get("append_row_to")
    if node is None:
        value = Value(OutputAction.SUMMARY_ONLY, "default (no task.append_row_to)", Rank.DEFAULT)
        draft.put("output_action", value)
        return
    rank = Rank.SET if node.from_set else Rank.FILE
    draft.put("output_action", Value(OutputAction.APPEND_ROW, node.source, rank))
    try:
        _, output = bindings.output_of(node.text)
    except Wrong as wrong:
        draft.add(problem_of(node, wrong))
        return
    path, file = output.get("path"), file_of(output)
    if path is not None and file:
        named = Node(Kind.SCALAR, path.place, path.path, text=file)
        draft.take(BY_FIELD["output_file_name"], named, base=Path(), rank=Rank.FILE)


def _settings(root: Node, draft: Draft, *, base: Path) -> None:
    retry = root.get("retry_settings")
    if retry is not None:
        azure.check_retry_settings(retry, draft)
    size = root.get("mini_batch_size")
    for key in SETTING_KEYS:
        node = root.find(key)
        if node is None:
            continue
        if node is size and _BYTES.fullmatch(size.text):
            what = f"{quoted(size.text)} is a size in bytes, for tabular inputs, which come later"
            draft.add(size.problem(what, "Write the number of files", field="mini_batch_size"))
        else:
            _heed_argument(_BY_AZURE_KEY[key].field, node, draft)
            azure.take_setting(_BY_AZURE_KEY[key], node, draft, base=base)
    for key, name in OWN_SETTINGS.items():
        node = root.get(key)
        if node is None:
            continue
        setting = BY_FIELD.get(name)
        if setting is None:
            draft.add(node.problem(f"{key} come later", "Remove the line, and give mini_batch_size"))
        else:
            _heed_argument(name, node, draft)
            draft.take(setting, node, base=base, rank=Rank.FILE)


def _heed_argument(name: str, node: Node, draft: Draft) -> None:
    """A key and an option among the program's arguments say the same thing: the key wins."""
    before = draft.values.get(name)
    if before is not None and name in USED.values() and before.rank is Rank.FILE:
        draft.note(node, f"wins over {before.source}")


def _input_data(root: Node, draft: Draft, *, bindings: Bindings) -> None:
    node = root.get("input_data")
    if node is None:
        return
    try:
        name, chosen = bindings.input_of(node.text)
        kind = chosen.get("type")
        if kind is not None and kind.text.strip().lower() not in DATA_TYPES:
            what = f"{quoted(kind.text)} is a tabular input, which comes later"
            draft.add(kind.problem(what, f"Give files: --set inputs.{name}.type=uri_folder"))
            return
        path = bindings.local_path(chosen)
    except Wrong as wrong:
        draft.add(problem_of(node, wrong, field="inputs"))
        return
    written = chosen.get("path") or chosen
    if path is not None:
        rank = Rank.SET if written.from_set else Rank.FILE
        draft.put("inputs", Value((str(path),), written.source, rank))
    elif is_remote(written.text) or is_bound(written.text):
        where = "on Azure" if is_remote(written.text) else "bound by a pipeline"
        draft.note(written, f"is {where}; INPUT on the command line is what is scored")


def _sides(root: Node, draft: Draft, *, bindings: Bindings) -> None:
    """Inputs and outputs themselves: their keys, and those that nothing names."""
    for side, keys in (("inputs", INPUT_KEYS), ("outputs", OUTPUT_KEYS)):
        block = root.get(side)
        if block is None or block.kind is Kind.NULL:
            continue
        if block.kind is not Kind.MAPPING:
            draft.add(block.problem("is no mapping", f"Write NAME: below {side}:"))
            continue
        for name, node in block.entries:
            for problem in unknown_keys(node, keys):
                draft.add(problem)
            if f"{side}.{name}" not in bindings.used:
                told = "what the script writes to AZUREML_BI_OUTPUT_PATH goes to OUT"
                draft.note(node, "not used: nothing names it" if side == "inputs" else f"not used: {told}")
