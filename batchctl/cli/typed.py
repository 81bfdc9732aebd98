"""The command line as it was typed, fit to be shown and kept: values that may be secrets are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ENVIRONMENT_KEY = r"(^|\.)(env|environment_variables)(\.|$)"
MASKED = "***"


def shareable(argv: Sequence[str]) -> tuple[str, ...]:
    """`argv` with the values of `--env K=V` and of `--set` keys that set environment variables replaced by `***`."""
    shown: list[str] = []
    flag = ""
    for word in argv:
        name, equals, value = word.partition("=")
        if flag:
            shown.append(_masked(flag, word))
        elif equals and name in ("--env", "--set"):
            shown.append(f"{name}={_masked(name, value)}")
        else:
            shown.append(word)
        flag = word if not flag and word in ("--env", "--set") else ""
    return tuple(shown)


def _masked(flag: str, assignment: str) -> str:
    key, equals, _ = assignment.partition("=")
    if equals and (flag == "--env" or re.search(_ENVIRONMENT_KEY, key)):
        return f"{key}={MASKED}"
    return assignment
