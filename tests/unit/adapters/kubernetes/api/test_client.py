"""Connections to the API server: kept alive, never cut by a time limit of ours, told to the instrument."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import pytest

from kdm_adapters.kubernetes.api import connections as module
from kdm_adapters.kubernetes.api.client import Client
from kdm_adapters.kubernetes.api.sockets import open_socket
from kdm_adapters.kubernetes.config.credentials import ClusterConfig, Credentials
from kdm_core.ports import WatchInstrument
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer, refusing
from unit.adapters.kubernetes.conftest import MakeRepository


async def test_the_connections_are_made_with_such_sockets(
    make: MakeRepository, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def remember(address: tuple[object, ...]) -> socket.socket:
        opened.append(open_socket(address))
        return opened[-1]

    monkeypatch.setattr(module, "open_socket", remember)
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        await repository.probe()
    assert len(opened) == 2, "a watch and a probe, each on a connection of its own"
    assert server.requests


async def test_watches_have_no_time_limit_of_ours() -> None:
    """Aiohttp's own would cut them after 300 s."""
    assert aiohttp.ClientTimeout(total=None, connect=module.CONNECT_TIMEOUT_S) == module._TIMEOUT


async def test_every_request_is_told_with_its_rbac_verb_and_code(make: MakeRepository, server: ApiServer) -> None:
    class Requests(WatchInstrument):
        def __init__(self) -> None:
            self.told: list[tuple[str, int]] = []

        def api_request(self, verb: str, code: int, seconds: float) -> None:
            assert seconds >= 0
            self.told.append((verb, code))

    told = Requests()
    server.watch_lists = False
    async with make(instrument=told) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        await repository.probe()
        await server.stop()
        with pytest.raises(Exception, match="cannot be reached"):
            await repository.probe()
    assert told.told[:4] == [("watch", 422), ("list", 200), ("watch", 200), ("get", 200)]
    assert ("get", 0) in told.told


async def test_a_long_refusal_is_read_in_part(server: ApiServer, make: MakeRepository) -> None:
    server.faults["get"].append(refusing(500, "InternalError", "x" * 10**6))
    async with make() as repository:
        with pytest.raises(Exception, match="not ready") as caught:
            await repository.probe()
    assert len(str(caught.value)) < 2100
    assert str(caught.value).endswith("xxx...")


async def test_a_client_without_a_single_request_closes(server: ApiServer, tmp_path: Path) -> None:

    config = ClusterConfig(kubeconfig=server.kubeconfig(tmp_path))
    await Client(Credentials(config)).close()
