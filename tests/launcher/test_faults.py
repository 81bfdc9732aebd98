"""Every system call of a first run fails in turn: the program runs, or we are told why; no half tree is left."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.launcher.box import Box, Said

# A call, and the error that it is given. What a launcher cannot notice or need not (umask, geteuid) is not here.
FAULTS = [
    ("openat", "EIO"),
    ("openat", "EMFILE"),
    ("newfstatat", "EIO"),
    ("fstat", "EIO"),
    ("pread64", "EIO"),
    ("write", "ENOSPC"),
    ("write", "EDQUOT"),
    ("close", "EIO"),
    ("mkdirat", "ENOSPC"),
    ("mkdirat", "EROFS"),
    ("fchmod", "EPERM"),
    ("symlinkat", "EPERM"),
    ("renameat", "EIO"),
    ("flock", "ENOLCK"),
    ("flock", "EIO"),
    ("syncfs", "EIO"),
    ("syncfs", "ENOSYS"),
    ("fsync", "EIO"),
    ("sync_file_range", "EIO"),
    ("fstatfs", "EIO"),
    ("fcntl", "EIO"),
    ("getdents64", "EIO"),
    ("readlink", "EIO"),
    ("getrandom", "EAGAIN"),
    ("mmap", "ENOMEM"),
    ("execve", "EACCES"),
    ("execve", "ENOEXEC"),
]


def injected(box: Box, call: str, error: str, when: int) -> tuple[Said, bool]:
    """What a first run said whose `when`-th `call` failed, and whether it did before the program was started."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace here")
    log = box.home / "log"
    command = [strace, "-o", str(log), "-e", f"trace={call},execve", "-e", f"inject={call}:error={error}:when={when}"]
    done = subprocess.run(
        [*command, str(box.file), "exit", "0"], env=box.env, capture_output=True, text=True, check=False, timeout=60
    )
    lines = log.read_text().splitlines() if log.exists() else []
    if not lines:
        pytest.skip("strace may not trace here")
    at = next((i for i, line in enumerate(lines) if "(INJECTED)" in line), len(lines))
    started = next(
        (i for i, line in enumerate(lines) if re.match(r'execve\(".*/batchctl", .* = 0$', line) and i), len(lines)
    )
    return Said(done.returncode, done.stdout, done.stderr), at < started


@pytest.mark.slow
@pytest.mark.parametrize(("call", "error"), FAULTS, ids=[f"{c}-{e}" for c, e in FAULTS])
def test_a_system_call_fails(box: Box, call: str, error: str) -> None:
    roots = [box.cache, box.home / "good"]
    box.env["CACHE_DIRECTORY"] = str(roots[1])
    # The first execve is strace's own.
    for when in range(2 if call == "execve" else 1, 200):
        for root in roots:
            subprocess.run(["rm", "-rf", root], check=True)
        roots[1].mkdir(mode=0o700)
        said, before = injected(box, call, error, when)
        if not before:
            break
        assert said.code in (0, 69, 70), (when, said)
        assert said.err if said.code else "pid" in said.out, (when, said)
        for root in roots:
            assert set(box.names(root)) <= {box.id}, (when, said)
            if box.names(root):
                box.assert_whole(root)
        assert said.code == 0 or box.run("exit", "0").code == 0, "a second run does not suffer"
    else:
        pytest.fail("that is no first run any more")


def test_the_list_of_calls_is_the_launchers(box: Box) -> None:
    """A new kind of call that can fail must be added above."""
    harmless = {
        *("arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "mprotect", "munmap", "umask"),
        *("geteuid", "getuid", "getgid", "getegid", "getpid", "exit_group", "access", "read", "lseek"),
        "brk",  # glibc's own start needs it, before there is a main; later on malloc falls back to mmap
        *(
            "rt_sigprocmask",
            "rt_sigaction",
            "rt_sigpending",
            "rt_sigtimedwait",
            "unlinkat",
            "utimensat",
            "readlinkat",
            "uname",
        ),
    }
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace here")
    log = box.home / "log"
    subprocess.run([strace, "-o", str(log), str(box.file), "exit", "0"], env=box.env, capture_output=True, check=False)
    text = log.read_text() if log.exists() else ""
    lines = text.splitlines()
    ends = [i for i, line in enumerate(lines) if line.startswith("execve(")]
    if len(ends) < 2:
        pytest.skip("strace may not trace here")
    calls = {line.partition("(")[0] for line in lines[: ends[1]]}
    assert calls - harmless <= {call for call, _ in FAULTS}
    assert Path(box.file).exists()


def test_no_file_of_ours_stays_on_a_standard_descriptor(box: Box) -> None:
    """With all three closed the kernel hands 0 to 2 out first; a message must not end in a file that we write."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace here")
    log = box.home / "log"
    script = f'exec {strace} -o {log} -e trace=openat,fcntl,close,execve "$0" 0<&- 1>&- 2>&-'
    subprocess.run(["sh", "-c", script, str(box.file)], env=box.env, check=True)
    lines = log.read_text().splitlines()
    ends = [i for i, line in enumerate(lines) if line.startswith("execve(")]
    low = [i for i, line in enumerate(lines[: ends[1]]) if re.match(r"openat\(.* = [012]$", line)]
    assert low, "nothing was handed out: this test shows nothing"
    assert all("F_DUPFD_CLOEXEC, 3)" in lines[i + 1] and lines[i + 2].startswith("close(") for i in low)
