"""deployment.yml of an Azure ML batch deployment (type: model), in both layouts, translated once at this door.

`settings:` and the legacy flat keys are accepted together, whatever `type` says; where both give a value, `settings`
wins and a note names the shadowed key. Nothing is dropped in silence: every key is used, ignored with a word about why,
or a problem.
"""

from __future__ import annotations

import re
from pathlib import Path

from batchctl.spec.azure_keys import (
    CODE_KEYS,
    IGNORED,
    METADATA,
    MODEL_TYPES,
    OVERRIDES,
    PARALLEL_ONLY,
    RETRY_KEYS,
    STRANGERS,
    TYPES,
    USED_AT_ROOT,
    ignored_below,
)
from batchctl.spec.draft import Draft, Rank
from batchctl.spec.fields import BY_FIELD, SETTINGS, Setting
from batchctl.spec.mlflow_model import ask_for_mlflow
from batchctl.spec.nodes import Kind, Node, unknown_keys
from batchctl.spec.paths import Found, anchored, found
from batchctl.spec.problems import Problem, Wrong, did_you_mean, quoted
from batchctl.spec.scoring import code_folder, take_script

ENVIRONMENT = "environment_variables"
# Whole numbers, which Azure's client makes of an unquoted fraction by cutting it.
_WHOLE = frozenset(("mini_batch_size", "max_retries", "error_threshold", "workers"))
_FRACTION = re.compile(r"[+-]?\d+\.\d*[1-9]\d*", re.ASCII)
_REFERENCE = re.compile(r"\$\{?[A-Za-z_]")
_IN_SETTINGS = tuple(setting for setting in SETTINGS if setting.azure)
_SETTINGS_KEYS = (*dict.fromkeys(setting.azure.partition(".")[0] for setting in _IN_SETTINGS), ENVIRONMENT)
_ROOT_KEYS = tuple(
    dict.fromkeys((*USED_AT_ROOT, *METADATA, *_SETTINGS_KEYS, *(key for key in IGNORED if "." not in key)))
)
_UNUSED_BLOCKS = ("resources", "environment")
_OVERRIDDEN = frozenset(dotted.partition(".")[0] for dotted in OVERRIDES)


def read(root: Node, draft: Draft, *, base: Path) -> None:
    """Put the values of a deployment into the draft; `base` is the folder of the file."""
    refusal = _other_kind(root)
    if refusal is not None:
        draft.add(refusal)
        return
    _root_keys(root, draft)
    _overrides(root, draft)
    for key in ("resources", "environment", "model", "code_configuration", "settings"):
        heed_ignored(root, key, draft)
    settings = _settings_block(root, draft)
    for setting in _IN_SETTINGS:
        node = _chosen(root, settings, setting.azure, draft)
        if node is not None:
            take_setting(setting, node, draft, base=base)
    take_variables(root, settings, draft, base=base)
    _name(root, draft, base=base)
    _code(root, draft, base=base)
    model = root.get("model")
    if model is not None:
        take_model(model, draft, base=base)
    heed_environment(root, draft, base=base)


def _other_kind(root: Node) -> Problem | None:
    """One clear line where the file is something else altogether."""
    kind = root.get("type")
    if kind is not None and kind.kind in (Kind.MAPPING, Kind.LIST):
        return kind.problem(f"one value is expected, this is a {kind.kind}", "Write type: model")
    if kind is not None and kind.kind is Kind.SCALAR and kind.text.strip().lower() != "model":
        known = TYPES.get(kind.text.strip().lower())
        what, remedy = known or (f"type {quoted(kind.text)} is no batch deployment", "Give a deployment of type: model")
        return kind.problem(what, remedy)
    for name, node in root.entries:
        if name in STRANGERS and root.get("settings") is None and root.get("code_configuration") is None:
            what, remedy = STRANGERS[name]
            return node.problem(what, remedy)
    return None


def _root_keys(root: Node, draft: Draft) -> None:
    native = {setting.key: setting for setting in SETTINGS}
    for name, node in root.entries:
        if name in _ROOT_KEYS or (name in _OVERRIDDEN and node.from_set):
            continue
        setting = native.get(name)
        if name in PARALLEL_ONLY:
            remedy = PARALLEL_ONLY[name]
        elif setting is not None and setting.flag:
            remedy = f"Write {setting.azure}" if setting.azure else f"It is no key of Azure's: use {setting.flag}"
        else:
            hint = did_you_mean(name, _ROOT_KEYS)
            remedy = hint[:1].upper() + hint[1:] or "Remove it"
        draft.add(node.problem("unknown key", remedy))
    metadata = [name for name, _ in root.entries if name in METADATA]
    if metadata:
        draft.note(Node(Kind.NULL, root.place), f"not needed to score, ignored: {', '.join(metadata)}")
    for name, node in root.entries:
        if name in IGNORED and node.kind is not Kind.MAPPING:
            draft.note(node, IGNORED[name])


