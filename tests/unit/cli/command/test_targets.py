"""What the words on the command line mean."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_cli import targets
from kdm_cli.exits import CommandError, Exit
from kdm_cli.targets import Target, Wish
from kdm_core import DeploymentRef, InvalidName

LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
COUNT = st.integers(0, targets.MAX_COUNT)


@given(LABEL, NAME, COUNT, st.sampled_from(["", "+", "-"]))
def test_a_wish_says_which_deployment_and_how_many(namespace: str, name: str, count: int, sign: str) -> None:
    wanted = Wish(Target(namespace, name), -count if sign == "-" else count, relative=bool(sign))
    assert targets.wish(f"{namespace}/{name}={sign}{count}", "elsewhere") == wanted
    assert targets.wish(f"{name}={sign}{count}", namespace) == wanted


@given(LABEL, NAME, COUNT)
def test_what_is_printed_can_be_given_back(namespace: str, name: str, count: int) -> None:
    wish = Wish(Target(namespace, name), count)
    assert targets.wish(str(wish), "elsewhere") == wish


@given(st.text(max_size=30))
def test_a_word_is_a_name_if_and_only_if_it_is_one_for_the_core(text: str) -> None:
    """The core's rules are those of Kubernetes; here they are written again, because importing the core takes time."""
    try:
        DeploymentRef.parse("default", text)
    except InvalidName:
        word = f"default/{text}" if "/" in text else text  # where a slash is no part of a name
        with pytest.raises(CommandError):
            targets.target(word, "default")
    else:
        assert targets.target(text, "default") == Target("default", text)


@given(st.from_regex(r"[-a-z0-9./A-Z_]{0,70}", fullmatch=True))
def test_names_that_almost_are_some_are_judged_as_the_core_does(text: str) -> None:
    test_a_word_is_a_name_if_and_only_if_it_is_one_for_the_core.hypothesis.inner_test(text)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("web", "expected web=5, web=+2 or web=-1"),
        ("web=", "'' is no count"),
        ("web=five", "'five' is no count"),
        ("web=5.5", "is no count"),
        ("web=++5", "is no count"),
        ("web=\u0665", "is no count"),
        ("web=2147483648", "is no count"),
        ("=5", "is no Deployment's name"),
        ("a/b/c=5", "'a/b' is no namespace"),
        ("/web=5", "is no Deployment's name"),
        ("Web=5", "is no Deployment's name"),
        ("../web=5", "'..' is no namespace"),
        ("web%2f..=5", "is no Deployment's name"),
    ],
)
def test_a_wish_that_means_nothing_is_one_line_that_says_what_is_allowed(word: str, told: str) -> None:
    with pytest.raises(CommandError, match=r"^[^\n]+$") as caught:
        targets.wish(word, "default")
    assert told in str(caught.value)
    assert caught.value.exit is Exit.USAGE


@given(st.text(max_size=40))
def test_no_word_makes_another_error(word: str) -> None:
    for read in (
        lambda: targets.wish(word, "default"),
        lambda: targets.target(word, "default"),
        lambda: targets.duration(word, "--wait"),
        lambda: targets.factor(word),
        lambda: targets.namespace_of(word),
    ):
        with contextlib.suppress(CommandError):
            read()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("500ms", 0.5), ("1m30.5s", 90.5)],
)
def test_a_duration_is_written_as_for_kubectl(text: str, seconds: float) -> None:
    assert targets.duration(text, "--wait") == seconds


@pytest.mark.parametrize("text", ["", "5", "-5m", "5 m", "m", "5m5", "1d", "1e3s", "\u0665m", "9" * 10 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="expected a duration such as 90s, 5m or 1h30m"):
        targets.duration(text, "--wait")


@pytest.mark.parametrize(("text", "value"), [("2", 2.0), ("0.5", 0.5), ("0", 0.0), ("1000", 1000.0), ("1.25", 1.25)])
def test_a_factor_is_a_decimal_number(text: str, value: float) -> None:
    assert targets.factor(text) == value


@pytest.mark.parametrize("text", ["-1", "1001", "1e3", "nan", "inf", "", ".5", "50%", "0x2"])
def test_what_is_no_factor_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="expected a number from 0 to 1000"):
        targets.factor(text)
