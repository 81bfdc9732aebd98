"""learned.json: what is kept, what is ignored and said, what outlives --fresh."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from batchctl.files import RealDisk
from batchctl.model.node import Footprint
from batchctl.plan.fingerprint import FingerprintRequest, take_fingerprint
from batchctl.run.learned import KEPT, Learned, LearnedKey, learned_key, read_learned, write_learned
from batchctl.run.reset import start_over
from batchctl.store.layout import RunLayout
from batchctl.store.state_directory import make_run_directory

GIB = 1 << 30
KEY = LearnedKey("aa", "bb", "A100")


def learned(key: LearnedKey = KEY, **changes: Any) -> Learned:
    figures = {"memory": 2 * GIB, "gpu": 3 * GIB, "items_fitted": None, "workers": 4, "seen": 1.5e9}
    return Learned(*key, **(figures | changes))


def test_what_was_written_is_found_by_its_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    assert read_learned(path, KEY) == (None, "")
    made = Learned.of(KEY, Footprint(2 * GIB, 3 * GIB), items_fitted=None, workers=4, seen=1.5e9)
    assert made == learned()
    assert write_learned(path, made) == ""
    assert read_learned(path, KEY) == (made, "")
    assert made.footprint == Footprint(2 * GIB, 3 * GIB, "remembered")
    for other in (KEY._replace(script="x"), KEY._replace(model=""), KEY._replace(gpu_name="H100")):
        assert read_learned(path, other) == (None, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# before, now -> what is kept
RAISED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "more": ({"memory": 1}, {"memory": 2, "workers": 1}, {"memory": 2, "workers": 1}),
    "less": ({"memory": 2}, {"memory": 1, "seen": 2e9}, {"memory": 2, "seen": 2e9}),
    "GPU unknown now": ({"gpu": 5}, {"gpu": None}, {"gpu": 5}),
    "GPU never known": ({"gpu": None}, {"gpu": None}, {"gpu": None}),
    "fewer items fitted": ({"items_fitted": 8}, {"items_fitted": 4}, {"items_fitted": 4}),
    "all fitted now": ({"items_fitted": 8}, {"items_fitted": None}, {"items_fitted": 8}),
}


@pytest.mark.parametrize("case", RAISED)
def test_an_entry_is_raised(case: str, tmp_path: Path) -> None:
    before, now, kept = RAISED[case]
    path = tmp_path / "learned.json"
    write_learned(path, learned(**before))
    write_learned(path, learned(**now))
    assert read_learned(path, KEY) == (learned(**(now | kept)), "")


def test_a_run_that_was_done_and_needed_less_lowers_an_entry_half_of_the_way(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    write_learned(path, learned(memory=8 * GIB, gpu=4 * GIB), done=True)
    write_learned(path, learned(memory=2 * GIB, gpu=None), done=True)
    assert read_learned(path, KEY).learned == learned(memory=5 * GIB, gpu=4 * GIB)
    write_learned(path, learned(memory=2 * GIB, gpu=2 * GIB), done=False)
    assert read_learned(path, KEY).learned == learned(memory=5 * GIB, gpu=4 * GIB)
    write_learned(path, learned(memory=6 * GIB, gpu=2 * GIB), done=True)
    assert read_learned(path, KEY).learned == learned(memory=6 * GIB, gpu=3 * GIB)


def test_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    keys = [LearnedKey(str(number), "") for number in range(KEPT + 5)]
    for key in keys:
        assert write_learned(path, learned(key)) == ""
    write_learned(path, learned(keys[6]))  # used again: not the next to go
    write_learned(path, learned(KEY))
    found = {key for key in [*keys, KEY] if read_learned(path, key).learned}
    assert found == {keys[6], *keys[6:], KEY}
    assert len(json.loads(path.read_bytes())["learned"]) == KEPT


ENTRY = {
    "script": "aa", "model": "bb", "gpu_name": "A100", "memory": 5, "gpu": None, "items_fitted": None, "workers": 1,
    "seen": 1.0,
}  # fmt: skip
# the file -> a phrase of the note, and whether the next write replaces it
USELESS: dict[str, tuple[bytes, str, bool]] = {
    "not JSON": (b"{", "it is damaged", True),
    "empty": (b"", "it is damaged", True),
    "a list": (b"[]", "it is damaged", True),
    "not text": (b"\xff\xfe\x00", "it is damaged", True),
    "deep": (b"[" * 100_000, "it is damaged", True),
    "no format": (b'{"learned": []}', "it is damaged", True),
    "format as text": (b'{"format": "1", "learned": []}', "it is damaged", True),
    "another's": (b'{"format": 1, "learned": {"a": 1}}', "not of this format", True),
    "newer": (b'{"format": 2, "things": 1}', "a newer batchctl wrote it", False),
    "a field is missing": (json.dumps({"format": 1, "learned": [{"script": "aa"}]}).encode(), "is missing", True),
    "a wrong type": (json.dumps({"format": 1, "learned": [ENTRY | {"memory": "5"}]}).encode(), "was expected", True),
    "negative": (json.dumps({"format": 1, "learned": [ENTRY | {"memory": -5}]}).encode(), "out of range", True),
    "huge": (json.dumps({"format": 1, "learned": [ENTRY | {"gpu": 1 << 70}]}).encode(), "out of range", True),
    "seen in a time that no float holds": (
        json.dumps({"format": 1, "learned": [ENTRY | {"seen": 10**400}]}).encode(), "out of range", True
    ),
    "seen never": (json.dumps({"format": 1, "learned": [ENTRY | {"seen": float("nan")}]}).encode(), "of range", True),
}  # fmt: skip


@pytest.mark.parametrize("case", USELESS)
def test_a_file_of_no_use_is_ignored_with_a_note(case: str, tmp_path: Path) -> None:
    data, phrase, replaced = USELESS[case]
    path = tmp_path / "learned.json"
    path.write_bytes(data)
    found = read_learned(path, KEY)
    assert found.learned is None
    assert phrase in found.note and str(path) in found.note
    note = write_learned(path, learned())
    assert (note == "") == replaced
    assert read_learned(path, KEY).learned == (learned() if replaced else None)
    assert replaced or path.read_bytes() == data


def test_a_field_of_a_later_version_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    path.write_text(json.dumps({"format": 1, "learned": [ENTRY | {"colour": "red"}]}))
    assert read_learned(path, KEY) == (Learned(**ENTRY), "")


def test_what_cannot_be_written_is_said_and_links_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text(json.dumps({"format": 1, "learned": [ENTRY]}))
    link = tmp_path / "link" / "learned.json"
    link.parent.mkdir()
    link.symlink_to(target)
    assert read_learned(link, KEY) == (None, "")
    write_learned(link, learned())
    assert not link.is_symlink() and json.loads(target.read_bytes())["learned"] == [ENTRY]
    assert "learned.json was not written: " in write_learned(tmp_path / "nowhere" / "learned.json", learned())


def test_the_key_is_of_contents(tmp_path: Path) -> None:
    script, model = tmp_path / "score.py", tmp_path / "model"
    script.write_text("def run(batch): pass\n")
    model.mkdir()
    (model / "w").write_text("1")

    def key(**changes: Any) -> LearnedKey:
        request = FingerprintRequest(script=script, code=None, model=changes.get("model", model))
        return learned_key(take_fingerprint(request), gpu_name="A100")

    first = key()
    assert first.gpu_name == "A100" and len(first.script) == len(first.model) == 64
    script.touch()
    assert key() == first
    assert key(model=None) == first._replace(model="")
    (model / "w").write_text("2")
    assert key().script == first.script and key().model != first.model


def test_fresh_keeps_it(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "out")
    make_run_directory(RealDisk(), layout)
    assert write_learned(layout.learned, learned()) == ""
    layout.status.write_text("{}")
    start_over(RealDisk(), layout, run_id="ab" * 16)
    assert read_learned(layout.learned, KEY) == (learned(), "")
    assert not layout.status.exists()
