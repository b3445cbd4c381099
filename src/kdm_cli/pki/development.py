"""The development certificates that lie in ``certs/`` of the repository, private keys and all: for trying kdm out.

Anybody has their keys, so nothing but ``kdm serve --dev`` and the tests may accept them. They are recognised by what
is signed into them, not by the name of a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kdm_cli.pki.authority import Authority
from kdm_cli.pki.files import write_files
from kdm_http.tls.certificates import DEVELOPMENT

_DAYS: Final = 3653


def write_development_files(directory: Path, *, force: bool = False) -> list[Path]:
    """Make the development certificates anew. The CAs' keys are thrown away: nobody can add to them.

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
