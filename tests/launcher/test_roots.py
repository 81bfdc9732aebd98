"""Which folders are used, which are refused and with which words, and that a refused one is not touched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.box import Box, Said, as_user, mounted, root_only

NOBODY = 65534


def folder(path: Path, mode: int = 0o700, uid: int | None = None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if uid is not None:
        root_only()
        os.chown(path, uid, uid)
    return path


def symlink(path: Path) -> None:
    path.symlink_to(folder(path.parent / "target"))


def below_open_folder(path: Path) -> None:
    folder(path.parent / "open", 0o777)


def below_strangers_folder(path: Path) -> None:
    folder(path.parent / "theirs", 0o755, uid=12345)


# What is done at HOME/hostile, what BATCHCTL_CACHE says ({} is HOME), and the words of the refusal.
HOSTILE = [
    pytest.param(lambda p: folder(p, 0o777), "{}/hostile", "others may write to it (mode 0777)", id="0777"),
    pytest.param(lambda p: folder(p, 0o770), "{}/hostile", "others may write to it (mode 0770)", id="0770"),
    pytest.param(lambda p: folder(p, 0o1777), "{}/hostile", "others may write to it (mode 1777)", id="sticky"),
    pytest.param(lambda p: folder(p, uid=12345), "{}/hostile", "it belongs to uid 12345", id="other owner"),
    pytest.param(symlink, "{}/hostile", "it is a symbolic link", id="symlink"),
    pytest.param(lambda p: p.write_text(""), "{}/hostile", "it is not a folder", id="a file"),
    pytest.param(lambda p: os.mkfifo(p), "{}/hostile", "it is not a folder", id="a pipe"),
    pytest.param(lambda p: p.symlink_to("nowhere"), "{}/hostile", "it is a symbolic link", id="dangling link"),
    pytest.param(
        lambda p: p.symlink_to("nowhere"), "{}/hostile/x", "it is a symbolic link", id="below a dangling link"
    ),
    pytest.param(lambda p: p.write_text(""), "{}/hostile/x", "Not a directory", id="below a file"),
    pytest.param(lambda p: p.symlink_to(p), "{}/hostile/x", "Too many levels", id="link to itself"),
    pytest.param(lambda p: None, "hostile", "it is not an absolute path", id="relative"),
    pytest.param(lambda p: None, "/", "its last part is no name", id="the root folder"),
    pytest.param(lambda p: None, "{}/hostile/..", "its last part is no name", id="dots at the end"),
    pytest.param(lambda p: None, "{}/hostile/../x", "has . or .. behind a folder that does not exist", id="dots"),
    pytest.param(lambda p: None, "{}/" + "n" * 300, "File name too long", id="long name"),
    pytest.param(lambda p: None, "{}" + "/n" * 3000, "the path is too long", id="long path"),
    pytest.param(below_open_folder, "{}/open/x", "others may write to", id="ancestor 0777, as root"),
    pytest.param(below_open_folder, "{}/open/x/y/z", "others may write to", id="far ancestor 0777, as root"),
    pytest.param(below_strangers_folder, "{}/theirs/x", "above it belongs to uid 12345", id="ancestor of another"),
    pytest.param(lambda p: None, "/proc/batchctl", "is not used", id="proc"),
]


@pytest.mark.parametrize(("make", "named", "words"), HOSTILE)
def test_a_hostile_root_is_named_refused_and_left_alone(
    each_box: Box, make: Callable[[Path], object], named: str, words: str
) -> None:
    if "as root" in words or ("others may write to" in words and "open" in named):
        root_only()
    box = each_box
    make(box.home / "hostile")
    box.env["BATCHCTL_CACHE"] = named.format(box.home)
    box.env["CACHE_DIRECTORY"] = str(folder(box.home / "good"))
    before = sorted(p.relative_to(box.home) for p in box.home.rglob("*") if "good" not in p.parts)
    said = box.run("exit", "7")
    after = sorted(p.relative_to(box.home) for p in box.home.rglob("*") if "good" not in p.parts)
    assert said.code == 7, said.err
    assert said.err.startswith("batchctl: warning: BATCHCTL_CACHE=")
    assert said.err.count("\n") == 1
    assert words in said.err
    assert before == after
    box.assert_whole(box.home / "good")


GOOD = [
    pytest.param({"BATCHCTL_CACHE": "{}/a/b/c"}, "a/b/c", id="made with the folders above"),
    pytest.param({"BATCHCTL_CACHE": "{}//a/./../cache/"}, "cache", id="untidy spelling"),
    pytest.param({"BATCHCTL_CACHE": "{}/way/to"}, "real/to", id="below a link"),
    pytest.param({"CACHE_DIRECTORY": "{}/real"}, "real", id="systemd"),
    pytest.param({"CACHE_DIRECTORY": "{}/way"}, "real", id="systemd, DynamicUser: a link"),
    pytest.param({"CACHE_DIRECTORY": "{}/real:{}/other"}, "real", id="systemd, two"),
    pytest.param({"BATCHCTL_CACHE": "", "CACHE_DIRECTORY": "{}/real"}, "real", id="empty is unset"),
]


@pytest.mark.parametrize(("variables", "used"), GOOD)
def test_a_good_root_is_used_without_a_word(box: Box, variables: dict[str, str], used: str) -> None:
    folder(box.home / "a", 0o755)
    folder(box.home / "real", 0o755)
    (box.home / "way").symlink_to("real")
    box.env.pop("BATCHCTL_CACHE")
    box.env.update({name: value.format(box.home, box.home) for name, value in variables.items()})
    for _ in range(2):
        said = box.run("exit", "7")
        assert (said.code, said.err) == (7, "")
    box.assert_whole(box.home / used)
    assert (box.home / used / box.id).stat().st_mode & 0o777 == 0o700
    assert (box.home / used / ".lock").stat().st_mode & 0o777 == 0o600


def nobodys(box: Box, variables: dict[str, str], *, home_uid: int = NOBODY) -> Said:
    home = folder(box.home / "home", 0o755, uid=home_uid)
    env = {**box.env, "HOME": str(home), **variables}
    env.pop("BATCHCTL_CACHE")
    return box.run("exit", "7", env=env, preexec_fn=as_user(NOBODY))


@pytest.mark.parametrize(
    ("variables", "used"),
    [
        pytest.param({}, "home/.cache/batchctl", id="HOME"),
        pytest.param({"XDG_CACHE_HOME": ""}, "home/.cache/batchctl", id="XDG_CACHE_HOME empty"),
        pytest.param({"XDG_CACHE_HOME": "x"}, "home/.cache/batchctl", id="XDG_CACHE_HOME relative"),
    ],
)
def test_a_users_home_is_used(box: Box, variables: dict[str, str], used: str) -> None:
    root_only()
    said = nobodys(box, variables)
    assert (said.code, said.err) == (7, "")
    box.assert_whole(box.home / used)
    assert (box.home / used).stat().st_uid == NOBODY
    assert (box.home / "home/.cache").stat().st_mode & 0o777 == 0o700


def test_a_cache_folder_that_is_a_link_is_followed(box: Box) -> None:
    root_only()
    scratch = folder(box.home / "scratch", 0o755, uid=NOBODY)
    folder(box.home / "home", uid=NOBODY)
    (box.home / "home/.cache").symlink_to(scratch)
    assert nobodys(box, {}).code == 7
    box.assert_whole(scratch / "batchctl")


def test_root_with_a_users_home_uses_its_own_cache(box: Box) -> None:
    """sudo keeping HOME: the user's folder could be swapped under root."""
    root_only()
    folder(box.home / "home", uid=NOBODY)
    env = {**box.env, "HOME": str(box.home / "home")}
    env.pop("BATCHCTL_CACHE")
    command = mounted([("mode=755", Path("/var/cache"))], ["sh", "-c", '"$0" && ls /var/cache/batchctl', str(box.file)])
    done = subprocess.run(command, env={**env, "PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, box.id)
    assert list((box.home / "home").iterdir()) == []


# The folders that are tried when nothing is said, each as a file system of its own.
COMMON = [Path("/var/cache"), Path("/var/tmp"), Path("/dev/shm")]
RUN_AS = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@pytest.mark.parametrize(
    ("options", "who", "env", "used"),
    [
        pytest.param(["mode=755"] * 3, [], {}, "/var/cache/batchctl", id="root, empty environment"),
        pytest.param(["ro", "mode=1777", "mode=1777"], [], {}, "/var/tmp/batchctl-0", id="root, /var/cache read-only"),
        pytest.param(["noexec", "noexec", "mode=1777"], [], {}, "/dev/shm/batchctl-0", id="root, two are noexec"),
        pytest.param(["mode=755", "mode=1777", "ro"], RUN_AS, {}, f"/var/tmp/batchctl-{NOBODY}", id="nobody, empty"),
        pytest.param(
            ["mode=755", "mode=1777", "ro"],
            RUN_AS,
            {"HOME": "/nonexistent"},
            f"/var/tmp/batchctl-{NOBODY}",
            id="no HOME",
        ),
        pytest.param(
            ["mode=755", "size=1m,mode=1777", "mode=1777"], RUN_AS, {}, f"/dev/shm/batchctl-{NOBODY}", id="nobody, full"
        ),
        pytest.param(
            ["mode=755", "nr_inodes=12,mode=1777", "mode=1777"],
            RUN_AS,
            {},
            f"/dev/shm/batchctl-{NOBODY}",
            id="nobody, out of inodes",
        ),
        pytest.param(
            ["mode=755", "mode=777", "mode=1777"],
            [],
            {"HOME": "/dev/shm"},
            "/var/cache/batchctl",
            id="root, its own first",
        ),
    ],
)
def test_where_nothing_is_said(box: Box, options: list[str], who: list[str], env: dict[str, str], used: str) -> None:
    root_only()
    mounts = [*zip(options, COMMON, strict=True), ("size=8m,mode=755", Path("/srv"))]
    refused = [folder for folder in COMMON if folder != Path(used).parent]
    places = " ".join(str(folder) for folder in COMMON)
    clean = ["env", "-i", *(f"{k}={v}" for k, v in env.items())]
    look = f'ls -d {used}/* && find {places} -name "batchctl*"'
    script = f'cp {box.file} /srv/batchctl && mount -t tmpfs -o ro tmpfs /tmp && "$@" && {look} && exec "$@"'
    command = mounted(mounts, ["sh", "-c", script, "sh", *clean, *who, "/srv/batchctl"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{used}/{box.id}" in done.stdout.splitlines()
    assert {line for line in done.stdout.splitlines() if line.endswith(box.id)} == {f"{used}/{box.id}"}
    assert not any(line.startswith(f"{where}/batchctl") for line in done.stdout.splitlines() for where in refused)


def test_with_nothing_left_every_root_is_named(box: Box) -> None:
    root_only()
    mounts = [
        ("ro", Path("/var/cache")),
        ("noexec,mode=1777", Path("/var/tmp")),
        ("size=512k", Path("/dev/shm")),
        ("size=4m,mode=777", Path("/srv")),
    ]
    shared = box.home / "shared"
    folder(shared, 0o777)
    box.env.update(BATCHCTL_CACHE=str(shared), HOME=str(box.home / "none"), TMPDIR="here", PATH=os.environ["PATH"])
    script = "mount -t tmpfs -o ro tmpfs /tmp; exec /srv/batchctl"
    command = mounted(mounts, ["sh", "-c", f"cp {box.file} /srv/batchctl && {script}"])
    done = subprocess.run(command, env=box.env, capture_output=True, text=True, check=False)
    assert done.returncode == 69, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "batchctl: error: no folder will do to unpack into"
    assert lines[1] == "  where: /srv/batchctl"
    assert lines[-1].startswith("  fix: set BATCHCTL_CACHE to a folder of yours with ")
    said = dict(line.strip().split(": ", 1) for line in lines[2:-1])
    assert list(said) == [
        f"{shared} (BATCHCTL_CACHE)",
        "/var/cache/batchctl",
        f"{box.home}/none/.cache/batchctl (HOME)",
        "/var/tmp/batchctl-0",
        "here (TMPDIR)",
        "/tmp/batchctl-0",
        "/dev/shm/batchctl-0",
    ]
    assert said["/var/cache/batchctl"].endswith("Read-only file system")
    assert "noexec" in said["/var/tmp/batchctl-0"]
    assert "MB are needed" in said["/dev/shm/batchctl-0"]


def test_a_tree_on_a_read_only_root_is_run(box: Box) -> None:
    root_only()
    box.run()
    script = f"mount --bind {box.cache} {box.cache} && mount -o remount,ro,bind {box.cache} && exec {box.file} exit 9"
    done = subprocess.run(
        mounted([], ["sh", "-c", script]),
        env={**box.env, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (9, "")


def test_names_that_steer_a_terminal_are_escaped(box: Box) -> None:
    folder(box.home / "a\x1b[2Jb\nc\u009bd", 0o777)
    box.env.update(BATCHCTL_CACHE=str(box.home / "a\x1b[2Jb\nc\u009bd"), CACHE_DIRECTORY=str(folder(box.home / "good")))
    said = box.run()
    assert said.err.count("\n") == 1
    assert "a\\x1b[2Jb\\x0ac\\xc2\\x9bd" in said.err
