"""HTML that nobody else's words can break out of."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from aviary.report.html import Markup, raw_json, tag
from schemas.outside import visible
from tests.unit.report.reading import Page
from tests.unit.report.sample import NASTY

TEXT = st.text(alphabet=st.characters(codec="utf-8"))


@given(TEXT | st.just(NASTY), TEXT | st.just(NASTY))
def test_text_and_attributes_are_read_back_as_they_were(text: str, attribute: str) -> None:
    """All of it, with what would act on its reader spelt out."""
    page = Page(tag("p", text, title=attribute))
    assert page.text == visible(text, lines=True)
    assert page.attributes == [("p", {"title": visible(attribute, lines=True)})]


@given(st.dictionaries(TEXT, TEXT | st.floats(allow_nan=False, allow_infinity=False)))
def test_json_can_not_end_its_script(value: dict[str, object]) -> None:
    text = raw_json({**value, NASTY: NASTY, "<!--": "\u2028"})
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == {**value, NASTY: NASTY, "<!--": "\u2028"}


def test_what_is_markup_already_stays() -> None:
    assert tag("p", Markup("<b>x</b>"), [None, "a", 1], hidden=True, title=None) == (
        "<p hidden><b>x</b>a1</p>"
    )
