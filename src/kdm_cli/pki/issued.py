"""What ``kdm certs issue``, ``renew`` and ``revoke`` do: the life of a CA's certificates.

Standard output names the files that were written. Everything else is on standard error, one line each.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kdm_cli.output.text import say, warn
from kdm_cli.pki.directory import PkiDirectory
from kdm_cli.pki.errors import PkiError
from kdm_cli.pki.files import read_certificate, read_crl
from kdm_cli.pki.names import fold
from kdm_cli.pki.numbers import format_serial
from kdm_cli.pki.pair import Pair
from kdm_cli.pki.register import Issued
from kdm_http.tls.peer import Peer, PeerRefused

_SOON: Final = 4
"""A list ends soon when less than this fraction of its validity is left: a quarter, a week of 30 days."""


def issue(arguments: argparse.Namespace) -> int:
    """Issue a certificate with a new key, and say what of that name is valid beside it."""
    directory = PkiDirectory.open(arguments.dir)
    purposes = [purpose for purpose in ("client", "server") if getattr(arguments, purpose)] or ["client"]
    pair = directory.authority.issue(
        arguments.cn, organizations=arguments.org, sans=arguments.san, purposes=purposes, days=arguments.days
    )
    if "client" in purposes:
        check_client(pair)
    name = arguments.name or arguments.cn
    with directory.exclusive():
        _print(*directory.add(name, pair, force=arguments.force))
        _say_what_stays("issue", directory, _earlier(directory, name, pair))
        warn_of_list("issue", directory.path)
    return 0


def renew(arguments: argparse.Namespace) -> int:
    """Replace certificates by successors; revoke what was there before, or say that it stays valid."""
    directory = PkiDirectory.open(arguments.dir)
    with directory.exclusive():
        revoked = _revoked(directory, or_none=True)
        successors: dict[str, Pair] = {}
        for name in dict.fromkeys(arguments.names):
            certificate = directory.certificate(name)
            if certificate.serial_number in revoked:
                raise PkiError(
                    f"{name} is revoked and has no successor: to let it in again, 'kdm certs issue' it with --force"
                )
            successors[name] = directory.authority.renew(certificate, days=arguments.days)
        for name, pair in successors.items():
            _print(*directory.add(name, pair, force=True))
        earlier = [each for name, pair in successors.items() for each in _earlier(directory, name, pair)]
        if arguments.revoke_old:
            _print(directory.revoke([each.certificate for each in earlier], crl_days=arguments.crl_days))
        else:
            _say_what_stays("renew", directory, earlier)
        warn_of_list("renew", directory.path)
    return 0


def revoke(arguments: argparse.Namespace) -> int:
    """Revoke all certificates of some names, and some by serial number; say what of those names stays valid."""
    directory = PkiDirectory.open(arguments.dir)
    with directory.exclusive():
        issued = directory.register.certificates()
        chosen = [each for name in arguments.names for each in _good(_find(directory, issued, name))]
        chosen += [_of_fingerprint(directory, issued, each) for each in arguments.fingerprint]
        registered = {each.serial: each for each in issued}
        unknown = [each for each in arguments.serial if each not in registered]
        chosen += [registered[each] for each in arguments.serial if each in registered]
        if not arguments.force:
            _check_registered(directory, unknown)
        before = _revoked(directory, or_none=True)
        written = directory.revoke(
            [each.certificate for each in chosen],
            serials=unknown,
            crl_days=arguments.crl_days,
            new_list=arguments.force,
        )
        _print(written)
        for each in sorted(dict.fromkeys(chosen), key=lambda each: each.serial not in before):
            _say("revoke", f"{'revoked already' if each.serial in before else 'revoked'}: {each}")
        for serial in unknown:
            _say("revoke", f"revoked: serial {format_serial(serial)}, which is not in the register")
        _warn_of_the_same_name(directory, issued, chosen)
    return 0


def check_client(pair: Pair) -> None:
    """Make sure that the server would take it.

    Raises:
        PkiError: It would not.
    """
    try:
        Peer.from_der(pair.certificate.public_bytes(serialization.Encoding.DER))
    except PeerRefused as exc:
        raise PkiError(f"kdm would refuse this client: {exc}") from exc


def list_warning(crl: x509.CertificateRevocationList, now: datetime) -> str:
    """Say that a revocation list has ended or is about to; "" where neither is so."""
    if crl.next_update_utc is None:
        return ""
    if now >= crl.next_update_utc:
        return "STALE"
    left = crl.next_update_utc - now
    if left * _SOON > crl.next_update_utc - crl.last_update_utc:
        return ""
    return f"ENDS SOON, {left.days} days left"


def warn_of_list(command: str, directory: Path) -> None:
    """Warn where a directory's revocation list is missing, has ended or is about to."""
    crl, again = directory / "crl.pem", f"kdm certs revoke {directory}"
    if not crl.exists():
        _say(command, f"warning: {crl} is missing: restore it, or begin another: {again} --force")
    elif warning := list_warning(read_crl(crl), datetime.now(UTC)):
        _say(command, f"warning: {crl}: {warning}: sign it again: {again}")


