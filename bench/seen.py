"""What Envoy saw: its access log, read while it grows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters.routers.envoy.names import resource_file
from adapters.routers.files import read_document, write_whole

FORMAT: Final = "%START_TIME(%s.%6f)% %REQ(:AUTHORITY)% %UPSTREAM_HOST% %RESPONSE_CODE%\n"
"""When a request started, whom it asked, which instance had it, and what came of it."""
FLUSH_MS: Final = 20
_LOG_TYPE: Final = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_POLL_S: Final = 0.01
_SETTLED_S: Final = 0.15
_WITHIN_S: Final = 20.0


@dataclass(frozen=True)
class Call:
    """One request."""

    started: float
    """Seconds since 1970."""
    service: str
    version: str
    status: int


def parse(line: str, versions: Mapping[str, str]) -> Call:
    """Read one line of the log; `versions` by the instance's port, `?` for a request without one.

    Raises:
        ValueError: not a line in `FORMAT`.
    """
    started, service, upstream, status = line.split()
    version = versions.get(upstream.rpartition(":")[2], "?")
    return Call(float(started), service, version, int(status))


def add_log(listener: Path, log: Path) -> None:
    """Let an Envoy that has not started yet log its requests."""
    [resource] = read_document(listener)["resources"]
    access: dict[str, Any] = {
        "name": "file",
        "typed_config": {
            "@type": _LOG_TYPE,
            "path": str(log),
            "log_format": {"text_format_source": {"inline_string": FORMAT}},
        },
    }
    for one in resource["filter_chains"][0]["filters"]:
        if one["name"] == "http":
            one["typed_config"]["access_log"] = [access]
    write_whole(listener, resource_file([resource]))


class AccessLog:
    """Reads the log from where it was left.

    Args:
        log: of `add_log`.
        versions: by the port of their instances.
    """

    def __init__(self, log: Path, versions: Mapping[int, str]) -> None:
        self._log = log
        self._versions = {str(port): version for port, version in versions.items()}
        self._offset = 0
        self._calls: list[Call] = []

    def forget(self) -> None:
        """Begin anew, after what is in the log now."""
        self._read()  # not to the end of the file: that may be within a line
        self._calls = []

    async def until(self, there: Callable[[Call], bool]) -> Call:
        """The first request since `forget` that is so, as soon as it is logged.

        Raises:
            TimeoutError: there was none for long.
        """
        async with asyncio.timeout(_WITHIN_S):
            while True:
                found = next((call for call in self._read() if there(call)), None)
                if found is not None:
                    return found
                await asyncio.sleep(_POLL_S)

    async def settled(self) -> list[Call]:
        """All requests since `forget`, once what has happened until now is in the log."""
        await asyncio.sleep(_SETTLED_S)
        return self._read()

    def _read(self) -> list[Call]:
        with self._log.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._calls += [parse(line, self._versions) for line in whole.decode().splitlines()]
        return self._calls
