"""Do partition_keys, partition_format, mini_batch_size and max_batch_bytes go together?"""

from __future__ import annotations

from batchctl.model.job import Dialect
from batchctl.model.partition import PartitionFormat
from batchctl.spec.draft import Draft, Rank, Value
from batchctl.spec.fields import BY_FIELD
from batchctl.spec.problems import Problem, escaped, quoted


def check_partitioning(draft: Draft, dialect: Dialect) -> None:
    """Add problems and notes; every field of the draft has a value by now.

    In the azure dialect keys beat a size, as in Azure's second version; elsewhere who writes both is asked which.
    """
    keys, template, size = (draft.values[name] for name in ("partition_keys", "partition_format", "mini_batch_size"))
    assert isinstance(keys.value, tuple)
    if not keys.value:
        if template.value is not None and not draft.is_wrong("partition_keys"):
            what = "partition_format is of no use without partition_keys"
            draft.add(Problem(template.source, what, "Name the keys: partition_keys = [...], or remove it"))
        return
    if size.rank is not Rank.DEFAULT:
        if dialect is Dialect.AZURE:
            draft.notes.append(f"{escaped(size.source)}: not used: {escaped(keys.source)} decides the mini-batches")
            default = BY_FIELD["mini_batch_size"].default_for(dialect)
            draft.values["mini_batch_size"] = Value(default, "default (partition_keys decides)", Rank.DEFAULT)
        else:
            what = f"mini_batch_size and partition_keys ({keys.source}) exclude each other: a partition is a mini-batch"
            draft.add(Problem(size.source, what, "Remove one of them"))
    isolate = draft.values["isolate"]
    if isolate.value and isolate.rank is not Rank.DEFAULT:
        draft.notes.append(f"{escaped(isolate.source)}: not used: a partition is never split ({escaped(keys.source)})")
    bound = draft.values["max_batch_bytes"]
    if bound.value is not None:
        what = f"max_batch_bytes and partition_keys ({keys.source}) exclude each other: a partition is never divided"
        draft.add(Problem(bound.source, what, "Remove one of them"))
    if template.value is not None:
        named = PartitionFormat.of(str(template.value)).keys
        for key in keys.value:
            if key not in named:
                what = f"the partition_format {quoted(str(template.value))} has no {{{key}}}"
                draft.add(Problem(template.source, what, "Name every key of partition_keys in it"))
