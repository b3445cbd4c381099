"""Owners in API v2: shown with a Deployment, named by a conflict, overridden by who may; the RFD dialects know none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, DeploymentService, parse_policy
from kdm_http.api.app import create_app
from unit.core.fixtures import ListedAudit
from unit.http.api.v2.staging import ADJUST, REPLICAS, URL, WEB, Stage

POLICY = """
version = 1
[[grant]]
users = ["alice"]
verbs = ["read", "scale"]
namespaces = ["shop"]
replicas = {allow_zero = true}
"""


@pytest.fixture
async def owned(start: Any, connect: Any) -> AsyncIterator[Stage]:
    """A server whose Deployment an autoscaler keeps between 2 and 4."""
    async with MemoryDeploymentRepository(owners=True) as repository:
        repository.cluster.create(WEB, 3)
        repository.cluster.settle(WEB)
        repository.cluster.autoscalers.put(DeploymentRef("shop", "scaler"), "web", least=2, most=4)
        stage = Stage(repository, connect)  # type: ignore[arg-type]
        stage.audit = ListedAudit()
        stage.service = DeploymentService(repository, policy=parse_policy(POLICY), audit=stage.audit)  # type: ignore[assignment]
        stage.server = await start(app=create_app(stage.service))
        yield stage


async def test_a_deployment_shows_its_owners_and_what_they_do_to_its_count(owned: Stage) -> None:
    answer = await owned.ask("GET", URL)
    assert answer.json["owners"] == [
        {
            "kind": "HorizontalPodAutoscaler",
            "name": "scaler",
            "type": "autoscaler",
            "min": 2,
            "max": 4,
            "holds": False,
            "effect": "may-change",
            "message": "HorizontalPodAutoscaler 'scaler' may set another count at any time",
            "remedy": "change minReplicas or maxReplicas of HorizontalPodAutoscaler 'scaler'",
        }
    ]
    owned.cluster.autoscalers.put(DeploymentRef("shop", "scaler"), "web", least=5, most=6)
    again = await owned.ask("GET", URL, if_none_match=answer.headers["etag"])
    assert (again.status, again.json["owners"][0]["effect"]) == (200, "reverts")
    assert again.json["resourceVersion"] == answer.json["resourceVersion"], "the entity tag changed all the same"


@pytest.mark.parametrize(
    ("method", "target", "body"), [("PUT", REPLICAS, {"replicas": 9}), ("POST", ADJUST, {"delta": 6})]
)
async def test_a_conflict_names_who_what_it_will_do_and_the_remedy(
    owned: Stage, method: str, target: str, body: dict[str, int]
) -> None:
    answer = await owned.ask(method, target, body)
    assert (answer.status, answer.json["code"], answer.json["written"]) == (409, "owner-conflict", False)
    (owner,) = answer.json["owners"]
    assert (owner["name"], owner["effect"]) == ("scaler", "reverts")
    assert "sets it to 4" in owner["message"]
    assert "maxReplicas" in owner["remedy"]
    assert (answer.json["namespace"], answer.json["name"], answer.json["replicas"]) == ("shop", "web", 9)
    assert owned.cluster.deployments[WEB].replicas.desired == 3


async def test_an_override_needs_a_grant_and_is_audited(owned: Stage) -> None:
    body = {"replicas": 9, "override": True}
    assert (await owned.ask("GET", f"{URL}?access=true")).json["access"]["override"] is False
    refused = await owned.ask("PUT", REPLICAS, body)
    assert (refused.status, refused.json["code"]) == (403, "override-forbidden")
    assert "by overriding an owner" in refused.json["detail"]

    owned.service.policy = parse_policy(POLICY + "override_owner = true\n")
    assert (await owned.ask("GET", f"{URL}?access=true")).json["access"]["override"] is True
    written = await owned.ask("PUT", REPLICAS, body)
    assert (written.status, len(written.json["warnings"])) == (200, 1)
    assert owned.audit.events[-1].overrides == "HorizontalPodAutoscaler 'scaler'"


async def test_a_dry_run_is_refused_alike_and_a_suspended_owner_is_a_warning(owned: Stage) -> None:
    assert (await owned.ask("PUT", f"{REPLICAS}?dryRun=All", {"replicas": 9})).status == 409
    tried = await owned.ask("PUT", f"{REPLICAS}?dryRun=All", {"replicas": 0})
    assert tried.json["warnings"] == [
        "HorizontalPodAutoscaler 'scaler' stops scaling while the count is 0, until somebody sets another one"
    ]


async def test_the_rfd_dialects_never_refuse_for_an_owner(owned: Stage) -> None:
    answers = [
        await owned.ask("POST", "/deployments/web/replicas", {"replicaCount": 9}),
        await owned.ask("PUT", "/api/v1/deployments/web/replicas?namespace=shop", {"replicaCount": 1}),
    ]
    assert [(each.status, set(each.json)) for each in answers] == [
        (200, {"deploymentName", "updatedReplicaCount"}),
        (200, set(answers[1].json)),
    ]
    assert owned.cluster.deployments[WEB].replicas.desired == 1


async def test_what_is_looked_for_and_not_known_is_said(owned: Stage) -> None:
    about = (await owned.ask("GET", "/api/v2")).json
    assert (about["features"]["owners"], about["ownersUnknown"]) == (True, [])


async def test_without_the_setting_the_feature_is_off(stage: Stage) -> None:
    about = (await stage.ask("GET", "/api/v2")).json
    assert (about["features"]["owners"], about["ownersUnknown"]) == (False, [])
