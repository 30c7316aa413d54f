from collections.abc import Callable
from pathlib import Path

import pytest

from aviary.kinds import ROUTERS
from schemas.catalog_file import CatalogError, load_catalog
from tests.catalogs import parse

REFUSED = "cycles: refuse\n"
HEAD = "version: 1\ndefaults: {router: {kind: memory}, metrics: []}\n"


def problems(text: str) -> list[str]:
    """What is wrong, one line each, without the file's name."""
    with pytest.raises(CatalogError) as caught:
        parse(text, "c")
    return [str(problem).removeprefix("c:") for problem in caught.value.problems]


def services(text: str) -> list[str]:
    return problems(f"{HEAD}services:\n{text}")


def test_the_smallest_catalog() -> None:
    found = parse(f"{HEAD}services: {{ledger: {{depends_on: []}}, cart: null}}")
    assert set(found.services) == {"ledger", "cart"}


def test_json_is_a_catalog_too() -> None:
    found = parse(
        '{"version": 1, "defaults": {"router": {"kind": "memory"}, "metrics": []}, '
        '"services": {"a": {}}}'
    )
    assert set(found.services) == {"a"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "  a: {depends_on: [b]}\n  b: {depends_on: [c]}\n  c: {depends_on: [a]}\n" + REFUSED,
            (
                "6: services.c.depends_on[0]: got 'a', "
                "expected no cycle of dependencies, found a -> b -> c -> a"
            ),
        ),
        (
            "  payments:\n  cart:\n    depends_on: [paymnts]\n",
            (
                "6: services.cart.depends_on[0]: got 'paymnts', "
                "expected a service of this catalog; did you mean 'payments'?"
            ),
        ),
        (
            "  a: {depends_on: [a]}\n",
            "4: services.a.depends_on[0]: got 'a', expected another service, not itself",
        ),
        (
            "  a:\n  b:\n    depends_on:\n      - a\n      - a\n",
            "8: services.b.depends_on[1]: got 'a', expected each dependency once",
        ),
        (
            "  a: {strategy: standrd}\n",
            (
                "4: services.a.strategy: got 'standrd', "
                "expected the name of a strategy (standard); did you mean 'standard'?"
            ),
        ),
        (
            "  a:\n    depend_on: []\n",
            (
                "5: services.a.depend_on: got 'depend_on', expected one of the fields alerts, "
                "depends_on, deploy, hooks, judge, lane, metrics, mirror, needs, router, "
                "side_by_side, stale_after, …; "
                "did you mean 'depends_on'?"
            ),
        ),
        (
            "  a:\n  b:\n  a:\n",
            "6: services.a: got 'a', expected each key once, this one is on line 4 already",
        ),
        (
            "  no: {}\n",
            "4: services: got false, expected text: YAML reads no as false, put it in quotes",
        ),
        (
            "  Cart: {}\n",
            (
                "4: services.Cart: got 'Cart', "
                "expected a DNS label: lower-case letters, digits and hyphens, at most 63"
            ),
        ),
        ("  a: 5\n", "4: services.a: got 5, expected a mapping of fields"),
        ("  a: {depends_on: b}\n", "4: services.a.depends_on: got 'b', expected a list"),
        (
            "  a: {router: {kind: envy}}\n",
            (
                "4: services.a.router.kind: got 'envy', "
                f"expected one of {', '.join(sorted(one.name for one in ROUTERS))}; "
                "did you mean 'envoy'?"
            ),
        ),
        (
            "  a: {router: {kind: envoy, directory: /d, admin: ['http://u:pw@e:1']}}\n",
            (
                "4: services.a.router.admin[0]: got 'http://(hidden)@e:1', "
                "expected an Envoy's admin address, such as http://127.0.0.1:9901"
            ),
        ),
        (
            "  a: {router: {kind: envoy, directory: /d, admin: [localhost]}}\n",
            (
                "4: services.a.router.admin[0]: got 'localhost', "
                "expected an Envoy's admin address, such as http://127.0.0.1:9901"
            ),
        ),
        (
            "  a: {alerts: {severities: {warning: explode}}}\n",
            (
                "4: services.a.alerts.severities.warning: got 'explode', "
                "expected 'rollback', 'pause' or 'record'"
            ),
        ),
        (
            "  a: {metrics: [{kind: ratio, name: errors, bda: x}]}\n",
            (
                "4: services.a.metrics[0].bda: got 'bda', expected one of the fields "
                "absolute_margin, bad, direction, dry_run, kind, margin, name, query, shown_by, "
                "slo, tolerance, total, …; did you mean 'bad'?"
            ),
        ),
    ],
)
def test_one_mistake_in_a_service_is_one_line(text: str, line: str) -> None:
    assert services(text) == [line]


