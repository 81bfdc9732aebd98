"""The fork server's life: its end, its parent's end, what it refuses, and facts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest
from guest_driver import PATIENCE_S, Server, wait_until_gone

from batchctl.guest import wire

ECHO = "def run(mini_batch):\n    return mini_batch\n"
SLEEPS = "import time\ndef run(b):\n    print('here')\n    time.sleep(1000)\n"


def test_hello(own_server: Server, python: str) -> None:
    hello = own_server.hello
    assert hello["pid"] == own_server.process.pid
    assert f"python{hello['python'].rpartition('.')[0]}" in python
    assert os.path.samefile(hello["executable"], python)


def test_closing_the_control_socket_ends_every_worker(own_server: Server) -> None:
    worker = own_server.worker(SLEEPS)
    worker.lease((0, 0, 1))
    worker.log(b"here\n")
    own_server.sock.close()
    assert own_server.process.wait(PATIENCE_S) == 0
    wait_until_gone(worker.pid)


def test_killing_the_server_ends_every_worker(python: str, pyz: Path, tmp_path: Path) -> None:
    server = Server(python, pyz).enter(tmp_path)
    worker = server.worker(SLEEPS)
    worker.lease((0, 0, 1))
    worker.log(b"here\n")
    server.process.kill()
    wait_until_gone(worker.pid)
    server.process.wait()
    server.sock.close()
    worker.close()


def test_server_ends_with_the_coordinator(python: str, pyz: Path) -> None:
    # The control socket stays open in this process, so only the parent's death can end the server.
    program = textwrap.dedent(
        """
        import os, socket, subprocess, sys
        server = subprocess.Popen([sys.argv[1], sys.argv[2], "serve", sys.argv[3], str(os.getpid())],
                                  pass_fds=[int(sys.argv[3])])
        print(server.pid, flush=True)
        sys.stdin.read()
        os.kill(os.getpid(), 9)
        """
    )
    import socket

    ours, theirs = socket.socketpair()
    fd = theirs.fileno()
    parent = subprocess.Popen(
        [sys.executable, "-c", program, python, str(pyz), str(fd)],
        pass_fds=[fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert ours.recv(1 << 16)[0] == wire.HELLO
    parent.stdin.close()
    parent.wait()
    wait_until_gone(pid)
    parent.stdout.close()
    ours.close()
    theirs.close()


def test_wrong_parent_ends_the_server(python: str, pyz: Path) -> None:
    done = subprocess.run([python, str(pyz), "serve", "0", "1"], stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == wire.EXIT_NO_POOL


@pytest.mark.parametrize("arguments", [[], ["serve"], ["serve", "x", "1"], ["what", "0", "1"]])
def test_usage(python: str, pyz: Path, arguments: list[str]) -> None:
    done = subprocess.run([python, str(pyz), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


def test_quit_reports_what_was_left_and_leaves(own_server: Server) -> None:
    worker = own_server.worker(SLEEPS)
    worker.lease((0, 0, 1))
    worker.log(b"here\n")
    own_server.sock.sendall(wire.encode(wire.QUIT, 0, 0))
    assert os.waitstatus_to_exitcode(own_server.exited(worker)) == -signal.SIGKILL
    assert own_server.process.wait(PATIENCE_S) == 0


def test_terminal_signals_are_ignored(own_server: Server) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        own_server.process.send_signal(number)
    assert own_server.worker(ECHO).one()
    assert os.getpgid(own_server.process.pid) == own_server.process.pid


def test_refusals_leave_the_server_serving(python: str, pyz: Path, tmp_path: Path) -> None:
    server = Server(python, pyz).enter(tmp_path)
    server.sock.sendall(wire.encode_json(wire.FACTS, 0, 0, {"script": "/none"}))
    assert server.expect(wire.SERVER_FAILED).json()["error"] == "KeyError"
    asked = {"script": "/none/such.py", "code": "/none"}
    server.sock.sendall(wire.encode_json(wire.FACTS, 0, 0, asked))
    found = server.expect(wire.SERVER_FAILED).json()
    assert found["request"] == wire.FACTS
    assert "FileNotFoundError" in found["message"]
    assert server.worker(ECHO).one()
    server.leave()
    server.close()


def test_a_fork_that_cannot_be_done_leaves_no_descriptors_to_the_next(python: str, pyz: Path, tmp_path: Path) -> None:
    mended, altered = tmp_path / "mended", tmp_path / "altered.pyz"
    with zipfile.ZipFile(pyz) as source, zipfile.ZipFile(altered, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("/worker.pyc"):  # it would be taken for the source, unlooked at
                continue
            if name.endswith("/worker.py"):
                data += f"\nif not os.path.exists({str(mended)!r}): raise OSError(24, 'too many')\n".encode()
            target.writestr(name, data)
    with contextlib.closing(Server(python, altered).enter(tmp_path)) as server:
        server.job(ECHO)
        assert "too many" in server.expect(wire.SERVER_FAILED).json()["message"]
        with pytest.raises(AssertionError, match="too many"):
            server.fork()
        mended.touch()
        worker = server.fork()
        worker.ready()
        assert worker.one() == server.items[0].encode() + b"\n"
        server.leave()


def test_workers_share_no_descriptor(server: Server) -> None:
    script = """
