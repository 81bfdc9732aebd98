"""A secret in the environment is in no artefact: not in OUT, not in what is printed, not in a command line.

Its values hold one word, which is looked for as bytes in every file, as it is, hexadecimal and in base64.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Ran

WORD = "kanarienvogel" + "7391"
# Long at both ends, so that base64 of the word is not at an end of the value's.
NASTY = "xX-/" + WORD + "+=\"q'\\ é€%2F&" + WORD + "-Zz"
GIVEN = {
    "HF_TOKEN": NASTY,
    "AZURE_STORAGE_KEY": f"abc{WORD}abc==",
    "DB_PASSWORD": f"{WORD} with blanks  and\ttab",
    "CLIENT_SECRET": f"-----BEGIN KEY-----\n{WORD}aaaa\n{WORD}bbbb\n-----END KEY-----",
    "DATABASE_URL": f"postgres://me:{WORD}pw@host/db",
    "STORAGE_CONNECTION_STRING": f"AccountName=lake;AccountKey={WORD}+/x==;EndpointSuffix=core",
}
SPEC = """
name: canary
type: model
code_configuration:
  code: code
  scoring_script: score.py
settings:
  environment_variables:
    API_KEY: of-the-spec-{word}-value
    PLAIN_MODE: plain-{word}
"""
FLAGS = ("--mini-batch-size", "1", "--workers", "2", "--max-retries", "0", "--output-file-name", "predictions.csv")


def hidden() -> list[bytes]:
    """The word in its forms. Of base64 what does not depend on its neighbours."""
    data = WORD.encode()
    found = [data, data.hex().encode(), data.hex().upper().encode()]
    for before in range(3):
        coded = base64.b64encode(bytes(before) + data)
        found.append(coded[(0, 2, 3)[before] : (before + len(data)) * 8 // 6])
    return found


def clean(what: str, data: bytes) -> None:
    for form in hidden():
        at = data.find(form)
        assert at < 0, f"{form!r} in {what}: ...{data[max(0, at - 200) : at + 100]!r}"


def all_clean(job: Job, *ran: Ran) -> None:
    for one in ran:
        clean(f"standard output of {one.argv}", one.stdout)
        clean(f"standard error of {one.argv}", one.stderr)
    files = [path for path in job.out.path.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".log") and path.stat().st_size > 1000 for path in files), "nothing was printed"
    for path in files:
        clean(str(path), path.read_bytes())
        clean("a name", os.fsencode(path))


@pytest.fixture
def canary(job: Job) -> Job:
    job.script("tells_secrets", MARKER_IS=WORD[::-1], **GIVEN)
    job.write("deployment.yml", SPEC.format(word=WORD))
    job.items(8)
    return job


def test_what_a_script_prints_and_raises_holds_no_secret(canary: Job) -> None:
    job = canary
    page = job.write("page", "")
    env = {"GITHUB_STEP_SUMMARY": str(page)}
    given = ("deployment.yml", "in")
    ran = [
        job.batchctl("check", *given),
        job.batchctl("plan", *given),
        job.batchctl("run", *given, "-o", "out", "-v", *FLAGS, env=env).expect(0),
    ]
    assert (job.out.path / "predictions.csv").read_text() == "item006.txt False\nitem007.txt False\n"
    argvs = (("status", "out"), ("status", "out", "--json"), ("failures", "out"), ("failures", "out", "--json"))
    more = (("inspect", "out"), ("verify", "out"), ("retry", "out", "-v", "--max-retries", "0"))
    ran += [job.batchctl(*argv).expect(0) for argv in (*argvs, *more)]
    all_clean(job, *ran)
    clean("the page of the step", page.read_bytes())


def test_an_init_that_fails_with_secrets_in_its_message(canary: Job) -> None:
    ran = canary.batchctl("run", "deployment.yml", "in", "-o", "out", *FLAGS, env={"WHERE": "init"}).expect(4)
    all_clean(canary, ran)


def test_values_given_on_the_command_line_are_not_recorded(canary: Job) -> None:
    given = ("--env", f"EXTRA_TOKEN=on-the-line-{WORD}", "--env", f"PLAIN={WORD}")
    ran = canary.batchctl("run", "deployment.yml", "in", "-o", "out", *FLAGS, *given).expect(0)
    after = [canary.batchctl(*argv).expect(0) for argv in (("status", "out"), ("status", "out", "--json"))]
    all_clean(canary, *(Ran((), one.code, one.stdout, one.stderr, 0) for one in (ran, *after)))


def test_nothing_of_a_neutral_variable_is_recorded_by_ourselves(job: Job) -> None:
    """One that no name gives away is not masked where the script prints it alone; by us it is told nowhere."""
    job.script()
    job.items(3)
    env = {"HARMLESS": WORD, "GITHUB_STEP_SUMMARY": str(job.write("page", ""))}
    ran = job.run("-v", "--env", f"OTHER={WORD}", env=env).expect(0)
    for path in job.out.path.rglob("*"):
        if path.is_file():
            clean(str(path), path.read_bytes())
    clean("standard error", ran.stderr)
    clean("the page", Path(env["GITHUB_STEP_SUMMARY"]).read_bytes())
