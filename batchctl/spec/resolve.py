"""SPEC, flags and environment to one JobSpec, or to all problems at once.

Precedence: flag, then `--set`, then environment variable, then file, then default. This is the one module that reads
`os.environ`. Reading a spec runs nothing and writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from batchctl.errors import SpecError
from batchctl.model.job import (
    OFFERED_VARIABLES,
    RESERVED_VARIABLES,
    Dialect,
    JobSpec,
    OnCollision,
    OutputAction,
    OutputFormat,
    OwnFiles,
    Scorer,
)
from batchctl.named_tuple import NamedTuple
from batchctl.spec import native
from batchctl.spec.draft import Draft, Rank, Value
from batchctl.spec.fields import SETTINGS, Setting
from batchctl.spec.locate import Located, locate
from batchctl.spec.mlflow_model import settle_mlflow
from batchctl.spec.nodes import SET_SOURCE, Node, Tree, empty, listed, overridden, scalar
from batchctl.spec.partitioning import check_partitioning
from batchctl.spec.paths import Found, found
from batchctl.spec.problems import Problem, Wrong, did_you_mean, escaped
from batchctl.spec.text import read_text

PREFIX = "BATCHCTL_"
# Variables of the command line itself. Not among them, on purpose: --fresh and --accept-changes, which must be typed.
COMMAND_SWITCHES = ("json", "quiet", "verbose")


class Overrides(NamedTuple):
    """What is given outside the spec's file.

    `flags` maps `Flag.dest` to what was typed: text, a list of texts, or a bool for a switch; None is "not given", and
    keys that are no setting are passed over, so that a parser's whole namespace will do. `sets` are the `--set` texts
    in order. `environ` None means the process's own environment.
    """

    flags: Mapping[str, object] = {}
    sets: tuple[str, ...] = ()
    environ: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        return "Overrides(...)"  # --env, --set and the environment may hold secrets


class Loaded(NamedTuple):
    """What became of a spec. `spec` is None exactly where there are problems.

    `values` holds every field that could be resolved, with its source, problems or not; `environment` the sources of
    the variables by name (never their values).
    """

    shown: str
    dialect: Dialect | None
    spec: JobSpec | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    values: Mapping[str, Value] = {}
    environment: Mapping[str, str] = {}

    def require(self) -> JobSpec:
        """The spec, or SpecError with every problem."""
        if self.spec is None:
            raise SpecError(tuple(str(problem) for problem in self.problems), where=self.shown)
        return self.spec


def load(
    spec: str | Path,
    overrides: Overrides | None = None,
    *,
    inputs: Iterable[str] = (),
    out: str | Path | None = None,
    cwd: Path | None = None,
    strict_azure: bool = False,
) -> Loaded:
    """Read and resolve a spec; never raises for what a user wrote. Flags' relative paths are against `cwd`.

    `strict_azure`: what Azure's own client would refuse is a problem too.
    """
    overrides = overrides or Overrides()
    cwd = cwd or Path.cwd()
    environ = os.environ if overrides.environ is None else overrides.environ
    located = locate(str(spec), cwd)
    if isinstance(located, Problem):
        return Loaded(str(spec), None, None, (located,), ())
    draft = Draft(located.notes)
    refused = _read(located, draft, sets=overrides.sets, strict_azure=strict_azure)
    _overlay(draft, overrides.flags, environ=environ, cwd=cwd)
    given = tuple(inputs)
    if "" in given:
        draft.add(Problem("INPUT", "an empty path", "Name a folder, a file, a glob or @list.txt", field="inputs"))
    elif given:
        draft.put("inputs", Value(given, "command line", Rank.FLAG))
    if out is not None and not str(out):
        draft.add(Problem("-o", "an empty path", "Name the output folder"))
    settle_mlflow(draft, own=located.path.parent if located.dialect is Dialect.MLFLOW else None)
    _defaults(draft, located)
    _cross_checks(draft)
    check_partitioning(draft, located.dialect)
    problems = draft.settle()
    told = {(problem.where, problem.key) for problem in problems}
    problems += tuple(problem for problem in refused if (problem.where, problem.key) not in told)
    complete = "script" in draft.values and "code" in draft.values
    if not problems and not complete:  # a reader that gives no script must say why
        problems = (Problem(located.shown, "names no scoring script", "Name one"),)
    resolved = None if problems else _job_spec(draft, located, out=None if out is None else _out_folder(cwd / out))
    sources = {name: value.source for name, value in sorted(draft.environment.items())}
    return Loaded(
        located.shown, located.dialect, resolved, problems, tuple(draft.notes), values=draft.values, environment=sources
    )


def command_switches(environ: Mapping[str, str] | None = None) -> dict[str, bool]:
    """The command line's own BATCHCTL_JSON, _QUIET and _VERBOSE: true where set to anything but 0, no, off, false."""
    environ = os.environ if environ is None else environ
    off = ("", "0", "no", "off", "false")
    return {name: environ.get(PREFIX + name.upper(), "").strip().lower() not in off for name in COMMAND_SWITCHES}


