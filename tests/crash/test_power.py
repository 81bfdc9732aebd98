"""Power cuts in short; `make crash FAMILY=power` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchctl.errors import StorageError
from batchctl.files import RealDisk
from batchctl.store.layout import RunLayout
from batchctl.store.lock import held_lock, this_process
from tests.crash.campaign import beside_python
from tests.crash.findings import Asked
from tests.crash.images import KINDS, Image, NotHereError
from tests.crash.power import campaign


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("fs", "cuts"), [("ext4,ext4-writeback", 6), ("xfs", 6), ("ext4-cached", 2)])
def test_power_cuts_lose_nothing(fs: str, cuts: int, tmp_path: Path) -> None:
    found = campaign(Asked(cuts, 12, tmp_path, beside_python(), short=True, options={"fs": fs}))
    if found.not_run:
        pytest.skip(f"not run: {found.not_run}")
    assert found.violations == []
    assert found.counts["power_cuts"] == cuts
    assert not found.counts["lost"] + found.counts["duplicated"] + found.counts["unequal"]


def test_a_disk_that_breaks_after_the_end_changes_nothing(tmp_path: Path) -> None:
    """All is durable and only the lock is left to be given back. While work is under way it is an error like any."""
    try:
        with Image(KINDS["ext4"], tmp_path).make() as image:
            image.mount()
            out = image.at / "out"
            with held_lock(RealDisk(), RunLayout(out), holder=this_process()):
                image.cut()
            with (
                pytest.raises(StorageError, match="Input/output error"),
                held_lock(RealDisk(), RunLayout(out), holder=this_process()),
            ):
                raise AssertionError("it cannot be had on a disk that is gone")
    except NotHereError as error:
        pytest.skip(f"not run: {error}")
