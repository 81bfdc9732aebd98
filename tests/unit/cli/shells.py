"""Real interactive shells in a pseudo-terminal: type a line with TABs, and read the arguments that batchctl was given.

`batchctl` is a stand-in there that writes its arguments down, each ended by NUL, so that what is compared is what would
really be run, quotes undone.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROMPT = b"READY>"
LIMIT_S = 30.0
STAND_IN = """#!/bin/sh
for word; do printf '%s\\0' "$word"; done > "$RECORD.new"
mv "$RECORD.new" "$RECORD"
"""


def needed(program: str) -> str:
    """The program's path; skips the test where there is none."""
    return shutil.which(program) or pytest.skip(f"not run: there is no {program} here")


def prepared(shell: str, home: Path, script: str) -> list[str]:
    """Write the start-up files of `shell` into `home` and return the command that starts it with the completion."""
    path = needed(shell)
    stand_in = home / "bin" / "batchctl"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    if shell == "bash":
        (home / "completion").write_text(script)
        rc = home / "rc"
        rc.write_text(f"PS1='{PROMPT.decode()}'; bind 'set bell-style none'; . '{home}/completion'\n")
        return [path, "--noprofile", "--rcfile", str(rc), "-i"]
    if shell == "zsh":
        functions = home / "functions"
        functions.mkdir()
        (functions / "_batchctl").write_text(script)
        rc = f"PROMPT='{PROMPT.decode()}'; fpath=('{functions}' $fpath); autoload -Uz compinit; compinit -u -D\n"
        (home / ".zshrc").write_text(rc + "setopt no_beep no_auto_remove_slash; unset zle_bracketed_paste\n")
        return [path, "-d", "-i"]
    folder = home / ".config" / "fish"
    (folder / "completions").mkdir(parents=True)
    (folder / "completions" / "batchctl.fish").write_text(script)
    (folder / "config.fish").write_text(
        f"function fish_prompt; echo -n '{PROMPT.decode()}'; end\nfunction fish_greeting; end\n"
    )
    return [path, "-i"]


class Terminal:
    """A shell that waits for keys. Left through `close`."""

    def __init__(self, shell: str, home: Path, folder: Path, script: str) -> None:
        self.shell = shell
        self._record = home / "record"
        argv = prepared(shell, home, script)
        self._screen, theirs = pty.openpty()
        self._seen = b""
        environment = {
            "HOME": str(home), "ZDOTDIR": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "TERM": "vt100",
            "PATH": f"{home}/bin:/usr/local/bin:/usr/bin:/bin", "RECORD": str(self._record), "LC_ALL": "C.UTF-8",
            "COLUMNS": "400", "HISTFILE": "",
        }  # fmt: skip
        self._process = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        try:
            self._wait(lambda: PROMPT in self._seen)
        except AssertionError:
            self.close()
            raise

    def arguments(self, keys: str) -> list[bytes]:
        """What batchctl is called with when `keys` and Enter are typed."""
        self._record.unlink(missing_ok=True)
        self._seen = b""
        os.write(self._screen, keys.encode("utf-8", "surrogateescape") + b"\r")
        self._wait(self._record.exists)
        return self._record.read_bytes().split(b"\0")[:-1]

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._screen)

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; the screen: {self._seen!r}"
            if select.select([self._screen], [], [], 0.02)[0]:
                try:
                    self._seen += os.read(self._screen, 65536)
                except OSError as error:
                    raise AssertionError(f"the shell has ended; the screen: {self._seen!r}") from error
