"""The local engine: the pool of this machine, driven in the coordinator's own process.

The fork server is started before the pool is loaded, which takes as long as an interpreter's first steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from batchctl import processes
from batchctl.engine.fork_server import ForkServer
from batchctl.engine.guest_zip import place_guest
from batchctl.guest import wire

if TYPE_CHECKING:
    from batchctl.engine.base import EngineJob, ScriptFacts
    from batchctl.engine.pool import Pool
    from batchctl.model.events import Event
    from batchctl.model.job import Scorer
    from batchctl.model.lease import Lease
    from batchctl.model.node import Slot
    from batchctl.model.progress import WorkerView


class LocalEngine:
    """See engine.base.Engine. `guest` is where the guest's zip is kept; `python` an absolute path, `arguments` what
    stands between it and the guest; `environment` the script's variables, which it is started with."""

    def __init__(
        self,
        python: str,
        guest: Path,
        *,
        run_id: str,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._python = python
        self._arguments = tuple(arguments)
        self._guest = guest
        self._run_id = run_id
        self._environment = environment
        self._opened: Pool | None = None

    def open(self) -> None:
        """See Engine.open."""
        place_guest(self._guest)
        server = self._start_server()
        try:
            processes.become_subreaper()  # loads ctypes; what was left behind by then has the run's id
            from batchctl.engine.pool import Pool  # see the module's docstring

            self._opened = Pool(server, self._start_server)
        except BaseException:  # Ctrl-C, SIGTERM: nobody else knows of it yet
            server.close()
            raise

    def _start_server(self) -> ForkServer:
        return ForkServer(
            self._python,
            self._guest,
            run_id=self._run_id,
            arguments=self._arguments,
            environment=self._environment,
        )

    @property
    def _pool(self) -> Pool:
        if self._opened is None:
            raise AssertionError("the engine is not open")
        return self._opened

    def ask_facts(self, script: Path, code: Path, *, scorer: Scorer) -> None:
        """See Engine.ask_facts."""
        self._pool.ask(wire.FACTS, {"script": str(script), "code": str(code), "scorer": str(scorer)})

    def has_facts(self) -> bool:
        """See Engine.has_facts."""
        return self._pool.server.has_answered(wire.FACTS_FOUND)

    def facts(self) -> ScriptFacts:
        """See Engine.facts."""
        from batchctl.engine.base import Arity, ScriptFacts

        said = self._pool.answer(wire.FACTS_FOUND)
        error = said.get("syntax_error")
        try:
            return ScriptFacts(
                executable=str(said["executable"]),
                python=str(said["python"]),
                pandas=str(said["pandas"]),
                numpy=str(said["numpy"]),
                pyarrow=str(said["pyarrow"]),
                missing=tuple(str(name) for name in said["missing"]),
                syntax_error=f"line {error['line']}: {error['message']}" if error else "",
                functions={str(k): Arity(*v) if v else None for k, v in said["functions"].items()},
                dynamic=bool(said["dynamic"]),
            )
        except (KeyError, TypeError, AttributeError) as problem:
            raise self._pool.server.nonsense() from problem

    def configure(self, job: EngineJob) -> None:
        """See Engine.configure."""
        self._pool.configure(job)

    def start_worker(self, slot: Slot) -> int:
        """See Engine.start_worker."""
        return self._pool.start_worker(slot)

    def send(self, slot: int, leases: Sequence[Lease]) -> None:
        """See Engine.send."""
        self._pool.send(slot, leases)

    def take_back(self, slot: int) -> tuple[Lease, ...]:
        """See Engine.take_back."""
        return self._pool.take_back(slot)

    def in_hand(self, slot: int) -> int:
        """See Engine.in_hand."""
        return self._pool.in_hand(slot)

    def stop_worker(self, slot: int) -> None:
        """See Engine.stop_worker."""
        self._pool.stop_worker(slot)

    def kill_worker(self, slot: int) -> None:
        """See Engine.kill_worker."""
        self._pool.kill_worker(slot)

    def poll(self, timeout: float) -> list[Event]:
        """See Engine.poll."""
        return self._pool.poll(timeout)

    def wake(self) -> None:
        """See Engine.wake."""
        if self._opened is not None:
            self._opened.wake()

    def workers(self) -> tuple[WorkerView, ...]:
        """See Engine.workers."""
        return self._opened.workers() if self._opened is not None else ()

    def close(self) -> None:
        """See Engine.close."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
