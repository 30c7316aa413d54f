"""What the benchmarks read, and that the page knows every figure of the suite."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path

import pytest

from adapters.routers.envoy.fleet import EnvoyFleet
from adapters.routers.files import read_document
from aviary.local.parts import Ports
from aviary.local.ports import FreePorts
from bench import many, rollback_order
from bench.__main__ import RESULT, SUITES, complete, specs
from bench.restoring import HOPS, Moments
from bench.seen import AccessLog, Call, add_log, parse
from bench.starting import graph, resident_mib
from bench.tables import NONE, rows
from schemas.catalog import Catalog
from schemas.graph import levels

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/performance.md").read_text(encoding="utf-8")


def test_every_figure_has_a_name_of_its_own() -> None:
    names = [spec.name for spec in specs()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: spec.name)
def test_the_page_names_every_figure(spec: object) -> None:
    assert f"| {getattr(spec, 'name', '')} |" in PAGE


def test_the_page_shows_no_figure_that_is_not_measured() -> None:
    lines = PAGE[PAGE.index("| figure |") :].splitlines()[2:]
    table = takewhile(lambda line: line.startswith("|"), lines)
    shown = {line.split(" | ")[0].removeprefix("| ") for line in table}
    assert shown == {spec.name for spec in specs()}


def test_the_page_names_every_suite_and_hop() -> None:
    for name in (*SUITES, *HOPS, *rollback_order.HOPS):
        assert name in " ".join(PAGE.split()), name
    assert str(RESULT.relative_to(ROOT)) in PAGE


def test_a_run_goes_from_hop_to_hop_without_a_gap() -> None:
    moments = Moments(
        posted=10.0,
        recorded=10.001,
        delivered=10.002,
        signalled=10.003,
        scheduled=10.01,
        begun=10.02,
        last=10.05,
        completed=10.08,
    )
    hops = moments.hops()
    assert sum(hops[hop] for hop in HOPS) == pytest.approx(moments.restored) == pytest.approx(50)


def test_a_line_of_envoys_log_is_a_request() -> None:
    versions = {"8001": "b"}
    call = parse("1700000000.123456 ledger 127.0.0.1:8001 200", versions)
    assert call == Call(1700000000.123456, "ledger", "b", 200)
    assert parse("1700000000.5 ledger - 503", versions).version == "?"
    with pytest.raises(ValueError, match="unpack"):
        parse("1700000000.5 ledger", versions)


async def test_a_log_is_read_by_whole_lines_however_it_grows(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text("1.5 ledger 127.0.0.1:1 200\n2.5 ledger 127.0.0.1:2")
    seen = AccessLog(log, {1: "a", 2: "b"})
    seen.forget()
    with log.open("a") as file:
        file.write(" 200\n3.5 ledger 127.0.0.1:1 20")
    assert await seen.settled() == [Call(2.5, "ledger", "b", 200)]
    with log.open("a") as file:
        file.write("0\n")
    assert (await seen.until(lambda call: call.version == "a")).started == 3.5
    assert len(await seen.settled()) == 2


def test_resident_memory_is_read() -> None:
    assert resident_mib("Name:\tpython\nVmRSS:\t   2048 kB\nVmSwap:\t 0 kB\n") == 2
    with pytest.raises(ValueError, match="VmRSS"):
        resident_mib("Name:\tzombie\n")


@pytest.mark.parametrize("shape", ["random graph", "chain"])
def test_graphs_have_no_cycle_and_are_the_same_each_time(shape: str) -> None:
    needs = graph(shape, 200)
    assert needs == graph(shape, 200)
    found = levels(needs)
    assert sorted(name for level in found for name in level) == sorted(needs)
    assert (len(found) == 200) is (shape == "chain")


def test_catalogs_are_valid() -> None:
    for document in (
        many.described(100, Path("/x"), Ports.choose(FreePorts())),
        rollback_order.described(),
    ):
        assert Catalog.model_validate(json.loads(json.dumps(document))).services


def test_a_figure_that_was_not_measured_is_shown_as_such() -> None:
    first, *_ = specs()
    shown = complete({"figures": [first.figure([1.0], [1.0]).document()]})
    assert [figure["name"] for figure in shown["figures"]] == [spec.name for spec in specs()]
    [(measured, _), (missing, missed), *_] = rows(shown)
    assert measured[2:5] == ("1", "1", "1")
    assert missing[2:8] == (NONE,) * 6
    assert not missed


def test_the_floor_is_explained_where_there_is_one() -> None:
    for spec in specs():
        if spec.goal.ratio_at_most is not None or spec.goal.ratio_at_least is not None:
            assert re.search(r"\w", spec.floor), spec.name


def test_the_log_is_of_the_filter_that_has_requests_and_of_no_other(tmp_path: Path) -> None:
    fleet = EnvoyFleet(tmp_path)
    fleet.bootstrap(9901, 8080)
    add_log(tmp_path / "lds.yaml", tmp_path / "access.log")
    (listener,) = read_document(tmp_path / "lds.yaml")["resources"]
    (chain,) = listener["filter_chains"]
    logged = {one["name"] for one in chain["filters"] if "access_log" in one["typed_config"]}
    managers = {
        one["name"]
        for one in chain["filters"]
        if one["typed_config"]["@type"].endswith(".HttpConnectionManager")
    }
    assert logged == managers != set()
