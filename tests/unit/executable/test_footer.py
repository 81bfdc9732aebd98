"""The footer: a byte flipped anywhere in the file is found, and the part that it lies in is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchctl.errors import ExecutableDamagedError, UsageError
from batchctl.executable.footer import SIZE, damages, read_footer
from tests.unit.executable.pretend import blake, write_executable

MANIFEST = b"batchctl-tree 1 0.1.0\n"
LAUNCHER, PAYLOAD = 13, 700


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_executable(tmp_path / "batchctl", manifest=MANIFEST)
    return tmp_path / "batchctl"


def test_a_sound_file(file: Path) -> None:
    footer = read_footer(file)
    assert (footer.offset, footer.length, footer.entries, footer.manifest_length) == (LAUNCHER, PAYLOAD, 0, 22)
    assert (footer.build_id, footer.manifest_digest) == (f"0.1.0-{blake(MANIFEST).hex()[:16]}", blake(MANIFEST).hex())
    assert damages(file, footer) == ()


@pytest.mark.parametrize("offset", [0, LAUNCHER - 1, LAUNCHER, LAUNCHER + PAYLOAD - 1, -SIZE, -SIZE + 20, -32, -1])
def test_a_flipped_byte_is_found(file: Path, offset: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    file.write_bytes(data)
    if offset < 0:
        with pytest.raises(ExecutableDamagedError) as refused:
            read_footer(file)
        assert (refused.value.where, "copy" in refused.value.remedy) == (str(file), True)
        return
    part = "launcher" if offset < LAUNCHER else "payload"
    assert [part in problem for problem in damages(file, read_footer(file))] == [True]


# name: what becomes of the file
CUT = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\n",
    "a byte less in the payload": lambda data: data[:20] + data[21:],
    "another program": lambda data: Path("/bin/sh").read_bytes(),
}


@pytest.mark.parametrize("case", CUT)
def test_a_file_of_another_length_is_refused(file: Path, case: str) -> None:
    file.write_bytes(CUT[case](file.read_bytes()))
    with pytest.raises(ExecutableDamagedError):
        read_footer(file)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_what_cannot_be_read_is_no_damage(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_footer(tmp_path / name)
