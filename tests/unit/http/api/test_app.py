"""Several APIs in one process, and the end of one."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx
import pytest
from litestar.types import LifeSpanScope

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, DeploymentService
from kdm_http.api.app import Api, create_app
from kdm_http.api.stream.streams import Streams
from unit.http.conftest import Admitted


async def live(api: Api, said: list[Any]) -> None:
    """Begin an application's lifespan and end it; what it says is added to `said`."""

    async def receive() -> Any:
        return {"type": "lifespan.shutdown" if said else "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message)

    await api(cast("LifeSpanScope", {"type": "lifespan"}), receive, send)


async def test_a_lifespan_begins_and_ends(service: DeploymentService) -> None:
    said: list[Any] = []
    await live(create_app(service), said)
    assert [each["type"] for each in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_streams_that_cannot_be_ended_are_told(
    service: DeploymentService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server logs what an application says of its end."""

    async def aclose(_: Streams) -> None:
        raise OSError("no")

    monkeypatch.setattr(Streams, "aclose", aclose)
    said: list[Any] = []
    with pytest.raises(OSError, match="no"):
        await live(create_app(service), said)
    assert said[1] == {"type": "lifespan.shutdown.failed", "message": "OSError('no')"}


async def test_two_apis_of_one_process_answer_for_their_own_repositories() -> None:
    """At the same time, in whichever way a request is answered."""

    async def counted(replicas: int) -> None:
        async with MemoryDeploymentRepository() as repository:
            repository.cluster.create(DeploymentRef("shop", "web"), replicas)
            transport = httpx.ASGITransport(Admitted(create_app(DeploymentService(repository))))
            async with httpx.AsyncClient(transport=transport, base_url="https://kdm") as client:
                for path in ("/deployments/web/replicas?namespace=shop", "/api/v2/namespaces/shop/deployments/web"):
                    answers = await asyncio.gather(*(client.get(path) for _ in range(20)))
                    assert {str(replicas) in each.text for each in answers} == {True}, answers[0].text

    await asyncio.gather(*map(counted, range(41, 49)))
