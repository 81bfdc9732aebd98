"""Plans made with children are those made without, byte for byte, whatever the tree, the children and their end."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchctl import processes
from batchctl.errors import UsageError
from batchctl.plan import encode, lookers
from batchctl.plan.encode import build_plan
from batchctl.plan.inputs import InputRequest, Listing
from batchctl.plan.look import Part
from batchctl.plan.stretch import Noticed
from batchctl.plan.walk import Walk
from tests.unit.plan.helpers import dies, noted, sleeps, stops
from tests.unit.plan.trees import DIRECTORY, PATH, grow, image_of

MANY = 1300  # more than two tasks


@pytest.fixture(autouse=True)
def alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have imported pandas here, whose libraries keep idle threads; a coordinator imports none of them."""
    if "thread" not in request.node.name:
        monkeypatch.setattr(processes, "_threads", lambda: 1)


@pytest.fixture(autouse=True)
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Children from the first file on; the pids of those made, all gone in the end."""
    monkeypatch.setattr(lookers, "SMALL", 0)
    with noted(monkeypatch) as made:
        yield made


def outcome(folder: Path, inputs: tuple[str, ...], *, children: int, **request: object) -> tuple[object, ...]:
    """All that a plan says: its bytes, its findings; or the refusal."""
    asked = InputRequest(inputs, folder=folder, **request)  # type: ignore[arg-type]
    try:
        image = build_plan(asked, mini_batch_size=10, children=children)
    except UsageError as error:
        return (str(error.where), error.message, error.remedy)
    found = image.findings
    said = {name: vars(value) if isinstance(value, Noticed) else value for name, value in vars(found).items()}
    return (b"".join(image.chunks()), found.warnings(), found.notes(), said, image.largest, image.total_bytes)


def plain(root: Path) -> tuple[str, ...]:
    grow(root / "in", *(f"{n:05d}" for n in range(MANY)), *(f"d/e{n}/x" for n in range(40)), "z/big", content=b"12")
    os.utime(root / "in" / "z" / "big", ns=(-1, -5_000_000_001))  # before 1970
    return ("in",)


def odd(root: Path) -> tuple[str, ...]:
    top = grow(root / "in", b"\xff\xfe", b"a\nb", *(f"m{n}" for n in range(MANY)), "sub/inner", "sub/deep/x")
    os.mkfifo(top / "m5p")
    os.symlink("m5", top / "m5l")
    os.symlink("nowhere", top / "m7l")
    os.symlink("circle", top / "circle")
    os.symlink("..", top / "sub" / "loop")
    os.symlink("sub", top / "way")
    return ("in",)


def mixed(root: Path) -> tuple[str, ...]:
    plain(root)
    return ("in/d", "in/00007", "in/00008", "in", "in/z", "in/*0")


def listed(root: Path) -> tuple[str, ...]:
    plain(root)
    (root / "list").write_text("".join(f"{root}/in/{n:05d}\n" for n in range(MANY)) + "in/d/e1/x\n./in/00001\n")
    return ("@list",)


def listed_apart(root: Path) -> tuple[str, ...]:
    plain(root)
    lines = [f"{root}/in/{folder}" for n in range(40) for folder in (f"{n:05d}", f"d/e{n}/x")]
    (root / "list").write_bytes("\0".join(lines).encode())
    return ("@list",)


def listed_badly(root: Path) -> tuple[str, ...]:
    plain(root)
    lines = [f"{root}/in/{n:05d}" for n in range(0, MANY + 9, 3)] + ["in/d", f"{root}/{'x' * 300}", "/" + "y/" * 2500]
    (root / "list").write_text("\n".join(lines))
    return ("@list",)


def names_of_255(root: Path) -> tuple[str, ...]:
    grow(root / "in", *(f"{n:0255d}" for n in range(MANY)))
    return ("in",)


TREES = {
    "plain": plain,
    "odd": odd,
    "several INPUTs": mixed,
    "list": listed,
    "list, folders in turn": listed_apart,
    "list with missing files": listed_badly,
    "long names": names_of_255,
}


@pytest.mark.parametrize("grouping", [PATH, DIRECTORY])
@pytest.mark.parametrize("case", TREES)
def test_the_plan_is_the_same(tmp_path: Path, case: str, grouping: object, children: list[int]) -> None:
    inputs = TREES[case](tmp_path)
    expected = outcome(tmp_path, inputs, children=0, grouping=grouping)
    assert children == []
    for many in (1, 3):
        assert outcome(tmp_path, inputs, children=many, grouping=grouping) == expected
    assert len(children) == 4


def test_filters_too(tmp_path: Path) -> None:
    inputs = listed(tmp_path)
    for given in (inputs, ("in",)):
        expected = outcome(tmp_path, given, children=0, include=("*[13]",), exclude=("in/**/x",))
        assert outcome(tmp_path, given, children=2, include=("*[13]",), exclude=("in/**/x",)) == expected


def vanish(root: Path) -> None:
    for n in range(3, MANY, 400):
        (root / "in" / f"{n:05d}").unlink()


def vanish_and_change(root: Path) -> None:
    vanish(root)
    (root / "in" / "00500").unlink()
    (root / "in" / "00500").mkdir()  # a folder in the place of a file: what is there now is taken, as without children


def vanish_whole(root: Path) -> None:
    (root / "in" / "d" / "e7" / "x").unlink()
    (root / "in" / "d" / "e7").rmdir()


CHANGES = {"files vanish": vanish, "a file becomes a folder": vanish_and_change, "a folder vanishes": vanish_whole}


@pytest.mark.parametrize("case", CHANGES)
def test_what_changes_while_listing(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    walked = Walk.parts
    root = tmp_path

    def parts(self: Walk) -> Iterator[Part]:
        found = list(walked(self))
        CHANGES[case](root)
        yield from found

    monkeypatch.setattr(Walk, "parts", parts)
    outcomes = []
    for number, many in enumerate((0, 2)):
        root = tmp_path / str(number)
        inputs = plain(root)
        outcomes.append(outcome(root, inputs, children=many))
    if "folder vanishes" in case:
        assert all("cannot list folder" in str(said[1]) for said in outcomes)
    else:
        first, second = (said[3]["vanished"] for said in outcomes)  # type: ignore[index]
        assert first["count"] == second["count"] == 4
        assert [*map(os.path.basename, first["first"])] == [*map(os.path.basename, second["first"])]


def test_an_earlier_refusal_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listing runs ahead; what it refuses there must not hide what is wrong before."""
    walked = Walk.parts

    def parts(self: Walk) -> Iterator[Part]:
        yield Part(os.fsencode(tmp_path / "gone"), [b"x"])
        yield from walked(self)
        raise UsageError("later")

    monkeypatch.setattr(Walk, "parts", parts)
    inputs = plain(tmp_path)
    for many in (0, 2):
        said = outcome(tmp_path, inputs, children=many)
        assert said[0] == str(tmp_path / "gone")


