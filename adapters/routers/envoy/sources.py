"""Where requests come from, as Envoy's listener finds it out: the address, and its country.

Both go by the address that the connection comes from. What a request says of itself, in
`x-forwarded-for` or in a header of the same name, counts for nothing: anybody can send it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from adapters.routers.envoy.names import TYPES

SOURCE: Final = "aviary.source"
"""Under which a connection's address is known to the matches of routes."""
_ADDRESS: Final = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
_ASKED: Final = "x-aviary-source"
"""The header that Envoy's search for the country reads the address in."""
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_EXTENSIONS: Final = f"{TYPES}envoy.extensions"
_SCRIPT: Final = f"""\
function envoy_on_request(handle)
  handle:headers():remove("{_ASKED}")
  handle:clearRouteCache()
end
"""


def of_connection() -> dict[str, Any]:
    """A network filter that keeps the address of each new connection, once."""
    kept = {
        "object_key": SOURCE,
        "factory_key": "envoy.network.ip",
        "format_string": {"text_format_source": {"inline_string": _ADDRESS}},
    }
    return _filter("source", "filters.network.set_filter_state.v3.Config", on_new_connection=[kept])


def within(network: str, *, negated: bool) -> dict[str, Any]:
    """A match of connections that come from a network, or do not.

    Args:
        network: such as 10.1.0.0/16.
        negated: whether those fit that come from elsewhere.
    """
    address, _, length = network.partition("/")
    ranges = [{"address_prefix": address, "prefix_len": int(length)}]
    inverted = {"invert_match": True} if negated else {}
    return {"key": SOURCE, "address_match": {"ranges": ranges, **inverted}}


def is_kept(listeners: Path) -> bool:
    """Whether the file of listeners, Aviary's or one's own, keeps addresses of connections.

    Raises:
        OSError: the file can't be read.
    """
    try:
        return SOURCE in listeners.read_text(errors="replace")
    except FileNotFoundError:
        return False


def of_countries(database: Path, header: str) -> list[dict[str, Any]]:
    """HTTP filters that have a header say the country that a request comes from.

    One that came with the request goes. Where the database knows no country, there is no header.

    Args:
        database: a MaxMind database of countries (`.mmdb`), as Envoy sees it.
        header: the name, which the catalog has as its `country_header`.

    Raises:
        ValueError: the file has another ending, or the name is no name of a header.
    """
    if database.suffix != ".mmdb":
        raise ValueError(f"countries: expected a database .mmdb, got {database}")
    if not _HEADER.fullmatch(header):
        raise ValueError(f"country_header: expected the name of a header, got {header!r}")
    asked = {"header": {"key": _ASKED, "value": _ADDRESS}}
    overwritten = {"append": {**asked, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    provider = _filter(
        "envoy.geoip_providers.maxmind",
        "geoip_providers.maxmind.v3.MaxMindConfig",
        country_db_path=str(database),
        common_provider_config={"geo_field_keys": {"country": header.lower()}},
    )
    return [
        _filter(
            "no-countries-of-callers",
            "filters.http.header_mutation.v3.HeaderMutation",
            mutations={"request_mutations": [{"remove": header.lower()}, overwritten]},
        ),
        _filter(
            "country",
            "filters.http.geoip.v3.Geoip",
            custom_header_config={"header_name": _ASKED},
            provider=provider,
        ),
        # The route was looked for before the country was known.
        _filter(
            "route-by-country",
            "filters.http.lua.v3.Lua",
            default_source_code={"inline_string": _SCRIPT},
        ),
    ]


def _filter(name: str, kind: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_EXTENSIONS}.{kind}", **config}}
