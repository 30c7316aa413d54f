import json
import tomllib
from pathlib import Path

import pytest

from aviary.cli.catalogs import schema_text
from aviary.kinds import ROUTERS
from tests.packages import Packages
from tests.unit.cli.conftest import EVENT, ROOT, Run, aviary


def test_plan_as_json(run: Run, catalog: Path, event: Path) -> None:
    result = run("plan", "--catalog", catalog, "--event", event, "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    plan = json.loads(result.stdout)
    assert plan["release"] == "r1"
    assert plan["stages"] == [["ledger"], ["shop"]]
    assert plan["services"]["shop"]["depends_on"] == ["ledger"]
    assert plan["services"]["shop"]["version"] == "2.0"
    assert [step["weight"] for step in plan["services"]["shop"]["steps"]] == [1, 5, 25, 50, 100]


def test_plan_as_table(run: Run, catalog: Path, event: Path) -> None:
    result = run("plan", "-c", catalog, "-e", event)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "release r1: 2 services, 2 stages, soak 5m"
    assert lines[2].split()[:4] == ["1", "ledger", "2.0", "standard"]
    assert "1% 1m to 10m → 5% 1m to 10m" in lines[2]


TRAIN = """
version: 1
defaults: {router: {kind: memory}, metrics: []}
services:
  order:
  seat: {depends_on: [travel, order]}
  travel: {depends_on: [basic]}
  basic: {depends_on: [seat]}
"""
ASKED = json.dumps(
    {
        "release": "r1",
        "services": [{"service": name, "version": "2.0"} for name in ("order", "seat", "travel")],
    }
)


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """A catalog with services that need each other."""
    path = tmp_path / "train.yaml"
    path.write_text(TRAIN)
    return path


def test_a_plan_shows_which_services_move_in_step(run: Run, train: Path) -> None:
    table = run("plan", "-c", train, "-e", "-", text=ASKED)
    rows = [line.split()[:4] for line in table.stdout.splitlines()[2:5]]
    assert rows == [
        ["1", "order", "2.0", "standard"],
        ["2", "seat", "2.0", "order"],
        ["2", "travel", "2.0", "order"],
    ]
    assert "In step, as they need each other: seat, travel." in table.stdout
    data = json.loads(run("plan", "-c", train, "-e", "-", "--format", "json", text=ASKED).stdout)
    assert data["stages"] == [["order"], ["seat", "travel"]]
    assert data["groups"] == [["seat", "travel"]]
    assert data["services"]["travel"]["group"] == ["seat", "travel"]
    assert data["services"]["travel"]["depends_on"] == ["order"]
    assert data["services"]["order"]["group"] == []


def test_validate_names_a_cycle_as_a_note_and_refuses_it_where_told(run: Run, train: Path) -> None:
    note = (
        "basic, seat, travel need each other (basic -> seat -> travel -> basic): "
        "released together, they move in step, as one group (cycles: refuse makes this an error)"
    )
    result = run("validate", train)
    assert result.exit_code == 0
    assert f"{train}: note: {note}" in result.stdout.splitlines()
    assert note in json.loads(run("validate", train, "--format", "json").stdout)[0]["notes"]
    train.write_text(f"{TRAIN}cycles: refuse\n")
    refused = run("validate", train)
    assert refused.exit_code == 2
    assert "expected no cycle of dependencies, found basic -> seat -> travel -> basic" in (
        refused.stderr
    )


def test_of_many_cycles_some_are_named_and_the_others_counted(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    pairs = [f"  a{n}: {{depends_on: [b{n}]}}\n  b{n}: {{depends_on: [a{n}]}}" for n in range(23)]
    path.write_text(TRAIN.split("services:", maxsplit=1)[0] + "services:\n" + "\n".join(pairs))
    lines = run("validate", path).stdout.splitlines()
    assert sum("need each other (" in line for line in lines) == 20
    assert any("3 more groups of services need each other" in line for line in lines)


def test_one_service_is_one(run: Run, catalog: Path) -> None:
    event = '{"release": "r1", "services": [{"service": "ledger", "version": "2.0"}]}'
    result = run("plan", "-c", catalog, "-e", "-", text=event)
    assert result.stdout.startswith("release r1: 1 service, 1 stage")


def test_plan_takes_a_cloudevent_from_stdin(run: Run, catalog: Path) -> None:
    envelope = {
        "specversion": "1.0",
        "type": "dev.aviary.release.requested.v1",
        "source": "/ci/shop",
        "id": "7",
        "data": json.loads(EVENT),
    }
    result = run("plan", "-c", catalog, "-e", "-", "--format", "json", text=json.dumps(envelope))
    assert result.exit_code == 0
    assert json.loads(result.stdout)["source"] == "/ci/shop#7"


def test_the_catalog_can_come_from_the_settings(
    run: Run, catalog: Path, event: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIARY_CATALOG", str(catalog))
    result = run("plan", "-e", event, "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["stages"] == [["ledger"], ["shop"]]
    other = catalog.with_name("other.yaml")
    other.write_text(catalog.read_text().replace("ledger", "wallet"))
    assert "ledger" in run("plan", "-e", event, "-c", other).stderr, "an option goes before it"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "value: empty, expected a JSON document"),
        ("{", "value: not valid JSON"),
        ('{"release": "r"}', "services: missing"),
        ('{"release": "r", "services": [{"service": "a", "version": "1"}]}', "services: got 'a'"),
        ('{"specversion": "1.0", "type": "x", "source": "s", "id": "1"}', "type: unknown"),
        (EVENT.replace('"services"', '"strategy": "x", "services"'), "strategy: got 'x'"),
    ],
)
def test_a_bad_event_is_one_line_and_exit_code_2(
    run: Run, catalog: Path, text: str, error: str
) -> None:
    result = run("plan", "-c", catalog, "-e", "-", text=text)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert error in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_bad_catalog_names_every_problem(run: Run, tmp_path: Path, event: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("version: 2\nservices: {a: {depends_on: [b]}}\n")
    result = run("plan", "-c", path, "-e", event)
    assert result.exit_code == 2
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        f"{path}:1",
        f"{path}:2",
        f"{path}:2",
    ]


@pytest.mark.parametrize("missing", ["catalog", "event"])
def test_a_missing_file_is_exit_code_2(
    run: Run, catalog: Path, event: Path, tmp_path: Path, missing: str
) -> None:
    files = {"catalog": catalog, "event": event, missing: tmp_path / "none"}
    result = run("plan", "-c", files["catalog"], "-e", files["event"])
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


def test_validate_says_yes(run: Run, catalog: Path) -> None:
    result = run("validate", catalog)
    assert result.exit_code == 0
    assert result.stdout == (
        f"{catalog}: valid, 3 services\n"
        f"{catalog}: judged by time alone (metrics: []): cart, ledger, shop\n"
        f"{catalog}: note: the router memory counts no requests: whether the canary gets its "
        "share, and whether requests stop after a rollback, is not seen\n"
        f"{catalog}: note: with the router memory a canary has no lease: while Aviary is down it "
        "keeps its requests, and the sentinel takes nothing back\n"
    )


def test_validate_notes_what_can_t_be_seen_with_a_router(
    run: Run, tmp_path: Path, packages: Packages
) -> None:
    packages.acme()
    path = tmp_path / "catalog.yaml"
    router = "{kind: acme, backend: web}"
    path.write_text(f"version: 1\ndefaults: {{router: {router}}}\nservices: {{a: , b: }}\n")
    note = "the router acme counts no requests: whether the canary gets its share"
    table = run("validate", path)
    assert (table.exit_code, table.stdout.count(f"{path}: note: {note}")) == (0, 1)
    (found,) = json.loads(run("validate", path, "--format", "json").stdout)
    assert [one.startswith(note) for one in found["notes"]] == [True, False]
    assert "with the router acme a canary has no lease" in found["notes"][1]


def test_validate_looks_at_all_files_and_fails_if_one_is_wrong(
    run: Run, catalog: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\ndefaults: {router: {kind: memory}}\nservices: {a: {strategy: x}}\n")
    result = run("validate", bad, catalog)
    assert result.exit_code == 2
    assert f"{bad}:3: services.a.strategy" in result.stderr
    assert f"{catalog}: valid" in result.stdout
    as_json = run("validate", bad, catalog, "--format", "json")
    assert as_json.exit_code == 2
    first, second = json.loads(as_json.stdout)
    assert (first["valid"], first["problems"][0]["line"]) == (False, 3)
    assert (second["valid"], second["problems"]) == (True, [])


def test_the_schema_in_the_docs_is_current(run: Run, tmp_path: Path) -> None:
    stored = (ROOT / "docs/catalog.schema.json").read_text(encoding="utf-8")
    assert stored == schema_text(), "run: python -m aviary schema -o docs/catalog.schema.json"
    assert run("schema", "-o", tmp_path / "s.json").exit_code == 0
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == stored
    assert run("schema").stdout == stored
    assert run("schema", "-o", tmp_path / "no" / "s.json").exit_code == 2


def test_the_version_is_the_package_s(run: Run) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert run("version").stdout == f"aviary {project['version']}\n"
    assert json.loads(run("version", "--format", "json").stdout) == {"version": project["version"]}


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["plan"],
        ["plan", "--event", "-", "--format", "xml"],
        ["release", "start"],
        ["release", "start", "r"],
        ["release", "start", "r", "-s", "checkout"],
        ["release", "start", "r", "-s", "a=1", "-s", "a=2"],
        ["release", "start", "r", "-e", "x.json"],
        ["release", "start", "r/1", "-s", "a=1"],
        ["release", "start", "r", "-s", "a=1", "--image", "b=x"],
        ["release", "start", "-e", "x.json", "--config", "a:B=1"],
        ["release", "list", "--state", "odd"],
        ["release", "list", "--limit", "0"],
        ["release", "pause"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_no_traceback(run: Run, args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_exit_codes_of_the_real_process(catalog: Path, tmp_path: Path) -> None:
    good = aviary("validate", catalog)
    assert (good.returncode, good.stderr) == (0, "")
    bad = aviary("validate", tmp_path / "none.yaml")
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr
    wrong_setting = aviary("release", "list", env={"AVIARY_WEBHOOK_PORT": "x"})
    assert wrong_setting.returncode == 2
    assert wrong_setting.stderr.startswith("AVIARY_WEBHOOK_PORT: 'x'")


def test_plan_and_help_import_no_server_libraries(catalog: Path, event: Path) -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from aviary.cli import build_app\n"
        f"args = ['plan', '-c', {str(catalog)!r}, '-e', {str(event)!r}]\n"
        "assert CliRunner().invoke(build_app(), ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(build_app(), args).exit_code == 0\n"
        "heavy = {'temporalio', 'aiokafka', 'fastapi', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


RAMP = """\
version: 1
defaults: {router: {kind: envoy, directory: /srv, admin: ["http://127.0.0.1:9901"]}}
strategies: {careful: {ramp: {budget: 500, cap: 40, hold_after: 2h}}}
services: {ledger: {strategy: careful}, shop: }
"""


def test_a_ramp_is_shown_as_one(run: Run, tmp_path: Path, event: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(RAMP)
    table = run("plan", "-c", path, "-e", event)
    assert "ramp to 40%, 500 extra failures at most, 2h at most → 100%" in table.stdout
    plan = json.loads(run("plan", "-c", path, "-e", event, "--format", "json").stdout)
    ramped, stepped = plan["services"]["ledger"], plan["services"]["shop"]
    assert (ramped["steps"], ramped["ramp"]["budget"]) == ([], 500)
    assert (len(stepped["steps"]), stepped["ramp"]) == (5, None)


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["release", "list", "--state", "rolledback"], "did you mean 'rolled_back'?"),
        (["release", "list", "--state", "Finalised"], "did you mean 'finalized'?"),
        (["release", "list", "--verdict", "pas"], "did you mean 'PASS'?"),
        (["release", "list", "--cause", "alerts"], "did you mean 'alert'?"),
        (["release", "list", "--state", "gated"], "--waiting lists what waits for a person"),
        (["plan", "-e", "-", "--format", "jsn"], "did you mean 'json'?"),
    ],
)
def test_an_unknown_word_of_an_option_has_a_hint(run: Run, args: list[str], hint: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    told = " ".join(result.stderr.replace("│", " ").split())
    assert told.count(hint) == 1
    assert ".; " not in told
    assert "Value error" not in told


def test_routers_are_listed_with_what_each_can_do(run: Run) -> None:
    done = run("routers", "--format", "json")
    assert (done.exit_code, done.stderr) == (0, "")
    routers = {one["kind"]: one for one in json.loads(done.stdout)["routers"]}
    assert list(routers) == sorted(one.name for one in ROUTERS)
    can = routers["envoy"]["capabilities"]
    assert (can["weights"], can["smallest"]) == ({"kind": "total", "total": 10_000}, 0.01)
    assert (can["sticky"], can["counts"]) == (["header", "cookie"], "router")
    assert routers["envoy"]["options"] == ["admin", "directory", "health_path"]
    assert (routers["envoy"]["connection"], routers["memory"]["connection"]) == ("envoy", None)
    lines = run("routers").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["kind", *routers]
    assert "0.01 %" in next(line for line in lines if line.startswith("envoy"))


def test_a_plan_shows_what_a_version_needs(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text("""
version: 1
defaults: {router: {kind: memory}, metrics: [], deploy: {kind: memory}}
services:
  checkout:
    needs: {schema: ">= 42"}
    hooks:
      - name: schema
        when: [before_canary, after_step]
        call: {kind: run, command: [./migrate, state]}
""")
    asked = {"release": "r", "services": [{"service": "checkout", "version": "1.4.2"}]}
    shown = run("plan", "--catalog", path, "--event", "-", text=json.dumps(asked))
    assert shown.exit_code == 0, shown.output
    text = " ".join(shown.output.split())
    assert "checkout 1.4.2 needs schema >= 42; hook schema says (before_canary, after_step)" in text


def test_the_flag_of_the_how_to_is_planned_after_the_service_that_it_needs(
    run: Run, tmp_path: Path
) -> None:
    page = (ROOT / "docs/how-to/flags.md").read_text(encoding="utf-8")
    catalog = tmp_path / "flags.yaml"
    catalog.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    _, event = page.partition("A deploy event names")[2].split("```json\n", 1)
    told = event.partition("```")[0]
    plan = json.loads(run("plan", "-c", catalog, "-e", "-", "--format", "json", text=told).stdout)
    assert plan["stages"] == [["checkout"], ["new-checkout"]]
    steps = [one["weight"] for one in plan["services"]["new-checkout"]["steps"]]
    assert steps == [1, 5, 25, 50, 100]
