"""A service of a compose file as a recipe: its settings, with the version's image.

The file is hostile until it is read: bounded, and what is not known here is an error that names it.
Nothing is taken from this process's environment: `${…}` is refused, but in the tag of the image,
where the version stands.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from schemas.document import read_yaml
from schemas.outside import one_line

_MOST: Final = 1 << 20
_LONGEST: Final = 1_500
_MOST_WRONG: Final = 10
_TAG: Final = re.compile(r"(?P<name>[^@$]+?)(:(?P<tag>[^/@]*))?(@.*)?")
_HOLE: Final = re.compile(r"(?<!\$)(?:\$\$)*\$[{A-Za-z_]")
_NO_MEANING: Final = frozenset(
    {"build", "container_name", "depends_on", "develop", "profiles", "scale"}
)
"""Of building and of `docker compose up`: they have no meaning for a version that is put up."""


class _WrongError(ValueError):
    """Where in the service, and what was expected."""

    def __init__(self, at: str, expected: str) -> None:
        super().__init__(f"{at}: {expected}")


class _File:
    """What a service of one file may refer to."""

    def __init__(self, path: Path, document: Mapping[str, Any]) -> None:
        self.folder = path.absolute().parent
        plain = re.sub(r"[^a-z0-9_-]", "", self.folder.name.lower()).lstrip("_-")
        self._project = str(document.get("name") or plain or "default")
        self._document = document

    def name_of(self, section: str, name: str) -> str:
        """What Docker calls a network or a volume of the file."""
        declared = _mapping(self._document.get(section) or {}, section)
        if name not in declared and not (section == "networks" and name == "default"):
            raise _WrongError(section, f"expected {name!r} to be declared at the top of the file")
        said = _mapping(declared.get(name) or {}, f"{section}.{name}")
        if isinstance(said.get("name"), str):
            return str(said["name"])
        return name if said.get("external") else f"{self._project}_{name}"


def inlined(written: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with `compose` replaced by the settings of the service that it names.

    Args:
        written: a recipe as a catalog has it; its other fields win.

    Raises:
        ValueError: the file can't be read, has no such service, or says what can't be done here.
    """
    at = written["compose"]
    if not isinstance(at, str) or at.count("#") != 1 or at.startswith("#") or at.endswith("#"):
        raise ValueError(
            f"compose: expected file#service, as in ./compose.yaml#checkout, got {at!r}"
        )
    name, _, service = at.partition("#")
    path = Path(name)
    document = _read(path)
    services = _mapping(document.get("services") or {}, "services")
    if service not in services:
        known = ", ".join(sorted(map(str, services))[:_MOST_WRONG]) or "there is none"
        raise ValueError(f"compose: {path}: expected a service {service!r} ({known})")
    taken, wrong = _taken(_mapping(services[service], service), _File(path, document))
    if wrong:
        lines = "; ".join(f"services.{service}.{one}" for one in wrong[:_MOST_WRONG])
        raise ValueError(f"compose: {path}: {one_line(lines)[:_LONGEST]}")
    beside = {key: value for key, value in written.items() if key != "compose"}
    return {**taken, **beside}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise ValueError(f"compose: {path}: {why}") from None
    if len(content) > _MOST:
        raise ValueError(f"compose: {path}: expected at most {_MOST:,} bytes")
    try:
        document = read_yaml(content.decode())
    except UnicodeDecodeError:
        raise ValueError(f"compose: {path}: expected UTF-8") from None
    if document.complaints:
        first = document.complaints[0]
        raise ValueError(f"compose: {path}: line {first.line}: expected {first.expected}")
    return _mapping(document.data, str(path))


def _taken(service: Mapping[str, Any], file: _File) -> tuple[dict[str, Any], list[str]]:
    taken: dict[str, Any] = {}
    wrong: list[str] = []
    for key, value in service.items():
        if key in _NO_MEANING or key.startswith("x-") or value is None:
            continue
        how = _KEYS.get(key)
        try:
            if how is None:
                raise _WrongError(key, "not supported by Aviary")  # noqa: TRY301 - one list of them
            if key != "image":
                _no_holes(value, key)
            taken |= how(value, file)
        except _WrongError as error:
            wrong.append(str(error))
    taken.setdefault("networks", [])
    if not taken["networks"] and not wrong:
        taken["networks"] = [file.name_of("networks", "default")]
    return taken, wrong


