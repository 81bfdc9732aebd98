"""`task.program_arguments` of a parallel job: one string, split as a shell does.

On Azure the driver reads its own options out of it and the script finds all of it in `sys.argv`. Here the options that
mean something on one machine become settings, those that do not are dropped with a note, and every other word reaches
the script unchanged. There are no abbreviations: a misspelt option is the script's.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from batchctl.named_tuple import NamedTuple
from batchctl.spec.bindings import Bindings
from batchctl.spec.draft import Draft, Rank, Value
from batchctl.spec.fields import BY_FIELD
from batchctl.spec.nodes import KeyPath, Kind, Node
from batchctl.spec.problems import Wrong, quoted
from batchctl.spec.values import text as text_of

_FRACTION = re.compile(r"[+-]?\d{1,15}\.\d{1,15}", re.ASCII)
_LONGEST = 1 << 16  # characters; half of what Linux takes for one argument

# Options of Azure's driver -> the setting they are here.
USED: Mapping[str, str] = MappingProxyType(
    {
        "--error_threshold": "error_threshold",
        "--allowed_failed_count": "mini_batch_error_threshold",
        "--allowed_failed_percent": "allowed_failed_percent",
        "--append_row_dataframe_header": "header",
    }
)
DROPPED: Mapping[str, str] = MappingProxyType(
    {
        "--task_overhead_timeout": "ignored: nothing is loaded over a network here",
        "--progress_update_timeout": "ignored: every run() has its own limit",
        "--first_task_creation_timeout": "ignored: the inputs are listed before anything runs",
        "--copy_logs_to_parent": "ignored: logs are in OUT/.batchctl/logs",
        "--resource_monitor_interval": "ignored: workers are watched all the time",
        "--metrics_name_prefix": "ignored: no metrics are sent",
        "--push_metrics_to_parent": "ignored: no metrics are sent",
        "--profiling_module": "ignored: profile the script by itself",
        "--nice": "ignored: start batchctl under nice",
        "--cleanup_leaked_queues": "ignored: there are no queues on Azure",
    }
)
RANK = "--rank_mini_batch_count"


class _Option(NamedTuple):
    """An option of the driver's, with its value."""

    name: str
    value: str


def take_arguments(node: Node, draft: Draft, *, bindings: Bindings) -> None:
    """Put the script's `arguments`, and the settings that its options stand for, into the draft."""
    try:
        written = text_of(node, Path())
        if len(written) > _LONGEST:
            raise Wrong(f"is longer than {_LONGEST:,} characters", "Put them into a file in the code folder")
        words = shlex.split(bindings.compact(written))
    except ValueError as error:  # an open quote
        draft.add(node.problem(f"cannot be split: {error}", "Close the quote", field="arguments"))
        return
    except Wrong as wrong:
        draft.add(node.problem(wrong.what, wrong.remedy, field="arguments"))
        return
    rest: list[str] = []
    try:
        for part in _parts(words):
            if isinstance(part, str):
                rest.append(bindings.resolved(part))
            else:
                _take_option(part, node, draft, value=bindings.resolved(part.value))
    except Wrong as wrong:
        draft.add(node.problem(wrong.what, wrong.remedy, field="arguments"))
        return
    draft.put("arguments", Value(tuple(rest), node.source, Rank.SET if node.from_set else Rank.FILE))


def _parts(words: list[str]) -> Iterator[str | _Option]:
    """The words, those of the driver's options drawn together. Raises Wrong where one has no value."""
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name not in USED and name not in DROPPED and name != RANK:
            yield word
            continue
        given = value if equals else next(left, None)
        if given is None or (not equals and given.startswith("--")):
            raise Wrong(f"{name} has no value", f"Write {name} VALUE")
        yield _Option(name, given)


def _take_option(option: _Option, node: Node, draft: Draft, *, value: str) -> None:
    child = Node(Kind.SCALAR, node.place, KeyPath(option.name, node.path), text=value)
    if option.name in DROPPED:
        draft.note(child, DROPPED[option.name])
        return
    if option.name == RANK:
        _refuse_ranks(child, draft)
        return
    if option.name == "--error_threshold" and _FRACTION.fullmatch(value):
        child = child._replace(text=str(math.ceil(float(value))))  # as Azure's driver does
        if child.text != value:
            draft.note(child, f"{value} is rounded up to {child.text}, as Azure's driver does")
    draft.take(BY_FIELD[USED[option.name]], child, base=Path(), rank=Rank.FILE)


def _refuse_ranks(child: Node, draft: Draft) -> None:
    try:
        wanted = int(child.text) > 0
    except ValueError:
        draft.add(child.problem(f"{quoted(child.text)} is not a whole number", "Remove it"))
        return
    if wanted:
        what = "mini-batches without input are not supported"
        draft.add(child.problem(what, "Remove it, and give files to score"))
    else:
        draft.note(child, "ignored: none are asked for")
