"""From the raw answer of a Prometheus to series, or to what is wrong with it. Pure.

What comes in may be of anything that sits at that address: a proxy, a login page, a cache, a store
that lacks a part of the data. Nothing is guessed: an answer is wholly of the known shape, or it is
a fault of a known kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NoReturn

from pydantic_core import from_json

from adapters.errors import Unanswered, WrongQuery
from schemas.reading import Answer, Fault, Series, shown

MOST_SERIES: Final = 25_000
"""Of one answer, which may be that of a hundred queries."""
_MOST_LABELS: Final = 200
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|Inf)|NaN")
_OTHER_TYPES: Final = frozenset({"matrix", "scalar", "string"})
_MOST_DIGITS: Final = 400
_WARNING_HEADERS: Final = ("m3-results-limited", "warning")
_INFO: Final = "PromQL info:"
_LEFT_OUT: Final = ("PromQL info: ignored ", "PromQL info: incompatible sample types")
"""Remarks that are called infos, and yet say that samples were left out of the result."""


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, address: str, promql: str
) -> Answer:
    """The series of an answer to an instant query.

    Args:
        status: of HTTP.
        headers: of HTTP.
        body: unpacked, and bounded.
        address: how errors call the server.
        promql: the query.

    Raises:
        WrongQuery: the server says so, or the query is of another type than an instant vector.
        Unanswered: anything else that is no whole answer.
    """
    if status != HTTPStatus.OK:
        _refuse(status, headers, body, address, promql)
    document = _document(headers, body, address)
    if document.get("status") == "error":
        _failed(document, address)
    data = document.get("data")
    if document.get("status") != "success" or not isinstance(data, dict):
        _malformed(address, "expected status and data")
    kind = data.get("resultType")
    if isinstance(kind, str) and kind in _OTHER_TYPES:
        text = f"query {shown(repr(promql))}: expected an instant vector, got a {kind}"
        raise WrongQuery(text, Fault.WRONG_TYPE)
    rows = data.get("result")
    if kind != "vector" or not isinstance(rows, list):
        _malformed(address, "expected an instant vector")
    if len(rows) > MOST_SERIES:
        text = f"{address}: the answer has {len(rows):,} series, more than {MOST_SERIES:,}"
        raise Unanswered(text, Fault.TOO_LARGE)
    warned = warned_of(document) or _limited(headers)
    return Answer((_series(row, address) for row in rows), warned)


def _document(headers: Mapping[str, str], body: bytes, address: str) -> dict[str, Any]:
    kind = headers.get("content-type", "")
    if "html" in kind.lower() or body.lstrip()[:1] == b"<":
        raise Unanswered(f"{address}: answered a web page, as a login does", Fault.WEB_PAGE)
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError:
        _malformed(address, f"{len(body):,} bytes that are not JSON")
    if not isinstance(document, dict):
        _malformed(address, "expected an object")
    return document


def _malformed(address: str, what: str) -> NoReturn:
    raise Unanswered(f"{address}: not the answer of a Prometheus: {what}", Fault.MALFORMED)


def _refuse(
    status: int, headers: Mapping[str, str], body: bytes, address: str, promql: str
) -> NoReturn:
    """What an answer with another status than 200 amounts to."""
    said = _said(body)
    text = f"{address}: HTTP {status}{f', {shown(said[1])}' if said else ''}"
    if said and status == HTTPStatus.BAD_REQUEST:
        raise WrongQuery(f"query {shown(repr(promql))}: Prometheus answered {text}")
    if said and "timeout" in said[0]:
        raise Unanswered(text, Fault.TIMED_OUT)
    if said and status == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise Unanswered(text, Fault.QUERY_FAILED)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        whither = shown(headers.get("location", "nowhere").split("?")[0])
        raise Unanswered(f"{text}, a redirect to {whither}", Fault.REDIRECTED)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise Unanswered(text, Fault.DENIED)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Unanswered(text, Fault.UNAVAILABLE)
    raise Unanswered(text, Fault.REFUSED)


def _said(body: bytes) -> tuple[str, str] | None:
    """Type and text of an error in the way of Prometheus; None for another body."""
    try:
        document = from_json(body)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("status") != "error":
        return None
    return str(document.get("errorType", ""))[:_MOST_LABELS], str(document.get("error", ""))


def _failed(document: Mapping[str, Any], address: str) -> NoReturn:
    text = f"{address}: HTTP 200, and yet an error: {shown(str(document.get('error', '')))}"
    late = "timeout" in str(document.get("errorType", ""))
    raise Unanswered(text, Fault.TIMED_OUT if late else Fault.QUERY_FAILED)


def _series(row: Any, address: str) -> Series:
    labels = row.get("metric") if isinstance(row, dict) else None
    if not isinstance(labels, dict) or len(labels) > _MOST_LABELS:
        _malformed(address, "a series without its labels")
    if not all(isinstance(value, str) for value in labels.values()):
        _malformed(address, "a label that is no text")
    if "value" not in row and "histogram" in row:
        text = f"{address}: answered native histograms, expected plain values"
        raise Unanswered(text, Fault.WRONG_TYPE)
    pair = row.get("value")
    value = pair[1] if isinstance(pair, list) and len(pair) == 2 else None  # noqa: PLR2004
    if not isinstance(value, str) or len(value) > _MOST_DIGITS or not _NUMBER.fullmatch(value):
        _malformed(address, "a series without a value")
    return Series(labels=labels, value=float(value))


def warned_of(document: Mapping[str, Any]) -> str:
    """What the source warns of; empty where nothing is missing.

    Thanos and Mimir put into `warnings` which stores did not answer, Prometheus which samples it
    left out. Prometheus 2.48 to 2.53 put its infos there, too. VictoriaMetrics says `isPartial`.
    """
    told = list(_remarks(document.get("warnings")))
    warned = [one for one in told if not one.startswith(_INFO)]
    infos = [*told, *_remarks(document.get("infos"))]
    warned += [one for one in infos if one.startswith(_LEFT_OUT)]
    if document.get("isPartial"):
        warned.append("isPartial")
    if document.get("error"):  # beside what there is: "the data field may still hold some"
        warned.append(str(document["error"]))
    more = f" (and {len(warned) - 1} more)" if len(warned) > 1 else ""
    return shown(warned[0]) + more if warned else ""


def _limited(headers: Mapping[str, str]) -> str:
    """What the head of an answer warns of: M3 names limits there, and a cache that it is old."""
    found = next((name for name in _WARNING_HEADERS if headers.get(name)), None)
    return "" if found is None else shown(f"{found}: {headers[found]}")


def _remarks(found: Any) -> Iterator[str]:
    if isinstance(found, list):
        yield from (one if isinstance(one, str) else repr(one)[:_MOST_LABELS] for one in found)
    elif found is not None:
        yield repr(found)[:_MOST_LABELS]
