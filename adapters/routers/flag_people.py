"""Made-up users of a flag: some in each audience of its route, and some in none.

What an application says of a user is the evaluation context: fields by name, one of which tells
users apart. An audience by a list of users has no more than these; any other has as many as are
asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from adapters.routers.flag_shares import check_share, looked_at, user
from schemas.audience import TARGETING_KEY, Audience, Condition, How
from schemas.route import Route

Context = Mapping[str, str]
"""Fields of an evaluation context, by name."""
_NO_NAMES: Final[Mapping[str, str]] = {}


class People:
    """Users that tell whether a flag is evaluated as its route says.

    Args:
        route: that was written.
        earlier: the one before; None: not known.
        sticky: the field that tells users apart.
        names: what the provider calls a field, where it is not its name in audiences.
    """

    def __init__(
        self,
        route: Route,
        earlier: Route | None = None,
        *,
        sticky: str = TARGETING_KEY,
        names: Mapping[str, str] = _NO_NAMES,
    ) -> None:
        self._route = route
        self._earlier = _same_canary(earlier, route)
        self._sticky = sticky
        self._names = names
        self._kinds = [*dict.fromkeys(tuple(one.items()) for one in self._contexts())]

    def __getitem__(self, number: int) -> Context:
        """The context of one of them.

        Args:
            number: from 0; they take turns, so that the first few are of every audience.
        """
        fields = {name: values[0] for name, values in self._kind(number).items()}
        known = self._kind(number).get(self._sticky)
        if known is None or known[1] is How.PREFIX:
            fields[self._sticky] = fields.get(self._sticky, "") + user(number)
        return fields

    def check(self, chosen: set[int], looked: int) -> None:
        """Check that of each audience as many get the variant as its weight says.

        Args:
            chosen: those who get it.
            looked: users that were looked at.

        Raises:
            Retryable: of one it is not so (`flag_shares.check_share`).
        """
        variant, _ = looked_at(self._route)
        of_weight: dict[float, list[int]] = {}
        for number in self._each(looked):
            of_weight.setdefault(self._weight(self._route, number), []).append(number)
        for weight, users in of_weight.items():
            got = len(chosen.intersection(users))
            check_share(self._route.service, variant, weight, got, len(users))

    def kept(self, chosen: set[int], looked: int) -> list[int]:
        """Those who do not get the canary, and may not have had it: their weight has not shrunk."""
        earlier = self._earlier
        if earlier is None:
            return []
        return [
            number
            for number in self._each(looked)
            if number not in chosen
            and 0 < self._weight(earlier, number) <= self._weight(self._route, number)
        ]

    def _each(self, looked: int) -> Iterator[int]:
        """Their numbers, each user once: a named one is the same in every turn."""
        for number in range(looked):
            known = self._kind(number).get(self._sticky)
            if number < len(self._kinds) or known is None or known[1] is How.PREFIX:
                yield number

    def _kind(self, number: int) -> dict[str, tuple[str, How]]:
        return dict(self._kinds[number % len(self._kinds)])

    def _weight(self, route: Route, number: int) -> float:
        """The canary's share of those who are like a user, percent; without one, stable's."""
        if route.canary is None:
            return 100.0
        context = self[number]
        return next(tier.weight for tier in route.tiers if self._is_in(tier.audience, context))

    def _is_in(self, audience: Audience | None, context: Context) -> bool:
        return audience is None or any(
            all(self._fits(one, context) for one in match.conditions) for match in audience.any_of
        )

    def _fits(self, one: Condition, context: Context) -> bool:
        value = context.get(self._name(one))
        has = value is not None and (
            value.startswith(one.value) if one.how is How.PREFIX else value == one.value
        )
        return has is not one.negated

    def _name(self, one: Condition) -> str:
        return self._names.get(one.name, one.name)

    def _contexts(self) -> Iterator[dict[str, tuple[str, How]]]:
        """What is said of users: of those who fit, of those who just do not, and of strangers."""
        yield {}
        routes = [route for route in (self._route, self._earlier) if route is not None]
        audiences = [
            tier.audience for route in routes for tier in route.tiers if tier.audience is not None
        ]
        for match in (match for audience in audiences for match in audience.any_of):
            fits = {
                self._name(one): (one.value, one.how) for one in match.conditions if not one.negated
            }
            yield fits
            for one in match.conditions:
                without = {name: of for name, of in fits.items() if name != self._name(one)}
                yield without | {self._name(one): (one.value, one.how)} if one.negated else without


def _same_canary(earlier: Route | None, route: Route) -> Route | None:
    """The earlier route, where it is of the same canary beside the same version."""
    if earlier is None or earlier.canary is None:
        return None
    same = (earlier.stable, earlier.canary) == (route.stable, route.canary)
    return earlier if same else None
