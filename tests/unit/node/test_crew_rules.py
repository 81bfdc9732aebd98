"""Throughput, pressure, leaks, words: the arithmetic under `growth`, each alone."""

from __future__ import annotations

import random
from statistics import fmean, stdev

import pytest

from batchctl.node.leak import Leak
from batchctl.node.pressure import Pressure, Quiet
from batchctl.node.throughput import Pace, Throughput
from batchctl.node.told import LISTED, Told, ordinal, size

MIB, GIB = 1 << 20, 1 << 30


def test_mean_and_error_are_those_of_the_book() -> None:
    times = [random.Random(7).uniform(1e6, 9e6) for _ in range(50)]
    pace = Pace()
    for time in times:
        pace.add(round(time) * 10, 10)
    assert pace.mean == pytest.approx(fmean(times), rel=1e-6)
    assert pace.relative_error == pytest.approx(stdev(times) / 50**0.5 / fmean(times), rel=1e-6)


def test_a_mini_batch_counts_by_its_items() -> None:
    pace = Pace()
    pace.add(100, 1)
    pace.add(900, 9)
    pace.add(2000, 10)
    assert pace.mean == pytest.approx(150.0)
    assert Pace().relative_error == float("inf")


# crews and seconds per mini-batch of each, first the smaller one -> does the larger one fail?
GAINS: dict[str, tuple[tuple[int, list[float]], tuple[int, list[float]], bool | None]] = {
    "in proportion": ((4, [1.0] * 9), (8, [1.0] * 9), False),
    "nothing gained": ((4, [1.0] * 9), (8, [2.0] * 9), True),
    "a tenth of proportion": ((4, [1.0] * 9), (8, [2.0 / 1.11] * 9), False),
    "just below": ((4, [1.0] * 9), (8, [2.0 / 1.09] * 9), True),
    "slower than before": ((1, [1.0] * 9), (2, [3.0] * 9), True),
    "one more of four": ((4, [1.0] * 9), (5, [1.25 / 1.02] * 9), True),
    "noise hides it": ((4, [0.2, 1.8] * 5), (8, [0.5, 3.5] * 5), False),
    "many mini-batches see through noise": ((4, [0.2, 1.8] * 500), (8, [0.5, 3.5] * 500), True),
    "too few of the larger crew": ((4, [1.0] * 9), (8, [2.0] * 7), None),
    "too few of the smaller crew": ((4, [1.0] * 3), (8, [2.0] * 9), None),
    "a clock that stands still": ((4, [0.0] * 9), (8, [0.0] * 9), None),
}


@pytest.mark.parametrize("name", GAINS)
def test_gain(name: str) -> None:
    smaller, larger, in_vain = GAINS[name]
    throughput = Throughput()
    for crew, times in (smaller, larger):
        for time in times:
            throughput.add(crew, run_ns=round(time * 1e9), items=10)
    gain = throughput.gain(larger[0])
    assert (gain and gain.in_vain) == in_vain


# looks: available in MiB, stalled (reserve 1000) -> after which look somebody has to go (None: nobody), at once?
PRESSURE: dict[str, tuple[list[tuple[int, float | None]], int | None, bool]] = {
    "plenty": ([(5000, None)] * 5, None, False),
    "one low look": ([(900, None), (1000, None), (900, None)], None, False),
    "two in a row": ([(900, None), (999, None)], 1, False),
    "below a quarter": ([(249, None)], 0, True),
    "rising": ([(1500, 10.0), (1500, 15.0), (1500, 20.0)], 2, False),
    "rising, the same look twice": ([(1500, 10.0), (1500, 10.0), (1500, 15.0), (1500, 15.0), (1500, 25.0)], 4, False),
    "rising to 19 %": ([(1500, 10.0), (1500, 15.0), (1500, 19.0)], None, False),
    "rising and falling": ([(1500, 30.0), (1500, 40.0), (1500, 35.0), (1500, 45.0)], None, False),
    "rising where memory is plentiful": ([(2000, 10.0), (2000, 30.0), (2000, 60.0)], None, False),
    "no PSI here": ([(1500, None)] * 5, None, False),
}


