"""The guest suite runs once per interpreter that this machine has."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("guest_driver", Path(__file__).with_name("driver.py"))
assert _spec is not None and _spec.loader is not None
driver = importlib.util.module_from_spec(_spec)
sys.modules["guest_driver"] = driver
_spec.loader.exec_module(driver)

FOUND = driver.interpreters()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "python" in metafunc.fixturenames:
        metafunc.parametrize("python", list(FOUND.values()), ids=["py" + version for version in FOUND], scope="session")


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driver.build_pyz(tmp_path_factory.mktemp("pyz") / "guest.pyz")


@pytest.fixture(scope="session")
def running(python: str, pyz: Path) -> Iterator[driver.Server]:
    """One fork server per interpreter; a JOB frame turns it to each test's own run directory."""
    found = driver.Server(python, pyz)
    yield found
    found.close()


@pytest.fixture
def server(running: driver.Server, tmp_path: Path) -> Iterator[driver.Server]:
    yield running.enter(tmp_path)
    running.leave()


@pytest.fixture
def own_server(python: str, pyz: Path, tmp_path: Path) -> Iterator[driver.Server]:
    """A fork server of the test's own, for tests about the server's life."""
    found = driver.Server(python, pyz)
    yield found.enter(tmp_path)
    found.close()
