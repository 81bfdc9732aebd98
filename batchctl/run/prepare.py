"""What stands before a run: what the interpreter says of the script, the inputs' plan, the fingerprint.

The same code prepares `run`, `plan` and `check`; nothing here writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from batchctl.engine.base import Arity, Engine, ScriptFacts
from batchctl.engine.interpreter import Interpreter
from batchctl.errors import SpecError, UsageError
from batchctl.model.job import Dialect, JobSpec, Scorer
from batchctl.plan.encode import PlanImage, build_plan
from batchctl.plan.fingerprint import Fingerprint, FingerprintRequest, take_fingerprint
from batchctl.plan.inputs import InputRequest
from batchctl.plan.partitions import Partitions
from batchctl.plan.patterns import is_glob
from batchctl.run.document import RecordedRequest, interpreter_facts
from batchctl.run.request import Call
from batchctl.run.schedule import sizes_up_to
from batchctl.spec.identity import fixed_part


def checked_facts(call: Call, engine: Engine) -> ScriptFacts:
    """What the interpreter says of the script; SpecError when it cannot run there."""
    facts = engine.facts()
    problems = script_problems(facts, call.spec, interpreter=call.interpreter)
    if problems:
        raise SpecError(problems, where=str(call.spec.script))
    return facts


def checked_fingerprint(call: Call, engine: Engine, *, old: Fingerprint | None) -> Fingerprint:
    """Ask the interpreter about the script; SpecError when it cannot run there, else the fingerprint."""
    facts = checked_facts(call, engine)
    return fingerprint_of(call.spec, facts, call.interpreter, piped=call.options.piped, old=old)


def recorded(call: Call) -> RecordedRequest:
    """What was typed, and where."""
    return RecordedRequest(call.options.command, str(Path.cwd()))


def script_problems(facts: ScriptFacts, spec: JobSpec, *, interpreter: Interpreter) -> tuple[str, ...]:
    """What makes the script unusable in this interpreter, each with its place and its remedy; empty when usable."""
    script = str(spec.script)
    if facts.syntax_error:
        what = facts.syntax_error.partition(": ")
        return (f"{script}:{what[0].removeprefix('line ')}: {what[2]} (Python {facts.python}). Mend the script",)
    problems = list(table_problems(facts, spec, interpreter=interpreter))
    if facts.missing:
        verb = "takes" if spec.scorer is Scorer.MLFLOW else "imports"
        problems.append(f"{script}: {verb} {', '.join(facts.missing)}, which {_lacking(interpreter, facts)}")
    if not facts.dynamic:
        problems.extend(_contract_problems(facts.functions, script))
    return tuple(problems)


def table_problems(facts: ScriptFacts, spec: JobSpec, *, interpreter: Interpreter) -> tuple[str, ...]:
    """Why rows cannot be made Arrow's in this interpreter, where the output is to be parquet; empty when they can."""
    if facts.pyarrow or not spec.writes_tables:
        return ()
    lacking = _lacking(interpreter, facts)
    return (f"output_format = parquet takes pyarrow, which {lacking}. Or choose csv or jsonl (--output-format)",)


def _lacking(interpreter: Interpreter, facts: ScriptFacts) -> str:
    if interpreter.embedded:
        return (
            f"{interpreter.shown} (embedded, {facts.python}) does not have. Name the interpreter that has them with "
            f"--python; `batchctl self info --packages` lists what is inside"
        )
    return (
        f"{interpreter.path} (Python {facts.python}) does not have. "
        f"Install there (pip install), or name the interpreter that has them with --python"
    )


def _contract_problems(functions: Mapping[str, Arity | None], script: str) -> list[str]:
    found = []
    run, init = functions.get("run"), functions.get("init")
    if run is None:
        found.append(f"{script}: defines no run(mini_batch). Define it: it is called with a list of paths")
    elif run.most == 0 or run.least > 2:
        found.append(f"{script}: run() takes {_told(run)}. Define it as run(mini_batch) or run(mini_batch, context)")
    if init is not None and init.least > 0:
        found.append(f"{script}: init() takes {_told(init)}. It is called without any: define it as init()")
    return found


