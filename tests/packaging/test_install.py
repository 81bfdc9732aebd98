"""install.sh in real shells: whole or not at all, and what was there before stays."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SCRIPT = REPO / "packaging" / "install.sh"
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
STAND_IN = """#!/bin/sh
case "$*" in
    --version) echo 'batchctl 9.9.9' ;;
    'completion '* | man) echo "made for $*" ;;
    'self clean --all') echo cleaned > "${0%/*}/cleaned" ;;
    *) exit 2 ;;
esac
"""
NOBODY = 65534
TOOLS = ("mktemp", "mkdir", "find", "rm", "chmod", "cp", "mv", "sha256sum", "sync", "tr", "od", "id", "cat")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Place:
    """A folder as a user has it: install.sh, batchctl and its checksum side by side, and somewhere to install to."""

    folder: Path
    shell: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    user: int | None = None

    def __post_init__(self) -> None:
        shutil.copy(SCRIPT, self.folder / "install.sh")
        self.give(STAND_IN.encode())

    @property
    def prefix(self) -> Path:
        return self.folder / "to here"

    @property
    def installed(self) -> Path:
        return self.prefix / "bin" / "batchctl"

    @property
    def debris(self) -> list[str]:
        return sorted(path.name for path in self.prefix.rglob(".batchctl.*"))

    def give(self, data: bytes, *, checksum: str = "", name: str = "batchctl") -> Path:
        path = self.folder / name
        path.write_bytes(data)
        (self.folder / f"{name}.sha256").write_text(f"{checksum or digest(data)}  {name}\n")
        return path

    def start(self, *argv: str | Path, to: bool = True) -> subprocess.Popen[str]:
        words = [*self.shell, str(self.folder / "install.sh"), *map(str, argv)]
        if to:
            words += ["--prefix", str(self.prefix)]
        return subprocess.Popen(
            words, cwd=self.folder, env=self.environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, user=self.user, group=self.user,
            extra_groups=None if self.user is None else [],
        )  # fmt: skip

    def install(self, *argv: str | Path, code: int = 0, to: bool = True) -> str:
        """What it says (both streams)."""
        with self.start(*argv, to=to) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == code, (process.returncode, out, err)
        assert self.debris == []
        assert code == 0 or (err.startswith("install.sh: error: ") and "\n  fix: " in err), err
        assert code != 0 or err == "", err
        return out + err


@pytest.fixture(params=SHELLS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    shell = SHELLS[request.param]
    path = shutil.which(shell[0]) or pytest.skip(f"not run: there is no {shell[0]} here")
    folder = tmp_path / "a user's folder"
    folder.mkdir()
    return Place(folder, [path, *shell[1:]])


def test_what_lies_beside_is_installed_with_an_empty_environment(place: Place) -> None:
    said = place.install()
    assert place.installed.read_bytes() == STAND_IN.encode()
    assert place.installed.stat().st_mode & 0o7777 == 0o755
    assert f"batchctl 9.9.9 is {place.installed}" in said
    assert "is not on PATH; add it" in said
    assert [path for path in place.prefix.rglob("*") if path.is_file()] == [place.installed]


def test_nothing_is_given_to_paste_that_a_shell_would_expand(place: Place) -> None:
    said = place.install("--prefix", place.folder / "a $(touch pwned)", to=False)
    assert "$(touch pwned)/bin is not on PATH\n" in said
    assert "add it" not in said


def test_on_path_nothing_is_said_of_it_unless_another_comes_first(place: Place) -> None:
    place.environment["PATH"] = f"/usr/bin:/bin:{place.installed.parent}"
    assert "PATH" not in place.install()
    other = place.folder / "other"
    other.mkdir()
    place.give(STAND_IN.encode(), name="other/batchctl").chmod(0o755)
    place.environment["PATH"] = f"{other}:{place.environment['PATH']}"
    assert f"{other}/batchctl comes before it" in place.install()


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        pytest.param(["--sha256", digest(STAND_IN.encode())], 0, "", id="right"),
        pytest.param(["--sha256", digest(STAND_IN.encode()).upper()], 0, "", id="right, capitals"),
        pytest.param(["--sha256=" + digest(STAND_IN.encode())], 0, "", id="right, with ="),
        pytest.param(["--sha256", "0" * 64], 1, "has to be 0000", id="wrong"),
        pytest.param(["--sha256", "0" * 63], 1, "64 hex digits", id="short"),
        pytest.param(["--sha256", "x" * 64], 1, "64 hex digits", id="no hex"),
        pytest.param(["--sha256", ""], 2, "needs a value", id="empty"),
    ],
)
def test_the_checksum_that_is_given(place: Place, argv: list[str], code: int, words: str) -> None:
    (place.folder / "batchctl.sha256").unlink()
    assert words in place.install(*argv, code=code)
    assert place.installed.exists() is (code == 0)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        pytest.param("0" * 64, "has to be 0000", id="of another file"),
        pytest.param("\n", "64 hex digits", id="blank"),
        pytest.param("<html>not found</html>", "64 hex digits", id="a web page"),
        pytest.param(None, "batchctl.sha256 is not there", id="none"),
    ],
)
def test_the_checksum_beside(place: Place, listed: str | None, words: str) -> None:
    path = place.folder / "batchctl.sha256"
    path.unlink()
    if listed is not None:
        path.write_text(listed)
    assert words in place.install(code=1)
    assert not place.installed.exists()
    place.install("--no-verify")
    assert place.installed.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"#!/bin/sh\nexit 3\n", "it does not run here (exit code 3)", id="fails"),
        pytest.param(b"#!/bin/sh\nexit 70\n", "compare its SHA-256", id="says itself that it is damaged"),
        pytest.param(b"#!/bin/sh\necho hello\n", "it is not batchctl: it says 'hello'", id="something else"),
        pytest.param(b"\x7fELF nonsense", "it is no program", id="damaged"),
        pytest.param(b"", "it is no program", id="empty"),
        pytest.param(b"touch pwned\n", "it is no program", id="would be read as a script"),
    ],
)
def test_a_refused_file_leaves_the_one_before(place: Place, data: bytes, words: str) -> None:
    place.install()
    place.give(data)
    assert words in failing(place)
    assert place.installed.read_bytes() == STAND_IN.encode()
    assert not (place.folder / "pwned").exists()


def test_an_executable_that_finds_no_cache_is_installed_all_the_same(place: Place) -> None:
    place.give(b"#!/bin/sh\nexit 69\n")
    assert "BATCHCTL_CACHE=DIR" in place.install()


def test_one_that_is_running_is_replaced_and_keeps_its_bytes(place: Place) -> None:
    place.installed.parent.mkdir(parents=True)
    shutil.copy(shutil.which("sleep") or "", place.installed)
    with subprocess.Popen([place.installed, "60"]) as running:
        place.install()
        assert running.poll() is None
        assert place.installed.read_bytes() == STAND_IN.encode()
        running.kill()


@pytest.mark.parametrize("kind", ["folder", "link to a folder", "link to a file"])
def test_what_is_there_already(place: Place, kind: str) -> None:
    place.installed.parent.mkdir(parents=True)
    other = place.folder / "other"
    if kind == "folder":
        place.installed.mkdir()
    elif kind == "link to a folder":
        other.mkdir()
        place.installed.symlink_to(other)
    else:
        other.write_text("mine")
        place.installed.symlink_to(other)
    said = place.install(code=0 if kind == "link to a file" else 1)
    if kind == "link to a file":
        assert not place.installed.is_symlink()
        assert other.read_text() == "mine"
    else:
        assert "is a folder" in said
        assert list(place.installed.iterdir()) == []


def test_a_prefix_that_cannot_be_written_to(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("not run: only root can become another user here")
    place.user = NOBODY
    place.prefix.mkdir()
    for path in (place.folder, *place.folder.parents):
        if path.stat().st_uid == 0 and path.name.startswith(("pytest", "popen-")):
            path.chmod(0o755)
    place.folder.chmod(0o755)
    place.folder.parent.chmod(0o755)
    assert "cannot be made" in place.install(code=1)
    (place.prefix / "bin").mkdir()
    assert "cannot be written to" in place.install(code=1)
    assert "there is no HOME" in place.install(code=1, to=False)
    home = place.folder / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    place.environment["HOME"] = str(home)
    place.install(to=False)
    assert (home / ".local" / "bin" / "batchctl").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param(["--nonsense"], "no such option: --nonsense", id="unknown"),
        pytest.param(["here"], "no such option: here", id="an operand"),
        pytest.param(["--file", "a", "--url", "b"], "two sources", id="two sources"),
        pytest.param(["--sha256", "a", "--no-verify"], "exclude each other", id="verify and not"),
        pytest.param(["--purge"], "goes with --uninstall", id="purge alone"),
        pytest.param(["--uninstall", "--completions"], "takes --prefix and --purge only", id="uninstall and more"),
        pytest.param(["--prefix"], "needs a value", id="no value"),
    ],
)
def test_wrong_usage(place: Place, argv: list[str], words: str) -> None:
    assert words in place.install(*argv, code=2, to=False)


def test_help_goes_to_standard_output(place: Place) -> None:
    assert place.install("--help", to=False).startswith("usage: install.sh ")


def test_a_source_is_needed(place: Place) -> None:
    (place.folder / "batchctl").unlink()
    assert "there is no batchctl beside" in place.install(code=1)
    assert "is no file" in place.install("--file", place.folder, "--no-verify", code=1)
    assert "batchtcl is no file" in place.install("--file", place.folder / "batchtcl", code=1)


def test_completions_come_and_go(place: Place) -> None:
    place.install("--completions")
    share = place.prefix / "share"
    made = {
        share / "bash-completion/completions/batchctl": "completion bash",
        share / "zsh/site-functions/_batchctl": "completion zsh",
        share / "fish/vendor_completions.d/batchctl.fish": "completion fish",
        share / "man/man1/batchctl.1": "man",
    }
    assert {path: path.read_text() for path in made} == {path: f"made for {words}\n" for path, words in made.items()}
    assert {path.stat().st_mode & 0o777 for path in made} == {0o644}
    said = place.install("--uninstall")
    assert "batchctl self clean --all" in said
    assert [path for path in place.prefix.rglob("*") if not path.is_dir()] == []
    assert "is not there" in place.install("--uninstall", code=1)


def test_purge_lets_batchctl_remove_what_it_unpacked(place: Place) -> None:
    place.install()
    place.install("--uninstall", "--purge")
    assert (place.installed.parent / "cleaned").exists()
    assert not place.installed.exists()


# --- from a server ----------------------------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """On the loopback: `folder`'s files; what is named half-* ends in the middle, stalls-* stops there until `go`."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.go = threading.Event()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        path = self.server.folder / name
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        cut = name.endswith("batchctl") and name != "batchctl"
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.wfile.flush()
        if name == "stalls-batchctl":
            self.server.go.wait(60)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server(place: Place) -> Iterator[Server]:
    served = place.folder / "served"
    served.mkdir()
    for name in ("batchctl", "half-batchctl"):
        place.give(STAND_IN.encode(), name=f"served/{name}")
    # Large, because curl writes what it has got when there is a bufferful of it.
    place.give(STAND_IN.encode() + b"#" * (4 << 20), name="served/stalls-batchctl")
    with Server(served) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.go.set()
        server.shutdown()
        thread.join()


