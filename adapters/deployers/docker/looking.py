"""How an instance is, as the daemon has it: its state, its trouble, and its own words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from adapters.deployers.docker import labels
from adapters.deployers.docker.options import Reach
from schemas.deployment import Endpoint, Instance, InstanceState, Trouble
from schemas.outside import one_line

OVER: Final = frozenset({"exited", "dead", "stopped"})
"""States of a container that has ended; `stopped` is Podman's, until it has cleaned up."""
STEADY_S: Final = 2.0
"""How long a container without any check has to run before it passes for ready."""
_KILLED: Final = 128 + 9
_LONGEST_LOG: Final = 400


@dataclass(frozen=True)
class Look:
    """What is known of one container at a moment.

    `is_plain` is of one that runs and has no check of Docker's own: whether it is ready is another
    question.
    """

    instance: Instance
    trouble: Trouble | None = None
    started_at: str = ""
    restarts: int = 0
    is_plain: bool = False
    wants_log: bool = False
    """Whether the end of its log says why."""
    patience_s: float = 0.0
    """How long after its start a probe of Aviary's may fail."""
    age_s: float = 0.0
    """Since it was started, by the daemon's clock and ours, which may differ."""

    @property
    def state(self) -> InstanceState:
        """Of the instance."""
        return self.instance.state


def look(container: Mapping[str, Any], published_at: str, now: datetime) -> Look:
    """Read what the daemon says of a container that is ours.

    Args:
        container: the answer of an inspection.
        published_at: where ports of the host are reached.
        now: the time of day.
    """
    state = _of(container, "State")
    name = str(container.get("Name", "")).lstrip("/")
    restarts = container.get("RestartCount")
    found = _Looked(name, state, restarts if isinstance(restarts, int) else 0, container)
    one = found.look(endpoint_of(container, published_at))
    return replace(one, age_s=_age(one.started_at, now))


def seasoned(one: Look, age_s: float) -> Look:
    """The same in the light of how long it has run.

    Args:
        one: as the daemon and a probe say.
        age_s: seconds since it was started.
    """
    if one.state is InstanceState.READY and one.is_plain and age_s < STEADY_S:
        text = f"it has no check, so that it is given {STEADY_S:.0f} s"
        return _but(one, InstanceState.STARTING, text, None)
    if one.trouble is Trouble.PROBE_FAILED and age_s < one.patience_s:
        return _but(one, InstanceState.STARTING, one.instance.text, None)
    return one


def _but(one: Look, state: InstanceState, text: str, trouble: Trouble | None) -> Look:
    instance = one.instance.model_copy(update={"state": state, "text": text})
    return replace(one, instance=instance, trouble=trouble)


def _age(started_at: str, now: datetime) -> float:
    try:
        # Nanoseconds are more than Python reads.
        since = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", started_at))
        return (now - since).total_seconds()
    except (ValueError, TypeError):
        return 0.0


