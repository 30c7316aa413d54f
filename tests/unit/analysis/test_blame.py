"""Whom a symptom is blamed on: made-up incidents whose culprit is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.blame import CLEAR, Ranking, Relation, Suspect, Symptom, rank, relations
from analysis.blame_words import sentence, summary
from analysis.rises import Exposure, Point

STEP = 15.0
CALLS = {"web": ["checkout", "ads"], "checkout": ["payments"], "batch": ["payments"]}
"""web → checkout → payments, with ads and batch beside them."""
EARLY = (Exposure(300, 5), Exposure(600, 25))
LATE = (Exposure(450, 5), Exposure(750, 25))


def counted(
    rate: Callable[[float], float], *, until: float = 900, requests: int = 400, seed: int = 1
) -> tuple[Point, ...]:
    """Requests that fail with a rate that changes over time."""
    dice = random.Random(seed)
    found = []
    for index in range(int(until / STEP)):
        at = (index + 1) * STEP
        bad = sum(dice.random() < rate(at) for _ in range(requests))
        found.append(Point(at, float(bad), float(requests)))
    return tuple(found)


def weight(exposures: Sequence[Exposure], at: float) -> float:
    """The share of the requests at a time, 0 to 1."""
    return next((one.weight for one in reversed(exposures) if one.at < at), 0.0) / 100


def along(exposures: Sequence[Exposure], much: float = 0.4) -> Symptom:
    """Failures of web in proportion to a weight."""
    return Symptom("web", counted(lambda at: 0.002 + much * weight(exposures, at)))


def chance(ranking: Ranking, release: str) -> float:
    """That it is a release's doing."""
    return next((one.chance for one in ranking.releases if one.release == release), 0.0)


def suspect(release: str, service: str, exposures: Sequence[Exposure] = EARLY) -> Suspect:
    """One without counts of its own."""
    return Suspect(release, service, "2.0", tuple(exposures))


@pytest.mark.parametrize(
    ("culprit", "victim"), [("checkout", "payments"), ("payments", "checkout"), ("ads", "web")]
)
def test_who_changed_before_and_as_much_is_the_culprit(culprit: str, victim: str) -> None:
    """Wherever it is along the calls, and whichever release began first."""
    for mine, other in ((EARLY, LATE), (LATE, EARLY)):
        found = rank(along(mine), [suspect("A", culprit, mine), suspect("B", victim, other)], CALLS)
        assert found.culprit is not None
        assert found.culprit.release == "A"
        assert chance(found, "B") < 0.01


def test_a_weight_that_was_taken_back_tells_two_that_began_together_apart() -> None:
    """Both grew at the same time; failures ended with the weight of one."""
    back = (*EARLY, Exposure(750, 0))
    found = rank(along(back), [suspect("A", "payments", back), suspect("B", "ads")], CALLS)
    assert found.culprit is not None
    assert found.culprit.release == "A"


def test_two_with_the_same_weights_and_no_more_evidence_are_no_clear_answer() -> None:
    """Neither goes back, whichever is named first."""
    two = [suspect("A", "payments"), suspect("B", "ads")]
    for suspects in (two, two[::-1]):
        found = rank(along(EARLY), suspects, CALLS)
        assert found.culprit is None
        assert chance(found, "A") == pytest.approx(chance(found, "B"), rel=0.3)
        assert found.suspected("A")
        assert found.suspected("B")


def test_of_two_with_the_same_weights_the_one_that_is_worse_than_its_stable_is_it() -> None:
    """The services' own comparison."""
    worse = Suspect(
        "A",
        "payments",
        "2.0",
        EARLY,
        canary=counted(lambda at: 0.002 if at < 300 else 0.4, requests=40),
        stable=counted(lambda _: 0.002, seed=2),
    )
    alike = Suspect(
        "B",
        "ads",
        "2.0",
        EARLY,
        canary=counted(lambda _: 0.002, requests=40, seed=3),
        stable=counted(lambda _: 0.002, seed=4),
    )
    found = rank(along(EARLY), [alike, worse], CALLS)
    assert found.culprit is not None
    assert found.culprit.release == "A"
    assert "fails more of its own requests" in sentence(found.culprit)
    assert "fails no more of its own requests" in sentence(found.releases[1])


