"""ID tokens of a real OpenID provider: what proves who somebody is, and all that does not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aviary.api.callers_file import CallersError, CallersFile, checked
from aviary.api.oidc import DISCOVERY, FRESH_S, REST_S, STALE_S, Oidc
from aviary.api.problems import Problem
from aviary.api.roles import Caller, Role, matches
from aviary.local.ports import FreePorts
from tests.unit.api.fakes import FakeSource, app_of, callers_file, client_of, eventually

AUDIENCE = "webhook"
CLAIMS = {"repository": "acme/shop", "ref": "refs/heads/main", "groups": ["dev", "sre"]}


@asynccontextmanager
async def provider(port: int) -> AsyncIterator[str]:
    """A provider with keys of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "oidc_provider_mock",
        "--port",
        str(port),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as http:

            async def answers() -> bool:
                try:
                    return (await http.get(url + DISCOVERY)).status_code == HTTPStatus.OK
                except httpx.TransportError:
                    return False

            await eventually(answers)
        yield url
    finally:
        process.terminate()
        await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def issuer() -> AsyncIterator[str]:
    async with provider(FreePorts().take()) as url:
        yield url


async def signed(url: str, audience: str = AUDIENCE, **claims: Any) -> str:
    """An ID token, as the provider gives it to whoever signs in."""
    back = "http://127.0.0.1/back"
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        (await http.put("/users/ann", json=CLAIMS | claims)).raise_for_status()
        asked = {"client_id": audience, "redirect_uri": back, "response_type": "code"}
        agreed = await http.post(
            "/oauth2/authorize", params=asked | {"scope": "openid"}, data={"sub": "ann"}
        )
        code = parse_qs(urlsplit(agreed.headers["location"]).query)["code"][0]
        grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        answer = await http.post("/oauth2/token", data=grant, auth=(audience, "secret"))
    token: str = answer.json()["id_token"]
    return token


def file_of(url: str, *rules: dict[str, Any], **more: Any) -> CallersFile:
    shop = {"claims": {"repository": "acme/shop"}, "roles": ["deploy"], "services": ["checkout"]}
    one = {"issuer": url, "audience": AUDIENCE, "rules": list(rules) or [shop], **more}
    return checked({"issuers": {"ci": one}, "tokens": callers_file().model_dump()["tokens"]})


