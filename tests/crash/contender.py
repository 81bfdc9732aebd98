"""`contender.py READY START DELAY_S ARGUMENT...`: `batchctl ARGUMENT...`, loaded before the start of the race.

It writes a byte to the descriptor READY, waits for the end of START, then for DELAY_S, and goes on as the command.
"""

from __future__ import annotations

import os
import sys
import time

# What a run loads on its way: it must not cost this one the time in which the other is creating the run.
from batchctl.cli.main import main

if __name__ == "__main__":
    ready, start, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    os.write(ready, b".")
    os.close(ready)
    os.read(start, 1)
    os.close(start)
    time.sleep(delay)
    del sys.argv[1:4]
    sys.exit(main())
