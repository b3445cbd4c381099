"""Through a proxy that the environment names: every way in which kdm's clients reach a kdm, and one that refuses."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kdm_adapters.remote.access import Access
from kdm_adapters.remote.client import Client, list_path
from kdm_adapters.remote.repository import RemoteDeploymentRepository
from kdm_adapters.remote.transport import Transport
from kdm_core import ClusterUnreachable, DeploymentRef
from unit.adapters.remote.served import Served, served
from unit.forward_proxy import Proxy

DEADLINE_S = 20.0
PASSWORD = f"basic {base64.b64encode(b'me:p@ss').decode()}".lower()


@pytest.fixture
def kdm(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        running.do(lambda: running.cluster.create(DeploymentRef("shop", "web"), 3))
        yield running


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    async with AsyncExitStack() as stack:
        found = Proxy("http")
        await found.start(stack)
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{found.port}")
        yield found


@pytest.fixture
def far(kdm: Served) -> Access:
    """How the kdm is reached by a name that only the proxy can resolve."""
    return kdm.access(url=f"https://kdm.test:{kdm.port}")


async def test_single_calls(far: Access, proxy: Proxy) -> None:
    def read() -> list[object]:
        with Client(far) as client:
            return [each["name"] for each in client.items(list_path())]

    assert await asyncio.to_thread(read) == ["web"]
    assert proxy.asked == [f"CONNECT {far.server.removeprefix('https://')}", PASSWORD]


async def test_a_repository_with_its_stream_and_its_calls(far: Access, proxy: Proxy) -> None:
    async with RemoteDeploymentRepository(far) as repository:
        await repository.wait_synced(DEADLINE_S)
        assert [each.ref.name for each in repository.list()] == ["web"]
    assert set(proxy.asked) == {f"CONNECT {far.server.removeprefix('https://')}", PASSWORD}


async def test_the_page_on_loopback(far: Access, proxy: Proxy) -> None:
    upstream = Transport(far, "kdm-ui")
    async with upstream.passed("GET", b"/api/v2/deployments", [], b"", silence_s=DEADLINE_S) as answer:
        assert b'"web"' in b"".join([each async for each in answer.body])
    await upstream.aclose()
    assert proxy.asked == [f"CONNECT {far.server.removeprefix('https://')}", PASSWORD]


async def test_a_proxy_that_refuses_is_said_without_its_password(far: Access, proxy: Proxy) -> None:
    proxy.refuses = True

    def read() -> None:
        with Client(far) as client:
            client.get(list_path())

    upstream = Transport(far, "kdm-ui")
    with pytest.raises(ClusterUnreachable, match="proxy") as single:
        await asyncio.to_thread(read)
    with pytest.raises(ClusterUnreachable, match="proxy") as page:
        async with upstream.passed("GET", b"/api/v2/deployments", [], b"", silence_s=DEADLINE_S):
            pass
    await upstream.aclose()
    assert "p@ss" not in f"{single.value}{page.value}"
