"""The demo: a real model on real images, killed with -9 midway and resumed, with the proof.

Usage: python packaging/demo/demo.py --user-python PYTHON [--batchctl PATH] [--work FOLDER]

It needs only the standard library. Every proof that fails is named, and then the exit status is 1.
"""

from __future__ import annotations

import argparse
import collections
import csv
import hashlib
import importlib.util
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "examples" / "digits"
LEAST_ACCURACY = 0.9
RUN_LIMIT_S = 600.0
POLL_S = 0.005
ATTEMPTS_TO_KILL = 4


class Failed(Exception):
    """A proof that did not hold; the message says which."""


def main() -> int:
    options = parse()
    work = options.work.resolve()
    try:
        prepare(work, options.user_python)
        prove(work, options.batchctl, options.user_python)
    except Failed as failed:
        print(f"\ndemo FAILED: {failed}", file=sys.stderr)
        return 1
    print("\ndemo passed")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--user-python", required=True, help="interpreter that has scikit-learn and pillow")
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    parser.add_argument("--work", type=Path, default=Path(".demo/digits"), help="folder that is made anew")
    options = parser.parse_args()
    # Absolute but not resolved: a virtual environment's python is a link, and following it would leave the environment.
    options.user_python = str(Path(options.user_python).absolute())
    return options


def prepare(work: Path, user_python: str) -> None:
    """Make the input, the labels and the deployment with its trained model."""
    say("1. input and model, made in the user's environment (batchctl's own has no scikit-learn)")
    if importlib.util.find_spec("sklearn") is not None:
        raise Failed("scikit-learn is importable beside batchctl, so the demo would not show two environments")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    made = subprocess.run([user_python, EXAMPLE / "train.py", work], check=False, capture_output=True, text=True)
    if made.returncode != 0:
        raise Failed(f"train.py exited {made.returncode}:\n{made.stderr}")
    print("   " + made.stdout.strip())


