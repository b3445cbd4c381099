"""Random clusters, policies, changes and faults: a batch comes to what its items would come to one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdm_core import (
    ALLOW_ALL,
    Bulk,
    BulkItem,
    BulkRefused,
    BulkResult,
    Caller,
    DeploymentRef,
    DeploymentService,
    Forbidden,
    Identity,
    ItemOutcome,
    KdmError,
    LabelSelector,
    OnBound,
    OnError,
    PlanChanged,
    Policy,
    Query,
    ScaleBy,
    ScaleTimes,
    Selection,
    SetTo,
    Verb,
)
from kdm_core.policy import Globs, Grant, ReplicaBounds, Subjects
from kdm_core.scaling import Change
from unit.core.bulk_stage import CountingRepository, Fault
from unit.core.fixtures import ListedAudit

MAX_REPLICAS = 12
CALLER = Caller(Identity("alice"))
REFS = [DeploymentRef(namespace, name) for namespace in ("blog", "shop") for name in ("api", "db", "web")]

Cluster = dict[DeploymentRef, tuple[int, str]]
"""The count and the tier of each Deployment."""

counts = st.integers(0, MAX_REPLICAS)
tiers = st.sampled_from(["a", "b"])
clusters: st.SearchStrategy[Cluster] = st.dictionaries(st.sampled_from(REFS), st.tuples(counts, tiers), min_size=1)
bounds = st.tuples(st.integers(0, 6), st.none() | st.integers(6, 15), st.sampled_from(OnBound))
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(SetTo, counts),
    st.builds(lambda delta, of: ScaleBy(delta, *of), st.integers(-8, 8), bounds),
    st.builds(
        lambda factor, of: ScaleTimes(factor, *of),
        st.decimals("0.1", "4", places=2),
        st.tuples(st.none() | st.integers(0, 6), st.none() | st.integers(6, 15), st.sampled_from(OnBound)),
    ),
)
grants = st.builds(
    lambda verbs, namespace, name, tier, least, more, zero, reason: Grant(
        Subjects(users=frozenset({"alice"})),
        frozenset(verbs),
        Globs((namespace,)),
        names=Globs((name,)),
        labels={"tier": tier} if tier else {},
        replicas=ReplicaBounds(least, least + more, allow_zero=zero),
        require_reason=reason,
    ),
    st.sets(st.sampled_from([Verb.READ, Verb.SCALE]), min_size=1),
    st.sampled_from(["*", "shop", "blog"]),
    st.sampled_from(["*", "web", "d*"]),
    st.none() | tiers,
    st.integers(1, 4),
    st.integers(0, 10),
    st.booleans(),
    st.booleans(),
)
policies = st.builds(lambda each: Policy(tuple(each)), st.lists(grants, min_size=1, max_size=4))
selections = st.tuples(st.sampled_from(["*", "shop", "blog"]), st.sampled_from(["tier=a", "tier=b", "tier", "!tier"]))
faults: st.SearchStrategy[Mapping[DeploymentRef, Fault]] = st.dictionaries(
    st.sampled_from(REFS),
    st.sampled_from(["refused", "lost before", "lost after", "unreachable", "overloaded", "defect", "overtaken"]),
    max_size=4,
)


async def staged(cluster: Cluster, fails: Mapping[DeploymentRef, Fault] | None = None) -> CountingRepository:
    repository = await CountingRepository(fails).__aenter__()
    for ref, (count, tier) in sorted(cluster.items()):
        repository.create(ref.name, count, ref.namespace, tier=tier)
    return repository


def served(repository: CountingRepository, policy: Policy, audit: ListedAudit | None = None) -> DeploymentService:
    return DeploymentService(repository, policy=policy, max_replicas=MAX_REPLICAS, audit=audit)


async def one_by_one(
    service: DeploymentService, namespace: str, selector: str, change: Change, reason: str
) -> dict[DeploymentRef, tuple[int | None, int | str]]:
    """What each selected Deployment would come to on its own: the counts before and after, or the error's code."""
    found = service.list(Query(namespace, LabelSelector.parse(selector)), CALLER).deployments
    come_to: dict[DeploymentRef, tuple[int | None, int | str]] = {}
    for each in found:
        try:
            scaled = await service.set_replicas(each.ref, change, caller=CALLER, reason=reason, dry_run=True)
        except KdmError as error:
            come_to[each.ref] = (None, error.code)
        else:
            come_to[each.ref] = (scaled.previous, scaled.replicas)
    return come_to


