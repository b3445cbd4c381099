"""Strange certificates at a running server: no client passes the audit trail by, and no file ends the server."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from kdm_core import Outcome, Verb
from kdm_http.server.serve import TlsConfigurationError
from kdm_http.telemetry.edge_metrics import EdgeMetrics
from kdm_http.tls.pem import write_blocks
from kdm_http.tls.rejection import Reason
from kdm_http.tls.verifier import CLIENT_HELLO, certificate_message
from unit.core.fixtures import ListedAudit
from unit.http.client import Client
from unit.http.credentials import Credentials
from unit.http.running import DEADLINE_S, Running
from unit.http.tls import strange

KEY = ec.generate_private_key(ec.SECP256R1())


def issuer_of(credentials: Credentials, trusted: bool) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """Return the key and the name of a CA that the server trusts, or of one that it does not."""
    pair = (credentials.authority if trusted else credentials.other_authority).pair
    return pair.key, pair.certificate.subject.public_bytes()


def context(credentials: Credentials, der: bytes, tmp_path: Path) -> ssl.SSLContext | None:
    """Make the context of a client with a certificate; None where OpenSSL cannot be a client with it."""
    made = credentials.client_context()
    path = tmp_path / "client.pem"
    key = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key + write_blocks("CERTIFICATE", [der]))
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    try:
        made.load_cert_chain(path)
    except ssl.SSLError:
        return None
    return made


def failures() -> list[dict[str, Any]]:
    """Collect what would be a traceback in the log."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: found.append(what))
    return found


async def answer(client: Client) -> str:
    """Ask, and return the user the server takes this client for; "" where it is turned away, by an alert or a 401."""
    try:
        response = await client.request()
    except (ConnectionError, ssl.SSLError):
        return ""
    if response.status == 401:
        assert response.json["error"].isprintable()
        assert await client.closed()
        return ""
    return str(response.json["user"])


@pytest.mark.parametrize("trusted", [True, False], ids=["of the client CA", "of another CA"])
async def test_a_strange_client_is_served_or_told_and_counted(
    trusted: bool, start: Any, connect: Any, credentials: Credentials, tmp_path: Path
) -> None:
    """In TLS 1.3: who is not served leaves one rejection, with the certificate's fingerprint, and no traceback."""
    server: Running = await start()
    wrong = failures()
    signer, issuer = issuer_of(credentials, trusted)
    tried = 0
    for label, how in strange.clients().items():
        der = strange.certificate(signer, KEY, issuer=issuer, **how)
        made = context(credentials, der, tmp_path)
        if made is None:
            continue
        tried += 1
        client = await Client.open(server.api, made)
        user = await answer(client)
        await client.close()
        if user:
            assert trusted, label
            assert user.isprintable(), label
        else:
            rejection = await server.rejection()
            assert rejection.fingerprint == hashlib.sha256(der).hexdigest(), label
            assert rejection.detail.isprintable(), label
            assert rejection.subject.isprintable() or not rejection.subject, label
            assert rejection.reason not in {Reason.DISCONNECTED, Reason.TIMEOUT}, label
        assert server.events.rejections.empty(), label
        assert wrong == [], label
    assert tried > 40  # OpenSSL can be no client with some
    assert (await (await connect(server)).request()).status == 200


async def test_a_client_whose_name_cannot_be_read_is_in_the_audit_trail(
    start: Any, credentials: Credentials, tmp_path: Path
) -> None:
    """Counted as malformed, and audited with its address and fingerprint: it passes nothing by."""
    server: Running = await start()
    signer, issuer = issuer_of(credentials, trusted=True)
    der = strange.certificate(signer, KEY, issuer=issuer, **strange.SUBJECTS["ISO-8859-1 in an IA5String"])
    made = context(credentials, der, tmp_path)
    assert made is not None
    client = await Client.open(server.api, made)
    response = await client.request()
    assert response.status == 401
    assert "malformed" in response.json["error"]
    assert b"Ren" not in response.body
    rejection = await server.rejection()
    trail, registry = ListedAudit(), CollectorRegistry()
    EdgeMetrics(registry, trail).rejected(rejection)

    assert registry.get_sample_value("kdm_clients_rejected_total", {"reason": "malformed"}) == 1
    (event,) = trail.events
    assert (event.verb, event.outcome) == (Verb.CONNECT, Outcome.DENIED)
    assert event.actor.fingerprint == hashlib.sha256(der).hexdigest()
    assert event.actor.address == rejection.address != ""
    assert event.reason.startswith("malformed: the certificate's subject cannot be read")
    await client.close()


