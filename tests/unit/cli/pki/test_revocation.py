"""Whom ``kdm certs revoke`` revokes: all that was ever issued under a name, wherever it lies now."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kdm_cli.pki import files as pki_files
from kdm_cli.pki.authority import Authority
from kdm_cli.pki.directory import PkiDirectory
from kdm_cli.pki.errors import PkiError
from kdm_cli.pki.pair import Pair
from kdm_cli.pki.validity import SKEW
from unit.cli.pki.conftest import Certs


def serial(path: Path) -> str:
    return f"{x509.load_pem_x509_certificate(path.read_bytes()).serial_number:x}"


def crl(pki: Path) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl((pki / "crl.pem").read_bytes())


def number(pki: Path) -> int:
    return crl(pki).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def revoked(pki: Path) -> set[str]:
    return {f"{entry.serial_number:x}" for entry in crl(pki)}


def copy(pki: Path, name: str, tmp_path: Path, to: str = "") -> Path:
    """What somebody took away before it was replaced."""
    return Path(shutil.copy(pki / f"{name}.pem", tmp_path / f"{to or name}-copy.pem"))


@pytest.fixture
def old_pki(pki: Path) -> Path:
    """A directory of before there was a register."""
    shutil.rmtree(pki / "issued")
    return pki


def test_a_certificate_copied_before_a_renewal_is_revoked_with_its_name(
    certs: Certs, pki: Path, tmp_path: Path
) -> None:
    certs("issue", pki, "--cn", "alice")
    first = copy(pki, "alice", tmp_path)
    certs("renew", pki, "alice")
    assert certs("verify", pki, first, pki / "alice.pem").code == 0

    ran = certs("revoke", pki, "alice")
    assert ran.code == 0
    assert ran.out.split() == [str(pki / "crl.pem")]
    assert revoked(pki) == {serial(first), serial(pki / "alice.pem")}
    assert ran.error.count("revoked: alice, serial ") == 2
    assert certs("verify", pki, first, pki / "alice.pem").out.count("refused: revoked") == 2


def test_a_renewal_says_how_long_the_old_one_stays_valid_and_how_to_end_it(certs: Certs, pki: Path) -> None:
    """One line, whose command does it; the files' names alone are on standard output."""
    old = x509.load_pem_x509_certificate((pki / "admin.pem").read_bytes())
    ran = certs("renew", pki, "admin")
    assert ran.out.split() == [str(pki / "admin-key.pem"), str(pki / "admin.pem")]
    assert ran.error.count("\n") == 1
    assert f"valid until {old.not_valid_after_utc:%FT%TZ}" in ran.error

    arguments = ran.error.strip().rpartition("kdm certs ")[2].split()
    assert certs(*arguments).code == 0
    assert revoked(pki) == {f"{old.serial_number:x}"}
    assert certs("renew", pki, "admin").error.count("\n") == 1  # of the second; the first is revoked


def test_a_renewal_revokes_all_earlier_ones_if_asked(certs: Certs, pki: Path) -> None:
    serials = [serial(pki / "admin.pem")]
    certs("renew", pki, "admin")
    serials.append(serial(pki / "admin.pem"))
    ran = certs("renew", pki, "admin", "server", "--revoke-old")
    assert ran.code == 0
    assert {*serials} < revoked(pki)
    assert not {serial(pki / "admin.pem"), serial(pki / "server.pem")} & revoked(pki)
    assert certs("verify", pki, pki / "admin.pem").code == 0


def test_issuing_in_place_of_files_says_what_stays_valid(certs: Certs, pki: Path) -> None:
    old = serial(pki / "admin.pem")
    ran = certs("issue", pki, "--cn", "admin", "--force")
    assert f"--serial {old}" in ran.error
    certs("revoke", pki, "admin")
    assert revoked(pki) == {old, serial(pki / "admin.pem")}


