"""What a user would run instead of batchctl, each at its honest best: the same script, the same rows to bytes.

`python -m tests.bench.peers PEER` in a process of its own, in the Python that the script needs; its task is in the
environment (see task.py). Workers turn rows into bytes, the parent only appends them. Nothing is durable, nothing can
be resumed, errors are not counted: favours to all of them.
"""
