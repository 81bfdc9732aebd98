"""The crash file: what we did not expect, for whoever repairs it. Environment values are never in it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from batchctl import __version__
from batchctl.cli.typed import shareable


def write_crash_file(error: BaseException, argv: Sequence[str], *, out: object) -> str:
    """Write the traceback into OUT/.batchctl/logs where that exists, else into the temporary folder.

    Returns the file's path, or "" where none could be written. 0600, links not followed, never over an existing file.
    """
    # The one place that needs these two, on the way of every start otherwise.
    import tempfile
    import traceback

    text = "\n".join(
        [
            f"batchctl {__version__}, Python {sys.version.split()[0]}, {' '.join(os.uname())}",
            f"argv: {list(shareable(argv))}",
            f"time: {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}",
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
    name = f"crash-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt"
    folders = [Path(tempfile.gettempdir())]
    if isinstance(out, str | Path):
        folders.insert(0, Path(out) / ".batchctl" / "logs")
    for folder in folders:
        path = folder / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:
            continue
        return str(path)
    return ""