@pytest.mark.parametrize("name", PRESSURE)
def test_pressure(name: str) -> None:
    looks, expected, at_once = PRESSURE[name]
    pressure = Pressure(1000 * MIB)
    reliefs = [pressure.look(available * MIB, stalled) for available, stalled in looks]
    first = next((at for at, relief in enumerate(reliefs) if relief is not None), None)
    assert first == expected
    assert any(relief is not None and relief.now for relief in reliefs) == at_once


def test_counting_begins_anew_after_relief() -> None:
    pressure = Pressure(1000)
    assert [pressure.look(900, None) is not None for _ in range(2)] == [False, True]
    pressure.relieved()
    assert [pressure.look(900, None) is not None for _ in range(2)] == [False, True]


def test_quiet_is_not_longer_for_several_of_one_episode() -> None:
    quiet = Quiet()
    assert quiet.over(0.0)
    for now in (1.0, 4.0, 7.0):
        quiet.retired(now)
    assert (quiet.seconds, quiet.over(36.9), quiet.over(37.0)) == (30.0, False, True)
    quiet.opened()
    quiet.retired(50.0)
    assert (quiet.seconds, quiet.over(109.0)) == (60.0, False)
    quiet.disturbed(100.0)
    assert (quiet.over(159.0), quiet.over(160.0)) == (False, True)


# MiB held at each reading, one per mini-batch (its share: 4 GiB) -> MiB where the leak began and ended, or none
LEAKS: dict[str, tuple[list[int], tuple[int, int] | None]] = {
    "steady": ([500] * 60, None),
    "10 MiB per mini-batch": ([200 + 10 * n for n in range(29)], (200, 460)),
    "the same, not yet at the bound": ([200 + 10 * n for n in range(27)], None),
    "a large worker is allowed half of itself": ([1000 + 20 * n for n in range(26)], None),
    "and no more": ([1000 + 20 * n for n in range(29)], (1000, 1520)),
    "one rise that stays": ([200] * 10 + [900] * 40, None),
    "two rises that stay": ([200] * 10 + [500] * 10 + [900] * 40, None),
    "rises and falls": ([200 + 100 * (n % 8) for n in range(64)], None),
    "breathing above a leak": ([200 + 8 * n + 400 * (n % 2) for n in range(60)], (200, 664)),
    "beyond its share": ([3500 + 70 * n for n in range(12)], (3500, 4200)),
    "beyond its share, but steady": ([4500] * 30, None),
}


@pytest.mark.parametrize("name", LEAKS)
def test_leak(name: str) -> None:
    held, expected = LEAKS[name]
    leak = Leak()
    for batches, mib in enumerate(held, start=1):
        leak.see(mib * MIB, batches)
    grown = leak.grown(4 * GIB)
    assert (grown and (grown.before // MIB, grown.now // MIB)) == expected


def test_who_was_recycled_before_may_grow_twice_as_far() -> None:
    leak = Leak(doublings=1)
    found = []
    for batches in range(1, 80):
        leak.see((200 + 10 * batches) * MIB, batches)
        if leak.grown(1 << 50):
            found.append(batches)
    assert 52 <= found[0] <= 56


def test_words() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"
    ]  # fmt: skip
    assert [size(n) for n in (5 * MIB, 210 * MIB, 1023 * MIB, GIB, 15 * GIB)] == [
        "5.0 MiB", "210 MiB", "1023 MiB", "1.0 GiB", "15.0 GiB"
    ]  # fmt: skip
    told = Told([("a", "thing"), ("b", "other thing")])
    for number in range(LISTED + 2):
        told.add("b", f"b{number}")
    told.add("a", "a0")
    told.once("a", "a0")
    assert told.lines() == ("a0", "b0", "b1", "b2", "and 2 more other things")
