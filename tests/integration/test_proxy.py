"""The proxy breaks connections in the ways it says, seen from a plain socket on each side."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from integration.proxy import Direction, Proxy

TIMEOUT_S = 10
MEGABYTE = bytes(range(256)) * 4096


class Line(NamedTuple):
    """A proxy, a client's socket at one end and the server's at the other."""

    proxy: Proxy
    client: socket.socket
    server: socket.socket


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        yield listener


@pytest.fixture
def line(listener: socket.socket) -> Iterator[Line]:
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(*listener.getsockname()))
        client = stack.enter_context(connect(proxy))
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(TIMEOUT_S)
        yield Line(proxy, client, server)


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S)


def read(peer: socket.socket, size_bytes: int) -> bytes:
    """Read until so much has come or the stream ends."""
    data = b""
    while len(data) < size_bytes and (piece := peer.recv(size_bytes - len(data))):
        data += piece
    return data


def silent(peer: socket.socket) -> bool:
    """Whether there is nothing to read, not even an end, for a moment."""
    return not select.select([peer], [], [], 0.2)[0]


def test_it_passes_bytes_and_the_end_of_each_direction(line: Line) -> None:
    line.client.sendall(b"question")
    line.client.shutdown(socket.SHUT_WR)
    assert read(line.server, 100) == b"question"
    line.server.sendall(b"answer")
    line.server.close()
    assert read(line.client, 100) == b"answer"
    line.proxy.wait_until(lambda proxy: proxy.open == 0)
    assert line.proxy.passed_bytes == {Direction.TO_SERVER: 8, Direction.TO_CLIENT: 6}


def test_a_reset_reaches_the_other_side_as_a_reset(line: Line) -> None:
    line.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.server.close()
    with pytest.raises(ConnectionResetError):
        line.client.recv(1)


def test_cut_resets_both_sides_and_serves_the_next(line: Line, listener: socket.socket) -> None:
    line.proxy.cut()
    for peer in (line.client, line.server):
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
    with connect(line.proxy) as client, listener.accept()[0] as server:
        client.sendall(b"again")
        assert read(server, 5) == b"again"
    assert line.proxy.accepted == 2


def test_cut_without_reset_is_an_end_of_file(line: Line) -> None:
    """Even towards a peer whose bytes nobody read, which a plain close() would reset."""
    line.proxy.black_hole()
    line.client.sendall(b"unread")
    line.proxy.cut(reset=False)
    assert line.client.recv(1) == b""
    assert line.server.recv(1) == b""


@pytest.mark.parametrize("reset", [True, False])
def test_cut_works_in_a_black_hole(line: Line, *, reset: bool) -> None:
    line.proxy.black_hole()
    line.client.sendall(b"lost")
    line.proxy.cut(reset=reset)
    line.client.close()
    line.server.close()
    line.proxy.wait_until(lambda proxy: proxy.open == 0)


def test_a_black_hole_accepts_and_forwards_nothing_until_healed(line: Line, listener: socket.socket) -> None:
    line.proxy.black_hole()
    with connect(line.proxy) as client, listener.accept()[0] as server:
        client.sendall(b"held")
        line.client.sendall(b"held too")
        assert silent(server)
        assert silent(line.server)
        line.proxy.heal()
        assert read(server, 4) == b"held"
        assert read(line.server, 8) == b"held too"


def test_a_one_way_black_hole_passes_the_other_way(line: Line) -> None:
    line.server.sendall(b"before ")
    assert read(line.client, 7) == b"before "
    line.proxy.black_hole(Direction.TO_CLIENT)
    line.client.sendall(b"question")
    assert read(line.server, 8) == b"question"
    line.server.sendall(b"answer")
    line.server.close()
    assert silent(line.client)
    line.proxy.heal()
    assert read(line.client, 100) == b"answer"


def test_a_black_hole_holds_the_end_of_a_connection(line: Line) -> None:
    """A peer that gave up is not noticed at the other side, as on a dead network."""
    line.proxy.black_hole()
    line.client.close()
    assert silent(line.server)
    line.proxy.heal()
    assert line.server.recv(1) == b""


def test_a_delay_keeps_order_and_throughput(line: Line) -> None:
    """A megabyte comes whole, and not one chunk per delay: the reader's timeout would tell."""
    line.proxy.delay(1)
    sender = threading.Thread(target=line.server.sendall, args=(MEGABYTE,))
    sender.start()
    assert silent(line.client)
    assert read(line.client, len(MEGABYTE)) == MEGABYTE
    sender.join()


def test_a_throttle_lets_a_part_pass_at_a_time(line: Line) -> None:
    line.proxy.throttle(1000)
    line.server.sendall(MEGABYTE[:100_000])
    line.proxy.wait_until(lambda proxy: proxy.passed_bytes[Direction.TO_CLIENT] > 0)
    assert line.proxy.passed_bytes[Direction.TO_CLIENT] < 100_000
    line.proxy.heal()
    assert read(line.client, 100_000) == MEGABYTE[:100_000]


@pytest.mark.parametrize("reset", [True, False])
def test_truncation_cuts_after_exactly_so_many_bytes(line: Line, *, reset: bool) -> None:
    line.server.sendall(b"before")
    assert read(line.client, 6) == b"before"
    line.proxy.truncate(10, reset=reset)
    line.server.sendall(b"0123456789abcdef")
    line.proxy.wait_until(lambda proxy: proxy.passed_bytes[Direction.TO_CLIENT] == 16)
    if reset:
        line.proxy.wait_until(lambda proxy: proxy.open == 0)
        with pytest.raises(ConnectionResetError):
            read(line.client, 100)
    else:
        assert read(line.client, 100) == b"0123456789"


def test_a_refusing_proxy_resets_new_connections_alone(line: Line) -> None:
    line.proxy.refuse()
    with pytest.raises(ConnectionResetError), connect(line.proxy) as client:
        client.recv(1)
    line.client.sendall(b"still here")
    assert read(line.server, 10) == b"still here"


def test_a_server_that_is_down_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with Proxy(*address) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)


def test_stopping_ends_connections_and_the_thread(listener: socket.socket) -> None:
    before = threading.active_count()
    with Proxy(*listener.getsockname()) as proxy:
        client = connect(proxy)
        server, _ = listener.accept()
        proxy.black_hole()
    with client, server:
        for peer in (client, server):
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
    assert threading.active_count() == before


def test_an_end_that_cannot_be_handed_on_ends_the_connection(line: Line) -> None:
    line.proxy.black_hole(Direction.TO_CLIENT)
    line.server.close()
    line.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.client.close()
    line.proxy.heal()
    line.proxy.wait_until(lambda proxy: proxy.open == 0)
