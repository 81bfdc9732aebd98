"""How a process died, in words; the statuses are those of real children."""

from __future__ import annotations

import os
import signal

import pytest

from batchctl.engine.deaths import describe_status, shortage_of, was_sigkill, without_our_frames

# name: (what the child does, ours, words)
DEATHS = {
    "exit 0": (lambda: os._exit(0), "", "exited with code 0"),
    "exit 71": (lambda: os._exit(71), "", "exited with code 71"),
    "exit on our order": (lambda: os._exit(3), "an order", "exited with code 3"),
    "SIGTERM": (lambda: os.kill(os.getpid(), signal.SIGTERM), "", "killed by SIGTERM"),
    "SIGKILL": (
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        "",
        "killed by SIGKILL from outside",
    ),
    "SIGKILL by us": (lambda: os.kill(os.getpid(), signal.SIGKILL), "an order", "killed by SIGKILL (an order)"),
    "a real-time signal": (lambda: os.kill(os.getpid(), 50), "", "killed by signal 50"),
}


# wait status of the fork server's report, what the kernel's books say -> words
KILLS = {
    "the kernel's doing": (signal.SIGKILL, True, "", "out of memory: the kernel killed it (SIGKILL)"),
    "nobody can tell": (
        signal.SIGKILL, None, "", "killed by SIGKILL from outside (suspected: out of memory, see the kernel log)",
    ),
    "somebody else's": (signal.SIGKILL, False, "", "killed by SIGKILL from outside"),
    "ours": (signal.SIGKILL, None, "an order", "killed by SIGKILL (an order)"),
}  # fmt: skip


@pytest.mark.parametrize("case", KILLS)
def test_a_kill_is_called_by_what_the_books_say(case: str) -> None:
    status, starved, ours, words = KILLS[case]
    assert was_sigkill(status)
    assert describe_status(status, ours=ours, shortage=shortage_of(starved)) == words
    assert not was_sigkill(signal.SIGTERM)
    assert not was_sigkill(signal.SIGKILL << 8)  # an exit code


@pytest.mark.parametrize("case", DEATHS)
def test_describe_status(case: str) -> None:
    act, ours, words = DEATHS[case]
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        act()
        os._exit(99)
    assert describe_status(os.waitpid(pid, 0)[1], ours=ours) == words


def test_a_core_is_mentioned() -> None:
    assert describe_status(signal.SIGSEGV | 0x80) == "killed by SIGSEGV, core dumped"
    assert describe_status(signal.SIGSEGV) == "killed by SIGSEGV"


def test_our_frames_are_cut_out_of_stack_dumps() -> None:
    theirs = ["Thread 0x1 (most recent call first):", '  File "/job/score.py", line 9 in run', "a line of output"]
    ours = [
        '  File "/o/.batchctl/guest.pyz/_batchctl_guest/loop.py", line 120 in _score_all',
        '  File "/o/.batchctl/guest.pyz/__main__.py", line 3 in <module>',
        '  File "<frozen runpy>", line 88 in _run_code',
        '  File "guest.pyz/_batchctl_guest/server.py", line 205 in main',  # from here on: the packaged file
        '  File "batchctl/embedded.py", line 157 in _run',
        '  File "batchctl/frozen.py", line 41 in start',
        '  File "entry.py", line 24 in <module>',
    ]
    assert without_our_frames("\n".join([*theirs, *ours])) == "\n".join(theirs)
    assert without_our_frames("") == ""