@settings(max_examples=150, deadline=None)
@given(clusters, policies, selections, changes, st.sampled_from(["", "night"]))
def test_a_plan_is_what_the_items_would_come_to_one_by_one(
    cluster: Cluster, policy: Policy, selection: tuple[str, str], change: Change, reason: str
) -> None:
    async def compare() -> None:
        namespace, selector = selection
        service = served(await staged(cluster), policy)
        bulk = Bulk(Selection(change, namespace, LabelSelector.parse(selector)), reason, OnError.CONTINUE)
        try:
            wanted = await one_by_one(service, namespace, selector, change, reason)
        except Forbidden as refused:
            with pytest.raises(type(refused)):
                await service.scale_many(bulk, caller=CALLER, dry_run=True)
            return
        plan = await service.scale_many(bulk, caller=CALLER, dry_run=True)
        got = {
            each.ref: (None, each.error.code)
            if isinstance(each.error, KdmError)
            else (each.planned.before, each.planned.after)
            for each in plan.items
        }
        assert got == wanted

    asyncio.run(compare())


@settings(max_examples=150, deadline=None)
@given(clusters, policies, changes, faults, st.sampled_from(OnError), st.booleans())
def test_whatever_goes_wrong_each_item_says_what_is_true_of_the_cluster(
    cluster: Cluster,
    policy: Policy,
    change: Change,
    fails: Mapping[DeploymentRef, Fault],
    on_error: OnError,
    by_name: bool,
) -> None:
    async def compare() -> None:
        repository, audit = await staged(cluster, fails), ListedAudit()
        service = served(repository, policy, audit)
        of = tuple(BulkItem(ref, change) for ref in REFS) if by_name else Selection(change, everything=True)
        before = {ref: each.replicas.desired for ref, each in repository.cluster.deployments.items()}
        version = repository.cluster.version
        refused: KdmError | None = None
        result: BulkResult | None = None
        try:
            result = await service.scale_many(Bulk(of, "night", on_error), caller=CALLER)
        except KdmError as error:
            refused = error
        if refused is not None:
            assert refused.written is False
            assert repository.cluster.version == version, "nothing is written where all is refused"
            assert on_error is OnError.ABORT or not isinstance(refused, BulkRefused)
            return
        assert result is not None
        assert_true(result, repository, before, fails)
        assert sorted(each.name for each in audit.events) == sorted(each.ref.name for each in result.items)
        assert {each.batch for each in audit.events} <= {result.batch}
        assert repository.most <= 8

    asyncio.run(compare())


def assert_true(
    result: BulkResult,
    repository: CountingRepository,
    before: Mapping[DeploymentRef, int],
    fails: Mapping[DeploymentRef, Fault],
) -> None:
    """Compare each item with the cluster."""
    untouched = set(before) - {each.ref for each in result.items}
    for each in result.items:
        held = repository.cluster.deployments.get(each.ref)
        now = None if held is None else held.replicas.desired
        after = each.planned.after
        match each.written:
            case True:
                assert each.outcome is ItemOutcome.DONE
                assert now == after != before[each.ref]
            case None:
                assert fails[each.ref] in {"lost before", "lost after", "defect"}
                assert now == (after if fails[each.ref] == "lost after" else before[each.ref])
            case False:
                overtaken = fails.get(each.ref) == "overtaken" and each.outcome is ItemOutcome.FAILED
                assert now == (77 if overtaken else before.get(each.ref))
                assert each.outcome is not ItemOutcome.UNCHANGED or now == after
    assert all(repository.cluster.deployments[ref].replicas.desired == before[ref] for ref in untouched)


