"""The Dockerfile, as far as it can be judged without an engine: its instructions, and its steps' shell."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.packaging.stand_in import REPO

DOCKERFILE = REPO / "packaging" / "docker" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def the(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def test_it_ends_as_a_user_without_rights_and_becomes_batchctl() -> None:
    assert the("USER") == ["10001:10001"]
    assert [json.loads(rest) for rest in the("ENTRYPOINT")] == [
        ["/usr/local/bin/batchctl"]
    ]  # no shell: it is process 1
    assert the("STOPSIGNAL") == ["SIGTERM"]
    assert the("FROM") == ["${BASE}"] and the("ARG") == ["BASE=debian:12-slim"]


def test_it_copies_what_make_binary_makes() -> None:
    assert the("COPY") == ["batchctl batchctl.sha256 /usr/local/bin/"]
    made = REPO / "dist" / "batchctl.sha256"
    if made.exists():
        assert re.fullmatch(r"[0-9a-f]{64}  batchctl\n", made.read_text())  # a name that `sha256sum -c` finds there


def test_the_tree_is_unpacked_by_the_user_who_runs_it() -> None:
    order = [(name, rest) for name, rest in instructions() if name in ("USER", "RUN")]
    assert order[-1] == ("RUN", "batchctl --version")
    assert order[-2][0] == "USER"


def test_gpus_are_asked_for() -> None:
    assert "NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility" in " ".join(the("ENV"))


@pytest.mark.parametrize("step", the("RUN"), ids=range(len(the("RUN"))))
def test_a_step_is_a_command_that_sh_reads(step: str) -> None:
    subprocess.run(["sh", "-n", "-c", step], check=True)
