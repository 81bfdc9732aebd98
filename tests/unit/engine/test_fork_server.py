"""Starting the user's interpreter: each way in which it can be none is told soon, in words, and leaves nothing."""

from __future__ import annotations

import fcntl
import os
import select
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchctl import processes
from batchctl.engine.fork_server import ForkServer
from batchctl.engine.guest_zip import place_guest
from batchctl.engine.local import LocalEngine
from batchctl.errors import UsageError
from batchctl.guest import wire
from tests.contract.engine_bench import alive, descriptors

FACTS = {"script": "/nowhere/score.py", "code": "/nowhere"}


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    place_guest(tmp_path / "guest.pyz")
    return tmp_path / "guest.pyz"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


def interpreter(guest: Path, text: str) -> str:
    path = guest.with_name("python")
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def saying(frame: str) -> str:
    """An interpreter that says this at once, whatever it is asked, and waits."""
    where = str(Path(wire.__file__).parents[2])
    head = f"#!{sys.executable} -SE\nimport os, sys, time\nsys.path.insert(0, {where!r})\n"
    return head + f"from batchctl.guest import wire\nos.write(int(sys.argv[3]), {frame})\ntime.sleep(600)\n"


# name: (the executable's text, what is told)
NOT_PYTHON = {
    "dies at once with a message": ("#!/bin/sh\necho libpython.so: no such file >&2\nexit 127\n", "libpython.so"),
    "dies at once, mute": ("#!/bin/sh\nexit 1\n", "the interpreter ended at once"),
    "says yes to everything": ("#!/bin/sh\nexit 0\n", "the interpreter ended at once"),
    "talks on standard output": ("#!/bin/sh\necho usage: something else\nexit 2\n", "usage: something else"),
    "answers with noise": (
        f"#!{sys.executable} -SE\nimport os, sys\nos.write(int(sys.argv[3]), b'?' * 64)\n",
        "nonsense",
    ),
    "answers with noise and lives": (saying("b'?' * 64"), "nonsense"),
    "facts that are no JSON": (saying("wire.encode(wire.FACTS_FOUND, 0, 0, b'{')"), "nonsense"),
    "a greeting that is no JSON": (saying("wire.encode(wire.HELLO, 0, 0, b'[]')"), "nonsense"),
    "a refusal that is no JSON": (saying("wire.encode(wire.SERVER_FAILED, 0, 0, b'?')"), "nonsense"),
    "is silent": ("#!/bin/sh\nexec sleep 600\n", "the interpreter did not answer"),
    "is silent after a word": ("#!/bin/sh\necho please wait\nexec sleep 600\n", "please wait"),
}


@pytest.mark.parametrize("case", NOT_PYTHON)
def test_what_is_no_python(guest: Path, case: str) -> None:
    text, told = NOT_PYTHON[case]
    server = ForkServer(interpreter(guest, text), guest, run_id="r")
    pid = server.pid
    began = time.monotonic()
    try:
        server.send(wire.FACTS, FACTS)
        if "word" in case:
            assert select.select([server.errors], [], [], 60)[0]  # it has come so far
        with pytest.raises(UsageError) as refused:
            server.wait_for(wire.FACTS_FOUND, seconds=2 if "silent" in case else 60)
        assert told in refused.value.message
        assert refused.value.where == str(guest.with_name("python"))
        assert "--python" in refused.value.remedy
        assert time.monotonic() - began < 60
    finally:
        server.close()
        server.close()
        assert not alive(pid)