def test_one_serial_number_is_revoked_alone_with_a_warning_of_the_others(certs: Certs, pki: Path) -> None:
    """As `kdm certs inspect` and OpenSSL write it."""
    certs("issue", pki, "--cn", "alice")
    old = serial(pki / "alice.pem")
    certs("renew", pki, "alice")
    new = serial(pki / "alice.pem")
    ran = certs("revoke", pki, "--serial", old)
    assert ran.code == 0
    assert revoked(pki) == {old}
    (warning,) = (line for line in ran.error.splitlines() if "warning" in line)
    assert f"not revoked: alice, serial {new}, valid until" in warning
    assert warning.endswith(f"kdm certs revoke {pki} --serial {new}")

    colons = ":".join(f"{int(new, 16):040x}"[i : i + 2] for i in range(0, 40, 2)).upper()
    ran = certs("revoke", pki, "--serial", colons)
    assert revoked(pki) == {old, new}
    assert "warning" not in ran.error


@pytest.mark.parametrize("form", ["{0}", "{1}", "0x{0}", "serial={1}", "00{0}"])
def test_serial_numbers_are_read_as_others_write_them(certs: Certs, pki: Path, form: str) -> None:
    plain = serial(pki / "admin.pem").lstrip("0")
    given = form.format(plain, plain.upper())
    if len(given.removeprefix("serial=").removeprefix("0x")) <= 40:
        assert certs("revoke", pki, "--serial", given).code == 0
        assert revoked(pki) == {plain}


@pytest.mark.parametrize("bad", ["", "0", "xyz", "-1", "12 34", "g" * 8, "1" * 41])
def test_what_is_no_serial_number_is_refused(certs: Certs, pki: Path, bad: str) -> None:
    before = number(pki)
    ran = certs("revoke", pki, f"--serial={bad}")
    assert ran.code == 2
    assert "bad serial number" in ran.error
    assert number(pki) == before


def test_the_certificate_of_an_audit_line_is_revoked_by_its_fingerprint(certs: Certs, pki: Path) -> None:
    """In either way of writing it; one that was never issued, or is none, is refused."""
    certificate = x509.load_pem_x509_certificate((pki / "admin.pem").read_bytes())
    fingerprint = certificate.fingerprint(hashes.SHA256())
    certs("renew", pki, "admin")
    ran = certs("revoke", pki, "--fingerprint", fingerprint.hex(":").upper())
    assert ran.code == 0
    assert revoked(pki) == {f"{certificate.serial_number:x}"}
    assert "revoked already: admin" in certs("revoke", pki, "--fingerprint", fingerprint.hex()).error

    unknown = certs("revoke", pki, "--fingerprint", "0" * 64)
    assert (unknown.code, unknown.error.count("\n")) == (1, 1)
    assert "is not in the register" in unknown.error
    assert "64 hex digits" in certs("revoke", pki, "--fingerprint", "abc").error
    assert certs("revoke", pki, "--fingerprint", "abc").code == 2


def test_an_unknown_serial_number_is_revoked_by_force_alone(certs: Certs, pki: Path) -> None:
    before = (pki / "crl.pem").read_bytes()
    ran = certs("revoke", pki, "--serial", "abc123")
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert "serial abc123 is not in the register" in ran.error
    assert (pki / "crl.pem").read_bytes() == before

    ran = certs("revoke", pki, "--serial", "abc123", "--force")
    assert ran.code == 0
    assert revoked(pki) == {"abc123"}
    assert "which is not in the register" in ran.error


def test_whoever_has_several_files_is_revoked_by_common_name_or_spiffe_id(certs: Certs, pki: Path) -> None:
    for name in ("laptop", "phone"):
        certs("issue", pki, "--cn", "alice", "--name", name)
    certs("issue", pki, "--cn", "x", "--san", "spiffe://example.org/web", "--name", "web")
    ran = certs("revoke", pki, "laptop")
    assert revoked(pki) == {serial(pki / "laptop.pem")}
    assert "warning: not revoked: phone, " in ran.error

    assert "warning" not in certs("revoke", pki, "alice").error
    certs("revoke", pki, "spiffe://example.org/web")
    assert revoked(pki) == {serial(pki / f"{name}.pem") for name in ("laptop", "phone", "web")}


