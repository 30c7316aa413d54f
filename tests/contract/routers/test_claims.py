"""What each router claims: a claim that is lost would silently take its tests along."""

from __future__ import annotations

import ast
from pathlib import Path

from aviary.kinds import ROUTERS
from tests.contract.routers.claims import EVERY, claimed
from tests.contract.routers.subjects import SUBJECTS

_MORE = {f"audience by {one}" for one in ("query", "path", "host", "method", "network")} | {
    "kept audiences",
    "lanes",
    "sticky choice",
}
LACKING = {
    "memory": set(),
    "several": set(),
    "envoy": set(),
    "envoy-ads": set(),
    "nginx": {"instances", "mirroring", "audience by host", "lanes", "sticky choice"},
    "flagd": EVERY - {"any weight", "fence", "sticky", "audience by context", "kept audiences"},
    "caddy": {"instances", "mirroring", "users"} | _MORE,
    "gateway_api": {"counts", "users", "sticky", "endpoints"} | _MORE,
    "istio": {"users", "sticky", "endpoints"} | _MORE,
    "haproxy": {
        "mirroring",
        "users",
        "audience by host",
        "kept audiences",
        "lanes",
        "sticky choice",
    },
    "alb": EVERY - {"instances", "registers", "forced by header"},
    "coarse": EVERY - {"fence"},
    "example": EVERY - {"counts"},
    "traefik-file": {
        "users",
        "sticky",
        "audience by host",
        "kept audiences",
        "lanes",
        "sticky choice",
    },
    "unleash": EVERY - {"sticky", "audience by context"},
    "traefik-etcd": {
        "users",
        "sticky",
        "audience by host",
        "kept audiences",
        "lanes",
        "sticky choice",
    },
}

SHOWING = {"envoy", "envoy-ads", "haproxy"}
LEASING = {"memory", "several", "envoy", "envoy-ads", "traefik-file"}
BY_CONTEXT = {"memory", "several", "flagd", "unleash"}


def test_each_router_claims_what_it_did_before() -> None:
    lacking = {
        name: lacks
        | (set() if name in LEASING else {"leases"})
        | (set() if name in SHOWING else {"counters"})
        | (set() if name in BY_CONTEXT else {"audience by context"})
        for name, lacks in LACKING.items()
    }
    assert {name: EVERY - claimed(can) for name, can in SUBJECTS.items()} == lacking


def test_every_kind_there_is_takes_part_and_shows_what_it_claims() -> None:
    """The kind `memory` claims less than its class can: it moves no traffic."""
    assert {kind.name for kind in ROUTERS} <= SUBJECTS.keys()
    for kind in ROUTERS:
        assert claimed(kind.capabilities) <= claimed(SUBJECTS[kind.name])
        assert kind.capabilities.weights == SUBJECTS[kind.name].weights


def test_every_claim_has_a_router_that_makes_it_and_one_that_does_not() -> None:
    assert frozenset().union(*(claimed(can) for can in SUBJECTS.values())) == EVERY
    assert frozenset().union(*(EVERY - claimed(can) for can in SUBJECTS.values())) == EVERY


def test_every_claim_has_a_module() -> None:
    modules = Path(__file__).parent.glob("test_*.py")
    trees = [ast.parse(path.read_text()) for path in modules]
    named = {
        str(ast.literal_eval(node.value))
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CLAIM"
    }
    assert {claim.partition(" by ")[0] for claim in EVERY} == named
