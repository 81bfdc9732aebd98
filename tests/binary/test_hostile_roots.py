"""Folders that the tree must not be unpacked into, each refused with its reason; and the ones that are used instead.

All of it happens in a sandbox, as root where the case needs no other user. FILE is the packaged file, ID its build id.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.binary import sandbox
from tests.binary.packaged import NO_ROOT, Packaged, footer_of
from tests.binary.sandbox import Outcome, Step

NOBODY = 65534
PATH = {"PATH": "/usr/bin:/bin"}
ROOTS = {  # the places that are tried without a word from the user
    0: (
        "/var/cache/batchctl",
        "/root/.cache/batchctl",
        "/var/tmp/batchctl-0",
        "/tmp/batchctl-0",
        "/dev/shm/batchctl-0",
    ),
    NOBODY: (f"/var/tmp/batchctl-{NOBODY}", f"/tmp/batchctl-{NOBODY}", f"/dev/shm/batchctl-{NOBODY}"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A root at /h/c that must be refused. `reason`: what the message says of it, as a pattern."""

    reason: str
    prepare: str = ""
    mounts: Mapping[str, str] = field(default_factory=dict)
    value: str = "/h/c"


HOSTILE = {
    "writable by all": Case(r"writ", "install -d -m 0777 /h/c"),
    "writable by the group": Case(r"writ", "install -d -m 0770 /h/c"),
    "of another owner": Case(r"belongs", f"install -d -m 0700 -o {NOBODY} /h/c"),
    "a symbolic link": Case(r"link", "install -d -m 0700 /h/real; ln -s /h/real /h/c"),
    "a link to nothing": Case(r"link", "install -d /h; ln -s /h/nowhere /h/c"),
    "a file": Case(r"(?i)not a (folder|directory)", "install -d /h; touch /h/c"),
    "read-only": Case(r"(?i)read-only", "mount -o remount,ro /h/c", {"/h/c": "size=400m,mode=0700"}),
    "noexec": Case(r"noexec", "", {"/h/c": "size=400m,mode=0700,noexec"}),
    "full": Case(r"(?i)space|MB|MiB|free", "", {"/h/c": "size=50m,mode=0700"}),
    "full to the last byte": Case(
        r"(?i)space|MB|MiB|free", "dd if=/dev/zero of=/h/c/x bs=64k 2>/dev/null || true", {"/h/c": "size=50m,mode=0700"}
    ),
    "out of inodes": Case(r"(?i)space|inode|files", "", {"/h/c": "size=400m,nr_inodes=60,mode=0700"}),
    "no inode at all": Case(
        r"(?i)space|inode|files",
        "i=0; while touch /h/c/$i 2>/dev/null; do i=$((i+1)); done",
        {"/h/c": "size=400m,nr_inodes=12,mode=0700"},
    ),
    "below a folder writable by all": Case(r"writ", "install -d -m 0777 /h; install -d -m 0700 /h/c"),
    "below a folder of another owner": Case(r"belongs", f"install -d -m 0755 -o {NOBODY} /h; install -d -m 0700 /h/c"),
    "deep below a folder writable by all": Case(
        r"writ", "install -d -m 0777 /h; install -d -m 0755 /h/a/b; install -d -m 0700 /h/a/b/c", value="/h/a/b/c"
    ),
    "not there, below a folder writable by all": Case(r"writ", "install -d -m 0777 /h"),
    "not there, and its parent cannot be made": Case(r"(?i)not a (folder|directory)", "touch /h", value="/h/a/c"),
    "relative": Case(r"(?i)absolute|relative", value="cache"),
}


@pytest.fixture(autouse=True)
def _sandboxed(packaged_file: Path) -> Iterator[None]:
    sandbox.require()
    yield


def with_warm(warm: Packaged, at: str) -> str:
    """Shell that puts the session's good cache somewhere, at no cost."""
    return f"install -d -m 0700 {at}; mount --bind {shlex.quote(str(warm.cache))} {at}"


def as_other(warm: Packaged) -> str:
    """Shell that puts the file where any user may read it, at no cost."""
    return f"touch /usr/local/bin/batchctl; mount --bind {shlex.quote(str(warm.path))} /usr/local/bin/batchctl"


def version(warm: Packaged, *, uid: int = 0, **env: str) -> Step:
    path = str(warm.path) if uid == 0 else "/usr/local/bin/batchctl"
    return Step((path, "--version"), env=env, uid=uid)


def ran_well(warm: Packaged, outcome: Outcome) -> None:
    outcome.only.expect(0)
    assert outcome.only.stdout == warm.run("--version").stdout


