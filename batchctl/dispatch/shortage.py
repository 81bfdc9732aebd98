"""What a want of memory leads to. Not the mini-batch's fault until that is proven, so the first time costs nothing.

| what was short | the first time | again | again, and it was alone |
|---|---|---|---|
| memory: the kernel killed the worker, or is suspected of it | uncharged, before everything else | uncharged; its mini-batch is a suspect: last, with the machine to itself | charged as lost; no retries: halved at once, or given up where that cannot be |
| GPU memory: the script was told so | uncharged, in a fresh worker | halved, uncharged; charged like any failure where it cannot be halved | (the same) |

"Again" is remembered by the items: the halves of what was short are not innocent once more. The caller gives the script
a fresh worker after every shortage of GPU memory, and dismisses all other workers before a suspect is leased.

Uncharged returns and halvings are not in the log: they count within one epoch, as all uncharged repeats do, and a resume
learns anew. What keeps the replay exact is that a division that nobody is charged for leaves nothing behind: its pieces
have all the attempts of what they were cut from (`Part.isolated`), and a record of one of them cuts it likewise.
"""  # noqa: E501 - a table row is one line

from __future__ import annotations

from batchctl.dispatch.isolate import Part
from batchctl.dispatch.retry import Decision, RetryPolicy
from batchctl.model.outcome import Failure, Shortage

_REMEDY = "more memory, smaller files or a smaller mini_batch_size would let it through"
_GPU_REMEDY = "a GPU with more memory, smaller files or a smaller mini_batch_size would let it through"


def decide_shortage(
    policy: RetryPolicy, shortage: Shortage, *, times: int, alone: bool, items: int, most_items: int
) -> tuple[Decision | None, str]:
    """The decision after these items were short for the `times`-th time, and the reason in words. None: charge it.

    `alone`: no other worker was there, and this one had scored nothing before. `most_items`: what has fitted into the
    GPU at once; 0: not known.
    """
    if shortage is Shortage.GPU:
        if policy.isolate and items > 1 and (times > 1 or 0 < most_items < items):
            return Decision.SPLIT, f"{items} items are too many for the GPU's memory: they are divided"
        if times == 1:
            return Decision.RETURNED, "out of GPU memory: again in a fresh worker"
        return None, ""
    if times == 1:
        return Decision.RETURNED, "out of memory: again with fewer workers, or a fresh one"
    if not alone:
        return Decision.ALONE, "out of memory again: at the end, with the machine to itself"
    return None, ""


def concluded(failure: Failure, *, alone: bool) -> Failure:
    """The failure as it is charged: what happened, and what would help."""
    if failure.shortage is Shortage.GPU:
        told = f"out of GPU memory, in a fresh worker too; {_GPU_REMEDY}: {failure.message}"
    else:
        told = f"{failure.message}{', and it had the machine to itself' if alone else ''}; {_REMEDY}"
    return failure._replace(message=told)


def portions(part: Part, *, most: int) -> list[Part]:
    """`part` in as few pieces of at most `most` items as there can be, all of about one size, in order.

    They have the attempts that `part` would have had. One that was charged before has had some: its pieces have one.
    """
    n = -(-part.count // most)
    size, larger = divmod(part.count, n)
    pieces: list[Part] = []
    first = part.first
    for index in range(n):
        piece = part.piece(first, count=size + (index < larger))
        piece.portion = True
        pieces.append(piece)
        first = piece.end
    return pieces
