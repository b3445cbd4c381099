"""``kdm certs``: a private PKI for kdm from the command line. Here are its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from kdm_cli import extras
from kdm_cli.pki.errors import PkiError
from kdm_cli.pki.numbers import parse_fingerprint, parse_serial
from kdm_cli.pki.validity import CA_DAYS, CRL_DAYS, LEAF_DAYS

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  # argparse has no public name for it

_T = TypeVar("_T")

_DESCRIPTION: Final = "A private PKI for kdm from the command line."


def register(subparsers: Subparsers) -> None:
    """Add ``certs`` to the command line. Each command's ``handler`` takes the arguments and returns an exit code."""
    certs = subparsers.add_parser(
        "certs", help="make and look after certificates", description="A private PKI for kdm from the command line."
    )
    commands = certs.add_subparsers(metavar="COMMAND", required=True)

    init = _add(commands, "init", "make a CA, a server's certificate and a first client's")
    init.add_argument("dir", type=_path, metavar="DIR", help="where to; made where missing")
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

    issue = _add(commands, "issue", "issue a certificate, with a new key")
    issue.add_argument("dir", type=_path, metavar="DIR", help="the CA's directory")
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

    renew = _add(commands, "renew", "replace a certificate by its successor, with a new key")
    renew.add_argument("dir", type=_path, metavar="DIR", help="the CA's directory")
    renew.add_argument("names", nargs="+", metavar="NAME", help="which: the files' name")
    renew.add_argument(
        "--revoke-old",
        action="store_true",
        help="revoke the earlier certificates of this name; else they stay valid until they end",
    )
    _add_days(renew)
    _add_crl_days(renew)

    revoke = _add(commands, "revoke", "revoke certificates; without any, sign the revocation list again")
    revoke.add_argument("dir", type=_path, metavar="DIR", help="the CA's directory")
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

    inspect = _add(commands, "inspect", "show certificates and revocation lists")
    inspect.add_argument("files", nargs="+", type=_path, metavar="FILE")

    verify = _add(commands, "verify", "check whether kdm would accept client certificates")
    verify.add_argument("dir", type=_path, metavar="DIR", help="the CA's directory: its ca.pem and crl.pem are used")
    verify.add_argument("files", nargs="+", type=_path, metavar="FILE")

    dev = _add(commands, "dev", "make new development certificates for the repository")
    dev.add_argument("dir", type=_path, metavar="DIR")
    _add_force(dev)


def _add(commands: Subparsers, name: str, text: str) -> argparse.ArgumentParser:
    def run(arguments: argparse.Namespace) -> int:
        with extras.needed_for("certs", "server"):
            from kdm_cli.pki import commands  # noqa: PLC0415 - cryptography, which parsing arguments need not load
        return commands.run(name, arguments)

    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(handler=run)
    return parser


def _path(text: str) -> Path:
    if not text:  # what an unset variable leaves is not the current directory
        raise argparse.ArgumentTypeError("is empty")
    return Path(text)


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
