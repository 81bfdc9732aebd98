"""The YAML and TOML readers: what they take, what they refuse, and where they say it is."""

from __future__ import annotations

import time

import pytest
import yaml

from batchctl.spec.nodes import Kind, Node, overridden
from batchctl.spec.problems import Wrong
from batchctl.spec.text import decoded
from batchctl.spec.toml_nodes import read_toml
from batchctl.spec.yaml_nodes import read_yaml

DEEP = "[" * 500_000
WIDE = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{above}'] * 9)}]\n" for above, name in zip("abcdefgh", "bcdefghi", strict=True)
)

YAML_REFUSED = {
    "empty": ("", "f: is empty"),
    "only a comment": ("# nothing\n", "f: is empty"),
    "null document": ("~\n", "f: is empty"),
    "a list": ("- 1\n", "f:1: holds no"),
    "a word": ("hello\n", "f:1: holds no"),
    "duplicate key": ("a: 1\nb: 2\na: 3\n", "f:3:a: given twice: first on line 1, again on line 3"),
    "duplicate below": ("s:\n  a: 1\n  a: 1\n", "f:3:s.a: given twice: first on line 2, again on line 3"),
    "duplicate in flow": ("s: {a: 1, a: 2}\n", "f:1:s.a: given twice"),
    "duplicate, quoted": ("a: 1\n'a': 2\n", "f:2:a: given twice"),
    "tab in indentation": ("a:\n\tb: 1\n", "f:2:1: a tab in the indentation. YAML is indented with spaces"),
    "colon in value": ("a: b: c\n", "f:1:5: YAML syntax: mapping values are not allowed"),
    "open quote": ("a: 'x\n", "Close the quote"),
    "open bracket": ("a: [1, 2\n", "f:2:1: YAML syntax"),
    "reserved indicator": ("a: @b\n", "f:1:4: YAML syntax"),
    "no colon": ("a: 1\nb\nc: 2\n", "YAML syntax"),
    "two documents": ("a: 1\n---\nb: 2\n", "f:2:1: a second document begins here"),
    "python object": ("a: !!python/object/apply:os.system [id]\n", "f:1:4: tag"),
    "own tag": ("a: !vault x\n", "f:1:4: tag"),
    "alias without anchor": ("a: *x\n", "alias"),
    "alias inside its anchor": ("a: &a [*a]\n", "f:1:8: alias"),
    "alias as key": ("a: &x b\n*x : 1\n", "f:2:1: an alias as a key"),
    "list as key": ("? [a]\n: 1\n", "f:1:3: a key must be one word"),
    "merge of a scalar": ("<<: 5\n", "`<<` merges mappings only"),
    "nested too deep": (DEEP, "f:1:65: nested more than 64 deep"),
    "nested too deep by aliases": (
        "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40 + "\n",
        "nested more than 64 deep",
    ),
    "alias bomb": (WIDE, "more than 100,000 values"),
    "too many values": ("a: [" + "1," * 100_001 + "]\n", "more than 100,000 values"),
    "key too long": ("? " + "k" * 2000 + "\n: 1\n", "longer than 1024"),
    "wrong version": ("%YAML 3.0\n---\na: 1\n", "YAML syntax"),
}


# A hundred thousand values take the pure parser 10 s, and it is the same builder that counts them.
SLOW_IN_PURE = ("too many values",)


@pytest.mark.parametrize(
    ("name", "pure"),
    [(name, False) for name in YAML_REFUSED] + [(name, True) for name in YAML_REFUSED if name not in SLOW_IN_PURE],
)
def test_yaml_refused(name: str, pure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "__with_libyaml__", yaml.__with_libyaml__ and not pure)
    text, expected = YAML_REFUSED[name]
    began = time.monotonic()
    tree = read_yaml(text, "f")
    assert tree.problems
    said = [str(problem) for problem in tree.problems]
    if pure and "YAML syntax" in expected:  # the two parsers differ in words and columns
        expected = "YAML syntax"
    if not (pure and name in ("alias without anchor", "open quote")):
        assert any(expected in line for line in said), said
    assert time.monotonic() - began < 20


def found(root: Node | None, dotted: str) -> Node:
    assert root is not None
    node = root.find(dotted)
    assert node is not None
    return node


@pytest.mark.parametrize("pure", [False, True], ids=["libyaml", "pure"])
def test_yaml_keeps_scalars_as_written_with_their_places(pure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "__with_libyaml__", yaml.__with_libyaml__ and not pure)
    text = "on: off\noct: 017\ntime: 1:30\nver: 1.10\nnothing:\nblank: ''\ns:\n  - {k: yes}\n  - ~\n"
    root = read_yaml(text, "f").root
    assert [found(root, key).text for key in ("on", "oct", "time", "ver")] == ["off", "017", "1:30", "1.10"]
    assert found(root, "nothing").kind is Kind.NULL
    assert found(root, "blank").kind is Kind.SCALAR
    inner = found(root, "s").elements[0].entries[0][1]
    assert (inner.source, inner.place.column, inner.text) == ("f:8 s[0].k", 6, "yes")
    assert found(root, "s").elements[1].kind is Kind.NULL


