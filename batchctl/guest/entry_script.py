"""`from azureml_user.parallel_run import EntryScript`: Azure's driver offers it to scripts; we do where nobody has it.

The last entry of sys.meta_path provides it, so that a real package of that name comes first and nothing is made before
a script imports it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from importlib.machinery import ModuleSpec

from .named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any, Optional

PACKAGE = "azureml_user"
MODULE = "azureml_user.parallel_run"


class Place(NamedTuple):
    """Where a worker is: absolute folders, and the number of its slot. `logs` need not exist."""

    code: str
    work: str
    out: str
    logs: str
    slot: int


class EntryScriptFinder:
    """Finder and loader of `azureml_user.parallel_run` for one worker."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Optional[ModuleSpec]:
        """A spec for our two modules; None for everything else, and where a package of somebody else's has the name."""
        if name == PACKAGE or (name == MODULE and getattr(sys.modules.get(PACKAGE), "__loader__", None) is self):
            return importlib.util.spec_from_loader(name, self, is_package=name == PACKAGE)  # type: ignore[arg-type]
        return None

    def create_module(self, _spec: ModuleSpec) -> None:
        """An ordinary module will do."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill it."""
        if module.__name__ == MODULE:
            module.EntryScript = _entry_script(self._place)  # type: ignore[attr-defined]


def _entry_script(place: Place) -> type:
    """The class; calling it gives the one object that there is in this process."""
    import logging  # set up long ago, in a worker; the fork server answers FACTS without it

    class EntryScript:
        """`agent_name` is the same for all workers of a slot, one at a time; each other worker has another."""

        _only: Optional[EntryScript] = None

        def __new__(cls) -> EntryScript:
            if cls._only is None:
                cls._only = super().__new__(cls)
            return cls._only

        @property
        def logger(self) -> logging.Logger:
            """Writes to the worker's log."""
            return logging.getLogger("EntryScript")

        @property
        def log_dir(self) -> str:
            """A folder for the script's own logs, shared by all workers of the run and kept with it."""
            os.makedirs(place.logs, 0o700, exist_ok=True)
            return place.logs

        @property
        def output_dir(self) -> str:
            """AZUREML_BI_OUTPUT_PATH."""
            return place.out

        @property
        def working_dir(self) -> str:
            """The folder that the worker was started in, its own."""
            return place.work

        @property
        def dir(self) -> str:
            """The folder of the script."""
            return place.code

        @property
        def agent_name(self) -> str:
            """process000, process001, ..."""
            return "process%03d" % place.slot

    EntryScript.__module__, EntryScript.__qualname__ = MODULE, "EntryScript"
    return EntryScript
