"""What `growth` decides. Pure."""

from __future__ import annotations

from batchctl.named_tuple import NamedTuple

# Of each kind of event its name, and what one is called where only their number is told.
KINDS = (
    ("warning", "warning"),
    ("stopped", "growth stop"),
    ("retired", "retirement"),
    ("starved", "memory shortage"),
    ("reopened", "reopened place"),
    ("recycled", "recycled worker"),
    ("gpu", "full GPU"),
)


class Opened(NamedTuple):
    """Start a worker in this place."""

    slot: int
    why: str


class Retired(NamedTuple):
    """End this place's worker and do not replace it. `now`: kill it (what it is at comes back uncharged); a worker that
    was told to go gracefully before may be told so later. It may have ended already."""

    slot: int
    why: str
    now: bool


class Recycled(NamedTuple):
    """Let this worker finish what it has in hand, then replace it."""

    slot: int
    why: str


Decision = Opened | Retired | Recycled
