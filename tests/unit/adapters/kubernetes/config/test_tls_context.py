"""TLS is kubectl's, on every version of Python, and nothing of it needs a disk."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kdm_adapters.kubernetes.config.tls_context import (
    Tls,
    UnusableCertificate,
    authorities,
    client_certificate,
    tls_context,
)

Key = ec.EllipticCurvePrivateKey


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def issue(
    subject: str, issuer: str, key: Key, signer: Key, *extensions: x509.ExtensionType, critical: bool = False
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: Key, *, password: bytes = b"") -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """Shake hands in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert not sides


def serving(tmp_path: Path, certificate: x509.Certificate, key: Key) -> ssl.SSLContext:
    path = tmp_path / "server.pem"
    path.write_bytes(pem(certificate) + key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


CA = x509.BasicConstraints(ca=True, path_length=None)
HOST = x509.SubjectAlternativeName([x509.DNSName("cluster.test")])


def test_an_authority_without_a_key_usage_is_trusted(tmp_path: Path, key: Key) -> None:
    """Python 3.13's strict mode would refuse it."""
    ca = issue("ca", "ca", key, key, CA, critical=True)
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    server = serving(tmp_path, issue("x", "ca", leaf_key, key, HOST), leaf_key)
    handshake(tls_context(Tls(authorities(pem(ca)))), server, "cluster.test")


def test_a_servers_own_certificate_is_an_anchor(tmp_path: Path, key: Key) -> None:
    certificate = issue("x", "x", key, key, HOST)
    handshake(tls_context(Tls(authorities(pem(certificate)))), serving(tmp_path, certificate, key), "cluster.test")


def test_an_intermediate_authority_is_an_anchor(tmp_path: Path, key: Key) -> None:
    middle_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    middle = issue("middle", "root", middle_key, key, CA, critical=True)
    server = serving(tmp_path, issue("x", "middle", leaf_key, middle_key, HOST), leaf_key)
    handshake(tls_context(Tls(authorities(pem(middle)))), server, "cluster.test")


def test_a_name_in_the_subject_alone_does_not_count(tmp_path: Path, key: Key) -> None:
    certificate = issue("cluster.test", "cluster.test", key, key)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls_context(Tls(authorities(pem(certificate)))), serving(tmp_path, certificate, key), "cluster.test")


def test_another_name_is_refused_and_without_verification_taken(tmp_path: Path, key: Key) -> None:
    certificate = issue("x", "x", key, key, HOST)
    server = serving(tmp_path, certificate, key)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls_context(Tls(authorities(pem(certificate)))), server, "other.test")
    handshake(tls_context(Tls(verify=False)), server, "other.test")


def test_tls_1_2_is_the_least() -> None:
    context = tls_context(Tls())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "decorate",
    [
        lambda bundle: bundle.replace(b"\n", b"\r\n"),
        lambda bundle: "# Größe\n".encode() + bundle + b"\n# the end",
        lambda bundle: b"\xff\xfe\n" + bundle,
        lambda bundle: b"-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n" + bundle,
        lambda bundle: b"-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n" + bundle,
        lambda bundle: b"-----BEGIN CERTIFICATE-----\nbm90\n" + bundle,
        lambda bundle: bundle.replace(b"-----BEGIN CERTIFICATE-----", b"-----BEGIN X509 CRL-----", 0) + bundle,
    ],
    ids=[
        "CRLF",
        "comments",
        "bytes",
        "a block that is no certificate",
        "a block that is not base64",
        "a block that is cut off",
        "twice",
    ],
)
def test_a_bundle_is_read_as_in_go(decorate: Callable[[bytes], bytes]) -> None:
    bundle = trustme.CA().cert_pem.bytes()
    assert set(authorities(decorate(bundle))) == set(authorities(bundle))
    tls_context(Tls(authorities(decorate(bundle))))


@pytest.mark.parametrize("bundle", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n"])
def test_a_bundle_without_a_certificate_is_refused(bundle: bytes) -> None:
    with pytest.raises(UnusableCertificate, match="holds no certificate"):
        authorities(bundle)


def test_a_client_certificate_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: Key) -> None:
    """Nor a directory for temporary ones: the root file system may be read-only."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    chain, private = client_certificate(pem(issue("me", "me", key, key)), b"junk\n" + key_pem(key))
    tls_context(Tls(certificate=chain, key=private))
    assert not list(tmp_path.iterdir())


def test_a_client_certificate_that_cannot_be_used_is_refused_without_being_quoted(key: Key) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    certificate = pem(issue("me", "me", key, key))
    for chain, private, message in (
        (b"", key_pem(key), "holds no certificate"),
        (certificate, b"", "holds no private key"),
        (certificate, key_pem(other), "does not belong"),
        (certificate, key_pem(key, password=b"x"), "encrypted"),
        (certificate, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "unusable"),
    ):
        with pytest.raises(UnusableCertificate, match=message) as caught:
            client_certificate(chain, private)
        assert "BEGIN" not in str(caught.value)
