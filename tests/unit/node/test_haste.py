"""How soon the next look is."""

from __future__ import annotations

import pytest

from batchctl.node.haste import Haste

MIB = 1 << 20

# name: available MiB at looks a second apart, with 100 MiB in reserve -> seconds until the next look
PACES = {
    "the first look": ([900], 1.0),
    "nothing changes": ([900, 900], 1.0),
    "it grows": ([800, 900], 1.0),
    "slowly": ([900, 890], 1.0),
    "gone in two seconds": ([700, 500], 0.25),
    "gone in eight": ([600, 500, 450], 0.875),
    "gone in half a second": ([900, 300], 0.1),
    "below the reserve": ([200, 90], 0.1),
    "it has stopped": ([900, 300, 300], 1.0),
}


@pytest.mark.parametrize("name", PACES)
def test_the_next_look(name: str) -> None:
    seen, pause = PACES[name]
    haste = Haste(100 * MIB)
    for second, available in enumerate(seen):
        haste.see(available * MIB, now=float(second))
    assert haste.pause == pytest.approx(pause)
