"""What `run(mini_batch, mini_batch_context)` gets as its second argument."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict


class MiniBatchContext:
    """`minibatch_index`: number of the mini-batch in the plan (of a part: its parent's). `partition_key_value`: the
    values that all its files share, by partition key; {} where the job has no partition keys. Each call has its own.

    `dataset` exists for scripts that look at it and is always None.
    """

    __slots__ = ("dataset", "minibatch_index", "partition_key_value")

    def __init__(self, minibatch_index: int, partition_key_value: Dict[str, str]) -> None:
        self.minibatch_index = minibatch_index
        self.partition_key_value = partition_key_value
        self.dataset = None
