"""The engines there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from batchctl.engine.local import LocalEngine

if TYPE_CHECKING:
    from batchctl.engine.base import Engine


class MakeEngine(Protocol):
    """How an engine is made: with the user's interpreter, its arguments and the variables that it is started with, the
    place for the guest, the run's id."""

    def __call__(
        self,
        python: str,
        guest: Path,
        *,
        run_id: str,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Engine: ...


ENGINES: dict[str, MakeEngine | Callable[..., Engine]] = {"local": LocalEngine}
