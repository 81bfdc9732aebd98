"""What a new run finds out while its inputs are listed: what this node has, and whether the script can run.

    listing -> look, again and again -> the interpreter has answered -> script judged, fingerprint taken
    listing is over -> asked         -> the same, waiting for the answer

A script that cannot run is so told of at once, not when ten million files are listed. Nothing of the user's is run
before the plan is durable: what it wrote below an INPUT would be an input or not, as time goes.
"""

from __future__ import annotations

import time

from batchctl.engine.base import Engine
from batchctl.model.node import NodeReport
from batchctl.plan.fingerprint import Fingerprint
from batchctl.processes import child_environment
from batchctl.run.prepare import checked_fingerprint
from batchctl.run.ready import probe_node
from batchctl.run.request import Call

_EACH_NS = 5_000_000  # between two looks


class Asking:
    """Of one new run, whose engine has been asked for facts."""

    def __init__(self, call: Call, engine: Engine) -> None:
        self._call = call
        self._engine = engine
        self._asked: tuple[NodeReport, Fingerprint] | None = None
        self._next_ns = 0

    def look(self) -> None:
        """Never waits. Raises what `asked` raises."""
        now = time.monotonic_ns()
        if self._asked is None and now >= self._next_ns:
            self._next_ns = now + _EACH_NS
            if self._engine.has_facts():
                self.asked()

    def asked(self) -> tuple[NodeReport, Fingerprint]:
        """What this node has, and the fingerprint; waits for the interpreter. Raises BatchctlError."""
        if self._asked is None:
            spec = self._call.spec
            node = probe_node(spec, environ=child_environment(spec.environment))  # meanwhile the interpreter starts
            self._asked = node, checked_fingerprint(self._call, self._engine, old=None)
        return self._asked