def of(outcome: Outcome, folder: str) -> list[str]:
    return [path for path in outcome.files() if path.startswith(folder.rstrip("/") + "/")]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_batchctl_cache_is_named_and_the_next_root_used(warm: Packaged, name: str) -> None:
    case = HOSTILE[name]
    prepare = "; ".join(filter(None, (case.prepare, with_warm(warm, "/var/cache/batchctl"))))
    step = version(warm, BATCHCTL_CACHE=case.value, HOME="/root", **PATH)
    outcome = sandbox.play(prepare=prepare, mounts=case.mounts, steps=[step])
    ran_well(warm, outcome)
    said = outcome.only.stderr
    assert "BATCHCTL_CACHE" in said
    assert case.value in said
    assert re.search(case.reason, said), said
    assert of(outcome, "/h") == []
    assert outcome.trees(footer_of(warm.path).build_id) == []


@pytest.mark.parametrize("name", ["writable by all", "of another owner", "noexec", "full", "out of inodes"])
def test_a_hostile_root_that_nobody_asked_for_is_passed_over_in_silence(warm: Packaged, name: str) -> None:
    case = HOSTILE[name]
    prepare = "; ".join(filter(None, (case.prepare, with_warm(warm, "/var/cache/batchctl"))))
    step = version(warm, CACHE_DIRECTORY=case.value, HOME="/root", **PATH)
    outcome = sandbox.play(prepare=prepare, mounts=case.mounts, steps=[step])
    ran_well(warm, outcome)
    assert outcome.only.stderr == ""
    assert of(outcome, "/h") == []


def test_when_no_root_is_left_each_is_named_with_its_reason(warm: Packaged) -> None:
    prepare = "; ".join(f"install -d -m 0777 {path}" for path in ("/h/c", "/h/s", "/h/t/batchctl-0", *ROOTS[0]))
    env = {"BATCHCTL_CACHE": "/h/c", "CACHE_DIRECTORY": "/h/s", "TMPDIR": "/h/t", "HOME": "/root", **PATH}
    outcome = sandbox.play(prepare=prepare, steps=[version(warm, **env)])
    outcome.only.expect(NO_ROOT, "/h/c", "/h/s", "/h/t/batchctl-0", *ROOTS[0])
    assert outcome.only.stdout == ""
    assert outcome.only.stderr.count("writ") >= len(ROOTS[0]) + 3
    assert "BATCHCTL_CACHE" in outcome.only.stderr
    assert outcome.files() == []


def test_nothing_is_left_of_a_try_where_all_are_full(warm: Packaged) -> None:
    mounts = dict.fromkeys(ROOTS[0][:-1], "size=50m,mode=0700") | {"/dev/shm": "size=50m,mode=1777"}
    outcome = sandbox.play(mounts=mounts, steps=[version(warm, HOME="/root", **PATH)])
    outcome.only.expect(NO_ROOT, *ROOTS[0])
    assert [path for path in outcome.files() if not path.endswith("/.lock")] == []


