"""The only room that makes promises about crashes: what was acknowledged survives, once, and nothing else is trusted.

The one writer of rows and log is the coordinator that holds the lock. docs/formats.md draws every file;
tests/crash/model kills this room at every step and compares.
"""
