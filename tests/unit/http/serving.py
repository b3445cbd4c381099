"""A server on real loopback sockets, on asyncio and on uvloop, and a PKI to connect to it with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from kdm_http.server.serve import ServerConfig, TlsFiles, serve
from unit.http.client import Client
from unit.http.credentials import Credentials
from unit.http.running import Running, ops_app

START_S = 10.0


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test on both event loops."""
    del config, item
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def credentials() -> Credentials:
    return Credentials()


Start = Callable[..., Any]


@pytest.fixture
async def start(credentials: Credentials, tmp_path: Path) -> AsyncIterator[Start]:
    """Start servers with ``ServerConfig`` settings of the test's choice; they end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, crl: bool = False, lifespan: Any = None, app: Any = None, **settings: Any) -> Running:
            files = TlsFiles(
                tmp_path / "server.pem",
                tmp_path / "key.pem",
                tmp_path / "ca.pem",
                tmp_path / "crl.pem" if crl else None,
            )
            credentials.write(files)
            running = Running(files, credentials)
            settings.setdefault("host", "127.0.0.1")
            settings.setdefault("ops_host", "127.0.0.1")
            config = ServerConfig(
                files,
                port=0,
                ops_port=0,
                now=running.clock,
                reload_poll_s=0.01,
                **settings,
            )
            listening: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            running.task = asyncio.create_task(
                serve(
                    app or running.app,
                    ops_app,
                    config=config,
                    lifespan=lifespan,
                    started=listening.set_result,
                    events=running.events,
                    stop=running.stopping,
                )
            )
            stack.push_async_callback(running.stop)
            await asyncio.wait({running.task, listening}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
            if running.task.done():
                failed, running.task = running.task, None
                failed.result()
            running.addresses = await listening
            return running

        yield start


@pytest.fixture
async def connect(credentials: Credentials) -> AsyncIterator[Callable[..., Any]]:
    """Connect to a server as some client, by default a good one."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(server: Running, **how: Any) -> Client:
            how.setdefault("identity", credentials.alice)
            client = await Client.open(server.api, credentials.client_context(**how))
            stack.push_async_callback(client.close)
            return client

        yield connect
