"""What each ``kdm certs`` command leaves behind, says and refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kdm_cli.pki.pair import Pair
from kdm_http.tls import context as tls
from kdm_http.tls.pem import write_blocks
from unit.cli.command.terminal import heed_ctrl_c
from unit.cli.pki.conftest import Certs
from unit.http.tls import strange


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(certificate: x509.Certificate) -> list[str]:
    sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(san.value) for san in sans]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_init_makes_what_a_server_needs(pki: Path) -> None:
    """The files load as the server's TLS, for localhost and the given names."""
    files = tls.TlsFiles(pki / "server.pem", pki / "server-key.pem", pki / "ca.pem", pki / "crl.pem")
    tls.load(files, now=datetime.now(UTC))

    assert names(load(pki / "server.pem")) == ["localhost", "127.0.0.1", "::1", "kdm.example.com"]
    assert {path.name for path in pki.iterdir()} == {
        "ca.pem",
        "ca-key.pem",
        "crl.pem",
        "server.pem",
        "server-key.pem",
        "admin.pem",
        "admin-key.pem",
        "issued",
    }


def test_keys_are_their_owners_alone(pki: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in pki.iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith("-key.pem")} == {0o600}


def test_the_ca_can_sign_leaves_alone(pki: Path) -> None:
    """RFC 5280: cA with pathLenConstraint 0, keyCertSign and cRLSign, all critical; ECDSA P-256."""
    ca = load(pki / "ca.pem")
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)

    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
    assert not usage.value.digital_signature
    key = ca.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


@pytest.mark.parametrize(
    ("name", "usage"),
    [("server", ExtendedKeyUsageOID.SERVER_AUTH), ("admin", ExtendedKeyUsageOID.CLIENT_AUTH)],
)
def test_a_leaf_is_for_one_purpose_and_no_ca(name: str, usage: x509.ObjectIdentifier, pki: Path) -> None:
    ca, leaf = load(pki / "ca.pem"), load(pki / f"{name}.pem")
    extensions = leaf.extensions

    leaf.verify_directly_issued_by(ca)
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    own = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert own == ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def test_openssl_accepts_the_chain_in_strict_mode(pki: Path) -> None:
    """What Python 3.13 and other strict verifiers demand of certificates is there."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki / "server.pem", pki / "server-key.pem")
    client = ssl.create_default_context(cafile=pki / "ca.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname="kdm.example.com")
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for end in (one, other):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    one.do_handshake()
    other.do_handshake()


def test_nothing_is_replaced_unasked(certs: Certs, pki: Path) -> None:
    """A second init or issue changes no file and says which are in the way; --force replaces them."""
    before = contents(pki)
    for arguments in (("init", pki), ("issue", pki, "--cn", "admin")):
        ran = certs(*arguments)
        assert ran.code == 1
        assert "admin.pem" in ran.error
        assert "--force" in ran.error
        assert ran.error.count("\n") == 1
    assert contents(pki) == before

    assert certs("issue", pki, "--cn", "admin", "--force").code == 0
    assert contents(pki)["admin.pem"] != before["admin.pem"]


def test_issue_puts_names_and_groups_where_the_server_reads_them(certs: Certs, pki: Path) -> None:
    san = "spiffe://example.org/web"
    ran = certs("issue", pki, "--cn", "web", "--org", "a", "--org", "b", "--san", san, "--days", "7", "--name", "w1")
    leaf = load(pki / "w1.pem")

    assert ran.out.split() == [str(pki / "w1-key.pem"), str(pki / "w1.pem")]
    assert names(leaf) == [san]
    assert leaf.not_valid_after_utc - datetime.now(UTC) < timedelta(days=7)
    assert f"user {san}, groups a, b" in certs("inspect", pki / "w1.pem").out


def test_a_leaf_does_not_outlive_its_ca(certs: Certs, pki: Path) -> None:
    certs("issue", pki, "--cn", "eternal", "--days", "36500")
    assert load(pki / "eternal.pem").not_valid_after_utc == load(pki / "ca.pem").not_valid_after_utc


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cn", ""], "bad name ''"),
        (["--cn", "x" * 65], "1 to 64 printable characters"),
        (["--cn", "a\nb"], "printable"),
        (["--cn", "../evil"], "cannot name files"),
        (["--cn", "ca"], "cannot name files"),
        (["--cn", "x", "--san", "not a name"], "expected a DNS name, an IP address or a URI"),
        (["--cn", "x", "--san", "spiffe://Example.org/x"], "trust domain"),
        (["--cn", "x", "--san", "spiffe://a/x", "--san", "spiffe://a/y"], "exactly one URI SAN"),
        (["--cn", "x", "--server"], "needs a subject alternative name"),
    ],
)
def test_issue_refuses_what_the_server_would(arguments: list[str], message: str, certs: Certs, pki: Path) -> None:
    """One line of why, and no file."""
    before = contents(pki)
    ran = certs("issue", pki, *arguments)

    assert ran.code == 1
    assert message in ran.error
    assert ran.error.startswith("kdm certs issue: ")
    assert ran.error.count("\n") == 1
    assert contents(pki) == before


@pytest.mark.parametrize("days", ["0", "-1", "36501", "1.5", "many"])
def test_days_have_bounds(days: str, certs: Certs, pki: Path) -> None:
    ran = certs("issue", pki, "--cn", "x", "--days", days)
    assert ran.code == 2
    assert "--days" in ran.error


def test_renew_keeps_all_but_key_serial_and_dates(certs: Certs, pki: Path) -> None:
    old = load(pki / "server.pem")
    assert certs("renew", pki, "server", "--days", "100").code == 0
    new = load(pki / "server.pem")

    assert (new.subject, names(new)) == (old.subject, names(old))
    assert new.serial_number != old.serial_number
    assert new.public_key() != old.public_key()
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pki / "server.pem", pki / "server-key.pem")


def test_a_revoked_client_is_refused_and_stays_so(certs: Certs, pki: Path) -> None:
    """Revocations add up, the list's number rises, and its entries keep their dates."""
    certs("issue", pki, "--cn", "bob")
    assert certs("verify", pki, pki / "admin.pem", pki / "bob.pem").code == 0
    certs("revoke", pki, "bob")
    first = x509.load_pem_x509_crl((pki / "crl.pem").read_bytes())
    certs("revoke", pki, "admin", "bob")
    certs("revoke", pki)
    last = x509.load_pem_x509_crl((pki / "crl.pem").read_bytes())
    ran = certs("verify", pki, pki / "admin.pem", pki / "bob.pem")

    assert ran.code == 1
    assert ran.out.count("refused: revoked") == 2
    assert {entry.serial_number for entry in last} == {
        load(pki / f"{name}.pem").serial_number for name in ("admin", "bob")
    }
    kept = last.get_revoked_certificate_by_serial_number(load(pki / "bob.pem").serial_number)
    assert kept is not None
    assert kept.revocation_date_utc == next(iter(first)).revocation_date_utc
    numbers = [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in (first, last)]
    assert numbers[1] == numbers[0] + 2
    assert "revoked" in certs("inspect", pki / "crl.pem").out


