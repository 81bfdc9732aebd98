"""Preloading with small modules, each of which does one thing at its import that it should not, or may."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_driver import PATIENCE_S, Server, wait_until_gone

from batchctl.guest import wire

MODULES = {
    "quiet": "import os\npid = os.getpid()\nthreads = os.environ['OMP_NUM_THREADS']\n",
    "printing": "import os, sys\nprint('hello from the import')\nos.write(2, b'and raw\\n')\n",
    "threaded": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
    "joined": "import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()\n",
    "broken": "1 / 0\n",
    "leaving": "import sys\nsys.exit(3)\n",
    "leaving_at_once": "import os\nos._exit(4)\n",
    "interrupted": "raise KeyboardInterrupt\n",
    "dying": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "needy": "import no_such_module_either\n",
    "socketed": "import socket\nheld = socket.socket()\n",
    "piped": "import os\nheld = os.pipe()\n",
    "polling": "import select\nheld = select.epoll()\n",
    "parental": "import subprocess\nheld = subprocess.Popen(['sleep', '600'])\n",
    "reading": "held = open(__file__)\nheld.readline()\nrest = 'the second line'\n",
    "slow": "import time\ntime.sleep(0.5)\n",
    "meddling": (
        "import logging, os, signal, sys\nlogging.basicConfig(format='MINE %(message)s')\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nsignal.set_wakeup_fd(-1)\n"
    ),
}
# What is said of those that are refused.
REFUSED = {
    "threaded": "importing it starts a thread (",
    "broken": "importing it raised ZeroDivisionError: division by zero\nTraceback",
    "leaving": "importing it raised SystemExit: 3",
    "leaving_at_once": "the process that imported it left with exit code 4",
    "interrupted": "importing it raised KeyboardInterrupt",
    "dying": "the process that imported it was killed by SIGKILL",
    "needy": "importing it raised ModuleNotFoundError: No module named 'no_such_module_either'",
    "no_such_module_here": " has no module of that name",
    "no_such_package.inner": " has no module of that name",
    "socketed": "importing it opens a socket, which workers cannot share",
    "piped": "importing it opens a pipe, which workers cannot share",
    "polling": "importing it opens a descriptor (anon_inode:[eventpoll]), which workers cannot share",
    "parental": "importing it starts a process",
}
TAKEN = ("quiet", "printing", "joined", "reading", "slow", "meddling")
LOADED = "import os, sys\ndef run(b): return [sorted(set(%r) & set(sys.modules))]\n"


@pytest.fixture
def server(python: str, pyz: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own that finds the modules."""
    site = tmp_path / "site"
    site.mkdir()
    for name, text in MODULES.items():
        (site / f"{name}.py").write_text(text)
    found = Server(python, pyz, environment={"PYTHONPATH": str(site)})
    yield found.enter(tmp_path)
    found.close()


def refusals(server: Server) -> dict[str, str]:
    """What has been refused so far, and why; to be asked after a worker is ready."""
    kept = [frame for frame in server.frames if frame.kind == wire.PRELOAD_REFUSED]
    server.frames = [frame for frame in server.frames if frame.kind != wire.PRELOAD_REFUSED]
    return {frame.json()["module"]: frame.json()["reason"] for frame in kept}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(server: Server, name: str) -> None:
    """With the reason, and without harm: the others are there, this one is not."""
    names = ["quiet", name, "joined"]
    worker = server.worker(LOADED % names, preload=names)
    found = refusals(server)
    assert list(found) == [name]
    assert REFUSED[name] in found[name]
    assert worker.one() == b"['joined', 'quiet']\n"


@pytest.mark.parametrize("name", ["quiet", "broken"])
def test_who_serves_from_then_on_is_told(server: Server, name: str) -> None:
    worker = server.worker(LOADED % [name], preload=[name])
    hello = server.expect(wire.HELLO).json()
    with open(f"/proc/{worker.pid}/stat", "rb") as file:
        parent = int(file.read().rpartition(b")")[2].split()[1])
    assert hello == {**server.hello, "pid": parent, "configured": True}
    assert (parent == server.process.pid) is (name == "broken")
    refusals(server)


def test_where_our_own_code_cannot_be_had_nobody_else_serves(python: str, pyz: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "tempfile.py").write_text("raise ImportError('this one is mine')\n")
    server = Server(python, pyz, environment={"PYTHONPATH": str(tmp_path / "site")}).enter(tmp_path)
    try:
        server.job("def run(b): return b\n", preload=["json"])
        assert "this one is mine" in server.expect(wire.SERVER_FAILED).json()["message"]
        assert Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text() == ""
    finally:
        server.close()


def test_all_that_are_refused_are_named_in_order(server: Server) -> None:
    names = ["threaded", "quiet", "dying", "broken", "quiet"]
    worker = server.worker(LOADED % names, preload=names)
    assert list(refusals(server)) == ["threaded", "dying", "broken"]
    assert worker.one() == b"['quiet']\n"


@pytest.mark.parametrize("name", TAKEN)
def test_taken(server: Server, name: str) -> None:
    worker = server.worker(LOADED % [name], preload=[name])
    assert refusals(server) == {}
    assert worker.one() == f"['{name}']\n".encode()
    worker.stop()
    assert server.exited(worker) == 0  # its end is heard of, whatever the module did with SIGCHLD


