"""The folder of a Docker daemon: its sockets must fit, wherever temporary files are."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from aviary.local import docker
from aviary.local.docker import SOCKET_PATH, DockerHost, DockerTools, host_folder

SOCKET = "host/exec/containerd/containerd.sock.ttrpc"


@pytest.mark.parametrize("length", [1, 20, 60, 150])
def test_sockets_below_it_fit_whatever_the_folder_of_temporary_files(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ("x" * length)
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    folder = host_folder()
    try:
        assert len(os.fsencode(folder / SOCKET)) <= SOCKET_PATH
    finally:
        folder.rmdir()


async def test_a_folder_that_is_too_long_is_an_error_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "check_machine", lambda: None)
    folder = tmp_path / ("x" * 100)
    with pytest.raises(ValueError, match="bytes too long for the sockets below it"):
        async with DockerHost(DockerTools(tmp_path), folder):
            pass
    assert not folder.exists()