async def tag_and_writes(
    cluster: Cluster, policy: Policy, change: Change, on_error: OnError
) -> tuple[str, list[tuple[DeploymentRef, int, int | None]]] | None:
    """The tag of a plan, and which counts doing it writes in fact."""
    repository = await staged(cluster)
    service = served(repository, policy)
    bulk = Bulk(Selection(change, everything=True), "night", on_error)
    before = {ref: each.replicas.desired for ref, each in repository.cluster.deployments.items()}
    try:
        plan = await service.scale_many(bulk, caller=CALLER, dry_run=True)
    except Forbidden:
        return None
    with suppress(BulkRefused):
        await service.scale_many(bulk, caller=CALLER, if_plan={plan.plan.tag})
    after = {ref: each.replicas.desired for ref, each in repository.cluster.deployments.items()}
    return plan.plan.tag, [(ref, count, after[ref]) for ref, count in before.items() if after[ref] != count]


@settings(max_examples=150, deadline=None)
@given(clusters, clusters, policies, policies, changes, changes, st.booleans(), st.sampled_from(OnError))
def test_a_plans_tag_is_another_when_and_only_when_what_would_be_done_is(
    one: Cluster,
    other: Cluster,
    policy: Policy,
    other_policy: Policy,
    change: Change,
    other_change: Change,
    same: bool,
    on_error: OnError,
) -> None:
    """What is done is found out by doing it. Objects of one name have one uid here, so that counts alone decide."""

    async def compare() -> None:
        first = await tag_and_writes(one, policy, change, on_error)
        second = await tag_and_writes(one if same else other, other_policy, other_change, on_error)
        if first is not None and second is not None:
            assert (first[0] == second[0]) == (first[1] == second[1])

    asyncio.run(compare())


@settings(max_examples=60, deadline=None)
@given(clusters, changes, st.data())
def test_a_plan_is_done_as_shown_or_not_at_all(cluster: Cluster, change: Change, data: st.DataObject) -> None:
    """Somebody else changes something between the plan and its doing."""

    async def compare() -> None:
        repository = await staged(cluster)
        service = served(repository, ALLOW_ALL)
        bulk = Bulk(Selection(change, everything=True), on_error=OnError.CONTINUE)
        plan = (await service.scale_many(bulk, caller=CALLER, dry_run=True)).plan
        shown = {each.ref: (each.before, each.after) for each in plan.changing}
        uids = {each.ref: each.uid for each in plan.changing}
        ref = data.draw(st.sampled_from(sorted(cluster)))
        match data.draw(st.sampled_from(["scaled", "made again", "deleted", "relabelled", "nothing"])):
            case "scaled":
                repository.cluster.scale(ref, data.draw(counts))
            case "made again":
                repository.create(ref.name, cluster[ref][0], ref.namespace)
            case "deleted":
                repository.cluster.delete(ref)
            case "relabelled":
                repository.cluster.relabel(ref, {"tier": "c"})
        before, version = dict(repository.cluster.deployments), repository.cluster.version
        try:
            result = await service.scale_many(bulk, caller=CALLER, if_plan={plan.tag})
        except PlanChanged:
            assert repository.cluster.version == version
            now = (await service.scale_many(bulk, caller=CALLER, dry_run=True)).plan
            assert {each.ref: (each.before, each.after) for each in now.changing} != shown or {
                each.ref: each.uid for each in now.changing
            } != uids
        else:
            done = {each.ref: (each.planned.before, each.planned.after) for each in result.items if each.written}
            assert done == shown
            assert {ref: before[ref].uid for ref in shown} == uids

    asyncio.run(compare())


def test_the_factor_of_the_oracle_is_exact() -> None:
    """Hypothesis draws decimals, and not what floating point makes of them."""
    assert ScaleTimes(Decimal("1.15")).result(REFS[0], 10, 100) == 12
