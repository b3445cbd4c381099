"""A socket towards the API server notices that its peer is gone, and never closes what is not its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from kdm_adapters.kubernetes.api.client import Client
from kdm_adapters.kubernetes.api.sockets import open_socket
from kdm_adapters.kubernetes.config.credentials import ClusterConfig, Credentials
from kdm_adapters.kubernetes.wire.readers import JSON
from unit.adapters.kubernetes.kubeconfig import write_kubeconfig

ATTEMPTS = 50
ANYWHERE = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))


def test_a_dead_peer_is_noticed_within_45_s() -> None:
    with open_socket(ANYWHERE) as opened:
        option = opened.getsockopt
        assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle_s, interval_s, count = (
            option(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        )
        assert idle_s + interval_s * count <= 45
        assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 45_000
        assert not opened.getblocking()


def test_it_closes_its_descriptor_once() -> None:
    opened = open_socket(ANYWHERE)
    number = opened.fileno()
    opened.close()
    with socket.socket() as other:
        assert other.fileno() == number
        opened.close()
        del opened
        assert other.getsockname()


def test_it_closes_its_descriptor_when_it_is_forgotten() -> None:
    opened = open_socket(ANYWHERE)
    number = opened.fileno()
    del opened
    with socket.socket() as other:
        assert other.fileno() == number


@pytest.mark.parametrize("in_use", ["closed", "in use again"])
def test_it_leaves_alone_what_has_its_number_by_now(in_use: str) -> None:
    opened = open_socket(ANYWHERE)
    socket.close(opened.fileno())  # as uvloop does, behind its back
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(socket.socket()) for _ in range(in_use == "in use again")]
        assert all(other.fileno() == opened.fileno() for other in others)
        del opened
        for other in others:
            other.getsockname()


@pytest.fixture
def resetting() -> Iterator[int]:
    """The port of a server that resets every connection at once, as a load balancer without a backend does."""

    def reset_all() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listening.accept()
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=reset_all)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_connection_that_is_reset_takes_no_other_with_it(
    loop: Callable[[], asyncio.AbstractEventLoop], resetting: int, tmp_path: Path
) -> None:
    """While the API server cannot be reached, kdm's own clients connect, and get the numbers that became free."""
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", f"https://127.0.0.1:{resetting}")
    clients: list[tuple[socket.socket, socket.socket]] = []

    async def fail_often() -> None:
        client = Client(Credentials(ClusterConfig(kubeconfig=kubeconfig)))
        for _ in range(ATTEMPTS):
            with pytest.raises(Exception, match="cannot be reached"):
                async with client.stream("list", "/anything", {}, JSON):
                    pass
            clients.append(socket.socketpair())
        await client.close()

    gc.disable()  # until all numbers are in use again
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(fail_often())
            gc.collect()
            for one, other in clients:
                one.send(b"?")
                assert other.recv(1) == b"?"
    finally:
        gc.enable()
        for pair in clients:
            for each in pair:
                each.close()
