"""Which file is the spec, and which dialect it is in: by suffix, or by what a folder holds."""

from __future__ import annotations

from pathlib import Path

from batchctl.model.job import Dialect
from batchctl.named_tuple import NamedTuple
from batchctl.spec.mlflow_model import MODEL_FILE, model_below
from batchctl.spec.paths import Found, anchored, found, neighbour
from batchctl.spec.problems import Problem, Wrong, escaped, quoted

# In a folder the first of these is taken: who writes a batchctl.toml beside a deployment means it to be used.
IN_FOLDER = ("batchctl.toml", "deployment.yml", "deployment.yaml", "score.py")
SUFFIXES = {".yml": Dialect.AZURE, ".yaml": Dialect.AZURE, ".toml": Dialect.NATIVE, ".py": Dialect.SCRIPT}
_NAMED = 5
_LISTED = 1000


class Located(NamedTuple):
    """The spec's file: `path` absolute, `shown` as messages name it, and what there is to say about the choice."""

    path: Path
    shown: str
    dialect: Dialect
    notes: tuple[str, ...] = ()


def locate(given: str, cwd: Path) -> Located | Problem:
    """The spec that an argument names, or the problem with it."""
    try:
        path = anchored(cwd, given)
    except Wrong as wrong:
        return Problem("SPEC", wrong.what, wrong.remedy)
    kind = found(path)
    if kind is Found.FOLDER:
        return _in_folder(given, path)
    if kind is Found.MISSING:
        return Problem(given, "is missing", neighbour(path) or "Give a deployment.yml, a batchctl.toml or a score.py")
    if kind is Found.OTHER:
        return Problem(given, f"is {kind}", "Give a deployment.yml, a batchctl.toml or a score.py")
    if path.name == MODEL_FILE:
        return Located(path, given, Dialect.MLFLOW)
    dialect = SUFFIXES.get(path.suffix.lower())
    if dialect is None:
        ending = quoted(path.suffix) if path.suffix else "without a suffix"
        return Problem(given, f"is no spec by its name ({ending})", "Give a .yml, .yaml, .toml or .py file")
    return Located(path, given, dialect)


def _in_folder(given: str, folder: Path) -> Located | Problem:
    present = [name for name in IN_FOLDER if found(folder / name) is Found.FILE]
    if present:
        taken, shown = present[0], str(Path(given) / present[0])
        others = [name for name in present[1:] if name != "score.py"]
        unused = f" ({', '.join(others)} beside it is not used)" if others else ""
        note = f"{escaped(given)}: {taken} taken as the spec{unused}"
        return Located(folder / taken, shown, SUFFIXES[Path(taken).suffix], (note,))
    if found(folder / MODEL_FILE) is Found.FILE:
        note = f"{escaped(given)}: an MLflow model, taken as the spec"
        return Located(folder / MODEL_FILE, str(Path(given) / MODEL_FILE), Dialect.MLFLOW, (note,))
    try:
        names = [entry.name for _, entry in zip(range(_LISTED), folder.iterdir(), strict=False)]
    except OSError as error:
        return Problem(given, f"cannot be listed: {error.strerror}", "Check its permissions")
    model = model_below(folder)
    if model is not None:
        what = f"is no model of MLflow's itself, but {quoted(model.name)} in it is"
        return Problem(given, what, f"Give {Path(given) / model.name}")
    near = sorted(name for name in names if Path(name).suffix.lower() in SUFFIXES)[:_NAMED]
    remedy = f"Name one: {', '.join(str(Path(given) / name) for name in near)}" if near else "Give a spec file"
    return Problem(given, f"holds none of {', '.join((*IN_FOLDER, MODEL_FILE))}", remedy)
