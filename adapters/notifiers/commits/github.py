"""GitHub: a commit status for each environment, and a deployment for each release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from adapters.errors import Terminal
from adapters.notifiers.commits.notifier import Api, Said, State

_STATUS: Final = {
    State.RUNNING: "pending",
    State.WAITING: "pending",
    State.FAILED: "failure",
    State.DONE: "success",
}
_DEPLOYMENT: Final = {
    State.RUNNING: "in_progress",
    State.WAITING: "pending",
    State.FAILED: "failure",
    State.DONE: "success",
}
_FINAL: Final = frozenset({"success", "failure", "error"})
_TASK: Final = "deploy:aviary"
"""By which a deployment of ours is known."""


class GitHub:
    """GitHub's REST API, or that of an Enterprise Server.

    Args:
        url: of the API.
        deployments: whether there are deployments as well.
    """

    name = "GitHub"

    def __init__(self, url: str, *, deployments: bool = True) -> None:
        self.url = f"{url.rstrip('/')}/"
        self._deployments = deployments

    def headers(self, token: str) -> Mapping[str, str]:
        """See `Platform`."""
        return {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    async def tell(self, api: Api, said: Said) -> None:
        """See `Platform`."""
        repository = f"repos/{said.commit.repository}"
        await self._status(api, repository, said)
        if self._deployments:
            await self._deployment(api, repository, said)

    async def _status(self, api: Api, repository: str, said: Said) -> None:
        sha = said.commit.sha
        if not said.state.final:
            known = await api.get(f"{repository}/commits/{sha}/statuses", per_page="100")
            if _has_ended(known, said):
                return
        body = {"state": _STATUS[said.state], "context": said.name, "description": said.text}
        await api.send("POST", f"{repository}/statuses/{sha}", body | _url("target_url", said))

    async def _deployment(self, api: Api, repository: str, said: Said) -> None:
        number = await self._found(api, repository, said) or await self._made(api, repository, said)
        path = f"{repository}/deployments/{number}/statuses"
        if not said.state.final:
            known = await api.get(path, per_page="100")
            if any(one.get("state") in _FINAL for one in known):
                return
        body = {
            "state": _DEPLOYMENT[said.state],
            "description": said.text,
            "environment": said.environment,
            "auto_inactive": said.state is State.DONE,
        }
        await api.send("POST", path, body | _url("log_url", said))

    async def _found(self, api: Api, repository: str, said: Said) -> int | None:
        """The release's deployment, where there is one already."""
        known = await api.get(
            f"{repository}/deployments",
            sha=said.commit.sha,
            task=_TASK,
            environment=said.environment,
            per_page="100",
        )
        for one in known:
            payload, number = one.get("payload"), one.get("id")
            ours = isinstance(payload, dict) and payload.get("release") == said.release
            if ours and isinstance(number, int):
                return number
        return None

    async def _made(self, api: Api, repository: str, said: Said) -> int:
        body = {
            "ref": said.commit.sha,
            "task": _TASK,
            "auto_merge": False,
            "required_contexts": [],
            "payload": {"release": said.release},
            "environment": said.environment,
            "description": said.text,
        }
        made = await api.send("POST", f"{repository}/deployments", body)
        number = made.get("id") if isinstance(made, dict) else None
        if not isinstance(number, int):
            raise Terminal(f"POST {quote(repository)}/deployments: expected the id of a deployment")
        return number


def _has_ended(known: Sequence[Mapping[str, object]], said: Said) -> bool:
    """Whether the newest status of the release's environment is a final one of this release."""
    for one in known:  # newest first
        if one.get("context") == said.name:
            ours = str(one.get("description") or "").startswith(said.begins)
            return ours and one.get("state") in _FINAL
    return False


def _url(name: str, said: Said) -> dict[str, str]:
    return {name: said.url} if said.url else {}
