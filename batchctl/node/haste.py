"""How soon to look again: sooner where memory is going fast. Pure.

A reading costs time, and a crew that has settled needs one a second. But a leak, or a file that is far larger than the
others, can take what is left within that second. So the next look comes after an eighth of the time in which what is
left above the reserve would be gone at the pace of the last two readings, within the two bounds.
"""

from __future__ import annotations

SOONEST_S = 0.1
LATEST_S = 1.0
LOOKS = 8  # before it is gone, if the pace stays


class Haste:
    """The pace at which available memory shrinks."""

    __slots__ = ("_last", "_pause", "_reserve")

    def __init__(self, reserve: int) -> None:
        self._reserve = reserve
        self._last: tuple[float, int] | None = None
        self._pause = LATEST_S

    def see(self, available: int, *, now: float) -> None:
        """A reading."""
        pause = LATEST_S
        if self._last is not None:
            then, before = self._last
            lost, took = before - available, now - then
            if lost > 0 and took > 0:
                pause = max(0, available - self._reserve) * took / lost / LOOKS
        self._pause = min(LATEST_S, max(SOONEST_S, pause))
        self._last = (now, available)

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return self._pause
