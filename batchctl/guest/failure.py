"""Errors as data: class name, message and traceback text, capped, with our own frames cut off the top.

Nothing here raises, whatever the user's exception does in `__str__`; nothing keeps the exception or its frames alive.
"""

from __future__ import annotations

import os
import traceback
from types import TracebackType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

MESSAGE_CAP = 8 << 10
TRACEBACK_CAP = 64 << 10


class ContractError(Exception):
    """The script does not keep the contract (no `run`, wrong arity, wrong return type); the message says how."""


def refuse_twice(names: List[str]) -> None:
    """ContractError where two columns would have one name: of such rows the readers keep one value, or none."""
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ContractError("two columns are named %r: give each a name of its own, or write csv" % name)


class InputChanged(Exception):
    """An input file changed while it was scored: the rows may be of neither its old content nor its new."""

    def __init__(self, path: str, told: str, *, others: int = 0) -> None:
        more = " (and %d more of this mini-batch)" % others if others else ""
        text = (
            "input file %r changed while it was scored: %s%s. Where the script itself writes to it: input_check = never"
        )
        super().__init__(text % (path, told, more))


class FileError(Exception):
    """One input file could not be scored, because of `cause`; it is told as that, with the file named. `said` stands
    for the cause's own message, where that says too much."""

    def __init__(self, path: str, cause: Exception, *, said: str = "") -> None:
        super().__init__(path, cause)
        self.path = path
        self.cause = cause
        self.said = said


def describe(error: BaseException) -> Dict[str, str]:
    """{"error", "message", "traceback"} of an exception that was caught."""
    if isinstance(error, ContractError):
        return {"error": "ContractError", "message": cap(str(error), MESSAGE_CAP), "traceback": ""}
    if isinstance(error, InputChanged):
        return {"error": "InputChanged", "message": cap(str(error), MESSAGE_CAP), "traceback": ""}
    if isinstance(error, FileError):
        found = describe(error.cause)
        said = error.said or found["message"]
        found["message"] = cap("Error processing input file %r: %s" % (error.path, said), MESSAGE_CAP)
        return found
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = "%s.%s" % (kind.__module__, name)
    try:
        message = str(error)
    except BaseException as second:
        message = "<its message cannot be had: __str__ raised %s>" % type(second).__name__
    return {"error": name, "message": cap(message, MESSAGE_CAP), "traceback": cap(_text(error), TRACEBACK_CAP)}


def _text(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, _cut(error.__traceback__))
        return "".join(lines)
    except BaseException as second:
        return "<its traceback cannot be had: %s>\n" % type(second).__name__


def _cut(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    """The traceback from the first frame that is neither ours nor the import system's."""
    at = trace
    while at is not None:
        path = at.tb_frame.f_code.co_filename
        if not path.startswith(_OURS) and not path.startswith("<frozen importlib"):
            return at
        at = at.tb_next
    return None


# Where our frames say that they come from; not `__file__`: the zip may hold byte code that was compiled elsewhere.
_OURS = os.path.dirname(_cut.__code__.co_filename) + os.sep


def peak_memory() -> Optional[int]:
    """The most bytes that this process ever had resident; None where the kernel does not say.

    Not ru_maxrss: a forked process inherits that from its parent.
    """
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return None


def cap(text: str, most: int) -> str:
    """`text` in at most `most` characters; of one that is longer, head and tail with a mark between them."""
    if len(text) <= most:
        return text
    mark = "\n... %d characters left out ...\n" % (len(text) - most)
    half = (most - len(mark)) // 2
    return text[:half] + mark + text[-half:]
