"""Routes of all kinds, for what objects of Kubernetes make of them."""

from __future__ import annotations

from hypothesis import strategies as st

from schemas.route import Audience, AudienceBy, Match, Mirror, Route

_VERSIONS = st.sampled_from(
    ["1.4.1", "1.4.2", "1-4-2", "2.0", "v1.3.0+build.7", f"sha256:{'ab' * 32}"]
)
_MATCHES = st.builds(
    Match,
    by=st.sampled_from((AudienceBy.HEADER, AudienceBy.COOKIE)),
    name=st.sampled_from(["x-beta", "who"]),
    value=st.sampled_from(["yes please", "a;b=c", "$^(.*)[", "staff"]),
)


@st.composite
def routes(draw: st.DrawFn) -> Route:
    """One of the service checkout."""
    stable, canary = draw(st.lists(_VERSIONS, min_size=2, max_size=2, unique=True))
    has_canary = draw(st.booleans())
    shares = st.sampled_from([0.01, 50, 100])
    mirror = draw(st.none() | st.builds(Mirror, version=st.just(canary), share=shares))
    audience = st.none() | st.builds(Audience, any_of=st.tuples(_MATCHES))
    return Route.split(
        "checkout",
        stable,
        canary if has_canary else None,
        draw(st.integers(0, 10_000)) / 100 if has_canary else 0,
        generation=draw(st.integers(0, 5)),
        audience=draw(audience) if has_canary else None,
        mirror=mirror,
    )
