"""Plans of trees that children helped to list are those made without, byte for byte, whatever the children do."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchctl import processes
from batchctl.plan import listers, lookers
from batchctl.plan.inputs import InputRequest, Listing
from tests.unit.plan import test_lookers
from tests.unit.plan.helpers import dies, noted, sleeps, stops
from tests.unit.plan.test_lookers import TREES
from tests.unit.plan.trees import DIRECTORY, PATH, grow

FOLDERS = 48


@pytest.fixture(autouse=True)
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Children from the first folder on, and none that look at sizes; the pids of those made, all gone in the end."""
    monkeypatch.setattr(processes, "_threads", lambda: 1)  # other tests have imported pandas here
    monkeypatch.setattr(lookers, "SMALL", 1 << 30)
    monkeypatch.setattr(listers, "WORTH_NS", 0)
    monkeypatch.setattr(listers, "WORTH_EACH_NS", 0)
    monkeypatch.setattr(listers, "FEW", 1)
    with noted(monkeypatch) as made:
        yield made


FEW_SIZES = 10  # above that, sizes are not looked at


def deep(root: Path) -> tuple[str, ...]:
    """Files and folders in turn, folders in folders, empty ones, a large one, odd names, links, things that are no
    files, and a way back up."""
    ends = (".", "/a", "/b/c", "/b/d/e", "/z/", "-", "0")
    top = grow(root / "in", *(f"{n:03d}{end}" for n in range(FOLDERS) for end in ends))
    grow(top / "large", *(f"{n:0200d}" for n in range(900)))
    grow(top, b"odd/\xff\xfe", b"odd/a\nb", b"od\xffd/x", "od/x", "od.d/x")
    os.mkfifo(top / "017" / "pipe")
    os.symlink("nowhere", top / "018" / "dangling")
    os.symlink("circle", top / "019" / "circle")
    os.symlink("../..", top / "020" / "loop")
    os.symlink("../021", top / "022" / "way")
    os.symlink("a", top / "023" / "link")
    return ("in",)


def outcome(folder: Path, inputs: tuple[str, ...], *, children: int, **request: object) -> tuple[object, ...]:
    """As there, of a listing that looks at few sizes: where all are wanted, nobody helps to list."""
    return test_lookers.outcome(folder, inputs, children=children, sizes_up_to=FEW_SIZES, **request)


def overlapping(root: Path) -> tuple[str, ...]:
    deep(root)
    return ("in/021", "in", "in/0*", "in/large")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`deep`, made once, for those that change nothing."""
    root = tmp_path_factory.mktemp("deep")
    deep(root)
    return root


WALKED = ("plain", "odd", "several INPUTs", "long names")
ALL = {**{name: TREES[name] for name in WALKED}, "deep": deep, "deep, several INPUTs": overlapping}


@pytest.mark.parametrize("grouping", [PATH, DIRECTORY])
@pytest.mark.parametrize("case", ALL)
def test_the_plan_is_the_same(tmp_path: Path, case: str, grouping: object) -> None:
    inputs = ALL[case](tmp_path)
    expected = outcome(tmp_path, inputs, children=0, grouping=grouping)
    for many in (1, 3):
        assert outcome(tmp_path, inputs, children=many, grouping=grouping) == expected


def test_filters_too(tree: Path, children: list[int]) -> None:
    chosen: dict[str, Any] = {"include": ("0*/**/[ae]", "large/*7"), "exclude": ("0*5/b/**",)}
    expected = outcome(tree, ("in",), children=0, **chosen)
    assert "turned away" in str(expected[2])
    assert children == []
    assert outcome(tree, ("in",), children=2, **chosen) == expected
    assert len(children) == 2
    globbed = ("in/0*/b/*/e",)
    assert outcome(tree, globbed, children=2) == outcome(tree, globbed, children=0)


def test_a_folder_that_cannot_be_listed_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: bytes | int) -> Any:
        if isinstance(path, bytes) and path.endswith(b"/040/b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    expected = outcome(tree, ("in",), children=0)
    assert "040/b" in str(expected[0])
    assert outcome(tree, ("in",), children=2) == expected


def dies_later(channel: socket.socket, **how: Any) -> None:
    for _ in range(2):
        channel.send(answer_to(channel.recv(1 << 18), how))
    os.kill(os.getpid(), signal.SIGKILL)


def answer_to(request: bytes, how: dict[str, Any]) -> bytes:
    number, _, folder = request.partition(b"\0")
    content = listers.quick_list(folder, how["relative_of"](folder), how["choosers"])
    return listers._answer(int(number), content)


def answering(change: Callable[[bytes], bytes]) -> Callable[..., None]:
    def serve(channel: socket.socket, **how: Any) -> None:
        while request := channel.recv(1 << 18):
            channel.send(change(answer_to(request, how)))

    return serve


SERVERS = {
    "dies at once": dies,
    "killed after two answers": dies_later,
    "never answers": sleeps,
    "stopped": stops,
    "wants all met again": answering(lambda answer: answer[:8] + bytes(4) + b"\xff" * 4 + bytes(4)),
    "answers too little": answering(lambda answer: answer[:-1]),
    "answers too much": answering(lambda answer: answer + b"x"),
    "answers for another folder": answering(lambda answer: b"\x7f" + answer[1:]),
    "answers one byte": answering(lambda answer: b"?"),
}


@pytest.mark.parametrize("case", SERVERS)
def test_a_bad_child_makes_no_bad_plan(
    tree: Path, case: str, monkeypatch: pytest.MonkeyPatch, children: list[int]
) -> None:
    expected = outcome(tree, ("in",), children=0)
    monkeypatch.setattr(listers, "serve", SERVERS[case])
    assert outcome(tree, ("in",), children=2) == expected
    assert len(children) == 2


def test_no_children_where_it_is_not_worth_it(tree: Path, monkeypatch: pytest.MonkeyPatch, children: list[int]) -> None:
    for name in ("FEW", "WORTH_NS", "WORTH_EACH_NS"):
        with monkeypatch.context() as patch:
            patch.setattr(listers, name, 1 << 60)
            outcome(tree, ("in",), children=2)
            assert children == [], name
    outcome(tree, ("in",), children=2)
    assert len(children) == 2


def test_nobody_helps_where_all_sizes_are_looked_at(tree: Path, children: list[int]) -> None:
    test_lookers.outcome(tree, ("in",), children=2)
    assert children == []


def test_a_listing_left_midway_leaves_no_child(tree: Path, children: list[int]) -> None:
    request = InputRequest(("in",), folder=tree, sizes_up_to=FEW_SIZES)
    stretches = Listing(request, children=2).stretches()
    while not children:
        next(stretches)
    assert len(children) == 2
    stretches.close()
