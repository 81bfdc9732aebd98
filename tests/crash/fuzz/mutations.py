"""Malformed inputs from good ones: bits, splices, lengths, cuts, repetition, tokens; and the same for JSON values.

All chance comes from the `random.Random` that is handed in, so that an input can be made again from its seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

_LONGEST = 1 << 16  # of what is made; a length field may promise more
_NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
    1 << 26,
    (1 << 26) + 1,
)
_ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2**31,
    2**32,
    2**63,
    2**64,
    -(2**63),
    10**30,
    1.5,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "1",
    "x" * 3000,
    "\0",
    "\ud800",
    "a\udcff",
    "\x1b[31m\u202e",
    "../../x",
    "/etc/x",
    ".",
    "..",
    "a/b",
    "ab" * 32,
    [],
    {},
    [[]],
    {"a": {"b": []}},
)
DEEP = b"[" * 3000 + b"]" * 3000  # deeper than any recursion goes

Mutation = Callable[[bytearray, random.Random, Sequence[bytes], Sequence[bytes]], None]


def mutated(seeds: Sequence[bytes], words: Sequence[bytes], dice: random.Random) -> bytes:
    """A seed, changed one to eight times; now and then nothing but noise."""
    if dice.random() < 0.02:
        return dice.randbytes(dice.choice((0, 1, 7, 50, 300)))
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        dice.choice(_MUTATIONS)(data, dice, seeds, words)
    return bytes(data[:_LONGEST])


def _flip(data: bytearray, dice: random.Random, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _replace(data: bytearray, dice: random.Random, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> None:
    if data:
        data[dice.randrange(len(data))] = dice.randrange(256)


def _number(data: bytearray, dice: random.Random, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> None:
    width = dice.choice((1, 2, 4, 4, 8))
    if len(data) >= width:
        at = dice.randrange(len(data) - width + 1)
        if dice.random() < 0.7:
            at -= at % width
        value = dice.choice(_NUMBERS) if dice.random() < 0.8 else dice.randrange(1 << 8 * width)
        data[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")


def _delete(data: bytearray, dice: random.Random, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> None:
    if data:
        at = dice.randrange(len(data))
        del data[at : at + dice.choice((1, 1, 2, 4, 8, 48, 200))]


def _cut(data: bytearray, dice: random.Random, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _repeat(data: bytearray, dice: random.Random, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> None:
    if data and len(data) < _LONGEST:
        at = dice.randrange(len(data))
        part = bytes(data[at : at + dice.choice((1, 1, 3, 16, 48, 300))])
        data[at:at] = part * dice.choice((1, 1, 2, 8, 40))


def _splice(data: bytearray, dice: random.Random, seeds: Sequence[bytes], _words: Sequence[bytes]) -> None:
    other = dice.choice(seeds)
    if other and data:
        begin = dice.randrange(len(other))
        at = dice.randrange(len(data))
        part = other[begin : begin + dice.randrange(1, 200)]
        data[at : at + dice.choice((0, len(part)))] = part


def _token(data: bytearray, dice: random.Random, _seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    if words:
        at = dice.randrange(len(data) + 1)
        word = dice.choice(words)
        data[at : at + dice.choice((0, 0, len(word)))] = word


def _move(data: bytearray, dice: random.Random, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> None:
    if len(data) > 1:
        at = dice.randrange(len(data))
        part = bytes(data[at : at + dice.choice((1, 4, 20, 48))])
        del data[at : at + len(part)]
        to = dice.randrange(len(data) + 1)
        data[to:to] = part


_MUTATIONS: tuple[Mutation, ...] = (_flip, _replace, _number, _delete, _cut, _repeat, _splice, _token, _token, _move)


def mutated_json(value: Any, dice: random.Random) -> bytes:
    """The text of a JSON value like this one, something in it replaced, gone, doubled, or of another type."""
    if dice.random() < 0.01:
        return DEEP
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        value = _changed(value, dice)
    text = json.dumps(value, separators=(",", ":")).encode("ascii")
    if dice.random() < 0.05:  # deep below something that is right
        text = text.replace(b"null", DEEP, 1) if b"null" in text else text.replace(b"0", DEEP, 1)
    return text


def _changed(value: Any, dice: random.Random) -> Any:
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(list(value))
        what = dice.random()
        if what < 0.08:
            return {name: one for name, one in value.items() if name != key}
        if what < 0.12:
            return {**value, key + "x": value[key]}
        return {**value, key: _changed(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.85:
        at = dice.randrange(len(value))
        what = dice.random()
        if what < 0.08:
            return value[:at] + value[at + 1 :]
        if what < 0.2:
            return [*value[:at], value[at], *value[at:]]
        return [*value[:at], _changed(value[at], dice), *value[at + 1 :]]
    if isinstance(value, str) and value and dice.random() < 0.4:
        at = dice.randrange(len(value))
        return value[:at] + dice.choice(("", "\0", "/", "..", "\udcff", value)) + value[at:]
    return dice.choice(_ODD)
