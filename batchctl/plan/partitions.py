"""Which partition an item belongs to: the values of the partition keys, found in its path. docs/spec.md has the rules.

Partitions are numbered by their first item in the order of the listing, so the numbers depend on nothing else.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Self

from batchctl.errors import UsageError
from batchctl.model.partition import PartitionFormat
from batchctl.named_tuple import NamedTuple
from batchctl.plan.display import display_name
from batchctl.plan.stretch import Stretch

_MOST_TEXT = 2**32 - 1  # offsets into the texts are u32
_BETWEEN = b"\0"  # no path holds it, so values joined by it are as distinct as they are apart


class Partitions:
    """The partitions met so far. Feed it stretches in plan order; `values` tells what the numbers mean.

    `root` of a stretch is the folder INPUT that it was found below; None for files named outright or in a list.
    Raises UsageError naming the first file that has no value for a key.
    """

    def __init__(self, keys: Sequence[str], template: str | None = None) -> None:
        self.keys = tuple(keys)
        self._keys = [key.encode("utf-8", "surrogateescape") for key in keys]
        self._numbers: dict[bytes, int] = {}  # in the order of the numbers
        self._format = None if template is None else PartitionFormat.of(template)
        if self._format is not None:
            self._places = [self._format.keys.index(key) for key in keys]
            self._by_name = max(self._places) >= self._format.folders.groups
        self._hive: bool | None = None  # decided by the first file, where there is no template
        self._first = b""

    def __len__(self) -> int:
        return len(self._numbers)

    def values(self) -> Iterator[tuple[bytes, ...]]:
        """The values of each partition, by number; in the order of the keys."""
        return (tuple(joined.split(_BETWEEN)) for joined in self._numbers)

    def label(self, number: int) -> str:
        """The partition for people: `user=alice, season=summer`."""
        joined = next(joined for at, joined in enumerate(self._numbers) if at == number)
        values = map(os.fsdecode, joined.split(_BETWEEN))
        return display_name(", ".join(f"{key}={value}" for key, value in zip(self.keys, values, strict=True)))

    def of(self, stretch: Stretch, *, root: bytes | None) -> Iterator[tuple[int, int]]:
        """(offset in the stretch, partition number) of each piece of the stretch that is of one partition."""
        above = b"" if root is None else root.rstrip(b"/")
        folder = stretch.folder[len(above) :].strip(b"/")
        if self._format is not None:
            yield from self._by_template(self._format, folder, stretch, below_input=root is not None)
            return
        parts = folder.split(b"/") if folder else []
        path = stretch.folder.rstrip(b"/") + b"/" + stretch.names[0]
        named = self._named(parts, path)
        if self._hive is None:
            self._hive, self._first = len(named) == len(self._keys), path
        if self._hive:
            values = [self._present(named.get(key), key, path) for key in self._keys]
        else:
            values = self._by_place(parts, named, path, below_input=root is not None)
        yield 0, self._number(values)

    def _number(self, values: Sequence[bytes]) -> int:
        return self._numbers.setdefault(_BETWEEN.join(values), len(self._numbers))

    def _named(self, parts: Sequence[bytes], path: bytes) -> dict[bytes, bytes]:
        """What `key=value` folders say of our keys."""
        found: dict[bytes, bytes] = {}
        for part in parts:
            key, equals, value = part.partition(b"=")
            if not equals or key not in self._keys:
                continue
            if key in found:
                raise _refused(path, f"two of its folders give a value for {_shown(key)}", "rename one of them")
            found[key] = value
        return found

    def _present(self, value: bytes | None, key: bytes, path: bytes) -> bytes:
        if value:
            return value
        if value is None:
            first = display_name(os.fsdecode(self._first))
            what = f"no folder `{_shown(key)}=...` in its path, as {first} has"
        else:
            what = f"its folder `{_shown(key)}=` gives no value"
        raise _refused(path, what, "rename its folders or leave it out with --exclude")

    def _by_place(
        self, parts: Sequence[bytes], named: dict[bytes, bytes], path: bytes, *, below_input: bool
    ) -> list[bytes]:
        """The folders below the INPUT, the first one for the first key."""
        if named:
            key = _shown(next(iter(named)))
            missing = ", ".join(_shown(other) for other in self._keys if other not in named)
            why = f"not {missing}" if missing else f"{display_name(os.fsdecode(self._first))} has no such folder"
            remedy = "name all keys in all paths, or say with partition_format where the values stand"
            where = "folders below the INPUT" if below_input else "folders"
            raise _refused(path, f"its {where} name {key} (`{key}=...`), but {why}", remedy)
        if not below_input:
            what = "is named outright or in a list, so there are no folders below an INPUT to take values from"
            raise _refused(path, what, "give a folder as INPUT, or say with partition_format where the values stand")
        if len(parts) < len(self._keys):
            wanted = "/".join(f"{{{_shown(key)}}}" for key in self._keys)
            what = f"has no value for {_shown(self._keys[len(parts)])}: it is not below {wanted}/ in its INPUT"
            remedy = "move it, leave it out with --exclude, or say with partition_format where the values stand"
            raise _refused(path, what, remedy)
        for part in parts[: len(self._keys)]:
            name, equals, _ = os.fsdecode(part).partition("=")
            if equals and (meant := next((key for key in self.keys if key.casefold() == name.casefold()), None)):
                what = f"its folder {display_name(os.fsdecode(part))} is not `{display_name(meant)}=...`: case counts"
                raise _refused(path, what, "write the key as the folders do, or rename them")
        return list(parts[: len(self._keys)])

    def _by_template(
        self, template: PartitionFormat, folder: bytes, stretch: Stretch, *, below_input: bool
    ) -> Iterator[tuple[int, int]]:
        folders = template.folders if below_input else template.anywhere
        prefix = folders.fullmatch(os.fsdecode(folder + b"/") if folder else "")
        if prefix is None:
            raise self._unfit(template, stretch, stretch.names[0], below_input=below_input)
        above, match, last = prefix.groups(), template.name.fullmatch, -1
        for at, name in enumerate(stretch.names):
            found = match(os.fsdecode(name))
            if found is None:
                raise self._unfit(template, stretch, name, below_input=below_input)
            if self._by_name or last < 0:
                values = above + found.groups()
                number = self._number([os.fsencode(values[place]) for place in self._places])
                if number != last:
                    yield at, number
                    last = number

    @staticmethod
    def _unfit(template: PartitionFormat, stretch: Stretch, name: bytes, *, below_input: bool) -> UsageError:
        path = stretch.folder.rstrip(b"/") + b"/" + name
        held = "its path below the INPUT" if below_input else "the end of its path"
        return _refused(
            path,
            f"{held} does not fit partition_format {display_name(template.text)}",
            "correct the template (`*` is any text in a part, `**/` any folders), or leave the file out with --exclude",
        )


class LargestPartition(NamedTuple):
    """The partition with the most items (of several the first): one worker has all of it."""

    label: str  # for people
    items: int

    @classmethod
    def of(cls, partitions: Partitions, firsts: Sequence[int]) -> Self:
        """`firsts`: the first item of each partition, closed by the number of items."""
        items, back = max((end - first, -number) for number, (first, end) in enumerate(pairwise(firsts)))
        return cls(partitions.label(-back), items)


def partition_texts(partitions: Partitions) -> tuple[array[int], bytearray]:
    """The two sections that a partitioned plan has more: text offsets, text bytes. UsageError beyond 4 GiB."""
    offsets, texts = array("I", [0]), bytearray()
    keys = (key.encode("utf-8", "surrogateescape") for key in partitions.keys)
    for text in chain(keys, chain.from_iterable(partitions.values())):
        texts += text
        if len(texts) > _MOST_TEXT:
            raise UsageError("more than 4 GiB of partition values", remedy="split the input into several runs")
        offsets.append(len(texts))
    return offsets, texts


def _shown(key: bytes) -> str:
    return display_name(os.fsdecode(key))


def _refused(path: bytes, what: str, remedy: str) -> UsageError:
    return UsageError(what, where=display_name(os.fsdecode(path)), remedy=remedy)
