"""The server's TLS, as scanners and clients of other tastes find it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from integration.controlplane import binaries
from integration.kdm_process import KdmProcess, client_context

REQUIREMENTS = Path(__file__).parents[3] / "requirements" / "sslyze.txt"
LIFESPAN_DAYS = "90"  # a server's, at most, in Mozilla's modern profile
BEYOND = "secp521r1"  # a group OpenSSL offers and Mozilla does not


@pytest.fixture(scope="session")
def sslyze() -> list[str]:
    return [str(binaries.environment("sslyze", REQUIREMENTS)), "-m", "sslyze"]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edge") / "pki"
    certs = [sys.executable, "-m", "kdm_cli", "certs", "init", str(path), "--days", LIFESPAN_DAYS]
    subprocess.run(certs, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def kdm(pki: Path) -> Iterator[KdmProcess]:
    """A kdm as `kdm certs init` tells to start it, with no word about OpenSSL in its environment."""
    files = {"TLS_CERT": "server.pem", "TLS_KEY": "server-key.pem", "TLS_CLIENT_CA": "ca.pem"}
    files |= {"TLS_CLIENT_CRL": "crl.pem"}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OPENSSL_CONF", raising=False)
        with KdmProcess({name: str(pki / file) for name, file in files.items()}, pki.parent / "log") as process:
            yield process


def test_sslyze_finds_mozillas_modern_profile(sslyze: list[str], kdm: KdmProcess, pki: Path) -> None:
    """The verdict covers versions, suites, groups, the certificate and the vulnerabilities of old."""
    client = [f"--cert={pki / 'admin.pem'}", f"--key={pki / 'admin-key.pem'}", f"--certinfo_ca_file={pki / 'ca.pem'}"]
    command = [*sslyze, "--mozilla_config=modern", *client, urlsplit(kdm.url).netloc]
    scan = subprocess.run(command, check=False, capture_output=True, text=True)

    assert scan.returncode == 0, scan.stdout + scan.stderr
    assert "OK - Compliant." in scan.stdout  # it also ends with 0 when it reached nobody


def test_a_group_beyond_mozillas_is_refused(kdm: KdmProcess, pki: Path) -> None:
    with pytest.raises(httpx.ConnectError, match=r"(?i)handshake.failure"):
        _get_health(kdm, pki / "ca.pem")


def test_an_operators_own_openssl_configuration_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSSL_CONF", os.devnull)
    with KdmProcess({}, tmp_path / "log") as kdm:
        assert _get_health(kdm).status_code == 200


def _get_health(kdm: KdmProcess, ca: Path | None = None) -> httpx.Response:
    """Ask with a client that knows one group only; without another CA it shows a development certificate."""
    context = client_context("dev-admin" if ca is None else None)
    if ca is not None:
        context.load_verify_locations(ca)
    context.set_ecdh_curve(BEYOND)
    with httpx.Client(base_url=kdm.url, verify=context, trust_env=False) as client:
        return client.get("/health")
