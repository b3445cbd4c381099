"""Each client that must not get in: the exact alert or answer it is sent, and what the operator sees.

What OpenSSL refuses gets its alert. What OpenSSL accepts and kdm refuses gets a 401 that says why, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from kdm_http.server.limits import Limits
from kdm_http.tls.rejection import Reason
from unit.http.client import Client
from unit.http.credentials import Credentials, Leaf, craft

CN = NameOID.COMMON_NAME

CASES: dict[str, tuple[Callable[[Credentials], Leaf | None], str, Reason]] = {
    "no certificate": (lambda _: None, "certificate_required", Reason.NO_CERTIFICATE),
    "another CA": (lambda c: c.stranger, "unknown_ca", Reason.UNKNOWN_CA),
    "self-signed": (lambda _: craft(None), "unknown_ca", Reason.SELF_SIGNED),
    "expired": (lambda c: c.expired, "certificate_expired", Reason.EXPIRED),
    "not yet valid": (lambda c: c.early, "bad_certificate", Reason.NOT_YET_VALID),
    "serverAuth only": (lambda c: c.server_only, "unsupported_certificate", Reason.WRONG_PURPOSE),
    "the CA itself": (lambda c: Leaf.of(c.authority.pair), "unsupported_certificate", Reason.WRONG_PURPOSE),
    "RSA-1024": (lambda c: craft(c.authority, rsa_bits=1024), "bad_certificate", Reason.WEAK),
}

REFUSED: dict[str, tuple[Callable[[Credentials], Leaf], Reason, str]] = {
    "no EKU": (
        lambda c: craft(c.authority, usages=None),
        Reason.NO_PURPOSE,
        "the certificate has no extended key usage: clientAuth is required",
    ),
    "CA as leaf": (
        lambda c: craft(c.authority, ca=True),
        Reason.CA_AS_CLIENT,
        "a CA's certificate is not a client's",
    ),
    "no common name": (
        lambda c: craft(c.authority, names=[(NameOID.ORGANIZATION_NAME, "devs")]),
        Reason.NO_IDENTITY,
        "the certificate has 0 common names, not one",
    ),
    "two common names": (
        lambda c: craft(c.authority, names=[(CN, "alice"), (CN, "root")]),
        Reason.NO_IDENTITY,
        "the certificate has 2 common names, not one",
    ),
    "a line break in the name": (
        lambda c: craft(c.authority, names=[(CN, "alice\nroot")]),
        Reason.NO_IDENTITY,
        "a name in the certificate's subject is empty or not printable",
    ),
    "malformed SPIFFE ID": (
        lambda c: craft(c.authority, sans=[x509.UniformResourceIdentifier("spiffe://Example.org/x")]),
        Reason.NO_IDENTITY,
        "malformed X.509-SVID: an X.509-SVID has a key usage",
    ),
    "a common name that looks like a SPIFFE ID": (
        lambda c: craft(c.authority, names=[(CN, "spiffe://example.org/x")]),
        Reason.NO_IDENTITY,
        "a common name cannot be a SPIFFE ID: that takes a URI SAN",
    ),
}
"""What OpenSSL accepts and kdm does not: how it is made, why it is refused, and what is said of it."""

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])


@VERSIONS
@pytest.mark.parametrize("case", CASES)
async def test_a_bad_client_gets_its_alert(
    case: str, version: ssl.TLSVersion, start: Any, connect: Any, credentials: Credentials
) -> None:
    """Each bad certificate is answered with the alert that says why, logged with what it showed, and never served."""
    make, alert, reason = CASES[case]
    if version is ssl.TLSVersion.TLSv1_2 and alert == "certificate_required":
        alert = "handshake_failure"  # RFC 5246 has no other
    leaf = make(credentials)
    server = await start(minimum_tls_version=ssl.TLSVersion.TLSv1_2)
    client = await connect(server, identity=leaf, version=version, weak=True)

    assert await client.alert() == alert

    rejection = await server.rejection()
    assert rejection.reason is reason
    assert not rejection.established
    assert rejection.address == "{}:{}".format(*client.writer.get_extra_info("sockname"))
    if leaf is not None:
        assert rejection.subject == leaf.certificate.subject.rfc4514_string().replace("\n", "\\n")
        assert rejection.fingerprint == leaf.certificate.fingerprint(hashes.SHA256()).hex()
    assert server.served == []


@VERSIONS
@pytest.mark.parametrize("case", REFUSED)
async def test_a_client_that_openssl_accepts_and_kdm_refuses_gets_a_401_that_says_why(
    case: str, version: ssl.TLSVersion, start: Any, connect: Any, credentials: Credentials
) -> None:
    """It is logged, counted and audited when the handshake is complete, answered once, closed, and never served."""
    make, reason, detail = REFUSED[case]
    leaf = make(credentials)
    server = await start(minimum_tls_version=ssl.TLSVersion.TLSv1_2)
    client = await connect(server, identity=leaf, version=version)
    await client.handshake()

    rejection = await server.rejection()
    assert (rejection.reason, rejection.detail, rejection.established) == (reason, detail, False)
    assert rejection.address == "{}:{}".format(*client.writer.get_extra_info("sockname"))
    assert rejection.subject == leaf.certificate.subject.rfc4514_string().replace("\n", "\\n")
    assert rejection.fingerprint == leaf.certificate.fingerprint(hashes.SHA256()).hex()
    assert rejection.user == ""

    answer = await client.request(headers="x-request-id: mine\r\n")
    assert answer.status == 401
    assert answer.json == {"error": f"the client certificate is refused ({reason.value}): {detail}"}
    assert answer.headers["connection"] == "close"
    assert answer.headers["www-authenticate"] == "ClientCertificate"
    assert answer.headers["x-request-id"] == "mine"
    assert await client.closed()
    assert server.served == []
    assert server.events.refusals == [401]
    assert server.events.rejections.empty()


class Everything:
    """An application that counts every way to reach it."""

    def __init__(self) -> None:
        self.reached: list[object] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        self.reached.append(scope)

    def answer_at_once(self, *request: object) -> None:
        self.reached.append(request)


REQUESTS: dict[str, bytes] = {
    "a plain read": b"GET /deployments HTTP/1.1\r\nhost: kdm\r\n\r\n",
    "HEAD": b"HEAD /deployments HTTP/1.1\r\nhost: kdm\r\n\r\n",
    "OPTIONS of the server": b"OPTIONS * HTTP/1.1\r\nhost: kdm\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nhost: kdm\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "prior knowledge of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a write": b"POST / HTTP/1.1\r\nhost: kdm\r\ncontent-length: 2\r\n\r\n{}",
    "half a write": b"POST / HTTP/1.1\r\nhost: kdm\r\ncontent-length: 200000\r\n\r\n{",
    "a write that waits": b"POST / HTTP/1.1\r\nhost: kdm\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    "two at once": b"GET / HTTP/1.1\r\nhost: kdm\r\n\r\n" * 2,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a tunnel": b"CONNECT kdm:443 HTTP/1.1\r\nhost: kdm\r\n\r\n",
    "too large a header": b"GET / HTTP/1.1\r\nhost: kdm\r\nx: " + b"x" * 20_000 + b"\r\n\r\n",
    "no HTTP": b"\0\1\2 what is this?\r\n\r\n",
}


@pytest.mark.parametrize("what", REQUESTS)
async def test_whatever_a_refused_client_sends_it_gets_one_401_and_reaches_no_application(
    what: str, start: Any, connect: Any, credentials: Credentials
) -> None:
    app = Everything()
    server = await start(app=app)
    client = await connect(server, identity=craft(credentials.authority, usages=None))
    await client.handshake()
    await client.send(REQUESTS[what])

    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"\r\nconnection: close" in head
    assert body == b"" if what == "HEAD" else json.loads(body).keys() == {"error"}
    assert app.reached == []
    assert server.events.refusals == [401]
    assert (await server.rejection()).reason is Reason.NO_PURPOSE
    assert server.events.rejections.empty()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost:"], ids=["nothing", "half a header"])
async def test_a_refused_client_that_does_not_ask_is_closed_in_the_ordinary_time(
    sent: bytes, start: Any, connect: Any, credentials: Credentials
) -> None:
    """Of what it showed there is a record all the same."""
    server = await start(limits=Limits(idle_s=0.2, header_s=0.3))
    client = await connect(server, identity=craft(credentials.authority, usages=None))
    await client.handshake()
    if sent:
        await client.send(sent)

    assert (await client.rest()).startswith(b"HTTP/1.1 401 ") == bool(sent)
    assert (await server.rejection()).reason is Reason.NO_PURPOSE
    assert server.events.rejections.empty()
    await client.close()
    await server.events.until_open(0)


async def test_a_refused_client_takes_nothing_from_the_user_whose_name_it_bears(
    start: Any, connect: Any, credentials: Credentials
) -> None:
    """Neither a connection nor a request of the quota."""
    server = await start(limits=Limits(connections_per_identity=1, requests_burst=1, requests_per_s=0.001))
    impostors = [
        await connect(server, identity=craft(credentials.authority, names=[(CN, "alice")], usages=None))
        for _ in range(3)
    ]
    for impostor in impostors[:2]:
        assert (await impostor.request()).status == 401
    await impostors[2].handshake()

    assert (await (await connect(server)).request()).status == 200


async def test_a_refused_client_stays_refused_through_a_reload_and_is_reported_once(
    start: Any, connect: Any, credentials: Credentials
) -> None:
    server = await start(crl=True)
    refused = craft(credentials.authority, usages=None)
    client = await connect(server, identity=refused)
    await client.handshake()
    assert (await server.rejection()).reason is Reason.NO_PURPOSE
    server.replace(server.crl, credentials.crl(refused))
    await server.reloaded()
    await server.reloaded()

    assert (await client.request()).status == 401
    assert server.events.rejections.empty()


async def test_a_stop_waits_for_no_refused_client(start: Any, connect: Any, credentials: Credentials) -> None:
    server = await start()
    client = await connect(server, identity=craft(credentials.authority, usages=None))
    await client.handshake()
    await server.rejection()
    await server.stop()

    assert await client.closed()


async def test_a_revoked_client_is_told_so(start: Any, connect: Any, credentials: Credentials) -> None:
    server = await start(crl=True)
    server.replace(server.crl, credentials.crl(credentials.bob))
    await server.reloaded()
    await server.reloaded()

    assert await (await connect(server, identity=credentials.bob)).alert() == "certificate_revoked"
    assert (await server.rejection()).reason is Reason.REVOKED
    assert (await (await connect(server)).request()).status == 200


async def test_a_ca_without_a_crl_has_no_clients(start: Any, connect: Any, credentials: Credentials) -> None:
    """Revocation that cannot be checked fails closed."""
    server = await start(crl=True)
    server.replace(server.files.client_ca, credentials.ca_pem() + credentials.other_authority.pair.certificate_pem())
    await server.reloaded()
    await server.reloaded()

    assert await (await connect(server, identity=credentials.stranger)).alert() == "unknown_ca"
    assert (await server.rejection()).reason is Reason.CRL_MISSING


async def test_tls_1_2_is_refused_by_default(start: Any, connect: Any) -> None:
    server = await start()
    client = await connect(server, version=ssl.TLSVersion.TLSv1_2)

    assert await client.alert() == "protocol_version"
    assert (await server.rejection()).reason is Reason.PROTOCOL_VERSION


async def test_no_ticket_is_given(start: Any, connect: Any) -> None:
    """There is nothing to resume a TLS 1.3 session with, so each connection proves its certificate anew."""
    server = await start()
    client = await connect(server)
    await client.request()

    assert client.tls.session is None or not client.tls.session.has_ticket


@VERSIONS
async def test_a_session_does_not_outlive_a_revocation(
    version: ssl.TLSVersion, start: Any, credentials: Credentials
) -> None:
    """A client that kept its session from before it was revoked is refused like any other."""
    server = await start(crl=True, minimum_tls_version=ssl.TLSVersion.TLSv1_2)
    context = credentials.client_context(identity=credentials.bob, version=version)
    first = await Client.open(server.api, context)
    assert (await first.request()).status == 200
    server.replace(server.crl, credentials.crl(credentials.bob))
    await server.reloaded()
    await server.reloaded()

    second = await Client.open(server.api, context, first.tls.session)
    assert await second.alert() == "certificate_revoked"
    await first.close()
    await second.close()


async def test_a_resumed_tls_1_2_session_is_judged_by_the_time_of_now(start: Any, credentials: Credentials) -> None:
    """OpenSSL resumes a TLS 1.2 session without looking at the certificate's dates; the server looks."""
    server = await start(minimum_tls_version=ssl.TLSVersion.TLSv1_2)
    ends = datetime.now(UTC) + timedelta(seconds=4)
    brief = Leaf.of(credentials.authority.issue("brief", days=1, now=ends - timedelta(days=1)))
    context = credentials.client_context(identity=brief, version=ssl.TLSVersion.TLSv1_2)
    first = await Client.open(server.api, context)
    assert (await first.request()).status == 200
    await asyncio.sleep((ends - datetime.now(UTC)).total_seconds())  # OpenSSL has no clock but the system's
    second = await Client.open(server.api, context, first.tls.session)
    await second.handshake()

    assert second.tls.session_reused
    answer = await second.request()
    assert answer.status == 401
    assert "the client certificate is refused (expired)" in answer.json["error"]
    assert await second.closed()
    assert (await server.rejection()).reason is Reason.EXPIRED
    assert server.served == ["/"]
    await first.close()
    await second.close()


