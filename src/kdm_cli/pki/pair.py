"""A certificate and its private key."""

from __future__ import annotations

from typing import Self

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kdm_cli.pki.errors import PkiError


@frozen
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """Return the private key as PEM, unencrypted PKCS #8."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> Self:
        """Read both.

        Raises:
            PkiError: One of them cannot be read, or they do not belong together.
        """
        try:
            read = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, password=None)
            public = read.public_key()
        except Exception as exc:  # cryptography raises many kinds
            raise PkiError(f"cannot read the certificate or its key: {exc}") from exc
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise PkiError("its key is of another kind than ECDSA")
        if private.public_key() != public:
            raise PkiError("the key does not fit the certificate")
        return cls(read, private)
