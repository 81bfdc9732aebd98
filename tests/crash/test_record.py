"""The published figures: pages say what the data says, and totals are sums."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import record
from tests.crash.findings import COUNTS, Asked, Findings
from tests.crash.record import FILE, PAGES, ROOT, Entry, filled, publish, tables, totals


def test_the_pages_hold_the_tables_of_the_data() -> None:
    made = tables(json.loads(FILE.read_text(encoding="utf-8")))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert filled(text, made) == text, f"{page.name}: run python -m tests.crash.record"


def test_totals_are_the_sums_of_what_was_counted() -> None:
    for column in json.loads(FILE.read_text(encoding="utf-8"))["columns"]:
        assert column["totals"] == totals(column["entries"])
        assert {name for entry in column["entries"] for name in entry["counts"]} <= set(COUNTS)


def test_a_change_of_the_code_starts_a_column_and_a_campaign_adds_to_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- reliability: figures -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(record, "FILE", tmp_path / "figures.json")
    monkeypatch.setattr(record, "PAGES", (page,))
    for code, kills, lost in (("a", 30, 1), ("b", 5, 0), ("b", 7, 0)):
        entry = Entry("kill", "c0ffee", 1, "make crash", {"kills": kills, "lost": lost}, violations=lost)
        publish(entry, code=code, machine="2 cpus", seconds=60)
    publish(
        Entry("xfs", "c0ffee", 1, "make crash", {}, 0), code="b", machine="2 cpus", seconds=1, not_run="no mkfs.xfs"
    )
    columns = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["columns"]
    assert [(one["code"], one["totals"]["kills"], one["totals"]["violations"]) for one in columns] == [
        ("b", 12, 0),
        ("a", 30, 1),
    ]
    assert columns[0]["not_run"] == {"xfs": "no mkfs.xfs"}
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| random kill -9 of real processes | 12 | 30 |" in text.splitlines()


def test_what_is_counted_has_a_name() -> None:
    with pytest.raises(ValueError, match="kilns"):
        Findings({"kilns": 1})


def test_the_command_runs_a_family_and_tells_it_by_exit_code_and_json(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    command = [sys.executable, "-m", "tests.crash", "model", "-n", "200", "--set", "mutants=no", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text(encoding="utf-8"))["counts"] == {"model_states": 200}


def test_a_campaign_that_is_out_of_time_begins_nothing(tmp_path: Path) -> None:
    from tests.crash.model.family import campaign

    found = campaign(Asked(100_000, 1, tmp_path, "batchctl", until=0.0, options={"mutants": "no"}))
    assert found.counts == {"model_states": 0}