def test_yaml_aliases_and_merges_get_their_own_key_paths() -> None:
    root = read_yaml("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: *x\nw: [*x]\n", "f").root
    assert found(root, "y.a").key == "y.a"
    assert (found(root, "y.b").text, found(root, "z.b").text) == ("3", "2")
    assert found(root, "z.a").key == "z.a"
    assert found(root, "w").elements[0].entries[0][1].key == "w[0].a"


TOML_REFUSED = {
    "duplicate key": ("a = 1\nb = 2\na = 3\n", "f:3:a: given twice: first on line 1, again on line 3"),
    "duplicate table": ("[a]\nx = 1\n[b]\n[a]\n", "f:4:a: given twice: first on line 1, again on line 4"),
    "duplicate in a table": ("[a]\nx = 1\nx = 2\n", "f:3:a.x: given twice: first on line 2, again on line 3"),
    "bare word": ("a = b\n", "f:1:5: TOML syntax: Invalid value. Text values need quotes"),
    "no equals": ("a\n", "f:1:"),
    "open string": ('x = 1\na = "b\n', "f:2:"),
    "yaml by mistake": ("a: 1\n", "f:1:2: TOML syntax"),
    "nested too deep": ("a = " + "[" * 500 + "]" * 500, "nested more than 64 deep"),
    "recursion": ("a = " + "[" * 10_000, "f: nested more than 64 deep"),
    "line too long": ("a = " + "[" * 500_000, "f:1: the line is longer than 16 KiB"),
    "dotted bomb": ("a" + ".a" * 4000 + " = 1", "f:1: the line is longer"),
    "digits": ("a = " + "9" * 10_000, "a number or date"),
    "hexadecimal digits": ("\na = 0x" + "f" * 9000, "f:2: the number is too long"),
    "too many values": ("a = [\n" + "1,\n" * 100_001 + "]\n", "more than 100,000 values"),
}


@pytest.mark.parametrize("name", TOML_REFUSED)
def test_toml_refused(name: str) -> None:
    text, expected = TOML_REFUSED[name]
    tree = read_toml(text, "f")
    assert tree.root is None
    assert expected in str(tree.problems[0])


def test_toml_places() -> None:
    text = (
        "# c\na = 1\r\n[b]\nc.d = '''x\ny = 2\n'''\n  e = [1, # ]\n 2]\n\"q.r\" = 1.10\n"
        "[[t]]\nx = true\n[[t]]\nx = {z = 1}\n[t.u]\ny = 0x10\n"
    )
    root = read_toml(text, "f").root
    where = {key: found(root, key).source for key in ("a", "b", "b.c.d", "b.e")}
    assert where == {"a": "f:2 a", "b": "f:3 b", "b.c.d": "f:4 b.c.d", "b.e": "f:7 b.e"}
    assert found(root, "b.e").place.column == 3
    assert [(name, node.text, node.place.line) for name, node in found(root, "b").entries][-1] == ("q.r", "1.10", 9)
    first, second = found(root, "t").elements
    assert [(node.text, node.source) for node in (found(first, "x"), found(second, "x.z"))] == [
        ("true", "f:11 t[0].x"),
        ("1", "f:13 t[1].x.z"),
    ]
    assert (found(second, "u.y").text, found(second, "u.y").source) == ("16", "f:15 t[1].u.y")


SETS = {
    "new key": ("x=1", "x", "1"),
    "replaces": ("a.b=2", "a.b", "2"),
    "makes tables": ("n.m.o=3", "n.m.o", "3"),
    "a scalar gives way": ("s.path=p", "s.path", "p"),
    "equals in value": ("x=k=v", "x", "k=v"),
    "empty value": ("x=", "x", ""),
}


@pytest.mark.parametrize("name", SETS)
def test_set(name: str) -> None:
    assignment, key, text = SETS[name]
    root = read_yaml("a: {b: 1, c: 1}\ns: word\n", "f").root
    assert root is not None
    node = found(overridden(root, assignment), key)
    assert (node.text, node.source, node.from_set) == (text, f"--set {key}", True)
    assert found(overridden(root, assignment), "a.c").text == "1"


@pytest.mark.parametrize("assignment", ["x", "", "=1", "a..b=1", ".a=1", "a" + ".a" * 100 + "=1"])
def test_set_refused(assignment: str) -> None:
    root = read_yaml("a: 1\n", "f").root
    assert root is not None
    with pytest.raises(Wrong):
        overridden(root, assignment)


TEXTS = {
    "not UTF-8": (b"a: 1\nb: \xff\n", "f:2:4: byte 0xff is not UTF-8"),
    "UTF-16": ("a: 1".encode("utf-16"), "f: is UTF-16"),
    "NUL": (b"a: \x00", "f:1:4: control character U+0000"),
    "ESC": (b"a: 1\nb: \x1b[2J", "f:2:4: control character U+001B"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_refused(name: str) -> None:
    data, expected = TEXTS[name]
    assert expected in str(decoded(data, "f"))


def test_text_drops_the_byte_order_mark() -> None:
    assert decoded(b"\xef\xbb\xbfa: 1", "f") == "a: 1"