def _no_holes(value: Any, at: str) -> None:
    if isinstance(value, str) and _HOLE.search(value):
        raise _WrongError(
            at, f"expected no ${{…}}: nothing is read from an environment, got {value!r}"
        )
    inner: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(value, dict):
        inner = iter(value.items())
    elif isinstance(value, list):
        inner = iter(enumerate(value))
    for key, each in inner:
        _no_holes(each, f"{at}.{key}")


def _mapping(value: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _WrongError(at, f"expected a mapping, got {_shown(value)}")
    return value


def _list(value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise _WrongError(at, f"expected a list, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return repr(value)[:100]


def _text(value: Any) -> str:
    """As compose reads `$$`, and a number where it wants text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("$$", "$")


def _words(value: Any, at: str) -> list[str]:
    if isinstance(value, str):
        try:
            return [_text(word) for word in shlex.split(value)]
        except ValueError as error:
            raise _WrongError(at, f"expected a command ({error})") from None
    return [_text(word) for word in _list(value, at)]


def _pairs(value: Any, at: str, marks: str = "=") -> dict[str, str]:
    """A mapping, or a list of `name=value`."""
    if isinstance(value, dict):
        said = value
    else:
        said = {}
        for one in _list(value, at):
            mark = next((mark for mark in marks if mark in str(one)), "")
            name, _, rest = str(one).partition(mark) if mark else (str(one), "", None)
            said[name] = rest
    for name, one in said.items():
        if one is None:
            raise _WrongError(f"{at}.{name}", "expected a value: no environment is passed on")
        if isinstance(one, dict | list):
            raise _WrongError(f"{at}.{name}", f"expected text, got {_shown(one)}")
    return {str(name): _text(one) for name, one in said.items()}


def _only(value: Mapping[str, Any], known: set[str], at: str) -> None:
    for key in value:
        if key not in known:
            raise _WrongError(f"{at}.{key}", "not supported by Aviary")


def _image(value: Any, _: _File) -> dict[str, Any]:
    found = _TAG.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _WrongError("image", f"expected a name with a tag, got {_shown(value)}")
    return {"image": f"{found['name']}:{{version}}"}


def _ports(value: Any, _: _File) -> dict[str, Any]:
    targets = []
    for at, one in enumerate(_list(value, "ports")):
        target = one.get("target") if isinstance(one, dict) else str(one).rpartition(":")[2]
        number, slash, protocol = str(target).partition("/")
        if (slash and protocol != "tcp") or not number.isdecimal():
            raise _WrongError(f"ports.{at}", f"expected one port of TCP, got {_shown(one)}")
        targets.append(int(number))
    # More than one: the recipe has to say which; what is published stays the connection's business.
    return {"port": targets[0]} if len(set(targets)) == 1 else {}


def _health(value: Any, _: _File) -> dict[str, Any]:
    said = _mapping(value, "healthcheck")
    _only(said, {"test", "interval", "timeout", "retries", "start_period"}, "healthcheck")
    if "test" not in said:
        raise _WrongError("healthcheck", "expected a test")
    test = said["test"]
    words = (
        ["CMD-SHELL", _text(test)] if isinstance(test, str) else _words(test, "healthcheck.test")
    )
    if not words or words[0] not in {"CMD", "CMD-SHELL"}:
        raise _WrongError(
            "healthcheck.test", f"expected CMD or CMD-SHELL first, got {_shown(test)}"
        )
    command = words[1:] if words[0] == "CMD" else ["/bin/sh", "-c", *words[1:]]
    rest = {key: one for key, one in said.items() if key != "test"}
    return {"health": {"test": command, **rest}}


def _limits(value: Any, _: _File) -> dict[str, Any]:
    said = _mapping(value, "deploy")
    _only(said, {"resources", "replicas"}, "deploy")
    resources = _mapping(said.get("resources") or {}, "deploy.resources")
    _only(resources, {"limits"}, "deploy.resources")
    limits = _mapping(resources.get("limits") or {}, "deploy.resources.limits")
    _only(limits, {"cpus", "memory", "pids"}, "deploy.resources.limits")
    return {key: _number(one) if key == "cpus" else one for key, one in limits.items()}


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value  # the recipe says what is wrong with it


def _logging(value: Any, _: _File) -> dict[str, Any]:
    said = _mapping(value, "logging")
    _only(said, {"driver", "options"}, "logging")
    options = _pairs(said.get("options") or {}, "logging.options")
    return {"logging": {"driver": said.get("driver", "json-file"), "options": options}}


def _networks(value: Any, file: _File) -> dict[str, Any]:
    if isinstance(value, dict):
        for name, one in value.items():
            if one:
                raise _WrongError(f"networks.{name}", "expected nothing below it: not supported")
    names = list(value) if isinstance(value, dict) else _list(value, "networks")
    return {"networks": [file.name_of("networks", str(name)) for name in names]}


def _volumes(value: Any, file: _File) -> dict[str, Any]:
    return {
        "mounts": [
            _mount(one, f"volumes.{at}", file) for at, one in enumerate(_list(value, "volumes"))
        ]
    }


def _mount(value: Any, at: str, file: _File) -> str:
    if isinstance(value, dict):
        _only(value, {"type", "source", "target", "read_only"}, at)
        if str(value.get("type")) not in {"volume", "bind"}:
            raise _WrongError(
                f"{at}.type", f"expected volume or bind, got {_shown(value.get('type'))}"
            )
        parts = [str(value.get("source", "")), str(value.get("target", ""))]
        mode = "ro" if value.get("read_only") is True else ""
    else:
        parts = str(value).split(":")
        mode = parts.pop() if len(parts) > 2 else ""  # noqa: PLR2004 - source, target, mode
    if len(parts) != 2 or not all(parts) or mode not in {"", "ro", "rw"}:  # noqa: PLR2004 - the same
        raise _WrongError(at, f"expected source:/target or source:/target:ro, got {_shown(value)}")
    source, target = parts
    if source.startswith("."):
        source = str((file.folder / source).resolve())
    elif not source.startswith("/"):
        source = file.name_of("volumes", source)
    return ":".join(one for one in (source, target, mode) if one)


def _security(value: Any, _: _File) -> dict[str, Any]:
    for one in _list(value, "security_opt"):
        if str(one) not in {"no-new-privileges", "no-new-privileges:true"}:
            raise _WrongError("security_opt", f"{_shown(one)} is not supported by Aviary")
    return {"no_new_privileges": bool(value)}


def _secrets(value: Any, _: _File) -> dict[str, Any]:
    names = []
    for at, one in enumerate(_list(value, "secrets")):
        if isinstance(one, dict):
            _only(one, {"source"}, f"secrets.{at}")
        names.append(str(one["source"] if isinstance(one, dict) and "source" in one else one))
    return {"secret_files": names}


def _tmpfs(value: Any, _: _File) -> dict[str, Any]:
    return {"tmpfs": [value] if isinstance(value, str) else _list(value, "tmpfs")}


def _same(field: str) -> Callable[[Any, _File], dict[str, Any]]:
    return lambda value, _: {field: value}


_KEYS: Final[Mapping[str, Callable[[Any, _File], dict[str, Any]]]] = {
    "image": _image,
    "command": lambda value, _: {"command": _words(value, "command")},
    "entrypoint": lambda value, _: {"entrypoint": _words(value, "entrypoint")},
    "environment": lambda value, _: {"environment": _pairs(value, "environment")},
    "user": lambda value, _: {"user": _text(value)},
    "working_dir": _same("working_dir"),
    "ports": _ports,
    "expose": _ports,
    "healthcheck": _health,
    "mem_limit": lambda value, _: {"memory": _text(value)},
    "cpus": lambda value, _: {"cpus": _number(value)},
    "pids_limit": _same("pids"),
    "deploy": _limits,
    "restart": _same("restart"),
    "logging": _logging,
    "networks": _networks,
    "volumes": _volumes,
    "tmpfs": _tmpfs,
    "read_only": _same("read_only"),
    "init": _same("init"),
    "cap_add": _same("cap_add"),
    "cap_drop": _same("cap_drop"),
    "security_opt": _security,
    "shm_size": lambda value, _: {"shm_size": _text(value)},
    "extra_hosts": lambda value, _: {"hosts": _pairs(value, "extra_hosts", "=:")},
    "labels": lambda value, _: {"labels": _pairs(value, "labels")},
    "stop_signal": _same("stop_signal"),
    "stop_grace_period": _same("stop_grace"),
    "secrets": _secrets,
}
