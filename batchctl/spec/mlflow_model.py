"""A model of MLflow's that is scored without a script: its MLmodel file stands where a script would.

Readers only say that there is no script; which model it is, is known when flags and variables have had their say.
"""

from __future__ import annotations

from pathlib import Path

from batchctl.model.job import Scorer
from batchctl.spec.draft import Draft, Rank, Value
from batchctl.spec.nodes import Kind
from batchctl.spec.paths import Found, found
from batchctl.spec.problems import Problem, escaped, quoted
from batchctl.spec.text import read_text
from batchctl.spec.yaml_nodes import read_yaml

MODEL_FILE = "MLmodel"
_FLAVOUR = "python_function"
_NAMED = 8
_LOOKED_AT = 100


def ask_for_mlflow(draft: Draft, source: str) -> None:
    """There is no script, so the model has to be one of MLflow's."""
    draft.put("scorer", Value(Scorer.MLFLOW, source, Rank.FILE))


def settle_mlflow(draft: Draft, *, own: Path | None) -> None:
    """Where a reader asked for it: put script and code, or the problem with the model. `own`: the model that is the
    spec itself, which no other may replace."""
    scorer, model = draft.values.get("scorer"), draft.values.get("model")
    if scorer is None or model is None:  # without a model there is a problem already
        return
    assert isinstance(model.value, Path)
    if own is not None and model.value != own:
        draft.add(Problem(model.source, "the spec is an MLflow model itself", "Give the other model as SPEC"))
        return
    folder = model.value.parent if model.value.name == MODEL_FILE else model.value
    problems = _problems(folder, shown=model.source)
    for problem in problems:
        draft.add(problem)
    if problems:
        return
    draft.values["model"] = Value(folder, model.source, model.rank)
    draft.put("script", Value(folder / MODEL_FILE, model.source, model.rank))
    draft.put("code", Value(folder, model.source, model.rank))
    draft.notes.append(f"{escaped(str(folder))}: no scoring script, so the MLflow model is scored as it is")


def model_below(folder: Path) -> Path | None:
    """The one folder in this one that is a model of MLflow's; None for none, for several, or where nobody can look."""
    try:
        inner = sorted(path for _, path in zip(range(_LOOKED_AT), folder.iterdir(), strict=False))
    except OSError:
        return None
    models = [path for path in inner if found(path / MODEL_FILE) is Found.FILE]
    return models[0] if len(models) == 1 else None


def _it_is(below: Path) -> str:
    return f"{quoted(below.name)} in it does: give {quoted(f'{below.parent.name}/{below.name}')}"


def _problems(folder: Path, *, shown: str) -> tuple[Problem, ...]:
    """What keeps the model in this folder from being scored without a script."""
    path = folder / MODEL_FILE
    if found(path) is not Found.FILE:
        what = f"there is no scoring script, and {quoted(folder.name)} holds no {MODEL_FILE} file of MLflow's"
        below = model_below(folder)
        remedy = "Name a scoring script beside the model, or an MLflow model" if below is None else _it_is(below)
        return (Problem(shown, what, remedy),)
    text = read_text(path, str(path))
    if isinstance(text, Problem):
        return (text,)
    if not text.strip():
        return (Problem(str(path), "is empty", "Save the model again"),)
    tree = read_yaml(text, str(path))
    if tree.root is None or tree.problems:
        return tree.problems
    flavours = tree.root.get("flavors")
    names = [name for name, _ in flavours.entries] if flavours is not None and flavours.kind is Kind.MAPPING else []
    if _FLAVOUR in names:
        return ()
    more = ", ..." if len(names) > _NAMED else ""
    told = ", ".join(quoted(name) for name in names[:_NAMED]) + more if names else "none"
    what = f"no {_FLAVOUR} flavour, which scoring without a script takes; the flavours there are: {told}"
    return (Problem(str(path), what, "Save the model with that flavour, or add a scoring script", key="flavors"),)
