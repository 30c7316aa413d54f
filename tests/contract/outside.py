"""A subject of a package of its own, which the suite of its port is run with alone.

`pytest tests/contract/routers --subject our_package.testing:OurSubject`. What is named is a class
that is made without arguments and is an asynchronous context manager of itself; of a router it says
`capabilities`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

import pytest

from schemas.capabilities import Capabilities

T = TypeVar("T")

OUTSIDE: Final = "outside"
"""Its name among the subjects."""


def add_option(parser: pytest.Parser) -> None:
    """Let the command line name one."""
    parser.addoption(
        "--subject",
        metavar="MODULE:CLASS",
        help="run a suite of tests/contract with this subject alone, of a package of your own",
    )


def outside(config: pytest.Config) -> Any | None:
    """The class that was named; None: the suite is run with those of this repository.

    Raises:
        pytest.UsageError: there is none of that name.
    """
    name: str | None = config.getoption("subject", None)
    if name is None:
        return None
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        message = f"--subject: got {name!r}, expected module:class: {error}"
        raise pytest.UsageError(message) from error


def capabilities_of(named: Any) -> Capabilities:
    """What the router of a subject that was named claims.

    Raises:
        pytest.UsageError: it does not say.
    """
    can = getattr(named, "capabilities", None)
    if not isinstance(can, Capabilities):
        raise pytest.UsageError(f"--subject: {named!r} has no capabilities, expected its router's")
    return can


def subject_of(
    request: pytest.FixtureRequest, own: Callable[[str], AbstractAsyncContextManager[T]]
) -> AbstractAsyncContextManager[T]:
    """The subject of a test: what was named, or one of this repository by its kind."""
    named = outside(request.config) if request.param == OUTSIDE else None
    made: AbstractAsyncContextManager[T] = own(request.param) if named is None else named()
    return made


def with_members(metafunc: pytest.Metafunc, kinds: Sequence[str]) -> None:
    """Run tests that take a `member` with one of each kind, or with what was named alone."""
    if "member" in metafunc.fixturenames:
        named = outside(metafunc.config) is not None
        metafunc.parametrize("member", [OUTSIDE] if named else kinds, indirect=True)
