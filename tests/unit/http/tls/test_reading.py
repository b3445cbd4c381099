"""What event loops read of a connection: exactly what OpenSSL would give them, however the bytes come."""

from __future__ import annotations

import contextlib
import ssl
from asyncio import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_http.tls.handshake import Handshake, HandshakeContext, current
from unit.http.credentials import Credentials

RECORD = 16 * 1024


class Pair:
    """Both ends of a connection, past its handshake; what the client writes is kept until the server gets it."""

    def __init__(self, context: ssl.SSLContext, client: ssl.SSLContext) -> None:
        self.handshake = Handshake("127.0.0.1:1")
        self.to_server, self._sent, to_client = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
        token = current.set(self.handshake)
        self.server = context.wrap_bio(self.to_server, to_client, server_side=True)
        current.reset(token)
        self.client = client.wrap_bio(to_client, self._sent, server_hostname="localhost")
        for end in (self.client, self.server) * 3:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            self.to_server.write(self._sent.read())
        self.read(RECORD)

    def sends(self, messages: list[bytes], *, closes: bool) -> bytes:
        """Return the bytes of these messages on the wire."""
        for message in messages:
            self.client.write(message)
        if closes:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.unwrap()
        return self._sent.read()

    def read(self, size: int) -> list[bytes]:
        """Read as event loops do: until OpenSSL wants more, or the client has closed."""
        got = []
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while data := self.server.read(size):
                got.append(data)
        return got


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> dict[ssl.TLSVersion, list[ssl.SSLContext]]:
    credentials, path = Credentials(), tmp_path_factory.mktemp("pair") / "server.pem"
    path.write_bytes(credentials.server.certificate_pem() + credentials.server.key_pem())
    made: dict[ssl.TLSVersion, list[ssl.SSLContext]] = {}
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        servers = [each(ssl.PROTOCOL_TLS_SERVER) for each in (HandshakeContext, ssl.SSLContext)]
        for server in servers:
            server.load_cert_chain(path)
            server.num_tickets = 0
        made[version] = [*servers, credentials.client_context(identity=None, version=version)]
    return made


@given(
    version=st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]),
    messages=st.lists(st.integers(1, 3 * RECORD).map(bytes), max_size=4),
    cuts=st.lists(st.integers(1, 4 * RECORD), max_size=6),
    size=st.sampled_from([1_000, RECORD, 256 * 1024]),
    closes=st.booleans(),
)
def test_what_is_read_is_what_openssl_gives_however_the_bytes_come(
    contexts: dict[ssl.TLSVersion, list[ssl.SSLContext]],
    version: ssl.TLSVersion,
    messages: list[bytes],
    cuts: list[int],
    size: int,
    closes: bool,
) -> None:
    """One end of kdm and a plain one get the same pieces, and give the same after each of them."""
    ours, plain, client = contexts[version]
    pairs = [Pair(ours, client), Pair(plain, client)]
    wires = [pair.sends(messages, closes=closes) for pair in pairs]
    assert len(wires[0]) == len(wires[1])
    ends = [*sorted({each for each in cuts if each < len(wires[0])}), len(wires[0])]
    for begin, end in zip([0, *ends], ends, strict=False):
        reads = []
        for pair, wire in zip(pairs, wires, strict=True):
            pair.to_server.write(wire[begin:end])
            reads.append(pair.read(size))
        assert reads[0] == reads[1]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_close_notify_is_noticed_behind_the_last_byte(
    contexts: dict[ssl.TLSVersion, list[ssl.SSLContext]], version: ssl.TLSVersion
) -> None:
    """Also where it comes after everything before it was read."""
    ours, _, client = contexts[version]
    for apart in (False, True):
        pair, noticed = Pair(ours, client), Event()
        pair.handshake.hung_up = noticed.set
        pair.to_server.write(pair.sends([b"x"], closes=not apart))
        assert pair.read(RECORD) == [b"x"]
        pair.to_server.write(pair.sends([], closes=apart))
        assert pair.read(RECORD) == []
        assert noticed.is_set()
