"""What a script leaves behind in its output folder, or can still reach, does not change what is published."""

from __future__ import annotations

import stat

import pytest
from guest_driver import Server, wait_until_gone

from batchctl.guest import wire
from batchctl.guest.writers import is_written
from tests.guest.test_files import HEAD, notes, out, score

CHILD = """
keep = []
def run(b):
    f = open(at("f"), "wb", 0)
    f.write(b"as run() left it")
    gate, go = os.pipe()
    if os.fork() == 0:
        os.close(go)
        os.read(gate, 1)  # until the worker is gone
        os._exit(0)
    f.close()
    keep.append(go)
    return b
"""


def test_a_child_that_still_writes_does_not_reach_what_is_staged(server: Server) -> None:
    worker = server.worker(HEAD + CHILD)
    found, fields = score(worker, 0)
    assert found == {"f": "as run() left it"}
    assert any("'f' could still be written" in text for text in notes(worker))
    assert out(worker) == []
    staged = server.root / "stage" / fields["staged"] / "f"
    assert not is_written(str(staged))


HARD_LINK = """
def init():
    open("cache", "w").write("first")
def run(b):
    os.link("cache", at("f"))
    return b
"""
RENAMED = """
def init():
    open(at("draft"), "w").write("from init")
def run(b):
    os.rename(at("draft"), at("f"))
    return b
"""
# What the worker knows of an open file must not be taken for the beginning of another one in its place.
REOPENED = """
f = None
def run(b):
    global f
    f = open(at("f"), "w")
    f.write("of item " + b[0] + " " * int(b[0][-1]))
    return b
"""
IN_PLACE = """
f = None
def run(b):
    global f
    f = f or open(at("f"), "w")
    f.seek(0)
    f.write(b[0])
    return b
"""
RECREATED = """
f = None
def run(b):
    global f
    if f:
        f.close()
        os.unlink(at("f"))
        open(at("f"), "w").write("of item " + b[0])
        f = None
    else:
        f = open(at("f"), "w")
        f.write("short")
    return b
"""


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        (RENAMED, ["from init"]),
        (REOPENED, ["of item {0}", "of item {1} ", "of item {2}  "]),
        (IN_PLACE, ["{0}", "{1}", "{2}"]),
        (RECREATED, ["short", "of item {1}"]),
    ],
    ids=["a file of init() renamed", "opened anew and never closed", "rewritten in place", "removed and made again"],
)
def test_what_a_run_wrote_is_staged_whole(server: Server, script: str, wanted: list[str]) -> None:
    worker = server.worker(HEAD + script)
    for n, text in enumerate(wanted):
        assert score(worker, n)[0] == {"f": text.format(*server.items)}


def test_a_file_with_other_names_is_copied(server: Server) -> None:
    _, fields = score(server.worker(HEAD + HARD_LINK), 0)
    assert (server.root / "stage" / fields["staged"] / "f").stat().st_nlink == 1


def test_modes_that_keep_the_owner_out_are_mended(server: Server) -> None:
    script = """
def run(b):
    os.mkdir(at("d"))
    open(at("d", "f"), "w").write("x")
    os.chmod(at("d", "f"), 0o040)
    os.chmod(at("d"), 0)
    return b
"""
    worker = server.worker(HEAD + script)
    _, fields = score(worker, 0)
    home = server.root / "stage" / f"w{worker.incarnation}" / "out"
    staged = server.root / "stage" / fields["staged"] / "d" / "f"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home / "d", staged)] == [0o700, 0o440]


def test_a_worker_that_cannot_delete_a_failed_attempts_files_ends(server: Server) -> None:
    script = """
def run(b):
    open(at("f"), "w").write("x")
    os.unlink = no
    raise ValueError("first")
def no(path):
    raise OSError(16, "busy")
"""
    worker = server.worker(HEAD + script)
    assert worker.fail(0)["message"] == "first"
    assert "could not be deleted" in worker.expect(wire.NOTE).json()["text"]
    assert server.exited(worker) != 0
    wait_until_gone(worker.pid)
