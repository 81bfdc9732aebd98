"""`python -m tests.crash.model [--states N] [--seed S]`: explore, try every mutant, print the table."""

from __future__ import annotations

import argparse
import sys

from tests.crash.model.campaign import campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.model")
    parser.add_argument("--states", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-mutants", action="store_true", help="only explore the store as it is")
    given = parser.parse_args()
    outcome = campaign(states=given.states, seed=given.seed, mutants=not given.no_mutants)
    print("\n".join(outcome.table()))
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
