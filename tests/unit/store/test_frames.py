"""Frames: every cut and every flipped byte is a clean cut or a named refusal, never something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchctl.errors import CorruptionError
from batchctl.store.frames import HEADER_SIZE, Frame, FrameType, Scan, encode, scan, seed_of

RUN = "run-1"


def log(*payloads: bytes, run_id: str = RUN, durable: bool = True, epochs: tuple[int, ...] = ()) -> bytes:
    """A log of CLAIM frames (the first one EPOCH); `durable`: each says that all before it is on disk."""
    data = b""
    for number, payload in enumerate(payloads):
        kind = FrameType.EPOCH if number == 0 else FrameType.CLAIM
        epoch = epochs[number] if epochs else 1
        frame = Frame(kind, 1, epoch, number, 0, len(data) if durable else 0, number, 0, 0)
        data += encode(frame, payload, seed=seed_of(run_id))
    return data


def read(data: bytes, *, run_id: str = RUN) -> Scan:
    return scan(memoryview(data), run_id=run_id, where="log")


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_round_trip(payloads: list[bytes]) -> None:
    data = log(*payloads)
    found = read(data)
    assert [data[frame.start + HEADER_SIZE : frame.end] for frame in found.frames] == payloads
    assert (found.good_end, found.torn) == (len(data), "")


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.data())
def test_any_truncation_is_a_clean_cut(payloads: list[bytes], data: st.DataObject) -> None:
    whole = log(*payloads)
    cut = data.draw(st.integers(0, len(whole)))
    found = read(whole[:cut])
    ends = [0, *(frame.end for frame in read(whole).frames)]
    assert found.good_end == max(end for end in ends if end <= cut)


def test_every_flipped_byte_is_a_clean_cut_at_the_end_or_corruption_before_it() -> None:
    whole = log(b"first", b"second", b"third!")
    starts = [frame.start for frame in read(whole).frames]
    for at in range(len(whole)):
        for bit in (1, 0x80):
            damaged = bytearray(whole)
            damaged[at] ^= bit
            if at < starts[2]:
                with pytest.raises(CorruptionError):
                    read(bytes(damaged))
            else:
                assert read(bytes(damaged)).good_end == starts[2]


GOOD = log(b"a" * 16, b"b" * 16)
TAILS = {
    "zeros": (bytes(100), 0),
    "a page of zeros": (bytes(4096), 0),
    "garbage": (b"\xb7Fr1" + b"\x5a" * 90, 0),
    "half a header": (GOOD[:20], 0),
    "a length of 4 GiB": (GOOD[:8] + b"\xff" * 4 + GOOD[12:48], 0),
    "of another run": (log(*[b"x"] * 3, run_id="run-2")[2 * (HEADER_SIZE + 1) :], 0),
    "a frame again (its sequence was used)": (GOOD[-64:], 0),
    "of an older epoch": (log(b"x", b"x", b"x", epochs=(0, 0, 0), durable=False)[2 * (HEADER_SIZE + 1) :], 0),
    "of a later epoch": (log(b"x", b"x", b"x", epochs=(9, 9, 9), durable=False)[2 * (HEADER_SIZE + 1) :], 0),
    "the next one": (log(b"a" * 16, b"b" * 16, b"x")[len(GOOD) :], HEADER_SIZE + 1),
}


@pytest.mark.parametrize(("tail", "accepted"), TAILS.values(), ids=TAILS.keys())
def test_only_what_follows_is_accepted(tail: bytes, accepted: int) -> None:
    found = read(GOOD + tail)
    assert found.good_end == len(GOOD) + accepted
    assert bool(found.torn) == (not accepted)


def test_frames_swapped_are_corruption_where_they_were_durable() -> None:
    data = log(b"e" * 16, b"1" * 16, b"2" * 16, b"3" * 16)
    size = HEADER_SIZE + 16
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    with pytest.raises(CorruptionError):
        read(parts[0] + parts[2] + parts[1] + parts[3])
