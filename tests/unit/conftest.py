from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages import Packages


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    found = Packages(folder, monkeypatch)
    yield found
    found.forget()
