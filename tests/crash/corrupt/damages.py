"""Every way in which a run is damaged here: what it is called, and the files that it changes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from batchctl.store.frames import HEADER_SIZE, MAX_PAYLOAD, FrameType, checksum, seed_of
from batchctl.store.layout import RUN_DIRECTORY
from tests.crash.corrupt.subjects import LOG, Subject

Changes = Mapping[str, bytes | None]  # relative path -> its new bytes, None: gone
_FLIPS = (0x01, 0xFF)
_OVERSIZED = (0xFFFFFFFF, 0x80000000, MAX_PAYLOAD + 1, MAX_PAYLOAD)
_SHARE = 100  # one data byte of so many is flipped
_LEAST = 24  # but so many of each file
_BLOCKS = (512, 4096)
_LENGTH_AT = 8  # of the payload's length in a header
_CRC_AT = HEADER_SIZE - 4


@dataclass(frozen=True, slots=True)
class Damage:
    """One corruption of one subject. `kind` groups it; `label` names it exactly; `log`: it is the log's."""

    subject: str
    kind: str
    label: str
    changes: Callable[[], Changes]

    @property
    def log(self) -> bool:
        return self.kind.startswith("log")

    def only_behind(self, log: bytes) -> bool:
        """The log as it was, and more: behind the seal of a run without rows that is a REOPEN that was cut off."""
        now = self.changes().get(LOG, log)
        return now is not None and now.startswith(log)

    @property
    def guest(self) -> bool:
        """Of the file that each start checks and makes anew: only the real command looks at it."""
        return self.kind.startswith("guest.pyz")

    def __str__(self) -> str:
        return f"{self.subject}: {self.kind} {self.label}"


def damages_of(subject: Subject, others: Mapping[str, Subject], *, seed: int) -> Iterator[Damage]:
    """All of them, always in the same order. `others`: all subjects by name."""
    dice = random.Random(f"{seed} {subject.name}")
    for kind, label, log in _of_log(subject, others, dice):
        yield Damage(subject.name, kind, label, lambda log=log: {LOG: log()})  # type: ignore[misc]
    for other in others.values():
        if other.job.name.rpartition("-")[0] == subject.job.name.rpartition("-")[0] != "" and other.job != subject.job:
            yield from _foreign_frames(subject, other)
    yield from _of_data(subject, others, dice)


Log = Callable[[], bytes]


def _of_log(subject: Subject, others: Mapping[str, Subject], dice: random.Random) -> Iterator[tuple[str, str, Log]]:
    log = subject.log
    for at in range(len(log)):
        for mask in (*_FLIPS, dice.randrange(2, 255)):
            yield "log flip", f"byte {at} xor {mask:#04x}", lambda at=at, mask=mask: _flipped(log, at, mask)
    for size in range(len(log)):
        yield "log cut", f"to {size}", lambda size=size: log[:size]
    yield from _of_frames(subject)
    for extra, what in _surpluses(subject, dice):
        yield "log longer", what, lambda extra=extra: log + extra
    for block in _BLOCKS:
        for at in range(0, len(log), block):
            if any(log[at : at + block]):  # the last few bytes may be zeros, which is no damage then
                yield "log zeroed", f"{block} at {at}", lambda at=at, block=block: _zeroed(log, at, block)
    for name, other in others.items():
        if name in subject.earlier:
            yield "log of before", name, lambda other=other: other.log
        elif other.run_id != subject.run_id:
            yield "log of another run", name, lambda other=other: other.log


def _of_frames(subject: Subject) -> Iterator[tuple[str, str, Log]]:
    log, frames = subject.log, subject.frames
    parts = [log[one.start : one.end] for one in frames]
    for number, frame in enumerate(frames):
        name = f"{number} {FrameType(frame.kind).name}"
        yield "log frame gone", name, lambda n=number: b"".join(parts[:n] + parts[n + 1 :])
        yield "log frame twice", name, lambda n=number: b"".join(parts[: n + 1] + parts[n:])
        yield "log frame again at the end", name, lambda n=number: log + parts[n]
        yield "log frame zeroed", name, lambda one=frame: _zeroed(log, one.start, one.end - one.start)
        for other in range(number):
            swapped = parts.copy()
            swapped[other], swapped[number] = swapped[number], swapped[other]
            yield "log frames swapped", f"{other} and {name}", lambda swapped=swapped: b"".join(swapped)
            # One of an older epoch or group where a newer one belongs.
            older = [*parts[:number], parts[other], *parts[number + 1 :]]
            yield "log frame older", f"{other} for {name}", lambda older=older: b"".join(older)
        for length in _OVERSIZED:
            yield "log length", f"{length} in {name}", lambda o=frame, n=length: _lengthened(subject, o.start, n, False)
            label = f"{length} in {name}, with its CRC"
            yield "log length", label, lambda o=frame, n=length: _lengthened(subject, o.start, n, True)
    yield "log rotated", "last frame first", lambda: b"".join([parts[-1], *parts[:-1]])
    yield "log reversed", "all frames", lambda: b"".join(reversed(parts))


