"""What the text of a value means, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchctl.model.job import ErrorThreshold, Order
from batchctl.spec import values
from batchctl.spec.nodes import Kind, Node, Place, listed, scalar
from batchctl.spec.problems import Problem, Wrong, did_you_mean, quoted
from batchctl.spec.values import Parser

BASE = Path("/")
SIZE = values.batch_size
COUNT = values.count_or_auto(1024)
TIME = values.duration(0.001, 86400.0)

GOOD: list[tuple[Parser, str, object]] = [
    (SIZE, "20", 20),
    (SIZE, " 20 ", 20),
    (SIZE, "2.0", 2),
    (SIZE, "1_000", 1000),
    (SIZE, "+5", 5),
    (values.whole(0, 9), "0", 0),
    (COUNT, "auto", None),
    (COUNT, "AUTO", None),
    (COUNT, "4", 4),
    (TIME, "30", 30.0),
    (TIME, "1.5", 1.5),
    (TIME, "90s", 90.0),
    (TIME, "2m", 120.0),
    (TIME, "1h30m", 5400.0),
    (TIME, "1.5H", 5400.0),
    (TIME, "500ms", 0.5),
    (TIME, "1h 30m", 5400.0),
    (values.byte_size, "1048576", 1 << 20),
    (values.byte_size, "512M", 512 << 20),
    (values.byte_size, "1.5 GiB", 3 << 29),
    (values.byte_size, "64mb", 64 << 20),
    (values.byte_size, "7B", 7),
    (values.threshold, "-1", ErrorThreshold(-1)),
    (values.threshold, "-7", ErrorThreshold(-1)),
    (values.threshold, "5", ErrorThreshold(5)),
    (values.threshold, "3%", ErrorThreshold(None, 3.0)),
    (values.threshold, "0.5 %", ErrorThreshold(None, 0.5)),
    (values.threshold, "0%", ErrorThreshold(None, 0.0)),
    (values.switch, "yes", True),
    (values.switch, "Off", False),
    (values.switch, "0", False),
    (values.choice(Order), "Completion", Order.COMPLETION),
    (values.text, "017", "017"),
    (values.texts, "*.png", ("*.png",)),
    (values.file_name, "out put.csv", "out put.csv"),
    (values.logging_level, "DEBUG", "DEBUG"),
    (values.interpreter, "python3.11", "python3.11"),
]


@pytest.mark.parametrize(("parser", "text", "expected"), GOOD)
def test_good(parser: Parser, text: str, expected: object) -> None:
    assert parser(scalar("--x", text), BASE) == expected


BAD: list[tuple[Parser, str, str]] = [
    (SIZE, "0", "out of range"),
    (SIZE, "-3", "out of range"),
    (SIZE, "10kb", "tabular"),
    (SIZE, "1GB", "tabular"),
    (SIZE, "2.5", "not a whole number"),
    (SIZE, "017", "octal or decimal"),
    (SIZE, "true", "not a whole number"),
    (SIZE, "", "not a whole number"),
    (SIZE, "1e3", "not a whole number"),
    (SIZE, "\uff19", "not a whole number"),
    (SIZE, "9" * 5000, "not a whole number"),
    (SIZE, "99999999999", "out of range"),
    (values.byte_size, "0", "out of range"),
    (values.byte_size, "-1M", "not a size"),
    (values.byte_size, "10Q", "not a size"),
    (values.byte_size, "1e9", "not a size"),
    (values.byte_size, "9999999999T", "out of range"),
    (COUNT, "0", "out of range"),
    (COUNT, "many", "not a whole number"),
    (TIME, "1:30", "not a duration"),
    (TIME, "0", "out of range"),
    (TIME, "-5", "not a duration"),
    (TIME, "inf", "not a duration"),
    (TIME, "nan", "not a duration"),
    (TIME, "5 parsecs", "not a duration"),
    (TIME, "2d", "out of range"),
    (TIME, "9" * 4000 + "s", "not a duration"),
    (values.threshold, "101%", "not a percentage"),
    (values.threshold, "-1%", "not a percentage"),
    (values.threshold, "%", "not a percentage"),
    (values.threshold, "some", "not a whole number"),
    (values.switch, "maybe", "neither true nor false"),
    (values.choice(Order), "planned", "not a choice"),
    (values.file_name, "a/b.csv", "cannot be in a file name"),
    (values.file_name, "a:b", "cannot be in a file name"),
    (values.file_name, "a\x1bb", "cannot be in a file name"),
    (values.file_name, "..", "cannot be the output's name"),
    (values.file_name, ".batchctl", "cannot be the output's name"),
    (values.file_name, "p.csv.partial", "cannot be the output's name"),
    (values.file_name, "x" * 300, "too long"),
    (values.file_name, " ", "is empty"),
    (values.label, "a\nb", "is no name"),
    (values.label, "x" * 300, "is no name"),
    (values.logging_level, "very loud", "not a level"),
    (values.existing, "no/such/file", "is missing"),
    (values.existing, "", "an empty path"),
    (values.existing, "~nobody-of-this-name/x", "no usable path"),
    (values.existing, "x" * 5000, "is missing"),
    (values.interpreter, "./no-python", "is missing"),
    (values.text, "a\x00b", "NUL"),
    (values.text, "a\ud800b", "half a character"),
    (values.variables, "SECRET", "a variable without `=`"),
    (values.variables, "=x", "cannot be a variable's name"),
    (values.variables, "A=\ud800", '"A": holds half a character'),
    (values.variables, "A\ud800=b", "holds half a character"),
]


@pytest.mark.parametrize(("parser", "text", "expected"), BAD)
def test_bad(parser: Parser, text: str, expected: str) -> None:
    with pytest.raises(Wrong) as caught:
        parser(scalar("--x", text), BASE)
    assert expected in caught.value.what
    assert caught.value.remedy
    assert len(caught.value.what) < 200 or parser is values.existing


@pytest.mark.parametrize("kind", [Kind.LIST, Kind.MAPPING, Kind.NULL])
@pytest.mark.parametrize(
    "parser", [SIZE, COUNT, TIME, values.threshold, values.switch, values.text, values.file_name, values.choice(Order)]
)
def test_one_value_is_expected(parser: Parser, kind: Kind) -> None:
    with pytest.raises(Wrong):
        parser(Node(kind, Place("f", 1, 1)), BASE)


def test_lists_and_variables() -> None:
    assert values.texts(listed("x", ["a", "b"]), BASE) == ("a", "b")
    assert values.arguments(listed("x", ["--a", ""]), BASE) == ("--a", "")
    assert values.variables(listed("x", ["A=1", "B=k=v", "C="]), BASE) == {"A": "1", "B": "k=v", "C": ""}


def test_a_link_keeps_its_name_and_an_environment_folder_gives_its_python(tmp_path: Path) -> None:
    (tmp_path / "model-v3").mkdir()
    (tmp_path / "model").symlink_to("model-v3")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to("/bin/sh")
    model = values.existing(scalar("--model", "model"), tmp_path)
    assert isinstance(model, Path)
    assert model.name == "model"
    assert values.interpreter(scalar("--python", "./venv"), tmp_path) == str(tmp_path.resolve() / "venv/bin/python")
    with pytest.raises(Wrong):
        values.existing(scalar("--model", "loop/x"), tmp_path)


def test_problems_are_escaped_and_short() -> None:
    problem = Problem("f\x1b[2J:1", f"{quoted('x' * 500)} and \n", "do\udc80", key="k\r")
    said = str(problem)
    assert said.isprintable()
    assert len(said) < 150


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("mini-batch-size", 'did you mean "mini_batch_size"?'),
        ("minibatchsize", 'did you mean "mini_batch_size"?'),
        ("xyz", ""),
        ("m" * 1_000_000, ""),
    ],
)
def test_did_you_mean(word: str, hint: str) -> None:
    assert did_you_mean(word, ("mini_batch_size", "timeout")) == hint