def prove(work: Path, batchctl: str, user_python: str) -> None:
    """Run undisturbed, run with a kill and a resume, and compare."""
    first, second = work / "out-a", work / "out-b"
    # Twice the work per image for each time that a run was over before it could be caught midway.
    for attempt in range(ATTEMPTS_TO_KILL):
        views = 2 * 2**attempt
        command = [batchctl, "run", str(work / "deployment" / "deployment.yml"), str(work / "input")]
        command += ["--python", user_python, "--env", f"DIGITS_VIEWS={views}", "-o"]
        for out in (first, second):
            shutil.rmtree(out, ignore_errors=True)

        say("2. an undisturbed run into out-a")
        started = time.monotonic()
        finish([*command, str(first)], log=work / "out-a.log")
        print(f"   exit 0 after {time.monotonic() - started:.1f} s")

        say("3. the same into out-b, killed with -9 when about half of the rows are there")
        total = (first / "predictions.csv").stat().st_size
        kept = kill_midway([*command, str(second)], out=second, half=total // 2, log=work / "out-b.killed.log")
        if kept is not None:
            break
        print("   it was over before it could be killed; once more, with more work for each image")
    else:
        raise Failed(f"no run could be caught midway in {ATTEMPTS_TO_KILL} tries")
    print(f"   killed with {kept} rows written; predictions.csv is not there, predictions.csv.partial is")

    say("4. the same command again: it resumes")
    started = time.monotonic()
    finish([*command, str(second)], log=work / "out-b.resumed.log")
    print(f"   exit 0 after {time.monotonic() - started:.1f} s")

    say("5. the proof")
    compare(work, first / "predictions.csv", second / "predictions.csv")
    tell_epochs(batchctl, second)


def finish(command: list[str], *, log: Path) -> None:
    """Run the command to its end; anything but exit 0 fails the demo with what it said."""
    print("   $ " + shown(command))
    with log.open("wb") as sink:
        try:
            ended = subprocess.run(command, check=False, stdout=sink, stderr=sink, timeout=RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"still running after {RUN_LIMIT_S:.0f} s; see {log}") from None
        except OSError as error:
            raise Failed(f"cannot start {command[0]}: {error.strerror}") from None
    if ended.returncode != 0:
        raise Failed(f"exit {ended.returncode}; it said:\n{tail(log)}")


def kill_midway(command: list[str], *, out: Path, half: int, log: Path) -> int | None:
    """Start the command, kill -9 it once `half` bytes of rows are written; the rows then there, None if too late."""
    print("   $ " + shown(command))
    partial, final = out / "predictions.csv.partial", out / "predictions.csv"
    limit = time.monotonic() + RUN_LIMIT_S
    with log.open("wb") as sink, subprocess.Popen(command, stdout=sink, stderr=sink) as coordinator:
        while coordinator.poll() is None and size(partial) < half:
            if time.monotonic() > limit:
                coordinator.kill()
                raise Failed(f"half of the rows were not there after {RUN_LIMIT_S:.0f} s; see {log}")
            time.sleep(POLL_S)
        coordinator.kill()
    if coordinator.returncode not in (-signal.SIGKILL, 0):
        raise Failed(f"exit {coordinator.returncode} before it was killed; it said:\n{tail(log)}")
    if coordinator.returncode == 0 or final.exists():
        return None
    return partial.read_bytes().count(b"\n")


def compare(work: Path, undisturbed: Path, resumed: Path) -> None:
    """Print lost, duplicated, accuracy and digests; fail at the first that does not hold."""
    with (work / "labels.csv").open(newline="", encoding="utf-8") as file:
        truth = {row["name"]: row["label"] for row in csv.DictReader(file)}
    inputs = {path.name for path in (work / "input").iterdir()}
    rows = [line.split(" ") for line in resumed.read_text(encoding="utf-8").splitlines()]
    if any(len(row) != 2 for row in rows):
        raise Failed(f"a row of {resumed} is not `NAME DIGIT`")
    counts = collections.Counter(name for name, _ in rows)
    lost, twice, foreign = inputs - counts.keys(), [n for n, c in counts.items() if c > 1], counts.keys() - inputs
    right = sum(truth.get(name) == label for name, label in rows)
    accuracy = right / len(inputs)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (undisturbed, resumed)]

    print(
        f"   images {len(inputs)}, rows {len(rows)}: {len(lost)} lost, {len(twice)} duplicated, {len(foreign)} foreign"
    )
    print(f"   accuracy against the true labels: {accuracy:.4f} ({right} of {len(inputs)})")
    print(f"   sha256 undisturbed       {digests[0]}")
    print(f"   sha256 killed + resumed  {digests[1]}")
    if lost or twice or foreign or len(rows) != len(inputs):
        raise Failed("rows and images do not match one to one")
    if accuracy < LEAST_ACCURACY:
        raise Failed(f"accuracy {accuracy:.4f} is below {LEAST_ACCURACY}")
    if digests[0] != digests[1]:
        raise Failed("the resumed run's bytes differ from the undisturbed run's")
    print("   the bytes are equal")


def tell_epochs(batchctl: str, out: Path) -> None:
    """Rows committed before and after the kill, from the checkpoint log: the resume must have kept the first ones."""
    lines = subprocess.run([batchctl, "inspect", str(out)], capture_output=True, check=True, text=True).stdout
    rows = {1: 0, 2: 0}
    for record in map(json.loads, lines.splitlines()):
        if record["type"] == "COMMIT":
            rows[record["epoch"]] += record["n_rows"]
    print(f"   rows scored before the kill {rows[1]}, after it {rows[2]}: none twice")
    if not rows[1] or not rows[2]:
        raise Failed(f"one of the two epochs committed nothing: {rows}")


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def shown(command: list[str]) -> str:
    """The command as one would type it, paths below the current folder made relative."""
    here = f"{Path.cwd()}/"
    return shlex.join(word.removeprefix(here) for word in command)


def tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def say(line: str) -> None:
    print(f"\n{line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