@pytest.mark.parametrize(("given", "meant"), [("Admin", "admin"), (" admin ", "admin"), ("ALICE  B", "alice b")])
def test_a_name_in_other_letters_or_spaces_revokes_nobody_and_is_asked_about(
    certs: Certs, pki: Path, given: str, meant: str
) -> None:
    """`alice` and `Alice` are two users of kdm's."""
    certs("issue", pki, "--cn", "alice b", "--name", "ab")
    before = (pki / "crl.pem").read_bytes()
    ran = certs("revoke", pki, given)
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert f"did you mean '{meant}'?" in ran.error
    assert (pki / "crl.pem").read_bytes() == before


def test_two_users_whose_names_differ_in_letters_are_warned_of(certs: Certs, pki: Path) -> None:
    certs("issue", pki, "--cn", "alice")
    certs("issue", pki, "--cn", "Alice", "--name", "other")
    ran = certs("revoke", pki, "alice")
    assert revoked(pki) == {serial(pki / "alice.pem")}
    assert "warning: not revoked: other, " in ran.error


def test_a_server_is_revoked_like_a_client(certs: Certs, pki: Path) -> None:
    assert certs("revoke", pki, "server").code == 0
    assert revoked(pki) == {serial(pki / "server.pem")}


def test_the_ca_is_neither_revoked_nor_renewed(certs: Certs, pki: Path) -> None:
    """By name, file or serial number: whoever trusts it must stop trusting it."""
    before = (pki / "crl.pem").read_bytes()
    by_number = ("revoke", pki, "--serial", serial(pki / "ca.pem"))
    for arguments in (("revoke", pki, "ca"), ("revoke", pki, pki / "ca.pem"), by_number, ("renew", pki, "ca")):
        ran = certs(*arguments)
        assert (ran.code, ran.error.count("\n")) == (1, 1), arguments
        assert "a CA" in ran.error
    assert (pki / "crl.pem").read_bytes() == before


def test_what_is_revoked_already_stays_as_it_is(certs: Certs, pki: Path) -> None:
    certs("revoke", pki, "admin")
    dates = {entry.serial_number: entry.revocation_date_utc for entry in crl(pki)}
    ran = certs("revoke", pki, "admin", "admin", "--serial", serial(pki / "admin.pem"))
    assert ran.code == 0
    assert ran.error.count("revoked already: admin, ") == 1
    assert {entry.serial_number: entry.revocation_date_utc for entry in crl(pki)} == dates


def test_a_revoked_client_is_not_renewed(certs: Certs, pki: Path) -> None:
    """A timer that renews everything would let it in again; nothing else is renewed either."""
    certs("revoke", pki, "admin")
    before = (pki / "server.pem").read_bytes(), (pki / "admin.pem").read_bytes()
    ran = certs("renew", pki, "server", "admin")
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert "admin is revoked" in ran.error
    assert ((pki / "server.pem").read_bytes(), (pki / "admin.pem").read_bytes()) == before
    assert certs("issue", pki, "--cn", "admin", "--force").code == 0
    assert certs("verify", pki, pki / "admin.pem").code == 0


def test_all_or_nothing_of_several_names(certs: Certs, pki: Path) -> None:
    before = (pki / "crl.pem").read_bytes()
    assert certs("revoke", pki, "admin", "nobody").code == 1
    assert certs("revoke", pki, "admin", "--serial", "99").code == 1
    assert (pki / "crl.pem").read_bytes() == before


def test_what_has_ended_needs_no_revocation(certs: Certs, pki: Path) -> None:
    directory = PkiDirectory.open(pki)
    ended = directory.authority.issue("old", days=1, now=datetime.now(UTC) - timedelta(days=3))
    directory.add("old", ended)
    ran = certs("revoke", pki, "old")
    assert ran.code == 0
    assert "nothing to revoke: old, serial " in ran.error
    assert revoked(pki) == set()
    certs("revoke", pki, "--serial", f"{ended.certificate.serial_number:x}")
    assert revoked(pki) == {f"{ended.certificate.serial_number:x}"}


