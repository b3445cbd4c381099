"""Application protocols (RFC 7301): HTTP/1.1 is served, and a client that speaks others alone is told so."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_http.tls.client_hello import ClientHello
from kdm_http.tls.rejection import Reason
from unit.http.client import Client
from unit.http.credentials import Credentials

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])


def offering(credentials: Credentials, protocols: Sequence[str], version: ssl.TLSVersion) -> ssl.SSLContext:
    context = credentials.client_context(identity=credentials.alice, version=version)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@VERSIONS
@pytest.mark.parametrize("protocols", [["h2"], ["h2", "spdy/3"], ["http/1.0"], ["HTTP/1.1"]], ids=" ".join)
async def test_a_client_of_other_protocols_alone_gets_no_application_protocol(
    protocols: list[str], version: ssl.TLSVersion, start: Any, credentials: Credentials
) -> None:
    """Speaking HTTP/1.1 to it would be no answer it understands."""
    server = await start(minimum_tls_version=ssl.TLSVersion.TLSv1_2)
    client = await Client.open(server.api, offering(credentials, protocols, version))

    assert await client.alert() == "no_application_protocol"
    rejection = await server.rejection()
    assert rejection.reason is Reason.NO_SHARED_PARAMETERS
    assert repr(protocols[0]) in rejection.detail
    assert server.served == []
    await client.close()


@VERSIONS
@pytest.mark.parametrize("protocols", [[], ["http/1.1"], ["h2", "http/1.1"]], ids=["none", "HTTP/1.1", "both"])
async def test_a_client_that_offers_http_1_1_or_nothing_is_served(
    protocols: list[str], version: ssl.TLSVersion, start: Any, credentials: Credentials
) -> None:
    server = await start(minimum_tls_version=ssl.TLSVersion.TLSv1_2)
    client = await Client.open(server.api, offering(credentials, protocols, version))

    assert (await client.request()).status == 200
    assert client.tls.selected_alpn_protocol() == ("http/1.1" if protocols else None)
    await client.close()


@pytest.mark.parametrize("piece_bytes", [1, 7, 100])
async def test_an_offer_that_comes_in_pieces_is_read_whole(
    piece_bytes: int, start: Any, credentials: Credentials
) -> None:
    server = await start()
    client = await Client.open(server.api, offering(credentials, ["h2"] * 60, ssl.TLSVersion.TLSv1_3))
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = client.outgoing.read()
    for begin in range(0, len(hello), piece_bytes):
        client.writer.write(hello[begin : begin + piece_bytes])
        await client.writer.drain()

    assert await client.alert() == "no_application_protocol"
    assert (await server.rejection()).reason is Reason.NO_SHARED_PARAMETERS
    await client.close()


def test_an_offer_in_records_of_one_byte_is_read_whole() -> None:
    """It is long on the wire, though not for OpenSSL, which puts the records together."""
    many = [f"{number:0200d}" for number in range(150)]
    sent = b"".join(_one_byte_records(_messages(_hello(many))))
    hello = ClientHello()
    hello.feed(sent[:-1])
    assert not hello.done
    hello.feed(sent[-1:])
    assert hello.protocols == tuple(name.encode() for name in many)


def test_reading_a_hello_costs_in_proportion_to_its_length_however_it_is_cut() -> None:
    """Otherwise a few strangers who send it byte by byte hold up everybody."""

    def read(records: int) -> None:
        hello = ClientHello()
        for record in _one_byte_records(b"\x01\x00\xff\xff" + bytes(records)):
            for byte in record:
                hello.feed(bytes([byte]))
        assert not hello.done

    assert _lines(lambda: read(400)) < 2.1 * _lines(lambda: read(200))


def _messages(records: bytes) -> bytes:
    """Return what is in the records."""
    found = b""
    while records:
        end = 5 + int.from_bytes(records[3:5])
        found, records = found + records[5:end], records[end:]
    return found


def _one_byte_records(message: bytes) -> list[bytes]:
    return [b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in message]


def _lines(work: Callable[[], None]) -> int:
    """Return how many lines of Python are run."""
    lines = count()

    def trace(_frame: object, event: str, _argument: object) -> Any:
        if event == "line":
            next(lines)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return next(lines)


def _hello(protocols: list[str]) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if protocols:
        context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@given(st.lists(st.text("abcdefgh/.0123456789", min_size=1, max_size=20), max_size=5), st.integers(1, 300))
def test_the_reader_finds_what_openssl_offers(protocols: list[str], piece_bytes: int) -> None:
    sent = _hello(protocols)
    hello = ClientHello()
    for begin in range(0, len(sent), piece_bytes):
        assert not hello.done
        hello.feed(sent[begin : begin + piece_bytes])
    assert hello.done
    assert hello.protocols == (tuple(name.encode() for name in protocols) or None)


@given(st.binary(max_size=400), st.integers(0, 600), st.booleans())
def test_the_reader_survives_any_bytes(noise: bytes, at: int, as_hello: bool) -> None:
    sent = _hello(["h2"]) if as_hello else b""
    hello = ClientHello()
    hello.feed(sent[:at] + noise + sent[at:])
    for _ in range(40):
        hello.feed(noise + b"\x16\x03\x03" * 2000)
    assert hello.done
