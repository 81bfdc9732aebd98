"""Outcomes of whole mini-batches that nothing happened to, many at a time: what nearly every outcome of a run is.

A call per outcome would cost as much as all the rest of what the queue does for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchctl.model.outcome import Scored


def move_whole(
    found: Sequence[Scored], state: bytearray, *, bounds: Sequence[int], before: int, after: int
) -> tuple[int, int, list[Scored]]:
    """Those that answer the first lease of a whole mini-batch in state `before` bring it to state `after`. Returns how
    many of their items are ok and how many failed, and the others, which have changed nothing."""
    others: list[Scored] = []
    all_ok = all_failed = 0
    n = len(state)
    for one in found:
        (batch, first, count, attempt), _, _, _, _, ok, failed, _, _, _, _, _ = one
        if (
            batch < n
            and state[batch] == before
            and attempt == 1
            and first == bounds[batch]
            and first + count == bounds[batch + 1]
        ):
            state[batch] = after
            all_ok += ok
            all_failed += failed
        else:
            others.append(one)
    return all_ok, all_failed, others