def _foreign_frames(subject: Subject, other: Subject) -> Iterator[Damage]:
    """Frames of another run of the same shape, in the places of this one's."""
    log = subject.log
    for number, (mine, theirs) in enumerate(zip(subject.frames, other.frames, strict=False)):
        frame = other.log[theirs.start : theirs.end]
        where = f"{number} from {other.name}"
        yield _log(subject, "log frame of another run", where, log[: mine.start] + frame + log[mine.end :])
        yield _log(
            subject, "log frame of another run", f"{where}, added", log[: mine.start] + frame + log[mine.start :]
        )
        yield _log(subject, "log frame of another run", f"{where}, at the end", log + frame)


def _log(subject: Subject, kind: str, label: str, log: bytes) -> Damage:
    return Damage(subject.name, kind, label, lambda: {LOG: log})


def _of_data(subject: Subject, others: Mapping[str, Subject], dice: random.Random) -> Iterator[Damage]:
    def damage(kind: str, label: str, name: str, data: Callable[[], bytes | None]) -> Damage:
        return Damage(subject.name, kind, f"{name}: {label}", lambda: {name: data()})

    for name in data_files(subject):
        kind = kind_of(subject, name)
        content = subject.files[name]
        share = 0 if kind == "guest.pyz" else len(content) // _SHARE
        count = min(len(content), max(_LEAST, share))
        for at in sorted(dice.sample(range(len(content)), count)):
            for mask in (*_FLIPS, dice.randrange(2, 255)):
                label = f"byte {at} xor {mask:#04x}"
                yield damage(f"{kind} flip", label, name, lambda c=content, at=at, mask=mask: _flipped(c, at, mask))
        for size in sorted({0, 1, len(content) - 1, *(dice.randrange(len(content)) for _ in range(8))}):
            if 0 <= size < len(content):
                yield damage(f"{kind} cut", f"to {size}", name, lambda c=content, size=size: c[:size])
        for extra in (b"\0", b"x\n", content[:100], bytes(4096)):
            yield damage(f"{kind} longer", f"by {len(extra)}", name, lambda c=content, extra=extra: c + extra)
        for block in _BLOCKS:
            at = dice.randrange(0, len(content), block)
            if not any(content[at : at + block]):
                continue
            yield damage(
                f"{kind} zeroed", f"{block} at {at}", name, lambda c=content, at=at, b=block: _zeroed(c, at, b)
            )
        yield damage(f"{kind} gone", "removed", name, lambda: None)
        for other in others.values():
            theirs = other.files.get(name)
            if theirs is not None and theirs != content:
                when = "before" if other.name in subject.earlier else "another run"
                yield damage(f"{kind} of {when}", other.name, name, lambda theirs=theirs: theirs)
    # The result of before under the new log, and rows of before beside it.
    for name in subject.earlier:
        for file in (subject.final, f"{subject.final}.partial"):
            if (file in others[name].files) and file not in subject.files:
                yield damage("rows of before", f"beside, from {name}", file, lambda n=name, f=file: others[n].files[f])


def data_files(subject: Subject) -> list[str]:
    """All that is worth damaging but for the log: what only tells (status.json, ...) is for the fuzzers."""
    kept = ("job.json", "plan", "guest.pyz")
    own = [f"{RUN_DIRECTORY}/{name}" for name in kept]
    own += [name for name in subject.files if name.startswith(f"{RUN_DIRECTORY}/parts/")]
    rows = [subject.final, f"{subject.final}.partial"]
    return [name for name in (*rows, *subject.published, *own) if subject.files.get(name)]


def kind_of(subject: Subject, name: str) -> str:
    if name in (subject.final, f"{subject.final}.partial"):
        return "rows"
    if name.startswith(f"{RUN_DIRECTORY}/parts/"):
        return "piece"
    return name.rpartition("/")[2] if name.startswith(RUN_DIRECTORY) else "published"


def _surpluses(subject: Subject, dice: random.Random) -> Iterator[tuple[bytes, str]]:
    first = subject.frames[0]
    frame = subject.log[first.start : first.end]
    yield b"\0", "one zero"
    yield bytes(4096), "4096 zeros"
    yield b"\n", "a line feed"
    yield dice.randbytes(100), "100 random bytes"
    yield frame[:HEADER_SIZE], "a header"
    yield frame[:4], "the magic"
    yield subject.log, "the whole log again"


def _flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


def _zeroed(data: bytes, at: int, length: int) -> bytes:
    length = min(length, len(data) - at)
    return data[:at] + bytes(length) + data[at + length :]


def _lengthened(subject: Subject, at: int, length: int, sealed: bool) -> bytes:
    """Another length in the header of the frame at `at`; `sealed`: with the CRC that the header then has."""
    data = bytearray(subject.log)
    data[at + _LENGTH_AT : at + _LENGTH_AT + 4] = length.to_bytes(4, "little")
    if sealed:
        crc = checksum(bytes(data[at : at + _CRC_AT]), bytes(data[at + HEADER_SIZE :]), seed=seed_of(subject.run_id))
        data[at + _CRC_AT : at + HEADER_SIZE] = crc.to_bytes(4, "little")
    return bytes(data)
