"""Patterns and names that could match nobody and nothing are errors, each with what was probably meant."""

from __future__ import annotations

import fnmatch
import itertools
import re
from typing import Final, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdm_core import InvalidName, PolicyError, parse_policy
from kdm_core.names import check_name, check_namespace
from kdm_core.policy import Globs, Grant, SpiffePattern, Subjects
from kdm_core.policy.grant import GRANTABLE
from kdm_core.policy.patterns import check_glob, check_principal

KINDS: Final = ("name", "namespace")
ORACLES: Final = {"name": check_name, "namespace": check_namespace}


def valid(name: str, kind: str) -> bool:
    try:
        ORACLES[kind](name)
    except InvalidName:
        return False
    return True


SHORT: Final = {
    kind: [
        name
        for length in range(1, 6)
        for name in map("".join, itertools.product("a-.", repeat=length))
        if valid(name, kind)
    ]
    for kind in KINDS
}
"""Every name there is of up to five characters, with one letter for all."""


def accepted(pattern: str, kind: Literal["name", "namespace"]) -> bool:
    try:
        check_glob(pattern, kind)
    except PolicyError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_a_pattern_is_refused_exactly_where_no_name_could_match(kind: Literal["name", "namespace"]) -> None:
    """Compared with every name, for every pattern of up to four characters: none needs a longer name."""
    for length in range(1, 5):
        for pattern in map("".join, itertools.product("a-.?*", repeat=length)):
            matches = re.compile(fnmatch.translate(pattern)).match
            assert accepted(pattern, kind) == any(map(matches, SHORT[kind])), pattern


@given(st.sampled_from(KINDS), st.text("ab0-.*?", max_size=270), st.text("a0-.", min_size=1, max_size=260))
@example("namespace", "?" * 63, "a" * 63)
@example("name", "*" + "a" * 252, "a" * 253)
def test_what_matches_a_name_is_never_refused(kind: Literal["name", "namespace"], pattern: str, name: str) -> None:
    if valid(name, kind) and fnmatch.fnmatchcase(name, pattern):
        assert accepted(pattern, kind)


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [("a" * 64, "namespace"), ("?" * 64, "namespace"), ("*" + "a" * 64, "namespace"), ("a" * 254, "name")],
)
def test_a_pattern_for_names_longer_than_any_is_refused(pattern: str, kind: Literal["name", "namespace"]) -> None:
    assert not accepted(pattern, kind)


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("namespaces", "shop.*", "shop-*"),
        ("namespaces", "shop.eu", "shop-eu"),
        ("namespaces", "-web", "*-web"),
        ("namespaces", "web-", "web-*"),
        ("namespaces", "Shop", "shop"),
        ("namespaces", " shop", "shop"),
        ("namespaces", "shop_eu", "shop-eu"),
        ("names", "-web", "*-web"),
        ("names", ".web", "*.web"),
        ("names", "web_1", "web-1"),
        ("names", "Web*", "web*"),
    ],
)
def test_a_pattern_that_matches_nothing_says_what_was_probably_meant(key: str, value: str, meant: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(document(**{key: value}))
    assert str(caught.value).startswith(f"grant[0].{key}[0]: {value!r} matches no {key.removesuffix('s')}: ")
    assert str(caught.value).endswith(f"; did you mean {meant!r}?")
    parse_policy(document(**{key: meant}))


@pytest.mark.parametrize("pattern", [".*", "^shop$", "shop|blog", "[a-z]", "a/b", "", "-", "a.-b", "shöp"])
def test_where_nothing_can_be_guessed_nothing_is(pattern: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check_glob(pattern, "namespace")
    assert "did you mean '*'" not in str(caught.value)
    assert "did you mean '*-*'" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("users", "alice ", "did you mean 'alice'?"),
        ("groups", " kdm:shop", "did you mean 'kdm:shop'?"),
        ("users", "spiffe:a", "belongs under 'spiffe'"),
        ("users", "SPIFFE://td/a", "belongs under 'spiffe'"),
        ("users", "spiffe://td/a", "belongs under 'spiffe'"),
        ("users", "team-?", "list each one by its name"),
        ("groups", "kdm:*", "list each one by its name"),
        ("users", "*", "say 'anyone = true' to mean every caller"),
        ("users", "ali\u200bce", "cannot be printed"),
    ],
)
def test_a_user_or_group_that_nobody_can_be_says_what_was_probably_meant(key: str, value: str, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(document(**{key: value}))
    assert str(caught.value).startswith(f"grant[0].{key}[0]: {value!r} ")
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["kdm:*", "team-?", "*-admins"])
def test_no_advice_grants_more_than_was_asked_for(name: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check_principal(name)
    assert "anyone" not in str(caught.value)


def test_a_library_cannot_build_such_a_grant_either() -> None:
    alice = Subjects(users=frozenset({"alice"}))
    with pytest.raises(PolicyError, match=r"'shop\.eu' matches no namespace"):
        Grant(alice, GRANTABLE, Globs(("shop.eu",)))
    with pytest.raises(PolicyError, match="'-web' matches no name"):
        Globs(("-web",))
    with pytest.raises(PolicyError, match="did you mean 'alice'"):
        Subjects(users=frozenset({"alice "}))
    with pytest.raises(PolicyError, match="matches no SPIFFE ID"):
        SpiffePattern(f"spiffe://{'a' * 256}/x")
    Grant(alice, GRANTABLE, Globs(("shop-?", "*")), names=Globs(("web.*",)))


def test_a_pattern_of_many_wildcards_costs_little() -> None:
    """To check it, and to match it."""
    pattern = "*a?" * 80
    assert accepted(pattern, "name")
    assert not accepted(pattern, "namespace")
    assert not Globs((pattern,)).match("b" * 253)


def document(**keys: str) -> str:
    values = {"namespaces": "shop"} | ({} if keys.keys() & {"users", "groups"} else {"users": "alice"}) | keys
    lines = [f'{key} = ["{value}"]' for key, value in values.items()]
    return "\n".join(["version = 1", "[[grant]]", 'verbs = ["read"]', *lines])
