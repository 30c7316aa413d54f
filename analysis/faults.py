"""Why a reading is no evidence, in the words of people."""

from __future__ import annotations

from typing import Final

from schemas.reading import Fault, Gap

WORDS: Final[dict[Fault, str]] = {
    Fault.TIMED_OUT: "it timed out",
    Fault.UNREACHABLE: "the metrics source can't be reached",
    Fault.UNAVAILABLE: "the metrics source can't answer now",
    Fault.DENIED: "the metrics source denies it",
    Fault.REDIRECTED: "it was redirected elsewhere",
    Fault.REFUSED: "no Prometheus is at that address",
    Fault.WEB_PAGE: "a web page came in place of an answer, as from a login",
    Fault.MALFORMED: "the answer is malformed",
    Fault.WRONG_TYPE: "the answer is of a wrong type",
    Fault.WRONG_QUERY: "the query is wrong",
    Fault.QUERY_FAILED: "the metrics source could not carry it out",
    Fault.TOO_LARGE: "the answer is too large",
    Fault.PARTIAL: "the answer is partial",
    Fault.DUPLICATE: "the answer has duplicates",
    Fault.NOT_A_NUMBER: "the answer has values that are no numbers",
    Fault.EMPTY: "the answer is empty",
    Fault.UNSHOWN: "nothing shows that bad requests would be seen",
    Fault.VANISHED: "the answer lacks series that were there",
    Fault.OTHER: "there was no answer",
}


def gap_note(arm: str, gap: Gap | None) -> str:
    """What a failed query says, for a person."""
    if gap is None:
        return f"the query of {arm} failed"
    detail = f" ({gap.detail})" if gap.detail else ""
    return f"the query of {arm} failed: {WORDS[gap.fault]}{detail}"
