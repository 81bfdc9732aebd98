"""`python -m tests.crash FAMILY [-n N] ...`: one campaign of one family of faults; `--record` publishes its counts.

Prints what was done and what did not hold. Exit 0: everything held, 1: something did not, 2: asked for what
there is not, 3: nothing was done, as it cannot be done here, or no time or point was left. That is recorded as "not
run", or not at all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.crash.campaign import beside_python
from tests.crash.findings import Asked, Findings, OptionError
from tests.crash.record import FILE, Entry, code_digest, is_of_this_tree, publish
from tests.published import commit_of, machine

FAMILIES = {
    "model": "tests.crash.model.family",
    "kill": "tests.crash.random_kill",
    "syscall": "tests.crash.syscalls.kill",
    "error": "tests.crash.syscalls.error",
    "power": "tests.crash.power",
    "block": "tests.crash.block",
    "full": "tests.crash.full",
    "oom": "tests.crash.oom",
    "race": "tests.crash.lock_race",
    "stops": "tests.crash.stops",
    "corrupt": "tests.crash.corrupt.family",
    "fuzz": "tests.crash.fuzz.family",
}
MISUSED, NOT_RUN = 2, 3


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    asked_for = [part.partition("=") for part in given.set]
    if wrong := [part for part, (name, sign, _) in zip(given.set, asked_for, strict=True) if not (name and sign)]:
        parser.error(f"--set takes NAME=VALUE, not {wrong[0]!r}")
    if len({name for name, _, _ in asked_for}) < len(asked_for):
        parser.error("--set: a name twice")
    if given.n < 0 or (given.minutes is not None and given.minutes <= 0):
        parser.error("-n is 0 or more, --minutes more than 0")
    if given.record and not is_of_this_tree(given.batchctl):
        parser.error(f"--record: {given.batchctl} is not installed from this tree, whose figures are published")
    work = given.work or Path(tempfile.mkdtemp(prefix=f"batchctl-{given.family}-"))
    work.mkdir(parents=True, exist_ok=True)
    began, code = time.monotonic(), code_digest()
    asked = Asked(
        given.n,
        given.seed,
        work.resolve(),
        given.batchctl,
        until=began + 60 * given.minutes if given.minutes else float("inf"),
        options={name: value for name, _, value in asked_for},
        voice=(lambda _: None) if given.quiet else lambda text: print(text, flush=True),
    )
    try:
        found: Findings = importlib.import_module(FAMILIES[given.family]).campaign(asked)
    except OptionError as error:
        print(f"{given.family}: {error}", file=sys.stderr)
        return MISUSED
    seconds = round(time.monotonic() - began)
    print(f"{given.family}, seed {given.seed}, {seconds} s: " + ", ".join(f"{k} {v}" for k, v in found.counts.items()))
    for violation in found.violations:
        print(f"VIOLATION {violation}")
    if found.not_run:
        print(f"not run: {found.not_run}")
    if given.out:
        given.out.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    nothing = not found.worked and not found.violations
    if nothing and not found.not_run:
        print("nothing was done: that is no result" + ", and is not recorded" * given.record)
    elif given.record:
        if code != code_digest():
            raise SystemExit("the code changed while the campaign ran: nothing recorded")
        command = f"make crash FAMILY={given.family} N={given.n} SEED={given.seed}"
        command += f" MINUTES={given.minutes:g}" if given.minutes else ""
        command += f" SET='{' '.join(given.set)}'" * bool(given.set)
        entry = Entry(given.family, commit_of(), given.seed, command, found.counts, len(found.violations))
        publish(entry, code=code, machine=machine(), seconds=seconds, not_run=found.not_run)
        print(f"recorded in {FILE}")
    if found.violations:
        print(f"kept: {work}")
        return 1
    if given.work is None:
        shutil.rmtree(work, ignore_errors=True)
    return NOT_RUN if nothing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("-n", type=int, default=0, help="how many; 0: what the family takes for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="begin nothing new after that")
    parser.add_argument("--batchctl", default=beside_python(), help="the executable (default: beside this interpreter)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="an option of the family's own"
    )
    parser.add_argument("--work", type=Path, help="folder to work in, kept (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="write the findings here as JSON")
    parser.add_argument("--record", action="store_true", help="add the counts to docs/reliability.json and its tables")
    parser.add_argument("--quiet", action="store_true", help="only the closing lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