def _overrides(root: Node, draft: Draft) -> None:
    """What only an invocation gives: keys of --set that no file has."""
    for dotted, why in OVERRIDES.items():
        node = root.find(dotted)
        if node is not None and node.from_set:
            draft.note(node, why)
    compute = root.get("compute")
    if compute is not None and compute.kind is Kind.MAPPING:
        for problem in unknown_keys(compute, ("instance_count", "instance_type") if compute.from_set else ()):
            draft.add(problem)
    job_name = root.get("job_name")
    if job_name is not None and job_name.from_set:
        draft.take(BY_FIELD["name"], job_name, base=Path(), rank=Rank.SET)


def heed_ignored(root: Node, key: str, draft: Draft) -> None:
    """Notes for the ignored keys of a block, problems for its unknown ones."""
    block = root.get(key)
    if block is None:
        return
    if block.kind is not Kind.MAPPING:
        _odd_block(block, key, draft)
        return
    used = {
        "environment": ("conda_file",),
        "model": ("path", "type"),
        "code_configuration": CODE_KEYS,
        "settings": _SETTINGS_KEYS,
    }.get(key, ())
    for problem in unknown_keys(block, (*used, *ignored_below(key))):
        name = problem.key.rpartition(".")[2]
        draft.add(problem._replace(remedy=PARALLEL_ONLY[name]) if name in PARALLEL_ONLY else problem)
    for name, node in block.entries:
        why = IGNORED.get(f"{key}.{name}")
        if why is not None:
            draft.note(node, why)


def _odd_block(block: Node, key: str, draft: Draft) -> None:
    """What has no keys to heed; the blocks that are used say so themselves."""
    if key not in _UNUSED_BLOCKS or (key == "environment" and block.kind is Kind.SCALAR):
        return
    if block.kind is Kind.NULL:
        draft.note(block, "empty, ignored")
    else:
        draft.add(block.problem(f"is a {block.kind}, where a mapping is expected", "Write its keys below it"))


def _settings_block(root: Node, draft: Draft) -> Node | None:
    block = root.get("settings")
    if block is not None and block.kind is not Kind.MAPPING:
        what = "is empty" if block.kind is Kind.NULL else "is no mapping"
        draft.add(block.problem(what, "Give it keys, or remove the line"))
        return None
    for parent in (root, block):
        retry = parent.get("retry_settings") if parent is not None else None
        if retry is not None:
            check_retry_settings(retry, draft)
    return block


def check_retry_settings(retry: Node, draft: Draft) -> None:
    """Problems with the block itself; its values are taken as settings."""
    if retry.kind is not Kind.MAPPING:
        draft.add(retry.problem("is no mapping", "Write max_retries and timeout below it"))
    for problem in unknown_keys(retry, RETRY_KEYS):
        draft.add(problem)


def _chosen(root: Node, settings: Node | None, dotted: str, draft: Draft) -> Node | None:
    """The node of a setting: below `settings`, else at the root; `--set` of either beats what the file says."""
    inner = settings.find(dotted) if settings is not None else None
    outer = root.find(dotted)
    if inner is None or outer is None:
        if outer is not None and settings is not None and not settings.from_set and not outer.from_set:
            draft.note(outer, "used, though Azure reads only what stands below settings")
        return inner if inner is not None else outer
    if outer.from_set and not inner.from_set:
        return outer
    draft.note(outer, f"not used: {inner.source} wins")
    return inner


def take_setting(setting: Setting, node: Node, draft: Draft, *, base: Path) -> None:
    """Take a setting as Azure's client reads it: a time limit of 0 is none given, a fraction is cut."""
    if setting.field == "timeout" and node.kind is Kind.SCALAR and node.text.strip() == "0":
        draft.note(node, "0 means the default on Azure; the default is used")
        return
    if setting.field in _WHOLE and node.plain and _FRACTION.fullmatch(node.text):
        whole = node.text.partition(".")[0]
        draft.note(node, f"{node.text} is cut to {whole}, as Azure's client does")
        node = node._replace(text=whole)
    draft.take(setting, node, base=base, rank=Rank.FILE)