@pytest.mark.parametrize("trusted", [True, False], ids=["of the client CA", "of another CA"])
async def test_any_bytes_for_a_certificate_are_told_and_counted(
    trusted: bool, start: Any, credentials: Credentials
) -> None:
    """In TLS 1.2, byte by byte: also those that OpenSSL itself does not take for a certificate."""
    server: Running = await start(minimum_tls_version=ssl.TLSVersion.TLSv1_2)
    wrong = failures()
    signer, issuer = issuer_of(credentials, trusted)
    shown = {label: strange.certificate(signer, KEY, issuer=issuer, **how) for label, how in strange.clients().items()}
    shown |= {"no DER": b"kdm", "a cut one": shown["X.509 v1"][:-9], "an empty one": b"", "an empty value": b"\x30\0"}
    for label, der in shown.items():
        reader, writer = await asyncio.open_connection(*server.api)
        writer.write(CLIENT_HELLO + certificate_message([der]))
        writer.write_eof()
        async with asyncio.timeout(DEADLINE_S):
            await reader.read()
        writer.close()
        rejection = await server.rejection()
        known = hashlib.sha256(der).hexdigest()
        # OpenSSL keeps what it refuses, but not what it cannot read, nor what it accepted before the client left.
        unknown = rejection.reason in {Reason.MALFORMED, Reason.NO_CERTIFICATE, Reason.DISCONNECTED}
        assert rejection.fingerprint == ("" if unknown else known), label
        assert rejection.detail.isprintable(), label
        assert server.events.rejections.empty(), label
        assert wrong == [], label
    assert server.served == []


STRANGE_FILES = ("ISO-8859-1 in a PrintableString", "X.509 v2", "a T61String", "a negative serial number", "the year 0")


@pytest.mark.parametrize("label", STRANGE_FILES)
async def test_a_strange_ca_in_the_watched_file_is_refused_and_the_old_goes_on(
    label: str, start: Any, connect: Any, credentials: Credentials
) -> None:
    """One line in the log, one refused reload; the server neither ends nor forgets the CA it has."""
    server: Running = await start()
    await server.reloaded()
    key = credentials.authority.pair.key
    how = {**strange.SUBJECTS, **strange.SHAPES}[label]
    der = strange.certificate(
        key, key, **{"issuer": strange.common_name(b"x"), "extensions": (strange.BASIC_CA,), **how}
    )
    bad = credentials.ca_pem() + write_blocks("CERTIFICATE", [der])
    server.replace(server.files.client_ca, bad)

    if label == "a negative serial number":  # both read it, so it is taken
        await server.reloaded()
    else:
        said = await server.reload_refused()
        assert str(server.files.client_ca) in said
        assert "line " in said or "could connect" in said
    assert (await (await connect(server)).request()).status == 200


@pytest.mark.parametrize("which", ["certificate", "client_ca"])
async def test_a_strange_file_at_the_start_is_one_line(
    which: str, start: Any, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = credentials.authority.pair.key
    der = strange.certificate(key, key, issuer=strange.common_name(b"x"), **strange.SHAPES["X.509 v2"])
    write = credentials.write
    monkeypatch.setattr(
        credentials,
        "write",
        lambda files: (write(files), getattr(files, which).write_bytes(write_blocks("CERTIFICATE", [der]))),
    )
    with pytest.raises(TlsConfigurationError, match="line 1: the certificate cannot be read: 1 is not a valid X509"):
        await start()


async def test_what_nobody_foresaw_in_a_file_does_not_end_the_server(
    start: Any, connect: Any, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect in reading new files is a refused reload."""
    server: Running = await start()
    await server.reloaded()

    def defect(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("kdm_http.tls.reload.load", defect)
    server.replace(server.files.client_ca, credentials.ca_pem() + credentials.other_authority.pair.certificate_pem())

    assert "a defect" in await server.reload_refused()
    assert (await (await connect(server)).request()).status == 200


def test_the_good_ones_are_good(credentials: Credentials) -> None:
    """The byte-wise maker makes certificates that are what they should be, if nothing is strange."""
    signer, issuer = issuer_of(credentials, trusted=True)
    made = x509.load_der_x509_certificate(strange.certificate(signer, KEY, issuer=issuer))
    made.verify_directly_issued_by(credentials.authority.pair.certificate)
    assert made.subject.rfc4514_string() == "CN=mallory"
