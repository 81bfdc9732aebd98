"""What GitHub's runner obeys in a log never gets there by way of a name or a message."""

from __future__ import annotations

import pytest

from batchctl.plan.display import display_name
from batchctl.report.wording import printable, printable_block

# name: text -> how it is shown; the runner takes leading blanks away before it looks
SHOWN: dict[str, tuple[str, str]] = {
    "at the beginning": ("::error::x", "\\x3a:error::x"),
    "behind blanks": ("  ::error::x", "  \\x3a:error::x"),
    "in the middle": ("std::vector", "std::vector"),
    "the old form, anywhere": ("a ##[error]x ##[add-mask]y", "a ##\\x5berror]x ##\\x5badd-mask]y"),
    "neither": ("a # [b] : :c", "a # [b] : :c"),
}


@pytest.mark.parametrize("case", SHOWN.values(), ids=SHOWN)
def test_commands_are_shown_and_not_given(case: tuple[str, str]) -> None:
    text, shown = case
    assert printable(text) == display_name(text) == shown
    assert printable_block(f"a\n{text}", indent=" ") == f" a\n {shown}"
