"""The wire: what is encoded comes back however the stream is cut; all else is a ProtocolError, nothing worse."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchctl.guest import wire

u32 = st.integers(0, 2**32 - 1)
frames = st.builds(wire.Frame, st.integers(0, 255), u32, u32, st.binary(max_size=40), st.binary(max_size=40))


def joined(sent: list[wire.Frame]) -> bytes:
    return b"".join(wire.encode(*frame) for frame in sent)


@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 50), max_size=20))
def test_frames_survive_any_cutting(sent: list[wire.Frame], cuts: list[int]) -> None:
    stream, decoder, found = joined(sent), wire.Decoder(), []
    for cut in cuts:
        found += decoder.feed(stream[:cut])
        stream = stream[cut:]
    found += decoder.feed(stream)
    assert found == sent
    assert decoder.pending == 0


@given(st.lists(frames, max_size=3), st.integers(0, 200))
def test_a_cut_stream_gives_the_whole_frames_and_keeps_the_rest(sent: list[wire.Frame], cut: int) -> None:
    stream, decoder = joined(sent)[:cut], wire.Decoder()
    found = decoder.feed(stream)
    assert found == sent[: len(found)]
    assert decoder.pending == len(stream) - len(joined(found))


@given(st.binary(max_size=200), st.lists(st.integers(1, 60), max_size=5))
def test_noise_is_frames_or_a_protocol_error(noise: bytes, cuts: list[int]) -> None:
    decoder = wire.Decoder()
    try:
        for cut in [*cuts, len(noise)]:
            for frame in decoder.feed(noise[:cut]):
                assert len(frame.head) <= wire.HEAD_CAP
            noise = noise[cut:]
    except wire.ProtocolError:
        pass


@given(frames, st.integers(0, 19), st.integers(0, 255))
def test_a_damaged_header_never_makes_the_decoder_crash(frame: wire.Frame, at: int, byte: int) -> None:
    stream = bytearray(joined([frame, frame]))
    stream[at] = byte
    try:
        wire.Decoder().feed(bytes(stream))
    except wire.ProtocolError:
        pass


@pytest.mark.parametrize(
    "header",
    [
        wire.HEADER.pack(1, 1, 0, 0, 0, 0, 0),
        wire.HEADER.pack(1, 0, 1, 0, 0, 0, 0),
        wire.HEADER.pack(1, 0, 0, 0, 0, wire.HEAD_CAP + 1, 0),
        wire.HEADER.pack(1, 0, 0, 0, 0, 0, wire.BODY_CAP + 1),
        b"\xff" * wire.HEADER.size,
    ],
    ids=["zero byte set", "zero word set", "head over its cap", "body over its cap", "all ones"],
)
def test_bad_headers_are_refused_before_anything_is_allocated(header: bytes) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.Decoder().feed(header)


def test_frames_at_the_caps_pass_and_above_do_not() -> None:
    head, body = bytes(wire.HEAD_CAP), bytes(wire.BODY_CAP)
    decoder, stream = wire.Decoder(), wire.encode(3, 1, 2, head, body)
    found = []
    for at in range(0, len(stream), 1 << 18):
        found += decoder.feed(stream[at : at + (1 << 18)])
    assert found == [wire.Frame(3, 1, 2, head, body)]
    for parts in ((head + b"x", b""), (b"", body + b"x")):
        with pytest.raises(wire.ProtocolError):
            wire.encode(3, 1, 2, *parts)


def test_json_heads_carry_undecodable_names() -> None:
    fields = {"name": "a\udcff", "n": 1, "list": [None, True]}
    [frame] = wire.Decoder().feed(wire.encode_json(wire.NOTE, 1, 2, fields, b"body"))
    assert frame.json() == fields
    assert frame.body == b"body"
    frame.head.decode("ascii")


@pytest.mark.parametrize("head", [b"", b"[1]", b"3", b"{", b"\xff", b'"text"'])
def test_heads_that_are_no_json_object(head: bytes) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.Frame(22, 0, 0, head, b"").json()


@given(st.binary(max_size=100))
def test_any_head_is_an_object_or_a_protocol_error(head: bytes) -> None:
    try:
        assert isinstance(wire.Frame(22, 0, 0, head, b"").json(), dict)
    except wire.ProtocolError:
        with pytest.raises((ValueError, AssertionError)):
            assert isinstance(json.loads(head.decode("utf-8", "surrogateescape")), dict)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), u32, u32, u32, u32)))
def test_lease_records(records: list[tuple[int, ...]]) -> None:
    head = b"".join(wire.LEASE_RECORD.pack(*record) for record in records)
    assert wire.lease_records(head) == records


@pytest.mark.parametrize("read", [wire.lease_records, wire.scored_records])
def test_ragged_records(read: object) -> None:
    assert callable(read)
    with pytest.raises(wire.ProtocolError):
        read(b"x")


def test_layouts_are_fixed() -> None:
    assert (wire.HEADER.size, wire.LEASE_RECORD.size, wire.SCORED_RECORD.size) == (20, 24, 60)
    assert wire.encode(18, 1, 2, b"hh", b"b") == struct.pack("<BBHIIII", 18, 0, 0, 1, 2, 2, 1) + b"hhb"


def test_numbers_of_kinds_are_unique() -> None:
    kinds = {
        name: value
        for name, value in vars(wire).items()
        if name.isupper() and isinstance(value, int) and not name.endswith(("_CAP", "_SIGNAL")) and "EXIT_" not in name
    }
    assert len(set(kinds.values())) == len(kinds), kinds
