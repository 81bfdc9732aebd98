"""How a process died, in words."""

from __future__ import annotations

import os
import re
import signal

from batchctl.model.outcome import Shortage

# Byte code that the build made (the guest's, our own Python's) names files without a folder; scripts are absolute.
_OUR_FRAME = (
    r'  File "(?:(?:[^"]*/)?guest\.pyz/[^"]*|batchctl/(?:embedded|frozen)\.py|entry\.py'
    r'|<frozen (?:runpy|importlib\.[^"]*)>)", line \d+ in '
)


# What a SIGKILL that is not ours is called, by what the kernel's books say of it.
_FROM_OUTSIDE = {
    Shortage.MEMORY: "out of memory: the kernel killed it (SIGKILL)",
    Shortage.SUSPECTED: "killed by SIGKILL from outside (suspected: out of memory, see the kernel log)",
}


def was_sigkill(status: int) -> bool:
    """Is SIGKILL what ended it?"""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def shortage_of(starved: bool | None) -> Shortage:
    """What a SIGKILL that is not ours was for. `starved`: did the kernel kill for memory? None: nobody can tell."""
    if starved is None:
        return Shortage.SUSPECTED
    return Shortage.MEMORY if starved else Shortage.NONE


def describe_status(status: int, *, ours: str = "", shortage: Shortage = Shortage.NONE) -> str:
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
        return _FROM_OUTSIDE.get(shortage, f"killed by {name} from outside")
    core = ", core dumped" if os.WCOREDUMP(status) else ""
    return f"killed by {name}{core}"


def without_our_frames(tail: str) -> str:
    """The end of a worker's output, our own frames taken out of its stack dumps: the script's are what is asked for."""
    return "\n".join(line for line in tail.split("\n") if not re.match(_OUR_FRAME, line))
