"""`NamedTuple` for all rooms: the guest's, in whose zip it has to lie (guest/named_tuple.py says what it is)."""

from __future__ import annotations

from batchctl.guest.named_tuple import NamedTuple

__all__ = ["NamedTuple"]
