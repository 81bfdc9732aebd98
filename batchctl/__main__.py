"""`python -m batchctl`: the same entry as the installed command."""

from __future__ import annotations

from batchctl.cli.main import entry

if __name__ == "__main__":
    entry()