@dataclass(frozen=True)
class _Looked:
    name: str
    state: Mapping[str, Any]
    restarts: int
    container: Mapping[str, Any]

    def look(self, endpoint: Endpoint | None) -> Look:
        status = self.state.get("Status")
        if status == "running":
            return self._running(endpoint)
        if status == "restarting" or status in OVER:
            return self._ended(endpoint)
        text = {
            "created": "made, and not started yet",
            "paused": "paused by somebody",
            "removing": "being removed",
        }.get(str(status), f"in the state {one_line(str(status))}")
        state = {
            "created": InstanceState.STARTING,
            "removing": InstanceState.DRAINING,
        }.get(str(status), InstanceState.NOT_READY)
        return self._made(state, endpoint, text)

    def _running(self, endpoint: Endpoint | None) -> Look:
        health = _of(self.state, "Health")
        status = health.get("Status")
        if endpoint is None:
            text = "it runs, and has neither the address nor the port that its recipe asks for"
            return self._made(InstanceState.NOT_READY, None, text, Trouble.OTHER)
        if status in {None, "", "none"}:
            return self._made(InstanceState.READY, endpoint, "", is_plain=True)
        if status == "healthy":
            return self._made(InstanceState.READY, endpoint, "")
        if status == "starting":
            return self._made(InstanceState.STARTING, endpoint, "its check has not passed yet")
        words = _check_words(health)
        text = f"its check fails: {words}" if words else "its check fails"
        return self._made(InstanceState.NOT_READY, endpoint, text, Trouble.PROBE_FAILED)

    def _ended(self, endpoint: Endpoint | None) -> Look:
        code = self.state.get("ExitCode")
        times = f" ({self.restarts + 1} times)" if self.restarts else ""
        memory = _of(self.container, "HostConfig").get("Memory")
        most = f" of {memory >> 20} MB" if isinstance(memory, int) and memory else ""
        if self.state.get("OOMKilled") is True:
            text = f"it needed more than its memory{most} and was killed{times}"
            return self._made(InstanceState.FAILED, endpoint, text, Trouble.OUT_OF_MEMORY)
        if code == _KILLED and most and self.state.get("Status") == "restarting":
            # The daemon says so a moment later, or never where it was a child that was killed; what
            # somebody has killed by `docker kill` it does not start again.
            text = f"it was killed{times}, as it is when it needs more than its memory{most}"
            return self._made(InstanceState.FAILED, endpoint, text, Trouble.OUT_OF_MEMORY)
        error = one_line(str(self.state.get("Error") or ""))
        text = f"it ended with {code}{times}{f': {error}' if error else ''}"
        if code == _KILLED:
            text = f"it was killed (exit code 137){times}"
        return self._made(InstanceState.FAILED, endpoint, text, Trouble.CRASH_LOOP, wants_log=True)

    def _made(  # noqa: PLR0913 - what a look is
        self,
        state: InstanceState,
        endpoint: Endpoint | None,
        text: str,
        trouble: Trouble | None = None,
        *,
        is_plain: bool = False,
        wants_log: bool = False,
    ) -> Look:
        return Look(
            instance=Instance(name=self.name, state=state, endpoint=endpoint, text=text),
            trouble=trouble,
            started_at=str(self.state.get("StartedAt", "")),
            restarts=self.restarts,
            is_plain=is_plain,
            wants_log=wants_log,
        )


def endpoint_of(container: Mapping[str, Any], published_at: str) -> Endpoint | None:
    """Where an instance takes requests; None: nowhere yet."""
    said = labels.labels_of(container)
    port = labels.number(said, labels.PORT)
    reach = said.get(labels.REACH)
    network = _of(container, "NetworkSettings")
    if reach == Reach.HOST:
        bound = _of(network, "Ports").get(f"{port}/tcp")
        for one in bound if isinstance(bound, list) else ():
            if isinstance(one, dict) and str(one.get("HostPort", "")).isdigit():
                return Endpoint(host=published_at, port=int(one["HostPort"]))
        return None
    if reach == Reach.NAME:
        return Endpoint(host=str(container.get("Name", "")).lstrip("/"), port=port)
    first = str(_of(container, "HostConfig").get("NetworkMode", ""))
    networks = _of(network, "Networks")
    chosen = networks.get(first) or next(iter(networks.values()), None)
    address = chosen.get("IPAddress") if isinstance(chosen, dict) else None
    return Endpoint(host=str(address), port=port) if address else None


def with_log(found: Look, lines: tuple[str, ...]) -> Look:
    """The same with the end of its log."""
    if not lines:
        return found
    tail = " | ".join(lines)
    tail = tail if len(tail) <= _LONGEST_LOG else f"… {tail[-_LONGEST_LOG:]}"
    text = f"{found.instance.text}; last lines: {tail}"
    return replace(found, instance=found.instance.model_copy(update={"text": text}))


def _check_words(health: Mapping[str, Any]) -> str:
    log = health.get("Log")
    last = log[-1] if isinstance(log, list) and log and isinstance(log[-1], dict) else {}
    code, output = last.get("ExitCode"), one_line(str(last.get("Output", "")))[:_LONGEST_LOG]
    return f"exit code {code}{f', {output}' if output else ''}" if last else ""


def _of(thing: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = thing.get(name)
    return found if isinstance(found, dict) else {}
