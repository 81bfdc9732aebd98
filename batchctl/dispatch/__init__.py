"""Who gets what next, and what a failure leads to. Pure: facts in, decisions out; no clock, no disk, no process.

`file_queue` is the one mutable thing here; all else are rules that it, or the conductor, asks.
"""
