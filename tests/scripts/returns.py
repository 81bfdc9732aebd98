"""Returns what RETURNS says for a mini-batch that holds an odd item, a list of names for any other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

Names = list[str]


def run(mini_batch: Names) -> Any:
    names = [os.path.basename(path) for path in mini_batch]
    if any("odd" in name for name in names):
        return RETURNS[os.environ["RETURNS"]](names)
    return names


def generator(names: Names) -> Iterator[str]:
    yield from names


def frame(names: Names) -> Any:
    import pandas

    return pandas.DataFrame({"prediction": names})


def empty_frame(names: Names) -> Any:
    return frame(names).iloc[:0]


def series(names: Names) -> Any:
    import pandas

    return pandas.Series(names)


def array(names: Names) -> Any:
    import numpy

    return numpy.array(names, dtype=object)


def scalar_array(names: Names) -> Any:
    import numpy

    return numpy.array(len(names))


RETURNS: dict[str, Callable[[Names], Any]] = {
    "list": lambda names: names,
    "list-subclass": lambda names: type("Rows", (list,), {})(names),
    "tuple": tuple,
    "DataFrame": frame,
    "ndarray": array,
    "Series": series,
    "generator": generator,
    "None": lambda names: None,
    "str": lambda names: names[0],
    "bytes": lambda names: b"rows",
    "dict": lambda names: dict.fromkeys(names, 1),
    "set": set,
    "int": len,
    "float": lambda names: 0.5,
    "bool": lambda names: True,
    "ndarray-of-no-dimension": scalar_array,
    "object": lambda names: object(),
    "map": lambda names: map(str, names),
    "empty-list": lambda names: [],
    "empty-DataFrame": empty_frame,
    "short": lambda names: names[:2],
    "long": lambda names: [*names, "surplus 1", "surplus 2"],
}
