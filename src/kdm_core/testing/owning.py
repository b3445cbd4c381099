"""The contract of owners: who else changes a count is shown with it, and what they would undo is refused."""

from __future__ import annotations

import pytest
from attrs import evolve

from kdm_core.errors import OverrideForbidden, OwnerConflict
from kdm_core.model import ChangeKind, DeploymentRef
from kdm_core.owners import Effect, Owner, OwnerType
from kdm_core.policy import ALLOW_ALL, Policy
from kdm_core.scaling import Expect, SetTo
from kdm_core.service import DeploymentService
from kdm_core.testing.abilities import Ability, Suite, needs
from kdm_core.testing.following import Follower
from kdm_core.testing.harness import RepositoryHarness

_SCALER = Owner("HorizontalPodAutoscaler", "scaler", 2, 4, OwnerType.AUTOSCALER)
_QUEUE = Owner("ScaledObject", "queue", 1, 6, OwnerType.SCALED_OBJECT)
_ARGO_CD = Owner("Application", "storefront", type=OwnerType.ARGO_CD)
_KUSTOMIZATION = Owner("Kustomization", "apps", type=OwnerType.KUSTOMIZATION, holds=True)
_HELM_RELEASE = Owner("HelmRelease", "apps", type=OwnerType.HELM_RELEASE, holds=True)
_OPERATOR = Owner("Shop", "saturn", type=OwnerType.OPERATOR)
_APPLIER = Owner("FieldManager", "helm", type=OwnerType.APPLIER, holds=True)


