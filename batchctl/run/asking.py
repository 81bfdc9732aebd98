"""What a new run hears of its script while its inputs are listed: whether it can run.

    listing -> look, again and again -> the interpreter has answered -> script judged
    listing is over -> facts         -> the same, waiting for the answer

A script that cannot run is so told of at once, not when ten million files are listed. The fingerprint is taken after
the listing, shortly before the workers import what it tells of. And nothing of the user's is run before the plan is
durable: what it wrote below an INPUT would be an input or not, as time goes.
"""

from __future__ import annotations

import time

from batchctl.engine.base import Engine, ScriptFacts
from batchctl.run.prepare import checked_facts
from batchctl.run.request import Call

_EACH_NS = 5_000_000  # between two looks


class Asking:
    """Of one new run, whose engine has been asked for facts."""

    def __init__(self, call: Call, engine: Engine) -> None:
        self._call = call
        self._engine = engine
        self._facts: ScriptFacts | None = None
        self._next_ns = 0

    def look(self) -> None:
        """Never waits. Raises what `facts` raises."""
        now = time.monotonic_ns()
        if self._facts is None and now >= self._next_ns:
            self._next_ns = now + _EACH_NS
            if self._engine.has_facts():
                self.facts()

    def facts(self) -> ScriptFacts:
        """What the interpreter says of the script; waits for it. Raises BatchctlError where it cannot run."""
        if self._facts is None:
            self._facts = checked_facts(self._call, self._engine)
        return self._facts
