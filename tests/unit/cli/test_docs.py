"""The reference names every command and exit code."""

import typer
from typer.main import get_command

from aviary.cli import build_app
from aviary.cli.failing import ExitCode
from tests.unit.cli.conftest import ROOT

REFERENCE = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")


def commands(group: object, prefix: str = "") -> list[str]:
    """All commands that do something, such as `release pause`."""
    found: list[str] = []
    for name, command in getattr(group, "commands", {}).items():
        below = commands(command, f"{prefix}{name} ")
        found += below or [f"{prefix}{name}"]
    return found


def test_every_command_is_described() -> None:
    app: typer.Typer = build_app()
    for command in commands(get_command(app)):
        group, _, name = command.rpartition(" ")
        assert f"`{name}" in REFERENCE or f"`{group} {name}" in REFERENCE, command


def test_every_exit_code_is_described() -> None:
    for code in ExitCode:
        assert f"| {code.value} |" in REFERENCE
