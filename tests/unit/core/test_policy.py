"""What a policy allows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kdm_core import ALLOW_ALL, DeploymentRef, Identity, Policy, PolicyError, Verb
from kdm_core.policy import Globs, Grant, ReplicaBounds, SpiffePattern, Subjects
from kdm_core.policy.decision import CACHED_CALLERS
from unit.core import policy_strategies as some

ALICE = Identity("alice", frozenset({"kdm:shop"}))
WEB = DeploymentRef("shop", "web")
READ = frozenset({Verb.READ})
SCALE = frozenset({Verb.SCALE})


def policy(verbs: frozenset[Verb] = READ, namespaces: str = "*", **rest: object) -> Policy:
    return Policy((Grant(Subjects(frozenset({"alice"})), verbs, Globs((namespaces,)), **rest),))  # type: ignore[arg-type]


class TestLaws:
    @given(some.actors, some.verbs, some.refs, some.labels, some.replicas)
    def test_denies_by_default(
        self, actor: Identity, verb: Verb, ref: DeploymentRef, labels: Mapping[str, str], replicas: int | None
    ) -> None:
        """A policy without grants lets nobody do anything."""
        nothing = Policy()
        assert not nothing.allows(actor, verb, ref, labels, replicas)
        assert not nothing.may_list(actor, ref.namespace)
        assert not nothing.may_list(actor, "*")
        assert not nothing.unrestricted(actor, "*")

    @given(some.policies, some.actors, some.verbs, some.refs, some.labels, some.replicas, st.data())
    def test_is_monotone(
        self,
        given_policy: Policy,
        actor: Identity,
        verb: Verb,
        ref: DeploymentRef,
        labels: Mapping[str, str],
        replicas: int | None,
        data: st.DataObject,
    ) -> None:
        """Taking a grant away never allows more."""
        assume(given_policy.grants)
        gone = data.draw(st.integers(0, len(given_policy.grants) - 1))
        less = Policy(given_policy.grants[:gone] + given_policy.grants[gone + 1 :])
        assert less.allows(actor, verb, ref, labels, replicas) <= given_policy.allows(
            actor, verb, ref, labels, replicas
        )
        for where in ("*", ref.namespace):
            assert less.may_list(actor, where) <= given_policy.may_list(actor, where)
            assert less.unrestricted(actor, where) <= given_policy.unrestricted(actor, where)

    @given(some.policies, some.actors, some.verbs, some.refs, some.labels, some.replicas, st.randoms())
    def test_order_of_grants_is_irrelevant(
        self,
        given_policy: Policy,
        actor: Identity,
        verb: Verb,
        ref: DeploymentRef,
        labels: Mapping[str, str],
        replicas: int | None,
        random: Random,
    ) -> None:
        shuffled = list(given_policy.grants)
        random.shuffle(shuffled)
        assert Policy(tuple(shuffled)).allows(actor, verb, ref, labels, replicas) == given_policy.allows(
            actor, verb, ref, labels, replicas
        )

    @given(some.policies, some.actors, some.refs, some.labels)
    def test_listing_agrees_with_reading(
        self, given_policy: Policy, actor: Identity, ref: DeploymentRef, labels: Mapping[str, str]
    ) -> None:
        """Who may read a Deployment may list; who is unrestricted may read every one."""
        may_read = given_policy.allows(actor, Verb.READ, ref, labels)
        for where in ("*", ref.namespace):
            assert given_policy.unrestricted(actor, where) <= may_read <= given_policy.may_list(actor, where)
            assert given_policy.unrestricted(actor, where) <= given_policy.may_list(actor, where)
        assert given_policy.unrestricted(actor, "*") <= given_policy.unrestricted(actor, ref.namespace)
        assert given_policy.may_list(actor, ref.namespace) <= given_policy.may_list(actor, "*")

    @given(some.policies, some.actors)
    def test_may_list_only_where_something_could_be_read(self, given_policy: Policy, actor: Identity) -> None:
        """Who may list a namespace could read some Deployment there, were it called and labelled right."""
        labels = [dict(zip(some.LABELS, values, strict=True)) for values in product(*some.LABELS.values())]
        assert given_policy.may_list(actor, "ab") == any(
            given_policy.allows(actor, Verb.READ, DeploymentRef("ab", name), each)
            for name, each in product(some.NAMES, labels)
        )

    @given(some.policies, some.actors, some.refs, some.labels, st.integers(0, 12))
    def test_some_count_is_asked_by_none(
        self, given_policy: Policy, actor: Identity, ref: DeploymentRef, labels: Mapping[str, str], replicas: int
    ) -> None:
        """Asking about no count in particular asks whether any would do."""
        anything = given_policy.allows(actor, Verb.SCALE, ref, labels)
        assert given_policy.allows(actor, Verb.SCALE, ref, labels, replicas) <= anything
        assert anything == any(given_policy.allows(actor, Verb.SCALE, ref, labels, count) for count in range(12))

    @given(some.policies, some.actors, some.verbs, some.refs, some.labels, some.replicas)
    def test_explains_what_it_decides(
        self,
        given_policy: Policy,
        actor: Identity,
        verb: Verb,
        ref: DeploymentRef,
        labels: Mapping[str, str],
        replicas: int | None,
    ) -> None:
        """The explanation never disagrees with the decision, and accounts for each grant."""
        explanation = given_policy.explain(actor, verb, ref, labels, replicas)
        assert explanation.allowed == given_policy.allows(actor, verb, ref, labels, replicas)
        assert [verdict.index for verdict in explanation.verdicts] == list(range(len(given_policy.grants)))
        for verdict in explanation.verdicts:
            alone = Policy((verdict.grant,)).allows(actor, verb, ref, labels, replicas)
            assert alone == (not verdict.misses)

    @given(some.actors, some.verbs, some.refs, some.labels, some.replicas)
    def test_allow_all_does(
        self, actor: Identity, verb: Verb, ref: DeploymentRef, labels: Mapping[str, str], replicas: int | None
    ) -> None:
        assert ALLOW_ALL.allows(actor, verb, ref, labels, replicas)
        assert ALLOW_ALL.unrestricted(actor, "*")


class TestVerbs:
    @pytest.mark.parametrize(("granted", "other"), [(Verb.READ, Verb.SCALE), (Verb.SCALE, Verb.READ)])
    def test_neither_implies_the_other(self, granted: Verb, other: Verb) -> None:
        given_policy = policy(frozenset({granted}))
        assert given_policy.allows(ALICE, granted, WEB, {})
        assert not given_policy.allows(ALICE, other, WEB, {})

    def test_who_may_only_scale_may_not_list(self) -> None:
        assert not policy(SCALE).may_list(ALICE, "*")

    def test_connecting_is_no_policys_to_grant(self) -> None:
        """A client is let in by its certificate: not even the policy that allows all has a say in it."""
        assert not ALLOW_ALL.allows(ALICE, Verb.CONNECT, WEB, {})
        with pytest.raises(PolicyError, match="verbs: must be one or more of 'read', 'scale'"):
            policy(frozenset({Verb.CONNECT}))


class TestSubjects:
    @pytest.mark.parametrize(
        ("pattern", "user", "matches"),
        [
            ("spiffe://td/ns/shop/sa/web", "spiffe://td/ns/shop/sa/web", True),
            ("spiffe://td/ns/*/sa/web", "spiffe://td/ns/shop/sa/web", True),
            ("spiffe://td/ns/*/sa/web", "spiffe://td/ns/shop/x/sa/web", False),
            ("spiffe://td/ns/*", "spiffe://td/ns/shop/sa/web", False),
            ("spiffe://td/ns/*", "spiffe://td/ns/", False),
            ("spiffe://td/ns/**", "spiffe://td/ns/shop/sa/web", True),
            ("spiffe://td/ns/**", "spiffe://td/ns", False),
            ("spiffe://td/ns/**", "spiffe://td/ns//x", False),
            ("spiffe://td/ns/sh?p", "spiffe://td/ns/shop", True),
            ("spiffe://td/ns/s?", "spiffe://td/ns/s/", False),
            ("spiffe://td/**", "spiffe://td.evil.example/x", False),
            ("spiffe://td/a.c", "spiffe://td/abc", False),
            ("spiffe://td/a", "spiffe://td/a\n", False),
            ("spiffe://td/*", "td/x", False),
            ("spiffe://td/*", "xspiffe://td/x", False),
        ],
    )
    def test_spiffe_wildcards_stay_within_a_segment(self, pattern: str, user: str, matches: bool) -> None:
        assert SpiffePattern(pattern).match(user) is matches

    def test_a_group_is_no_user(self) -> None:
        """Somebody called like a group is not in it, and a member of a group called like a user is not that user."""
        of_group = Policy((Grant(Subjects(groups=frozenset({"ops"})), READ, Globs(("*",))),))
        assert of_group.allows(Identity("x", frozenset({"ops"})), Verb.READ, WEB, {})
        assert not of_group.allows(Identity("ops"), Verb.READ, WEB, {})
        assert not policy().allows(Identity("x", frozenset({"alice"})), Verb.READ, WEB, {})

    def test_names_are_exact(self) -> None:
        for user in ("Alice", "alice ", "alice2", "alic", ""):
            assert not policy().allows(Identity(user), Verb.READ, WEB, {})

    def test_more_callers_than_are_remembered(self) -> None:
        """Callers beyond those remembered are decided about as well, and memory stays bounded."""
        given_policy = policy()
        for number in range(CACHED_CALLERS * 2 + 10):
            assert not given_policy.allows(Identity(f"user-{number}"), Verb.READ, WEB, {})
            assert given_policy.allows(ALICE, Verb.READ, WEB, {})
        assert len(given_policy._callers) <= CACHED_CALLERS


class TestWhere:
    @pytest.mark.parametrize(
        ("pattern", "name", "matches"),
        [
            ("web", "web", True),
            ("web", "web-2", False),
            ("web", "my-web", False),
            ("web-*", "web-", True),
            ("web-*", "web-a.b", True),
            ("web-*", "a-web-b", False),
            ("*-web", "a-web", True),
            ("w?b", "wb", False),
            ("w?b", "web", True),
            ("a.c", "abc", False),
            ("web", "web\n", False),
            ("*", "", True),
        ],
    )
    def test_globs_match_a_whole_name(self, pattern: str, name: str, matches: bool) -> None:
        assert Globs((pattern,)).match(name) is matches

    @given(some.globs, some.names, some.namespaces)
    def test_a_glob_never_reaches_from_namespace_to_name(self, patterns: Globs, name: str, namespace: str) -> None:
        """Where a grant is for one namespace, no name makes it match in another."""
        in_one = policy(namespaces="only", names=patterns)
        assert not in_one.allows(ALICE, Verb.READ, DeploymentRef(namespace, name), {})
        assert in_one.allows(ALICE, Verb.READ, DeploymentRef("only", name), {}) == patterns.match(name)

    def test_a_label_must_have_the_value(self) -> None:
        given_policy = policy(labels={"tier": "web", "team": "shop"})
        assert given_policy.allows(ALICE, Verb.READ, WEB, {"tier": "web", "team": "shop", "x": "y"})
        for labels in ({}, {"tier": "web"}, {"tier": "web", "team": ""}, {"tier": "web", "team": "Shop"}):
            assert not given_policy.allows(ALICE, Verb.READ, WEB, labels)

    def test_an_empty_value_is_not_a_missing_label(self) -> None:
        assert not policy(labels={"canary": ""}).allows(ALICE, Verb.READ, WEB, {})
        assert policy(labels={"canary": ""}).allows(ALICE, Verb.READ, WEB, {"canary": ""})

    def test_a_long_hostile_name_is_matched_in_no_time(self) -> None:
        """Many wildcards do not make matching explode: the test's own timeout would tell."""
        assert not Globs(("*a" * 120 + "b",)).match("a" * 253)


