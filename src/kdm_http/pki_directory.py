"""A CA's directory: ``ca.pem``, ``ca-key.pem``, ``crl.pem``, and for each leaf ``NAME.pem`` and ``NAME-key.pem``."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kdm_http.pki import Authority, Pair, PkiError

CA_DAYS: Final = 3650
LEAF_DAYS: Final = 365
CRL_DAYS: Final = 30
"""How long new CAs, leaves and revocation lists are valid where nobody says, in days."""

_is_file_name: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*", re.ASCII).fullmatch
_RESERVED: Final = {"ca", "crl"}


@frozen
class PkiDirectory:
    """A CA and the certificates it issued, kept as files. Private keys are readable by their owner alone."""

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
        write_files(path, files, force=force)
        return cls(path, authority)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a directory that ``init`` made.

        Raises:
            PkiError: It has no CA, or one that cannot be read.
        """
        if not (path / "ca.pem").exists():
            raise PkiError(f"there is no CA in {path}: begin with 'kdm certs init {path}'")
        try:
            return cls(path, Authority(Pair.from_pem(read(path / "ca.pem"), read(path / "ca-key.pem"))))
        except PkiError as exc:
            raise PkiError(f"the CA in {path} cannot be used: {exc}") from exc

    def add(self, name: str, pair: Pair, *, force: bool = False) -> list[Path]:
        """Write a certificate and its key, the key first.

        Args:
            name: The files' name, without ``.pem``.
            pair: What to write.
            force: Whether to replace what is there.

        Raises:
            PkiError: The name is no file name, the files are there already, or they cannot be written.
        """
        return write_files(self.path, _leaf_files(name, pair), force=force)

    def certificate(self, name: str) -> x509.Certificate:
        """Return a certificate of this directory (by name), or of any file (by path).

        Raises:
            PkiError: There is none.
        """
        own = self.path / f"{name}.pem"
        return read_certificate(own if own.exists() else Path(name))

    def revoke(self, certificates: Sequence[x509.Certificate], *, crl_days: int = CRL_DAYS) -> Path:
        """Add certificates to the revocation list and sign it anew; without any, only prolong it.

        Raises:
            PkiError: One of them is another CA's, or the list cannot be read or written.
        """
        for certificate in certificates:
            self.authority.check_issued(certificate)
        previous = read_crl(self.path / "crl.pem") if (self.path / "crl.pem").exists() else None
        crl = self.authority.sign_crl(previous, certificates, days=crl_days)
        return write_files(self.path, {"crl.pem": crl.public_bytes(serialization.Encoding.PEM)}, force=True)[0]


def _leaf_files(name: str, pair: Pair) -> dict[str, bytes]:
    if not _is_file_name(name) or name in _RESERVED or name.endswith("-key"):
        raise PkiError(f"{name!r} cannot name files")
    return {f"{name}-key.pem": pair.key_pem(), f"{name}.pem": pair.certificate_pem()}


def write_files(directory: Path, files: Mapping[str, bytes], *, force: bool) -> list[Path]:
    """Write files, each as a whole or not at all; those named ``*-key.pem`` for their owner's eyes alone.

    Args:
        directory: Where to; made where missing.
        files: Their contents by name.
        force: Whether to replace what is there.

    Returns:
        Their paths.

    Raises:
        PkiError: One is there already (then nothing is written), or cannot be written.
    """
    paths = [directory / name for name in files]
    there = [str(path) for path in paths if path.exists()]
    if there and not force:
        raise PkiError(f"there already: {', '.join(there)}; replace with --force")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, files.values(), strict=True):
            _write(path, content, mode=0o600 if path.name.endswith("-key.pem") else 0o644)
    except OSError as exc:
        raise PkiError(f"cannot write {exc.filename or directory}: {exc.strerror}") from exc
    return paths


def _write(path: Path, content: bytes, *, mode: int) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def read(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        PkiError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise PkiError(f"cannot read {path}: {exc.strerror}") from exc


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file.

    Raises:
        PkiError: It cannot be read, or has none.
    """
    try:
        return x509.load_pem_x509_certificate(read(path))
    except ValueError as exc:
        raise PkiError(f"{path} holds no PEM certificate") from exc


def read_crl(path: Path) -> x509.CertificateRevocationList:
    """Return the first revocation list of a PEM file.

    Raises:
        PkiError: It cannot be read, or has none.
    """
    try:
        return x509.load_pem_x509_crl(read(path))
    except ValueError as exc:
        raise PkiError(f"{path} holds no PEM revocation list") from exc
