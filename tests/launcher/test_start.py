"""The launcher becomes the program: what the caller gave is unchanged, and only the lock is added."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.box import Box, Said, as_user, mounted, root_only


def test_the_first_run_unpacks_and_later_ones_find_it(each_box: Box) -> None:
    first = each_box.run("exit", "0")
    assert (first.code, first.err) == (0, "")
    each_box.assert_whole()
    before = (each_box.cache / each_box.id).stat()
    second = each_box.run("exit", "0")
    assert (second.code, second.err) == (0, "")
    assert (each_box.cache / each_box.id).stat().st_ino == before.st_ino


def test_nothing_is_written_outside_the_cache(box: Box) -> None:
    box.run()
    assert sorted(os.listdir(box.home)) == ["batchctl", "cache"]


@pytest.mark.parametrize("args", [[], ["exit", "0"], ["", " ", "a b", "$HOME", "--", "\n", "ü"]], ids=repr)
def test_arguments_pass_as_they_are(box: Box, args: list[str]) -> None:
    said = box.run(*args)
    assert int(said.one("argc")) == len(args) + 1
    assert "\n".join(f"arg {a}" for a in [str(box.file), *args]) in said.out


def test_the_name_that_was_typed_passes(box: Box) -> None:
    done = subprocess.run(["score"], executable=box.file, env=box.env, capture_output=True, text=True, check=False)
    assert Said(done.returncode, done.stdout, done.stderr).values("arg") == ["score"]


@pytest.mark.parametrize("code", [0, 1, 69, 70, 75, 255])
def test_exit_codes_pass(box: Box, code: int) -> None:
    assert box.run("exit", str(code)).code == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV], ids=lambda s: s.name)
def test_deaths_by_signal_pass(box: Box, number: int) -> None:
    assert box.run("kill", str(int(number))).code == -number


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 42), (signal.SIGTERM, -15)], ids=["handled", "default"])
def test_it_is_one_process_and_signals_reach_it(box: Box, number: int, code: int) -> None:
    with box.popen("wait", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        lines = []
        while not lines or lines[-1] != "ready":
            lines.append(child.stdout.readline().decode().rstrip())
        assert lines[0] == f"pid {child.pid}"
        assert Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text() == ""
        assert os.readlink(f"/proc/{child.pid}/exe") == str(box.cache / box.id / "batchctl")
        child.send_signal(number)
        assert child.wait() == code


def test_the_program_is_told_the_lock_and_the_file(each_box: Box) -> None:
    each_box.env["_BATCHCTL_LAUNCHER"] = "77 /somewhere/else"
    for said in (each_box.run(), each_box.run()):
        fd, _, path = said.one("given").partition(" ")
        assert path == str(each_box.file)
        assert [v for v in said.values("fd") if int(v) > 2] == [fd], "the lock and nothing else is inherited"


def test_the_file_may_be_removed_or_renamed_while_it_runs(box: Box, tmp_path: Path) -> None:
    fd = os.open(box.file, os.O_RDONLY)
    box.file.unlink()
    done = subprocess.run(
        [f"/proc/self/fd/{fd}"], env=box.env, pass_fds=[fd], capture_output=True, text=True, check=False
    )
    os.close(fd)
    said = Said(done.returncode, done.stdout, done.stderr)
    assert (said.code, said.one("given").partition(" ")[2]) == (0, str(box.file))


def test_a_name_that_ends_like_the_kernels_remark(box: Box) -> None:
    odd = box.file.rename(box.home / "batchctl (deleted)")
    done = subprocess.run([odd], env=box.env, capture_output=True, text=True, check=True)
    assert Said(0, done.stdout, "").one("given").endswith(f" {odd}")


def prepare_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    os.umask(0o027)


def test_mask_dispositions_and_umask_pass(box: Box) -> None:
    for _ in range(2):
        said = box.run(preexec_fn=prepare_signals)
        assert (said.one("usr1"), said.one("umask")) == ("blocked ignored", "027")
    box.assert_whole()


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]], ids=str)
def test_descriptors_that_were_closed_stay_closed(each_box: Box, closed: list[int]) -> None:
    report = each_box.home / "report"
    each_box.env["PROBE_REPORT"] = str(report)
    redirections = " ".join(f"{fd}{'<' if fd == 0 else '>'}&-" for fd in closed)
    for _ in range(2):
        report.unlink(missing_ok=True)
        script = f'exec "$0" {redirections}'
        done = subprocess.run(
            ["sh", "-c", script, str(each_box.file)], env=each_box.env, capture_output=True, check=False
        )
        assert done.returncode == 0
        said = Said(0, report.read_text(), "")
        lock = int(said.one("given").partition(" ")[0])
        assert {int(v) for v in said.values("fd")} == ({0, 1, 2} - set(closed)) | {lock}
        assert lock > 2


def small(limit: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(limit, (value, value))


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(small(resource.RLIMIT_NOFILE, 12), id="12 descriptors"),
        pytest.param(small(resource.RLIMIT_AS, 64 << 20), id="64 MB of memory"),
        pytest.param(small(resource.RLIMIT_STACK, 256 << 10), id="256 kB of stack"),
    ],
)
def test_little_is_enough(box: Box, limit: Callable[[], None]) -> None:
    assert box.run("exit", "3", preexec_fn=limit).code == 3
    box.assert_whole()


def test_the_current_folder_may_be_gone(box: Box) -> None:
    gone = box.home / "gone"
    gone.mkdir()
    assert box.run("exit", "4", preexec_fn=lambda: (os.chdir(gone), gone.rmdir())).code == 4


def test_a_file_that_cannot_be_read_says_so(box: Box) -> None:
    root_only()
    box.file.chmod(0o711)
    said = box.run(preexec_fn=as_user(65534))
    assert said.code == 69
    assert "cannot read its own file" in said.err


def test_without_proc_the_message_says_so(box: Box) -> None:
    done = subprocess.run(
        mounted([("ro", Path("/proc"))], [str(box.file)]), env=box.env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "/proc is not mounted" in done.stderr, str(box.file) in done.stderr) == (69, True, True)
    assert not box.cache.exists()


@pytest.mark.parametrize("bit", [0o4755, 0o2755], ids=["setuid", "setgid"])
def test_a_raised_program_refuses(box: Box, bit: int) -> None:
    root_only()
    box.file.chmod(bit)
    said = box.run(preexec_fn=as_user(65534))
    assert (said.code, "setuid" in said.err) == (69, True)
    assert not box.cache.exists()


def test_a_reader_of_errors_who_is_gone_does_no_harm(box: Box) -> None:
    box.env["BATCHCTL_CACHE"] = "relative"
    box.env["CACHE_DIRECTORY"] = str(box.cache)
    box.cache.mkdir()
    read, write = os.pipe()
    os.close(read)
    child = box.popen("exit", "5", stderr=write, stdout=subprocess.DEVNULL)
    os.close(write)
    assert child.wait() == 5


def test_argv_may_be_empty(box: Box) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 1)
        libc = ctypes.CDLL(None)
        env = (ctypes.c_char_p * 2)(f"BATCHCTL_CACHE={box.cache}".encode(), None)
        libc.execve(str(box.file).encode(), (ctypes.c_char_p * 1)(None), env)
        os._exit(99)
    os.close(write)
    with open(read) as out:
        text = out.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert Said(0, text, "").one("argc") == "1"