def _read(located: Located, draft: Draft, *, sets: tuple[str, ...], strict_azure: bool) -> tuple[Problem, ...]:
    """Fill the draft; returns what only Azure's client refuses, none unless `strict_azure`."""
    tree = _tree(located)
    for problem in tree.problems:
        draft.add(problem)
    root = tree.root
    if root is None:
        return ()
    refused = _refused(located, root, sets=sets) if strict_azure else ()
    for assignment in sets:
        try:
            root = overridden(root, assignment)
        except Wrong as wrong:
            draft.add(Problem(SET_SOURCE, wrong.what, wrong.remedy), rank=Rank.SET)
    base = located.path.parent
    if located.dialect is Dialect.AZURE:
        from batchctl.spec import azure, parallel  # a dialect is loaded where it is spoken: 10 ms

        (parallel if parallel.is_parallel(root) else azure).read(root, draft, base=base)
    elif located.dialect is Dialect.NATIVE:
        native.read(root, draft, base=base)
    elif located.dialect is Dialect.MLFLOW:
        native.read_model(located.path, root, draft)
    else:
        native.read_bare(located.path, root, draft, shown=located.shown)
    return refused


def _refused(located: Located, root: Node, *, sets: tuple[str, ...]) -> tuple[Problem, ...]:
    what = "is no deployment of Azure's"
    if located.dialect is Dialect.AZURE:
        from batchctl.spec import azure_strict, parallel

        if not parallel.is_parallel(root):
            return azure_strict.refusals(root, sets, base=located.path.parent)
        what = "is a parallel job, and the strict rules are those of deployments"
    return (Problem(located.shown, what, "Leave --strict-azure out, or give a deployment.yml"),)


def _tree(located: Located) -> Tree:
    if located.dialect in (Dialect.SCRIPT, Dialect.MLFLOW):
        return Tree(empty(located.shown))
    text = read_text(located.path, located.shown)
    if isinstance(text, Problem):
        return Tree(None, (text,))
    if located.dialect is Dialect.AZURE:
        from batchctl.spec.yaml_nodes import read_yaml

        return read_yaml(text, located.shown)
    from batchctl.spec.toml_nodes import read_toml

    return read_toml(text, located.shown)


def _overlay(draft: Draft, flags: Mapping[str, object], *, environ: Mapping[str, str], cwd: Path) -> None:
    """Environment variables and flags over what the file gave; the draft's ranks decide who wins."""
    for setting in SETTINGS:
        if not setting.flag:
            continue
        text = environ.get(setting.variable)
        if text is not None and text.strip():
            node = _variable_node(setting, text)
            draft.take(setting, node, base=cwd, rank=Rank.VARIABLE)
        given = flags.get(setting.field)
        if given is not None and given != []:
            draft.take(setting, _flag_node(setting, given), base=cwd, rank=Rank.FLAG)
    known = [setting.variable.removeprefix(PREFIX) for setting in SETTINGS if setting.flag]
    known += [name.upper() for name in COMMAND_SWITCHES]
    for name in sorted(environ):
        short = name.removeprefix(PREFIX)
        # Without the prefix, which alone makes any two alike; what resembles nothing of ours is another program's.
        hint = did_you_mean(short, known) if short not in (*known, name) else ""
        if hint:
            draft.notes.append(f"{escaped(name)}: is no variable of batchctl's; {hint}")


