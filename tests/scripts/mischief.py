"""Does to its output folder and its surroundings what MISCHIEF says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

WHAT = os.environ["MISCHIEF"]
OUT = os.environ["AZUREML_BI_OUTPUT_PATH"]


def run(mini_batch: list[str]) -> list[str]:
    for path in mini_batch:
        name = os.path.basename(path)
        globals()[WHAT](name)
    return [os.path.basename(path) for path in mini_batch]


def link(name: str) -> None:
    if name == "item003.txt":
        shutil.rmtree(OUT)
        os.symlink(os.environ["PRECIOUS"], OUT)


def link_and_raise(name: str) -> None:
    link(name)
    if name == "item003.txt":
        raise ValueError("after the link")


def clash(name: str) -> None:
    """Every second item writes a file, the next one a file below a folder of that name."""
    number = int(name[4:7])
    target = os.path.join(OUT, f"x{number // 2}")
    if number % 2:
        os.makedirs(target, exist_ok=True)
        target = os.path.join(target, "y")
    with open(target, "w") as file:
        file.write(name)


def leave_writer(name: str) -> None:
    if name == "item003.txt":
        target = os.path.join(OUT, "growing")
        subprocess.Popen(["/bin/sh", "-c", f"exec 3>>'{target}'; while :; do echo more >&3; done"])
        while not os.path.exists(target):
            pass


def stop_server(name: str) -> None:
    """The fork server is our parent."""
    if name == "item003.txt":
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(600)  # pause() would come back at the dump of our stacks
