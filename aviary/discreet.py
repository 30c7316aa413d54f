"""Keeps the secrets of a connection out of what its adapter reports, whoever wrote the adapter."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from adapters.connections import Connection
from adapters.errors import AdapterError

T = TypeVar("T")


def discreet(adapter: T, connection: Connection | None) -> T:
    """The adapter, with every secret of its connection hidden in the errors of its methods.

    It has the same public methods, so that it is what the adapter is for every port, and its name.
    """
    if connection is None or not connection.secret_fields():
        return adapter
    methods = {
        name: _wrapped(getattr(adapter, name), connection.hide)
        for name in dir(adapter)
        if not name.startswith("_") and callable(getattr(adapter, name))
    }
    others = {
        name: property(functools.partial(_read, adapter, name))
        for name in dir(adapter)
        if not name.startswith("_") and name not in methods
    }
    made: T = type(type(adapter).__name__, (), {**others, **_static(methods)})()
    return made


def _read(adapter: object, name: str, _: object) -> Any:
    return getattr(adapter, name)


def _static(methods: dict[str, Callable[..., Any]]) -> dict[str, Any]:
    return {name: staticmethod(method) for name, method in methods.items()}


def _wrapped(method: Callable[..., Any], hide: Callable[[str], str]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def call_async(*args: Any, **named: Any) -> Any:
            try:
                return await method(*args, **named)
            except Exception as error:  # noqa: BLE001 - it is raised again, with another text
                raise _told(error, hide) from None

        return call_async

    @functools.wraps(method)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except Exception as error:  # noqa: BLE001 - it is raised again, with another text
            raise _told(error, hide) from None

    return call


def _told(error: Exception, hide: Callable[[str], str]) -> Exception:
    """The same error with another text; without its causes, whose texts are anybody's."""
    if isinstance(error, AdapterError):
        error.args = tuple(hide(part) if isinstance(part, str) else part for part in error.args)
        error.__cause__ = None
        return error
    return RuntimeError(hide(f"{type(error).__name__}: {error}"))
