from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from adapters.ports import Deployer
from tests.contract.deployers.processes import ProcessSubject
from tests.contract.deployers.subjects import RUNNERS, SUBJECTS, MemorySubject, Subject


@pytest.fixture
def memory_deployer_subject() -> MemorySubject:
    return MemorySubject()


@pytest.fixture
async def process_deployer_subject(tmp_path: Path) -> AsyncIterator[ProcessSubject]:
    async with httpx.AsyncClient() as client:
        made = ProcessSubject(tmp_path, client, range(21_000, 25_000))
        yield made
        made.stop()


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """Every deployer; in a module with `CLAIM = "runs"`, those that run commands."""
    found: Subject = request.getfixturevalue(f"{request.param}_deployer_subject")
    return found


@pytest.fixture
async def deployer(subject: Subject) -> AsyncIterator[Deployer]:
    made = subject.deployer()
    yield made
    await made.aclose()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with every deployer that claims what its module is about."""
    if "subject" in metafunc.fixturenames:
        runs = getattr(metafunc.module, "CLAIM", "") == "runs"
        metafunc.parametrize("subject", RUNNERS if runs else SUBJECTS, indirect=True)