@pytest.mark.parametrize(
    ("prepare", "uid", "env", "used"),
    [
        pytest.param("", 0, {}, "/var/cache/batchctl", id="root, empty environment"),
        pytest.param("", 0, {"HOME": "/root", **PATH}, "/var/cache/batchctl", id="root, HOME"),
        pytest.param(
            f"install -d -o {NOBODY} /home/x",
            0,
            {"HOME": "/home/x", **PATH},
            "/var/cache/batchctl",
            id="sudo keeps HOME",
        ),
        pytest.param(
            f"install -d -m 0777 /var/cache/batchctl; install -d -o {NOBODY} /home/x",
            0,
            {"HOME": "/home/x", **PATH},
            "/var/tmp/batchctl-0",
            id="sudo keeps HOME, no /var/cache: not into another's home",
        ),
        pytest.param("", NOBODY, {}, f"/var/tmp/batchctl-{NOBODY}", id="uid 65534, empty environment"),
        pytest.param(
            "", NOBODY, {"HOME": "/nonexistent", **PATH}, f"/var/tmp/batchctl-{NOBODY}", id="uid 65534, no home folder"
        ),
        pytest.param(
            f"install -d -o {NOBODY} /home/x",
            NOBODY,
            {"HOME": "/home/x"},
            "/home/x/.cache/batchctl",
            id="uid 65534, HOME",
        ),
        pytest.param(
            f"install -d -o {NOBODY} /home/x",
            NOBODY,
            {"HOME": "/home/x", "XDG_CACHE_HOME": "/home/x/xdg"},
            "/home/x/xdg/batchctl",
            id="XDG_CACHE_HOME",
        ),
        pytest.param(
            f"install -d -o {NOBODY} /home/x",
            NOBODY,
            {"HOME": "/home/x", "XDG_CACHE_HOME": "xdg"},
            "/home/x/.cache/batchctl",
            id="a relative XDG_CACHE_HOME",
        ),
        pytest.param(
            f"install -d -m 0700 -o {NOBODY} /var/cache/service",
            NOBODY,
            {"CACHE_DIRECTORY": "/var/cache/service"},
            "/var/cache/service",
            id="CACHE_DIRECTORY",
        ),
        pytest.param(
            f"install -d -m 0700 -o {NOBODY} /var/cache/private /var/cache/private/s; ln -s private/s /var/cache/s",
            NOBODY,
            {"CACHE_DIRECTORY": "/var/cache/s:/var/cache/t"},
            "/var/cache/private/s",
            id="CACHE_DIRECTORY of a unit with DynamicUser and two caches",
        ),
        pytest.param(
            f"install -d -m 0700 /var/tmp/batchctl-{NOBODY}",
            NOBODY,
            {},
            f"/tmp/batchctl-{NOBODY}",
            id="/var/tmp taken by another",
        ),
        pytest.param(
            f"install -d -m 0700 /var/tmp/batchctl-{NOBODY}; install -d -m 1777 /scratch",
            NOBODY,
            {"TMPDIR": "/scratch"},
            f"/scratch/batchctl-{NOBODY}",
            id="/var/tmp taken, TMPDIR",
        ),
        pytest.param(
            f"for d in /var/tmp /tmp; do install -d -m 0700 $d/batchctl-{NOBODY}; done",
            NOBODY,
            {},
            f"/dev/shm/batchctl-{NOBODY}",
            id="only /dev/shm is left",
        ),
        pytest.param(
            "install -d -m 1777 /sticky; install -d -m 0700 /sticky/c",
            0,
            {"BATCHCTL_CACHE": "/sticky/c"},
            "/sticky/c",
            id="below a sticky folder",
        ),
        pytest.param(
            # Whoever owns the link may turn it, but only to folders that are good themselves: the target is judged.
            f"install -d -m 0700 /good/c; install -d -m 0755 -o {NOBODY} /h; ln -s /good /h/l",
            0,
            {"BATCHCTL_CACHE": "/h/l/c"},
            "/good/c",
            id="BATCHCTL_CACHE by way of a link",
        ),
        pytest.param("", 0, {"BATCHCTL_CACHE": "/opt/a/b/c"}, "/opt/a/b/c", id="BATCHCTL_CACHE, nothing there yet"),
    ],
)
def test_the_root_that_is_used(warm: Packaged, prepare: str, uid: int, env: Mapping[str, str], used: str) -> None:
    prepare = "; ".join(filter(None, ("rm -rf /var/cache/batchctl /home/x", prepare, as_other(warm))))
    outcome = sandbox.play(prepare=prepare, steps=[version(warm, uid=uid, **env)])
    ran_well(warm, outcome)
    assert outcome.only.stderr == ""
    assert outcome.trees(footer_of(warm.path).build_id) == [used]
    assert outcome.files(outside=[used]) == []
    root = outcome.written.get(used)
    assert root is None or (root.mode, root.uid) == (0o700, uid), root
    assert {what.uid for path, what in outcome.written.items() if path.startswith(used + "/")} == {uid}


def test_a_read_only_root_that_holds_the_tree_is_used(warm: Packaged) -> None:
    """An administrator may unpack once, for a machine whose disk is read-only from then on."""
    prepare = f"{with_warm(warm, '/h/c')}; mount -o remount,bind,ro /h/c"
    outcome = sandbox.play(prepare=prepare, steps=[version(warm, BATCHCTL_CACHE="/h/c", **PATH)])
    ran_well(warm, outcome)
    assert outcome.only.stderr == ""
    assert outcome.files() == []


def test_a_set_user_id_file_refuses_to_run(warm: Packaged) -> None:
    prepare = f"install -m 4755 {shlex.quote(str(warm.path))} /usr/local/bin/batchctl"
    outcome = sandbox.play(prepare=prepare, steps=[version(warm, uid=NOBODY)])
    assert outcome.only.code not in (0, 70), outcome.only
    assert outcome.only.code > 0, outcome.only
    assert re.search(r"(?i)set-?(user|group)|setuid", outcome.only.stderr), outcome.only
    assert outcome.files() == []


def test_without_proc_the_message_names_it(warm: Packaged) -> None:
    outcome = sandbox.play(prepare=with_warm(warm, "/var/cache/batchctl"), steps=[version(warm)], proc=False)
    assert outcome.only.code != 70, outcome.only
    assert "damaged" not in outcome.only.stderr
    if outcome.only.code != 0:
        assert "/proc" in outcome.only.stderr


def test_a_tree_put_there_by_another_is_not_run(warm: Packaged) -> None:
    """The root is good by now, but somebody was there before: nothing in it that is not ours is ever executed."""
    tree = f"/h/c/{footer_of(warm.path).build_id}"
    prepare = (
        f"install -d -m 0700 /h/c; install -d -o {NOBODY} {tree}; printf '#!/bin/sh\\necho evil\\n' >{tree}/batchctl"
    )
    prepare += (
        f"; chmod 0755 {tree}/batchctl; cp {shlex.quote(str(warm.tree))}/MANIFEST {tree}/; chown -R {NOBODY} {tree}"
    )
    outcome = sandbox.play(prepare=prepare, steps=[version(warm, BATCHCTL_CACHE="/h/c", **PATH)])
    ran_well(warm, outcome)
