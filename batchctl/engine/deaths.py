"""How a process died, in words."""

from __future__ import annotations

import os
import re
import signal

# Byte code that the build made (the guest's, our own Python's) names files without a folder; scripts are absolute.
_OUR_FRAME = re.compile(
    r'  File "(?:(?:[^"]*/)?guest\.pyz/[^"]*|batchctl/(?:embedded|frozen)\.py|entry\.py'
    r'|<frozen (?:runpy|importlib\.[^"]*)>)", line \d+ in '
)


def describe_status(status: int, *, ours: str = "") -> str:
    """A wait status in words: exit code or signal, and the likely cause. `ours`: why we killed it, if we did."""
    if os.WIFEXITED(status):
        return f"exited with code {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if ours:
        return f"killed by {name} ({ours})"
    if number == signal.SIGKILL:
        return f"killed by {name} from outside (suspected: out of memory, see the kernel log)"
    core = ", core dumped" if os.WCOREDUMP(status) else ""
    return f"killed by {name}{core}"


def without_our_frames(tail: str) -> str:
    """The end of a worker's output, our own frames taken out of its stack dumps: the script's are what is asked for."""
    return "\n".join(line for line in tail.split("\n") if not _OUR_FRAME.match(line))
