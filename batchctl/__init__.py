"""batchctl scores a folder of files with a scoring script, crash-safe. Importing it is free: it imports nothing."""

__version__ = "0.1.0"
