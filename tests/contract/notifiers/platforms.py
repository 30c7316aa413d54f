"""GitHub and GitLab as far as commits are told of there, each over a real socket.

What GitHub is asked is held against its published OpenAPI (`github_openapi.json`, cut out of the
package that it names there); what GitLab is asked, against what its documentation says of it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema  # type: ignore[import-untyped]

OPENAPI = json.loads(Path(__file__).with_name("github_openapi.json").read_text())["paths"]
TOKEN = "t0ken-of-a-platform"
GITLAB_STATES = {"pending", "running", "success", "failed", "canceled", "skipped"}
GITLAB_DEPLOYMENTS = {"created", "running", "success", "failed", "canceled"}


class Hub:
    """Keeps statuses and deployments, newest first."""

    prefix = "/api"

    def __init__(self) -> None:
        self.url = ""
        self.broken = 0
        """Answered in place of anything; 0: nothing is broken."""
        self.writes = 0
        self.statuses: list[dict[str, Any]] = []
        self.deployments: list[dict[str, Any]] = []

    def take(self, method: str, target: str, headers: Any, body: Any) -> tuple[int, Any]:
        """Answer one request."""
        if self.broken:
            return self.broken, {"message": f"who sent {TOKEN}?"}
        if not self.known(headers):
            return 401, {"message": "Bad credentials"}
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.writes += method != "GET"
        return self.answer(method, parts.path.removeprefix(self.prefix), query, body)

    def known(self, headers: Any) -> bool:
        raise NotImplementedError

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        raise NotImplementedError


class GitHubServer(Hub):
    def known(self, headers: Any) -> bool:
        return bool(headers["authorization"] == f"Bearer {TOKEN}")

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        template, values = _operation(path, method.lower())
        described = OPENAPI[template][method.lower()]
        named = {one["name"]: one for one in described["parameters"] if one["in"] == "query"}
        assert query.keys() <= named.keys(), f"{template} takes no {query.keys() - named.keys()}"
        if body is not None:
            jsonschema.Draft202012Validator(described["requestBody"]).validate(body)
        if len(str((body or {}).get("description", ""))) > 140:
            return 422, {"message": "description is too long (maximum is 140 characters)"}
        return self._done(method, template, values, query, body)

    def _done(
        self, method: str, template: str, values: dict[str, str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        one: list[dict[str, Any]]
        match template.rsplit("}/", 1)[-1], method:
            case "statuses", "GET" if "commits" in template:
                return 200, [each for each in self.statuses if each["sha"] == values["ref"]]
            case "statuses", "GET":
                return 200, self._deployment(values)["statuses"]
            case "statuses", "POST":
                one = self._deployment(values)["statuses"]
                one.insert(0, body)
                return 201, body
            case "statuses/{sha}", "POST":
                self.statuses.insert(0, {**body, "sha": values["sha"]})
                return 201, body
            case "deployments", "GET":
                found = [
                    each
                    for each in self.deployments
                    if all(
                        str(each[name]) == query[name] for name in ("sha", "task", "environment")
                    )
                ]
                return 200, found
            case _:
                made = {**body, "id": len(self.deployments) + 1, "sha": body["ref"], "statuses": []}
                self.deployments.insert(0, made)
                return 201, made

    def _deployment(self, values: dict[str, str]) -> dict[str, Any]:
        number = int(values["deployment_id"])
        return next(one for one in self.deployments if one["id"] == number)

    def shown(self) -> list[tuple[str, str]]:
        """What people see: the newest status of each kind."""
        found = [("status", one["state"]) for one in self.statuses[:1]]
        return found + [("deployment", one["statuses"][0]["state"]) for one in self.deployments[:1]]


def _operation(path: str, method: str) -> tuple[str, dict[str, str]]:
    """The path of OpenAPI that a path is of, and what its parameters are."""
    for template, operations in OPENAPI.items():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
        if method in operations and (found := re.fullmatch(pattern, path)):
            return template, {name: unquote(value) for name, value in found.groupdict().items()}
    raise AssertionError(f"{method} {path}: GitHub has no such operation")


class GitLabServer(Hub):
    def known(self, headers: Any) -> bool:
        return bool(headers["private-token"] == TOKEN)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        project, _, rest = path.removeprefix("/projects/").partition("/")
        assert unquote(project) == "acme/shop"
        assert "/" not in project, "the path of a project is one segment"
        if rest.startswith("statuses/"):
            return self._set_status(rest.removeprefix("statuses/"), body)
        if rest.startswith("repository/commits/"):
            sha = rest.split("/")[2]
            return 200, [one for one in self.statuses if one["sha"] == sha]
        if method == "GET":
            assert rest == "deployments"
            return 200, [
                one for one in self.deployments if one["environment"] == query["environment"]
            ]
        return self._deploy(rest, body)

    def _set_status(self, sha: str, body: dict[str, Any]) -> tuple[int, Any]:
        assert body["state"] in GITLAB_STATES
        assert body.keys() <= {"state", "name", "description", "target_url", "ref"}
        if len(body["description"]) > 255:
            return 400, {"message": "description is too long (maximum is 255 characters)"}
        newest = self.statuses[0] if self.statuses else {}
        if newest.get("status") == body["state"] == "running":
            return 400, {"message": "Cannot transition status via :run from :running"}
        self.statuses.insert(0, {**body, "status": body["state"], "sha": sha})
        return 201, body

    def _deploy(self, rest: str, body: dict[str, Any]) -> tuple[int, Any]:
        assert body["status"] in GITLAB_DEPLOYMENTS
        if rest == "deployments":
            assert body.keys() == {"environment", "sha", "ref", "tag", "status"}
            self.deployments.insert(0, {**body, "id": len(self.deployments) + 1})
            return 201, self.deployments[0]
        number = int(rest.removeprefix("deployments/"))
        one = next(one for one in self.deployments if one["id"] == number)
        one["status"] = body["status"]
        return 200, one

    def shown(self) -> list[tuple[str, str]]:
        """What people see: the newest status of each kind."""
        found = [("status", one["status"]) for one in self.statuses[:1]]
        return found + [("deployment", one["status"]) for one in self.deployments[:1]]


@contextmanager
def serving(hub: Hub) -> Iterator[None]:
    """Serve one of them; a request that its API does not have is answered with 500, and kept."""
    faults: list[BaseException] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

        def _answer(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            content = self.rfile.read(size)
            body = json.loads(content) if content else None
            try:
                status, said = hub.take(self.command, self.path, self.headers, body)
            except Exception as error:  # noqa: BLE001 - told at the end
                faults.append(error)
                status, said = 500, {}
            answer = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that the library calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}{hub.prefix}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    if faults:
        raise faults[0]
