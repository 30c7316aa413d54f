"""How the pods of a version are, as the cluster has them: states, trouble, and their own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.deployers.kubernetes import labels
from adapters.deployers.kubernetes.troubles import of_waiting
from adapters.kubernetes.resources import Json
from schemas.deployment import Endpoint, Instance, InstanceState, Trouble
from schemas.outside import cut, one_line

_LONGEST: Final = 500
_KILLED: Final = "OOMKilled"


@dataclass(frozen=True)
class Look:
    """One pod at a moment."""

    instance: Instance
    made_of: str
    uid: str
    trouble: Trouble | None = None
    log_of: str = ""
    """The container the end of whose log says why; empty: none does."""
    is_failing: bool = False
    """Whether it runs and is not ready, so that an event may say why."""


def look(pod: Json, port: int) -> Look:
    """Read what the API says of a pod of ours.

    Args:
        pod: as it is listed.
        port: where it takes requests; 0: not known.
    """
    about, status = pod["metadata"], _of(pod, "status")
    address = status.get("podIP")
    endpoint = None
    if isinstance(address, str) and address and port:
        endpoint = Endpoint(host=address, port=port)
    found = _Pod(str(about.get("name")), status, endpoint)
    state, trouble, text, log_of = found.read()
    if about.get("deletionTimestamp"):
        state, trouble, text = InstanceState.DRAINING, None, ""
    return Look(
        instance=Instance(name=found.name, state=state, endpoint=endpoint, text=text),
        made_of=str(labels.said(pod, "labels").get(labels.MADE_OF, "")),
        uid=str(about.get("uid")),
        trouble=trouble,
        log_of=log_of,
        is_failing=state is InstanceState.NOT_READY,
    )


_Read = tuple[InstanceState, Trouble | None, str, str]


@dataclass(frozen=True)
class _Pod:
    name: str
    status: Mapping[str, Any]
    endpoint: Endpoint | None

    def read(self) -> _Read:
        """State, trouble, words, and whose log says more."""
        if self.status.get("phase") in {"Failed", "Succeeded"}:
            text = self.status.get("message") or self.status.get("reason") or "it has ended"
            return InstanceState.FAILED, Trouble.OTHER, _words(text), ""
        scheduled = self._condition("PodScheduled")
        if scheduled.get("status") == "False":
            text = _words(scheduled.get("message") or scheduled.get("reason"))
            short = "Insufficient" in text or "exceed" in text
            trouble = Trouble.QUOTA if short else Trouble.OTHER
            return InstanceState.STARTING, trouble, f"not scheduled: {text}", ""
        for one in self._containers():
            if (found := _of_container(one)) is not None:
                return found
        if self._condition("Ready").get("status") == "True":
            return InstanceState.READY, None, "", ""
        running = [one for one in self._containers() if "running" in _of(one, "state")]
        if running and len(running) == len(self._containers()):
            return InstanceState.NOT_READY, None, "its readiness probe has not passed yet", ""
        return InstanceState.STARTING, None, "", ""

    def _containers(self) -> list[Mapping[str, Any]]:
        every = ("initContainerStatuses", "containerStatuses")
        found = (self.status.get(name) for name in every)
        return [one for part in found for one in part or () if isinstance(one, dict)]

    def _condition(self, kind: str) -> Mapping[str, Any]:
        for one in self.status.get("conditions") or ():
            if isinstance(one, dict) and one.get("type") == kind:
                return one
        return {}


def _of_container(said: Mapping[str, Any]) -> _Read | None:
    """The trouble of a container; None: it has none."""
    state, name = _of(said, "state"), str(said.get("name"))
    waiting, ended = _of(state, "waiting"), _of(state, "terminated")
    last = ended or _of(_of(said, "lastState"), "terminated")
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if ended and ended.get("exitCode") == 0:
        return None  # an init container that is done
    if waiting:
        trouble = of_waiting(reason, message)
        if trouble is None:
            return None
        if trouble is not Trouble.CRASH_LOOP:
            return InstanceState.STARTING, trouble, _words(f"{name}: {reason}: {message}"), ""
    elif not ended:
        return None
    times = said.get("restartCount")
    text = f"{name}: ended with {last.get('exitCode', '?')}"
    text += f", restarted {times} times" if times else ""
    if last.get("reason") == _KILLED:
        return InstanceState.FAILED, Trouble.OUT_OF_MEMORY, f"{text}: over its memory limit", name
    return InstanceState.FAILED, Trouble.CRASH_LOOP, text, name


def with_words(one: Look, words: str, trouble: Trouble | None = None) -> Look:
    """The same with more of its own words."""
    text = _words(f"{one.instance.text}: {words}" if one.log_of else words)
    instance = one.instance.model_copy(update={"text": text})
    return Look(
        instance=instance,
        made_of=one.made_of,
        uid=one.uid,
        trouble=trouble or one.trouble,
        log_of="",
        is_failing=one.is_failing,
    )


def as_draining(one: Look) -> Instance:
    """The instance of one that is not wanted."""
    return one.instance.model_copy(update={"state": InstanceState.DRAINING, "text": "not wanted"})


def _words(text: Any) -> str:
    return cut(one_line(str(text or "")), _LONGEST)


def _of(thing: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = thing.get(name)
    return found if isinstance(found, dict) else {}