def dies_later(channel: socket.socket) -> None:
    for _ in range(2):
        channel.send(lookers._answer(channel.recv(1 << 18)))
    os.kill(os.getpid(), signal.SIGKILL)


def answering(change: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    def serve(channel: socket.socket) -> None:
        while request := channel.recv(1 << 18):
            channel.send(change(lookers._answer(request)))

    return serve


def other_number(answer: bytes) -> bytes:
    return b"\x7f" + answer[1:]


SERVERS = {
    "dies at once": dies,
    "killed after two answers": dies_later,
    "never answers": sleeps,
    "stopped": stops,
    "says nothing is regular": answering(lambda answer: answer[:8] + bytes(4)),
    "answers too little": answering(lambda answer: answer[:-1]),
    "answers too much": answering(lambda answer: answer + b"x"),
    "answers for another task": answering(other_number),
    "answers one byte": answering(lambda answer: b"?"),
    "counts wrongly": answering(lambda answer: answer[:8] + b"\1\0\0\0" + bytes(16)),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...], tuple[object, ...]]:
    """A tree of more tasks than may be ahead, made once, and what a listing without children says of it."""
    root = tmp_path_factory.mktemp("many")
    inputs = plain(root)
    grow(root / "in", *(f"more/{n}" for n in range(40 * 512)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode.time, "clock_gettime_ns", lambda _clock: 1)
        return root, inputs, outcome(root, inputs, children=0)


@pytest.mark.parametrize("case", SERVERS)
def test_a_bad_child_makes_no_bad_plan(
    many: tuple[Path, tuple[str, ...], tuple[object, ...]], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, inputs, expected = many
    monkeypatch.setattr(lookers, "serve", SERVERS[case])
    assert outcome(root, inputs, children=2) == expected


def test_no_children_for_little_or_for_one_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[int]
) -> None:
    inputs = plain(tmp_path)
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        assert image_of(tmp_path, *inputs).items == MANY + 41
    finally:
        os.sched_setaffinity(0, usable)
    assert children == []
    monkeypatch.setattr(lookers, "SMALL", MANY + 42)
    assert outcome(tmp_path, inputs, children=3)[-1] == 2 * (MANY + 41)
    assert children == []


def test_a_listing_left_midway_leaves_no_child(tmp_path: Path, children: list[int]) -> None:
    request = InputRequest(plain(tmp_path), folder=tmp_path)
    stretches = Listing(request, children=2).stretches()
    next(stretches)
    assert len(children) == 2
    stretches.close()
