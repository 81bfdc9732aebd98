from __future__ import annotations

import html
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from batchctl.errors import EXIT_CODE_MEANING, ExitCode
from batchctl.model.progress import RunState
from batchctl.report.markdown import LIMIT, error_markdown, summary_markdown
from batchctl.report.wording import printable

from .records import CAUSE, SUMMARY, summary

NASTY = (
    "a|b", "a\\|b", "`x`", "``", "<script>alert(1)</script>", "</details>", "</code>", "![x](http://h/)", "[x](y)",
    "# not a heading", "*b* _i_ ~~s~~", "a\nb", "a\r\nb", "\x1b[2J", "\u202eright to left", "&lt;", "\\", "```", "~~~~",
    "| --- |", "<!-- ", "www.example.com", "http://example.com", "@somebody", "a\x00b", "\udcff", "$x$",
)  # fmt: skip


def tokens(text: str) -> list[Token]:
    """What a CommonMark reader with tables makes of it, inner tokens in their place."""
    flat: list[Token] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        flat += [token, *(token.children or [])]
    return flat


def cells(text: str) -> list[list[str]]:
    """The rows of all tables, as text without tags."""
    rows: list[list[str]] = []
    inside = False
    for token in tokens(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            rows[-1].append("")
            inside = True
        elif token.type in ("td_close", "th_close"):
            inside = False
        elif inside and token.type in ("text", "text_special"):
            rows[-1][-1] += token.content
    return rows


def told(**changes: Any) -> str:
    return summary_markdown(summary(**changes))


def test_a_finished_run() -> None:
    text = told()
    assert text.startswith("### batchctl: digits: finished\n\nFinished; failures, if any, within the threshold.\n\n")
    assert [row for row in cells(text) if len(row) == 2] == [
        ["", ""], ["items", "10,000"], ["succeeded", "9,997"], ["failed", "3 (tolerated: 10)"], ["rows", "9,997"],
        ["mini-batches", "1,000"], ["attempts", "1,012, 9 failed, 2 lost, 1 timed out"], ["time", "20s"],
        ["rate", "500/s"], ["workers", "2"],
    ]  # fmt: skip
    failures = [row for row in cells(text) if len(row) == 5]
    assert failures[1] == ["failed", "3", "9", r"ValueError: cannot read 'a\x1b[2J.png'", r"in/a\x1b[2J.png"]
    assert text.endswith("- a note\n\nNext:\n\n```sh\nbatchctl verify out\n```\n")
    assert "Traceback (most recent call last):" in text


@pytest.mark.parametrize("code", list(ExitCode), ids=lambda code: code.name)
def test_the_exit_code_is_explained(code: ExitCode) -> None:
    text = html.unescape(told(exit_code=int(code), state=RunState.FAILED))
    assert text.splitlines()[0] == "### batchctl: digits: failed" + (f", exit code {int(code)}" if code else "")
    assert EXIT_CODE_MEANING[code][1:] in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"items_succeeded": 10}, ["left to do", "9,987"], id="items left"),
        pytest.param({"epochs": 3}, ["resumed", "2 times"], id="resumed"),
        pytest.param({"error_threshold": "-1"}, ["tolerated: any number"], id="no threshold"),
        pytest.param({"next_command": "batchctl run --env A=***"}, ["put back what *** stands for"], id="masked"),
        pytest.param({"causes": (CAUSE,) * 23}, ["And 3 more causes in summary.json."], id="many causes"),
        pytest.param({"next_command": "x" * 5000}, ["too long to be shown here"], id="a very long command"),
    ],
)
def test_it_says(changes: dict[str, Any], words: list[str]) -> None:
    text = html.unescape(told(**changes))
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    "absent",
    [
        pytest.param({"epochs": 2}, id="a rate after a resume"),
        pytest.param({"duration_s": 0.0}, id="a rate without a time"),
    ],
)
def test_no_rate_is_made_up(absent: dict[str, Any]) -> None:
    assert "rate" not in {row[0] for row in cells(told(**absent))}


def nasty_summary(text: str) -> str:
    cause = CAUSE._replace(kind=text, error=text, message=text, example_path=text, example_traceback=f"x\n{text}\ny")
    return told(name=text, output=text, notes=(text,), next_command=text, causes=(cause, cause), error_threshold=text)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_nothing_of_a_name_is_markup(text: str) -> None:
    found, plain = tokens(nasty_summary(text)), tokens(nasty_summary("plain"))
    shape = [(token.type, token.tag, token.content if token.type.startswith("html") else "") for token in found]
    expected = [(token.type, token.tag, token.content if token.type.startswith("html") else "") for token in plain]
    # How often text is cut into runs at an entity is the reader's own affair.
    runs = ("text", "text_special")
    assert [one for one in shape if one[0] not in runs] == [one for one in expected if one[0] not in runs]
    message = printable(f"{text}: {text}")
    assert [row[3] for row in cells(nasty_summary(text)) if len(row) == 5][1:] == [message, message]


@given(st.text(max_size=40))
def test_no_text_is_markup(text: str) -> None:
    test_nothing_of_a_name_is_markup("x" + text + "x")


def test_a_fence_cannot_be_closed_from_inside() -> None:
    blocks = [
        token.content for token in tokens(error_markdown("a\n```\n````\n# b", ExitCode.USAGE)) if token.type == "fence"
    ]
    assert blocks == ["a\n```\n````\n# b\n"]


@pytest.mark.parametrize("char", ["x", "|", "\U0001f600", "\U000e0001", "`", "\n"], ids=ascii)
def test_it_is_bounded(char: str) -> None:
    long, much = char * 100_000, char * 20_000  # a hundred of these are too much as well
    cause = CAUSE._replace(kind=much, error=much, message=much, example_path=much, example_traceback=(much + "\n") * 50)
    text = summary_markdown(
        summary(name=long, output=long, notes=(much,) * 100, causes=(cause,) * 100, next_command=long), error=long
    )
    assert len(text.encode()) <= LIMIT
    assert len(error_markdown(long, ExitCode.STORAGE).encode()) <= LIMIT


def test_an_error_has_its_words_and_the_counts_of_the_run() -> None:
    text = summary_markdown(SUMMARY._replace(exit_code=4, state=RunState.FAILED), error="init() failed\nfix: mend it")
    assert "```\ninit() failed\nfix: mend it\n```\n\n| | |\n" in text
