"""Apache Kafka's jars, fetched by Maven at first use. `build/pom.xml` pins the version."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from aviary.local import debian

VERSION: Final = "4.1.1"
"""`build/pom.xml` has the same."""
CLUSTER: Final = "AviaryDurabilityTestsA"
"""The id of every cluster that is made of what is fetched here."""
MINUTES: Final = 1
"""What fetching takes, about 45 MB."""
_POM: Final = Path(__file__).parent / "build/pom.xml"
_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_FETCH_WITHIN_S: Final = 600
_FORMAT_WITHIN_S: Final = 120
_TAIL: Final = 500


class KafkaFetchError(RuntimeError):
    """Apache Kafka can't be had here; the text says why."""


def jars(cache: Path) -> Path:
    """Where the jars are, or would be."""
    return cache.absolute() / f"kafka-{VERSION}"


def to_fetch(cache: Path) -> int:
    """The minutes that `install` would take; 0 where it is done."""
    return 0 if jars(cache).is_dir() else MINUTES


def check(cache: Path) -> None:
    """Whether it runs here, and can be fetched where it is not there yet.

    Raises:
        KafkaFetchError: Java, or what fetches it, is missing.
    """
    needed = ("java", "mvn") if to_fetch(cache) else ("java",)
    if missing := [name for name in needed if shutil.which(name) is None]:
        raise KafkaFetchError(f"Apache Kafka {VERSION}: not installed: {', '.join(missing)}")


def install(cache: Path, say: Callable[[str], None]) -> Path:
    """The folder of Kafka's jars; fetched from Maven Central unless it is there. Blocks.

    Args:
        cache: a folder that may be kept between runs; two processes may share it.
        say: told what takes minutes, before it begins.

    Raises:
        KafkaFetchError: Java or Maven is missing, or failed.
    """
    check(cache)
    folder = jars(cache)
    cache.mkdir(parents=True, exist_ok=True)
    with debian.locked(cache / "kafka.lock"):
        if folder.is_dir():
            return folder
        say(f"fetching Apache Kafka {VERSION}, once: about {MINUTES} minute")
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        try:
            _run("mvn", "-q", "-B", "-C", "-f", str(_POM), _PLUGIN, f"-DoutputDirectory={fresh}")
            _format(fresh)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder


def write(path: Path, properties: Mapping[str, str]) -> None:
    """A file of properties, as Kafka reads them."""
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


def _format(folder: Path) -> None:
    """Make the beginning of a log folder once; each node's is a copy with its own ids."""
    properties = folder / "format.properties"
    told = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@127.0.0.1:1",
        "controller.listener.names": "CONTROLLER",
        "listeners": "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:1",
        "log.dirs": str(folder / "format"),
    }
    write(properties, told)
    tool = ("java", "-cp", f"{folder}/*", "kafka.tools.StorageTool")
    _run(*tool, "format", "-t", CLUSTER, "-c", str(properties), within=_FORMAT_WITHIN_S)


def _run(*command: str, within: float = _FETCH_WITHIN_S) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - Maven and Java
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        text = f"Apache Kafka {VERSION}: {command[0]}: did not end within {within:g} s"
        raise KafkaFetchError(text) from error
    if done.returncode != 0:
        said = (done.stdout or done.stderr)[-_TAIL:]
        raise KafkaFetchError(f"Apache Kafka {VERSION}: {command[0]} failed: {said}")
