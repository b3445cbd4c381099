"""``kdm certs inspect`` and ``verify``: what certificates say, and what kdm would make of them."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kdm_cli.output.text import say
from kdm_cli.pki.development import is_development_certificate
from kdm_cli.pki.errors import PkiError
from kdm_cli.pki.files import read, read_certificate, read_crl
from kdm_cli.pki.files import read_certificates as certificates_of
from kdm_cli.pki.issued import list_warning, warn_of_list
from kdm_cli.pki.numbers import format_serial
from kdm_http.tls.certificate_files import TlsConfigurationError, read_certificates, read_lists
from kdm_http.tls.certificates import printable
from kdm_http.tls.peer import Peer, PeerRefused
from kdm_http.tls.trust import Trust
from kdm_http.tls.verifier import MaterialMismatch


def inspect(arguments: argparse.Namespace) -> int:
    """Show certificates and revocation lists."""
    for path in arguments.files:
        content = read(path)
        if b"BEGIN X509 CRL" in content:
            _print(path, *_describe_crl(read_crl(path)))
            continue
        if b"BEGIN CERTIFICATE" not in content:
            raise PkiError(f"{path} holds neither PEM certificates nor a revocation list")
        for certificate in certificates_of(path):
            _print(path, *_describe(certificate))
    return 0


def _describe(certificate: x509.Certificate) -> list[str]:
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    lines = [
        f"subject      {printable(certificate.subject.rfc4514_string())}",
        f"issuer       {printable(certificate.issuer.rfc4514_string())}",
        f"serial       {format_serial(certificate.serial_number)}",
        f"valid        {certificate.not_valid_before_utc:%FT%TZ} to {certificate.not_valid_after_utc:%FT%TZ}, "
        + (f"{left.days} days left" if left.days >= 0 else "EXPIRED"),
        f"fingerprint  {certificate.fingerprint(hashes.SHA256()).hex()}",
    ]
    try:
        sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        lines.append("names        " + printable(", ".join(str(getattr(san, "value", san)) for san in sans)))
    except x509.ExtensionNotFound:
        pass
    try:
        identity = Peer.from_der(certificate.public_bytes(serialization.Encoding.DER)).identity
        lines.append(f"client       user {identity.user}, groups {', '.join(sorted(identity.groups)) or 'none'}")
    except PeerRefused as exc:
        lines.append(f"client       no: {exc}")
    if is_development_certificate(certificate):
        lines.append("DEVELOPMENT  its key is public: for 'kdm serve --dev' alone")
    return [f"  {line}" for line in lines]


def _describe_crl(crl: x509.CertificateRevocationList) -> list[str]:
    numbers = [each.value.crl_number for each in crl.extensions if isinstance(each.value, x509.CRLNumber)]
    end = f"{crl.next_update_utc:%FT%TZ}" if crl.next_update_utc else "no end"
    warning = list_warning(crl, datetime.now(UTC))
    lines = [
        f"issuer       {printable(crl.issuer.rfc4514_string())}",
        f"number       {numbers[0] if numbers else 'none'}",
        f"valid        {crl.last_update_utc:%FT%TZ} to {end}" + (f", {warning}" if warning else ""),
    ]
    lines += [f"revoked      {format_serial(each.serial_number)} at {each.revocation_date_utc:%FT%TZ}" for each in crl]
    return [f"  {line}" for line in lines]


def verify(arguments: argparse.Namespace) -> int:
    """Say of each client certificate whether kdm would accept it, and as whom. Returns 1 if one is refused."""
    crl = arguments.dir / "crl.pem"
    trust = _trust(arguments.dir / "ca.pem", crl if crl.exists() else None)
    refused = False
    for path in arguments.files:
        try:
            peer = Peer.from_der(read_certificate(path).public_bytes(serialization.Encoding.DER))
            reason = trust.refusal([peer.certificate], datetime.now(UTC))
            verdict = f"refused: {reason.value}" if reason else f"accepted as {peer.identity.user}"
        except PeerRefused as exc:
            verdict = f"refused: {exc}"
        refused = refused or verdict.startswith("refused")
        _print(f"{path}: {verdict}")
    if crl.exists():
        warn_of_list("verify", arguments.dir)
    return int(refused)


def _trust(authority: Path, crl: Path | None) -> Trust:
    try:
        return Trust(read_certificates(authority), read_lists(crl) if crl else ())
    except (TlsConfigurationError, MaterialMismatch) as exc:
        raise PkiError(str(exc)) from exc


def _print(*lines: object) -> None:
    for line in lines:
        say(str(line))
