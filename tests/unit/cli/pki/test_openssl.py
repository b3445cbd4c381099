"""OpenSSL's own commands agree: with each certificate and list that kdm makes, and about who is revoked."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kdm_cli.pki.authority import Authority
from kdm_cli.pki.directory import PkiDirectory
from kdm_cli.pki.errors import PkiError
from kdm_cli.pki.names import parse_san
from unit.cli.pki.conftest import Certs

SANS = [
    "localhost", "kdm.example.com", "*.example.com", "_srv.example.com", "a_b.c", "xn--bcher-kva.example", "A.Example",
    "127.0.0.1", "::1", "2001:db8::1", "spiffe://example.org/web", "https://kdm.example.com/x?y=z", "x" * 63 + ".org",
    "1.2.3.4.example",
]  # fmt: skip
SUBJECTS = ["alice", "Alice B", "Jürgen Müller", "山田", "a/b=c,d+e", "x" * 64, "0", "alice@example.com", '"quoted"']


def openssl(*arguments: object) -> tuple[int, str]:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def text(path: Path, kind: str = "x509") -> str:
    code, said = openssl(kind, "-in", path, "-noout", "-text")
    assert code == 0, said
    return said


def verify(pki: Path, *paths: Path, purpose: str, crl: bool = True) -> tuple[int, str]:
    lists = ["-crl_check", "-CRLfile", pki / "crl.pem"] if crl else []
    return openssl("verify", "-x509_strict", "-purpose", purpose, *lists, "-CAfile", pki / "ca.pem", *paths)


def test_every_certificate_passes_openssl_in_strict_mode_for_its_purpose_and_no_other(certs: Certs, pki: Path) -> None:
    certs("issue", pki, "--cn", "both", "--client", "--server", "--san", "both.example")
    certs("renew", pki, "admin", "server")
    for name, purposes in {"server": {"sslserver"}, "admin": {"sslclient"}, "both": {"sslserver", "sslclient"}}.items():
        for purpose in ("sslserver", "sslclient", "smimesign", "crlsign", "timestampsign"):
            code, said = verify(pki, pki / f"{name}.pem", purpose=purpose)
            assert (code == 0) == (purpose in purposes), (name, purpose, said)
    for purpose in ("sslserver", "sslclient", "crlsign"):
        assert verify(pki, pki / "ca.pem", purpose=purpose, crl=False)[0] == (0 if purpose == "crlsign" else 2)


def test_every_name_that_kdm_takes_openssl_takes(pki: Path, tmp_path: Path) -> None:
    """Each subject alternative name and subject, alone and together, in strict mode; the name is the one asked for."""
    directory = PkiDirectory.open(pki)
    files: list[Path] = []
    for i, (subject, san) in enumerate(itertools.product(SUBJECTS, SANS)):
        file = tmp_path / f"{i}.pem"
        pair = directory.authority.issue(
            subject, organizations=["O" * 64, "Größe"], sans=[san], purposes=["client", "server"], days=5
        )
        file.write_bytes(pair.certificate_pem())
        files.append(file)
    code, said = verify(pki, *files, purpose="sslserver")
    assert code == 0, said
    assert said.count(": OK") == len(files) == len(SUBJECTS) * len(SANS)
    for file, san in zip(files, SANS, strict=False):
        option = {x509.DNSName: "-checkhost", x509.IPAddress: "-checkip"}.get(type(parse_san(san)))
        if option:
            host = san.replace("*", "any")
            assert "does match" in openssl("x509", "-in", file, "-noout", option, host)[1].replace("NOT", "not"), san


@pytest.mark.parametrize(
    "san",
    ["x" * 64 + ".org", "a..b", "-a.b", "a-.b", "a.b-", "1.2.3", "1.2.3.256", "300.1.1.1", "fe80::1%eth0", "a b",
     ".a", "a.", "*", "a.*.b", "", "bücher.example"],
)  # fmt: skip
def test_names_that_no_client_would_match_are_refused(san: str) -> None:
    with pytest.raises(PkiError, match="expected a DNS name, an IP address or a URI"):
        parse_san(san)


@pytest.mark.parametrize("name", ["kdm CA", "KDM ca", "kdm  CA"])
def test_a_leaf_does_not_bear_the_cas_name(certs: Certs, pki: Path, name: str) -> None:
    """OpenSSL compares names without case and spaces, and would take it for self-issued."""
    ran = certs("issue", pki, "--cn", name, "--name", "x")
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert "it is the CA's own" in ran.error


def test_openssl_reads_the_extensions_that_were_meant(pki: Path) -> None:
    ca, server, admin = (text(pki / f"{name}.pem") for name in ("ca", "server", "admin"))
    assert re.search(r"Basic Constraints: critical\s+CA:TRUE, pathlen:0", ca)
    assert re.search(r"Key Usage: critical\s+Certificate Sign, CRL Sign\n", ca)
    for leaf, usage in ((server, "TLS Web Server Authentication"), (admin, "TLS Web Client Authentication")):
        assert re.search(r"Basic Constraints: critical\s+CA:FALSE", leaf)
        assert re.search(r"Key Usage: critical\s+Digital Signature\n", leaf)
        assert re.search(rf"Extended Key Usage:\s+{usage}\n", leaf)
        own = re.search(r"X509v3 Subject Key Identifier:\s+(\S+)", ca)
        assert own
        assert re.search(rf"Authority Key Identifier:\s+(keyid:)?{own[1]}", leaf)
    assert re.search(r"Subject Alternative Name:\s+DNS:localhost, IP Address:127.0.0.1, ", server)


def test_openssl_reads_the_list_as_kdm_does(certs: Certs, pki: Path) -> None:
    """Signed by the CA, version 2, with number and authority key; and `kdm certs inspect` shows the same."""
    certs("revoke", pki, "admin")
    code, said = openssl("crl", "-in", pki / "crl.pem", "-noout", "-CAfile", pki / "ca.pem", "-crlnumber")
    assert (code, "verify OK" in said) == (0, True), said
    number = re.search(r"crlNumber=0?x?([0-9A-F]+)", said)
    shown = certs("inspect", pki / "crl.pem").out
    assert number
    assert f"number       {int(number[1], 16)}\n" in shown
    listed = text(pki / "crl.pem", "crl")
    assert "Version 2 (0x1)" in listed
    assert "X509v3 Authority Key Identifier" in listed
    assert "critical" not in listed
    revoked = re.search(r"revoked      (\w+) at", shown)
    assert revoked
    assert int(revoked[1], 16) == int(re.findall(r"Serial Number: (\w+)", listed)[0], 16)


def test_a_list_is_valid_where_the_clock_is_behind(pki: Path) -> None:
    """By as much as certificates allow for, at the moment that it is made."""
    behind = (datetime.now(UTC) - timedelta(minutes=4)).timestamp()
    PkiDirectory.open(pki).revoke()
    code, said = openssl(
        "verify", "-x509_strict", "-crl_check", "-CRLfile", pki / "crl.pem", "-CAfile", pki / "ca.pem",
        "-attime", int(behind), pki / "admin.pem",
    )  # fmt: skip
    assert code == 0, said


@pytest.mark.parametrize("seed", range(8))
def test_openssl_agrees_about_who_is_revoked(certs: Certs, pki: Path, tmp_path: Path, seed: int) -> None:
    """After many random commands: each certificate that ever was, those replaced and copied away included."""
    choose = random.Random(seed)  # noqa: S311
    ever: dict[int, Path] = {}
    for name in ("alice", "bob", "carol"):
        certs("issue", pki, "--cn", name)
    for _ in range(40):
        name = choose.choice(["alice", "bob", "carol"])
        copy = choose.choice([*ever.values(), pki / "admin.pem"])
        commands: list[tuple[object, ...]] = [
            ("issue", pki, "--cn", name, "--force"),
            ("issue", pki, "--cn", name, "--force", "--name", f"{name}-2"),
            ("renew", pki, name),
            ("renew", pki, name, "--revoke-old"),
            ("revoke", pki, name),
            ("revoke", pki, copy),
            ("revoke", pki, "--serial", copy.stem if copy.stem != "admin" else "1"),
            ("revoke", pki),
        ]
        certs(*choose.choice(commands))
        _copy_away(pki, tmp_path, ever)
    listed = {int(each, 16) for each in re.findall(r"Serial Number: (\w+)", text(pki / "crl.pem", "crl"))}
    assert len(ever) > 4
    for serial, file in ever.items():
        code, said = verify(pki, file, purpose="sslclient")
        assert (code != 0) == ("certificate revoked" in said) == (serial in listed), said
        verdict = certs("verify", pki, file)
        assert (verdict.code != 0) == verdict.out.strip().endswith("refused: revoked") == (serial in listed)

    certs("revoke", pki, *sorted({each.partition(".")[0] for each in _registered(pki)}))
    assert [file for file in ever.values() if verify(pki, file, purpose="sslclient")[0] == 0] == []


def _registered(pki: Path) -> list[str]:
    return [path.name for path in (pki / "issued").glob("*.pem")]


def _copy_away(pki: Path, target: Path, ever: dict[int, Path]) -> None:
    """Keep whatever certificates of clients lie in the directory now, under their serial numbers."""
    for path in pki.glob("*.pem"):
        if path.stem in {"ca", "crl", "server"} or path.stem.endswith("-key"):
            continue
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        copy = target / f"{certificate.serial_number:x}.pem"
        copy.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        ever[certificate.serial_number] = copy


def test_an_authority_by_itself_makes_what_openssl_takes(tmp_path: Path) -> None:
    """With an organization, dates beyond 2050 (GeneralizedTime) and an end capped by the CA's."""
    authority = Authority.create("CA", "Größe", days=36500)
    (tmp_path / "ca.pem").write_bytes(authority.pair.certificate_pem())
    (tmp_path / "leaf.pem").write_bytes(authority.issue("alice", days=36500).certificate_pem())
    crl = authority.sign_crl(days=36500)
    (tmp_path / "crl.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    code, said = verify(tmp_path, tmp_path / "leaf.pem", purpose="sslclient")
    assert code == 0, said
