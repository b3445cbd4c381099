"""A write that something else would change back is refused, unless the policy lets the caller override that."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import evolve

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.memory.parking import MemoryParkingLot
from kdm_adapters.prometheus import PrometheusInstrument
from kdm_core import (
    ALLOW_ALL,
    Bulk,
    BulkItem,
    BulkRefused,
    Caller,
    DeploymentRef,
    DeploymentService,
    Effect,
    OnError,
    Outcome,
    OverrideForbidden,
    Owner,
    OwnerConflict,
    OwnerType,
    Policy,
    Restore,
    ScaleBy,
    Scaled,
    ServiceInstrument,
    SetTo,
    Verb,
    parse_policy,
)
from kdm_core.parked import Parked
from kdm_core.trail import to_line
from unit.core.fixtures import ALICE, WEB, ListedAudit, grant, policy, turns

CALLER = Caller(ALICE)
SCALER = DeploymentRef(WEB.namespace, "scaler")


class Counted(ServiceInstrument):
    """What was counted of owners."""

    def __init__(self) -> None:
        self.conflicts: list[tuple[str, bool]] = []

    def owner_conflict(self, kind: str, *, overridden: bool) -> None:
        self.conflicts.append((kind, overridden))


class Stage:
    """A service on a cluster in which an autoscaler keeps the count between 2 and 4."""

    def __init__(self, repository: MemoryDeploymentRepository, rules: Policy) -> None:
        self.audit = ListedAudit()
        self.counted = Counted()
        self.repository = repository
        self.service = DeploymentService(repository, policy=rules, audit=self.audit, instrument=self.counted)

    async def set(self, replicas: int, **more: Any) -> Scaled:
        return await self.service.set_replicas(WEB, SetTo(replicas), caller=CALLER, **more)

    @property
    def stored(self) -> int:
        return self.repository.cluster.deployments[WEB].replicas.desired


async def staged(rules: Policy = ALLOW_ALL) -> Stage:
    repository = MemoryDeploymentRepository(owners=True)
    repository.cluster.create(WEB, 3)
    repository.cluster.autoscalers.put(SCALER, WEB.name, least=2, most=4)
    await repository.__aenter__()
    return Stage(repository, rules)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_what_would_not_last_is_refused_and_says_who_and_what_to_do(dry_run: bool) -> None:
    stage = await staged()
    with pytest.raises(OwnerConflict) as refused:
        await stage.set(9, dry_run=dry_run)
    assert str(refused.value) == (
        f"9 replicas would not last on Deployment '{WEB}': HorizontalPodAutoscaler 'scaler' sets it to 4 within its "
        "sync period (15 s by default): change minReplicas or maxReplicas of HorizontalPodAutoscaler 'scaler'; "
        "or override it"
    )
    assert [each.owner.name for each in refused.value.owners] == ["scaler"]
    assert (refused.value.written, stage.stored) == (False, 3)
    (event,) = stage.audit.events
    assert (event.outcome, event.dry_run, event.overrides) == (Outcome.REJECTED, dry_run, "")
    assert stage.counted.conflicts == [("HorizontalPodAutoscaler", False)]


async def test_an_override_is_written_warned_of_and_audited() -> None:
    stage = await staged()
    scaled = await stage.set(9, override=True)
    assert [each.effect for each in scaled.owners] == [Effect.REVERTS]
    assert stage.stored == 9
    (event,) = stage.audit.events
    assert json.loads(to_line(event))["overrides"] == "HorizontalPodAutoscaler 'scaler'"
    assert stage.counted.conflicts == [("HorizontalPodAutoscaler", True)]


async def test_who_may_scale_may_not_therefore_override() -> None:
    stage = await staged(policy(grant("alice", Verb.READ, Verb.SCALE)))
    with pytest.raises(OverrideForbidden, match="by overriding an owner") as refused:
        await stage.set(9, override=True)
    assert (refused.value.written, stage.stored) == (False, 3)
    assert stage.audit.events[0].outcome is Outcome.DENIED
    stage.service.policy = policy(evolve(grant("alice", Verb.READ, Verb.SCALE), override_owner=True))
    assert (await stage.set(9, override=True)).replicas == 9


async def test_an_override_where_there_is_nothing_to_override_needs_no_permission() -> None:
    stage = await staged(policy(grant("alice", Verb.READ, Verb.SCALE)))
    scaled = await stage.set(4, override=True)
    assert [each.effect for each in scaled.owners] == [Effect.MAY_CHANGE]
    assert stage.audit.events[0].overrides == ""


@pytest.mark.parametrize(("replicas", "effect"), [(0, Effect.SUSPENDS), (2, Effect.MAY_CHANGE)])
async def test_what_lasts_is_written_and_what_the_owner_does_is_said(replicas: int, effect: Effect) -> None:
    stage = await staged()
    assert [each.effect for each in (await stage.set(replicas)).owners] == [effect]
    assert stage.stored == replicas


async def test_a_relative_change_is_judged_by_its_result() -> None:
    stage = await staged()
    assert (await stage.service.set_replicas(WEB, ScaleBy(1))).replicas == 4
    with pytest.raises(OwnerConflict, match="5 replicas would not last"):
        await stage.service.set_replicas(WEB, ScaleBy(1))
    assert (await stage.service.set_replicas(WEB, ScaleBy(1), override=True)).replicas == 5


async def test_the_count_that_is_there_already_is_not_refused() -> None:
    stage = await staged()
    stage.repository.cluster.scale(WEB, 9)
    scaled = await stage.set(9)
    assert (scaled.changed, [each.effect for each in scaled.owners]) == (False, [Effect.REVERTS])


async def test_owners_are_not_looked_at_where_the_caller_does_not_heed_them() -> None:
    stage = await staged()
    assert (await stage.set(9, heed_owners=False)).owners == ()
    assert stage.stored == 9


async def test_without_the_setting_nobody_is_refused() -> None:
    repository = MemoryDeploymentRepository()
    repository.cluster.create(WEB, 3)
    repository.cluster.autoscalers.put(SCALER, WEB.name, least=2, most=4)
    async with repository:
        scaled = await DeploymentService(repository).set_replicas(WEB, SetTo(9))
        assert (scaled.owners, repository.get(WEB).owners) == ((), ())
        assert repository.sync_status().owners == ()


async def test_a_batch_is_refused_for_one_item_that_would_not_last() -> None:
    stage = await staged()
    other = DeploymentRef(WEB.namespace, "other")
    stage.repository.cluster.create(other, 1)
    items = (BulkItem(other, SetTo(2)), BulkItem(WEB, SetTo(9)))
    with pytest.raises(BulkRefused) as refused:
        await stage.service.scale_many(Bulk(items), caller=CALLER)
    ((ref, why),) = refused.value.items
    assert (ref, type(why), stage.stored) == (WEB, OwnerConflict, 3)
    done = await stage.service.scale_many(Bulk(items, on_error=OnError.CONTINUE, override=True), caller=CALLER)
    assert done.complete
    assert stage.stored == 9


def test_a_policy_grants_overrides_only_beside_scale() -> None:
    text = 'version = 1\n[[grant]]\nanyone = true\nverbs = ["{}"]\nnamespaces = ["*"]\noverride_owner = true'
    with pytest.raises(Exception, match="override_owner: has no meaning without the verb 'scale'"):
        parse_policy(text.format("read"))
    rules = parse_policy(text.format("scale"))
    assert rules.allows(ALICE, Verb.SCALE, WEB, {}, 3, override=True)
    explained = policy(grant("alice", Verb.SCALE)).explain(ALICE, Verb.SCALE, WEB, {}, 3, override=True)
    assert explained.verdicts[0].misses == ("it does not let owners be overridden",)


def test_conflicts_are_counted_by_kind() -> None:
    instrument = PrometheusInstrument()
    instrument.owner_conflict("ScaledObject", overridden=False)
    instrument.owner_conflict("ScaledObject", overridden=True)
    text = instrument.render()[0].decode()
    for answer in ("refused", "overridden"):
        assert f'kdm_owner_conflicts_total{{answer="{answer}",kind="ScaledObject"}} 1.0' in text


class TestRestoring:
    """An autoscaler whose bounds have changed during the night is no reason to stay at zero in the morning."""

    @pytest.fixture
    async def stage(self) -> AsyncIterator[tuple[Stage, DeploymentService]]:
        stage = await staged()
        async with MemoryParkingLot() as lot:
            service = DeploymentService(stage.repository, parking=lot, audit=stage.audit)
            await service.park(WEB, park_id="night")
            yield stage, service

    @pytest.mark.parametrize("scaled_object", ["", "queue"])
    @pytest.mark.parametrize(("least", "most", "bound"), [(1, 2, 2), (5, 9, 5)])
    @pytest.mark.parametrize("in_batch", [False, True])
    async def test_what_is_parked_comes_back_though_an_autoscaler_will_change_the_count(
        self,
        stage: tuple[Stage, DeploymentService],
        least: int,
        most: int,
        bound: int,
        scaled_object: str,
        in_batch: bool,
    ) -> None:
        night, service = stage
        night.repository.cluster.autoscalers.put(SCALER, WEB.name, least=least, most=most, scaled_object=scaled_object)
        await turns()

        if in_batch:
            change = Restore("night")
            (item,) = (await service.scale_many(Bulk((BulkItem(WEB, change),)))).items
            assert item.outcome.value == "done"
            said = (*item.planned.warnings, *item.warnings)
        else:
            said = (await service.restore(WEB, park_id="night")).warnings

        assert night.stored == 3
        assert [each for each in said if f"sets it to {bound}" in each]
        assert night.audit.events[-1].overrides == ""

    async def test_one_may_be_woken_below_an_autoscalers_minimum(self, stage: tuple[Stage, DeploymentService]) -> None:
        night, service = stage
        assert (await service.restore(WEB, replicas=1)).replicas == 1
        assert night.stored == 1

    async def test_what_git_holds_at_zero_is_not_brought_back_in_vain(self) -> None:
        repository = MemoryDeploymentRepository(owners=True)
        flux = Owner("Kustomization", "apps", type=OwnerType.KUSTOMIZATION, holds=True)
        async with repository, MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            found = repository.cluster.create(WEB, 0, owners=(flux,))
            await turns()
            assert await lot.swap(WEB, None, Parked(found.uid, 3, 0, version="0"))
            with pytest.raises(OwnerConflict, match="Kustomization 'apps' holds the count"):
                await service.restore(WEB)
            assert dict(lot.list())[WEB].replicas == 3
