"""Limits, loaders and name spaces that a start must survive or name: the next root is tried, nothing half is left."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.launcher.box import Box, Said, mounted, root_only
from tests.launcher.format import Entry, pack
from tests.launcher.test_trees import running

SMALL_FILES = ["prlimit", "--fsize=600000"]  # the tree has a file of 1.2 MB


def with_a_second_root(box: Box) -> Path:
    good = box.home / "good"
    good.mkdir(mode=0o700)
    box.env["CACHE_DIRECTORY"] = str(good)
    return good


def apart(box: Box, *command: str) -> Said:
    """`command` where the box is /srv and no other root can be written to: this machine's own stay as they are."""
    roots = "for d in /tmp /var/tmp /var/cache /dev/shm; do mount -t tmpfs -o ro tmpfs $d || exit 90; done"
    script = f'mount --bind {box.home} /srv && {roots}; exec "$@"'
    env = {**box.env, "BATCHCTL_CACHE": "/srv/cache", "PATH": os.environ["PATH"]}
    if "CACHE_DIRECTORY" in env:
        env["CACHE_DIRECTORY"] = "/srv/good"
    whole = mounted([], ["sh", "-c", script, "sh", *command])
    done = subprocess.run(whole, env=env, capture_output=True, text=True, timeout=100, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_limit_of_the_size_of_files_is_an_error_like_others(box: Box) -> None:
    """By default the signal of that limit kills, and a half tree stays."""
    said = apart(box, *SMALL_FILES, "/srv/batchctl", "exit", "3")
    assert (said.code, "File too large" in said.err) == (69, True)
    assert box.names() == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param(b"a:b", "one of : ; $", id="colon"),
        pytest.param(b"a;b", "one of : ; $", id="semicolon"),
        pytest.param(b"a$LIB", "one of : ; $", id="dollar"),
        pytest.param(b"a\xffb", "not UTF-8", id="a byte that is no character"),
        pytest.param(b"a\xc0\xafb", "not UTF-8", id="longer than need be"),
        pytest.param(b"a\xed\xa0\x80b", "not UTF-8", id="surrogate"),
        pytest.param(b"a\xe2\x82", "not UTF-8", id="cut"),
        pytest.param(b"/".join([b"n" * 100] * 35) + b"/" + b"n" * 90, "too long", id="no room for what is in the tree"),
        pytest.param("ü日 𐍈 'q' \"d\" %s \\".encode(), "", id="text"),
    ],
)
@pytest.mark.parametrize("there", [False, True], ids=["new", "a tree is there"])
def test_a_root_that_no_program_can_be_loaded_from(each_box: Box, name: bytes, words: str, there: bool) -> None:
    box = each_box
    good = with_a_second_root(box)
    root = os.fsencode(box.home) + b"/" + name
    if there:
        box.env["BATCHCTL_CACHE"] = str(box.home / "other")
        assert box.run().code == 0
        os.makedirs(os.path.dirname(root), exist_ok=True)
        os.rename(box.home / "other", root)
    box.env["BATCHCTL_CACHE"] = os.fsdecode(root)
    said = box.run("exit", "3")
    assert (said.code, bool(said.err)) == (3, bool(words))
    assert words in said.err
    assert box.names(good) == ([box.id] if words else [])
    assert there or os.path.exists(root) == (not words)


def test_too_little_memory_is_no_damage(box: Box) -> None:
    """The window of the frame is asked for in the middle of unpacking."""
    large = {**box.tree, "large": Entry(os.urandom(1 << 20) * 30)}
    pack(box.launcher, large, box.file, level=19)
    said = apart(box, "prlimit", f"--as={8 << 20}", "/srv/batchctl")
    assert (said.code, "no memory to unpack" in said.err) == (69, True), said


def test_a_lock_that_is_removed_while_we_wait_is_none(box: Box) -> None:
    box.cache.mkdir(mode=0o700)
    lock = box.cache / ".lock"
    with lock.open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        child = box.popen("exit", "3")
        while not any(os.path.realpath(fd) == str(lock) for fd in Path(f"/proc/{child.pid}/fd").iterdir()):
            assert child.poll() is None
        lock.unlink()
        second = lock.open("w")
        fcntl.flock(second, fcntl.LOCK_EX)
    # The first lock is free; whoever went on with it would be alone with nobody.
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=1.5)
    assert box.names() == []
    second.close()
    assert child.wait() == 3
    box.assert_whole()


def test_a_damaged_tree_in_use_keeps_its_place_until_there_is_another(box: Box) -> None:
    """A process that runs from it loads its libraries by that name; without room for another it must go on."""
    with running(box):
        (box.cache / box.id / "_internal/data.txt").unlink()
        good = with_a_second_root(box)
        said = apart(box, *SMALL_FILES, "/srv/batchctl", "exit", "3")
        assert said.code == 69
        assert (box.names(), box.names(good)) == ([box.id], [])
        assert (box.cache / box.id / "batchctl").exists()
        assert box.run("exit", "3").code == 3
        assert len(box.names()) == 2


def test_a_damaged_file_does_not_touch_a_damaged_tree(box: Box) -> None:
    box.run()
    (box.cache / box.id / "_internal/data.txt").unlink()
    data = bytearray(box.file.read_bytes())
    data[-300] ^= 1
    box.file.write_bytes(data)
    assert box.run().code == 70
    assert box.names() == [box.id]


def test_a_tree_that_is_removed_before_it_starts_is_said_to_be(box: Box) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace here")
    good = with_a_second_root(box)
    box.run()
    # Between the check and the start: the launcher's last act before execve is to set its umask.
    stop = ["-e", "trace=fcntl,umask", "-e", "inject=umask:signal=STOP:when=2"]
    command = [strace, "-o", f"{box.home}/log", *stop, str(box.file), "exit", "3"]
    with subprocess.Popen(command, env=box.env, stderr=subprocess.PIPE, text=True) as child:
        log = box.home / "log"
        while not log.exists() or "stopped by SIGSTOP" not in log.read_text():
            assert child.poll() is None
        assert "F_SETFD, 0" in log.read_text()
        shutil.rmtree(box.cache / box.id)
        os.kill(int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text()), signal.SIGCONT)
        assert child.wait() == 3, child.stderr and child.stderr.read()
    box.assert_whole(good)


def test_a_file_system_that_keeps_no_modes_is_found_out_at_once(box: Box) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace here")
    log = box.home / "log"
    inject = ["-e", "trace=fchmod,execve", "-e", "inject=fchmod:retval=0"]
    said = apart(box, strace, "-o", "/srv/log", *inject, "/srv/batchctl")
    text = log.read_text() if log.exists() else ""
    if "(INJECTED)" not in text:
        pytest.skip("strace may not trace here")
    assert (said.code, said.err.count("does not keep the modes")) == (69, 1)
    assert text.count("fchmod(") == 1, "of one file"


def test_root_of_a_user_namespace_of_one_is_no_superuser(box: Box) -> None:
    """There all that belongs to the system looks as if it were nobody's, and no folder would be safe."""
    root_only()
    script = 'exec setpriv --reuid=12345 --regid=12345 --clear-groups unshare -r "$@"'
    enter = ["sh", "-c", script, "sh"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces here")
    box.cache.mkdir(mode=0o700)
    os.chown(box.cache, 12345, 12345)
    done = subprocess.run(
        [*enter, str(box.file), "exit", "3"], env={**box.env, "PATH": os.environ["PATH"]}, check=False
    )
    assert done.returncode == 3
    assert box.names() == [box.id]
