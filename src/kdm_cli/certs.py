"""``kdm certs``: a private PKI for kdm from the command line."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kdm_cli.pki import files as pki_files
from kdm_cli.pki import issued as certs_issued
from kdm_cli.pki.authority import (
    Authority,
    PkiError,
    format_serial,
    is_development_certificate,
    parse_fingerprint,
    parse_serial,
)
from kdm_cli.pki.development import write_development_files
from kdm_cli.pki.directory import CA_DAYS, CRL_DAYS, LEAF_DAYS, PkiDirectory
from kdm_cli.pki.files import read, read_certificate, read_crl
from kdm_http.tls.certificate_files import TlsConfigurationError, read_certificates, read_lists
from kdm_http.tls.certificates import printable
from kdm_http.tls.peer import Peer, PeerRefused
from kdm_http.tls.trust import Trust
from kdm_http.tls.verifier import MaterialMismatch

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  # argparse has no public name for it

_T = TypeVar("_T")

_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def register(subparsers: Subparsers) -> None:
    """Add ``certs`` to the command line. Each command's ``handler`` takes the arguments and returns an exit code."""
    certs = subparsers.add_parser("certs", help="make and look after certificates", description=__doc__)
    commands = certs.add_subparsers(metavar="COMMAND", required=True)

    init = _add(commands, "init", _init, "make a CA, a server's certificate and a first client's")
    init.add_argument("dir", type=Path, metavar="DIR", help="where to; made where missing")
    init.add_argument("--ca-cn", default="kdm CA", metavar="NAME", help="the CA's common name (default: %(default)s)")
    init.add_argument("--cn", default="admin", metavar="NAME", help="the client's user (default: %(default)s)")
    init.add_argument(
        "--org", action="append", metavar="GROUP", help="the client's group, repeatable (default: kdm:admins)"
    )
    init.add_argument(
        "--san", action="append", metavar="NAME", help="the server's DNS name or IP address, besides localhost's"
    )
    init.add_argument("--ca-days", type=_days, default=CA_DAYS, metavar="N", help="the CA's validity, in days")
    _add_days(init)
    _add_crl_days(init)
    _add_force(init)

    issue = _add(commands, "issue", certs_issued.issue, "issue a certificate, with a new key")
    issue.add_argument("dir", type=Path, metavar="DIR", help="the CA's directory")
    issue.add_argument("--cn", required=True, metavar="NAME", help="the common name: a client's user")
    issue.add_argument("--org", action="append", default=[], metavar="GROUP", help="a client's group, repeatable")
    issue.add_argument(
        "--san", action="append", default=[], metavar="NAME", help="a DNS name, IP address or URI, repeatable"
    )
    issue.add_argument("--client", action="store_true", help="for a client (the default)")
    issue.add_argument("--server", action="store_true", help="for a server")
    issue.add_argument("--name", metavar="NAME", help="the files' name (default: the common name)")
    _add_days(issue)
    _add_force(issue)

    renew = _add(commands, "renew", certs_issued.renew, "replace a certificate by its successor, with a new key")
    renew.add_argument("dir", type=Path, metavar="DIR", help="the CA's directory")
    renew.add_argument("names", nargs="+", metavar="NAME", help="which: the files' name")
    renew.add_argument(
        "--revoke-old",
        action="store_true",
        help="revoke the earlier certificates of this name; else they stay valid until they end",
    )
    _add_days(renew)
    _add_crl_days(renew)

    revoke = _add(
        commands, "revoke", certs_issued.revoke, "revoke certificates; without any, sign the revocation list anew"
    )
    revoke.add_argument("dir", type=Path, metavar="DIR", help="the CA's directory")
    revoke.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="whose: a files' name, common name or SPIFFE ID, and every certificate of it; or a certificate's file",
    )
    revoke.add_argument(
        "--serial",
        action="append",
        default=[],
        type=_read_by(parse_serial),
        metavar="HEX",
        help="the one certificate with this serial number, repeatable",
    )
    revoke.add_argument(
        "--fingerprint",
        action="append",
        default=[],
        type=_read_by(parse_fingerprint),
        metavar="HEX",
        help="the one certificate with this SHA-256 fingerprint, which the audit trail has, repeatable",
    )
    _add_crl_days(revoke)
    revoke.add_argument(
        "--force",
        action="store_true",
        help="revoke serial numbers that are not in the register; begin another list where crl.pem is missing",
    )

    inspect = _add(commands, "inspect", _inspect, "show certificates and revocation lists")
    inspect.add_argument("files", nargs="+", type=Path, metavar="FILE")

    verify = _add(commands, "verify", _verify, "tell whether kdm would accept client certificates")
    verify.add_argument("dir", type=Path, metavar="DIR", help="the CA's directory: its ca.pem and crl.pem are used")
    verify.add_argument("files", nargs="+", type=Path, metavar="FILE")

    dev = _add(commands, "dev", _dev, "make the repository's development certificates anew")
    dev.add_argument("dir", type=Path, metavar="DIR")
    _add_force(dev)


