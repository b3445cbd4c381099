"""How kdm listens: its addresses, its certificates, and the development ones."""

from __future__ import annotations

import contextlib
import shlex
import ssl
from pathlib import Path
from typing import Final

from kdm_cli.settings import BadSetting, Settings
from kdm_http.server.serve import ServerConfig, TlsFiles

DEV_CERTS: Final = "certs"


def dev_directory() -> Path:
    """Return where the development certificates are: in the checkout, or below the current directory.

    Raises:
        BadSetting: They are in neither: an installed kdm does not bring them.
    """
    places = [Path(__file__).parents[2] / DEV_CERTS]
    with contextlib.suppress(OSError):  # the current directory was removed
        places.append(Path.cwd() / DEV_CERTS)
    for place in places:
        if (place / "dev-ca.pem").is_file():
            return place
    looked = " and ".join(map(str, places))
    raise BadSetting(
        f"--dev needs the development certificates of kdm's repository, looked for in {looked}; "
        "make certificates of your own with `kdm certs init`"
    )


def from_here(path: Path) -> str:
    """Return a path as it can be pasted into a shell in the current directory."""
    with contextlib.suppress(ValueError, OSError):  # it is elsewhere, or the current directory was removed
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))


def server_config(settings: Settings) -> ServerConfig:
    """Return how kdm listens.

    Raises:
        BadSetting: It lacks certificates.
    """
    versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
    return ServerConfig(
        tls=tls_files(settings),
        host=settings.host,
        port=settings.port,
        ops_host=settings.ops_host,
        ops_port=settings.ops_port,
        limits=settings.limits,
        minimum_tls_version=versions[settings.tls_min_version],
        development=settings.dev,
        loop=settings.loop,
    )


def tls_files(settings: Settings) -> TlsFiles:
    """Return the files of mutual TLS: those that are set, and with ``--dev`` the development ones.

    Raises:
        BadSetting: One is missing.
    """
    certificate, key, client_ca = settings.tls_cert, settings.tls_key, settings.tls_client_ca
    if settings.dev:
        directory = dev_directory()
        certificate = certificate or directory / "dev-server.pem"
        key = key or directory / "dev-server-key.pem"
        client_ca = client_ca or directory / "dev-ca.pem"
    if certificate is None or key is None or client_ca is None:
        raise BadSetting(
            "mutual TLS needs --tls-cert, --tls-key and --tls-client-ca "
            "(or KDM_TLS_CERT, KDM_TLS_KEY and KDM_TLS_CLIENT_CA); "
            "`kdm certs init` makes them, --dev uses the development ones"
        )
    return TlsFiles(certificate, key, client_ca, settings.tls_client_crl)