import os
def run(b):
    links = ["/proc/self/fd/" + fd for fd in os.listdir("/proc/self/fd") if int(fd) > 2]
    return [os.readlink(link) for link in links if os.path.lexists(link)]
"""
    workers = []
    for _ in range(3):
        workers.append(server.worker(script))
    sockets: set[str] = set()
    for worker in workers:
        kinds = worker.one().decode().splitlines()
        mine = {kind for kind in kinds if kind.startswith("socket:")}
        assert len(mine) == 1
        assert not mine & sockets
        sockets |= mine
        assert sum(kind.startswith("pipe:") for kind in kinds) == 1


FACTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (
        "import os, json.decoder\nfrom collections import abc\ndef init(): pass\ndef run(mini_batch, ctx=None): pass\n",
        {"functions": {"init": [0, 0], "run": [1, 2], "shutdown": None}, "missing": [], "dynamic": False},
    ),
    "missing": (
        "import nope_a, os\nfrom nope_b.c import d\ndef run(b):\n    import nope_c\n    with x: import nope_d\n",
        {"missing": ["nope_a", "nope_b", "nope_c", "nope_d"]},
    ),
    "allowed to fail": (
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nope_a\n"
            "try:\n    import nope_b\nexcept ImportError:\n    nope_b = None\n"
            "try:\n    import nope_c\nexcept (KeyError, ModuleNotFoundError):\n    pass\n"
        ),
        {"missing": []},
    ),
    "for another Python or system": (
        (
            "import os, sys, platform\nif sys.version_info >= (3, 11):\n    import nope_a\nelse:\n    import nope_b\n"
            "if os.name == 'nt':\n    import nope_c\nif sys.platform == 'win32' and True:\n    import nope_d\n"
            "if platform.system() == 'Windows':\n    import nope_e\n"
        ),
        {"missing": []},
    ),
    "a condition of its own": ("import os\nif os.environ:\n    import nope_a\n", {"missing": ["nope_a"]}),
    "failing for another reason": ("try:\n    import nope_a\nexcept KeyError:\n    pass\n", {"missing": ["nope_a"]}),
    "sys.path is arranged": ("import sys\nsys.path.append('x')\nimport nope_a\n", {"missing": []}),
    "sys.path under its own name": ("from sys import path\npath.append('x')\nimport nope_a\n", {"missing": []}),
    "another path": ("import os\nos.path.join('x')\nimport nope_a\n", {"missing": ["nope_a"]}),
    "sibling": ("import helper, sub.inner\nfrom . import x\n", {"missing": ["nope_in_helper"]}),
    "syntax error": ("def run(:\n", {"missing": []}),
    "null byte": ("x = 1\0\n", {"missing": []}),
    "star": ("from helper import *\n", {"dynamic": True, "functions": {"init": None, "run": None, "shutdown": None}}),
    "assigned": ("run = print\n", {"dynamic": True}),
    "imported": ("from helper import run\n", {"dynamic": True}),
    "conditional": ("if True:\n    def run(a): pass\n", {"functions": {"init": None, "run": [1, 1], "shutdown": None}}),
    "match": (
        "match 1:\n    case _:\n        def run(a): pass\n",
        {"functions": {"init": None, "run": [1, 1], "shutdown": None}},
    ),
    "exec": ("exec('def run(b): return b')\n", {"dynamic": True}),
    "globals": ("globals()['run'] = print\n", {"dynamic": True}),
    "replaced": ("import sys\nsys.modules[__name__] = object()\n", {"dynamic": True}),
    "on demand": ("def __getattr__(name): return print\n", {"dynamic": True}),
    "exec beside run": ("exec('x = 1')\ndef run(a): pass\n", {"dynamic": False}),
    "varargs": ("def run(*a): pass\n", {"functions": {"init": None, "run": [0, None], "shutdown": None}}),
}


@pytest.mark.parametrize("case", FACTS)
def test_facts(server: Server, case: str) -> None:
    source, expected = FACTS[case]
    server.script.write_text(source)
    (server.code / "helper.py").write_text("import nope_in_helper\nrun = 1\n")
    (server.code / "sub").mkdir()
    found = server.facts(server.script, server.code)
    if case == "match" and tuple(map(int, found["python"].split(".")[:2])) < (3, 10):
        pytest.skip("match needs Python 3.10")
    assert {key: found[key] for key in expected} == expected
    assert found["python"] == server.hello["python"] or server.hello == {}
    assert found["implementation"] == "cpython"
    assert found["executable"] == server.hello["executable"]
    if case in ("syntax error", "null byte"):
        assert found["syntax_error"]["message"]
        assert found["syntax_error"]["line"] == 1 or case == "null byte"
    else:
        assert found["syntax_error"] is None


# What lies in folders (or zips) a and b, which come first on sys.path, and the version that is found.
VERSIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "wheel": (("a/numpy-1.2.3.dist-info/METADATA",), "1.2.3"),
    "local version": (("a/numpy-1.2.3+cu12.dist-info/METADATA",), "1.2.3+cu12"),
    "egg": (("a/numpy-1.2.3-py3.9.egg-info/PKG-INFO",), "1.2.3"),
    "egg, a file": (("a/numpy-1.2.3.egg-info",), "1.2.3"),
    "two: the first on the path": (("a/numpy-3.2.1.dist-info/METADATA", "b/numpy-4.5.6.dist-info/METADATA"), "3.2.1"),
    "in a zip": (("a.zip/numpy-1.2.3.dist-info/METADATA",), "1.2.3"),
    "others of that name": (("a/numpy_financial-1.0.dist-info/METADATA", "a/numpy-9/x"), ""),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_versions(python: str, pyz: Path, tmp_path: Path, case: str) -> None:
    names, expected = VERSIONS[case]
    for name in names:
        version = name.partition("-")[2].split("-")[0].split(".dist")[0].split(".egg")[0]
        text = f"Metadata-Version: 2.1\nName: numpy\nVersion: {version}\n"
        if ".zip/" in name:
            archive, _, inside = name.partition("/")
            with zipfile.ZipFile(tmp_path / archive, "w") as target:
                target.writestr(inside, text)
        else:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    if not expected:  # this interpreter's own, if it has one
        say = "import importlib.metadata as m\ntry: print(m.version('numpy'))\nexcept m.PackageNotFoundError: print()"
        expected = subprocess.run([python, "-c", say], capture_output=True, text=True, check=True).stdout.strip()
    path = os.pathsep.join(str(tmp_path / name) for name in ("a", "b", "a.zip", "missing"))
    server = Server(python, pyz, environment={"PYTHONPATH": path}).enter(tmp_path)
    try:
        server.script.write_text("def run(a): pass\n")
        assert server.facts(server.script, server.code)["numpy"] == expected
    finally:
        server.close()


def test_facts_run_nothing_of_the_users(server: Server) -> None:
    marker = server.root / "ran"
    (server.code / "helper.py").write_text(f"open({str(marker)!r}, 'w')\n")
    server.script.write_text("import helper\n" + (server.code / "helper.py").read_text())
    server.facts(server.script, server.code)
    assert not marker.exists()


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_version_gate(pyz: Path, version: str) -> None:
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    if not found:
        pytest.skip(f"not run: no Python {version} under ~/.pyenv")
    done = subprocess.run([str(found[0]), str(pyz), "serve", "0", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("batchctl: scoring needs Python 3.8 or newer; ")
    assert version in done.stderr


def test_which_interpreters_there_are(request: pytest.FixtureRequest) -> None:
    from guest_driver import interpreters

    found = interpreters()
    print("interpreters:", ", ".join(f"{version} ({path})" for version, path in found.items()))
    if len(found) < 2:
        pytest.skip(f"not run: only {list(found)} of CPython 3.8-3.13 can be found here")
