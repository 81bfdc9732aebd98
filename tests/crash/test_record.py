"""The published figures: pages say what the data says, and totals are sums."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import record
from tests.crash.__main__ import FAMILIES, main
from tests.crash.campaign import beside_python
from tests.crash.findings import COUNTS, Asked, Findings
from tests.crash.record import FILE, PAGES, ROOT, Entry, filled, is_of_this_tree, publish, tables, totals


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


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a campaign of this test records."""
    monkeypatch.setattr(record, "FILE", tmp_path / "figures.json")
    monkeypatch.setattr(record, "PAGES", ())
    return tmp_path / "figures.json"


@pytest.mark.parametrize("family", FAMILIES)
def test_an_option_that_a_family_does_not_know_is_refused(family: str, figures: Path) -> None:
    """Misspelt and passed over, it would be published as a campaign that it was not."""
    assert main([family, "--set", "no-such-option=1", "--record"]) == 2
    assert not figures.exists()


WRONG = {
    "model": ("mutants=No", "processes=none"),
    "kill": ("job=", "job=nixed", "workers=0"),
    "syscall": ("shard=0/4", "jobs=rows,,", "lanes=0"),
    "error": ("shard=9/8", "starts=-1"),
    "power": ("fs=ext5", "lanes=two"),
    "block": ("job=nixed",),
    "full": ("case=row",),
    "oom": ("kind=larger",),
    "race": ("case=no such case",),
    "stops": ("case=no such case",),
    "corrupt": ("real=-1",),
    "fuzz": ("target=no such target",),
}


@pytest.mark.parametrize(("family", "option"), [(family, one) for family, all_ in WRONG.items() for one in all_])
def test_a_value_that_a_family_cannot_use_is_refused(family: str, option: str, figures: Path) -> None:
    assert main([family, "--set", option, "--record"]) == 2
    assert not figures.exists()


@pytest.mark.parametrize(
    "words", [["-n", "-1"], ["--set", "job"], ["--set", "job=mixed", "--set", "job=brief"]], ids=str
)
def test_what_cannot_be_meant_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["kill", *words])
    assert error.value.code == 2


def test_a_campaign_that_did_nothing_is_no_success_and_not_recorded(
    figures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.crash.model.family.campaign", lambda asked: Findings({"model_states": 0, "lost": 0}))
    assert main(["model", "--record", "--work", str(tmp_path / "work")]) == 3
    assert not figures.exists()
    monkeypatch.setattr("tests.crash.model.family.campaign", lambda asked: Findings(not_run="no disk"))
    assert main(["model", "--record", "--work", str(tmp_path / "work")]) == 3
    assert json.loads(figures.read_text())["columns"][0]["not_run"] == {"model": "no disk"}


def test_only_the_command_of_this_tree_is_published(figures: Path, tmp_path: Path) -> None:
    """The digest is this tree's; another executable may be made of anything."""
    assert is_of_this_tree(beside_python())
    with pytest.raises(SystemExit):
        main(["model", "--record", "--batchctl", str(tmp_path / "batchctl")])
    assert not figures.exists()


def test_what_the_same_seed_does_again_is_not_counted_twice(figures: Path) -> None:
    def add(family: str, seed: int, **counts: int) -> dict[str, int]:
        entry = Entry(family, "c0ffee", seed, f"make crash FAMILY={family}", counts, violations=0)
        publish(entry, code="a", machine="2 cpus", seconds=60)
        found: dict[str, int] = json.loads(figures.read_text())["columns"][0]["totals"]
        return found

    add("fuzz", 1, fuzz_inputs=10)
    assert add("fuzz", 1, fuzz_inputs=30)["fuzz_inputs"] == 30
    assert add("fuzz", 1, fuzz_inputs=20)["fuzz_inputs"] == 30
    assert add("fuzz", 2, fuzz_inputs=20)["fuzz_inputs"] == 50
    add("kill", 1, kills=10)
    assert add("kill", 1, kills=10)["kills"] == 20  # of real processes: never the same twice


def test_a_broken_promise_is_told_to_a_reader_in_a_hurry() -> None:
    entry = {"counts": {"kills": 3, "lost": 0}, "violations": 2, "commit": "c0ffee", "command": "-", "seconds": 1}
    other = {**entry, "counts": {"kills": 4, "power_cuts": 5, "lost": 0}, "violations": 1}
    columns = [
        {"code": code, "machines": [], "not_run": {}, "entries": [one], "totals": totals([one])}
        for code, one in (("new", entry), ("old", other))
    ]
    told = tables({"columns": columns})["newest"].splitlines()
    assert told[0] == "| what was done | to the newest code | in all |"
    assert "| **promises broken** | **2** | **3** |" in told
    assert "| **rows or files lost** | **0** | **0** |" in told
    assert [line.split(" | ")[1:] for line in told[2:4]] == [["3", "7 |"], ["0", "5 |"]]


def test_a_campaign_that_is_out_of_time_begins_nothing(tmp_path: Path) -> None:
    from tests.crash.model.family import campaign

    found = campaign(Asked(100_000, 1, tmp_path, "batchctl", until=0.0, options={"mutants": "no"}))
    assert found.counts == {"model_states": 0}
