"""Does this run directory fit this spec, script, model and inputs? What job.json keeps to answer that.

Values of environment variables are never recorded: only digests under a random salt of the run's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from batchctl.named_tuple import NamedTuple
from batchctl.plan.display import display_name, machine_name
from batchctl.plan.manifest import FileDigest, Manifest, digest_code, digest_files, digest_model


class FingerprintRequest(NamedTuple):
    """What a fingerprint is taken of. `fields`: the values of the spec that a resume may not change, by their names;
    `interpreter`: facts such as {"python": "3.11.7", "pandas": "3.1.1"} (absent ones ""); `skip`: OUT and INPUT
    folders, not digested as code or model; `modules_only`: of the code folder only `*.py` and packages count (it is
    merely where a bare script lies).
    """

    script: Path | None  # None: an MLflow model without one
    code: Path | None
    model: Path | None = None
    environment: Mapping[str, str] = {}
    fields: Mapping[str, str | int | float | bool | Sequence[str] | None] = {}
    interpreter: Mapping[str, str] = {}
    inputs: tuple[str, ...] = ()
    skip: tuple[Path, ...] = ()
    modules_only: bool = False


class Fingerprint(NamedTuple):
    """`to_dict` gives what JSON can hold; `from_dict` takes it back (else KeyError, TypeError, ValueError)."""

    script: Manifest
    code: Manifest
    model: Manifest
    salt: str  # hex
    environment: Mapping[str, str]  # name -> HMAC-SHA-256 of the value under the salt, hex
    fields: Mapping[str, str]  # rendered as text
    interpreter: Mapping[str, str]
    inputs: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "script": [digest.to_dict() for digest in self.script],
            "code": [digest.to_dict() for digest in self.code],
            "model": [digest.to_dict() for digest in self.model],
            "salt": self.salt,
            "environment": dict(self.environment),
            "fields": dict(self.fields),
            "interpreter": dict(self.interpreter),
            "inputs": list(self.inputs),
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        return cls(
            script=_manifest(found["script"]),
            code=_manifest(found["code"]),
            model=_manifest(found["model"]),
            salt=str(found["salt"]),
            environment=_texts(found["environment"]),
            fields=_texts(found["fields"]),
            interpreter=_texts(found["interpreter"]),
            inputs=tuple(str(given) for given in found["inputs"]),
        )


def _manifest(found: Sequence[Mapping[str, Any]]) -> Manifest:
    return tuple(FileDigest.from_dict(digest) for digest in found)


def _texts(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in found.items()}


def _salted(environment: Mapping[str, str], *, salt: str) -> dict[str, str]:
    if not environment:
        return {}
    import hashlib
    import hmac

    key = bytes.fromhex(salt)
    return {
        machine_name(name): hmac.new(key, value.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
        for name, value in sorted(environment.items())
    }


def _rendered(value: object) -> str:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return machine_name(str(value))
    return machine_name(str([str(part) for part in value]))


def _code(code: Path, request: FingerprintRequest, *, skip: Sequence[Path], old: Fingerprint | None) -> Manifest:
    return digest_code(code, skip=skip, old=old.code if old else (), modules_only=request.modules_only)


def take_fingerprint(request: FingerprintRequest, *, old: Fingerprint | None = None) -> Fingerprint:
    """Digest everything. With `old` (a resume) its salt is used and its unchanged files are not read again.

    Raises UsageError naming a file or folder that cannot be read.
    """
    script, code, model = request.script, request.code, request.model
    salt = old.salt if old is not None else os.urandom(16).hex()
    skip = [*request.skip, *(path for path in (script, model) if path is not None)]
    return Fingerprint(
        script=digest_files(script.parent, [script.name], old=old.script if old else ()) if script else (),
        code=_code(code, request, skip=skip, old=old) if code else (),
        model=digest_model(model, skip=request.skip, old=old.model if old else ()),
        salt=salt,
        environment=_salted(request.environment, salt=salt),
        fields={name: _rendered(value) for name, value in sorted(request.fields.items())},
        interpreter={name: machine_name(value) for name, value in sorted(request.interpreter.items())},
        inputs=tuple(machine_name(given) for given in request.inputs),
    )


def _file_lines(old: Manifest, new: Manifest, *, prefix: str, short: bool) -> list[str]:
    before, now = ({digest.path: digest for digest in manifest} for manifest in (old, new))
    lines = []
    for path in sorted(before.keys() | now.keys()):
        shown = display_name(f"{prefix}{path}")
        if path not in now:
            lines.append(f"{shown} removed")
        elif path not in before:
            lines.append(f"{shown} added")
        elif before[path].sha256 != now[path].sha256:
            digests = f" (sha256 {before[path].sha256[:8]}.. -> {now[path].sha256[:8]}..)" if short else ""
            lines.append(f"{shown} changed{digests}")
    return lines


def _field_lines(old: Mapping[str, str], new: Mapping[str, str], *, prefix: str = "") -> list[str]:
    return [
        display_name(f"{prefix}{name} {old.get(name) or '(none)'} -> {new.get(name) or '(none)'}")
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _environment_lines(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    lines = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            lines.append(f"environment variable {name} removed")
        elif name not in old:
            lines.append(f"environment variable {name} added")
        elif old[name] != new[name]:
            lines.append(f"environment variable {name} changed")
    return [display_name(line) for line in lines]


def differences(old: Fingerprint, new: Fingerprint) -> tuple[str, ...]:
    """What changed from `old` to `new`, a line each for people, naming file or field; empty: the run may be resumed.

    `new` must have been taken with the salt of `old` (`take_fingerprint(..., old=old)`), else every variable differs.
    Modification times alone are no difference.
    """
    lines = _file_lines(old.script, new.script, prefix="", short=True)
    lines += _file_lines(old.code, new.code, prefix="code/", short=False)
    lines += _file_lines(old.model, new.model, prefix="model/", short=False)
    lines += _field_lines(old.fields, new.fields)
    lines += _environment_lines(old.environment, new.environment)
    lines += _field_lines(old.interpreter, new.interpreter, prefix="interpreter: ")
    if old.inputs != new.inputs:
        what = display_name(f"inputs: {' '.join(old.inputs)} -> {' '.join(new.inputs)}")
        lines.append(f"{what} (accepted or not, the planned files are read where they were)")
    return tuple(lines)
