"""Commits are told how their release went, and are right whatever order notices come in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from adapters.errors import Retryable, Terminal
from adapters.links import Links
from adapters.notifiers.commits import GITHUB, GITLAB, GitHubConnection, GitLabConnection
from adapters.ports import Notifier
from schemas.commit import commit_of, of_commit
from schemas.event_kinds import NoticeKind
from schemas.notice import Notice
from tests.contract.notifiers.platforms import TOKEN, GitHubServer, GitLabServer, serving
from tests.hostile import TEXTS

AT = datetime(2026, 1, 1, 10, tzinfo=UTC)
LINKS = Links("https://temporal.example", "shop", "https://reports.example")
LABELS = {"repository": "acme/shop", "commit": "a" * 40, "ref": "main", "team": "shop"}
WAY_DONE = (NoticeKind.STARTED, NoticeKind.WAITING, NoticeKind.FINISHED)
WAY_BACK = (NoticeKind.STARTED, NoticeKind.ROLLING_BACK, NoticeKind.STUCK, NoticeKind.ROLLED_BACK)


def notice(kind: NoticeKind, release: str = "shop-42", text: str = "so it is") -> Notice:
    return Notice(
        kind=kind,
        release=release,
        text=text,
        at=AT,
        services=("ledger",),
        environment="production",
        labels=of_commit(LABELS),
    )


@pytest.fixture(params=[GitHubServer, GitLabServer])
def hub(request: pytest.FixtureRequest) -> Iterator[GitHubServer | GitLabServer]:
    made: GitHubServer | GitLabServer = request.param()
    with serving(made):
        yield made


Server = GitHubServer | GitLabServer


def notifier_of(hub: Server, token: str = TOKEN, *, only: str = "acme/*") -> Notifier:
    about = {"token": token, "repositories": (only,), "url": hub.url}
    if isinstance(hub, GitHubServer):
        return GITHUB.make("ci", GitHubConnection.model_validate(about), LINKS)
    return GITLAB.make("ci", GitLabConnection.model_validate(about), LINKS)


def words(hub: GitHubServer | GitLabServer, state: str) -> list[tuple[str, str]]:
    bad = "failure" if isinstance(hub, GitHubServer) else "failed"
    return [(what, bad if state == "bad" else "success") for what in ("status", "deployment")]


@pytest.mark.parametrize(("way", "state"), [(WAY_DONE, "good"), (WAY_BACK, "bad")])
async def test_a_commit_is_as_its_release(
    hub: GitHubServer | GitLabServer, way: tuple[NoticeKind, ...], state: str
) -> None:
    notifier = notifier_of(hub)
    await notifier.notify(notice(way[0]))
    assert hub.shown() != words(hub, state)
    for kind in way[1:]:
        await notifier.notify(notice(kind))
    assert hub.shown() == words(hub, state)
    assert len(hub.deployments) == 1
    (status, *_) = hub.statuses
    assert status["description"] == "shop-42: so it is"
    assert status["target_url"] == "https://reports.example/shop-42.html"


@pytest.mark.parametrize(("way", "state"), [(WAY_DONE, "good"), (WAY_BACK[1:], "bad")])
async def test_the_end_stays_whatever_order_notices_come_in_and_how_often(
    hub: GitHubServer | GitLabServer, way: tuple[NoticeKind, ...], state: str
) -> None:
    notifier = notifier_of(hub)
    for number, order in enumerate(itertools.permutations(way)):
        for kind in (*order, order[0]):
            await notifier.notify(notice(kind, f"shop-{number}"))
        assert hub.shown() == words(hub, state), order


async def test_another_release_of_the_commit_begins_anew(hub: GitHubServer | GitLabServer) -> None:
    notifier = notifier_of(hub)
    for kind in WAY_BACK:
        await notifier.notify(notice(kind, "first"))
    await notifier.notify(notice(NoticeKind.STARTED, "second"))
    assert not {"failure", "failed"} & {state for _, state in hub.shown()}
    await notifier.notify(notice(NoticeKind.FINISHED, "second"))
    assert hub.shown() == words(hub, "good")
    assert len(hub.deployments) == 2


async def test_who_is_not_meant_is_told_nothing(hub: GitHubServer | GitLabServer) -> None:
    started = notice(NoticeKind.STARTED)
    await notifier_of(hub, only="other/*").notify(started)
    await notifier_of(hub).notify(started.model_copy(update={"labels": {}}))
    await notifier_of(hub).notify(notice(NoticeKind.DRIFT))
    assert hub.writes == 0


async def test_what_a_platform_refuses_is_told_without_the_token(
    hub: GitHubServer | GitLabServer,
) -> None:
    for broken, kind in ((503, Retryable), (429, Retryable), (404, Terminal), (422, Terminal)):
        hub.broken = broken
        with pytest.raises(kind) as caught:
            await notifier_of(hub).notify(notice(NoticeKind.STARTED))
        assert TOKEN not in str(caught.value)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    hub.broken = 0
    with pytest.raises(Terminal, match="401"):
        await notifier_of(hub, "wrong-token").notify(notice(NoticeKind.STARTED))
    assert (hub.statuses, hub.deployments) == ([], [])


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_text_from_outside_fits(text: str) -> None:
    hub = GitHubServer()
    with serving(hub):
        await notifier_of(hub).notify(notice(NoticeKind.ROLLED_BACK, text=text))
    assert hub.statuses[0]["description"].startswith("shop-42: ")


@pytest.mark.parametrize(
    "labels",
    [
        {},
        LABELS | {"commit": "main"},
        LABELS | {"commit": "A" * 40},
        LABELS | {"repository": "acme"},
        LABELS | {"repository": "acme/.."},
        LABELS | {"repository": "acme/shop?x=y"},
        LABELS | {"repository": "acme//shop"},
    ],
)
def test_labels_that_name_no_commit_are_none(labels: dict[str, str]) -> None:
    assert commit_of(labels) is None
    assert of_commit(labels) == {}
    assert commit_of(LABELS | {"ref": "a b"}).ref == ""  # type: ignore[union-attr]
