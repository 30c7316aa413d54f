"""Nodes of Temporal's production server, all four roles each, on one PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from aviary.local import probes
from aviary.local.databases import USER
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec
from aviary.local.temporal.programs import TemporalTools

SHARDS: Final = 16
"""Of the history; fixed when the databases are made."""
DATABASES: Final = {"temporal": "temporal", "temporal_visibility": "visibility"}
"""Names, and the schema of each."""
_ROLES: Final = ("frontend", "history", "matching", "worker")
_PLUGIN: Final = "postgres12"
_TAIL: Final = 2_000
NO_CHANGES: Final[Mapping[str, object]] = MappingProxyType({})
_RPC: Final = timedelta(seconds=5)
_AGAIN_S: Final = 0.2
_BEGINNING: Final = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED)


class SchemaError(RuntimeError):
    """Temporal's databases could not be made; the text has the end of what its tool said."""


@dataclass(frozen=True)
class NodePorts:
    """The ports of one node: each role has two."""

    grpc: tuple[int, ...]
    membership: tuple[int, ...]

    @classmethod
    def choose(cls, ports: FreePorts) -> NodePorts:
        """Take free ones."""
        grpc, membership = (tuple(ports.take() for _ in _ROLES) for _ in range(2))
        return cls(grpc, membership)

    @property
    def frontend(self) -> int:
        """Where clients connect."""
        return self.grpc[_ROLES.index("frontend")]


async def make_databases(tools: TemporalTools, port: int) -> None:
    """Make both databases, with today's schema.

    Args:
        tools: Temporal's programs.
        port: of PostgreSQL.

    Raises:
        SchemaError: the tool failed.
    """
    for database, schema in DATABASES.items():
        folder = tools.root / "schema/postgresql/v12" / schema / "versioned"
        await _tool(tools, port, database, "create")
        await _tool(tools, port, database, "setup-schema", "-v", "0.0")
        await _tool(tools, port, database, "update-schema", "-d", str(folder))


async def _tool(tools: TemporalTools, port: int, database: str, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(tools.sql_tool), "--plugin", _PLUGIN, "--ep", LOOPBACK, "-p", str(port),
        "-u", USER, "--db", database, *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode != 0:
        text = output.decode(errors="replace")[-_TAIL:]
        raise SchemaError(f"temporal-sql-tool {words[0]} {database}: {text}")


def spec(  # noqa: PLR0913, PLR0917 - what makes a node
    name: str,
    tools: TemporalTools,
    folder: Path,
    ports: NodePorts,
    database: int,
    dynamic: Mapping[str, object] = NO_CHANGES,
) -> ChildSpec:
    """Write a node's files; the node as a part of a stack.

    Args:
        name: of the part.
        tools: Temporal's programs.
        folder: the node's own, which is made.
        ports: the node's.
        database: PostgreSQL's port.
        dynamic: Temporal's run-time settings that are not as Temporal has them.
    """
    folder.mkdir()
    values = {key: [{"value": value, "constraints": {}}] for key, value in dynamic.items()}
    file, changed = folder / "server.yaml", folder / "dynamic.yaml"
    # JSON is YAML.
    changed.write_text(json.dumps(values))
    file.write_text(json.dumps(_configuration(ports, database, changed), indent=1))
    argv = (str(tools.server), "--config-file", str(file), "--allow-no-auth", "start")
    return ChildSpec(name, argv, cwd=folder, probe=probes.listens(ports.frontend))


async def make_namespace(address: str, name: str, retention: timedelta) -> None:
    """Make a namespace, if it is not there; wait for nodes that have just begun.

    Raises:
        RPCError: it is refused.
    """
    request = RegisterNamespaceRequest(namespace=name)
    request.workflow_execution_retention_period.FromTimedelta(retention)
    while True:
        try:
            client = await Client.connect(address, namespace=name)
            await client.workflow_service.register_namespace(request, timeout=_RPC)
        except RuntimeError:  # what the SDK raises where nobody answers
            await asyncio.sleep(_AGAIN_S)
        except RPCError as error:
            if error.status is RPCStatusCode.ALREADY_EXISTS:
                return
            if error.status not in _BEGINNING:
                raise
            await asyncio.sleep(_AGAIN_S)
        else:
            return


def _configuration(ports: NodePorts, database: int, dynamic: Path) -> dict[str, Any]:
    return {
        "log": {"stdout": True, "level": "warn"},
        "persistence": {
            "defaultStore": "default",
            "visibilityStore": "visibility",
            "numHistoryShards": SHARDS,
            "datastores": {
                "default": _store("temporal", database, connections=20),
                "visibility": _store("temporal_visibility", database, connections=10),
            },
        },
        "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": LOOPBACK}},
        "services": {
            role: {"rpc": {"grpcPort": grpc, "membershipPort": gossip, "bindOnIP": LOOPBACK}}
            for role, grpc, gossip in zip(_ROLES, ports.grpc, ports.membership, strict=True)
        },
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {
                "active": {
                    "enabled": True,
                    "initialFailoverVersion": 1,
                    "rpcName": "frontend",
                    "rpcAddress": f"{LOOPBACK}:{ports.frontend}",
                }
            },
        },
        "dcRedirectionPolicy": {"policy": "noop"},
        "dynamicConfigClient": {"filepath": str(dynamic), "pollInterval": "10s"},
    }


def _store(database: str, port: int, *, connections: int) -> dict[str, Any]:
    return {
        "sql": {
            "pluginName": _PLUGIN,
            "databaseName": database,
            "connectAddr": f"{LOOPBACK}:{port}",
            "connectProtocol": "tcp",
            "user": USER,
            "password": "",
            "maxConns": connections,
            "maxIdleConns": connections,
            "maxConnLifetime": "1h",
        }
    }
