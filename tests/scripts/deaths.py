"""Comes to grief as DEATH says at the item whose name holds "guilty"; rows are names. PAUSE_S: what others take."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import threading
import time
from typing import NoReturn

MIB = 1 << 20


def run(mini_batch: list[str]) -> list[str]:
    return [one(path) for path in mini_batch]


def one(path: str) -> str:
    name = os.path.basename(path)
    if "guilty" in name:
        DEATHS[os.environ["DEATH"]]()
    else:
        time.sleep(float(os.environ.get("PAUSE_S", "0")))
    return name


def exits() -> None:
    os._exit(1)


def exits_zero() -> None:
    os._exit(0)


def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def aborts() -> None:
    os.abort()


def segfaults() -> None:
    ctypes.string_at(0)


def leaves_child() -> None:
    child(session=False)
    os._exit(1)


def leaves_daemon() -> None:
    child(session=True)
    os._exit(1)


def returns_with_daemon() -> None:
    child(session=True)


def child(*, session: bool) -> None:
    if os.fork() == 0:
        if session:
            os.setsid()
        time.sleep(600)
        os._exit(0)


def returns_twice() -> None:
    """A forked child that comes back out of run(), as after a forgotten os._exit."""
    os.fork()


def stops() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def sleeps() -> None:
    time.sleep(600)


def spins_in_re() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")


def holds_gil() -> None:
    while True:  # a signal ends a sleep
        ctypes.PyDLL(None).sleep(600)


def holds_gil_deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        ctypes.PyDLL(None).sleep(600)


def returns_late() -> None:
    """Sleeps in C until a signal comes, which is the one that asks for its stacks at the deadline."""
    ctypes.PyDLL(None).sleep(600)


def returns_late_deaf() -> None:
    """Comes back only when it was told to go, which it ignores."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    ctypes.PyDLL(None).sleep(600)
    ctypes.PyDLL(None).sleep(600)


def floods() -> None:
    block = b"x" * (MIB - 1) + b"\n"
    for _ in range(1024):
        os.write(1, block)


def closes() -> None:
    os.closerange(0, 21)


def closes_and_prints() -> None:
    os.closerange(0, 21)
    print("nobody hears this", flush=True)


def raises_system_exit() -> None:
    raise SystemExit("enough")


def raises_interrupt() -> None:
    raise KeyboardInterrupt


def exits_in_thread() -> None:
    thread = threading.Thread(target=sys.exit, args=(3,))
    thread.start()
    thread.join()


def raises_huge() -> None:
    raise ValueError("v" * (64 * MIB))


def raises_bytes() -> None:
    raise ValueError(b"caf\xe9 \x1b[31m\n\x00".decode("utf-8", "surrogateescape"))


def raises_mute() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no message for you")

    raise MuteError


def recurses() -> None:
    recurses()


def runs_out_of_memory() -> NoReturn:
    raise MemoryError(len(bytearray(1 << 62)))


DEATHS = {
    function.__name__: function
    for function in (
        exits,
        exits_zero,
        kills_itself,
        aborts,
        segfaults,
        leaves_child,
        leaves_daemon,
        returns_with_daemon,
        returns_twice,
        stops,
        sleeps,
        spins_in_re,
        holds_gil,
        holds_gil_deaf,
        returns_late,
        returns_late_deaf,
        floods,
        closes,
        closes_and_prints,
        raises_system_exit,
        raises_interrupt,
        exits_in_thread,
        raises_huge,
        raises_bytes,
        raises_mute,
        recurses,
        runs_out_of_memory,
    )
}
