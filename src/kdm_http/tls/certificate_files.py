"""The certificate files: what is in them, and whether all of it can be used. A file that is not clean is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import field, frozen

from kdm_core import regular_file
from kdm_http.tls.certificates import SERVER_AUTH, BadCertificate, Certificate, RevocationList
from kdm_http.tls.pem import Block, PemError, read_blocks

MAX_BYTES: Final = 64 * 1024 * 1024
"""Longest file, in bytes: the lists of large public CAs have some ten MiB."""


class TlsConfigurationError(Exception):
    """The certificate files cannot be used; the message says which and why, on one line."""


@frozen
class TlsFiles:
    """Where the server's TLS comes from: PEM files, which may be replaced at any time.

    Attributes:
        certificate: The server's certificate, then its intermediate ones. Private keys in the file are ignored.
        key: Its private key, not encrypted. Certificates in the file are ignored.
        client_ca: The certificates trusted to sign clients. An intermediate one is trusted without its root.
        crl: The CRL of each client CA; None when revocation is not checked.
    """

    certificate: Path
    key: Path
    client_ca: Path
    crl: Path | None = None

    def read(self) -> Snapshot:
        """Read them all, once: what is checked, what OpenSSL gets and what is compared later are the same bytes.

        It may wait for a disk or a network file system, so it is called on a thread while kdm serves.

        Raises:
            TlsConfigurationError: One of them cannot be read.
        """
        crl = None if self.crl is None else _read(self.crl)
        return Snapshot(_read(self.certificate), _read(self.key), _read(self.client_ca), crl)


@frozen
class Snapshot:
    """What the files held when they were read."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    client_ca: bytes = field(repr=False)
    crl: bytes | None = field(repr=False)
    digest: str = field(init=False)
    """It differs when any of them differs."""

    @digest.default
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for content in (self.certificate, self.key, self.client_ca, self.crl):
            if content is not None:
                digest.update(len(content).to_bytes(8) + content)
        return digest.hexdigest()


@frozen
class Contents:
    """What the files hold.

    Attributes:
        server: The server's certificate, then its intermediate ones.
        authorities: The client CAs.
        lists: Their revocation lists.
    """

    server: tuple[Certificate, ...]
    authorities: tuple[Certificate, ...]
    lists: tuple[RevocationList, ...]


def understand(files: TlsFiles, held: Snapshot, now: datetime) -> Contents:
    """Parse what the files held, and check each certificate and list by itself.

    Args:
        files: The files.
        held: What was read of them.
        now: The time at which dates are checked, timezone-aware.

    Raises:
        TlsConfigurationError: A file holds something that does not belong there, or that cannot be used now.
    """
    server = _certificates(files.certificate, held.certificate, beside="PRIVATE KEY")
    _check_key(files.key, held.key)
    authorities = _certificates(files.client_ca, held.client_ca)
    lists = _lists(files.crl, held.crl) if files.crl is not None and held.crl is not None else ()
    for path, certificates in ((files.certificate, server), (files.client_ca, authorities)):
        for certificate in certificates:
            _check_dates(f"the certificate of '{certificate.subject}' in {path}", certificate, now)
    _check_server(server, files.certificate)
    for each in lists:
        _check_list(each, files, authorities, now)
    return Contents(server, authorities, lists)


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """Return the certificates in a PEM file.

    Raises:
        TlsConfigurationError: It cannot be read, holds none, or holds something that readers disagree on.
    """
    return _certificates(path, _read(path))


def _certificates(path: Path, content: bytes, *, beside: str = "") -> tuple[Certificate, ...]:
    """``beside`` is the end of the labels of other blocks that may be there."""
    found = []
    for block in _blocks(path, content):
        if block.label == "CERTIFICATE":
            try:
                found.append(Certificate.read(block.decode()))
            except (BadCertificate, PemError) as exc:
                raise _flawed(path, block, exc) from exc
        elif not (beside and block.label.endswith((beside, "PARAMETERS"))):
            raise _foreign(path, block, "CERTIFICATE")
    if not found:
        raise TlsConfigurationError(f"{path} holds no PEM certificates")
    return tuple(found)


