"""What becomes of a count that something else changes, too: the table of effects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_core import Effect, Owner, OwnerType, judge

REVERTS, SUSPENDS, MAY_CHANGE, RESETS = Effect.REVERTS, Effect.SUSPENDS, Effect.MAY_CHANGE, Effect.RESETS_ON_APPLY
HPA, KEDA, FLUX = OwnerType.AUTOSCALER, OwnerType.SCALED_OBJECT, OwnerType.KUSTOMIZATION


def autoscaler(least: int | None, most: int, type_: OwnerType = HPA) -> Owner:
    return Owner("HorizontalPodAutoscaler" if type_ is HPA else "ScaledObject", "web", least, most, type_)


@pytest.mark.parametrize(
    ("owner", "current", "asked", "effect"),
    [
        (autoscaler(2, 10), 3, 0, SUSPENDS),
        (autoscaler(2, 10), 3, 1, REVERTS),
        (autoscaler(2, 10), 3, 2, MAY_CHANGE),
        (autoscaler(2, 10), 3, 10, MAY_CHANGE),
        (autoscaler(2, 10), 3, 11, REVERTS),
        (autoscaler(2, 10), 0, 3, MAY_CHANGE),
        (autoscaler(2, 10), 0, 0, SUSPENDS),
        (autoscaler(None, 10), 3, 0, SUSPENDS),
        (autoscaler(None, 10), 3, 1, MAY_CHANGE),
        (autoscaler(0, 10), 3, 0, MAY_CHANGE),  # the feature HPAScaleToZero
        (autoscaler(1, 10, KEDA), 3, 0, REVERTS),
        (autoscaler(1, 10, KEDA), 0, 0, MAY_CHANGE),
        (autoscaler(1, 10, KEDA), 0, 4, MAY_CHANGE),
        (autoscaler(2, 10, KEDA), 3, 1, REVERTS),
        (autoscaler(2, 10, KEDA), 3, 11, REVERTS),
        (Owner("Application", "shop", type=OwnerType.ARGO_CD), 3, 4, MAY_CHANGE),
        (Owner("Kafka", "shop", type=OwnerType.OPERATOR), 3, 4, MAY_CHANGE),
        (Owner("Kustomization", "apps", type=FLUX, holds=True), 3, 4, REVERTS),
        (Owner("Kustomization", "apps", type=FLUX, holds=True), 3, 3, None),
        (Owner("Kustomization", "apps", type=FLUX), 3, 4, MAY_CHANGE),
        (Owner("HelmRelease", "apps", type=OwnerType.HELM_RELEASE, holds=True), 3, 4, RESETS),
        (Owner("HelmRelease", "apps", type=OwnerType.HELM_RELEASE), 3, 4, MAY_CHANGE),
        (Owner("FieldManager", "helm", type=OwnerType.APPLIER, holds=True), 3, 4, RESETS),
        (Owner("FieldManager", "helm", type=OwnerType.APPLIER, holds=True), 3, 3, None),
    ],
)
def test_the_effect_of_an_owner(owner: Owner, current: int, asked: int, effect: Effect | None) -> None:
    assert owner.effect(current, asked) is effect
    judged = judge([owner], current, asked)
    assert [each.effect for each in judged] == ([] if effect is None else [effect])
    for each in judged:
        assert str(owner) in each.message
        assert each.remedy
        assert not each.message.endswith(".")


@pytest.mark.parametrize(
    ("owner", "asked", "words"),
    [
        (autoscaler(2, 10), 12, "HorizontalPodAutoscaler 'web' sets it to 10 within its sync period (15 s by default)"),
        (autoscaler(2, 10), 1, "HorizontalPodAutoscaler 'web' sets it to 2 within its sync period (15 s by default)"),
        (autoscaler(2, 10), 0, "HorizontalPodAutoscaler 'web' stops scaling while the count is 0, until somebody"),
        (autoscaler(1, 10, KEDA), 0, "ScaledObject 'web' scales it up again while one of its triggers is active"),
        (Owner("Kustomization", "apps", type=FLUX, holds=True), 9, "Kustomization 'apps' holds the count and sets it"),
    ],
)
def test_the_message_says_who_and_what_it_will_do(owner: Owner, asked: int, words: str) -> None:
    (judged,) = judge([owner], 3, asked)
    assert judged.message.startswith(words)


def test_kedas_remedy_is_its_annotation() -> None:
    (judged,) = judge([autoscaler(1, 10, KEDA)], 3, 0)
    assert "autoscaling.keda.sh/paused-replicas" in judged.remedy


counts = st.integers(0, 40)


@given(st.none() | st.integers(0, 20), st.integers(1, 20), counts, counts, st.sampled_from([HPA, KEDA]))
def test_an_autoscaler_reverts_exactly_what_is_out_of_its_bounds(
    least: int | None, most: int, current: int, asked: int, type_: OwnerType
) -> None:
    """The oracle is the controller's own order of questions (reconcileAutoscaler in kubernetes v1.36.3)."""
    smallest = 1 if least is None else least
    effect = autoscaler(least, most, type_).effect(current, asked)
    if asked == 0 and smallest > 0:
        assert effect is (SUSPENDS if type_ is HPA else REVERTS if current else MAY_CHANGE)
    elif asked > most or asked < smallest:
        assert effect is REVERTS
    else:
        assert effect is MAY_CHANGE
