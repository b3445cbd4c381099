"""What a CA has issued: each certificate as ``issued/NAME.SERIAL.pem``, as OpenSSL's ``new_certs_dir`` keeps them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from kdm_cli.pki.authority import Authority
from kdm_cli.pki.errors import PkiError
from kdm_cli.pki.files import make_directory, read_certificate, read_certificates, write_files
from kdm_cli.pki.numbers import format_serial
from kdm_http.tls import spiffe
from kdm_http.tls.certificates import Certificate

LOCK: Final = ".lock"
"""The file in the register that whoever changes the PKI holds locked."""


@frozen
class Issued:
    """A certificate that was issued.

    Attributes:
        name: Of its files, when it was issued.
        certificate: The certificate.
    """

    name: str
    certificate: x509.Certificate

    @property
    def serial(self) -> int:
        """Its serial number."""
        return self.certificate.serial_number

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of its DER bytes, in lower-case hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def names(self) -> frozenset[str]:
        """What one may call it: the name of its files, its common name, its SPIFFE ID."""
        commons = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = {self.name, *(str(each.value) for each in commons)}
        with contextlib.suppress(ValueError):
            read = Certificate.read(self.certificate.public_bytes(serialization.Encoding.DER))
            names.add(spiffe.find_id(read) or self.name)
        return frozenset(names)

    def has_ended(self, now: datetime) -> bool:
        """Whether it is past its last moment: it is refused without being revoked."""
        return now > self.certificate.not_valid_after_utc

    def __str__(self) -> str:
        """Describe it in a line: name, serial number, last moment."""
        end = f"{self.certificate.not_valid_after_utc:%FT%TZ}"
        return f"{self.name}, serial {format_serial(self.serial)}, valid until {end}"


@frozen
class Register:
    """The certificates that a CA issued. Nothing is ever taken out.

    Attributes:
        path: The directory. It is its owner's alone, for the names in it.
        authority: The CA. What another one signed is ignored: it was here before.
    """

    path: Path
    authority: Authority

    def record(self, certificates: Mapping[str, x509.Certificate]) -> None:
        """Record certificates by the name of their files. To be called before they are written anywhere else.

        Raises:
            PkiError: One cannot be written.
        """
        self.make()
        for name, certificate in certificates.items():
            content = certificate.public_bytes(serialization.Encoding.PEM)
            write_files(self.path, {_file(name, certificate): content}, force=True, mode=0o600)

    def make(self) -> None:
        """Make the directory where missing.

        Raises:
            PkiError: It cannot be made.
        """
        make_directory(self.path, mode=0o700)

    def adopt(self, files: Iterable[Path]) -> None:
        """Record the CA's leaves in files that are not recorded yet: those of before there was a register.

        Raises:
            PkiError: One cannot be recorded.
        """
        for file in files:
            for certificate in _certificates(file):
                if self._is_leaf(certificate) and not (self.path / _file(file.stem, certificate)).exists():
                    self.record({file.stem: certificate})

    def certificates(self) -> list[Issued]:
        """Return all of them by name, the oldest first, those that have ended too.

        Raises:
            PkiError: One cannot be read.
        """
        found = [
            Issued(file.stem.rpartition(".")[0], read_certificate(file)) for file in sorted(self.path.glob("*.pem"))
        ]
        leaves = [each for each in found if self._is_leaf(each.certificate)]
        return sorted(leaves, key=lambda each: (each.name, each.certificate.not_valid_before_utc))

    def _is_leaf(self, certificate: x509.Certificate) -> bool:
        try:
            self.authority.check_issued(certificate)
        except PkiError:
            return False
        return certificate != self.authority.pair.certificate


def _file(name: str, certificate: x509.Certificate) -> str:
    return f"{name}.{format_serial(certificate.serial_number)}.pem"


def _certificates(file: Path) -> list[x509.Certificate]:
    """Return what a file holds; nothing where it is none of certificates."""
    try:
        return read_certificates(file)
    except PkiError:  # it cannot be of this CA: what that issues can be read
        return []
