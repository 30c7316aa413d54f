"""Another system: it knows a release from what is on `aviary.events` alone.

It shares no code with Aviary, and reads what is on the wire, as `docs/reference/events.md` says.
"""

from __future__ import annotations

import json
from typing import Any

PHASES = {
    "queued": "queued",
    "started": "running",
    "soaking": "soaking",
    "finalizing": "finalizing",
    "finalized": "finalized",
    "rollingback": "rolling_back",
    "rolledback": "rolled_back",
}
KNOWN = ("version", "phase", "weight", "step", "stable", "verdict", "cause", "paused")


class Follower:
    """Follows one release."""

    def __init__(self, release: str) -> None:
        self._release = release
        self._heard: set[tuple[str, str]] = set()
        self.phase: str | None = None
        self.paused = False
        self.cause: dict[str, Any] | None = None
        self.services: dict[str, dict[str, Any]] = {}
        self.needs: dict[str, list[str]] = {}
        self.verdicts: list[tuple[str, str]] = []

    def read(self, record: bytes) -> None:
        """Take one record, in the order of the topic."""
        event = json.loads(record)
        identity = (event["source"], event["id"])
        if event["partitionkey"] != self._release or identity in self._heard:
            return
        self._heard.add(identity)
        company, scope, word = event["type"].split(".")[1:4]
        if company != "aviary":
            return
        if scope == "release":
            self._read_release(word, event["data"])
        elif scope == "canary":
            self._read_service(word, event["data"])

    def _read_release(self, word: str, data: dict[str, Any]) -> None:
        self.phase = PHASES.get(word, self.phase)
        self.paused = {"paused": True, "resumed": False}.get(word, self.paused)
        self.cause = data.get("cause") or self.cause
        self.needs |= data.get("depends_on", {})
        for name, version in data.get("services", {}).items():
            nothing = {"version": version, "phase": "waiting", "weight": 0.0, "paused": False}
            self.services.setdefault(name, dict.fromkeys(KNOWN) | nothing)

    def _read_service(self, word: str, data: dict[str, Any]) -> None:
        self.services[data["service"]] = {field: data[field] for field in KNOWN}
        if word == "judged":
            self.verdicts.append((data["service"], data["verdict"]["kind"]))
