"""How many threads a preloaded library is told to use."""

from __future__ import annotations

import os

import pytest

from batchctl.guest.threads import asked

ALL = len(os.sched_getaffinity(0))
CASES = {
    "set": ({"A": "4"}, 4),
    "the first counts": ({"A": "4", "B": "2"}, 4),
    "the second, where the first is not set": ({"B": "2"}, 2),
    "nested loops": ({"A": "4,2"}, 4),
    "spaces": ({"A": " 4 "}, 4),
    "none: the cpus": ({}, ALL),
    "empty": ({"A": "", "B": "2"}, 2),
    "zero": ({"A": "0"}, ALL),
    "negative": ({"A": "-1"}, ALL),
    "no number": ({"A": "four", "B": "3"}, 3),
    "far too large": ({"A": "99999999"}, ALL),
}


@pytest.mark.parametrize("case", CASES)
def test_asked(case: str) -> None:
    environment, expected = CASES[case]
    assert asked(environment, ("A", "B")) == expected