def _variable_node(setting: Setting, text: str) -> Node:
    """A repeatable setting: a line each; on a single line, commas (not in BATCHCTL_ENV, whose values may hold them)."""
    if not setting.multiple:
        return scalar(setting.variable, text)
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    if len(lines) == 1 and setting.field != "environment":
        lines = [part.strip() for part in lines[0].split(",") if part.strip()]
    return listed(setting.variable, lines)


def _flag_node(setting: Setting, given: object) -> Node:
    if isinstance(given, bool) and setting.switch:
        return scalar(setting.flag if given else f"--no-{setting.flag.removeprefix('--')}", str(given))
    if isinstance(given, (list, tuple)):
        return listed(setting.flag, [str(item) for item in given])
    return scalar(setting.flag, str(given))


def _defaults(draft: Draft, located: Located) -> None:
    dialect = located.dialect
    for setting in SETTINGS:
        if setting.field not in ("name", "environment") and setting.field not in draft.values:
            value = setting.default_for(dialect)
            source = f"default ({dialect} dialect)" if dialect in setting.by_dialect else "default"
            draft.put(setting.field, Value(value, source, Rank.DEFAULT))
    if "scorer" not in draft.values:
        draft.put("scorer", Value(Scorer.SCRIPT, "default", Rank.DEFAULT))
    if "name" not in draft.values:
        name = located.path.parent.name or "job"
        draft.put("name", Value(name, "default (folder of the spec)", Rank.DEFAULT))
    if "inputs" not in draft.values:
        draft.put("inputs", Value((), "default", Rank.DEFAULT))
    named, written = draft.values["output_file_name"], draft.values["output_format"]
    if named.rank is Rank.DEFAULT and written.value in (OutputFormat.JSONL, OutputFormat.PARQUET):
        value = Value(f"predictions.{written.value}", "default (from output_format)", Rank.DEFAULT)
        draft.put("output_file_name", value)


def _cross_checks(draft: Draft) -> None:
    for name, value in sorted(draft.environment.items()):
        if name in RESERVED_VARIABLES:
            draft.notes.append(f"{escaped(value.source)}: not used: batchctl sets {name} itself")
        elif name in OFFERED_VARIABLES:
            draft.notes.append(f"{escaped(value.source)}: used in place of batchctl's own {name}")
    _output_checks(draft)


def _output_checks(draft: Draft) -> None:
    action, name = draft.values["output_action"], draft.values["output_file_name"]
    if action.value is OutputAction.SUMMARY_ONLY and name.rank is not Rank.DEFAULT:
        what = "not used: summary_only writes no predictions file (Azure refuses the two together)"
        draft.notes.append(f"{escaped(name.source)}: {what}")
    header, written = draft.values["header"], draft.values["output_format"]
    if header.rank is not Rank.DEFAULT and written.value is not OutputFormat.AZURE:
        what = "not used: csv always begins with a header, jsonl and parquet need none"
        draft.notes.append(f"{escaped(header.source)}: {what}")
    direct, rule = draft.values["own_files"], draft.values["on_collision"]
    if direct.value is OwnFiles.DIRECT and rule.value is not OnCollision.FAIL:
        what = f"on_collision = {rule.value} needs files to be collected, and own_files = direct collects none"
        draft.add(Problem(escaped(rule.source), what, "Leave one of the two out"), rank=Rank.FLAG)


def _out_folder(path: Path) -> Path:
    # A link to a folder is followed once, here, because the user named it; what is opened below OUT follows none.
    return path.resolve() if found(path) is Found.FOLDER else path


def _job_spec(draft: Draft, located: Located, *, out: Path | None) -> JobSpec:
    values: dict[str, Any] = {name: value.value for name, value in draft.values.items()}
    sources = {name: value.source for name, value in draft.values.items()}
    variables = sorted(draft.environment.items())
    sources["environment"] = "; ".join(dict.fromkeys(value.source for _, value in variables)) or "default"
    sources.update({f"environment.{name}": value.source for name, value in variables})
    return JobSpec(
        dialect=located.dialect,
        spec_path=located.path,
        out=out,
        environment={name: str(value.value) for name, value in variables},
        sources=sources,
        notes=tuple(draft.notes),
        **values,
    )