def _add(
    commands: Subparsers, name: str, handler: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    def run(arguments: argparse.Namespace) -> int:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the library's, about odd certificates that it reads all the same
                return handler(arguments)
        except PkiError as exc:
            print(f"kdm certs {name}: {printable(str(exc))}", file=sys.stderr)
            return 1

    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(handler=run)
    return parser


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36500:
        raise argparse.ArgumentTypeError("expected a number of days from 1 to 36500")
    return int(text)


def _read_by(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    def read_argument(text: str) -> _T:
        try:
            return parse(text)
        except PkiError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return read_argument


def _add_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--days", type=_days, default=LEAF_DAYS, metavar="N", help="validity, in days (default: %(default)s)"
    )


def _add_crl_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crl-days",
        type=_days,
        default=CRL_DAYS,
        metavar="N",
        help="after so many days the revocation list is stale, and kdm refuses the CA's clients (default: %(default)s)",
    )


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def _say(*lines: object) -> None:
    for line in lines:
        print(line)


def _init(arguments: argparse.Namespace) -> int:
    authority = Authority.create(arguments.ca_cn, days=arguments.ca_days)
    sans = list(dict.fromkeys([*_LOCAL, *(arguments.san or ())]))
    server = authority.issue("kdm", sans=sans, purposes=["server"], days=arguments.days)
    client = authority.issue(arguments.cn, organizations=arguments.org or ["kdm:admins"], days=arguments.days)
    certs_issued.check_client(client)
    if arguments.cn.lower() == "server":
        raise PkiError("the client cannot be called 'server': those are the server's files")
    leaves = {"server": server, arguments.cn: client}
    PkiDirectory.init(arguments.dir, authority, leaves, crl_days=arguments.crl_days, force=arguments.force)
    _say(
        f"The CA, a server and the client '{arguments.cn}' are in {arguments.dir}. Serve with them:",
        f"  kdm serve --tls-cert {arguments.dir}/server.pem --tls-key {arguments.dir}/server-key.pem \\",
        f"      --tls-client-ca {arguments.dir}/ca.pem --tls-client-crl {arguments.dir}/crl.pem \\",
        "      --policy-file policy.toml",
        f"Sign the revocation list anew within {arguments.crl_days} days: kdm certs revoke {arguments.dir}",
    )
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    for path in arguments.files:
        content = read(path)
        if b"BEGIN X509 CRL" in content:
            _say(path, *_describe_crl(read_crl(path)))
            continue
        if b"BEGIN CERTIFICATE" not in content:
            raise PkiError(f"{path} holds neither PEM certificates nor a revocation list")
        for certificate in pki_files.read_certificates(path):
            _say(path, *_describe(certificate))
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
        lines.append("names        " + ", ".join(str(getattr(san, "value", san)) for san in sans))
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
    warning = certs_issued.list_warning(crl, datetime.now(UTC))
    lines = [
        f"issuer       {printable(crl.issuer.rfc4514_string())}",
        f"number       {numbers[0] if numbers else 'none'}",
        f"valid        {crl.last_update_utc:%FT%TZ} to {end}" + (f", {warning}" if warning else ""),
    ]
    lines += [f"revoked      {format_serial(each.serial_number)} at {each.revocation_date_utc:%FT%TZ}" for each in crl]
    return [f"  {line}" for line in lines]


def _verify(arguments: argparse.Namespace) -> int:
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
        _say(f"{path}: {verdict}")
    if crl.exists():
        certs_issued.warn_of_list("verify", arguments.dir)
    return int(refused)


def _trust(authority: Path, crl: Path | None) -> Trust:
    try:
        return Trust(read_certificates(authority), read_lists(crl) if crl else ())
    except (TlsConfigurationError, MaterialMismatch) as exc:
        raise PkiError(str(exc)) from exc


def _dev(arguments: argparse.Namespace) -> int:
    _say(*write_development_files(arguments.dir, force=arguments.force))
    return 0