def take_variables(root: Node, settings: Node | None, draft: Draft, *, base: Path) -> None:
    """Both blocks are used, variable by variable; the inner one is taken last, so that it wins."""
    inner = settings.get(ENVIRONMENT) if settings is not None else None
    outer = root.get(ENVIRONMENT)
    for node in (outer, inner):
        if node is None:
            continue
        if node.kind is not Kind.MAPPING:
            draft.add(node.problem("is no mapping", "Write NAME: value below it", field="environment"))
            continue
        draft.take(BY_FIELD["environment"], node, base=base, rank=Rank.FILE)
        for _, child in node.entries:
            if _REFERENCE.search(child.text):
                draft.note(child, "passed on as written: $NAME is not expanded")
    if outer is None or settings is None:
        return
    for name, node in outer.entries:
        shadow = inner.get(name) if inner is not None else None
        if node.from_set:
            continue
        if shadow is not None:
            draft.note(node, f"not used: {shadow.source} wins")
        elif not settings.from_set:
            draft.note(node, "used, though Azure drops variables outside settings")


def _name(root: Node, draft: Draft, *, base: Path) -> None:
    node = root.get("name")
    if node is None:
        draft.note(Node(Kind.NULL, root.place), "no name, which Azure requires; the folder's is used")
    else:
        draft.take(BY_FIELD["name"], node, base=base, rank=Rank.FILE)


def _code(root: Node, draft: Draft, *, base: Path) -> None:
    block = root.get("code_configuration")
    if block is None:
        _no_script(root, draft)
        return
    if block.kind is not Kind.MAPPING:
        draft.add(block.problem("is no mapping", "Write code: and scoring_script: below it"))
        return
    code_node, script = block.get("code"), block.get("scoring_script")
    if script is None:
        draft.add(block.problem("names no scoring_script", "Write scoring_script: score.py"))
    code: Path | None = base
    if code_node is not None:
        code = code_folder(draft, code_node, base)
    elif script is not None:
        draft.note(block, "names no code folder; the deployment's own is used")
    if code is not None and script is not None:
        source = code_node.source if code_node is not None else "folder of the deployment"
        take_script(draft, script, base=base, code=code, code_source=source)


def _no_script(root: Node, draft: Draft) -> None:
    """No code_configuration: a model of MLflow's, or something forgotten; the model that is chosen in the end tells."""
    ask_for_mlflow(draft, "no code_configuration")
    if root.get("model") is None:
        what = "missing: a scoring script is needed, or an MLflow model below model"
        remedy = "Add code_configuration with code and scoring_script, or name the model with --model PATH"
        draft.add(Problem(root.place.source, what, remedy, key="code_configuration", field="model"))


def take_model(node: Node, draft: Draft, *, base: Path) -> None:
    """Put the model that a `model` key names into the draft, or the problem with it."""
    if node.kind is Kind.MAPPING:
        _model_type(node, draft)
        path = node.get("path")
        if path is None:
            draft.add(node.problem("names no path", "Write path: below it, or use --model PATH", field="model"))
            return
        if path.kind is Kind.SCALAR and _is_reference(path.text):
            draft.add(_registered(path))
            return
        draft.take(BY_FIELD["model"], path, base=base, rank=Rank.FILE)
        return
    if node.kind is Kind.SCALAR and _is_reference(node.text):
        draft.add(_registered(node))
    elif node.kind is Kind.SCALAR and node.text:
        what = f"a bare path ({quoted(node.text)}) is not accepted, by Azure neither"
        draft.add(node.problem(what, "Write model: {path: ...}", field="model"))
    else:
        draft.add(node.problem("is no model", "Write model: {path: ...}, or use --model PATH", field="model"))


def _model_type(model: Node, draft: Draft) -> None:
    node = model.get("type")
    if node is not None and node.text.lower() not in MODEL_TYPES:
        draft.add(node.problem(f"{quoted(node.text)} is no model type", f"Write one of {', '.join(MODEL_TYPES)}"))


def _is_reference(text: str) -> bool:
    return text.strip().lower().startswith(("azureml:", "http://", "https://", "wasbs://", "abfss://", "runs:"))


def _registered(node: Node) -> Problem:
    what = f"{quoted(node.text)} is a registered model, and nothing is downloaded"
    return node.problem(what, "Give a local copy: --model PATH", field="model")


def heed_environment(root: Node, draft: Draft, *, base: Path) -> None:
    """Say what becomes of an `environment` key."""
    node = root.get("environment")
    if node is None:
        return
    if node.kind is Kind.SCALAR:
        draft.note(node, "ignored: the script runs in the interpreter that --python names")
        return
    conda = node.get("conda_file")
    if conda is None:
        return
    later = "building environments comes later; the script runs in the interpreter that --python names"
    try:
        if conda.kind is Kind.SCALAR and found(anchored(base, conda.text)) is not Found.FILE:
            draft.note(conda, f"{quoted(conda.text)} is missing; {later}")
            return
    except Wrong as wrong:
        draft.note(conda, f"{wrong.what}; {later}")
        return
    draft.note(conda, f"not built: {later}")
