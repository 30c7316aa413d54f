"""A real Unleash for the tests, and what a team does in it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from adapters.routers.unleash import UnleashConnection
from adapters.routers.unleash.api import UnleashApi
from aviary.local.unleash.server import ENVIRONMENT, UnleashServer
from tests.contract.routers.live import free_port

_FLAGS: Final = "/api/admin/projects/default/features"
_PATIENCE_S: Final = 60.0


class LiveUnleash(UnleashServer):
    """A server, and the API as a team's own tools use it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, free_port())
        headers = {"authorization": self.token}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=_PATIENCE_S)

    def stop(self) -> None:
        """End it."""
        self.client.close()
        super().stop()

    def api(self, *, reads_served: bool = False, **tokens: str) -> UnleashApi:
        """The adapter's client for it; the machine may be busy."""
        given = {"url": self.url, "token": self.token, **tokens}
        if reads_served:
            given["client_token"] = self.client_token
        connection = UnleashConnection.model_validate(given)
        return UnleashApi(connection, "default", ENVIRONMENT, within=_PATIENCE_S)

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Do what must succeed."""
        answer = self.client.request(method, path, json=body)
        answer.raise_for_status()
        return answer

    def make_flag(self, name: str, *strategies: Mapping[str, Any], on: bool = True) -> None:
        """A flag with these strategies."""
        self.ask("POST", _FLAGS, {"name": name})
        for strategy in strategies:
            self.ask("POST", self.path(name, "strategies"), strategy)
        if on:
            self.switch(name, on=True)

    def switch(self, name: str, *, on: bool) -> None:
        """Switch the environment of a flag."""
        self.ask("POST", self.path(name, "on" if on else "off"))

    def strategies(self, name: str) -> list[dict[str, Any]]:
        """The strategies of a flag, in their order."""
        found: list[dict[str, Any]] = self.ask("GET", self.path(name, "strategies")).json()
        return found

    def is_on(self, name: str) -> bool:
        """Whether the environment of a flag is switched on."""
        return bool(self.ask("GET", self.path(name)).json()["enabled"])

    def path(self, name: str, end: str = "") -> str:
        """Of what a flag has in the environment."""
        return f"{_FLAGS}/{name}/environments/{ENVIRONMENT}" + (f"/{end}" if end else "")

    @staticmethod
    def strategy(
        group: str, rollout: str, *variants: str, title: str = "aviary", **more: Any
    ) -> dict[str, Any]:
        """A gradual rollout; of its variants the first has all."""
        return {
            "name": "flexibleRollout",
            "title": title,
            "parameters": {"rollout": rollout, "stickiness": "default", "groupId": group},
            "variants": [
                {
                    "name": one,
                    "weight": 0 if number else 1000,
                    "weightType": "fix" if number else "variable",
                    "stickiness": "default",
                    "payload": {"type": "string", "value": f"value of {one}"},
                }
                for number, one in enumerate(variants)
            ],
            "constraints": [],
            **more,
        }
