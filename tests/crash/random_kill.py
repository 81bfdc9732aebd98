"""The family of random kills: `campaign.py` under the names that all families share."""

from __future__ import annotations

import sys
from typing import Any

from tests.crash.campaign import JOBS
from tests.crash.campaign import campaign as kill_campaign
from tests.crash.findings import HARM, Asked, Findings


def campaign(asked: Asked) -> Findings:
    """`job`: mixed (default), parquet, appending, ...; `workers`: 2; `python`: for the script, "" for the command's
    own."""
    asked.knows("job", "workers", "python")
    found: dict[str, Any] = kill_campaign(
        kills=asked.n or 300,
        seed=asked.seed,
        workers=asked.number("workers", 2),
        batchctl=asked.batchctl,
        work=asked.work,
        job_name=asked.one("job", JOBS, "mixed"),
        python=asked.options.get("python", sys.executable),
        voice=asked.voice,
        until=asked.until,
    )
    counts = {name: int(found[name]) for name in ("kills", "rounds", *HARM)}
    return Findings(counts, list(found["violations"]), detail={k: v for k, v in found.items() if k != "detail"})