@pytest.mark.parametrize(
    ("strategy", "line"),
    [
        (
            "{steps: [5, 5]}",
            (
                "5: strategies.s.steps[1]: got 5, "
                "expected a weight that grows from step to step: more than 5"
            ),
        ),
        (
            "{steps: [{weight: 5, bake: 5 minutes}]}",
            (
                "5: strategies.s.steps[0].bake: got '5 minutes', "
                "expected a duration such as 90s, 5m, 1h30m or 250ms"
            ),
        ),
        (
            "{steps: [{weight: 5, bake: {min: 2m, max: 1m}}]}",
            (
                "5: strategies.s.steps[0].bake: got {'max': '1m', 'min': '2m'}, "
                "expected min to be at most max"
            ),
        ),
        (
            "{steps: [120]}",
            "5: strategies.s.steps[0]: got 120, expected a percentage from 0 to 100",
        ),
        (
            "{steps: []}",
            "5: strategies.s: got {'steps': []}, expected either steps or ramp, and not both",
        ),
        ("{}", "5: strategies.s: got {}, expected either steps or ramp, and not both"),
        (
            "{steps: [5], ramp: {budget: 0}}",
            "5: strategies.s.ramp.budget: got 0, expected greater than 0",
        ),
        (
            "{steps: [1], on_inconclusive: go}",
            "5: strategies.s.on_inconclusive: got 'go', expected 'gate' or 'roll_back'",
        ),
    ],
)
def test_one_mistake_in_a_strategy_is_one_line(strategy: str, line: str) -> None:
    assert problems(f"{HEAD}services: {{a: }}\nstrategies:\n  s: {strategy}\n") == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD.replace("1", "2") + "services: {a: }", "1: version: got 2, expected 1"),
        (
            "defaults: {router: {kind: memory}, metrics: []}\nservices: {a: }",
            "1: version: missing, expected a value (version of the format)",
        ),
        (
            f"{HEAD}environment: 1.10\nservices: {{a: }}",
            (
                "3: environment: got 1.1, "
                "expected text: YAML reads this as the number 1.1, put it in quotes"
            ),
        ),
        (f"{HEAD}services: {{}}", "3: services: got {}, expected at least 1 item"),
        (
            "version: 1\nservices:\n  a:\n",
            "3: services.a.router: missing, expected a router, here or in defaults",
        ),
        (
            "version: 1\ndefaults: {router: {kind: memory}, strategy: x}\nservices: {a: }",
            "2: defaults.strategy: got 'x', expected the name of a strategy (standard)",
        ),
    ],
)
def test_one_mistake_at_the_top_is_one_line(text: str, line: str) -> None:
    assert problems(text) == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{judge: {alpha: true}}", "judge.alpha: got true, expected a number"),
        ("{judge: {looks: yes}}", "judge.looks: got true, expected a number"),
        ("{judge: {largest_user: false}}", "judge.largest_user: got false, expected a number"),
        (
            "{metrics: [{kind: histogram, name: latency, edges: [0.1, true]}]}",
            "metrics[0].edges[1]: got true, expected a number",
        ),
        ('{judge: {alpha: "0.05"}}', "judge.alpha: got '0.05', expected a number"),
        ("{judge: {alpha: 1e-3}}", "judge.alpha: got '1e-3', expected a number"),
        ('{judge: {looks: "5"}}', "judge.looks: got '5', expected a number"),
        (
            '{metrics: [{kind: histogram, name: latency, edges: ["0.1", 1]}]}',
            "metrics[0].edges[0]: got '0.1', expected a number",
        ),
    ],
)
def test_neither_true_nor_false_nor_text_is_a_number(text: str, line: str) -> None:
    assert services(f"  a: {text}\n") == [f"4: services.a.{line}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: *b", "1: a: expected readable YAML (unknown or recursive alias 'b')"),
        ("a: {[b]: c}", "1: a: expected readable YAML (a key that is not text)"),
        ("", "got nothing, expected a mapping of fields"),
    ],
)
def test_what_could_not_be_read_is_not_said_to_be_none(text: str, line: str) -> None:
    [found] = problems(text)
    assert found.removeprefix(" ") == line


