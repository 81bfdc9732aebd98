"""The engines there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from batchctl.engine.local import LocalEngine

if TYPE_CHECKING:
    from batchctl.engine.base import Engine


class MakeEngine(Protocol):
    """How an engine is made: with the user's interpreter and its arguments, the place for the guest, the run's id."""

    def __call__(self, python: str, guest: Path, *, run_id: str, arguments: Sequence[str] = ()) -> Engine: ...


ENGINES: dict[str, MakeEngine | Callable[..., Engine]] = {"local": LocalEngine}
