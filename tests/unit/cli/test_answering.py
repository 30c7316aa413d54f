"""`aviary release answer`: which call is meant, and what it says of an answer that is not taken."""

from __future__ import annotations

from typing import Any

import pytest

from aviary.cli.answering import chosen
from aviary.cli.failing import CommandError, ExitCode
from aviary.hook_answers import Given
from aviary.releases import remote
from aviary.settings import Settings
from schemas.hooks import AskedHook, HookAnswer, HookMoment, LateAnswer, NotTaken, Said
from schemas.phases import CanaryPhase
from schemas.release import CanaryStatus
from tests.hostile import AT, every
from tests.unit.cli.conftest import Run


def asked(call: str, hook: str = "approval", **more: Any) -> AskedHook:
    moment = HookMoment.BEFORE_CANARY
    return AskedHook.model_validate(
        {"id": call, "hook": hook, "moment": moment, "answer_by": AT, **more}
    )


def canary(*hooks: AskedHook) -> CanaryStatus:
    return every(CanaryStatus, "cart", phase=CanaryPhase.CHECKING, step=0, cause=None, hooks=hooks)


DONE = asked("msg_0", answer=HookAnswer(said=Said.YES))
OVER = asked("msg_1", over="hook approval gave no answer in 5m")


def choose(
    canaries: dict[str, CanaryStatus],
    service: str | None = None,
    hook: str | None = None,
    call: str | None = None,
) -> tuple[str, str]:
    found = chosen(canaries, "shop-42", service, hook, call)
    return found[0], found[1].id


def test_the_one_that_is_waited_for_is_meant() -> None:
    canaries = {"cart": canary(DONE, asked("msg_2")), "shop": canary(OVER)}
    assert choose(canaries) == ("cart", "msg_2")
    assert choose(canaries, call="msg_0") == ("cart", "msg_0"), "whoever names it may say it again"


def test_of_several_one_has_to_be_named() -> None:
    canaries = {"cart": canary(asked("msg_2"), asked("msg_3", "freeze")), "shop": canary()}
    with pytest.raises(CommandError, match="--call msg_2 .*; .*--hook freeze") as found:
        choose(canaries)
    assert found.value.code is ExitCode.BAD_INPUT
    assert choose(canaries, hook="freeze") == ("cart", "msg_3")
    with pytest.raises(CommandError, match="no such hook is waited for"):
        choose(canaries, service="shop")


@pytest.mark.parametrize(
    ("one", "words"), [(DONE, "has answered: yes"), (OVER, "gave no answer in 5m")]
)
def test_where_none_is_waited_for_the_last_one_is_told(one: AskedHook, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        choose({"cart": canary(one)})


@pytest.mark.parametrize(
    ("untaken", "code"), [(None, 0), (NotTaken.ALIKE, 0), (NotTaken.OTHERWISE, 1)]
)
def test_what_became_of_it_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, untaken: NotTaken | None, code: int
) -> None:
    told: list[tuple[str, LateAnswer]] = []

    class Releases:
        @classmethod
        async def connect(cls, _: Settings) -> Releases:
            return cls()

        async def status(self, _: str) -> None: ...

        async def canaries(self, _: None) -> dict[str, CanaryStatus]:
            return {"cart": canary(asked("msg_2"))}

        async def answer(self, service: str, late: LateAnswer, _: object) -> Given:
            told.append((service, late))
            return Given("so it is", untaken)

    monkeypatch.setattr(remote, "Releases", Releases)
    done = run("release", "answer", "shop-42", "no", "--reason", "frozen", "--by", "ann")
    assert done.exit_code == code
    assert "so it is" in done.output
    assert told == [("cart", LateAnswer(id="msg_2", verdict="no", reason="frozen", by="ann"))]
