from __future__ import annotations

import pytest

from batchctl.report import wording


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a b.png", "a b.png", id="plain"),
        pytest.param("größe-日本.png", "größe-日本.png", id="letters of any script"),
        pytest.param("a\x1b[2Jb", "a\\x1b[2Jb", id="ESC"),
        pytest.param("a\nb\tc\rd", "a\\nb\\tc\\rd", id="line breaks and tabs"),
        pytest.param("a\x7f\x9b", "a\\x7f\\x9b", id="DEL and C1"),
        pytest.param("a\udcff\udc80", "a\\xff\\x80", id="bytes that are not UTF-8"),
        pytest.param("\u202egnp.exe", "\\u202egnp.exe", id="right-to-left override"),
        pytest.param("a\u2028b", "a\\u2028b", id="line separator"),
        pytest.param("\U000e0001", "\\U000e0001", id="tag character"),
        pytest.param("", "", id="empty"),
    ],
)
def test_what_a_terminal_might_obey_is_escaped(text: str, shown: str) -> None:
    assert wording.printable(text) == shown


def test_a_block_keeps_its_lines() -> None:
    assert wording.printable_block("a\n\tb\x1b\n", indent="> ") == "> a\n>     b\\x1b\n> "


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.00s"),
        (0.254, "0.25s"),
        (1, "1.0s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (60, "1m00s"),
        (185, "3m05s"),
        (3599.6, "1h00m"),
        (7620, "2h07m"),
        (86400 * 3 + 4 * 3600, "3d04h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert wording.duration_text(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (64_000_000, "64 MB"), (999_999, "1.0 MB"), (10**15, "1.0 PB")],
)
def test_sizes(size: int, shown: str) -> None:
    assert wording.size_text(size) == shown


@pytest.mark.parametrize(
    ("number", "noun", "shown"),
    [
        (1, "file", "1 file"),
        (0, "file", "0 files"),
        (2000, "mini-batch", "2,000 mini-batches"),
        (2, "retry", "2 retries"),
        (2, "day", "2 days"),
    ],
)
def test_plurals(number: int, noun: str, shown: str) -> None:
    assert wording.plural(number, noun) == shown


@pytest.mark.parametrize(
    ("rate", "shown"), [(0, "-/s"), (0.05, "3.0/min"), (0.5, "0.5/s"), (99.94, "99.9/s"), (12345.6, "12,346/s")]
)
def test_rates(rate: float, shown: str) -> None:
    assert wording.rate_text(rate) == shown


@pytest.mark.parametrize(
    ("done", "total", "shown"), [(0, 0, "-%"), (0, 3, "0.0%"), (99_999, 100_000, "99.9%"), (3, 3, "100.0%")]
)
def test_everything_is_said_to_be_done_only_when_it_is(done: int, total: int, shown: str) -> None:
    assert wording.percent_text(done, total) == shown


@pytest.mark.parametrize(
    ("numbers", "shown"), [((), ""), ((3,), "3"), ((0, 1, 2, 5), "0-2,5"), ((4, 5, 0), "0,4-5"), ((7, 9, 11), "7,9,11")]
)
def test_ranges(numbers: tuple[int, ...], shown: str) -> None:
    assert wording.ranges_text(numbers) == shown


def test_a_masked_command_says_that_it_will_not_do_as_it_is() -> None:
    assert wording.pasteable("batchctl run") == "batchctl run"
    assert wording.pasteable("batchctl run --env 'A=***'").endswith("   (put back what *** stands for)")


def test_a_cut_is_marked() -> None:
    assert wording.clipped("abcdef", 6) == "abcdef"
    assert wording.clipped("abcdefg", 6) == "abc..."
