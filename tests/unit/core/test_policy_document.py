"""Policies as TOML documents."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_core import MAX_REPLICAS, Policy, PolicyError, Verb, parse_policy
from kdm_core.policy import Globs, Grant, ReplicaBounds, SpiffePattern, Subjects
from unit.core import policy_strategies as some

FULL = """
version = 1

[[grant]]
name = "operators"
users = ["alice"]
groups = ["kdm:shop"]
spiffe = ["spiffe://td/ns/shop/sa/*"]
verbs = ["read", "scale"]
namespaces = ["shop", "shop-*"]
names = ["web-*"]
labels = { tier = "web", "app.kubernetes.io/part-of" = "shop" }
replicas = { min = 2, max = 10, allow_zero = true }
require_reason = true

[[grant]]
anyone = true
verbs = ["read"]
namespaces = ["*"]
"""


def grant(**keys: str) -> str:
    """Return a document of one grant; a key given as TOML replaces its default, "" leaves it out."""
    defaults = {"users": '["alice"]', "verbs": '["read", "scale"]', "namespaces": '["*"]'}
    lines = [f"{key.replace('__', '.')} = {value}" for key, value in (defaults | keys).items() if value]
    return "\n".join(["version = 1", "[[grant]]", *lines])


def test_reads_everything_a_grant_can_say() -> None:
    assert parse_policy(FULL) == Policy(
        (
            Grant(
                Subjects(
                    frozenset({"alice"}),
                    frozenset({"kdm:shop"}),
                    frozenset({SpiffePattern("spiffe://td/ns/shop/sa/*")}),
                ),
                frozenset({Verb.READ, Verb.SCALE}),
                Globs(("shop", "shop-*")),
                Globs(("web-*",)),
                {"tier": "web", "app.kubernetes.io/part-of": "shop"},
                ReplicaBounds(2, 10, allow_zero=True),
                "operators",
                require_reason=True,
            ),
            Grant(Subjects(anyone=True), frozenset({Verb.READ}), Globs(("*",))),
        )
    )


def test_a_policy_without_grants_is_valid_and_denies_everything() -> None:
    assert parse_policy("version = 1") == Policy()


def test_scaling_is_by_default_to_one_or_more() -> None:
    assert parse_policy(grant()).grants[0].replicas == ReplicaBounds(1, MAX_REPLICAS, allow_zero=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = ", "not TOML: Invalid value (at end of document)"),
        ("a = " + "[" * 100_000, "not TOML: maximum recursion depth exceeded"),
        ("version = " + "9" * 5000, "not TOML: Exceeds the limit"),
        ("", "version: missing; this kdm reads 'version = 1'"),
        ("version = 2", "version: must be 1, the one version that this kdm reads"),
        ("version = true", "version: must be 1"),
        ("version = 1.0", "version: must be 1"),
        ("version = 1\ngrants = []", "grants: unknown key; did you mean 'grant'?"),
        ("version = 1\n[grant]\nverbs = []", "grant: must be an array of tables, each headed [[grant]]"),
        ("version = 1\ngrant = [1]", "grant: must be an array of tables"),
        (grant(namespace='["*"]'), "grant[0].namespace: unknown key; did you mean 'namespaces'?"),
        (grant(qqq="1"), "grant[0].qqq: unknown key; known are: name, users, groups, spiffe, anyone, verbs,"),
        (grant(**{'"a\\nb"': "1"}), r"grant[0].'a\nb': unknown key"),
        (grant(verbs=""), "grant[0].verbs: missing"),
        (grant(namespaces=""), "grant[0].namespaces: missing"),
        (grant(users=""), "grant[0]: it is for nobody: name 'users', 'groups' or 'spiffe' patterns, or say"),
        (grant(anyone="true"), "grant[0]: 'anyone' already includes the users"),
        (grant(anyone='"yes"'), "grant[0].anyone: must be true or false"),
        (grant(users='"alice"'), "grant[0].users: must be an array of strings"),
        (grant(users="[]"), "grant[0].users: must not be empty"),
        (grant(users='["a", 3]'), "grant[0].users[1]: must be a string"),
        (grant(users='[""]'), "grant[0].users[0]: '' is no name"),
        (grant(users='["*"]'), "grant[0].users[0]: '*' would be taken literally: say 'anyone = true'"),
        (grant(groups='["kdm:*"]'), "grant[0].groups[0]: 'kdm:*' would be taken literally"),
        (grant(users='["spiffe://td/x"]'), "grant[0].users[0]: 'spiffe://td/x' belongs under 'spiffe'"),
        (grant(spiffe='["td/x"]'), "grant[0].spiffe[0]: 'td/x' matches no SPIFFE ID"),
        (grant(spiffe='["spiffe://td"]'), "grant[0].spiffe[0]: 'spiffe://td' matches no SPIFFE ID"),
        (grant(spiffe='["spiffe://*/x"]'), "wildcards in the path alone"),
        (grant(spiffe='["spiffe://td/a//b"]'), "'' is no segment of a path"),
        (grant(spiffe='["spiffe://td/../b"]'), "'..' is no segment of a path"),
        (grant(spiffe='["spiffe://td/**/b"]'), "'**' can only be the whole last segment"),
        (grant(spiffe='["spiffe://td/a**"]'), "'**' can only be the whole last segment"),
        (grant(verbs='["write"]'), "grant[0].verbs[0]: 'write' is no verb; verbs are: read, scale"),
        (grant(verbs='["connect"]'), "grant[0].verbs[0]: 'connect' is no verb"),
        (grant(verbs="[]"), "grant[0].verbs: must not be empty"),
        (grant(namespaces='["shop/web"]'), "grant[0].namespaces[0]: 'shop/web' matches no namespace"),
        (grant(names='["ok", "Web"]'), "grant[0].names[1]: 'Web' matches no name"),
        (grant(names='["[ab]"]'), "grant[0].names[0]: '[ab]' matches no name"),
        (grant(labels='["tier"]'), "grant[0].labels: must be a table"),
        (grant(labels="{ tier = 1 }"), "grant[0].labels.tier: must be a string"),
        (grant(labels='{ tier = "a b" }'), "grant[0].labels.tier: 'a b' is no label's value"),
        (grant(labels='{ "-a" = "b" }'), "grant[0].labels.-a: '-a' is no label"),
        (grant(labels='{ "A_/a" = "b" }'), "grant[0].labels.'A_/a': 'A_/a' is no label: 'A_' is no DNS-1123"),
        (grant(replicas="3"), "grant[0].replicas: must be a table"),
        (grant(replicas="{ maximum = 3 }"), "grant[0].replicas.maximum: unknown key"),
        (grant(replicas='{ max = "3" }'), "grant[0].replicas.max: must be an integer"),
        (grant(replicas="{ max = true }"), "grant[0].replicas.max: must be an integer"),
        (grant(replicas="{ max = 0 }"), f"grant[0].replicas.max: must be an integer from 1 to {MAX_REPLICAS}"),
        (grant(replicas="{ max = 2147483648 }"), "grant[0].replicas.max: must be an integer from 1 to"),
        (grant(replicas="{ min = 0 }"), "grant[0].replicas.min: 0 is not said here: say 'allow_zero = true'"),
        (grant(replicas="{ min = -1 }"), "grant[0].replicas.min: must be an integer from 1 to"),
        (grant(replicas="{ min = 4, max = 3 }"), "grant[0].replicas.max: 3 is less than min, which is 4"),
        (grant(require_reason='"yes"'), "grant[0].require_reason: must be true or false"),
        (
            grant(verbs='["read"]', require_reason="true"),
            "grant[0].require_reason: has no meaning without the verb 'scale'",
        ),
        (grant(replicas="{ allow_zero = 1 }"), "grant[0].replicas.allow_zero: must be true or false"),
        (grant(verbs='["read"]', replicas="{ max = 3 }"), "grant[0].replicas: has no meaning without the verb 'scale'"),
        (grant(name="1"), "grant[0].name: must be a string"),
        (FULL.replace("anyone", 'name = "operators"\nanyone'), "grant[1].name: 'operators' is the name of grant[0]"),
        (FULL.replace('"read"]', '"reed"]'), "grant[1].verbs[0]: 'reed' is no verb"),
    ],
)
def test_an_error_names_the_key_and_its_place(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def render(policy: Policy) -> str:
    """Write a policy as TOML. A JSON string is a TOML string."""
    lines = ["version = 1"]
    for each in policy.grants:
        lines.append("[[grant]]")
        subjects = each.subjects
        if subjects.anyone:
            lines.append("anyone = true")
        lists = {
            "users": subjects.users,
            "groups": subjects.groups,
            "spiffe": [pattern.pattern for pattern in subjects.spiffe],
            "verbs": [verb.value for verb in each.verbs],
            "namespaces": each.namespaces.patterns,
            "names": each.names.patterns,
        }
        lines += [f"{key} = {json.dumps(list(values))}" for key, values in lists.items() if values]
        lines.append(
            f"labels = {{ {', '.join(f'{json.dumps(k)} = {json.dumps(v)}' for k, v in each.labels.items())} }}"
        )
        if Verb.SCALE in each.verbs:
            bounds = each.replicas
            zero = str(bounds.allow_zero).lower()
            lines.append(f"replicas = {{ min = {bounds.min}, max = {bounds.max}, allow_zero = {zero} }}")
            lines.append(f"require_reason = {str(each.require_reason).lower()}")
    return "\n".join(lines)


@given(some.policies)
def test_reads_back_any_policy(policy: Policy) -> None:
    """Whatever a policy can say, a document can: only bounds beside no 'scale' are without meaning and refused."""
    read = parse_policy(render(policy))
    assert [_meaning(each) for each in read.grants] == [_meaning(each) for each in policy.grants]


def _meaning(each: Grant) -> tuple[object, ...]:
    bounds = each.replicas if Verb.SCALE in each.verbs else None
    reason = Verb.SCALE in each.verbs and each.require_reason
    return each.subjects, each.verbs, each.namespaces, each.names, dict(each.labels), bounds, reason


_ATOMS = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["*", "read", "scale"])
_VALUES = _ATOMS | st.lists(_ATOMS, max_size=2) | st.dictionaries(st.text(max_size=3), _ATOMS, max_size=2)
_KEYS = (
    "name", "users", "groups", "spiffe", "anyone", "verbs", "namespaces", "names", "labels", "replicas",
    "require_reason",
)  # fmt: skip


@given(st.sampled_from(_KEYS), _VALUES)
def test_refuses_what_it_does_not_understand_with_its_own_error(key: str, value: object) -> None:
    """Whatever stands behind a key, the outcome is a policy or an error that says the key."""
    try:
        parse_policy(grant(**{key: _toml(value)}))
    except PolicyError as error:
        assert str(error).startswith((f"grant[0].{key}", "grant[0]: 'anyone'", "not TOML")), error  # noqa: PT017


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return "[]" if value is None else json.dumps(value)
