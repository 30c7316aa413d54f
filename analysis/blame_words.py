"""Why a release is blamed, or is not, in the words of people."""

from __future__ import annotations

from analysis.blame import Evidence, Ranked, Ranking, Relation

_MINUTE = 60.0
_SAYS = 1.0
"""Nats from which on a piece of evidence is called one."""


def summary(ranking: Ranking) -> str:
    """What came out, in one sentence."""
    if ranking.onset is None:
        return f"the failures of {ranking.symptom} show no rise that could be blamed on anything"
    culprit = ranking.culprit
    if culprit is not None:
        return (
            f"{_percent(culprit.chance)} that it is release {culprit.release}: {sentence(culprit)}"
        )
    likely = [f"{one.release} {_percent(one.chance)}" for one in ranking.releases[:3]]
    likely.append(f"none of them {_percent(ranking.others)}")
    return f"no clear answer: {', '.join(likely)}"


def sentence(ranked: Ranked) -> str:
    """What speaks for and against one release: its likeliest service, with its numbers."""
    evidence = ranked.evidence[0]
    parts = [_when(evidence), _dose(evidence), _own(evidence)]
    where = f"{evidence.suspect.service} {evidence.suspect.version}{_where(evidence)}"
    return f"{where}: {'; '.join(part for part in parts if part)}"


def _where(evidence: Evidence) -> str:
    match evidence.relation:
        case Relation.ITSELF:
            return ", which alerts"
        case Relation.CALLER:
            return ", which calls what alerts"
        case Relation.CALLED if evidence.distance == 1:
            return ", which is called by what alerts"
        case Relation.CALLED:
            return f", which what alerts depends on over {evidence.distance} calls"


def _when(evidence: Evidence) -> str:
    if evidence.preceded is None:
        return "it had no greater weight before failures rose"
    return f"its weight grew {_length(evidence.preceded)} before failures rose"


def _dose(evidence: Evidence) -> str:
    if evidence.follows < -_SAYS:
        return "failures do not follow its weight"
    if evidence.fit.added <= 0:
        return "failures rose after it, whatever its weight"
    low, high = evidence.fit.base, min(evidence.fit.base + evidence.fit.added, 1.0)
    often = "may follow" if evidence.follows < _SAYS else "follow"
    return f"failures {often} its weight ({_rate(low)} without it, {_rate(high)} with all of it)"


def _own(evidence: Evidence) -> str:
    if evidence.own is None:
        return ""
    mine, stable = evidence.own
    told = f"{_rate(mine)} against {_rate(stable)} of stable's"
    if evidence.compared >= _SAYS:
        return f"it fails more of its own requests ({told})"
    if evidence.compared <= -_SAYS:
        return f"it fails no more of its own requests ({told})"
    return ""


def _length(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min"


def _rate(rate: float) -> str:
    return f"{100 * rate:.2g} %"


def _percent(chance: float) -> str:
    """A chance, never shown as certain."""
    return f"{min(100 * chance, 99.9):.3g} %"
