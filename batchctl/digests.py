"""SHA-256 as hashlib has it: Python's own for little, OpenSSL's for more.

OpenSSL's has five to six times the pace, and takes 4 ms to load, of a start of 120 (the standard library's random
chooses likewise). Where it is loaded it is taken for everything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:

    class Digest(Protocol):
        """What hashlib's objects can do."""

        def update(self, data: bytes | memoryview, /) -> None: ...
        def digest(self) -> bytes: ...
        def hexdigest(self) -> str: ...


LITTLE = 256 << 10  # bytes of all that are Python's own: 1 to 2 ms
_FEW = 200  # of those, too: who makes so many will make more
_sizes: list[int] = []  # of those that there were


def sha256(size: int | None = None) -> Digest:
    """A new one, for about so many bytes; None: nobody knows."""
    if size is not None and "_hashlib" not in sys.modules and size + sum(_sizes) <= LITTLE and len(_sizes) < _FEW:
        _sizes.append(size)
        return _own()
    import hashlib

    return hashlib.sha256()


def _own() -> Digest:
    try:
        from _sha256 import sha256 as made  # type: ignore[import-not-found]
    except ImportError:  # Python 3.12 and later
        try:
            from _sha2 import sha256 as made  # type: ignore[import-not-found]
        except ImportError:
            from hashlib import sha256 as made
    return cast("Callable[[], Digest]", made)()