class Asker:
    """Asks an `Oidc` whose clocks a test moves."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.later_s = 0.0
        self.monotonic_s = 0.0
        self.oidc = Oidc(http, self.now, lambda: self.monotonic_s)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.later_s)

    async def __call__(self, file: CallersFile, token: str) -> Caller:
        return await self.oidc.caller(file, token)

    async def refused(self, file: CallersFile, token: str, says: str, status: int = 401) -> None:
        with pytest.raises(Problem) as caught:
            await self(file, token)
        assert (caught.value.status, says in caught.value.detail) == (status, True), caught.value


@pytest.fixture
async def ask() -> AsyncIterator[Asker]:
    async with httpx.AsyncClient() as http:
        yield Asker(http)


async def test_a_token_says_who_it_is_and_its_claims_what_it_may(issuer: str, ask: Asker) -> None:
    caller = await ask(file_of(issuer), await signed(issuer))
    assert (caller.name, set(caller.roles)) == ("ci:ann", {Role.DEPLOY})
    assert caller.services == ("checkout",)
    assert caller.until is not None
    assert ask.now() < caller.until < ask.now() + timedelta(days=1)


@pytest.mark.parametrize(
    ("claims", "fits"),
    [
        ({"repository": "acme/*", "ref": "refs/heads/main"}, True),
        ({"repository": "acme/shop", "ref": "refs/heads/release"}, False),
        ({"groups": "sre"}, True),
        ({"groups": "boss"}, False),
        ({"admin": True}, False),
        ({"repository": "acme/shop-2"}, False),
        ({"repository": "*/shop"}, True),
    ],
)
async def test_the_first_rule_that_fits_counts(
    issuer: str, ask: Asker, claims: dict[str, Any], fits: bool
) -> None:
    rules = ({"claims": claims, "roles": ["read"]}, {"claims": {"sub": "bob"}, "roles": ["deploy"]})
    token = await signed(issuer)
    if fits:
        assert (await ask(file_of(issuer, *rules), token)).roles == {Role.READ}
    else:
        await ask.refused(file_of(issuer, *rules), token, "no rule of ci", 403)


async def test_the_wrong_audience_issuer_and_time_are_refused(issuer: str, ask: Asker) -> None:
    file, token = file_of(issuer), await signed(issuer)
    await ask.refused(file, await signed(issuer, "another"), "another audience")
    await ask.refused(file_of("https://issuer.example"), token, "issuer that is not known")
    ask.later_s = 2 * 86_400
    await ask.refused(file, token, "expired")
    ask.later_s = -3600
    await ask.refused(file, token, "not valid yet")
    ask.later_s = 0
    assert await ask(file, token)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


Forge = Callable[[dict[str, Any], dict[str, Any], bytes], str]


def unsigned(header: dict[str, Any], claims: dict[str, Any], _: bytes) -> str:
    return f"{part(header | {'alg': 'none'})}.{part(claims)}."


def with_public_key(header: dict[str, Any], claims: dict[str, Any], public: bytes) -> str:
    """Signed with the public key as if it were a secret that both know."""
    text = f"{part(header | {'alg': 'HS256'})}.{part(claims)}"
    mac = hmac.new(public, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def by_another(header: dict[str, Any], claims: dict[str, Any], _: bytes) -> str:
    key = rsa.generate_private_key(65537, 2048)
    return jwt.encode(claims, key, "RS256", {"kid": header["kid"]} if "kid" in header else None)


def unknown_kid(header: dict[str, Any], claims: dict[str, Any], _: bytes) -> str:
    return jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256", {"kid": "x"})


def brings_its_key(header: dict[str, Any], claims: dict[str, Any], _: bytes) -> str:
    key = rsa.generate_private_key(65537, 2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return jwt.encode(
        claims, key, "RS256", {"kid": "x", "jwk": public, "jku": "http://127.0.0.1:1"}
    )


@pytest.mark.parametrize(
    "forge", [unsigned, with_public_key, by_another, unknown_kid, brings_its_key]
)
async def test_no_forged_token_is_taken(issuer: str, ask: Asker, forge: Forge) -> None:
    good = jwt.decode_complete(await signed(issuer), options={"verify_signature": False})
    async with httpx.AsyncClient() as http:
        about = (await http.get(issuer + DISCOVERY)).json()
        keys = jwt.PyJWKSet.from_dict((await http.get(about["jwks_uri"])).json())
    public = keys.keys[0].key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    token = forge(good["header"], good["payload"], public)
    await ask.refused(file_of(issuer), token, "authorization: ")


async def test_a_changed_token_is_refused(issuer: str, ask: Asker) -> None:
    head, body, mark = (await signed(issuer)).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    for changed in (
        f"{head}.{part(claims | {'repository': 'acme/other'})}.{mark}",
        f"{head}.{body}.{mark[:-8]}AAAAAAAA",
        f"{head}.{body}.",
        f"{head}.{part([])}.{mark}",
        f"{part({'alg': 'RS256', 'crit': ['x'], 'x': 1})}.{body}.{mark}",
        "..",
        "a.b.c",
    ):
        await ask.refused(file_of(issuer), changed, "authorization: ")


async def test_the_keys_of_a_provider_that_names_none_are_those_of_the_last_minutes(
    ask: Asker,
) -> None:
    port = FreePorts().take()
    async with provider(port) as url:
        file, old = file_of(url), await signed(url)
        assert await ask(file, old)
    async with provider(port) as url:
        new = await signed(url)
        await ask.refused(file, new, "InvalidSignature")
        ask.monotonic_s += FRESH_S
        assert await ask(file, new)
        await ask.refused(file, old, "InvalidSignature")
    ask.monotonic_s += FRESH_S + 1
    assert await ask(file, new)  # away: what it published last counts for a day
    ask.monotonic_s += STALE_S
    await ask.refused(file, new, "can't be asked", 503)


async def test_a_new_key_is_asked_for_at_once_but_not_with_each_token() -> None:
    url = "https://issuer.example"
    keys = {name: rsa.generate_private_key(65537, 2048) for name in ("a", "b")}
    published, asked = ["a"], []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == DISCOVERY:
            return httpx.Response(200, json={"issuer": url, "jwks_uri": f"{url}/jwks"})
        public = [
            json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(keys[name].public_key())) | {"kid": name}
            for name in published
        ]
        return httpx.Response(200, json={"keys": [*public, {"kty": "oct", "k": "AA", "kid": "c"}]})

    def token(name: str, kid: str) -> str:
        claims = {"iss": url, "aud": AUDIENCE, "sub": "ann", "iat": 1, "exp": 2_000_000_000}
        return jwt.encode(claims | CLAIMS, keys[name], "RS256", {"kid": kid})

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
        ask, file = Asker(http), file_of(url)
        assert await ask(file, token("a", "a"))
        published[:] = ["b"]
        for _ in range(20):
            await ask.refused(file, token("b", "b"), "no key")
        assert len(asked) == 2
        ask.monotonic_s += REST_S
        assert await ask(file, token("b", "b"))
        await ask.refused(file, token("a", "a"), "no key")
        await ask.refused(file, token("b", "c"), "no key")  # a key of another type
        assert len(asked) == 4


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"issuer": "https://another.example", "jwks_uri": "https://issuer.example/jwks"},
        {"issuer": "https://issuer.example", "jwks_uri": "http://issuer.example/jwks"},
        {"issuer": "https://issuer.example", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "https://issuer.example", "jwks_uri": "https://a@issuer.example/jwks"},
        {"issuer": "https://issuer.example", "jwks_uri": 7},
        [],
        "x" * 300_000,
    ],
)
async def test_an_issuer_that_answers_otherwise_lets_nobody_in(answer: Any) -> None:
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json=answer)

    claims = {"iss": "https://issuer.example", "aud": AUDIENCE, "sub": "ann", "iat": 1, "exp": 2e9}
    token = jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256")
    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
        ask = Asker(http)
        for _ in range(3):
            await ask.refused(file_of("https://issuer.example"), token, "can't be asked", 503)
    assert asked == ["https://issuer.example" + DISCOVERY]


async def test_over_http_who_it_is_stands_in_the_word(issuer: str) -> None:
    source = FakeSource()
    file = file_of(issuer, {"claims": {"groups": "sre"}, "roles": ["read", "rollback"]})
    async with httpx.AsyncClient() as http:
        app = app_of(source, file=file, oidc=Oidc(http))
        async with client_of(app) as client:
            headers = {"authorization": f"Bearer {await signed(issuer)}", "idempotency-key": "1"}
            path = "/releases/shop-1/rollback"
            answer = await client.post(path, json={"reason": "slow"}, headers=headers)
            assert (answer.status_code, answer.json()["by"]) == (200, "ci:ann")
            headers["authorization"] += "x" * 20_000
            assert (await client.get("/releases", headers=headers)).status_code == 401
    assert source.said[0][2].by == "ci:ann"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"issuer": "http://issuer.example"}, "https"),
        ({"algorithms": ["HS256"]}, "issuers.ci.algorithms"),
        ({"algorithms": ["none"]}, "issuers.ci.algorithms"),
        ({"rules": []}, "issuers.ci.rules"),
        ({"rules": [{"claims": {}, "roles": ["read"]}]}, "claims"),
        ({"audience": ""}, "audience"),
    ],
)
def test_an_issuer_that_would_prove_nothing_is_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(CallersError, match=says):
        file_of("https://issuer.example", **more)


def test_patterns_match_as_a_whole() -> None:
    assert matches("a*b*c", "a--b--c")
    assert not matches("a*b*c", "a--c")
    assert not matches("ab*ba", "aba")
    assert matches("*", "")
    assert not matches("", "a")
    assert not matches("*a" * 5000 + "*", "a" * 4999)