@pytest.fixture(params=["curl", "wget"])
def downloader(request: pytest.FixtureRequest, place: Place) -> str:
    """A PATH on which only one of the two is found."""
    name: str = request.param
    tools = place.folder / "tools"
    tools.mkdir()
    for tool in [*TOOLS, name]:
        (tools / tool).symlink_to(shutil.which(tool) or pytest.skip(f"not run: there is no {tool} here"))
    place.environment["PATH"] = str(tools)
    return name


def test_a_download(place: Place, server: Server, downloader: str) -> None:
    place.install("--url", server.url("batchctl"))
    assert place.installed.read_bytes() == STAND_IN.encode()


def test_the_url_may_be_in_the_environment(place: Place, server: Server) -> None:
    (place.folder / "batchctl").unlink()
    place.environment["BATCHCTL_URL"] = server.url("batchctl")
    place.install()
    assert place.installed.read_bytes() == STAND_IN.encode()


def failing(place: Place, *argv: str) -> str:
    """As Place.install with code 1; curl and wget may have said something first."""
    with place.start(*argv) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, (out, err)
    assert place.debris == []
    assert "install.sh: error: " in err
    return err


@pytest.mark.parametrize("verify", [True, False], ids=["with checksum", "without"])
def test_a_truncated_download_is_not_installed(place: Place, server: Server, downloader: str, verify: bool) -> None:
    place.install()
    # wget tries a broken download again and again; its own configuration stops that in the test alone.
    place.environment["WGETRC"] = str(place.folder / "wgetrc")
    (place.folder / "wgetrc").write_text("tries = 1\n")
    failing(place, "--url", server.url("half-batchctl"), *([] if verify else ["--no-verify"]))
    assert place.installed.read_bytes() == STAND_IN.encode()


