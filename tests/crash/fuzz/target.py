"""A reader under fire: where its inputs come from, what it may refuse them with, what must hold where it does not."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from tests.crash.fuzz.mutations import mutated

LIMIT_S = 20.0  # of wall-clock time for one input; generous, the machine may be busy


class Broken(AssertionError):
    """An input was accepted that must not be, or as something that it is not."""


class Hung(BaseException):
    """An input took more than LIMIT_S."""


@dataclass(frozen=True, slots=True)
class Target:
    """`check` reads one input: it returns where the input was accepted and everything about it holds, raises one of
    `refusals` where it is refused, and anything else is a finding. `share`: how many of all inputs it gets, in
    proportion; cheap ones get most. `make`: its own inputs, else they are mutations of `seeds`."""

    name: str
    share: int
    check: Callable[[bytes], None]
    refusals: tuple[type[BaseException], ...]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    make: Callable[[random.Random], bytes] | None = None

    def input(self, dice: random.Random) -> bytes:
        if self.make is not None and dice.random() < 0.8:
            return self.make(dice)
        return mutated(self.seeds, self.words, dice)

    def accepts(self, data: bytes) -> bool:
        """False where it was refused. Raises what was found."""
        try:
            self.check(data)
        except self.refusals:
            return False
        return True


def bounded(target: Target, data: bytes) -> str:
    """ "accepted", "refused", or in words what was found; every input gets LIMIT_S. Main thread only."""
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        return "accepted" if target.accepts(data) else "refused"
    except Hung:
        return f"hung for {LIMIT_S:g} s"
    except Exception as error:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_filename.rpartition('/')[2]}:{where.tb_lineno}" if where else "nowhere"
        return f"{type(error).__name__} at {place}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def arm() -> None:
    """Once per process, before `bounded`."""
    signal.signal(signal.SIGALRM, _hung)


def _hung(_number: int, _frame: FrameType | None) -> None:
    raise Hung


def holds(kept: bool, what: str) -> None:
    if not kept:
        raise Broken(what)


def texts(*words: str) -> tuple[bytes, ...]:
    return tuple(word.encode("utf-8", "surrogateescape") for word in words)


Make = Callable[[Sequence[bytes]], list[Target]]
