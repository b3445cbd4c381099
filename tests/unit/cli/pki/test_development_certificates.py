"""The committed development certificates are what their README says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kdm_cli.pki.development import is_development_certificate
from kdm_cli.pki.pair import Pair
from kdm_http.tls import context as tls
from kdm_http.tls.certificates import Certificate
from kdm_http.tls.peer import Peer
from kdm_http.tls.rejection import Reason
from kdm_http.tls.trust import Trust
from unit.cli.pki.conftest import Certs

CERTS = Path(__file__).parents[4] / "certs"
LEAVES = ("dev-server", "dev-admin", "dev-viewer", "dev-stranger")


def load(name: str, directory: Path = CERTS) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())


def read(name: str) -> Certificate:
    return Certificate.read(load(name).public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize("name", [*LEAVES, "dev-ca", "dev-other-ca"])
def test_each_is_recognised_and_valid_for_years(name: str) -> None:
    certificate = load(name)
    assert is_development_certificate(certificate)
    assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=365)


@pytest.mark.parametrize("name", LEAVES)
def test_each_leaf_has_its_key(name: str) -> None:
    Pair.from_pem((CERTS / f"{name}.pem").read_bytes(), (CERTS / f"{name}-key.pem").read_bytes())


def test_no_key_of_a_ca_is_there() -> None:
    """Nobody can add to the development PKI, not even with the repository."""
    keys = sorted(path.name for path in CERTS.glob("*-key.pem"))
    assert keys == sorted(f"{name}-key.pem" for name in LEAVES)


@pytest.mark.parametrize(
    ("name", "user", "groups"),
    [("dev-admin", "dev-admin", frozenset({"kdm:admins"})), ("dev-viewer", "dev-viewer", frozenset({"kdm:viewers"}))],
)
def test_the_clients_are_who_they_say(name: str, user: str, groups: frozenset[str]) -> None:
    peer = Peer.from_der(load(name).public_bytes(serialization.Encoding.DER))
    assert (peer.identity.user, peer.identity.groups) == (user, groups)
    assert Trust([read("dev-ca")]).refusal([read(name)], datetime.now(UTC)) is None


def test_the_stranger_is_of_the_other_ca() -> None:
    stranger = [read("dev-stranger")]
    assert Trust([read("dev-ca")]).refusal(stranger, datetime.now(UTC)) is Reason.UNKNOWN_CA
    assert Trust([read("dev-other-ca")]).refusal(stranger, datetime.now(UTC)) is None


def test_the_server_takes_them_only_when_told_to() -> None:
    files = tls.TlsFiles(CERTS / "dev-server.pem", CERTS / "dev-server-key.pem", CERTS / "dev-ca.pem")
    with pytest.raises(tls.TlsConfigurationError, match="development PKI"):
        tls.load(files, now=datetime.now(UTC))
    tls.load(files, now=datetime.now(UTC), development=True)


def test_a_private_pki_is_not_taken_for_a_development_one(pki: Path) -> None:
    assert not any(is_development_certificate(load(name, pki)) for name in ("ca", "server", "admin"))


def test_they_can_be_made_anew(certs: Certs, tmp_path: Path) -> None:
    """``kdm certs dev`` writes the same files, with the same names in them."""
    assert certs("dev", tmp_path).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in CERTS.glob("dev-*.pem"))
    for name in LEAVES:
        assert load(name, tmp_path).subject == load(name).subject
        assert load(name, tmp_path).issuer == load(name).issuer
