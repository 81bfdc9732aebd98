"""Outside the cache folder and OUT nothing is left, however a command ends: every write on the machine is looked at."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.binary import sandbox
from tests.binary.packaged import Packaged, footer_of
from tests.binary.sandbox import Outcome, Step

JOB, CACHE = "/srv/job", "/var/cache/batchctl"
WAITS = """
import os, time
def run(mini_batch):
    if os.environ.get("WAIT"):
        open("/srv/job/reached", "w").close()
        time.sleep(600)
    return [os.path.basename(path) for path in mini_batch]
"""
FAILS = "def run(mini_batch):\n    raise ValueError('no')\n"
NO_INIT = "def init():\n    raise ValueError('no')\ndef run(mini_batch):\n    return []\n"
LIBRARIES = """
import pandas, pyarrow.parquet, multiprocessing, subprocess, tempfile, zoneinfo, sqlite3, ssl
def run(mini_batch):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(len, ["a", "bb"])
    return pandas.DataFrame({"n": [1]})
"""
USERS = "/usr/bin/python3"
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


@pytest.fixture(autouse=True)
def _sandboxed(packaged_file: Path) -> Iterator[None]:
    sandbox.require()
    yield


def prepare(warm: Packaged, script: str) -> str:
    lines = [
        f"install -d -m 0700 {CACHE}",
        f"mount --bind {shlex.quote(str(warm.cache))} {CACHE}",
        f"mkdir -p {JOB}/in",
        f"printf 1 >{JOB}/in/one.txt",
        f"printf %s {shlex.quote(script)} >{JOB}/score.py",
    ]
    return "; ".join(lines)


def run(warm: Packaged, *flags: str, wait: bool = False, **more: object) -> Step:
    words = (str(warm.path), "run", "score.py", "in", "-o", "out", "--workers", "1", *flags)
    env = {**ENV, "WAIT": "1"} if wait else ENV
    return Step(words, env=env, cwd=JOB, **more)  # type: ignore[arg-type]


def other(warm: Packaged, *words: str) -> Step:
    return Step((str(warm.path), *words), env=ENV, cwd=JOB)


def clean(outcome: Outcome, codes: Sequence[int]) -> None:
    assert [done.code for done in outcome.done] == list(codes), [str(done) for done in outcome.done]
    # Byte code beside the script is what the user's own Python writes, and PYTHONDONTWRITEBYTECODE its switch.
    places = (JOB + "/out", JOB + "/reached", JOB + "/__pycache__", CACHE)
    assert [path for path in outcome.written if not path.startswith(places)] == []


@pytest.mark.parametrize(
    ("script", "steps", "codes"),
    [
        pytest.param(WAITS, [["--version"], ["--help"], ["probe"], ["self", "info"]], [0] * 4, id="short commands"),
        pytest.param(WAITS, [["nonsense"], ["status", "nowhere"], []], [2, 2, 2], id="usage"),
        pytest.param(
            WAITS, [["check", "score.py"], ["plan", "score.py", "in"]], [0, 0], id="inspectors that start a Python"
        ),
    ],
)
def test_a_command_leaves_nothing(warm: Packaged, script: str, steps: list[list[str]], codes: list[int]) -> None:
    clean(sandbox.play(prepare=prepare(warm, script), steps=[other(warm, *words) for words in steps]), codes)


@pytest.mark.parametrize(
    ("script", "flags", "code"),
    [
        pytest.param(WAITS, [], 0, id="a good run"),
        pytest.param(WAITS, ["--python", USERS], 0, id="a good run in the user's Python"),
        pytest.param(LIBRARIES, [], 0, id="libraries and processes of its own"),
        pytest.param(FAILS, ["--max-retries", "0"], 3, id="nothing succeeds"),
        pytest.param(NO_INIT, [], 4, id="init fails"),
        pytest.param("import nothing_like_it\ndef run(m):\n    return []\n", [], 2, id="imports missing"),
    ],
)
def test_a_run_leaves_its_output_only(warm: Packaged, script: str, flags: list[str], code: int) -> None:
    if USERS in flags and not Path(USERS).exists():
        pytest.skip(f"no {USERS} here")
    outcome = sandbox.play(prepare=prepare(warm, script), steps=[run(warm, *flags)])
    clean(outcome, [code])
    assert (JOB + "/__pycache__" in outcome.written) <= (USERS in flags)


@pytest.mark.parametrize(
    ("number", "group", "code"),
    [
        pytest.param(signal.SIGTERM, False, 75, id="SIGTERM"),
        pytest.param(signal.SIGINT, True, 130, id="Ctrl-C"),
        pytest.param(signal.SIGKILL, False, -9, id="kill -9"),
        pytest.param(signal.SIGKILL, True, -9, id="kill -9 of the group"),
    ],
)
def test_a_run_that_is_ended_leaves_its_output_only(warm: Packaged, number: int, group: bool, code: int) -> None:
    ended = run(warm, "--grace", "1s", wait=True, signal=int(number), group=group, until=JOB + "/reached")
    outcome = sandbox.play(prepare=prepare(warm, WAITS), steps=[ended, run(warm)])
    clean(outcome, [code, 0])
    assert JOB + "/out/predictions.csv" in outcome.written


def test_a_killed_first_run_leaves_nothing_once_the_next_has_started(warm: Packaged) -> None:
    env = {**ENV, "BATCHCTL_CACHE": "/srv/cache"}
    steps = [
        Step((str(warm.path), "--version"), env=env, signal=int(signal.SIGKILL), after=after)
        for after in (0.05, 0.2, 0.3)
    ]
    outcome = sandbox.play(steps=[*steps, Step((str(warm.path), "--version"), env=env)])
    assert outcome.done[-1].code == 0
    tree = f"/srv/cache/{footer_of(warm.path).build_id}"
    beside = [path for path in outcome.written if path.startswith("/srv/cache/") and not path.startswith(tree)]
    assert beside == ["/srv/cache/.lock"]
    assert outcome.files(outside=["/srv/cache"]) == []


def test_the_sandbox_sees_litter(warm: Packaged) -> None:
    """The measuring device itself: each kind of litter, in each place, is found."""
    places = ["/tmp/a", "/var/tmp/b", "/dev/shm/c", "/root/d", "/run/e"]
    script = "; ".join(f"touch {path}; mkdir {path}.d; ln -s x {path}.l" for path in places)
    outcome = sandbox.play(steps=[Step(("/bin/sh", "-c", script), env=ENV)])
    wanted = {path + end for path in places for end in ("", ".d", ".l")}
    assert wanted <= set(outcome.written)
    assert not any(path in outcome.written for path in ("/tmp", "/root", "/usr"))
