"""Signs of life in files: written whole, read within bounds, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import Retryable
from adapters.routers.lease_folder import LEASES, LeaseFolder


def test_a_renewal_is_another_one_and_a_service_without_one_has_none(tmp_path: Path) -> None:
    folder = LeaseFolder(tmp_path)
    assert folder.renewal("cart") == ""
    seen = set[str]()
    for _ in range(5):
        folder.renew("cart")
        seen.add(folder.renewal("cart"))
    assert len(seen - {""}) == 5
    assert folder.renewal("ledger") == ""
    assert [path.name for path in (tmp_path / LEASES).iterdir()] == ["cart"]


@pytest.mark.parametrize("found", [b"", b"\x00\xff", b"x" * 10_000_000])
def test_whatever_stands_there_is_read_within_bounds_and_written_over(
    tmp_path: Path, found: bytes
) -> None:
    folder = LeaseFolder(tmp_path)
    folder.renew("cart")
    (tmp_path / LEASES / "cart").write_bytes(found)
    before = folder.renewal("cart")
    assert len(before) <= 2_000
    folder.renew("cart")
    assert folder.renewal("cart") not in {before, ""}


def test_a_link_to_elsewhere_is_not_written_through(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / LEASES).symlink_to(elsewhere)
    with pytest.raises(Retryable, match="no link to elsewhere"):
        LeaseFolder(tmp_path).renew("cart")
    assert list(elsewhere.iterdir()) == []


def test_a_file_that_is_a_link_is_replaced(tmp_path: Path) -> None:
    folder = LeaseFolder(tmp_path)
    folder.renew("cart")
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / LEASES / "cart").unlink()
    (tmp_path / LEASES / "cart").symlink_to(outside)
    folder.renew("cart")
    assert outside.read_text() == "mine"


def test_trouble_with_files_can_be_put_right(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="gone"):
        LeaseFolder(tmp_path / "gone").renew("cart")
    (tmp_path / LEASES).mkdir()
    (tmp_path / LEASES / "cart").mkdir()
    with pytest.raises(Retryable, match="cart"):
        LeaseFolder(tmp_path).renewal("cart")
