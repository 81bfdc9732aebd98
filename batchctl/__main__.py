"""`python -m batchctl`: the same entry as the installed command."""

from __future__ import annotations

import sys

from batchctl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
