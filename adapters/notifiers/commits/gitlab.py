"""GitLab: a commit status for each environment, and a deployment to it for each commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from adapters.notifiers.commits.notifier import Api, Said, State

_STATUS: Final = {
    State.RUNNING: "running",
    State.WAITING: "running",
    State.FAILED: "failed",
    State.DONE: "success",
}
_FINAL: Final = frozenset({"success", "failed", "canceled"})
_SAME: Final = "Cannot transition status"
"""It is in that state already: GitLab takes none twice."""


class GitLab:
    """GitLab's REST API.

    Args:
        url: of the API, as https://gitlab.example/api/v4.
        deployments: whether there are deployments as well.
    """

    name = "GitLab"

    def __init__(self, url: str, *, deployments: bool = True) -> None:
        self.url = f"{url.rstrip('/')}/"
        self._deployments = deployments

    def headers(self, token: str) -> Mapping[str, str]:
        """See `Platform`."""
        return {"PRIVATE-TOKEN": token}

    async def tell(self, api: Api, said: Said) -> None:
        """See `Platform`."""
        project = f"projects/{quote(said.commit.repository, safe='')}"
        if await self._has_ended(api, project, said):
            return
        await self._status(api, project, said)
        if self._deployments:
            await self._deployment(api, project, said)

    async def _has_ended(self, api: Api, project: str, said: Said) -> bool:
        """Whether this notice comes after one of its release's end."""
        if said.state.final:
            return False
        path = f"{project}/repository/commits/{said.commit.sha}/statuses"
        known = await api.get(path, name=said.name, per_page="100")
        newest: Mapping[str, object] = next((one for one in known if _names(one, said)), {})
        ours = str(newest.get("description") or "").startswith(said.begins)
        return ours and newest.get("status") in _FINAL

    async def _status(self, api: Api, project: str, said: Said) -> None:
        body = {"state": _STATUS[said.state], "name": said.name, "description": said.text}
        if said.url:
            body["target_url"] = said.url
        if said.commit.ref:
            body["ref"] = said.commit.ref
        await api.send("POST", f"{project}/statuses/{said.commit.sha}", body, same=_SAME)

    async def _deployment(self, api: Api, project: str, said: Said) -> None:
        known = await api.get(
            f"{project}/deployments",
            environment=said.environment,
            order_by="id",
            sort="desc",
            per_page="100",
        )
        newest = next((one for one in known if one.get("sha") == said.commit.sha), None)
        status = _STATUS[said.state]
        if newest is not None and newest.get("status") == status:
            return
        if newest is not None and newest.get("status") not in _FINAL:
            path = f"{project}/deployments/{newest.get('id')}"
            await api.send("PUT", path, {"status": status}, same=_SAME)
            return
        body = {
            "environment": said.environment,
            "sha": said.commit.sha,
            "ref": said.commit.ref or said.commit.sha,
            "tag": False,
            "status": status,
        }
        await api.send("POST", f"{project}/deployments", body)


def _names(one: Mapping[str, object], said: Said) -> bool:
    return one.get("name") == said.name