@pytest.mark.parametrize("text", ["", "just text", "[]", "5"])
def test_what_is_no_mapping_is_no_catalog(text: str) -> None:
    [line] = problems(text)
    assert "expected a mapping of fields" in line


def test_all_mistakes_are_told_at_once_in_the_order_of_the_document() -> None:
    lines = problems(
        "version: 1\n"
        "defaults: {router: {kind: memory}, strategi: x}\n"
        "strategies: {s: {steps: [5, 3, wrong]}}\n"
        "services:\n"
        "  a: {depends_on: [b, zzz]}\n"
        "  b: {depends_on: [a], strategy: nope, color: red}\n"
        "  a: {}\n"
        "cycles: refuse\n"
    )
    assert [line.split(":")[0] for line in lines] == ["2", "3", "3", "5", "6", "6", "6", "7"]
    assert len(set(lines)) == len(lines)


def test_the_same_problem_has_the_same_words_alone_and_among_others() -> None:
    alone = services("  a: {depends_on: [zzz]}\n")
    among = services("  a: {depends_on: [zzz]}\n  b: {color: red}\n")
    assert alone[0] in among


def test_thousands_of_unknown_names_are_told_without_searching_for_each() -> None:
    body = "".join(f"  s{at}: {{depends_on: [x{at}]}}\n" for at in range(3000))
    assert len(services(body)) == 3000


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "catalog.yaml"
        path.write_bytes(content)
        return path

    return write


def test_loads_a_file_with_a_byte_order_mark(written: Callable[[bytes], Path]) -> None:
    path = written(b"\xef\xbb\xbf" + f"{HEAD}services: {{a: }}".encode())
    assert set(load_catalog(path).services) == {"a"}


def test_the_file_is_named_in_the_error(written: Callable[[bytes], Path]) -> None:
    path = written(b"version: 3\n")
    with pytest.raises(CatalogError, match=f"^{path}:1: version: got 3, expected 1\n"):
        load_catalog(path)


def test_a_file_that_is_not_there_or_not_text(
    tmp_path: Path, written: Callable[[bytes], Path]
) -> None:
    with pytest.raises(CatalogError, match="No such file"):
        load_catalog(tmp_path / "none.yaml")
    with pytest.raises(CatalogError, match="Is a directory"):
        load_catalog(tmp_path)
    with pytest.raises(CatalogError, match="UTF-8"):
        load_catalog(written(b"a: \xff\n"))


def test_problems_are_plain_data_as_well() -> None:
    with pytest.raises(CatalogError) as caught:
        parse(f"{HEAD}services: {{a: {{depends_on: [b]}}}}", "c.yaml")
    [problem] = caught.value.problems
    assert problem.to_json() == {
        "file": "c.yaml",
        "line": 3,
        "path": "services.a.depends_on[0]",
        "value": "'b'",
        "expected": "a service of this catalog",
        "message": "got 'b', expected a service of this catalog",
    }