def test_a_directory_of_before_the_register_is_taken_in(certs: Certs, old_pki: Path, tmp_path: Path) -> None:
    """What is found is registered before anything replaces it; a copy of before is revoked by its file."""
    lost = copy(old_pki, "admin", tmp_path, "lost")
    certs("issue", old_pki, "--cn", "admin", "--force")
    shutil.rmtree(old_pki / "issued")

    second = serial(old_pki / "admin.pem")
    certs("renew", old_pki, "admin")
    assert certs("revoke", old_pki, "admin").code == 0
    assert revoked(old_pki) == {second, serial(old_pki / "admin.pem")}
    assert certs("verify", old_pki, lost).code == 0
    assert certs("revoke", old_pki, lost).code == 0
    assert certs("verify", old_pki, lost).out.strip().endswith("refused: revoked")


def test_only_leaves_of_this_ca_are_taken_in(certs: Certs, old_pki: Path, tmp_path: Path) -> None:
    certs("init", tmp_path / "other", "--ca-cn", "other CA")
    shutil.copy(tmp_path / "other" / "admin.pem", old_pki / "stranger.pem")
    (old_pki / "notes.pem").write_text("no certificate")
    (old_pki / "chain.pem").write_bytes((old_pki / "server.pem").read_bytes() + (old_pki / "ca.pem").read_bytes())
    assert certs("revoke", old_pki).code == 0
    registered = {path.name.split(".")[0] for path in (old_pki / "issued").glob("*.pem")}
    assert registered == {"admin", "server", "chain"}


def test_another_ca_in_the_same_directory_begins_without_the_old_ones(certs: Certs, pki: Path) -> None:
    old = serial(pki / "admin.pem")
    certs("init", pki, "--force")
    assert certs("revoke", pki, "admin").code == 0
    assert revoked(pki) == {serial(pki / "admin.pem")} != {old}


def test_the_register_is_its_owners_alone(pki: Path) -> None:
    assert stat.S_IMODE((pki / "issued").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (pki / "issued").iterdir()} == {0o600}


