"""The wire between the pool and a worker (and the fork server): frames over one stream socket pair each.

    frame  = header | head | body
    header = kind u8, zero u8, zero u16, epoch u32, incarnation u32, head length u32, body length u32   (20 bytes, LE)

LEASES and SCORED carry fixed binary records in the head, as many as fit; all other heads are one compact JSON object.
Both lengths are capped: a frame over a cap is a broken peer, never something to allocate for. No pickle anywhere.
The epoch and the incarnation fence what an old worker still says.
"""

from __future__ import annotations

import json
import struct

from .named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple, Union

HEADER = struct.Struct("<BBHIIII")
HEAD_CAP = 1 << 20
BODY_CAP = 8 << 20

# The pool sends it to a worker past its deadline: all thread stacks go to the worker's log pipe. A real-time signal,
# which no library claims; SIGRTMIN is 34 with glibc and 35 with musl, 46 lies within both ranges and is spelled as a
# number so that host and guest cannot disagree.
DUMP_SIGNAL = 46

# Exit statuses of a worker that leaves on its own (a script may use the same numbers: they explain, they decide
# nothing).
EXIT_INIT_FAILED = 1  # it has said INIT_FAILED
EXIT_BROKEN = 70  # a fault of ours: the traceback is in the worker's log
EXIT_NO_POOL = 71  # its channel or its parent is gone

# host -> worker
LEASES = 1  # head: LEASE_RECORD * n
STOP = 2  # finish what is in hand, call shutdown(), leave
# worker -> host
READY = 16  # {"init_s": float}
INIT_FAILED = 17  # {"kind", "error", "message", "traceback"}
SCORED = 18  # head: SCORED_RECORD * n; body: their rows, in order
SCORED_LONG = 19  # one result that is spilled or has files: JSON head (see ScoredLong), body: rows unless spilled
FAILED = 20  # {"serial", "lease": [batch, first, count, attempt], "run_ns", "error", "message", "traceback"}
COLUMNS = 21  # head {}; body: the csv header line of all rows that follow from this worker
NOTE = 22  # {"text"}: something to tell the user, once per kind and worker
VOIDED = 23  # {"serials": [...]}: leases that the host had taken back and this worker skipped
BYE = 24  # {}: shutdown() is done, the process leaves with 0
# host -> fork server (heads are JSON)
JOB = 32  # the job configuration, once (see server.py)
FORK = 33  # one worker; three descriptors ride along: channel, page, log
FACTS = 34  # {"script", "code"}: what is this interpreter, do the script's imports resolve here
QUIT = 35
# fork server -> host
HELLO = 48  # {"pid", "python", "executable"}
FORKED = 49  # {"slot", "incarnation", "pid"}
EXITED = 50  # {"slot", "incarnation", "pid", "status"}: status as os.waitpid gives it
FACTS_FOUND = 51
PRELOAD_REFUSED = 52  # {"module", "reason"}
SERVER_FAILED = 53  # {"error", "message", "traceback"}: a request could not be carried out

# serial, batch, first, count, attempt: serial counts the leases sent to one incarnation from 1
LEASE_RECORD = struct.Struct("<QIIII")
# serial, batch, first, count, attempt, rows length, crc32 of rows, number of rows, items ok, run ns, busy ns
SCORED_RECORD = struct.Struct("<QIIIIQIIIQQ")


class Frame(NamedTuple):
    """One received frame; `head` and `body` are copies that outlive the buffer."""

    kind: int
    epoch: int
    incarnation: int
    head: bytes
    body: bytes

    def json(self) -> Dict[str, Any]:
        """The head as a JSON object; ProtocolError if it is not one."""
        try:
            found = json.loads(self.head.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError) as error:
            raise ProtocolError("head of frame kind %d is not JSON" % self.kind) from error
        if not isinstance(found, dict):
            raise ProtocolError("head of frame kind %d is not an object" % self.kind)
        return found


class ProtocolError(Exception):
    """The peer sent something that no version of the protocol allows; the channel is not to be read further."""


def encode(kind: int, epoch: int, incarnation: int, head: bytes = b"", body: bytes = b"") -> bytes:
    """One frame as bytes. Raises ProtocolError when a part is over its cap (the caller should have spilled it)."""
    if len(head) > HEAD_CAP or len(body) > BODY_CAP:
        raise ProtocolError("frame kind %d too large: head %d, body %d bytes" % (kind, len(head), len(body)))
    return HEADER.pack(kind, 0, 0, epoch, incarnation, len(head), len(body)) + head + body


def encode_json(kind: int, epoch: int, incarnation: int, fields: Dict[str, Any], body: bytes = b"") -> bytes:
    """A frame whose head is compact ASCII JSON (lone surrogates from undecodable names survive as escapes)."""
    return encode(kind, epoch, incarnation, json.dumps(fields, separators=(",", ":")).encode("ascii"), body)


class Decoder:
    """Turns a byte stream into frames. Feed what was received; complete frames come back, the rest is kept.

    Raises ProtocolError as soon as a header exceeds a cap or has set bits where zeros belong.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Frame]:
        """All frames completed by `data`, in order."""
        held = self._buffer
        buffer: Union[bytes, bytearray] = data
        if held:
            held += data
            buffer = held
        frames: List[Frame] = []
        at, size = 0, len(buffer)
        while size - at >= HEADER.size:
            kind, zero, zeros, epoch, incarnation, head_len, body_len = HEADER.unpack_from(buffer, at)
            if zero or zeros or head_len > HEAD_CAP or body_len > BODY_CAP:
                raise ProtocolError("bad frame header: kind %d, head %d, body %d" % (kind, head_len, body_len))
            start = at + HEADER.size
            end = start + head_len + body_len
            if end > size:
                break
            middle = start + head_len
            frames.append(Frame(kind, epoch, incarnation, bytes(buffer[start:middle]), bytes(buffer[middle:end])))
            at = end
        if buffer is data:
            held += data[at:]  # nearly always nothing: most reads end where a frame ends
        elif at:
            del held[:at]
        return frames

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame that are waiting for more."""
        return len(self._buffer)


def lease_records(head: bytes) -> List[Tuple[int, ...]]:
    """(serial, batch, first, count, attempt) per lease; ProtocolError on a ragged head."""
    if len(head) % LEASE_RECORD.size:
        raise ProtocolError("ragged lease records")
    return list(LEASE_RECORD.iter_unpack(head))


def scored_records(head: bytes) -> List[Tuple[int, ...]]:
    """(serial, batch, first, count, attempt, length, crc, n_rows, ok, run_ns, busy_ns) each, or ProtocolError."""
    if len(head) % SCORED_RECORD.size:
        raise ProtocolError("ragged result records")
    return list(SCORED_RECORD.iter_unpack(head))
