"""How many leases a worker may hold, from how long one takes it: `run`, and to render and keep what came of it.

A worker with one lease idles for a round trip (50-200 us, more on a busy machine) after each; with several it never
does. But a lease that waits in a worker's hands is one that an idle worker cannot have. So:

| it takes | leases | because |
|---|---|---|
| not known | 1 | the first `run` often loads what the rest finds loaded |
| < 20 us | 256 | what a frame costs at both ends is shared by 128 results; 256 x 20 us = 5 ms held back |
| < 50 us | 64 | the coordinator, not the worker, is what is waited for: fewer and larger frames (measured: a fifth less wall on 20,000 mini-batches of 5 us) |
| < 1.25 ms | 16 | 8 results come in one frame, so that the coordinator is woken a quarter as often; 16 x 1.25 ms = 20 ms held back |
| < 5 ms | 4 | at most 20 ms held back |
| <= 100 ms | 2 | one in work, one at hand: the round trip is hidden |
| > 100 ms | 1 | the round trip is under 0.2 % |

Never more than the worker's fair share of what is waiting, so that the end of a run is shared by all.
"""  # noqa: E501 - a table row is one line

from __future__ import annotations

_MS = 1_000_000

# time below which ... leases are held; nanoseconds
_STEPS = ((20_000, 256), (50_000, 64), (1_250_000, 16), (5 * _MS, 4), (100 * _MS + 1, 2))


class RunEstimate:
    """A moving estimate of the time that one lease takes, in nanoseconds. Quick to rise, slow to fall.

    The two errors are not alike: too many leases behind a long `run` keep work from idle workers for its whole
    length, too few cost a round trip each. The second one of a new worker is believed at once where it is shorter: the
    first loads what the rest finds loaded. `seed_ns`: what other workers of the run have shown, for a new one.
    """

    __slots__ = ("_first", "ns")

    def __init__(self, seed_ns: int | None = None) -> None:
        self.ns = seed_ns
        self._first = False  # `ns` is what the first one took

    def observe(self, run_ns: int) -> None:
        ns = self.ns
        if ns is None:
            self.ns, self._first = run_ns, True
            return
        if run_ns > ns:
            self.ns = ns + ((run_ns - ns + 1) >> 1)
        elif self._first:
            self.ns = run_ns
        else:
            self.ns = ns - ((ns - run_ns) >> 3)
        self._first = False


def credits_for(run_ns: int | None, *, waiting: int, workers: int) -> int:
    """Leases that a worker may hold, those in its hands included; at least 1. `waiting`: leases not handed out."""
    leases = 1
    if run_ns is not None:
        for below, held in _STEPS:
            if run_ns < below:
                leases = held
                break
    return max(1, min(leases, -(-waiting // max(1, workers))))
