"""A damaged file unpacks nothing and says so; a file that lies with right digests gets nothing outside either."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.launcher.box import Box, Said
from tests.launcher.format import FOOTER, Entry, Footer, contents, digest, footer_for, frame, manifest_text


def assert_refused(box: Box, said: Said, words: str = "", *, lied: bool = False) -> None:
    assert said.code == 70, (said.code, said.out, said.err)
    lines = said.err.splitlines()
    assert lines[0].startswith("batchctl: error: this file cannot be used: ")
    assert lines[1:] == [
        f"  where: {box.file}",
        "  fix: copy it again and compare its SHA-256 with the published one",
    ]
    assert words in lines[0]
    assert said.out == ""
    # Only what has right digests gets as far as making its root, and no further.
    assert box.names() == []
    assert sorted(p.name for p in box.home.iterdir()) == (["batchctl", "cache"] if lied else ["batchctl"])


def run_bytes(box: Box, data: bytes) -> Said:
    box.file.unlink()  # written in place the file would be "busy"
    box.file.write_bytes(data)
    box.file.chmod(0o755)
    return box.run()


def test_a_file_that_was_cut_short(box: Box) -> None:
    whole, program = box.file.read_bytes(), len(box.launcher.read_bytes())
    dice = random.Random(5)
    ends = [len(whole) - 1, len(whole) - 100, len(whole) - FOOTER, len(whole) - FOOTER - 1, program, program + 1]
    for end in [*ends, *(dice.randrange(program, len(whole)) for _ in range(40))]:
        assert_refused(box, run_bytes(box, whole[:end]), "it was not copied whole: its end is missing")


def test_a_file_whose_end_is_not_written_yet(box: Box) -> None:
    whole = box.file.read_bytes()
    half = whole[: len(whole) // 2]
    assert_refused(box, run_bytes(box, half + bytes(len(whole) - len(half))), "it was not copied whole")


def test_a_missing_or_doubled_middle(box: Box) -> None:
    whole = box.file.read_bytes()
    at = len(whole) - 100_000
    assert_refused(box, run_bytes(box, whole[: at - 4096] + whole[at:]), f"and should have {len(whole)}")
    assert_refused(box, run_bytes(box, whole[:at] + whole[at - 4096 :]), f"and should have {len(whole)}")


@pytest.mark.parametrize("extra", [b"\n", b"\0" * 300, b"x" * 5000], ids=len)
def test_something_that_follows_the_end(box: Box, extra: bytes) -> None:
    whole = box.file.read_bytes()
    assert_refused(box, run_bytes(box, whole + extra), f"{len(extra)} bytes follow its end")


def test_every_byte_of_the_footer(each_box: Box) -> None:
    whole = each_box.file.read_bytes()
    for at in range(len(whole) - FOOTER, len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << (at % 8)
        assert_refused(each_box, run_bytes(each_box, bytes(changed)), "it is damaged")


@pytest.mark.slow
def test_bytes_of_the_payload(box: Box) -> None:
    whole = box.file.read_bytes()
    start = len(box.launcher.read_bytes())
    dice = random.Random(7)
    for at in [start, len(whole) - FOOTER - 1, *(dice.randrange(start, len(whole) - FOOTER) for _ in range(200))]:
        changed = bytearray(whole)
        changed[at] ^= 1 << dice.randrange(8)
        assert_refused(box, run_bytes(box, bytes(changed)), "its payload does not match its digest")


def test_a_byte_of_the_launcher_that_it_can_live_with(box: Box) -> None:
    whole = bytearray(box.file.read_bytes())
    at = whole.index(b"batchctl does not run setuid")
    whole[at] ^= 0x20
    assert_refused(box, run_bytes(box, bytes(whole)), "its launcher does not match its digest")


def test_a_damaged_file_stops_before_other_roots_are_tried(box: Box) -> None:
    whole = bytearray(box.file.read_bytes())
    whole[-FOOTER - 1] ^= 1
    (box.home / "open").mkdir()
    (box.home / "open").chmod(0o777)
    box.cache.mkdir(mode=0o700)
    box.env.update(BATCHCTL_CACHE=str(box.home / "open"), CACHE_DIRECTORY=str(box.cache))
    said = run_bytes(box, bytes(whole))
    assert (said.code, list(box.cache.iterdir()), list((box.home / "open").iterdir())) == (70, [], [])


# --- lies: every digest is right --------------------------------------------------------------------------------------


def lie(box: Box, manifest: bytes, raw: bytes, payload: bytes | None = None, **fields: object) -> Said:
    program = box.launcher.read_bytes()
    packed = frame(manifest + raw) if payload is None else payload
    footer = footer_for(program, packed, manifest, raw=len(manifest) + len(raw))
    return run_bytes(box, program + packed + dataclasses.replace(footer, **fields).packed())


PROGRAM = Entry(b"#!/bin/sh\necho started\n", "0755")


def lines(*more: str, program: bool = True) -> bytes:
    """A manifest with these lines in their order; every file is empty but the program, which is last."""
    last = [f"f 0755 {len(PROGRAM.content)} {digest(PROGRAM.content).hex()} batchctl"] if program else []
    return "\n".join(["batchctl-tree 1 1.0", *more, *last, ""]).encode()


def empty(path: str, *, mode: str = "0644", size: str = "0") -> str:
    return f"f {mode} {size} {digest(b'').hex()} {path}"


LIES = [
    pytest.param([empty("../evil")], id="dots first"),
    pytest.param([empty("a/../../evil")], id="dots inside"),
    pytest.param([empty("a/..")], id="dots last"),
    pytest.param([empty("/tmp/batchctl-evil")], id="absolute"),
    pytest.param([empty("a//b")], id="empty part"),
    pytest.param([empty("a/")], id="folder"),
    pytest.param([empty("./a")], id="one dot"),
    pytest.param([empty("")], id="no name"),
    pytest.param([empty("a b")], id="space"),
    pytest.param([empty("a\x1bb")], id="control character"),
    pytest.param([empty("a\0b")], id="zero byte"),
    pytest.param([empty("a/" + "n" * 256)], id="long name"),
    pytest.param([empty("/".join(["d"] * 600))], id="long path"),
    pytest.param([empty("a"), empty("a")], id="twice"),
    pytest.param([empty("b"), empty("a")], id="not sorted"),
    pytest.param([empty("a"), empty("a/b")], id="below a file"),
    pytest.param([empty("a"), empty("a-b"), empty("a/b")], id="below a file, not next to it"),
    pytest.param(["l .. a", empty("a/b")], id="below a link out"),
    pytest.param(["l b a", empty("a/x"), empty("b/y")], id="below a link inside"),
    pytest.param(["l .. a"], id="link to the folder above"),
    pytest.param(["l ../.. a/b"], id="link far up"),
    pytest.param(["l ../../x a/b"], id="link out"),
    pytest.param(["l b/../../x a"], id="link out by a detour"),
    pytest.param(["l /etc/passwd a"], id="absolute link"),
    pytest.param(["l  a"], id="empty link"),
    pytest.param([empty("a", mode="4755")], id="setuid"),
    pytest.param([empty("a", mode="0777")], id="0777"),
    pytest.param([empty("a", mode="755")], id="short mode"),
    pytest.param([empty("a", size="18446744073709551615")], id="2^64 - 1"),
    pytest.param([empty("a", size="999999999999")], id="terabyte"),
    pytest.param([empty("a", size="00")], id="leading zero"),
    pytest.param([empty("a", size="-1")], id="negative"),
    pytest.param([empty("a", size="1")], id="one byte too many"),
    pytest.param([empty("MANIFEST")], id="the manifest's own name"),
    pytest.param([empty("MANIFEST/x")], id="below the manifest"),
    pytest.param(["d 0755 a"], id="unknown kind"),
    pytest.param(["f 0644 0 abc a"], id="short digest"),
    pytest.param([""], id="empty line"),
    pytest.param(["l"], id="half a line"),
]


@pytest.mark.parametrize("more", LIES)
def test_a_list_of_files_that_lies(each_box: Box, more: list[str]) -> None:
    assert_refused(each_box, lie(each_box, lines(*more), PROGRAM.content), "its list of files", lied=True)


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(lines(program=False) + b"\n", id="no program"),
        pytest.param(lines(empty("batchctl", mode="0644"), program=False), id="a program that is none"),
        pytest.param(lines("l x batchctl", program=False), id="a link as the program"),
        pytest.param(lines()[:-1], id="no newline at the end"),
        pytest.param(lines() + b"x", id="something after the end"),
        pytest.param(lines().replace(b"tree 1", b"tree 2"), id="another version"),
        pytest.param(lines().replace(b"1 1.0", b"1 1.1"), id="not the id's version"),
        pytest.param(lines().replace(b"\n", b"\r\n"), id="carriage returns"),
    ],
)
def test_a_list_of_files_with_a_wrong_frame(each_box: Box, manifest: bytes) -> None:
    assert_refused(each_box, lie(each_box, manifest, PROGRAM.content), "its list of files", lied=True)


def test_the_sample_of_these_lies_would_run(each_box: Box) -> None:
    assert lie(each_box, lines(empty("a")), PROGRAM.content).out == "started\n"


HEAD = lines() + PROGRAM.content


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(frame(HEAD[:-1]), id="one byte short"),
        pytest.param(frame(HEAD + b"x"), id="one byte long"),
        pytest.param(frame(HEAD + b"x" * 3_000_000), id="much too long"),
        pytest.param(frame(lines()), id="no content"),
        pytest.param(frame(b""), id="nothing"),
        pytest.param(frame(HEAD)[:-1], id="checksum cut"),
        pytest.param(frame(HEAD)[:-4] + b"abcd", id="checksum wrong"),
        pytest.param(frame(HEAD, checksum=False), id="no checksum"),
        pytest.param(frame(HEAD) + frame(b""), id="two frames"),
        pytest.param(frame(HEAD) + b"x", id="a byte after the frame"),
        pytest.param(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + frame(HEAD), id="a skippable frame first"),
        pytest.param(HEAD, id="not packed"),
        pytest.param(b"\x28\xb5\x2f\xfd", id="only a magic number"),
        pytest.param(b"\x28\xb5\x2f\xfd\x04\xff" + bytes(30), id="a window of terabytes"),
    ],
)
def test_a_payload_that_lies(each_box: Box, payload: bytes) -> None:
    said = lie(each_box, lines(), PROGRAM.content, payload)
    assert said.code == 70
    assert "it is damaged: its " in said.err
    assert each_box.names() == []


FIELDS: list[tuple[str, Mapping[str, object]]] = [
    ("payload before the file", {"offset": 0}),
    ("lengths that wrap round", {"offset": 2**64 - 1000}),
    ("length wraps", {"length": 2**64 - 1}),
    ("unpacked huge", {"unpacked": 2**62}),
    ("manifest longer than all", {"manifest_length": 2**40}),
    ("manifest empty", {"manifest_length": 0}),
    ("no entries", {"entries": 0}),
    ("many entries", {"entries": 2**32 - 1}),
    ("reserved", {"reserved": (1, 0)}),
    ("reserved too", {"reserved": (0, 1)}),
    ("id with a slash", {"build_id": b"../1-0123456789abcdef"}),
    ("id with a dot first", {"build_id": b".0-0123456789abcdef"}),
    ("id of another manifest", {"build_id": b"1.0-0123456789abcdef"}),
    ("id without end", {"build_id": b"1" * 64}),
    ("id with something behind its zeros", {"build_id": b"1.0\0x"}),
    ("empty id", {"build_id": b""}),
    ("another magic", {"magic": b"BATCHCTL-FOOTER2"}),
]


@pytest.mark.parametrize("fields", [f for _, f in FIELDS], ids=[name for name, _ in FIELDS])
def test_a_footer_that_lies(each_box: Box, fields: Mapping[str, object]) -> None:
    assert_refused(each_box, lie(each_box, lines(), PROGRAM.content, **fields))


def test_a_footer_that_counts_one_entry_too_many(each_box: Box) -> None:
    said = lie(each_box, lines(), PROGRAM.content, entries=2)
    assert_refused(each_box, said, "line 3 of its list of files is not right", lied=True)


def test_these_helpers_pack_as_pack_does(box: Box, tmp_path: Path) -> None:
    program, manifest = box.launcher.read_bytes(), manifest_text(box.tree)
    raw = manifest + contents(box.tree)
    footer: Footer = footer_for(program, frame(raw), manifest, raw=len(raw))
    assert box.file.read_bytes() == program + frame(raw) + footer.packed()
