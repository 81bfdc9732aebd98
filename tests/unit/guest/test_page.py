"""The shared page: written on one side, read on the other, torn writes told apart."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from batchctl.guest import page as pages


@pytest.fixture
def sides() -> Iterator[tuple[int, pages.Page, pages.Page]]:
    fd = os.memfd_create("page")
    os.truncate(fd, pages.SIZE)
    worker, pool = pages.Page(fd), pages.Page(fd)
    yield fd, worker, pool
    worker.close()
    pool.close()
    os.close(fd)


def test_fresh_page_is_starting(sides: tuple[int, pages.Page, pages.Page]) -> None:
    _fd, worker, pool = sides
    assert pool.look() == (pages.STARTING, 0, 0)
    assert not worker.is_void(0)


@pytest.mark.parametrize("state", range(len(pages.STATE_NAMES)))
def test_what_is_put_is_seen(state: int, sides: tuple[int, pages.Page, pages.Page]) -> None:
    _fd, worker, pool = sides
    worker.put(state, 2**63, 2**62)
    assert pool.look() == (state, 2**63, 2**62)


@pytest.mark.parametrize(("serial", "void"), [(4, False), (5, True), (7, True), (8, False)])
def test_void_range(serial: int, void: bool, sides: tuple[int, pages.Page, pages.Page]) -> None:
    _fd, worker, pool = sides
    pool.void(5, 8)
    worker.put(pages.RUN, 1, 1)
    assert worker.is_void(serial) is void


def test_a_write_that_stays_torn_is_read_as_it_stands(sides: tuple[int, pages.Page, pages.Page]) -> None:
    fd, worker, pool = sides
    worker.put(pages.RUN, 3, 30)
    os.pwrite(fd, struct.pack("<QI", 2, pages.RENDER), 0)  # the worker was killed here
    assert pool.look() == (pages.RENDER, 3, 30)


def test_an_unknown_state_is_none_of_ours(sides: tuple[int, pages.Page, pages.Page]) -> None:
    _fd, worker, pool = sides
    worker.put(99, 1, 2)
    assert pool.look().state == pages.STARTING
