"""The model checker's campaign: the store explored, then each mutant until it is caught; and the table of both."""

from __future__ import annotations

from dataclasses import dataclass

from tests.crash.model.checker import Checker, Findings
from tests.crash.model.mutants import MUTANTS, mutated

MUTANT_STATES = 45_000


@dataclass(frozen=True)
class Caught:
    """A mutant: crash states until it broke a promise, and which; None where none did."""

    name: str
    states: int | None
    how: str


@dataclass(frozen=True)
class Outcome:
    """What a campaign found."""

    seed: int
    wanted: int
    findings: Findings
    caught: tuple[Caught, ...]

    @property
    def passed(self) -> bool:
        found = self.findings
        return (
            not found.violations and found.states >= self.wanted and all(one.states is not None for one in self.caught)
        )

    def table(self) -> list[str]:
        found = self.findings
        depths = ", ".join(f"{count} at depth {depth}" for depth, count in sorted(found.by_depth.items()))
        head = f"model checker, seed {self.seed}: {found.states} crash states ({depths})"
        lines = [f"{head}, {len(found.violations)} violations, {found.seconds:.1f} s cpu"]
        lines += [f"  VIOLATION {what}\n    after {' -> '.join(story)}" for what, story in found.violations[:10]]
        if self.caught:
            lines.append(
                f"mutants: {sum(one.states is not None for one in self.caught)} of {len(self.caught)} caught; "
                "states until caught:"
            )
        for one in self.caught:
            lines.append(f"  {'MISSED' if one.states is None else one.states:>7}  {one.name:<50} {one.how[:90]}")
        return lines


def campaign(*, states: int, seed: int, mutants: bool = True) -> Outcome:
    findings = Checker(seed=seed, states=states).run()
    return Outcome(seed, states, findings, tuple(hunt(name, seed=seed) for name in (MUTANTS if mutants else ())))


def hunt(name: str, *, seed: int) -> Caught:
    """Explore a mutant until it breaks a promise. Its first life may do so already: then no crash was needed."""
    with mutated(name):
        retries = name.startswith("retry: ")
        found = Checker(seed=seed, states=MUTANT_STATES, stop_at_first=True, retries=retries).run()
    if not found.violations:
        return Caught(name, None, "")
    what, story = found.violations[0]
    return Caught(name, found.states, f"{what.splitlines()[0].replace('/data/job/out/', '')} [{', '.join(story[1:])}]")
