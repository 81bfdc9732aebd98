"""Frozen records shared by all rooms. No behaviour beyond what the data itself says; no I/O."""
