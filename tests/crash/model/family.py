"""The model checker as a family: any number of states, in explorations of 50,000 that have a seed each.

An exploration begins with every crash of every first life, so that more seeds mean more fates of the same cuts and
other crashes of later lives; states are counted anew in each. Two explorations go on at a time where there are cpus.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor

from tests.crash.findings import Asked, Findings
from tests.crash.model.campaign import hunt
from tests.crash.model.checker import Checker
from tests.crash.model.checker import Findings as Explored
from tests.crash.model.mutants import MUTANTS

EXPLORATION = 50_000


def campaign(asked: Asked) -> Findings:
    """n states (default 50,000) from seeds `seed`, `seed` + 1, ...; `mutants=no` leaves the mutants out."""
    asked.knows("mutants", "processes")
    mutants = asked.one("mutants", ("yes", "no"), "yes") == "yes"
    wanted = asked.n or EXPLORATION
    sizes = [EXPLORATION] * (wanted // EXPLORATION) + [wanted % EXPLORATION] * bool(wanted % EXPLORATION)
    found = Findings({"model_states": 0})
    processes = max(1, min(len(os.sched_getaffinity(0)), len(sizes), asked.number("processes", 64)))
    with ProcessPoolExecutor(processes, max_tasks_per_child=1) as pool:
        waiting = [(asked.seed + number, size) for number, size in enumerate(sizes)][::-1]
        while waiting and time.monotonic() < asked.until:
            turn = [waiting.pop() for _ in range(min(processes, len(waiting)))]
            for (seed, _), explored in zip(turn, pool.map(explore, turn), strict=True):
                found.counts["model_states"] += explored.states
                found.violations += [
                    f"seed {seed}: {what}, after {' -> '.join(by)}" for what, by in explored.violations
                ]
                depths = ", ".join(f"{count} at depth {depth}" for depth, count in sorted(explored.by_depth.items()))
                asked.voice(f"seed {seed}: {explored.states} states ({depths}), {len(explored.violations)} violations")
    if mutants:
        caught = [hunt(name, seed=asked.seed) for name in MUTANTS]
        missed = [one.name for one in caught if one.states is None]
        found.counts |= {"mutants": len(caught), "mutants_caught": len(caught) - len(missed)}
        found.violations += [f"not caught: {name}" for name in missed]
    return found


def explore(asked: tuple[int, int]) -> Explored:
    """One exploration: seed, states."""
    seed, states = asked
    return Checker(seed=seed, states=states).run()