def _find(directory: PkiDirectory, issued: Sequence[Issued], name: str) -> list[Issued]:
    """Return everything of a name, or the certificate in a file.

    Raises:
        PkiError: There is nothing of this name, and no such file; or it is the CA.
    """
    if found := [each for each in issued if name in each.names]:
        return found
    path = directory.path / f"{name}.pem" if name == "ca" else Path(name)
    if path.is_file():
        certificate = read_certificate(path)
        directory.authority.check_issued(certificate)
        known = [each for each in issued if each.certificate == certificate]
        return known or [Issued(path.stem, certificate)]
    similar = sorted({each for one in issued for each in one.names if fold(each) == fold(name)})
    hint = f"; did you mean {' or '.join(map(repr, similar))}?" if similar else ""
    raise PkiError(f"there is no certificate of the name {name!r} in {directory.register.path}, and no such file{hint}")


def _good(found: Sequence[Issued]) -> list[Issued]:
    """Leave out what has ended; where nothing is left, say so."""
    now = datetime.now(UTC)
    good = [each for each in found if not each.has_ended(now)]
    if not good:
        _say("revoke", f"nothing to revoke: {found[-1]}, has ended")
    return good


def _of_fingerprint(directory: PkiDirectory, issued: Sequence[Issued], fingerprint: str) -> Issued:
    for each in issued:
        if each.fingerprint == fingerprint:
            return each
    raise PkiError(f"fingerprint {fingerprint} is not in the register {directory.register.path}: give the file")


def _check_registered(directory: PkiDirectory, unknown: Sequence[int]) -> None:
    for serial in unknown:
        if serial != directory.authority.pair.certificate.serial_number:  # which is refused for another reason
            raise PkiError(
                f"serial {format_serial(serial)} is not in the register {directory.register.path}: if it was issued "
                "before there was one, give its file, or revoke the number with --force"
            )


def _earlier(directory: PkiDirectory, name: str, pair: Pair) -> list[Issued]:
    """Return what was issued before under a name of files and is still good."""
    now, revoked = datetime.now(UTC), _revoked(directory, or_none=True)
    return [
        each
        for each in directory.register.certificates()
        if each.name == name
        and each.certificate != pair.certificate
        and each.serial not in revoked
        and not each.has_ended(now)
    ]


def _revoked(directory: PkiDirectory, *, or_none: bool = False) -> Collection[int]:
    if or_none and not (directory.path / "crl.pem").exists():
        return ()
    return {entry.serial_number for entry in directory.crl()}


def _say_what_stays(command: str, directory: PkiDirectory, earlier: Sequence[Issued]) -> None:
    for each in earlier:
        how = f"kdm certs revoke {directory.path} --serial {format_serial(each.serial)}"
        _say(command, f"the earlier {each}, unless you revoke it: {how}")


def _warn_of_the_same_name(directory: PkiDirectory, issued: Sequence[Issued], chosen: Sequence[Issued]) -> None:
    """Warn where somebody who was revoked may still come in by another certificate."""
    now, revoked = datetime.now(UTC), _revoked(directory)
    names = {fold(name) for each in chosen for name in each.names}
    for each in issued:
        if each.serial not in revoked and not each.has_ended(now) and names & set(map(fold, each.names)):
            how = f"kdm certs revoke {directory.path} --serial {format_serial(each.serial)}"
            _say("revoke", f"warning: not revoked: {each}; if it should be: {how}")


def _say(command: str, line: str) -> None:
    warn(line, f"kdm certs {command}")


def _print(*paths: Path) -> None:
    for path in paths:
        say(str(path))
