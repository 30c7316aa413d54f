"""Names of the typed search attributes by which Temporal finds releases and canaries.

A visibility query such as `AviaryState = 'rolled_back' AND AviaryCauseService = 'checkout'` works
in the Temporal UI and with `temporal workflow list`; `aviary release list` builds such queries.
"""

from __future__ import annotations

from typing import Final

RELEASE: Final = "AviaryRelease"
"""Keyword: the release id."""
SERVICE: Final = "AviaryService"
"""Keyword list: every service of the release; on a canary the one that it is of."""
VERSION: Final = "AviaryVersion"
"""Keyword list: every version that is released."""
STATE: Final = "AviaryState"
"""Keyword: a `ReleasePhase`; on a canary `gated`, `paused`, `holding`, `rolling_back`, `stuck`,
`rolled_back` or `finalized`, and `running` for all that comes with every step."""
VERDICT: Final = "AviaryVerdict"
"""Keyword: the last verdict, `PASS`, `FAIL` or `INCONCLUSIVE`."""
ENVIRONMENT: Final = "AviaryEnvironment"
"""Keyword: the catalog's environment."""
CAUSE: Final = "AviaryCause"
"""Keyword: why it went back, a `CauseKind`."""
CAUSE_SERVICE: Final = "AviaryCauseService"
"""Keyword: the service with which going back began."""

KEYWORDS: Final = (RELEASE, STATE, VERDICT, ENVIRONMENT, CAUSE, CAUSE_SERVICE)
"""Attributes of one value."""
KEYWORD_LISTS: Final = (SERVICE, VERSION)
"""Attributes of several values."""
