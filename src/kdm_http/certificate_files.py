"""The certificate files: what is in them, and whether each thing in them can be used. What is not clean is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from attrs import frozen

from kdm_http.certificates import SERVER_AUTH, BadCertificate, Certificate, RevocationList
from kdm_http.pem import Block, PemError, read_blocks


class TlsConfigurationError(Exception):
    """The certificate files cannot be used; the message says which and why, on one line."""


@frozen
class TlsFiles:
    """Where the server's TLS comes from: PEM files, which may be replaced at any time.

    Attributes:
        certificate: The server's certificate, then its intermediate ones. Private keys beside them are passed over.
        key: Its private key, not encrypted. Certificates beside it are passed over.
        client_ca: The certificates trusted to sign clients. An intermediate one is trusted without its root.
        crl: The CRL of each client CA; None when revocation is not checked.
    """

    certificate: Path
    key: Path
    client_ca: Path
    crl: Path | None = None

    def digest(self) -> str:
        """Return a digest of all contents, which differs when any of them changed.

        Raises:
            TlsConfigurationError: One of them cannot be read.
        """
        digest = hashlib.sha256()
        for path in (self.certificate, self.key, self.client_ca, self.crl):
            if path is not None:
                content = _read(path)
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


def read_files(files: TlsFiles, now: datetime) -> Contents:
    """Read the files, and check each certificate and list by itself.

    Args:
        files: Which.
        now: The time to judge dates at, timezone-aware.

    Raises:
        TlsConfigurationError: A file cannot be read or holds what does not belong there, or something in it cannot be
            used now.
    """
    server = read_certificates(files.certificate, beside="PRIVATE KEY")
    _check_key(files.key)
    authorities = read_certificates(files.client_ca)
    lists = read_lists(files.crl) if files.crl is not None else ()
    for path, certificates in ((files.certificate, server), (files.client_ca, authorities)):
        for certificate in certificates:
            _check_dates(f"the certificate of '{certificate.subject}' in {path}", certificate, now)
    _check_server(server, files.certificate)
    for each in lists:
        _check_list(each, files, authorities, now)
    return Contents(server, authorities, lists)


def read_certificates(path: Path, *, beside: str = "") -> tuple[Certificate, ...]:
    """Return the certificates in a PEM file.

    Args:
        path: The file.
        beside: The end of the labels of other blocks that may be there.

    Raises:
        TlsConfigurationError: It holds none, or anything that not every reader would take for the same.
    """
    found = []
    for block in _blocks(path):
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
        TlsConfigurationError: It holds none, or anything else.
    """
    found = []
    for block in _blocks(path):
        if block.label != "X509 CRL":
            raise _foreign(path, block, "X509 CRL")
        try:
            found.append(RevocationList.read(block.decode()))
        except (BadCertificate, PemError) as exc:
            raise _flawed(path, block, exc) from exc
    if not found:
        raise TlsConfigurationError(f"{path} holds no PEM CRL")
    return tuple(found)


def _check_key(path: Path) -> None:
    keys = [block for block in _blocks(path) if block.label.endswith("PRIVATE KEY")]
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
    # OpenSSL too takes the last moment for past (X509_cmp_time).
    if now >= certificate.not_after:
        raise TlsConfigurationError(f"{what} expired at {certificate.not_after:%FT%TZ}")
    if now < certificate.not_before:
        raise TlsConfigurationError(f"{what} is not valid before {certificate.not_before:%FT%TZ}")


def _blocks(path: Path) -> list[Block]:
    try:
        return read_blocks(_read(path))
    except PemError as exc:
        raise TlsConfigurationError(f"{path}: {exc}") from exc


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise TlsConfigurationError(f"cannot read {path}: {exc.strerror}") from exc


def _flawed(path: Path, block: Block, error: Exception) -> TlsConfigurationError:
    where = "" if isinstance(error, PemError) else f"line {block.line}: "  # which says it itself
    return TlsConfigurationError(f"{path}: {where}{error}")


def _foreign(path: Path, block: Block, wanted: str) -> TlsConfigurationError:
    return TlsConfigurationError(f"{path}: line {block.line}: a {block.label} does not belong here, only a {wanted}")


def _lines(blocks: Sequence[Block]) -> str:
    return " and ".join(str(block.line) for block in blocks)
