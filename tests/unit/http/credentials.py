"""Certificates, good and bad in every way the server must tell apart. Keys are made once."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kdm_cli.pki.authority import Authority
from kdm_cli.pki.pair import Pair
from kdm_http.tls.context import TlsFiles

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
YEAR = timedelta(days=365)


@frozen
class Leaf:
    """A certificate with its key and the intermediate ones, as PEM."""

    certificate: x509.Certificate
    chain: bytes
    signing_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def key(self) -> bytes:
        return self.signing_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def of(cls, pair: Pair, *intermediates: x509.Certificate) -> Leaf:
        chain = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (pair.certificate, *intermediates))
        return cls(pair.certificate, chain, pair.key)


def craft(
    authority: Authority | None,
    *,
    names: Sequence[tuple[x509.ObjectIdentifier, str]] = ((NameOID.COMMON_NAME, "mallory"),),
    usages: Sequence[x509.ObjectIdentifier] | None = (CLIENT,),
    sans: Sequence[x509.GeneralName] = (),
    ca: bool = False,
    rsa_bits: int | None = None,
) -> Leaf:
    """Make a certificate that no decent CA would; without a CA, it signs itself."""
    key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=authority.pair.certificate.subject if authority else subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + YEAR,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    certificate = builder.sign(authority.pair.key if authority else key, hashes.SHA256())
    return Leaf(certificate, certificate.public_bytes(serialization.Encoding.PEM), key)


class Credentials:
    """The server's PKI, and clients inside and outside of it."""

    def __init__(self) -> None:
        self.authority = Authority.create("test CA", days=365)
        self.other_authority = Authority.create("other CA", days=365)
        self.server = self._server()
        self.alice = Leaf.of(self.authority.issue("alice", organizations=["devs", "ops"], days=365))
        self.bob = Leaf.of(self.authority.issue("bob", days=365))
        self.stranger = Leaf.of(self.other_authority.issue("alice", days=365))
        self.expired = Leaf.of(self.authority.issue("alice", days=1, now=datetime.now(UTC) - timedelta(days=2)))
        self.early = Leaf.of(self.authority.issue("alice", days=5, now=datetime.now(UTC) + timedelta(days=2)))
        self.server_only = Leaf.of(self.authority.issue("alice", sans=["localhost"], purposes=["server"], days=365))

    def _server(self) -> Pair:
        return self.authority.issue("kdm", sans=["localhost", "127.0.0.1", "kdm.test"], purposes=["server"], days=365)

    def new_server(self) -> Pair:
        """Issue the server another certificate."""
        return self._server()

    def crl(self, *revoked: Leaf, days: int = 30, authority: Authority | None = None) -> bytes:
        """Return a revocation list, as PEM."""
        crl = (authority or self.authority).sign_crl(revoked=[leaf.certificate for leaf in revoked], days=days)
        return crl.public_bytes(serialization.Encoding.PEM)

    def ca_pem(self) -> bytes:
        """Return the CA's certificate, as PEM."""
        return self.authority.pair.certificate_pem()

    def write(self, files: TlsFiles) -> None:
        """Write what a server begins with."""
        files.certificate.write_bytes(self.server.certificate_pem())
        files.key.write_bytes(self.server.key_pem())
        files.client_ca.write_bytes(self.ca_pem())
        if files.crl is not None:
            files.crl.write_bytes(self.crl())

    def client_context(
        self, *, identity: Leaf | None = None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, weak: bool = False
    ) -> ssl.SSLContext:
        """Make a client's context of one TLS version; a weak one offers what it should not."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.ca_pem().decode())
        context.minimum_version = context.maximum_version = version
        if weak:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        if identity is not None:
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory, "client.pem")
                path.write_bytes(identity.key + identity.chain)
                context.load_cert_chain(path)
        return context
