"""What Caddy is told, as text: the global options, the sites, and the page that splits.

Caddy has no hash of a header, and its metrics count by site. So it asks itself, over a socket of
its own: a template decides about each request for a service that has a canary, and the request
then goes to the site of a version, which is counted and proxies it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from adapters.routers.caddy.folder_form import Config, Pool
from adapters.routers.caddy.names import APART

SERVER: Final = "aviary"
"""Label `server` of what is counted by version."""

_NO_TEXT: Final = re.compile(r"[\x00-\x20\"'`\\#{}]")
_SOCKET: Final = "{{$AVIARY_SOCKET:{socket}}}"
GLOBAL: Final = """\
# Written by Aviary, for the global options.
metrics {{
	per_host
}}
servers unix/{socket}|0660 {{
	name {server}
}}
"""
_HEAD: Final = """
http:// {{
	bind unix/{socket}|0660
	handle /mark {{
		respond "{mark}"
	}}
	handle /routes/* {{
		root {directory}
		file_server
	}}
	handle /split {{
		root {directory}
		rewrite /split.html
		templates
		file_server
	}}
	handle /metrics {{
		metrics
	}}
	handle_path /admin/* {{
		reverse_proxy {{$AVIARY_ADMIN:localhost:2019}} {{
			header_up Host {{upstream_hostport}}
			header_up -Origin
		}}
	}}
{services}	handle {{
		respond 404
	}}
}}
"""
_LISTED: Final = """\
	handle /services/{service} {{
		respond "{pools}"
	}}
"""
_SERVICE: Final = """
(aviary-{service}) {{
	route {{
		vars aviary_host {{host}}
		request_header -X-Aviary-*
		vars aviary_route {{file.{directory}/routes/{service}}}
		@aviary_alone vars_regexp aviary_route {{vars.aviary_route}} ^([^|]+)[|][|]
		vars @aviary_alone aviary_pool {{re.aviary_route.1}}
		@aviary_split vars_regexp {{vars.aviary_route}} ^[^|]+[|][^|]+[|]
		route @aviary_split {{
			forward_auth unix/{socket} {{
				uri /split
				header_up X-Aviary-Service {service}
				copy_headers X-Aviary-Pool X-Aviary-Named
				transport http {{
					keepalive off
				}}
			}}
			vars aviary_pool {{header.X-Aviary-Pool}}
			@aviary_named header X-Aviary-Named *
			header @aviary_named +Set-Cookie "{cookie}"
			request_header -X-Aviary-*
		}}
		@aviary_routed vars_regexp {{vars.aviary_pool}} .
		reverse_proxy @aviary_routed unix/{socket} {{
			header_up Host {{vars.aviary_pool}}
			header_up X-Aviary-Host {{vars.aviary_host}}
			header_down -Via
			transport http {{
				keepalive off
			}}
		}}
		respond 404
	}}
}}
"""
_COOKIE: Final = "aviary-user={header.X-Aviary-Named}; Path=/; Max-Age=2592000"
_POOL: Final = """
http://{pool}, http://{pool}{apart} {{
	bind unix/{socket}|0660
	{does}
}}
"""
_PROXY: Final = """\
reverse_proxy {upstreams} {{
		header_up Host {{header.X-Aviary-Host}}
		header_up X-Forwarded-For {{header.X-Forwarded-For}}
		header_up X-Forwarded-Proto {{header.X-Forwarded-Proto}}
		header_up X-Forwarded-Host {{header.X-Forwarded-Host}}
		header_up -X-Aviary-*
		lb_policy least_conn
		lb_retries 2
		fail_duration 2s
{check}		transport http {{
			dial_timeout 1s
			response_header_timeout 60s
		}}
	}}"""
_CHECK: Final = """\
		health_uri {path}
		health_interval 1s
		health_timeout 1s
"""
_FRONT: Final = """
http://{service}:{port}, http://{service}.local:{port} {{
{bind}	import aviary-{service}
}}
"""
_NOBODY: Final = """
http://:{port} {{
{bind}	respond 404
}}
"""
SPLIT: Final = """\
{{- /* Written by Aviary: says in a header which pool a request is for. */ -}}
{{- $ask := .Req.Header -}}
{{- $route := splitList "|" (readFile (printf "/routes/%s" ($ask.Get "X-Aviary-Service"))) -}}
{{- $stable := index $route 0 -}}
{{- $canary := index $route 1 -}}
{{- $pool := $stable -}}
{{- if $canary -}}
  {{- $wish := $ask.Get "X-Canary" -}}
  {{- if not (has $wish (list "always" "never")) -}}
    {{- $wish = .Cookie "canary" -}}
  {{- end -}}
  {{- $user := $ask.Get "X-User-Id" | default (.Cookie "aviary-user") -}}
  {{- if not $user -}}
    {{- $user = uuidv4 -}}
    {{- .RespHeader.Set "X-Aviary-Named" $user -}}
  {{- end -}}
  {{- $inside := not (index $route 5) -}}
  {{- if not $inside -}}
    {{- range $one := splitList "," (index $route 5) -}}
      {{- $match := splitList ":" $one -}}
      {{- $name := b64dec (index $match 1) -}}
      {{- $found := $ask.Get $name -}}
      {{- if eq (index $match 0) "cookie" -}}
        {{- $found = $.Cookie $name -}}
      {{- end -}}
      {{- if eq $found (b64dec (index $match 2)) -}}
        {{- $inside = true -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- if eq $wish "always" -}}
    {{- $pool = print $canary "~apart" -}}
  {{- else if or (eq $wish "never") (not $inside) -}}
    {{- $pool = print $stable "~apart" -}}
  {{- else if lt (substr 0 8 (sha256sum $user)) (index $route 2) -}}
    {{- $pool = $canary -}}
  {{- end -}}
{{- end -}}
{{- .RespHeader.Set "X-Aviary-Pool" $pool -}}
"""


def checked(text: str, what: str) -> str:
    """A word of a Caddyfile.

    Raises:
        ValueError: it would be more than one word, a comment, or a placeholder.
    """
    if not text or _NO_TEXT.search(text):
        raise ValueError(f"{what}: expected no blank, quote, brace, # or backslash, found {text!r}")
    return text


def options(config: Config) -> str:
    """`global.caddy`: what is counted, and under which name."""
    return GLOBAL.format(socket=_socket(config), server=SERVER)


def sites(config: Config, directory: Path, mark: str) -> str:
    """The sites: that of Aviary's questions, those of versions, and a frontend for each address.

    Args:
        config: what there is.
        directory: the folder, as Caddy sees it.
        mark: that Caddy shall answer once it has taken this up.
    """
    place, socket = checked(str(directory), "directory"), _socket(config)
    services = {
        service: list(pools)
        for service, pools in groupby(config.pools, key=lambda pool: pool.service)
    }
    listed = "".join(
        _LISTED.format(service=service, pools=" ".join(map(shown, pools)))
        for service, pools in services.items()
    )
    text = [_HEAD.format(socket=socket, mark=mark, directory=place, services=listed)]
    text += [_site(pool, socket) for pool in config.pools]
    text += [
        _SERVICE.format(service=one, directory=place, socket=socket, cookie=_COOKIE)
        for one in services
    ]
    text += [_front(listen, services) for listen in config.listens]
    return "".join(text)


def shown(pool: Pool) -> str:
    """A pool as Caddy answers for it: `2.0.1=10.0.0.7:8080,10.0.0.8:8080`."""
    return f"{pool.version}={','.join(addresses(pool.endpoints))}"


def addresses(endpoints: Iterable[tuple[str, int]]) -> Sequence[str]:
    """Instances as Caddy takes them."""
    return [
        f"[{host}]:{port}" if ":" in host else f"{checked(host, 'host')}:{port}"
        for host, port in endpoints
    ]


def _site(pool: Pool, socket: str) -> str:
    does = "respond 503"
    if pool.endpoints:
        path = pool.health_path
        check = "" if path is None else _CHECK.format(path=checked(path, "health_path"))
        does = _PROXY.format(upstreams=" ".join(addresses(pool.endpoints)), check=check)
    return _POOL.format(pool=pool.name, apart=APART, socket=socket, does=does)


def _front(listen: str, services: Iterable[str]) -> str:
    host, _, port = checked(listen, "listen").rpartition(":")
    bind = f"\tbind {host}\n" if host else ""
    fronts = [_FRONT.format(service=one, port=port, bind=bind) for one in services]
    return "".join([*fronts, _NOBODY.format(port=port, bind=bind)])


def _socket(config: Config) -> str:
    return _SOCKET.format(socket=checked(config.socket, "socket"))