def read_lists(path: Path) -> tuple[RevocationList, ...]:
    """Return the revocation lists in a PEM file.

    Raises:
        TlsConfigurationError: It cannot be read, holds none, or holds something else too.
    """
    return _lists(path, _read(path))


def _lists(path: Path, content: bytes) -> tuple[RevocationList, ...]:
    found = []
    for block in _blocks(path, content):
        if block.label != "X509 CRL":
            raise _foreign(path, block, "X509 CRL")
        try:
            found.append(RevocationList.read(block.decode()))
        except (BadCertificate, PemError) as exc:
            raise _flawed(path, block, exc) from exc
    if not found:
        raise TlsConfigurationError(f"{path} holds no PEM CRL")
    return tuple(found)


def _check_key(path: Path, content: bytes) -> None:
    keys = [block for block in _blocks(path, content) if block.label.endswith("PRIVATE KEY")]
    if len(keys) > 1:
        raise TlsConfigurationError(f"{path} holds {len(keys)} private keys, in lines {_lines(keys)}: leave one")


def _check_server(chain: Sequence[Certificate], path: Path) -> None:
    own = chain[0]
    if own.purposes is not None and SERVER_AUTH not in own.purposes:
        raise TlsConfigurationError(
            f"the certificate {path} is not for servers: its extended key usage lacks serverAuth"
        )
    for number, issuer in enumerate(chain[1:], 1):
        if not any(each.names_as_issuer(issuer) for each in chain[:number]):
            raise TlsConfigurationError(
                f"{path} is out of order: '{issuer.subject}' issued none of the certificates before it"
            )


def _check_list(each: RevocationList, files: TlsFiles, authorities: Sequence[Certificate], now: datetime) -> None:
    what = f"the CRL of '{each.issuer}' in {files.crl}"
    if each.flaw:
        raise TlsConfigurationError(f"{what} cannot be used: {each.flaw}")
    if not any(map(each.signed_by, authorities)):
        raise TlsConfigurationError(f"{what} is not signed by a CA in {files.client_ca}")
    if now < each.begin:
        raise TlsConfigurationError(f"{what} is not valid before {each.begin:%FT%TZ}")
    if each.end is not None and now >= each.end:
        raise TlsConfigurationError(f"{what} is stale since {each.end:%FT%TZ}")


def _check_dates(what: str, certificate: Certificate, now: datetime) -> None:
    # Like OpenSSL, which takes the last moment as past (X509_cmp_time).
    if now >= certificate.not_after:
        raise TlsConfigurationError(f"{what} expired at {certificate.not_after:%FT%TZ}")
    if now < certificate.not_before:
        raise TlsConfigurationError(f"{what} is not valid before {certificate.not_before:%FT%TZ}")


def _blocks(path: Path, content: bytes) -> list[Block]:
    try:
        return read_blocks(content)
    except PemError as exc:
        raise TlsConfigurationError(f"{path}: {exc}") from exc


def _read(path: Path) -> bytes:
    try:
        return regular_file.read(path, MAX_BYTES).data
    except OSError as exc:
        raise TlsConfigurationError(f"cannot read {path}: {exc.strerror}") from exc


def _flawed(path: Path, block: Block, error: Exception) -> TlsConfigurationError:
    where = "" if isinstance(error, PemError) else f"line {block.line}: "  # which says it itself
    return TlsConfigurationError(f"{path}: {where}{error}")


def _foreign(path: Path, block: Block, wanted: str) -> TlsConfigurationError:
    return TlsConfigurationError(f"{path}: line {block.line}: a {block.label} does not belong here, only a {wanted}")


def _lines(blocks: Sequence[Block]) -> str:
    return " and ".join(str(block.line) for block in blocks)
