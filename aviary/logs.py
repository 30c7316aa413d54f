"""Logs: structlog everywhere, the standard library's loggers included."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from aviary.log_lapses import quiet_lapses
from aviary.log_rate import limit_rates
from aviary.telemetry.carrier import trace_ids
from schemas.ids import cell_of
from schemas.outside import visible

_TRACES = ("exception", "stack")
"""Fields that the console format writes as they are, below the line."""
_EXTRA = structlog.stdlib.ExtraAdder()
_NAMED = {"release": "release", "canary": "service"}
"""What the part after the slash of a workflow's id is."""


def configure_logs(*, level: str, fmt: str) -> None:
    """Write logs to stderr, for a person on a terminal and as JSON otherwise.

    Args:
        level: debug, info, warning or error.
        fmt: console, json, or auto (console on a terminal).
    """
    console = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_trace,
    ]
    # JSON escapes what is in its strings by itself.
    renderers: list[structlog.typing.Processor] = (
        [_visible, structlog.dev.ConsoleRenderer()]
        if console
        else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_stderr(shared, renderers)]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "aiokafka", "urllib3", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    limit_rates()
    quiet_lapses()
    # A collector that is away is one line for what was lost, not one for each attempt.
    logging.getLogger("opentelemetry.exporter").setLevel(max(logging.ERROR, root.level))


def _stderr(
    shared: list[structlog.typing.Processor], renderers: list[structlog.typing.Processor]
) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _EXTRA, _without_temporal_noise],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *renderers,
            ],
        )
    )
    return handler


def _visible(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Let no value act on a terminal, nor look like a line of its own.

    A trace has lines of its own; each is set in, so that none can pass for the next event.
    """
    return {
        _spelt(name): "\n".join(f"    {_spelt(line)}" for line in str(value).split("\n"))
        if name in _TRACES
        else _spelt(value)
        for name, value in event.items()
    }


def _spelt(value: Any) -> Any:
    """Text as it is to be shown; what is no text is shown as Python spells it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return visible(value if isinstance(value, str) else repr(value))


def _with_trace(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Say which trace a line belongs to, so that one finds the other."""
    ids = trace_ids()
    if ids is not None:
        event["trace_id"], event["span_id"] = ids
    return event


def _without_temporal_noise(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep of the SDK's context what finds a run again."""
    for field in ("temporal_workflow", "temporal_activity"):
        context = event.pop(field, None)
        if isinstance(context, dict):
            event["event"] = str(event.get("event")).removesuffix(f" ({context})")
            workflow_id = str(context.get("workflow_id"))
            event["workflow_id"] = workflow_id
            event["attempt"] = context.get("attempt")
            kind, _, name = workflow_id.removeprefix(str(cell_of(workflow_id))).partition("/")
            if name and kind in _NAMED:
                event.setdefault(_NAMED[kind], name)
    return event
