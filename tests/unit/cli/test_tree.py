"""The live tree of `release watch`, at 80 and at 160 columns."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group

from aviary.cli.bars import ASCII, UNICODE, bar, folded, glyphs_for
from aviary.cli.changes import Changes
from aviary.cli.tables import status_view
from aviary.cli.tree import Look, Tree, may
from schemas.release import CanaryPhase, ReleasePhase, ReleaseStatus
from tests.unit.cli import looks

WIDTHS = pytest.mark.parametrize("width", [80, 160])


def drawn(look: Look, width: int, height: int | None = None) -> list[str]:
    """The lines as a terminal without colour shows them."""
    console = Console(width=width, no_color=True, record=True, highlight=False)
    with console.capture() as captured:
        console.print(Group(*Tree(width).lines(look, looks.NOW, height)))
    return [line.rstrip() for line in captured.get().splitlines()]


def the(lines: list[str], label: str) -> str:
    """The first line with this label."""
    return next(line for line in lines if f" {label} " in f" {line} ")


def test_80_columns_as_a_whole() -> None:
    assert drawn(looks.running(), 80) == [
        "release shop-42 is running",
        "for 12m31s: 1 holding, 1 baking, 1 gated, 1 waiting",
        "└─ ledger 1.4.2  holding  100 %",
        "   ├─ checkout 1.4.2  baking  25 %  step 2 of 4  beside 1.4.1",
        "   │     bake      ██████░░░░░░░░  43 %  2m10s of 5m, at least 1m",
        "   │     fail      ███░░░░░░░░░░░  18 %  odds 1.7 of 20",
        "   │     go on     ██████████░░░░  71 %  errors: bound 0.9 %, needs 0.5 %",
        "   │     errors    now 0.41 % against 0.28 %; 12,040 and 36,110 requests",
        "   │               latency > 250 ms: now 4.1 % against 3.9 %; 12,040 and 36,110",
        "   │               requests",
        "   │     share     24.8 % of 48,150 requests",
        "   │     waits for the bake of step 2 of 4",
        "   │     last      checkout 1.4.2 is good enough, 95 % sure: errors: at most",
        "   │               0.48 % extra, 2 % is accepted for a next step of 25 % (3,010",
        "   │               and 57,190 requests in 5 min)",
        "   └─ cart 1.4.2  gated  5 %  step 1 of 4  beside 1.4.1",
        "      │  waits for approval: has support been told?",
        "      └─ shop 1.4.2  waiting",
        "            waits for cart, checkout to hold",
        "You may: approve (opens the gate), skip (ends the bake), pause, rollback;",
        "`aviary release WORD shop-42`",
    ]


@WIDTHS
@pytest.mark.parametrize("look", [looks.running(), looks.stuck()], ids=["running", "stuck"])
def test_no_line_is_wider_than_the_terminal(look: Look, width: int) -> None:
    lines = drawn(look, width)
    assert max(len(line) for line in lines) <= width
    # The terminal itself folds nothing: what is drawn is what was meant.
    assert lines == [str(line).rstrip() for line in Tree(width).lines(look, looks.NOW)]


def test_160_columns_have_longer_bars_and_whole_sentences() -> None:
    lines = drawn(looks.running(), 160)
    assert the(lines, "bake").count("█") == 17
    assert "needs 0.5 %" in the(lines, "go on")
    assert "36,110 requests" in next(line for line in lines if "latency" in line)


def test_a_stuck_rollback_shows_what_fails_and_that_nothing_is_left_to_say() -> None:
    lines = drawn(looks.stuck(), 80)
    assert "attempt 7: connection refused" in the(lines, "trouble")
    assert lines[-1] == "Nothing is left to decide: the release is rolling back."
    assert "5.2 % of requests against" in lines[0]
    assert not any("why" in line for line in lines), "the release's cause is told once"


def test_a_service_is_below_the_last_one_that_it_waits_for() -> None:
    names = [line.split()[1] for line in drawn(looks.running(), 80) if "─ " in line]
    assert names == ["ledger", "checkout", "cart", "shop"]
    parents = {
        line.split("─ ")[1].split()[0]: line.index("─ ")
        for line in drawn(looks.running(), 80)
        if "─ " in line
    }
    assert parents["ledger"] < parents["checkout"] == parents["cart"] < parents["shop"]


def test_services_that_need_each_other_are_shown_as_in_step() -> None:
    pair = ("seat", "travel")
    phases = (CanaryPhase.IN_STEP, CanaryPhase.BAKING)
    both = [
        looks.service(name, phase, weight=5, step=0, group=pair)
        for name, phase in zip(pair, phases, strict=True)
    ]
    lines = drawn(Look(looks.release(*both)), 100)
    seat = next(line for line in lines if "─ seat" in line)
    assert "in step  5 %  step 1 of 4" in seat
    assert seat.endswith("in step with travel")


def test_independent_services_are_all_at_the_top() -> None:
    one, other = (looks.service(name, CanaryPhase.BAKING, weight=5, step=0) for name in "ab")
    lines = drawn(Look(looks.release(one, other)), 80)
    assert lines[2].startswith("├─ a ")
    assert next(line for line in lines if " b " in line).startswith("└─ b ")


def test_where_lines_are_few_the_details_go_first_and_then_the_rest() -> None:
    whole = drawn(looks.running(), 80)
    short = drawn(looks.running(), 80, height=len(whole) - 1)
    assert len(short) == 8
    assert "checkout 1.4.2  baking  25 %" in short[3]
    tiny = drawn(looks.running(), 80, height=4)
    assert len(tiny) == 4
    assert tiny[-1] == "… 5 more lines: `aviary release status` has all"


def test_where_not_all_services_have_room_those_stay_where_something_happens() -> None:
    names = [f"s{number:02d}" for number in range(60)]
    calm = [looks.service(name, CanaryPhase.WAITING) for name in names]
    gate = looks.service("s40", CanaryPhase.GATED, weight=5, step=0, waits_for="approval: ready?")
    bad = looks.service("s59", CanaryPhase.STUCK, weight=25)
    lines = drawn(Look(looks.release(*calm[:40], gate, *calm[41:59], bad)), 80, height=24)
    assert len(lines) == 24
    assert next(line for line in lines if "s40" in line).endswith("gated  5 %  step 1 of 4")
    assert the(lines, "waits for").endswith("approval: ready?")
    assert next(line for line in lines if "s59" in line).endswith("stuck  25 %")
    shown = [line for line in lines if line.startswith(("├─", "└─"))]
    assert f"… {60 - len(shown)} more services: `aviary release status` has all" in lines
    assert "You may: approve" in " ".join(lines[-2:])


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (looks.release(looks.CHECKOUT), ["skip", "pause", "rollback"]),
        (looks.release(looks.CART), ["approve", "pause", "rollback"]),
        (looks.release(looks.SHOP, paused=True), ["resume", "rollback"]),
        (looks.release(looks.LEDGER, phase=ReleasePhase.FINALIZED), []),
        (
            looks.release(
                looks.service("cart", CanaryPhase.PREFLIGHT).model_copy(
                    update={"ends_by": ("approve", "skip")}
                )
            ),
            ["approve", "skip", "pause", "rollback"],
        ),
        (
            looks.release(
                looks.service("cart", CanaryPhase.STUCK).model_copy(update={"ends_by": ("keep",)}),
                phase=ReleasePhase.ROLLING_BACK,
            ),
            ["keep"],
        ),
    ],
)
def test_what_a_person_may_do_is_what_makes_sense(status: ReleaseStatus, words: list[str]) -> None:
    said = " ".join(may(Look(status)))
    known = ["approve", "skip", "resume", "pause", "rollback", "keep"]
    assert [word for word in known if f"{word}" in said.replace("`", " ")] == words


def test_without_unicode_bars_are_ascii() -> None:
    assert glyphs_for("ascii") is ASCII
    assert glyphs_for("utf-8") is UNICODE
    assert bar(0.5, 4, "", ASCII).plain == "##--"
    lines = Tree(80, ASCII).lines(looks.stuck(), looks.NOW)
    assert all(line.plain.isascii() for line in lines)


def test_a_bar_is_full_only_when_it_is_there() -> None:
    assert bar(0.999, 10, "", ASCII).plain == "#########-"
    assert bar(1.0, 10, "", ASCII).plain == "##########"


def test_long_texts_end_in_an_ellipsis() -> None:
    assert folded("one two three four", 9, 1) == ["one two …"]
    assert folded("at most 5 % bad", 9, 9) == ["at most", "5 % bad"]
    assert folded("x" * 30, 10, 9) == ["x" * 10] * 3


@given(
    st.text(st.sampled_from("ab %,.-"), max_size=200),
    st.integers(min_value=4, max_value=40),
    st.integers(min_value=1, max_value=4),
)
def test_folded_texts_fit(text: str, width: int, most: int) -> None:
    lines = folded(text, width, most)
    assert len(lines) <= most
    assert all(len(line) <= width for line in lines)
    if len(lines) < most:
        assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_bake_that_is_over_is_full() -> None:
    late = Tree(80).lines(looks.running(), looks.NOW + timedelta(hours=1))
    assert "100 %  5m of 5m" in the([line.plain for line in late], "bake")


def test_a_weight_says_whose_requests_it_is_a_share_of() -> None:
    look = looks.running()
    services = tuple(one.model_copy(update={"whom": "staff"}) for one in look.status.services)
    status = look.status.model_copy(update={"services": services})
    (tree,) = [line for line in drawn(Look(status), 120) if "checkout 1.4.2  baking" in line]
    assert "baking  25 % of staff  step 2 of 4" in tree
    assert any("at 25% of staff" in line for line in Changes().of(Look(status)))
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(status_view(status, {}))
    (row,) = [line for line in captured.get().splitlines() if line.startswith("checkout")]
    assert "25% of staff" in row
