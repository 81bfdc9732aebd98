"""The first run() does to the file VICTIM what MEDDLES says (by then the plan stands); then every file is read."""

from __future__ import annotations

import os

DONE: list[str] = []


def run(mini_batch: list[str]) -> list[str]:
    if not DONE:
        DONE.append("meddled")
        meddle(os.environ["VICTIM"], os.environ["MEDDLES"])
    return [one(path) for path in mini_batch]


def meddle(path: str, what: str) -> None:
    os.remove(path)
    if what == "folder":
        os.mkdir(path)
    elif what == "dangling link":
        os.symlink("nowhere", path)
    elif what == "loop":
        os.symlink(os.path.basename(path), path)
    elif what == "unreadable":
        with open(path, "w", encoding="utf-8") as file:
            file.write("secret")
        os.chmod(path, 0)


def one(path: str) -> str:
    with open(path, "rb") as file:
        file.read()
    return os.path.basename(path)
