"""Routes as the actions of a listener rule. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from adapters.routers.alb.capabilities import WEIGHTS
from schemas.route import Route

Action = Mapping[str, Any]

_ENDS: Final = frozenset({"forward", "redirect", "fixed-response"})
"""Types of the one action that answers; others, such as a sign-in, come before it."""
_OIDC: Final = "AuthenticateOidcConfig"


class Split(NamedTuple):
    """What a rule does with its requests."""

    weights: Mapping[str, int]
    """Weights above 0 by target group."""
    sticky: int = 0
    """Seconds for which a user stays with a target group; 0: not at all."""

    def text(self, versions: Mapping[str, str]) -> str:
        """For a person: `1.4.1 95, 1.4.2 5`.

        Args:
            versions: by target group.
        """
        total = sum(self.weights.values())
        parts = (
            f"{versions.get(arn, arn.rpartition(':')[2])} {100 * weight / total:.4g} %"
            for arn, weight in self.weights.items()
        )
        kept = f", users kept for {self.sticky} s" if self.sticky else ""
        return (", ".join(parts) or "no target group") + kept


def wanted(route: Route, groups: Mapping[str, str], sticky: int, asks: str = "") -> Split:
    """What a rule does by a route.

    A group of weight 0 is left out, so that no cookie keeps a user there. Weights have no common
    divisor but where one version has all: then it is 1.

    Args:
        route: what shall be.
        groups: the target group of each version.
        sticky: seconds for which a user stays with a target group; 0: not at all.
        asks: of a rule for those that ask for a version: `always` for the canary, while there is
            one, `never` for stable; empty: the rule is for all others.

    Raises:
        KeyError: a version has no target group.
    """
    if asks:
        version = route.canary if asks == "always" else None
        return Split({groups[version or route.stable]: 1})
    parts = WEIGHTS.nearest(route.weight)
    arms = [(route.stable, parts.stable)]
    if route.canary is not None:
        arms.append((route.canary, parts.canary))
    weights = {groups[version]: part for version, part in arms if part}
    if len(weights) == 1:
        return Split(dict.fromkeys(weights, 1))
    return Split(weights, sticky)


def split_in(actions: Sequence[Action]) -> Split:
    """What a rule does; nothing is forwarded by one that answers itself."""
    for action in actions:
        if action.get("Type") != "forward":
            continue
        config = action.get("ForwardConfig", {})
        groups = config.get("TargetGroups") or [{"TargetGroupArn": action.get("TargetGroupArn")}]
        weights = {str(one["TargetGroupArn"]): int(one.get("Weight", 1)) for one in groups}
        weights = {arn: weight for arn, weight in weights.items() if weight}
        if len(weights) == 1:
            return Split(dict.fromkeys(weights, 1))
        sticky = config.get("TargetGroupStickinessConfig", {})
        seconds = int(sticky.get("DurationSeconds", 0)) if sticky.get("Enabled") else 0
        return Split(weights, seconds)
    return Split({})


def with_split(actions: Sequence[Action], split: Split) -> list[dict[str, Any]]:
    """The actions of a rule with another end; what comes before it, a sign-in say, stays."""
    before = [dict(one) for one in actions if one.get("Type") not in _ENDS]
    for one in before:
        if _OIDC in one:  # its secret is not shown, and kept by this word alone
            shown = {key: value for key, value in one[_OIDC].items() if key != "ClientSecret"}
            one[_OIDC] = {**shown, "UseExistingClientSecret": True}
    groups = [{"TargetGroupArn": arn, "Weight": part} for arn, part in split.weights.items()]
    config: dict[str, Any] = {"TargetGroups": groups}
    if split.sticky:
        kept = {"Enabled": True, "DurationSeconds": split.sticky}
        config["TargetGroupStickinessConfig"] = kept
    else:
        config["TargetGroupStickinessConfig"] = {"Enabled": False}
    order = max((int(one.get("Order", 1)) for one in before), default=0) + 1
    end = {"Type": "forward", "Order": order, "ForwardConfig": config}
    return [*before, end]
