"""An executable that stands in for dist/batchctl where that is not built: the command of this checkout, in a script."""

from __future__ import annotations

import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUILD = '{"build": {"glibc": "2.30", "source_date_epoch": "1767225600"}}'


def write_stand_in(path: Path) -> Path:
    """What `self` says of a packaged file is made up, everything else is real."""
    path.write_text(
        f"""#!/bin/sh
case "$*" in
    'self info --json') echo '{BUILD}'; exit ;;
    'self licenses --sbom') echo '{{"bomFormat": "CycloneDX"}}'; exit ;;
    'self licenses') echo 'Licences of everything inside.'; exit ;;
esac
PYTHONPATH={REPO} exec {sys.executable} -m batchctl "$@"
"""
    )
    path.chmod(0o755)
    return path
