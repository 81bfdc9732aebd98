"""The workers as status.json and the live line show them: what the engine knows of each, and the memory it holds."""

from __future__ import annotations

from batchctl.engine.base import Engine
from batchctl.model.node import Reading
from batchctl.model.progress import WorkerView


class Roll:
    """Remembers the last reading only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.sizing = ""  # how large the crew is and why, at the last look
        self._held: dict[int, tuple[int, int | None]] = {}  # incarnation -> bytes of memory, of GPU memory

    def take(self, reading: Reading) -> None:
        """A look was taken."""
        self._held = {worker.incarnation: (worker.pss, worker.gpu) for worker in reading.workers}

    def workers(self) -> tuple[WorkerView, ...]:
        """Each worker now, with its memory at the last look."""
        return tuple(self._with_memory(view) for view in self._engine.workers())

    def _with_memory(self, view: WorkerView) -> WorkerView:
        memory, gpu_memory = self._held.get(view.incarnation, (None, None))
        return view._replace(memory=memory, gpu_memory=gpu_memory)
