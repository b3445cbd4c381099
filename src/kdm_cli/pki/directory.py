"""A CA's directory: ``ca.pem``, ``ca-key.pem``, ``crl.pem``, ``issued/``; of a leaf ``NAME.pem``, ``NAME-key.pem``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kdm_cli.pki.authority import Authority
from kdm_cli.pki.errors import PkiError
from kdm_cli.pki.files import check_absent, locked, make_directory, read, read_certificate, read_crl, write_files
from kdm_cli.pki.pair import Pair
from kdm_cli.pki.register import LOCK, Register
from kdm_cli.pki.validity import CRL_DAYS

_is_file_name: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*", re.ASCII).fullmatch
_RESERVED: Final = {"ca", "crl"}


@frozen
class PkiDirectory:
    """A CA and the certificates it issued, kept as files. Private keys are readable by their owner alone.

    Every certificate is in the register, ``issued/``, before it is anywhere else: what is replaced or copied away can
    still be revoked. Whoever changes a directory that others may change too does so in ``exclusive``.
    """

    path: Path
    authority: Authority

    @classmethod
    def init(
        cls,
        path: Path,
        authority: Authority,
        leaves: Mapping[str, Pair],
        *,
        crl_days: int = CRL_DAYS,
        force: bool = False,
    ) -> Self:
        """Begin a directory with a CA, an empty revocation list and the first leaves.

        Args:
            path: The directory; made where missing.
            authority: The CA.
            leaves: The leaves by the name of their files.
            crl_days: How long the revocation list is good for, in days.
            force: Whether to replace what is there.

        Raises:
            PkiError: A name is no file name, something is there already (then nothing is written), or it cannot be
                written.
        """
        crl = authority.sign_crl(days=crl_days)
        files = {
            "ca.pem": authority.pair.certificate_pem(),
            "ca-key.pem": authority.pair.key_pem(),
            "crl.pem": crl.public_bytes(serialization.Encoding.PEM),
        }
        for name, pair in leaves.items():
            files |= _leaf_files(name, pair)
        self = cls(path, authority)
        with self.exclusive():
            if not force:
                check_absent(path, files)
            self.register.record({name: pair.certificate for name, pair in leaves.items()})
            write_files(path, files, force=True)
        return self

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a directory that ``init`` made.

        Raises:
            PkiError: It has no CA, or one that cannot be read.
        """
        if not (path / "ca.pem").exists():
            raise PkiError(f"there is no CA in {path}: begin with 'kdm certs init {path}'")
        try:
            read_certificate(path / "ca.pem")
            return cls(path, Authority(Pair.from_pem(read(path / "ca.pem"), read(path / "ca-key.pem"))))
        except PkiError as exc:
            raise PkiError(f"the CA in {path} cannot be used: {exc}") from exc

    @property
    def register(self) -> Register:
        """What the CA issued."""
        return Register(self.path / "issued", self.authority)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from changing the directory, and register what is found in it.

        Raises:
            PkiError: The directory cannot be written, or another process does not leave it.
        """
        make_directory(self.path)
        self.register.make()
        with locked(self.register.path / LOCK):
            self.register.adopt(
                file
                for file in sorted(self.path.glob("*.pem"))
                if file.stem not in _RESERVED and not file.stem.endswith("-key")
            )
            yield

    def add(self, name: str, pair: Pair, *, force: bool = False) -> list[Path]:
        """Register a certificate, then write its key, then itself.

        Args:
            name: The files' name, without ``.pem``.
            pair: What to write.
            force: Whether to replace what is there.

        Raises:
            PkiError: The name is no file name, the files are there already (then nothing is registered), or they
                cannot be written.
        """
        files = _leaf_files(name, pair)
        if not force:
            check_absent(self.path, files)
        self.register.record({name: pair.certificate})
        return write_files(self.path, files, force=True)

    def certificate(self, name: str) -> x509.Certificate:
        """Return a certificate of this directory (by name), or of any file (by path).

        Raises:
            PkiError: There is none.
        """
        own = self.path / f"{name}.pem"
        return read_certificate(own if own.exists() else Path(name))

    def crl(self) -> x509.CertificateRevocationList:
        """Return the revocation list.

        Raises:
            PkiError: It is missing or cannot be read: who is revoked is unknown.
        """
        return read_crl(self.path / "crl.pem")

    def revoke(
        self,
        certificates: Sequence[x509.Certificate] = (),
        *,
        serials: Iterable[int] = (),
        crl_days: int = CRL_DAYS,
        new_list: bool = False,
    ) -> Path:
        """Add certificates to the revocation list and sign it again; without any, only prolong it.

        Args:
            certificates: What to revoke.
            serials: The same, by serial number alone.
            crl_days: How long the list is good for, in days.
            new_list: Whether to begin another list where there is none, and so to let in who was revoked before.

        Raises:
            PkiError: One of them is another CA's or the CA itself, or the list cannot be read or written.
        """
        for certificate in certificates:
            self.authority.check_issued(certificate)
        serials = [*(each.serial_number for each in certificates), *serials]
        if self.authority.pair.certificate.serial_number in serials:
            raise PkiError("a CA cannot revoke itself: take its certificate out of what trusts it")
        crl = self.path / "crl.pem"
        if not crl.exists() and not new_list:
            raise PkiError(f"{crl} is missing, and with it who is revoked: restore it, or begin another with --force")
        previous = self.crl() if crl.exists() else None
        signed = self.authority.sign_crl(previous, serials=serials, days=crl_days)
        return write_files(self.path, {"crl.pem": signed.public_bytes(serialization.Encoding.PEM)}, force=True)[0]


def _leaf_files(name: str, pair: Pair) -> dict[str, bytes]:
    lower = name.lower()  # some file systems ignore case
    if not _is_file_name(name) or lower in _RESERVED or lower.endswith("-key"):
        raise PkiError(f"{name!r} cannot name files")
    return {f"{name}-key.pem": pair.key_pem(), f"{name}.pem": pair.certificate_pem()}
