"""Where the processor time of a workload goes: `python -m tests.bench.profile w2 [--peer futures] [--rate 200]`.

One lap of batchctl (or of a peer, as `make bench` drives it) under py-spy, with all its processes. A sample is a thread
that was running just then; it counts for what it was doing of ours, however deep in a library it was. Prints a table of
seconds (samples over the rate) by process and place. Laps are slower than without: believe the shares.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.contest import PEERS, Contestant, ours, theirs
from tests.bench.workloads import WORKLOADS, Sizes, prepare
from tests.published import ROOT
from tests.user_environments import make

_LIMIT_S = 600.0
_FRAME = re.compile(r"^(?P<name>.*) \((?P<file>[^()]*?)(:\d+)?\)$")
_GUEST = frozenset(path.name for path in (ROOT / "batchctl" / "guest").glob("*.py"))
_SCORE = "score.py"
IMPORTS, SCRIPT, ELSE = "imports", "the script's run()", "else"


class Place(NamedTuple):
    process: str
    what: str


def place_of(stack: str) -> Place:
    """Of one stack as py-spy writes it: `process PID:"command";...;frame (file:line);...`, outermost first."""
    processes = [part for part in stack.split(";") if part.startswith("process ")]
    frames = [match for part in stack.split(";") if (match := _FRAME.match(part))]
    return Place(_role(processes), _doing(frames))


def _role(processes: Sequence[str]) -> str:
    if len(processes) < 2:
        return "parent"
    return "fork server" if len(processes) == 2 and "guest.pyz" in processes[-1] else "workers"


def _doing(frames: Sequence[re.Match[str]]) -> str:
    files = [one["file"] for one in frames]
    if any("importlib._bootstrap" in file for file in files):
        return IMPORTS
    if any(one["name"] == "run" and one["file"].endswith(_SCORE) for one in frames):
        return SCRIPT
    for file in reversed(files):
        if "batchctl/" in file and file.endswith(".py"):
            return file[file.rindex("batchctl/") + len("batchctl/") : -len(".py")]
        if file in _GUEST:  # an archive's member has no folder
            return f"guest/{file[: -len('.py')]}"
        if "bench/peers/" in file:
            return "the peer's driver"
    return ELSE


def counted(lines: Iterable[str]) -> collections.Counter[Place]:
    """Samples by place, of lines `stack count`."""
    found: collections.Counter[Place] = collections.Counter()
    for line in lines:
        stack, _, count = line.rstrip("\n").rpartition(" ")
        found[place_of(stack)] += int(count)
    return found


def table(samples: collections.Counter[Place], *, rate: int, least: float = 0.01) -> str:
    """Markdown; places of less than `least` of all samples are one row of their process."""
    everything = samples.total()
    small: collections.Counter[Place] = collections.Counter()
    for place, count in samples.items():
        name = place if count >= least * everything else Place(place.process, f"{ELSE} (each below {least:.0%})")
        small[name] += count
    rows = ["| process | doing | seconds | share |", "|---|---|---:|---:|"]
    rows += [
        f"| {place.process} | {place.what} | {count / rate:.2f} | {count / everything:.1%} |"
        for place, count in sorted(small.items(), key=lambda item: (item[0].process, -item[1]))
    ]
    return "\n".join(rows)


def spied(contestant: Contestant, *, spy: Path, work: Path, rate: int) -> collections.Counter[Place]:
    """One lap. SystemExit where it fails or cannot be looked at."""
    out, raw = work / "out", work / "raw"
    if not contestant.ours:
        out.mkdir()
    command = [str(spy), "record", "--subprocesses", "--threads", "--rate", str(rate), "--format", "raw"]
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [*command, "--output", str(raw), "--", *contestant.argv(out)],
        env={**inherited, **contestant.environment(out)},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode != 0 or not raw.exists():
        raise SystemExit(f"{contestant.name} under py-spy exited {done.returncode}: {done.stderr.strip()}")
    with raw.open(encoding="utf-8", errors="surrogateescape") as lines:
        return counted(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--peer", help="of this driver, the last one that `make bench` has of it; default: batchctl")
    parser.add_argument("--rate", type=int, default=200, help="samples a second")
    parser.add_argument("--data", type=Path, default=ROOT / ".build" / "bench", metavar="DIR", help="the inputs")
    given = parser.parse_args(arguments)
    workload = WORKLOADS[given.workload]
    tools, python = make("bench"), make(workload.environment)
    if tools is None or python is None:
        raise SystemExit("not run: pip cannot install the environments of tests/bench here")
    inputs = prepare(workload, given.data, sizes=Sizes(), python=python)
    source = str(ROOT / ".venv" / "bin" / "batchctl")
    peers = [one for one in PEERS[workload.name] if one.driver == given.peer]
    if given.peer and not peers:
        raise SystemExit(f"no peer {given.peer} on {workload.name}")
    one = theirs(peers[-1], inputs, python=python) if peers else ours("batchctl", source, inputs, python=python)
    with tempfile.TemporaryDirectory(prefix="batchctl-profile-") as folder:
        samples = spied(one, spy=tools.with_name("py-spy"), work=Path(folder), rate=given.rate)
    print(f"{workload.title}: {one.name}, {samples.total() / given.rate:.2f} s of processor time\n")
    print(table(samples, rate=given.rate))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
