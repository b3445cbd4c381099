"""Label selectors: Kubernetes' grammar. That a real API server reads them alike is tested in tests/integration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_core import EVERYTHING, InvalidSelector, LabelSelector

WEB = {"tier": "web", "replicas": "3", "in": "in", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        (" \t\r\n", True),
        ("tier=web", True),
        ("tier==web", True),
        (" tier = web ", True),
        ("tier=api", False),
        ("tier!=api", True),
        ("tier!=web", False),
        ("nothing!=web", True),
        ("tier", True),
        ("!tier", False),
        ("! nothing", True),
        ("tier in (web,api)", True),
        ("tier in(web)", True),
        ("tier notin (web)", False),
        ("nothing notin (web)", True),
        ("nothing in (web)", False),
        ("empty=", True),
        ("empty in ()", True),
        ("empty in (,a)", True),
        ("tier in (,a)", False),
        ("tier notin (a,)", True),
        ("empty=,tier=web", True),
        ("in in (in)", True),
        ("in=in", True),
        ("in", True),
        ("!in", False),
        ("notin", False),
        ("replicas>2", True),
        ("replicas > 3", False),
        ("replicas<4", True),
        ("tier>1", False),
        ("nothing<1", False),
        ("tier=web,tier=web", True),
        ("tier=web,tier=api", False),
        ("tier=web,!legacy,replicas in (3,4)", True),
        ("example.com/tier!=x", True),
    ],
)
def test_a_selector_matches_as_kubernetes_has_it(selector: str, matches: bool) -> None:
    parsed = LabelSelector.parse(selector)
    assert parsed.matches(WEB) is matches
    assert LabelSelector.parse(str(parsed)) == parsed, "written out, it is the same selector"


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        ("tier=web,", "it ends before a label's key"),
        (",tier", "found ','"),
        ("tier=web api", "found 'api', expected ',' or the end"),
        ("tier=web=api", "found '='"),
        ("tier in web", "found 'web', expected '('"),
        ("tier in", "it ends before '('"),
        ("tier in (web", "it ends before ',' or ')'"),
        ("tier in (web api)", "found 'api'"),
        ("tier in (!a)", "found '!'"),
        ("tier is web", "found 'is', expected one of '='"),
        ("!tier=web", "found '=', expected ',' or the end"),
        ("!!tier", "found '!', expected a label's key"),
        ("!", "it ends before a label's key"),
        ("=web", "found '='"),
        ("(tier)", "found '('"),
        ("replicas>many", "compares with an integer, not with 'many'"),
        ("replicas>9223372036854775808", "compares with an integer"),
        ("replicas>", "compares with an integer"),
        ("-tier=web", "is no label"),
        ("a/b/c=d", "is no label"),
        ("/tier=web", "is no label"),
        ("tier=-web", "is no label's value"),
        ("tier=" + "x" * 64, "is no label's value"),
        ("x" * 64, "is no label"),
        ("tier\0=web", "NUL"),
        ("tïer=web", "is no label"),
    ],
)
def test_what_is_no_selector_is_refused_with_the_place(selector: str, problem: str) -> None:
    with pytest.raises(InvalidSelector) as raised:
        LabelSelector.parse(selector)
    assert problem in str(raised.value)
    assert "\0" not in str(raised.value)
    assert len(str(raised.value)) < 700


@given(st.text(st.sampled_from("ab-./ =!(),<>\tin0")) | st.text())
def test_any_text_is_a_selector_or_an_error_that_says_so(text: str) -> None:
    try:
        parsed = LabelSelector.parse(text)
    except InvalidSelector:
        return
    assert LabelSelector.parse(str(parsed)) == parsed
    assert parsed.matches({}) in {True, False}


def test_nothing_asked_for_is_everything() -> None:
    assert LabelSelector.parse("") == EVERYTHING
    assert EVERYTHING.matches({})
