"""When memory is so short that a worker has to go, and when its place may be tried again. Pure.

- below a quarter of the reserve: one goes at once, by being killed;
- below the reserve on two looks in a row: one goes when it has finished what it is at;
- the machine stalls (PSI "full" avg10 of 20 % and more, rising over three looks) below twice the reserve: the same.

Afterwards counting begins anew, and nobody else goes before that worker's end and SETTLE_S have passed.
"""

from __future__ import annotations

from batchctl.named_tuple import NamedTuple
from batchctl.node.told import size

LOW_LOOKS = 2
STALLED_PERCENT = 20.0
STALLED_LOOKS = 3
SETTLE_S = 2.0  # until what a worker held is seen to be free
QUIET_S = 30.0


class Relief(NamedTuple):
    """A worker has to go: why, and whether it may not finish what it is at (`now`)."""

    why: str
    now: bool


class Pressure:
    """The last looks at one machine."""

    __slots__ = ("_low", "_reserve", "_rising", "_stalled")

    def __init__(self, reserve: int) -> None:
        self._reserve = reserve
        self.relieved()

    def relieved(self) -> None:
        """One was told to go: what is seen from here on counts."""
        self._low = 0  # looks in a row below the reserve
        self._rising = 1  # looks in a row of which each saw more stalling than the one before
        self._stalled: float | None = None

    def look(self, available: int, stalled: float | None) -> Relief | None:
        self._low = self._low + 1 if available < self._reserve else 0
        self._watch(stalled)
        why = f"{size(available)} available, {size(self._reserve)} are kept in reserve"
        if available < self._reserve // 4:
            return Relief(why, True)
        if self._low >= LOW_LOOKS:
            return Relief(why, False)
        if (
            stalled is not None
            and stalled >= STALLED_PERCENT
            and self._rising >= STALLED_LOOKS
            and available < 2 * self._reserve
        ):
            return Relief(f"memory stalls everybody {stalled:.0f} % of the time and rising, {why}", False)
        return None

    def _watch(self, stalled: float | None) -> None:
        # The kernel renews its averages every two seconds: an equal value is the same look again.
        if stalled is None or self._stalled is None or stalled < self._stalled:
            self._rising = 1
        elif stalled > self._stalled:
            self._rising += 1
        self._stalled = stalled


class Quiet:
    """How long nothing may have been amiss before a place is opened again: 30 s, twice as long after every relapse.

    A relapse is a retirement after a place was opened again, so there are at most log2(run time / 30 s) of them.
    """

    __slots__ = ("_again", "_since", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0  # 0: nobody was retired
        self._since = 0.0
        self._again = False

    def retired(self, now: float) -> None:
        if not self.seconds:
            self.seconds = QUIET_S
        elif self._again:
            self.seconds *= 2
        self._again = False
        self._since = now

    def disturbed(self, now: float) -> None:
        """Memory was short at this moment."""
        self._since = now

    def opened(self) -> None:
        self._again = bool(self.seconds)

    def over(self, now: float) -> bool:
        """May places be opened?"""
        return not self.seconds or now - self._since >= self.seconds
