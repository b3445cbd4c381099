"""Each client that must not get in: the exact alert it is sent, and what the operator is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from kdm_http.tls.handshake import HandshakeContext
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
    "no EKU": (lambda c: craft(c.authority, usages=None), "bad_certificate", Reason.NO_PURPOSE),
    "RSA-1024": (lambda c: craft(c.authority, rsa_bits=1024), "bad_certificate", Reason.WEAK),
    "CA as leaf": (lambda c: craft(c.authority, ca=True), "bad_certificate", Reason.CA_AS_CLIENT),
    "the CA itself": (lambda c: Leaf.of(c.authority.pair), "bad_certificate", Reason.CA_AS_CLIENT),
    "no common name": (
        lambda c: craft(c.authority, names=[(NameOID.ORGANIZATION_NAME, "devs")]),
        "bad_certificate",
        Reason.NO_IDENTITY,
    ),
    "two common names": (
        lambda c: craft(c.authority, names=[(CN, "alice"), (CN, "root")]),
        "bad_certificate",
        Reason.NO_IDENTITY,
    ),
    "a line break in the name": (
        lambda c: craft(c.authority, names=[(CN, "alice\nroot")]),
        "bad_certificate",
        Reason.NO_IDENTITY,
    ),
    "malformed SPIFFE ID": (
        lambda c: craft(c.authority, sans=[x509.UniformResourceIdentifier("spiffe://Example.org/x")]),
        "bad_certificate",
        Reason.NO_IDENTITY,
    ),
}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
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


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
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
    assert await second.closed()
    assert (await server.rejection()).reason is Reason.EXPIRED
    assert server.served == ["/"]
    await first.close()
    await second.close()


async def test_a_refusal_by_code_does_not_rest_on_the_alert(
    start: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, credentials: Credentials
) -> None:
    """Without the standard library's message hook there is no alert, and still not a byte is served."""
    monkeypatch.setattr(HandshakeContext, "watch_certificates", lambda *_: None)
    server = await start()
    client = await connect(server, identity=craft(credentials.authority, usages=None))
    await client.handshake()
    await client.send(b"GET / HTTP/1.1\r\nhost: kdm\r\n\r\n")

    assert await client.closed()
    assert (await server.rejection()).reason is Reason.NO_PURPOSE
    assert server.served == []


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