def test_a_version_that_fails_only_as_much_as_its_stable_is_a_victim() -> None:
    """It has most of its requests late, when both fail: sums over time would convict it."""

    def failing(at: float) -> float:
        return 0.002 + 0.4 * weight(EARLY, at)

    canary = tuple(
        Point(at, round(bad * weight(LATE, at)), round(total * weight(LATE, at)))
        for at, bad, total in counted(failing, requests=2000)
    )
    stable = tuple(
        Point(at, bad * (1 - weight(LATE, at)), total * (1 - weight(LATE, at)))
        for at, bad, total in counted(failing, requests=2000, seed=5)
    )
    victim = Suspect("B", "web", "2.0", LATE, canary=canary, stable=stable)
    found = rank(along(EARLY), [victim, suspect("A", "payments")], CALLS)
    assert found.culprit is not None
    assert found.culprit.release == "A"


def test_a_rise_that_follows_no_weight_is_nobodys() -> None:
    """An outage of something else."""
    symptom = Symptom("web", counted(lambda at: 0.002 if at < 560 else 0.2))
    found = rank(symptom, [suspect("A", "payments"), suspect("B", "ads", LATE)], CALLS)
    assert found.culprit is None
    assert found.others > 0.5
    assert "none of them" in summary(found)


def test_without_a_rise_there_is_nothing_to_blame() -> None:
    """The metrics show nothing of what alerts: the caller does what it does without blame."""
    for failing in (lambda _: 0.0, lambda _: 0.002):
        symptom = Symptom("web", counted(failing))
        found = rank(symptom, [suspect("A", "web")], CALLS)
        assert (found.onset, found.culprit, found.releases) == (None, None, ())
    assert "no rise" in summary(found)


def test_services_of_one_release_are_one_culprit() -> None:
    """Both of its services changed together: neither has to be told from the other."""
    three = [suspect("A", "payments"), suspect("A", "checkout"), suspect("B", "ads", LATE)]
    found = rank(along(EARLY), three, CALLS)
    assert found.culprit is not None
    assert found.culprit.release == "A"
    assert len(found.culprit.evidence) == 2


def test_a_release_that_is_not_along_the_calls_is_no_suspect() -> None:
    """Whatever its weights are."""
    found = rank(along(EARLY), [suspect("A", "batch")], CALLS)
    assert found.releases == ()


def test_relations_are_those_of_the_calls() -> None:
    """What is called at any distance, and who calls it at one; cycles end."""
    graph = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["b"], "e": ["d"]}
    assert relations("b", graph) == {
        "b": (Relation.ITSELF, 0),
        "c": (Relation.CALLED, 1),
        "a": (Relation.CALLED, 2),
        "d": (Relation.CALLER, 1),
    }


def test_the_words_have_the_numbers() -> None:
    """When, how much, how likely."""
    suspects = [suspect("A", "payments"), suspect("B", "ads", LATE)]
    found = rank(along(EARLY), suspects, CALLS)
    said = summary(found)
    assert said.startswith("99")
    assert "release A: payments 2.0, which what alerts depends on over 2 calls" in said
    assert "failures follow its weight (0." in said
    assert "do not follow its weight" in sentence(found.releases[1])


exposures = st.lists(
    st.tuples(st.floats(0, 1000), st.floats(0, 100)).map(lambda pair: Exposure(*pair)), max_size=5
).map(lambda found: tuple(sorted(found)))
points = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=40).map(
    lambda rows: tuple(
        Point((index + 1) * STEP, float(min(row)), float(max(row)))
        for index, row in enumerate(rows)
    )
)
suspects = st.lists(
    st.builds(
        Suspect,
        release=st.sampled_from("ABC"),
        service=st.sampled_from(["web", "checkout", "payments", "ads", "batch", "gone"]),
        version=st.just("2.0"),
        exposures=exposures,
        canary=points,
        stable=points,
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(points=points, suspects=suspects)
def test_chances_are_chances_whatever_comes(
    points: tuple[Point, ...], suspects: list[Suspect]
) -> None:
    """They add up to 1, do not depend on the order of the suspects, and name at most one."""
    found = rank(Symptom("web", points), suspects, CALLS)
    other = rank(Symptom("web", points), suspects[::-1], CALLS)
    chances = [one.chance for one in found.releases]
    assert all(0.0 <= one <= 1.0 + 1e-9 for one in [*chances, found.others])
    assert sum(chances) + found.others == pytest.approx(1.0)
    assert chances == sorted(chances, reverse=True)
    assert {one.release: pytest.approx(one.chance, abs=1e-6) for one in found.releases} == {
        one.release: one.chance for one in other.releases
    }
    assert sum(one >= CLEAR for one in chances) <= 1
    assert summary(found)
    assert all(sentence(one) for one in found.releases)