def test_what_is_not_on_the_server(place: Place, server: Server, downloader: str) -> None:
    assert "nothing.sha256 cannot be downloaded" in failing(place, "--url", server.url("nothing"))
    assert "cannot be downloaded" in failing(place, "--url", server.url("nothing"), "--no-verify")


def test_without_a_downloader(place: Place, server: Server, downloader: str) -> None:
    (place.folder / "tools" / downloader).unlink()
    assert "neither curl nor wget is here" in failing(place, "--url", server.url("batchctl"))


def sizes(folder: Path) -> set[int]:
    """Of the temporary files in it; one may vanish while it is looked at."""
    found = set()
    for path in folder.glob(".batchctl.*"):
        with contextlib.suppress(FileNotFoundError):
            found.add(path.stat().st_size)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_interrupted_it_leaves_what_was_there(place: Place, server: Server, number: int) -> None:
    place.installed.parent.mkdir(parents=True)
    place.installed.write_text("before")
    with place.start("--url", server.url("stalls-batchctl")) as process:
        deadline = time.monotonic() + 30
        # Not earlier: a shell that gets a signal just before it starts curl waits for curl all the same.
        while max(sizes(place.installed.parent), default=0) < 1 << 20:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(process.communicate())
            time.sleep(0.01)
        os.killpg(process.pid, number)
        process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert place.installed.read_text() == "before"
    if number != signal.SIGKILL:
        assert place.debris == []
        return
    left = list(place.installed.parent.glob(".batchctl.*"))
    assert left
    for path in left:
        os.utime(path, (1, 1))  # long ago
    place.install()
    assert place.installed.read_bytes() == STAND_IN.encode()