class TestCounts:
    @pytest.mark.parametrize(
        ("bounds", "allowed"),
        [
            (ReplicaBounds(), {1, 2, 3, 4, 5}),
            (ReplicaBounds(allow_zero=True), {0, 1, 2, 3, 4, 5}),
            (ReplicaBounds(2, 4), {2, 3, 4}),
            (ReplicaBounds(2, 4, allow_zero=True), {0, 2, 3, 4}),
        ],
    )
    def test_zero_only_where_it_is_said(self, bounds: ReplicaBounds, allowed: set[int]) -> None:
        given_policy = policy(SCALE, replicas=bounds)
        assert {n for n in range(6) if given_policy.allows(ALICE, Verb.SCALE, WEB, {}, n)} == allowed

    def test_bounds_do_not_touch_reading(self) -> None:
        assert policy(READ | SCALE, replicas=ReplicaBounds(2, 4)).allows(ALICE, Verb.READ, WEB, {}, 100)


class TestExplanation:
    def test_names_every_reason(self) -> None:
        given_policy = policy(SCALE, "shop", names=Globs(("db",)), labels={"tier": "db"}, replicas=ReplicaBounds(2, 4))
        (verdict,) = given_policy.explain(Identity("bob"), Verb.SCALE, DeploymentRef("x", "web"), {}, 9).verdicts
        assert verdict.misses == (
            "it is for user 'alice'",
            "namespace 'x' is not among shop",
            "name 'web' is not among db",
            "label 'tier' is missing, not 'db'",
            "9 replicas are not within 2 to 4",
        )

    def test_near_misses_are_the_closest(self) -> None:
        far, near = policy(SCALE, "other").grants[0], policy(READ, "other").grants[0]
        explanation = Policy((far, near)).explain(ALICE, Verb.READ, WEB, {})
        assert [verdict.index for verdict in explanation.near_misses] == [1]
