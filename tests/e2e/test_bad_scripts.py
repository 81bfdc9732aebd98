"""Acceptance 5, scripts: those that cannot run, and returns of every type."""

from __future__ import annotations

import pytest

from tests.e2e.driver import Job

DEAF_INIT = """
import ctypes
import signal

def init():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        ctypes.PyDLL(None).sleep(600)

def run(mini_batch):
    return mini_batch
"""
SCRIPTS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "no run": ("def init():\n    pass\n", 2, ("run(mini_batch)",)),
    "empty": ("", 2, ("run(mini_batch)",)),
    "syntax error": ("x = 1\ndef run(mini_batch:\n    pass\n", 2, ("score.py:2",)),
    "indentation": ("def run(mini_batch):\nreturn []\n", 2, ("score.py:2",)),
    "NUL in the script": ("x = 1\0\n", 2, ()),
    "run takes nothing": ("def run():\n    return []\n", 2, ("run(mini_batch)",)),
    "run takes three": ("def run(a, b, c):\n    return []\n", 2, ("run(",)),
    "run wants a keyword": ("def run(a, *, b):\n    return []\n", 2, ("run(",)),
    "run is async": ("async def run(mini_batch):\n    return []\n", 2, ("run",)),
    "init takes an argument": ("def init(x):\n    pass\ndef run(mini_batch):\n    return []\n", 2, ("init",)),
    "run is made later and wrong": ("exec('def run(a, b, c): pass')\n", 2, ("run",)),
    "run is no function": ("run = 5\n", 2, ("run",)),
    "import raises": ("raise LookupError('no such table')\ndef run(m):\n    return m\n", 4, ("LookupError", "line 1")),
    "import exits": ("import sys\nsys.exit(3)\ndef run(m):\n    return m\n", 4, ("SystemExit", "line 2")),
    "import dies": ("import os\nos._exit(3)\ndef run(m):\n    return m\n", 4, ("code 3",)),
    "init exits": ("def init():\n    raise SystemExit(0)\ndef run(m):\n    return m\n", 4, ("SystemExit", "line 2")),
    "init dies": ("import os\ndef init():\n    os.kill(os.getpid(), 9)\ndef run(m):\n    return m\n", 4, ("SIGKILL",)),
    "init takes for ever": (
        *("import time\ndef init():\n    time.sleep(600)\ndef run(m):\n    return m\n", 4),
        ("init_timeout",),
    ),
    "init never ends and hears nothing": (
        *(DEAF_INIT, 4),
        ("init_timeout",),
    ),
}


@pytest.mark.parametrize("case", SCRIPTS.values(), ids=SCRIPTS)
def test_bad_scripts(job: Job, case: tuple[str, int, tuple[str, ...]]) -> None:
    text, code, words = case
    (job.code / "score.py").write_text(text)
    job.items(3)
    flags = ("--init-timeout", "0.5") if "init_timeout" in words else ()
    job.run(*flags, "--error-threshold", "-1", "--workers", "1", limit=30).expect(code).names("score.py", *words)
    assert not (job.out.path / "predictions.csv").exists()


ACCEPTED = ("list", "list-subclass", "tuple", "DataFrame", "ndarray", "Series", "generator")
REFUSED = ("None", "str", "bytes", "dict", "set", "int", "float", "bool", "ndarray-of-no-dimension", "object", "map")
NOTHING = ("empty-list", "empty-DataFrame")
ODD = range(5, 10)  # the second of four mini-batches


def returns_job(job: Job, kind: str) -> list[str]:
    job.script("returns", RETURNS=kind)
    names = [f"item{number:03d}{'-odd' if number in ODD else ''}" for number in range(20)]
    for name in names:
        (job.inputs / name).touch()
    return names


RETURN_FLAGS = ("--mini-batch-size", "5", "--workers", "2", "--max-retries", "1")


@pytest.mark.parametrize("form", ["csv", "azure"])
@pytest.mark.parametrize("kind", ACCEPTED)
def test_returns_that_are_rows(job: Job, kind: str, form: str) -> None:
    names = returns_job(job, kind)
    ran = job.run(*RETURN_FLAGS, "--output-format", form).expect(0)
    assert job.out.rows == names
    assert job.out.summary["items_succeeded"] == 20
    if kind in ("ndarray", "Series", "generator"):
        ran.names(kind)  # the one warning
        assert len([note for note in job.out.summary["notes"] if kind in note]) == 1


@pytest.mark.parametrize("kind", REFUSED)
def test_returns_that_are_no_rows_fail_their_attempt(job: Job, kind: str) -> None:
    names = returns_job(job, kind)
    ran = job.run(*RETURN_FLAGS).expect(0)
    # What the advice names: what may be returned, and what was.
    ran.names("list", "DataFrame", {"ndarray-of-no-dimension": "ndarray"}.get(kind, kind))
    assert job.out.rows == [name for name in names if "odd" not in name]
    summary = job.out.summary
    assert (summary["items_succeeded"], summary["items_quarantined"]) == (15, 5)
    assert {status for status, _, _ in job.out.charged()} == {"failed"}


@pytest.mark.parametrize("kind", [*NOTHING, "short"])
def test_short_returns_are_failed_items_and_are_not_retried(job: Job, kind: str) -> None:
    names = returns_job(job, kind)
    job.run(*RETURN_FLAGS).expect(0)
    kept = 2 if kind == "short" else 0
    assert job.out.rows == names[: 5 + kept] + names[10:]
    summary = job.out.summary
    assert (summary["items_succeeded"], summary["items_failed"], summary["items_quarantined"]) == (
        15 + kept,
        5 - kept,
        0,
    )
    assert len(job.out.attempts) == 4
    job.batchctl("verify", "out").expect(0)


def test_surplus_rows_are_written_and_count_for_no_more_than_the_items(job: Job) -> None:
    names = returns_job(job, "long")
    job.run(*RETURN_FLAGS).expect(0)
    assert job.out.rows == [*names[:10], "surplus 1", "surplus 2", *names[10:]]
    assert (job.out.summary["items_succeeded"], job.out.summary["rows"]) == (20, 22)
    job.batchctl("verify", "out").expect(0)