def test_another_cas_certificate_is_neither_renewed_nor_revoked(certs: Certs, pki: Path, tmp_path: Path) -> None:
    certs("init", tmp_path / "other", "--ca-cn", "other CA")
    stranger = tmp_path / "other" / "admin.pem"
    before = contents(pki)

    assert "was not issued by 'CN=kdm CA'" in certs("revoke", pki, stranger).error
    assert certs("verify", pki, stranger).out.strip().endswith("refused: unknown-ca")
    assert contents(pki) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["issue", "DIR/none", "--cn", "x"], "there is no CA in"),
        (["renew", "DIR", "nobody"], "cannot read nobody: No such file"),
        (["revoke", "DIR", "nobody"], "there is no certificate of the name 'nobody'"),
        (["inspect", "DIR/ca-key.pem"], "holds neither PEM certificates nor a revocation list"),
        (["inspect", "DIR/none.pem"], "cannot read"),
        (["verify", "DIR", "DIR/crl.pem"], "holds no PEM certificate"),
    ],
)
def test_what_is_not_there_is_one_line(arguments: list[str], message: str, certs: Certs, pki: Path) -> None:
    ran = certs(*(argument.replace("DIR", str(pki)) for argument in arguments))
    assert ran.code == 1
    assert message in ran.error
    assert ran.error.count("\n") == 1