class Interrupted(BaseException):
    """The process ends, as far as a test can tell."""


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the process end at a write to come, by its number; files are otherwise written as ever."""
    left = [10**6]

    def replace(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted
        os.replace(source, target)  # noqa: PTH105  # Path.replace is what this stands for

    monkeypatch.setattr(Path, "replace", replace)
    return left


@pytest.mark.parametrize("writes", range(4))
@pytest.mark.parametrize("command", ["issue", "renew"])
def test_no_certificate_is_anywhere_without_a_record_wherever_a_run_is_interrupted(
    certs: Certs, pki: Path, interrupt: list[int], command: str, writes: int
) -> None:
    """Record, key, certificate, in this order; the next run goes on, and revokes whatever there is."""
    certs("issue", pki, "--cn", "alice")
    interrupt[0] = writes
    arguments = ("renew", pki, "alice") if command == "renew" else ("issue", pki, "--cn", "alice", "--force")
    try:
        certs(*arguments)
    except Interrupted:
        assert writes < 3
    interrupt[0] = 10**6
    in_use = serial(pki / "alice.pem")
    assert (pki / "issued" / f"alice.{in_use}.pem").exists()
    assert not [path for path in (*pki.iterdir(), *(pki / "issued").iterdir()) if path.name.startswith(".alice")]

    assert certs("revoke", pki, "alice").code == 0
    assert in_use in revoked(pki)
    assert len(revoked(pki)) == (2 if writes else 1)
    assert certs(*("issue", pki, "--cn", "alice", "--force")).code == 0
    Pair.from_pem((pki / "alice.pem").read_bytes(), (pki / "alice-key.pem").read_bytes())


def test_an_interrupted_revocation_leaves_the_list_before(certs: Certs, pki: Path, interrupt: list[int]) -> None:
    before = (pki / "crl.pem").read_bytes()
    interrupt[0] = 0
    with pytest.raises(Interrupted):
        certs("revoke", pki, "admin")
    assert (pki / "crl.pem").read_bytes() == before


def test_runs_at_the_same_time_lose_nothing(pki: Path) -> None:
    """Four processes revoke a certificate of their own each: the last list has all, and its number counted them."""
    directory = PkiDirectory.open(pki)
    pairs = {f"client-{i}": directory.authority.issue(f"client-{i}", days=1) for i in range(4)}
    for name, pair in pairs.items():
        directory.add(name, pair)
    first = number(pki)
    command = [sys.executable, "-m", "kdm_cli", "certs", "revoke", str(pki)]
    running = [subprocess.Popen([*command, name], stdout=subprocess.DEVNULL) for name in pairs]
    assert [each.wait(60) for each in running] == [0] * 4
    assert revoked(pki) == {f"{pair.certificate.serial_number:x}" for pair in pairs.values()}
    assert number(pki) == first + 4


def test_a_run_that_does_not_end_is_named(certs: Certs, pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki_files, "_LOCK_WAIT_S", 0.0)
    with PkiDirectory.open(pki).exclusive():
        ran = certs("revoke", pki, "admin")
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert "another process has held" in ran.error
    assert certs("revoke", pki, "admin").code == 0


@pytest.mark.parametrize("arguments", [("issue", "--cn", "x"), ("renew", "admin"), ("revoke", "admin")])
def test_a_directory_that_takes_no_record_takes_no_certificate(
    certs: Certs, old_pki: Path, arguments: tuple[str, ...]
) -> None:
    """As a read-only one: one line, and nothing changed."""
    (old_pki / "issued").write_text("in the way")
    before = {path.name: path.read_bytes() for path in old_pki.iterdir()}
    ran = certs(arguments[0], old_pki, *arguments[1:])
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert f"cannot write {old_pki / 'issued'}" in ran.error
    assert {path.name: path.read_bytes() for path in old_pki.iterdir()} == before


def test_a_record_that_cannot_be_read_is_named(certs: Certs, pki: Path) -> None:
    """Whoever it was must not be left out of a revocation without a word."""
    (record,) = (pki / "issued").glob("admin.*.pem")
    record.write_text("rubbish")
    ran = certs("revoke", pki, "server")
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert str(record) in ran.error


def test_a_lost_list_is_not_begun_again_unasked(certs: Certs, pki: Path) -> None:
    """It would let everybody in again who was revoked. By force it is, with a greater number."""
    certs("revoke", pki, "admin")
    before = number(pki)
    (pki / "crl.pem").unlink()
    ran = certs("revoke", pki)
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert "is missing, and with it who is revoked" in ran.error
    assert "is missing" in certs("issue", pki, "--cn", "x").error

    assert certs("revoke", pki, "--force").code == 0
    assert revoked(pki) == set()
    assert number(pki) >= before


@pytest.mark.parametrize("content", ["another CA's", "rubbish", "another key's"])
def test_a_list_that_is_not_the_cas_is_not_gone_on_with(certs: Certs, pki: Path, tmp_path: Path, content: str) -> None:
    """Whoever is on it would be revoked by chance, and whoever was is not."""
    other = Authority.create("other CA" if content == "another CA's" else "kdm CA", days=30)
    PkiDirectory.init(tmp_path / "other", other, {})
    (pki / "crl.pem").write_bytes(b"rubbish" if content == "rubbish" else (tmp_path / "other/crl.pem").read_bytes())
    before = (pki / "crl.pem").read_bytes()
    ran = certs("revoke", pki, "admin")
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert "was not signed by 'CN=kdm CA'" in ran.error or "holds no PEM revocation list" in ran.error
    assert (pki / "crl.pem").read_bytes() == before


def test_a_list_begins_as_long_ago_as_certificates_do(pki: Path) -> None:
    """For the clocks that are behind; and its entries are not of the future."""
    directory = PkiDirectory.open(pki)
    admin = directory.certificate("admin")
    assert timedelta(0) <= crl(pki).last_update_utc - admin.not_valid_before_utc < timedelta(minutes=1)
    directory.revoke([admin])
    late = datetime.now(UTC) - SKEW
    (entry,) = crl(pki)
    assert entry.revocation_date_utc == crl(pki).last_update_utc <= late + timedelta(minutes=1)
    assert timedelta(days=29) < (crl(pki).next_update_utc or late) - datetime.now(UTC) <= timedelta(days=30)


def test_each_list_is_newer_than_the_one_before_in_date_and_number() -> None:
    """Also than one that was dated to the second it was made; but none is of the future."""
    now = datetime.now(UTC).replace(microsecond=0)
    authority = Authority.create("CA", days=365)
    undated = authority.sign_crl(days=30, now=now + SKEW)  # begins now, as lists did that were not dated back
    lists = [undated]
    for _ in range(3):
        lists.append(authority.sign_crl(lists[-1], days=30, now=now + timedelta(minutes=1)))
    begins = [each.last_update_utc for each in lists]
    numbers = [each.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for each in lists]
    assert begins == sorted(set(begins))
    assert begins[-1] <= now + timedelta(minutes=1)
    assert numbers == [numbers[0] + i for i in range(4)]
    fast = authority.sign_crl(authority.sign_crl(days=9, now=now + timedelta(hours=9)), days=30, now=now)
    assert fast.last_update_utc == now  # the clock was set back since


def test_a_list_does_not_outlive_its_ca() -> None:
    authority = Authority.create("CA", days=10)
    assert authority.sign_crl(days=30).next_update_utc == authority.pair.certificate.not_valid_after_utc


def test_an_ended_ca_signs_nothing() -> None:
    authority = Authority.create("CA", days=1, now=datetime.now(UTC) - timedelta(days=2))
    for sign in (lambda: authority.issue("alice", days=1), lambda: authority.sign_crl(days=1)):
        with pytest.raises(PkiError, match=r"the CA ended at \S+Z: begin another"):
            sign()


@pytest.mark.parametrize(
    ("age", "days", "warning"),
    [(0, 30, ""), (20, 30, ""), (24, 30, "ENDS SOON, 5 days left"), (31, 30, "STALE"), (0, 1, ""), (0.9, 1, "ENDS")],
)
def test_a_list_that_is_about_to_end_is_warned_of(certs: Certs, pki: Path, age: float, days: int, warning: str) -> None:
    """By every command that has to do with it, in its last quarter; signing it again is the remedy that is named."""
    authority = PkiDirectory.open(pki).authority
    aged = authority.sign_crl(days=days, now=datetime.now(UTC) - timedelta(days=age))
    (pki / "crl.pem").write_bytes(aged.public_bytes(serialization.Encoding.PEM))
    issued, verified = certs("issue", pki, "--cn", "x"), certs("verify", pki, pki / "admin.pem")
    shown = certs("inspect", pki / "crl.pem").out
    for said in (issued.error, verified.error):
        assert warning in said
        assert ("sign it again: kdm certs revoke" in said) == bool(warning)
    assert f", {warning}" in shown if warning else "," not in shown
    certs("revoke", pki)
    assert certs("verify", pki, pki / "admin.pem").error == ""


def test_init_keeps_the_servers_files_for_the_server(certs: Certs, tmp_path: Path) -> None:
    ran = certs("init", tmp_path / "pki", "--cn", "Server")
    assert (ran.code, ran.error.count("\n")) == (1, 1)
    assert "cannot be called 'server'" in ran.error
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("name", ["CA", "Crl", "x-KEY"])
def test_names_of_files_are_the_cas_own_in_any_letters(certs: Certs, pki: Path, name: str) -> None:
    """A file system may not tell upper from lower case."""
    assert "cannot name files" in certs("issue", pki, "--cn", name).error