def test_imported_once_and_not_by_a_worker(server: Server) -> None:
    script = "import os, quiet\ndef run(b): return [quiet.pid == os.getppid(), quiet.threads, os.getppid()]\n"
    said = []
    for _ in range(2):
        worker = server.worker(script, preload=["quiet"])
        said.append(worker.one().decode().split())
    assert said[0] == said[1]
    assert said[0][:2] == ["True", "1"]
    assert int(said[0][2]) != server.process.pid


def test_what_it_prints_is_in_the_log_of_every_worker(server: Server) -> None:
    server.job("import printing\ndef run(b): return b\n", preload=["printing"])
    for _ in range(2):
        worker = server.fork()
        worker.ready()
        assert worker.log(b"and raw\n").count(b"hello from the import\n") == 1


def test_logging_is_set_up_as_for_a_worker_that_imports_it_itself(server: Server) -> None:
    script = "import meddling, logging\ndef init(): logging.warning('told')\ndef run(b): return b\n"
    logs = [server.worker(script, preload=names).log(b"told\n") for names in ([], ["meddling"])]
    assert [log.split(b"|")[1:2] + log.split(b"|")[3:] for log in logs] == [[b"WARNING", b"root", b"told\n"]] * 2


def test_a_file_held_open_has_its_own_position_in_every_worker(server: Server) -> None:
    script = "import reading\ndef run(b): return [reading.held.read(7) for _ in b]\n"
    server.job(script, preload=["reading"])
    workers = [server.fork() for _ in range(2)]
    for worker in workers:
        worker.ready()
    first, second = (worker.one() for worker in workers)
    assert first == second == b"held.re\n"
    # beyond what the reader had buffered at the fork, too
    script = "import os, raw\ndef run(b): return [os.read(raw.fd, 4).decode() for _ in b]\n"
    (server.root / "site" / "raw.py").write_text("import os\nfd = os.open(__file__, os.O_RDONLY)\n")
    server.expect(wire.HELLO)
    server.leave()
    server.job(script, preload=["raw"])
    workers = [server.fork() for _ in range(2)]
    for worker in workers:
        worker.ready()
    assert [worker.one() for worker in workers] == [b"impo\n", b"impo\n"]
    assert [worker.one() for worker in workers] == [b"rt o\n", b"rt o\n"]


def test_modules_of_the_code_folder_can_be_preloaded(server: Server) -> None:
    (server.code / "mine.py").write_text("import os, sys\npid = os.getpid()\nargv = sys.argv[1:]\n")
    script = "import os, mine\ndef run(b): return [mine.pid == os.getppid(), mine.argv]\n"
    assert server.worker(script, preload=["mine"]).one() == b"True\n['--logging_level', 'info']\n"


def test_once_workers_run_nothing_more_is_preloaded(server: Server) -> None:
    first = server.worker("def run(b): return b\n")
    second = server.worker(LOADED % ["quiet"], preload=["quiet"])
    assert refusals(server) == {"quiet": "workers are running already"}
    assert (first.one(), second.one()) == (f"{server.items[0]}\n".encode(), b"[]\n")


def test_random_state_differs_between_workers(server: Server) -> None:
    (server.root / "site" / "seeded.py").write_text("import random\nrandom.seed(1)\n")
    script = "import random\ndef run(b): return [random.random()]\n"
    server.job(script, preload=["seeded"])
    workers = [server.fork() for _ in range(3)]
    for worker in workers:
        worker.ready()
    assert len({worker.one() for worker in workers}) == 3


@pytest.mark.parametrize("how", ["the first process is killed", "the second is killed", "quit"])
def test_the_two_processes_of_a_server_end_together(python: str, pyz: Path, tmp_path: Path, how: str) -> None:
    server = Server(python, pyz).enter(tmp_path)
    (server.code / "mine.py").write_text("import os\npid = os.getpid()\n")
    worker = server.worker("import mine\ndef run(b): return [mine.pid]\n", preload=["mine"])
    second = int(worker.one())
    if how == "quit":
        server.sock.sendall(wire.encode_json(wire.QUIT, 0, 0, {}))
    else:
        os.kill(server.process.pid if "first" in how else second, signal.SIGKILL)
    assert server.process.wait(PATIENCE_S) == (0 if how == "quit" else -signal.SIGKILL)
    for pid in (second, worker.pid):
        wait_until_gone(pid)
    server.sock.close()
    worker.close()


CUDA = """
int initialised = %d;
int cuCtxGetCurrent(void **context) { *context = 0; return initialised ? 0 : 3; }
"""


@pytest.mark.parametrize("initialised", [0, 1])
def test_cuda(server: Server, initialised: int) -> None:
    """A stand-in for the driver's library: loaded it is no reason, initialised it is."""
    if shutil.which("cc") is None:
        pytest.skip("not run: no C compiler")
    source, library = server.root / "cuda.c", server.root / "libcuda.so.1"
    source.write_text(CUDA % initialised)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    (server.root / "site" / "gpu.py").write_text(f"import ctypes\nheld = ctypes.CDLL({str(library)!r})\n")
    worker = server.worker(LOADED % ["gpu"], preload=["gpu"])
    reason = "importing it initialises CUDA, which cannot be used after a fork"
    assert refusals(server) == ({"gpu": reason} if initialised else {})
    assert worker.one() == (b"[]\n" if initialised else b"['gpu']\n")
