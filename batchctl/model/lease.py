"""A lease: a range of a mini-batch's items in a worker's hands."""

from __future__ import annotations

from batchctl.named_tuple import NamedTuple


class Lease(NamedTuple):
    """`count` items from item number `first` (global, from 0) of mini-batch `batch`; `attempt` counts from 1.

    A whole mini-batch, or a part of one (isolation). There are as many as mini-batches, and the hot path builds, packs
    and compares them. The epoch and the worker's incarnation that fence it are added by the engine when it is sent.
    """

    batch: int
    first: int
    count: int  # type: ignore[assignment]  # shadows tuple.count, which nobody calls on a record
    attempt: int