@pytest.mark.parametrize("what", strange.clients())
def test_a_strange_certificate_is_one_line_for_every_command_and_in_nobodys_way(
    what: str, certs: Certs, pki: Path
) -> None:
    """Whatever OpenSSL takes: the file is read or refused in a line, and may lie among the CA's own."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = strange.certificate(key, key, issuer=strange.common_name(b"elsewhere"), **strange.clients()[what])
    file = pki / "stranger.pem"
    file.write_bytes(write_blocks("CERTIFICATE", [der]))
    for command in (["inspect"], ["verify", pki], ["revoke", pki], ["renew", pki]):
        ran = certs(*command, file)
        assert ran.error.count("\n") <= 1
        assert ran.code == 1 or command == ["inspect"]
    assert certs("issue", pki, "--cn", "alice").code == 0
    assert certs("revoke", pki, "alice").code == 0


@pytest.mark.parametrize("what", [label for label, made in strange.clients().items() if "subject" in made])
def test_a_strange_certificate_in_the_place_of_the_ca_s_is_one_line(what: str, certs: Certs, pki: Path) -> None:
    pair = Pair.from_pem((pki / "ca.pem").read_bytes(), (pki / "ca-key.pem").read_bytes())
    der = strange.certificate(
        pair.key, pair.key, issuer=strange.common_name(b"elsewhere"), **strange.clients()[what], extensions=()
    )
    (pki / "ca.pem").write_bytes(write_blocks("CERTIFICATE", [der]))
    ran = certs("issue", pki, "--cn", "alice")
    assert ran.error.count("\n") <= 1
    assert ran.code == bool(ran.error)


def test_a_ca_whose_key_is_anothers_is_refused(certs: Certs, pki: Path, tmp_path: Path) -> None:
    certs("init", tmp_path / "other")
    (pki / "ca-key.pem").write_bytes((tmp_path / "other" / "ca-key.pem").read_bytes())
    assert "the key does not fit the certificate" in certs("issue", pki, "--cn", "x").error


def test_a_directory_that_cannot_be_written_is_one_line(certs: Certs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ran = certs("init", tmp_path / "file" / "pki")
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert "cannot write" in ran.error


def test_what_cannot_be_looked_at_is_one_line(certs: Certs, pki: Path) -> None:
    """As a directory that nobody may look into: Python's own tests for a file raise then."""
    name = "a" * 300
    for arguments in (("issue", pki, "--cn", "x", "--name", name), ("renew", pki, name), ("revoke", pki, name)):
        ran = certs(*arguments)
        assert (ran.code, ran.error.count("\n")) == (1, 1)
        assert "File name too long" in ran.error


def test_an_empty_directory_is_not_the_current_one(
    certs: Certs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert certs("init", "").code == 2
    assert not list(tmp_path.iterdir())


def test_a_name_of_a_certificate_moves_no_cursor_and_begins_no_line(certs: Certs, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("a\x1b[31m\nforged")]), critical=False)
    file = tmp_path / "x.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    ran = certs("inspect", file)
    assert ran.out.replace("\n", "").isprintable()
    assert "names        a\\x1b[31m\\nforged" in ran.out


def test_a_link_to_a_list_stays_one_and_what_it_leads_to_is_renewed(certs: Certs, pki: Path, tmp_path: Path) -> None:
    """A server that reads the file behind the link has to learn who is revoked."""
    served = tmp_path / "served.pem"
    (pki / "crl.pem").rename(served)
    (pki / "crl.pem").symlink_to(served)
    assert certs("revoke", pki, "admin").code == 0
    assert (pki / "crl.pem").is_symlink()
    assert len(x509.load_pem_x509_crl(served.read_bytes())) == 1


def test_a_disk_that_fills_up_half_way_leaves_every_pair_as_it_was(
    certs: Certs, pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the record, the key and the certificate there is room for two."""
    before = {path.name: path.read_bytes() for path in pki.glob("*.pem")}
    room, sync = [2], os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    ran = certs("renew", pki, "server")
    assert (ran.code, "No space left on device" in ran.error) == (1, True)
    assert {path.name: path.read_bytes() for path in pki.glob("*.pem")} == before
    assert not list(pki.glob(".*.pem.*"))


def test_a_reader_that_leaves_stops_nothing(pki: Path) -> None:
    """What is to be revoked is revoked, though nobody reads which file that is in."""
    renewal = f"{sys.executable} -m kdm_cli certs renew {pki} admin server --revoke-old"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {renewal} | true"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False)
    assert len(x509.load_pem_x509_crl((pki / "crl.pem").read_bytes())) == 2


def test_output_that_cannot_be_written_is_one_line(pki: Path) -> None:
    command = [sys.executable, "-m", "kdm_cli", "certs", "inspect", str(pki / "ca.pem")]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = "kdm certs inspect: cannot write the output: No space left on device\n"
    assert (ran.returncode, ran.stderr) == (1, said)


@pytest.mark.parametrize("command", [["policy", "check"], ["certs", "inspect"]])
def test_ctrl_c_is_one_line(tmp_path: Path, command: list[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "kdm_cli", *command, str(pipe)], stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it takes no lock
    )  # fmt: skip
    said: str | None = None
    with process, pipe.open("w"):  # which waits until it reads
        while said is None:  # Python drops one that comes while it opens a file: a person presses again
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                said = process.communicate(timeout=10)[1]
    assert (said, process.returncode) == ("kdm: interrupted\n", 130)