def _told(arity: Arity) -> str:
    if arity.most == 0:
        return "no argument"
    return f"{arity.least} argument{'s' if arity.least != 1 else ''}"


def input_request(
    spec: JobSpec, *, piped: Mapping[str, bytes] | None, sizes_up_to: int | None = None, preview: bool = False
) -> InputRequest:
    """The listing that the spec asks for; UsageError without any INPUT. `sizes_up_to`, `preview`: see InputRequest."""
    if not spec.inputs:
        raise UsageError("no INPUT was given", remedy="give a folder, a file, a glob or @list.txt after SPEC")
    return InputRequest(
        inputs=spec.inputs,
        folder=Path.cwd(),
        grouping=spec.grouping,
        include=spec.include,
        exclude=spec.exclude,
        out=spec.out,
        state=spec.state_dir,
        piped=piped,
        sizes_up_to=sizes_up_to,
        preview=preview,
    )


def plan_inputs(
    spec: JobSpec,
    *,
    piped: Mapping[str, bytes] | None,
    preview: bool = False,
    meanwhile: Callable[[], None] | None = None,
) -> PlanImage:
    """List the inputs and form the mini-batches. Sizes are looked at in small listings, or where all are wanted (by
    the spec, or for a preview): a stat costs three times what listing a file costs, and far more over a network.
    `meanwhile`: see build_plan."""
    request = input_request(spec, piped=piped, sizes_up_to=sizes_up_to(spec), preview=preview)
    partitions = Partitions(spec.partition_keys, spec.partition_format) if spec.partition_keys else None
    return build_plan(
        request,
        mini_batch_size=spec.mini_batch_size,
        max_batch_bytes=spec.max_batch_bytes,
        partitions=partitions,
        meanwhile=meanwhile,
    )


def fingerprint_of(
    spec: JobSpec,
    facts: ScriptFacts,
    interpreter: Interpreter,
    *,
    piped: Mapping[str, bytes] | None,
    old: Fingerprint | None = None,
) -> Fingerprint:
    """What the run directory must fit."""
    if spec.out is not None and spec.model is not None and spec.out.resolve() == spec.model.resolve():
        what = "the model's folder is the output folder: results would become part of the model"
        raise UsageError(what, where=str(spec.out), remedy="choose another folder with -o")
    inputs = tuple(_absolute(given) for given in spec.inputs)
    folders = tuple(Path(given) for given in inputs if not given.startswith(("@", "-")) and _is_literal(given))
    own = tuple(path for path in (spec.out, spec.state_dir) if path is not None)
    scripted = spec.scorer is Scorer.SCRIPT  # else the model is all there is
    request = FingerprintRequest(
        script=spec.script if scripted else None,
        code=spec.code if scripted else None,
        model=spec.model,
        environment=spec.environment,
        fields=fixed_part(spec),
        interpreter=interpreter_facts(facts, interpreter, writes_tables=spec.writes_tables),
        inputs=tuple(_with_digest(given, piped or {}) for given in spec.inputs),
        skip=(*folders, *own),
        modules_only=spec.dialect is Dialect.SCRIPT,
    )
    return take_fingerprint(request, old=old)


def _is_literal(path: str) -> bool:
    """No glob; what has that very name is none either, as the listing sees it."""
    return not is_glob(path) or os.path.lexists(path)


def _with_digest(given: str, piped: Mapping[str, bytes]) -> str:
    """A list is what it says, not only where it stands; a pipe stands nowhere."""
    named = _absolute(given)
    if given in piped or named in ("-", "@-"):
        import hashlib

        named = named if named == "-" else "@-"
        digest = hashlib.sha256(piped.get(given, b""))
    elif named.startswith("@"):
        import hashlib

        path = Path(named[1:])
        try:
            if not path.is_file():  # a pipe would be waited for; the listing reads none either
                return named
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        except OSError:  # the listing has said so, or will
            return named
    else:
        return named
    return f"{named} (sha256 {digest.hexdigest()[:16]})"


def _absolute(given: str) -> str:
    if given in ("-", "@-"):
        return given
    prefix, path = ("@", given[1:]) if given.startswith("@") else ("", given)
    return prefix + str(Path.cwd() / path)
