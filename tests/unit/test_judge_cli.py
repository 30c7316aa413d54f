"""`aviary judge` and `aviary ramp`, as a person runs them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlparse

import pytest
import typer
from typer.testing import CliRunner, Result

from analysis.evalues import Tally
from aviary.cli.failing import Group
from aviary.cli.judge import register

START = 1_769_860_800.0


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(cls=Group, pretty_exceptions_enable=False)
    register(made)
    return made


def line(name: str, tally: Tally, **more: Any) -> str:
    counts = {"canary": [tally.bad_c, tally.n_c], "stable": [tally.bad_b, tally.n_b]}
    return json.dumps(
        {"series": name, "interval_s": 15, "weight": 0.05, "metrics": {"errors": counts}, **more}
    )


BAD, GOOD = Tally(5, 750, 10, 14250), Tally(0, 750, 10, 14250)


def judged(app: typer.Typer, lines: list[str], *options: str) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(app, ["judge", *options], input="\n".join(lines) + "\n")
    assert result.exit_code == 0, result.output
    rows = [json.loads(row) for row in result.stdout.splitlines()]
    return {row["series"]: row for row in rows}


def test_interleaved_series_are_judged_apart(app: typer.Typer) -> None:
    lines = [line(name, tally) for _ in range(12) for name, tally in (("a", BAD), ("b", GOOD))]
    found = judged(app, lines, "--method", "share", "--margin", "1", "--tolerance", "0.005")
    assert set(found["a"]) == {
        "series",
        "verdict",
        "decided_at",
        "e_value",
        "upper_bound",
        "reason",
    }
    assert (found["a"]["verdict"], found["a"]["decided_at"]) == ("FAIL", 2)
    assert found["a"]["e_value"] == pytest.approx(50.25476, rel=1e-6)
    assert found["a"]["reason"] == "worse_than_stable"
    assert (found["b"]["verdict"], found["b"]["reason"]) == ("PASS", "good_enough")


def test_the_default_bets_what_it_has_learnt(app: typer.Typer) -> None:
    found = judged(app, [line("a", BAD)] * 3)
    assert (found["a"]["verdict"], found["a"]["decided_at"]) == ("FAIL", 2)
    assert found["a"]["e_value"] == pytest.approx(101.50542605, rel=1e-8)


def test_the_likelihood_ratio_and_its_cluster_can_be_chosen(app: typer.Typer) -> None:
    found = judged(app, [line("a", BAD)], "--method", "lr", "--margin", "1")
    assert found["a"]["e_value"] == pytest.approx(126.748, rel=1e-5)
    assert found["a"]["decided_at"] == 0
    slow = judged(app, [line("a", BAD)], "--method", "lr", "--margin", "1", "--cluster", "5")
    assert slow["a"]["verdict"] == "INCONCLUSIVE"
    assert slow["a"]["decided_at"] is None


def test_watch_goes_on_after_a_pass_and_finds_what_comes_later(app: typer.Typer) -> None:
    lines = [line("a", GOOD) for _ in range(12)] + [line("a", BAD) for _ in range(30)]
    assert judged(app, lines)["a"]["verdict"] == "PASS"
    watched = judged(app, lines, "--watch")["a"]
    assert watched["verdict"] == "FAIL"
    assert watched["decided_at"] > 12
    kept = judged(app, lines[:12], "--watch")["a"]
    assert (kept["verdict"], kept["decided_at"]) == (
        "PASS",
        judged(app, lines[:12])["a"]["decided_at"],
    )


def test_no_data_is_inconclusive(app: typer.Typer) -> None:
    found = judged(app, [line("a", Tally(0, 0, 1, 100))])["a"]
    assert (found["verdict"], found["decided_at"], found["reason"]) == (
        "INCONCLUSIVE",
        None,
        "no_data",
    )


def test_low_traffic_is_never_failed(app: typer.Typer) -> None:
    found = judged(app, [line("a", Tally(0, 1, 0, 29))] * 240)["a"]
    assert (found["verdict"], found["reason"]) == ("INCONCLUSIVE", "not_enough_evidence")


@pytest.mark.parametrize(("bad", "verdict"), [(0, "PASS"), (20, "FAIL")])
@pytest.mark.parametrize("method", ["threshold", "kayenta"])
def test_fixed_rules_answer_at_the_end(
    app: typer.Typer, method: str, bad: int, verdict: str
) -> None:
    tallies = [Tally(bad + (i % 8 == 0), 750, 8 + i % 3, 14250) for i in range(40)]
    found = judged(app, [line("a", tally) for tally in tallies], "--method", method)["a"]
    assert found["verdict"] == verdict
    assert found["e_value"] is None
    assert found["decided_at"] == (39 if verdict == "PASS" else found["decided_at"])


def test_a_file_can_be_read(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "intervals.jsonl"
    path.write_text(line("a", BAD) + "\n\n" + line("a", BAD) + "\n")
    result = CliRunner().invoke(app, ["judge", str(path)])
    assert json.loads(result.stdout)["series"] == "a"


def refused(app: typer.Typer, text: str, *options: str) -> Result:
    result = CliRunner().invoke(app, ["judge", *options], input=text)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    return result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: (line): got [], expected an object"),
        (line("a", BAD, extra=1), "line 2: extra: got 1, expected only"),
        (line("a", BAD, series=3), "line 2: series: got 3, expected a text"),
        (line("a", BAD, interval_s=0), "line 2: interval_s: got 0, expected a number"),
        (line("a", BAD, weight=5), "line 2: weight: got 5, expected a share from 0 to 1"),
        (line("a", BAD, metrics={}), "line 2: metrics: got {}, expected"),
        (line("a", Tally(9, 3, 0, 1)), "line 2: metrics.errors.canary: got [9, 3], expected [bad"),
        (line("a", Tally(1, 3, -1, 1)), "line 2: metrics.errors.stable: got [-1, 1]"),
        (line("a", Tally(1, float("nan"), 1, 1)), "line 2: metrics.errors.canary: got [1, NaN]"),
        (line("a", BAD, interval_s=10**400), "line 2: interval_s: got 1000"),
        (line("a", Tally(0, 10**400, 0, 1)), "line 2: metrics.errors.canary: got [0, 1000"),
        (line("a", Tally(0, 1e200, 0, 1)), "line 2: metrics.errors.canary: got [0, 1e+200], exp"),
        (line("a", Tally(0, 1e-300, 0, 1)), "line 2: metrics.errors.canary: got [0, 1e-300], exp"),
        (line("\ud800", BAD), 'line 2: series: got "\\ud800", expected a text without'),
        ("[" * 100_000, "line 2: not JSON: nested too deeply"),
        (line("b", BAD).replace('"errors"', '"Ä"'), 'line 2: metrics: got "Ä", expected names'),
    ],
)
def test_a_bad_line_is_named(app: typer.Typer, text: str, message: str) -> None:
    assert message in refused(app, line("a", BAD) + "\n" + text + "\n").stderr


def test_bytes_that_are_not_utf_8_are_named_and_a_mark_is_no_matter(
    app: typer.Typer, tmp_path: Path
) -> None:
    path = tmp_path / "intervals.jsonl"
    path.write_bytes(line("a", BAD).encode() + b"\n\xff\n")
    assert 'line 2: byte 1: got "0xff", expected UTF-8' in refused(app, "", str(path)).stderr
    path.write_bytes(b"\xef\xbb\xbf" + line("a", BAD).encode())
    assert CliRunner().invoke(app, ["judge", str(path)]).exit_code == 0


def test_a_metric_may_first_appear_late_and_keeps_the_series_from_passing_before(
    app: typer.Typer,
) -> None:
    slow = {"canary": [0, 750], "stable": [10, 14250]}
    both = {"errors": slow, "slow": slow}
    lines = [line("a", GOOD)] * 30 + [line("a", GOOD, metrics=both)] * 30
    early = judged(app, lines[:30])["a"]
    late = judged(app, lines)["a"]
    assert (early["verdict"], late["verdict"]) == ("PASS", "PASS")
    assert late["decided_at"] >= 30 > early["decided_at"]


def test_a_bad_option_is_named(app: typer.Typer) -> None:
    assert "--alpha: got 2.0, expected" in refused(app, "", "--alpha", "2").stderr
    assert "expected a file" in refused(app, "", "/nowhere/at/all").stderr


def test_a_ramp_is_rehearsed(app: typer.Typer) -> None:
    command = ["ramp", "--budget", "500", "--rps", "1000", "--format", "json"]
    told = json.loads(CliRunner().invoke(app, command).stdout)
    assert told["feasible"]
    assert told["schedule"][0]["weight"] == 1.37
    assert told["schedule"][-1]["event"] == "full"
    table = CliRunner().invoke(app, ["ramp", "--budget", "20", "--rps", "1000"])
    assert "expected at least about" in table.stdout
    wrong = CliRunner().invoke(app, ["ramp", "--budget", "20", "--rps", "0"])
    assert (wrong.exit_code, "--rps: got 0" in wrong.stderr) == (2, True)


STRANGE = {
    "no-data": b'{"status": "success"}',
    "no-labels": b'{"status": "success", "data": {"result": [{"values": [[1, "2"]]}]}}',
    "no-number": b'{"status": "success", "data": {"result": [{"metric": {}, "values": [[{}]]}]}}',
}
HALF = (
    b'{"status": "success", "data": {"result": []}, '
    b'"warnings": ["No StoreAPIs matched for this query"]}'
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--service", "x"], "--service: got x, expected --prometheus"),
        (["--from", "1"], "--from: got 1, expected --prometheus"),
        (["--to", "1"], "--to: got 1, expected --prometheus"),
        (["--pack", "nope"], "--pack: got nope, expected --prometheus"),
        (["--step", "1x"], "--step: got 1x, expected"),
        (["--window", "1m"], "--window: given with --method adaptive, expected threshold"),
        (["--method", "threshold", "--max-error-ratio", "2"], "--max-error-ratio: got 2.0"),
        (["--prometheus", "http://x", "file"], "FILE: got file, expected none"),
        (["--prometheus", "http://[::", "--service", "x", "--from", "1", "--to", "2"], "http://[:"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    app: typer.Typer, options: list[str], message: str
) -> None:
    assert message in refused(app, line("a", BAD), *options).stderr


def test_the_user_of_an_address_is_shown_in_no_error(app: typer.Typer) -> None:
    url = "http://u:hunter2@127.0.0.1:9"
    asked = ["--prometheus", url, "--service", "x", "--from", "1", "--to", "2"]
    result = CliRunner().invoke(app, ["judge", *asked, "--canary", "2", "--stable", "1"])
    assert "Prometheus at http://(hidden)@127.0.0.1:9" in result.stderr
    odd = [*asked[:1], f"{url}:[x", *asked[2:]]
    assert "hunter2" not in result.output + refused(app, line("a", BAD), *odd).output


def test_the_fixed_limit_and_its_window_can_be_chosen(app: typer.Typer) -> None:
    lines = [line("a", Tally(15, 750, 0, 14250))] * 4
    rule = ["--method", "threshold"]
    assert judged(app, lines, *rule)["a"]["decided_at"] == 3
    assert judged(app, lines, *rule, "--window", "30s")["a"]["decided_at"] == 1
    assert judged(app, lines, *rule, "--max-error-ratio", "0.03")["a"]["verdict"] == "PASS"


def test_a_rehearsal_stops_where_the_budget_allows_no_more(app: typer.Typer) -> None:
    command = ["ramp", "--budget", "30", "--rps", "1000", "--rate", "0.01", "--format", "json"]
    schedule = json.loads(CliRunner().invoke(app, command).stdout)["schedule"]
    assert (schedule[-1]["event"], schedule[-1]["weight"]) == ("budget spent", 0.0)
    assert all(moment["weight"] > 0 for moment in schedule[:-1])
    short = CliRunner().invoke(app, [*command, "--interval", "1ms"])
    assert (short.exit_code, "--interval: got 1ms, expected" in short.stderr) == (2, True)


class Past(BaseHTTPRequestHandler):
    """A Prometheus that remembers one release: 0.1 % errors on 1.0, 5 % on 1.1 from minute 5."""

    authorizations: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.authorizations.append(self.headers["Authorization"])
        asked = {k: v[0] for k, v in parse_qs(urlparse(self.path).query).items()}
        start, end, step = (float(asked[k]) for k in ("start", "end", "step"))
        times = [start + i * step for i in range(int((end - start) / step) + 1)]
        rows = []
        for version, born in (("1~0", -1e9), ("1~1", START + 300)):
            pool = f"shop@{version}"
            if pool not in asked["query"] and "=~" not in asked["query"]:
                continue
            rate = 0.05 if version == "1~1" else 0.001
            per_s = 5 if version == "1~1" else 95
            bad = rate if "_xx" in asked["query"] else 1.0
            values = [[t, str(int((t - START + 1e4) * per_s * bad))] for t in times if t >= born]
            rows.append({"metric": {"envoy_cluster_name": pool, "instance": "e"}, "values": values})
        body = json.dumps({"status": "success", "data": {"result": rows}}).encode()
        if "oops" in self.path:
            body = b'{"status":"error","error":"no such thing"}'
        for service, strange in (*STRANGE.items(), ("half", HALF)):
            body = strange if service in asked["query"] else body
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    Past.authorizations.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Past) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_past_is_judged(app: typer.Typer, prometheus: str) -> None:
    at = ["--from", "2026-01-31T12:00:00Z", "--to", str(START + 1800)]
    command = ["judge", "--prometheus", prometheus, "--service", "shop", *at]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["series"], told["verdict"], told["reason"]) == (
        "shop",
        "FAIL",
        "worse_than_stable",
    )
    assert told["decided_at"] > 300 / 15
    assert told["sentence"].startswith("shop 1.1 fails 4.7 % of requests against 0.11 %")
    same = CliRunner().invoke(app, [*command, "--stable", "1.0", "--canary", "1.1"])
    assert json.loads(same.stdout) == told


@pytest.mark.parametrize(
    ("configured", "sent"),
    [
        ("{url}", "Bearer s3cret"),
        ("{url}/", "Bearer s3cret"),
        ("http://127.0.0.1:1", None),
        ("http://localhost:{port}", None),
        ("https://127.0.0.1:{port}", None),
    ],
)
def test_the_credentials_of_the_settings_go_to_their_own_server_alone(
    app: typer.Typer,
    prometheus: str,
    monkeypatch: pytest.MonkeyPatch,
    configured: str,
    sent: str | None,
) -> None:
    port = prometheus.rpartition(":")[2]
    configured = configured.format(url=prometheus, port=port)
    monkeypatch.setenv("AVIARY_PROMETHEUS_URL", configured)
    monkeypatch.setenv("AVIARY_PROMETHEUS_TOKEN", "s3cret")
    at = ["--from", "2026-01-31T12:00:00Z", "--to", str(START + 1800)]
    command = ["judge", "--prometheus", prometheus, "--service", "shop", *at]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert set(Past.authorizations) == {sent}


def test_a_secret_that_cant_be_read_is_named_and_not_shown(
    app: typer.Typer, prometheus: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AVIARY_PROMETHEUS_URL", prometheus)
    monkeypatch.setenv("AVIARY_PROMETHEUS_TOKEN_FILE", str(tmp_path / "token"))
    at = ["--from", "2026-01-31T12:00:00Z", "--to", str(START + 1800)]
    result = CliRunner().invoke(
        app, ["judge", "--prometheus", prometheus, "--service", "shop", *at]
    )
    assert result.exit_code == 1
    assert f"{tmp_path / 'token'}: expected a readable secret" in result.stderr


def test_the_past_needs_what_it_needs(app: typer.Typer, prometheus: str) -> None:
    base = ["--prometheus", prometheus]
    shop = [*base, "--service", "shop"]
    times = ["--from", str(START), "--to", str(START + 60)]
    assert "--service: missing" in refused(app, "", *base).stderr
    assert "--from: missing" in refused(app, "", *shop).stderr
    assert "--from: got soon" in refused(app, "", *shop, "--from", "soon").stderr
    back = refused(app, "", *shop, "--from", str(START), "--to", str(START - 1))
    assert "--to: got" in back.stderr
    assert "unknown pack" in refused(app, "", *shop, *times, "--pack", "nope").stderr
    assert "--query: got x" in refused(app, "", *shop, *times, "--query", "x").stderr
    one = refused(app, "", *shop, *times)
    assert "expected two versions in this range, found 1.0" in one.stderr
    gone = CliRunner().invoke(
        app, ["judge", "--prometheus", "http://127.0.0.1:1", "--service", "shop", *times]
    )
    assert (gone.exit_code, "Prometheus at" in gone.stderr) == (1, True)


@pytest.mark.parametrize("service", STRANGE)
def test_a_strange_answer_is_told_in_one_line(
    app: typer.Typer, prometheus: str, service: str
) -> None:
    times = ["--from", str(START), "--to", str(START + 60)]
    command = ["judge", "--prometheus", prometheus, "--service", service, *times]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "expected a matrix of series" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("accepted", [False, True])
def test_a_past_with_warnings_is_judged_where_the_catalog_accepts_them(
    app: typer.Typer, prometheus: str, tmp_path: Path, *, accepted: bool
) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(
        "version: 1\ndefaults: {router: {kind: memory}, metrics: []}\nservices:\n  half:\n"
        f"    judge: {{pack: envoy, accept_warnings: {json.dumps(accepted)}}}\n"
        "    metrics: [{kind: ratio, name: errors}]\n"
    )
    times = ["--from", str(START), "--to", str(START + 60), "--stable", "1.0", "--canary", "1.1"]
    command = ["judge", "--prometheus", prometheus, "--service", "half", *times]
    result = CliRunner().invoke(app, [*command, "--catalog", str(catalog)])
    assert result.exit_code == (0 if accepted else 1), result.output
    assert ("No StoreAPIs matched" in result.stderr) is not accepted


def test_the_past_is_judged_by_what_the_catalog_says(
    app: typer.Typer, prometheus: str, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.yaml"
    own = "{kind: ratio, name: errors, slo: %s}"
    at = ["--from", "2026-01-31T12:00:00Z", "--to", str(START + 1800)]
    command = ["judge", "--prometheus", prometheus, "--service", "shop", *at]
    told = []
    for slo in (0.01, 0.2):
        path.write_text(CATALOG + f"    metrics: [{own % slo}]\n")
        result = CliRunner().invoke(app, [*command, "--catalog", str(path)])
        assert result.exit_code == 0, result.output
        told.append(json.loads(result.stdout))
    assert [one["verdict"] for one in told] == ["FAIL", "PASS"]
    assert told[0]["reason"] == "over_limit"
    both = refused(app, "", *command[1:], "--catalog", str(path), "--alpha", "0.1")
    assert "--alpha: not expected beside --catalog" in both.stderr
    other = [*command[1:3], "--service", "cart", *at, "--catalog", str(path)]
    assert (
        "--service: got cart, expected one of the catalog's: shop"
        in refused(app, "", *other).stderr
    )


CATALOG = """
version: 1
defaults:
  router: {kind: memory}
services:
  shop:
    judge: {pack: envoy}
"""
