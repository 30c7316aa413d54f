"""One event of every type, made as Aviary makes them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aviary.bridge.event_publisher import alert_event, stale_deploy
from schemas.alert import Alert, AlertStatus
from schemas.cdevents_out import CdVersion, with_cdevents
from schemas.chain import ENDS, Chain
from schemas.decisions import DecisionRecord, Did, Heard
from schemas.deploy import DeployEvent, DeployRequested
from schemas.event_kinds import EventType
from schemas.events import CloudEvent, event
from schemas.measured import Measured
from schemas.phases import CanaryPhase
from schemas.release import Cause, CauseKind
from schemas.verdict import Reason, Verdict, VerdictKind

AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
OF_RELEASE = {"release": "shop-42", "environment": "production"}
SERVICES = {"ledger": "3.0.1", "checkout": "1.4.2"}
CONTENTS = {
    "services": SERVICES,
    "stages": [["ledger"], ["checkout"]],
    "depends_on": {"ledger": [], "checkout": ["ledger"]},
    "groups": [],
}
SENTENCE = "checkout 1.4.2 at 25 %: 4.1 % of 1,200 requests failed, of stable 0.2 % of 3,600"
PHASES = {phase.about.event: phase.value for phase in CanaryPhase if phase.about.event}


def verdict(kind: VerdictKind = VerdictKind.FAIL) -> Verdict:
    reason = Reason.WORSE_THAN_STABLE if kind is VerdictKind.FAIL else Reason.GOOD_ENOUGH
    return Verdict(kind=kind, reason=reason, sentence=SENTENCE, at=AT)


def cause(kind: CauseKind = CauseKind.VERDICT) -> Cause:
    return Cause(
        kind=kind,
        service="checkout",
        text=SENTENCE,
        at=AT,
        verdict=verdict() if kind is CauseKind.VERDICT else None,
    )


def service(kind: EventType, **more: Any) -> dict[str, Any]:
    phase = PHASES.get(kind, "baking")
    back = phase in {"rolling_back", "retiring", "rolled_back", "stuck"}
    full, nothing = {"holding", "finalized"}, {"deploying", "prepared", "retiring", "rolled_back"}
    return {
        **OF_RELEASE,
        "service": "checkout",
        "version": "1.4.2",
        "phase": phase,
        "weight": 100.0 if phase in full else 0.0 if phase in nothing else 25.0,
        "step": 2,
        "steps": 5,
        "stable": "1.4.2" if phase == "finalized" else "1.4.1",
        "waits_for": "",
        "verdict": verdict().model_dump(mode="json") if back else None,
        "cause": cause().model_dump(mode="json") if back else None,
        "paused": phase == "paused",
        **more,
    }


def of_release(kind: EventType) -> dict[str, Any]:
    labels = {"labels": {"commit": "1f3a9c"}}
    match kind:
        case EventType.RELEASE_QUEUED:
            return {**OF_RELEASE, **labels, "waits_for": "release shop-41", **CONTENTS}
        case EventType.RELEASE_STARTED:
            return {**OF_RELEASE, **labels, "cause": None, **CONTENTS}
        case EventType.RELEASE_PAUSED:
            return {**OF_RELEASE, "text": "paused by ann: support has calls"}
        case EventType.RELEASE_RESUMED:
            return {**OF_RELEASE, "text": "resumed by ann: solved"}
    back = kind in {EventType.RELEASE_ROLLINGBACK, EventType.RELEASE_ROLLEDBACK}
    told = {"cause": cause().model_dump(mode="json") if back else None}
    versions = {"services": SERVICES} if kind is EventType.RELEASE_ROLLINGBACK else {}
    return {**OF_RELEASE, **labels, **told, **versions}


def of_audit(kind: EventType) -> dict[str, Any]:
    of = {**OF_RELEASE, "service": "checkout", "version": "1.4.2"}
    if kind is EventType.DECISION_MADE:
        text = "FAIL: worse_than_stable"
        decision = DecisionRecord(number=2, at=AT, heard=Heard.VERDICT, did=Did.BACK, text=text)
        return {**of, "decision": decision.model_dump(mode="json")}
    counts = {"canary": (0, 300), "bad_canary": (0, 12), "stable": (0, 900), "bad_stable": (0, 2)}
    series = {
        "began_at": AT.isoformat(),
        "at": [0, 15],
        "odds": [0, 2.4],
        "needed": 2,
        "metrics": {"errors": {"streams": [counts], "odds": [0, 2.4], "bound": [None, 0.03]}},
    }
    measured = Measured(number=1, at=AT, stable="1.4.1", weight=25, series=series)
    return {**of, **measured.model_dump(mode="json")}


def _ours(kind: EventType, number: int) -> CloudEvent:
    scope = kind.split(".")[2]
    if scope in {"deploy", "alert"}:
        return _of_bridge(kind)
    if scope == "release":
        data = of_release(kind)
    elif scope in {"decision", "evidence"}:
        data = of_audit(kind)
    elif scope == "drift":
        data = {**OF_RELEASE, "version": "1.4.2", "weight": 25.0, "stable": "1.4.1"}
        data["text"] = "checkout 1.4.2 had 25 % and nobody looked after it"
    else:
        judged = kind is EventType.CANARY_JUDGED
        more = {"verdict": verdict(VerdictKind.PASS).model_dump(mode="json")} if judged else {}
        data = service(kind, **more)
    drift = kind is EventType.DRIFT_FOUND
    return event(
        "drift/1767605400" if drift else "release/shop-42",
        0 if drift else number,
        kind,
        release="shop-42",
        subject="shop-42" if scope == "release" else "checkout",
        time=AT,
        data=data,
    )


def _of_bridge(kind: EventType) -> CloudEvent:
    if kind is EventType.DEPLOY_STALE:
        services = [{"service": name, "version": version} for name, version in SERVICES.items()]
        deploy = DeployRequested.model_validate({"release": "shop-42", "services": services})
        asked = DeployEvent(type="so", source="/ci/shop", id="4711", deploy=deploy)
        return stale_deploy(asked, AT - timedelta(days=2), AT.timestamp(), 86_400)
    alert = Alert(
        status=AlertStatus.FIRING,
        fingerprint="9e107d9d372bb682",
        labels={"alertname": "CheckoutErrors", "service": "checkout", "severity": "critical"},
        starts_at=AT - timedelta(minutes=5),
        ends_at=AT if kind is EventType.ALERT_STALE else None,
    )
    return alert_event(kind, "checkout", alert, AT.timestamp())


def samples() -> Mapping[str, CloudEvent]:
    """By type, those of both versions of CDEvents too."""
    chain = Chain()
    ours = []
    for number, kind in enumerate(EventType):
        one = _ours(kind, number)
        if one.id.startswith("release/"):
            one = (copy.copy(chain) if kind in ENDS else chain).link(one)
        ours.append(one)
    told = [*with_cdevents(ours), *with_cdevents(ours, CdVersion.V0_5)]
    return {one.type.value: one for one in told}
