"""What the values of OpenTelemetry's variables must be, where its SDK would not mind.

For a value that it can't read the SDK logs a warning, often with the value in it, and takes a
default. Here it is an error at start, as with every setting, and what may hold a secret is hidden.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from aviary.settings import SettingsError

_OTLP: Final = "OTEL_EXPORTER_OTLP"
_FILES: Final = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
_COMPRESSIONS: Final = ("none", "gzip", "deflate")
_SAMPLERS: Final = frozenset(
    f"{parent}{name}"
    for parent in ("", "parentbased_")
    for name in ("always_on", "always_off", "traceidratio")
)
_QUEUE, _BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_WHOLE: Final = (_QUEUE, _BATCH, "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT")
_DEFAULTS: Final = {_QUEUE: "2048", _BATCH: "512"}
# What the exporter's own parser takes: it logs every other pair, with the secret in it.
_PAIR: Final = re.compile(r"([!#-'*+\-.0-9A-Z^-z|~]+)[ \t]*=[ \t]*([ !#-+\--:<-\[\]-~]*)")


def named(signal: str, option: str) -> str:
    """The variable of one signal, such as `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`."""
    return f"{_OTLP}_{signal.upper()}_{option}"


def check(signal: str, environment: Mapping[str, str]) -> None:
    """Check the variables that the SDK reads itself for `traces` or `metrics`.

    Raises:
        SettingsError: one has a value that can't be obeyed.
    """
    _check_exporter(signal, environment)
    if signal == "traces":
        _check_sampler(environment)
        _check_batches(environment)


def endpoint(name: str, text: str) -> str:
    """An address of a collector, without the user and password, or the key, that it may have.

    Raises:
        SettingsError: it is no address; a part that may be a secret is not repeated.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise SettingsError(f"{name}: (hidden): expected http://host:port") from None
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise SettingsError(f"{name}: {shown!r}, expected http:// or https://")
    return shown


def headers(name: str, text: str) -> dict[str, str]:
    """Headers, read from `key=value,…`.

    Raises:
        SettingsError: a pair is none, or its value can't be sent; nothing of it is repeated.
    """
    found: dict[str, str] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        pair = _PAIR.fullmatch(item)
        value = unquote(pair[2]).strip() if pair else "\n"
        if pair is None or "%" in pair[1] or not (value.isascii() and value.isprintable()):
            raise SettingsError(f"{name}: (hidden): expected key=value,key=value, URL-encoded")
        found[pair[1].lower()] = value
    return found


def _check_exporter(signal: str, environment: Mapping[str, str]) -> None:
    for option in ("TIMEOUT", "COMPRESSION", *_FILES):
        for name in (named(signal, option), f"{_OTLP}_{option}"):
            text = environment.get(name)
            if not text:
                continue
            if option == "TIMEOUT" and not _number(text) > 0:
                raise SettingsError(f"{name}: got {text!r}, expected seconds")
            if option == "COMPRESSION" and text.strip().lower() not in _COMPRESSIONS:
                expected = " or ".join(_COMPRESSIONS)
                raise SettingsError(f"{name}: got {text!r}, expected {expected}")
            if option in _FILES and not Path(text).is_file():
                raise SettingsError(f"{name}: got {text!r}, expected a file")


def _check_sampler(environment: Mapping[str, str]) -> None:
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").lower()
    if sampler and sampler not in _SAMPLERS:
        expected = ", ".join(sorted(_SAMPLERS))
        raise SettingsError(f"OTEL_TRACES_SAMPLER: got {sampler!r}, expected one of {expected}")
    name = "OTEL_TRACES_SAMPLER_ARG"
    share = environment.get(name)
    if share and sampler.endswith("traceidratio") and not 0 <= _number(share) <= 1:
        raise SettingsError(f"{name}: got {share!r}, expected a share between 0 and 1")


def _check_batches(environment: Mapping[str, str]) -> None:
    for name in _WHOLE:
        text = environment.get(name)
        if text is not None and not (text.isdecimal() and int(text) > 0):
            raise SettingsError(f"{name}: got {text!r}, expected a whole number above 0")
    batch, queue = (int(environment.get(name, _DEFAULTS[name])) for name in (_BATCH, _QUEUE))
    if batch > queue:
        raise SettingsError(f"{_BATCH}: got {batch}, expected at most {queue}, which is {_QUEUE}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