class OwnContract(Suite):
    """Owners come and go with what says so, and a service refuses what they would undo."""

    @needs(Ability.OWNERS)
    async def test_an_autoscaler_is_shown_with_its_deployment_for_as_long_as_it_is_there(
        self, harness: RepositoryHarness
    ) -> None:
        web, api = (DeploymentRef(harness.namespaces[0], name) for name in ("web", "api"))
        scaler = DeploymentRef(web.namespace, "scaler")
        for ref in (web, api):
            await harness.seed(ref, 3)
        await harness.settle()
        before = harness.repository.get(web)
        follower = Follower(harness.repository.changes(web.namespace))
        await follower.until_synced()

        await harness.autoscale(scaler, "web", _SCALER)
        await harness.settle()

        after = evolve(before, owners=(_SCALER,))
        assert harness.repository.get(web) == after
        assert harness.repository.observed(web).deployment == after
        assert harness.repository.list(web.namespace) == (harness.repository.get(api), after)
        assert harness.repository.get(api).owners == ()
        change = await follower.next()
        assert (change.kind, change.deployment) == (ChangeKind.MODIFIED, after)

        wider = evolve(_SCALER, min=1, max=9)
        await harness.autoscale(scaler, "web", wider)
        await harness.settle()
        assert harness.repository.get(web).owners == (wider,)

        await harness.end_autoscaling(scaler)
        await harness.settle()
        assert harness.repository.get(web) == before
        assert (await follower.until(lambda each: each.deployment == before))[-1].kind is ChangeKind.MODIFIED
        await follower.aclose()

    @needs(Ability.OWNERS)
    async def test_an_autoscaler_may_come_before_its_deployment_and_outlive_it(
        self, harness: RepositoryHarness
    ) -> None:
        web = DeploymentRef(harness.namespaces[0], "web")
        await harness.autoscale(DeploymentRef(web.namespace, "scaler"), "web", _SCALER)
        await harness.seed(web, 3)
        await harness.settle()
        assert harness.repository.get(web).owners == (_SCALER,)

        await harness.delete(web)
        await harness.seed(web, 1)
        await harness.settle()
        assert harness.repository.get(web).owners == (_SCALER,)

    @needs(Ability.OWNERS)
    async def test_an_autoscaler_is_for_the_deployment_that_it_names_now_in_its_own_namespace(
        self, harness: RepositoryHarness
    ) -> None:
        refs = [DeploymentRef(harness.namespaces[0], name) for name in ("api", "web")]
        elsewhere = DeploymentRef(harness.namespaces[1], "web")
        for ref in (*refs, elsewhere):
            await harness.seed(ref, 3)
        scaler = DeploymentRef(harness.namespaces[0], "scaler")
        for ref in refs:
            await harness.autoscale(scaler, ref.name, _SCALER)
            await harness.settle()
            shown = {each.ref: each.owners for each in harness.own(harness.repository.list())}
            assert shown == {each: (_SCALER,) if each == ref else () for each in (*refs, elsewhere)}

    @needs(Ability.OWNERS)
    async def test_of_several_owners_each_is_shown(self, harness: RepositoryHarness) -> None:
        """Those that the Deployment names come first, autoscalers after them by their own names."""
        web = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed_owned(web, 3, _OPERATOR)
        await harness.autoscale(DeploymentRef(web.namespace, "scaler"), "web", _SCALER)
        await harness.autoscale(DeploymentRef(web.namespace, "keda-hpa-queue"), "web", _QUEUE)
        await harness.settle()
        assert harness.repository.get(web).owners == (_OPERATOR, _QUEUE, _SCALER)

        await harness.end_autoscaling(DeploymentRef(web.namespace, "scaler"))
        await harness.settle()
        assert harness.repository.get(web).owners == (_OPERATOR, _QUEUE)

    @needs(Ability.OWNERS)
    @pytest.mark.parametrize(
        "owner", [_ARGO_CD, _KUSTOMIZATION, _HELM_RELEASE, _OPERATOR, _APPLIER], ids=lambda owner: owner.type.value
    )
    async def test_an_owner_that_left_its_mark_is_shown(self, harness: RepositoryHarness, owner: Owner) -> None:
        web, plain = (DeploymentRef(harness.namespaces[0], name) for name in ("web", "plain"))
        await harness.seed_owned(web, 3, owner)
        await harness.seed(plain, 3)
        await harness.settle()

        assert harness.repository.get(web).owners == (owner,)
        assert harness.repository.get(plain).owners == ()

    @needs(Ability.OWNERS)
    @pytest.mark.parametrize("owner", [_KUSTOMIZATION, _HELM_RELEASE, _APPLIER], ids=lambda owner: owner.type.value)
    async def test_who_held_the_count_holds_it_no_more_after_a_write(
        self, harness: RepositoryHarness, owner: Owner
    ) -> None:
        web = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed_owned(web, 3, owner)
        await harness.settle()

        await harness.repository.set_replicas(web, 5, expect=Expect(override=True))
        await harness.settle()

        shown = harness.repository.get(web).owners
        assert shown == (() if owner is _APPLIER else (evolve(owner, holds=False),))

    @needs(Ability.OWNERS)
    @pytest.mark.parametrize(
        ("owner", "replicas", "effect"),
        [
            (_SCALER, 3, Effect.MAY_CHANGE),
            (_SCALER, 4, Effect.MAY_CHANGE),
            (_SCALER, 0, Effect.SUSPENDS),
            (_QUEUE, 2, Effect.MAY_CHANGE),
        ],
        ids=lambda value: value.name if isinstance(value, Owner) else str(value),
    )
    async def test_what_an_autoscaler_does_not_undo_is_written_and_its_effect_said(
        self, harness: RepositoryHarness, owner: Owner, replicas: int, effect: Effect
    ) -> None:
        web = await self._autoscaled(harness, owner)

        scaled = await DeploymentService(harness.repository).set_replicas(web, SetTo(replicas))
        await harness.settle()

        assert [(each.owner, each.effect) for each in scaled.owners] == [(owner, effect)]
        assert await harness.stored_replicas(web) == replicas
        shown = harness.repository.get(web)
        assert [each.effect(replicas, replicas) for each in shown.owners] == [effect]

    @needs(Ability.OWNERS)
    @pytest.mark.parametrize(
        ("owner", "replicas"),
        [(_SCALER, 5), (_SCALER, 1), (_QUEUE, 7), (_QUEUE, 0)],
        ids=lambda value: value.name if isinstance(value, Owner) else str(value),
    )
    async def test_what_an_autoscaler_would_undo_is_refused_unless_it_is_overridden(
        self, harness: RepositoryHarness, owner: Owner, replicas: int
    ) -> None:
        web = await self._autoscaled(harness, owner)
        service = DeploymentService(harness.repository)

        with pytest.raises(OwnerConflict, match=owner.name) as refused:
            await service.set_replicas(web, SetTo(replicas))
        assert [(each.owner, each.effect) for each in refused.value.owners] == [(owner, Effect.REVERTS)]
        assert refused.value.written is False
        assert await harness.stored_replicas(web) == 3

        scaled = await service.set_replicas(web, SetTo(replicas), override=True)
        assert [(each.owner, each.effect) for each in scaled.owners] == [(owner, Effect.REVERTS)]
        assert scaled.deployment.replicas.desired == replicas
        assert await harness.stored_replicas(web) == replicas

    @needs(Ability.OWNERS)
    async def test_only_a_grant_that_allows_it_lets_somebody_override(self, harness: RepositoryHarness) -> None:
        web = await self._autoscaled(harness, _SCALER)
        forbidding = Policy(tuple(evolve(grant, override_owner=False) for grant in ALLOW_ALL.grants))
        service = DeploymentService(harness.repository, policy=forbidding)

        with pytest.raises(OverrideForbidden):
            await service.set_replicas(web, SetTo(9), override=True)
        assert await harness.stored_replicas(web) == 3

        service = DeploymentService(harness.repository, policy=ALLOW_ALL)
        await service.set_replicas(web, SetTo(9), override=True)
        assert await harness.stored_replicas(web) == 9

    @needs(Ability.OWNERS)
    async def test_an_autoscaler_that_is_gone_refuses_nothing(self, harness: RepositoryHarness) -> None:
        web = await self._autoscaled(harness, _SCALER)
        await harness.end_autoscaling(DeploymentRef(web.namespace, "scaler"))
        await harness.settle()

        scaled = await DeploymentService(harness.repository).set_replicas(web, SetTo(9))

        assert scaled.owners == ()
        assert await harness.stored_replicas(web) == 9

    @staticmethod
    async def _autoscaled(harness: RepositoryHarness, owner: Owner) -> DeploymentRef:
        """Create a Deployment of three replicas that an autoscaler is for."""
        web = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(web, 3)
        await harness.autoscale(DeploymentRef(web.namespace, "scaler"), "web", owner)
        await harness.settle()
        return web