# name: what stands in the place of a module that only workers need, and whether the server outlives it
IN_THE_WAY = {
    "leaves": ("import sys; sys.exit('enough')\n", False),
    "raises": ("raise RuntimeError('not this one')\n", True),
    "hangs": ("import time; time.sleep(600)\n", True),
    "is noisy": ("import os; os.write(2, b'noise ' * 200_000)\n", True),
}


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_the_facts_are_told_whatever_becomes_of_what_only_workers_need(guest: Path, case: str) -> None:
    """It is imported at the same time: what of the two is through first must not decide what becomes of a run."""
    text, lives = IN_THE_WAY[case]
    shadow = guest.with_name("shadow")
    shadow.mkdir()
    (shadow / "string.py").write_text(text)  # logging imports it, and nothing does before
    guest.with_name("score.py").write_text("def run(batch): pass\n")
    for _ in range(5):
        server = ForkServer(sys.executable, guest, run_id="r", environment={"PYTHONPATH": str(shadow)})
        pid = server.pid
        try:
            server.send(wire.FACTS, {"script": str(guest.with_name("score.py")), "code": str(guest.parent)})
            assert server.wait_for(wire.FACTS_FOUND)["executable"] == sys.executable
            if case == "raises":
                assert "not this one" in str(eventually(server.receive)[0].json()["message"])
            if not lives:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                assert b"enough" in server.read_errors()
            assert alive(pid) is lives
        finally:
            server.close()


def test_a_child_that_ends_while_it_tells_the_facts_is_told_of(guest: Path) -> None:
    guest.with_name("score.py").write_text("".join(f"import missing_{number}\n" for number in range(30_000)))
    server = ForkServer(sys.executable, guest, run_id="r")
    try:
        server.send(wire.FACTS, {"script": str(guest.with_name("score.py")), "code": str(guest.parent)})
        until = time.monotonic() + 60
        while pending(server) < 50_000 and time.monotonic() < until:
            pass  # nobody reads: there is no room for all of it, so that it waits
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        os.kill(int(children[0]), 9)
        with pytest.raises(UsageError, match=r"ended at once: .* ended midway"):
            server.wait_for(wire.FACTS_FOUND)
    finally:
        server.close()


def pending(server: ForkServer) -> int:
    return int.from_bytes(fcntl.ioctl(server.channel.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def eventually(receive: Callable[[], list[wire.Frame]]) -> list[wire.Frame]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if found := receive():
            return found
    raise AssertionError("nothing was said")


# name: how the file is made that cannot be started
UNSTARTABLE = {
    "absent": lambda path: None,
    "not executable": lambda path: path.write_text("#!/bin/sh\n"),
    "no format that the kernel knows": lambda path: (path.write_bytes(b"\x00\x01"), path.chmod(0o755)),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("case", UNSTARTABLE)
def test_what_cannot_be_started(guest: Path, case: str) -> None:
    UNSTARTABLE[case](guest.with_name("python"))
    for make in (ForkServer, lambda *given, **named: LocalEngine(*given, **named).open()):
        with pytest.raises(UsageError, match="cannot start the interpreter"):
            make(str(guest.with_name("python")), guest, run_id="r")


def test_a_real_one_answers_and_ends_with_its_channel(guest: Path) -> None:
    server = ForkServer(sys.executable, guest, run_id="r")
    guest.with_name("score.py").write_text("def run(batch): pass\n")
    server.send(wire.FACTS, {"script": str(guest.with_name("score.py")), "code": str(guest.parent)})
    said = server.wait_for(wire.FACTS_FOUND)
    assert said["executable"] == sys.executable
    assert server.receive() == []
    server.send(wire.FACTS, FACTS)
    with pytest.raises(UsageError, match="could not do it"):
        server.wait_for(wire.FACTS_FOUND)
    pid = server.pid
    server.close()
    assert not alive(pid)


def test_requests_to_a_dead_server_are_no_error(guest: Path) -> None:
    server = ForkServer(interpreter(guest, "#!/bin/sh\nexit 3\n"), guest, run_id="r")
    processes.await_end([server.pid], seconds=10)
    page = os.memfd_create("x")
    for _ in range(3):
        server.send(wire.FACTS, FACTS)
        server.send(wire.FORK, {}, fds=(page,))
    os.close(page)
    server.close()


def test_the_run_id_is_in_its_environment(guest: Path) -> None:
    run_id = os.urandom(8).hex()
    server = ForkServer(interpreter(guest, "#!/bin/sh\nexec sleep 600\n"), guest, run_id=run_id)
    pid = server.pid
    assert processes.end_leftovers(run_id) == 1
    assert not alive(pid)
    server.pid = 0  # reaped
    server.close()
