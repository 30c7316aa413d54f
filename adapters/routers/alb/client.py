"""Calls to the API of Elastic Load Balancing, whose client is synchronous: each in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from adapters.errors import AdapterError, Retryable, Terminal, UnknownRoute
from schemas.outside import one_line

GONE: Final = frozenset({"RuleNotFound", "ListenerNotFound", "TargetGroupNotFound"})
"""Codes of what is not there (any more)."""

_PASSES: Final = frozenset(
    {
        # Too much at once, by its several names.
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "PriorRequestNotComplete",
        # Its own trouble.
        "InternalFailure",
        "InternalError",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "HealthUnavailable",
        # Credentials, which a person or a rotation mends.
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "MissingAuthenticationToken",
        "OptInRequired",
        # Another change of the same resource is not through yet.
        "ResourceInUse",
        "OperationNotPermitted",
    }
)
_SERVER: Final = 500
_MOST_PAGES: Final = 50
_AT_ONCE: Final = 20
"""Resources whose tags one call gives."""


class Elb:
    """The API; the client is made when it is first needed, in a thread.

    Args:
        make: makes the client of boto3.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._client: Any = None

    async def call(self, operation: str, **given: Any) -> dict[str, Any]:
        """Make one call.

        Raises:
            UnknownRoute: what it is about is not there.
            Terminal: the call is refused, and would be again.
            Retryable: it may succeed later: throttled, no answer, no credentials.
        """
        try:
            answer: dict[str, Any] = await asyncio.to_thread(self._call, operation, given)
        except ClientError as error:
            raise refused(operation, error) from error
        except ParamValidationError as error:
            raise Terminal(f"{operation}: {one_line(str(error))}") from error
        except BotoCoreError as error:
            raise Retryable(f"{operation}: {one_line(str(error))}") from error
        return answer

    async def every(self, operation: str, key: str, **given: Any) -> list[dict[str, Any]]:
        """What all pages of a call have under a key."""
        found: list[dict[str, Any]] = []
        for _ in range(_MOST_PAGES):
            answer = await self.call(operation, **given)
            found += answer.get(key, [])
            marker = answer.get("NextMarker")
            if not marker:
                return found
            given["Marker"] = marker
        raise Terminal(f"{operation}: expected at most {_MOST_PAGES} pages")

    async def tags(self, arns: Sequence[str]) -> dict[str, dict[str, str]]:
        """The tags of each resource."""
        found: dict[str, dict[str, str]] = {}
        for start in range(0, len(arns), _AT_ONCE):
            some = list(arns[start : start + _AT_ONCE])
            answer = await self.call("describe_tags", ResourceArns=some)
            for one in answer.get("TagDescriptions", ()):
                tags = {tag["Key"]: tag.get("Value", "") for tag in one.get("Tags", ())}
                found[one["ResourceArn"]] = tags
        return found

    async def aclose(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    def _call(self, operation: str, given: dict[str, Any]) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._make()
        return getattr(self._client, operation)(**given)


def refused(operation: str, error: ClientError) -> AdapterError:
    """What an answer of the API means."""
    told = error.response.get("Error", {})
    code, status = str(told.get("Code", "")), 0
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{operation}: {code}: {one_line(str(told.get('Message', '')))}"
    code = code.removesuffix("Exception") if code not in _PASSES else code
    if code in GONE:
        return UnknownRoute(text)
    if code in _PASSES or status >= _SERVER:
        return Retryable(text)
    return Terminal(text)
