"""The NVIDIA driver, asked through a process of its own, so that whatever it does to its caller it does not do to us.

nvmlInit may hang for ever (a card that has fallen off the bus, a driver that is being replaced), nvmlDeviceGet... too,
and neither can be interrupted from within. The process costs a Python's start (0.1 s), and only where there is a driver
library at all. It is killed when its channel is closed, and it dies with us.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from batchctl import frozen, processes
from batchctl.model.node import Gpu, GpuProcess
from batchctl.node.gpu import select_visible
from batchctl.node.kernel_log import KernelLog, xid_error

_LIBRARY = "libnvidia-ml.so.1"
# Without persistence mode a driver starts each card anew: seconds each, on machines with sixteen of them.
START_LIMIT_S = 60.0
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from batchctl.node.gpu import serve; serve(int(sys.argv[2]))"


class DriverProcess:
    """A process that speaks to the driver. OSError where it cannot be started."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        arguments = (frozen.EMBEDDED,) if frozen.is_frozen() else ()
        home = str(Path(__file__).parents[2])
        argv = [sys.executable, *arguments, "-I", "-c", _CODE, home, str(theirs.fileno())]
        silence = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            env = processes.child_environment({})
            self._pid = processes.spawn(argv, env, pass_fds=(theirs.fileno(),), stderr=silence)
        except OSError:
            ours.close()
            raise
        finally:
            os.close(silence)
            theirs.close()
        ours.setblocking(False)
        self._channel = ours
        self._received = b""

    def ask(self, what: str, **more: Any) -> None:
        """Send a question; never blocks. OSError where the process is gone or does not read."""
        self._channel.sendall(json.dumps({"ask": what, **more}).encode() + b"\n")

    def answer(self, within: float) -> dict[str, Any] | None:
        """The next answer, or None where there is none within so many seconds. OSError where the process is gone."""
        deadline = time.monotonic() + within
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        while b"\n" not in self._received:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return None
            data = self._channel.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the process that asks the NVIDIA driver has ended")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Kill it; may be done twice. One that the driver holds where no signal ends it is left to init."""
        self._channel.close()
        with contextlib.suppress(ChildProcessError):  # reaped with the strangers: the pid may be somebody else's by now
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            processes.kill_process(self._pid, signal.SIGKILL)
            processes.await_end([self._pid], seconds=1.0)
            os.waitpid(self._pid, os.WNOHANG)


def probe_gpus(
    *, visible: str | None, limit_s: float = START_LIMIT_S
) -> tuple[tuple[Gpu, ...], str | None, tuple[str, ...]]:
    """The GPUs (with MIG on: the slices), the driver's version, and notes. `visible`: CUDA_VISIBLE_DEVICES, None where
    unset. Never raises; takes `limit_s` at most."""
    if visible is not None and not visible.strip():
        return (), None, ("CUDA_VISIBLE_DEVICES is empty: no GPU is used",)
    try:
        ctypes.CDLL(_LIBRARY)  # loaded, never called
    except OSError as error:
        # "No such file" is a machine without a driver, which is no news; anything else is a broken one, which is.
        # In the packaged file PyInstaller lays a guess of its own over what the loader says.
        said = str(error.__cause__ or error)
        missing = f"{_LIBRARY}: cannot open shared object file" in said
        return (), None, (() if missing else (f"the NVIDIA driver library does not load: {said}",))
    try:
        found = _asked(limit_s)
    except OSError as error:
        return (), None, (f"the NVIDIA driver cannot be asked: {error}",)
    if found is None:
        return (), None, (f"the NVIDIA driver has not answered for {limit_s:g} s: no GPU is used",)
    errors = _xid_errors()
    cards = [tuple(_gpu(fields, errors) for fields in card) for card in found["cards"]]
    gpus, told = select_visible(cards, visible)
    return gpus, found["driver"], (*found["notes"], *told)


def _asked(limit_s: float) -> dict[str, Any] | None:
    driver = DriverProcess()
    try:
        driver.ask("probe")
        return driver.answer(limit_s)
    finally:
        driver.close()


def _gpu(fields: dict[str, Any], errors: dict[str, int] | None) -> Gpu:
    """A GPU as it came over the wire, with what the kernel's log says of it."""
    listed = fields.pop("processes")
    held = None if listed is None else tuple(GpuProcess(**process) for process in listed)
    # The log has a domain of 4 digits and no function, the driver one of 8 digits and a function.
    address = fields["pci"][-12:].rpartition(".")[0]
    xid = None if errors is None or not address else errors.get(address, 0)
    return Gpu(**{**fields, "cpus": tuple(fields["cpus"]), "processes": held, "xid": xid})


def _xid_errors() -> dict[str, int] | None:
    """The last Xid of each card that the kernel's log holds, by PCI address; None where it cannot be read."""
    log = KernelLog(from_now=False)
    try:
        lines = log.new_lines()
    finally:
        log.close()
    return None if lines is None else dict(filter(None, map(xid_error, lines)))
