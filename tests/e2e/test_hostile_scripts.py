"""Workers that break the protocol, and files that a script leaves under names that lead elsewhere.

Scripts are trusted, but what they do may be steered by their inputs, and a library may scribble on descriptors that
are not its own: it costs the item, never the run, and nothing outside of OUT changes.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.driver import Job

FLAGS = ("--mini-batch-size", "1", "--workers", "2", "--max-retries", "0")
OTHERS = [f"item{number:03d}.txt" for number in range(8) if number != 3]
PRECIOUS = b"precious\n" * 1000

BREAKS = (
    *(
        "large_head",
        "large_body",
        "bits_where_zeros_belong",
        "garbage",
        "other_epoch",
        "other_incarnation",
        "unknown_kind",
    ),
    *("deep_json", "half_a_frame", "write_everywhere", "close_everything"),
)


def hostile(job: Job, what: str) -> Path:
    """The job; a file of the user's outside of OUT that is to stay as it is."""
    victim = job.folder / "victim" / "file"
    victim.parent.mkdir()
    victim.write_bytes(PRECIOUS)
    os.utime(victim, ns=(10**18, 10**18))
    job.script("hostile", HOSTILE=what, VICTIM=victim)
    job.items(8)
    return victim


@pytest.mark.parametrize("what", BREAKS)
def test_a_worker_that_breaks_the_protocol_costs_its_item(job: Job, what: str) -> None:
    hostile(job, what)
    job.run(*FLAGS, limit=30).expect(0)
    assert job.out.rows == OTHERS
    assert job.out.summary["items_quarantined"] == 1
    assert {first for _, first, _ in job.out.charged()} == {3}, "somebody else was charged"
    job.batchctl("verify", "out").expect(0)


def test_a_worker_whose_page_is_cut_short_ends_the_run_for_nobody_else(job: Job) -> None:
    """The shared page is a file of both sides: cut by one, the other's look at it would be a SIGBUS."""
    hostile(job, "truncate_everything")
    ran = job.run(*FLAGS, limit=30)
    assert ran.code == 0, ran
    assert [name for name in job.out.rows if name != "item003.txt"] == OTHERS


# what the script does -> files that OUT holds then, beside the results
FILES: dict[str, list[str]] = {
    "our_names": [],
    "run_directory": [],
    "result": [],
    "links": ["good"],
    "hard_link": ["hard"],
    "special": ["good"],
    "deep": ["/".join(["d" * 200] * 15 + ["end"])],
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_lead_elsewhere_are_not_published(job: Job, what: str) -> None:
    victim = hostile(job, what)
    ran = job.run(*FLAGS, limit=30).expect(0)
    found = published(job)
    assert found == FILES[what], ran
    assert set(OTHERS) <= set(job.out.rows)
    assert ("item003.txt" in job.out.rows) is bool(found)
    assert (victim.read_bytes(), victim.stat().st_mtime_ns) == (PRECIOUS, 10**18)
    assert [path for path in job.out.path.rglob("*") if path.is_symlink()] == []
    assert job.out.leftovers() == []
    if what == "hard_link":
        assert (job.out.path / "hard").stat().st_ino != victim.stat().st_ino
    job.batchctl("verify", "out").expect(0)


def test_names_that_are_not_text_are_published_as_they_are(job: Job) -> None:
    hostile(job, "names")
    job.run(*FLAGS).expect(0)
    assert len(published(job)) == 8
    assert (os.fsencode(job.out.path) + b"/\xff\xfe") in [os.fsencode(path) for path in job.out.path.iterdir()]
    ran = job.batchctl("verify", "out").expect(0)
    assert b"\x1b" not in ran.stdout
    for record in job.batchctl("inspect", "out").expect(0).lines:
        assert record["type"]


def test_what_is_written_above_the_folder_never_gets_to_out(job: Job) -> None:
    hostile(job, "above")
    job.run(*FLAGS).expect(0)
    assert published(job) == []
    assert job.out.leftovers() == []


def published(job: Job) -> list[str]:
    found = [str(path.relative_to(job.out.path)) for path in job.out.path.rglob("*") if not path.is_dir()]
    return sorted(name for name in found if not name.startswith(".batchctl/") and name != "predictions.csv")
