"""The development certificates in ``certs/`` of the repository, private keys and all: for trying kdm out.

Anybody has their keys, so nothing but ``kdm serve --dev`` and the tests may accept them. They are recognised by what
is signed into them, not by the name of a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from kdm_cli.pki.authority import Authority
from kdm_cli.pki.files import write_files
from kdm_http.tls.certificates import DEVELOPMENT

_DAYS: Final = 3653


def is_development_certificate(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is a development CA's, or signed by one: anybody may have its key."""
    return any(
        attribute.value == DEVELOPMENT
        for name in (certificate.subject, certificate.issuer)
        for attribute in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )


def write_development_files(directory: Path, *, force: bool = False) -> list[Path]:
    """Make new development certificates. The CAs' keys are thrown away, so nobody can issue more.

    Args:
        directory: Where to.
        force: Whether to replace what is there.

    Returns:
        What was written.

    Raises:
        PkiError: Something is there already, or cannot be written.
    """
    authority = Authority.create("kdm development CA", DEVELOPMENT, days=_DAYS)
    stranger = Authority.create("kdm other development CA", DEVELOPMENT, days=_DAYS)
    pairs = {
        "dev-server": authority.issue(
            "localhost", sans=["localhost", "127.0.0.1", "::1"], purposes=["server"], days=_DAYS
        ),
        "dev-admin": authority.issue("dev-admin", organizations=["kdm:admins"], days=_DAYS),
        "dev-viewer": authority.issue("dev-viewer", organizations=["kdm:viewers"], days=_DAYS),
        "dev-stranger": stranger.issue("dev-stranger", organizations=["kdm:admins"], days=_DAYS),
    }
    files = {"dev-ca.pem": authority.pair.certificate_pem(), "dev-other-ca.pem": stranger.pair.certificate_pem()}
    for name, pair in pairs.items():
        files[f"{name}.pem"] = pair.certificate_pem()
        files[f"{name}-key.pem"] = pair.key_pem()
    return write_files(directory, files, force=force)