async def test_a_client_that_ignores_its_alert_is_closed(start: Any, connect: Any, credentials: Credentials) -> None:
    """The server waits a moment for the client to read the alert, not for the client to leave."""
    server = await start()
    client = await connect(server, identity=credentials.stranger)
    await client.handshake()
    await client.send(b"GET / HTTP/1.1\r\nhost: kdm\r\n\r\n")

    assert (await server.rejection()).reason is Reason.UNKNOWN_CA
    assert await client.reader.read() != b""  # the alert, and then the end


async def test_plain_http_is_closed_and_told(start: Any) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection(*server.api)
    writer.write(b"GET / HTTP/1.1\r\nhost: kdm\r\n\r\n")
    async with asyncio.timeout(10):
        await reader.read()
    writer.transport.abort()

    assert (await server.rejection()).reason is Reason.PLAIN_HTTP


async def test_a_probe_that_leaves_is_told_as_such(start: Any) -> None:
    server = await start()
    _, writer = await asyncio.open_connection(*server.api)
    writer.close()
    await writer.wait_closed()

    assert (await server.rejection()).reason is Reason.DISCONNECTED


async def test_a_client_that_distrusts_the_server_is_told_as_such(start: Any, credentials: Credentials) -> None:
    server = await start()
    context = credentials.client_context(identity=credentials.alice)
    context = ssl.create_default_context()
    client = await Client.open(server.api, context)
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.handshake()
    client.writer.write(client.outgoing.read())

    rejection = await server.rejection()
    assert (rejection.reason, rejection.detail) == (Reason.CLIENT_ALERT, "unknown ca")
    await client.close()
