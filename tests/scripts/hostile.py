"""On item003 it does to its channel, its descriptors or its output folder what HOSTILE says."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading

HEADER = struct.Struct("<BBHIIII")
OUT = os.environ["AZUREML_BI_OUTPUT_PATH"]
VICTIM = os.environ.get("VICTIM", "")


def run(mini_batch: list[str]) -> list[str]:
    for path in mini_batch:
        if "item003" in path:
            globals()[os.environ["HOSTILE"]]()
    return [os.path.basename(path) for path in mini_batch]


def descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]


def say(data: bytes) -> None:
    """Send on each channel that there is; then wait to be ended for it."""
    for fd in channels():
        with socket.socket(fileno=os.dup(fd)) as channel:
            channel.setblocking(True)
            channel.sendall(data)
    threading.Event().wait(30)


def channels() -> list[int]:
    found = []
    for fd in descriptors():
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # the one that listed them
            continue
        if target.startswith("socket:"):
            found.append(fd)
    return found


def large_head() -> None:
    say(HEADER.pack(18, 0, 0, 1, 1, 0xFFFFFFFF, 0))


def large_body() -> None:
    say(HEADER.pack(18, 0, 0, 1, 1, 0, 0xFFFFFFFF))


def bits_where_zeros_belong() -> None:
    say(HEADER.pack(18, 1, 0, 1, 1, 0, 0))


def garbage() -> None:
    say(b"\xa5" * 100_000)


def other_epoch() -> None:
    say(HEADER.pack(16, 0, 0, 77, 1, 2, 0) + b"{}")


def other_incarnation() -> None:
    say(HEADER.pack(16, 0, 0, 1, 0xFFFF, 2, 0) + b"{}")


def unknown_kind() -> None:
    say(HEADER.pack(250, 0, 0, 1, 0, 0, 0))


def deep_json() -> None:
    head = b"[" * 100_000
    for incarnation in range(20):  # one of them is ours
        say_once(HEADER.pack(20, 0, 0, 1, incarnation, len(head), 0) + head)
    threading.Event().wait(30)


def say_once(data: bytes) -> None:
    for fd in channels():
        with socket.socket(fileno=os.dup(fd)) as channel:
            channel.setblocking(True)
            try:
                channel.sendall(data)
            except OSError:
                threading.Event().wait(30)


def half_a_frame() -> None:
    say_once(HEADER.pack(18, 0, 0, 1, 1, 1000, 0) + b"{")
    os._exit(5)


def write_everywhere() -> None:
    for fd in descriptors():
        for write in (lambda fd: os.write(fd, b"\xff" * 4096), lambda fd: os.pwrite(fd, b"\xff" * 4096, 0)):
            try:
                os.set_blocking(fd, False)
                write(fd)
            except OSError:
                continue
    threading.Event().wait(30)


def close_everything() -> None:
    os.closerange(0, 1 << 16)


def truncate_everything() -> None:
    for fd in descriptors():
        try:
            os.ftruncate(fd, 0)
        except OSError:
            continue


# --- its output folder ------------------------------------------------------------------------------------------------


def put(name: str, text: str = "mine") -> None:
    path = os.path.join(OUT, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def above() -> None:
    put("../above.txt")
    put("../../above.txt")


def our_names() -> None:
    put(".batchctl/lock")
    put("predictions.csv")


def run_directory() -> None:
    put(".batchctl/job.json", "{}")


def result() -> None:
    put("predictions.csv/x")


def links() -> None:
    os.symlink(VICTIM, os.path.join(OUT, "to-a-file"))
    os.symlink(os.path.dirname(VICTIM), os.path.join(OUT, "to-a-folder"))
    os.symlink("/", os.path.join(OUT, "root"))
    put("good")


def hard_link() -> None:
    os.link(VICTIM, os.path.join(OUT, "hard"))


def special() -> None:
    os.mkfifo(os.path.join(OUT, "pipe"))
    here = os.getcwd()
    os.chdir(OUT)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    os.chdir(here)
    if os.geteuid() == 0:
        try:
            os.mknod(os.path.join(OUT, "device"), 0o20600, os.makedev(1, 5))  # /dev/zero: reading it never ends
        except OSError as error:
            print("no device:", error, file=sys.stderr)
    put("good")


def names() -> None:
    for name in (b"\xff\xfe", b"a\nb", b"\x1b]0;x\x07", b"n" * 255, b" ", "\u202e".encode(), b"-rf", b"=1"):
        with open(os.path.join(os.fsencode(OUT), name), "wb") as file:
            file.write(b"mine")


def deep() -> None:
    put("/".join(["d" * 200] * 15 + ["end"]))
