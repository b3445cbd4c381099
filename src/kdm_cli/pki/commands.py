"""What runs behind ``kdm certs``. :mod:`kdm_cli.certs` declares the arguments and imports this when they are known."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping
from typing import Final

from kdm_cli.output.text import blamed, say, warn
from kdm_cli.pki import inspection, issued
from kdm_cli.pki.authority import Authority
from kdm_cli.pki.development import write_development_files
from kdm_cli.pki.directory import PkiDirectory
from kdm_cli.pki.errors import PkiError

_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def run(name: str, arguments: argparse.Namespace) -> int:
    """Run a command.

    Args:
        name: Which: ``init``, ``issue``, and so on.
        arguments: What :mod:`kdm_cli.certs` parsed for it.

    Returns:
        The exit code: 1, with the reason on standard error, where it could not be done.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's, about odd certificates that it reads all the same
            return _COMMANDS[name](arguments)
    except PkiError as exc:
        warn(str(exc), f"kdm certs {name}")
    except OSError as exc:  # a name that is too long, a directory that nobody may look into, a full disk
        warn(blamed(exc), f"kdm certs {name}")
    return 1


def init(arguments: argparse.Namespace) -> int:
    """Make a CA, a server's certificate and a first client's, and say how to serve with them."""
    authority = Authority.create(arguments.ca_cn, days=arguments.ca_days)
    sans = list(dict.fromkeys([*_LOCAL, *(arguments.san or ())]))
    server = authority.issue("kdm", sans=sans, purposes=["server"], days=arguments.days)
    client = authority.issue(arguments.cn, organizations=arguments.org or ["kdm:admins"], days=arguments.days)
    issued.check_client(client)
    if arguments.cn.lower() == "server":
        raise PkiError("the client cannot be called 'server': those are the server's files")
    leaves = {"server": server, arguments.cn: client}
    PkiDirectory.init(arguments.dir, authority, leaves, crl_days=arguments.crl_days, force=arguments.force)
    _say(
        f"The CA, a server and the client '{arguments.cn}' are in {arguments.dir}. Serve with them:",
        f"  kdm serve --tls-cert {arguments.dir}/server.pem --tls-key {arguments.dir}/server-key.pem \\",
        f"      --tls-client-ca {arguments.dir}/ca.pem --tls-client-crl {arguments.dir}/crl.pem \\",
        "      --policy-file policy.toml",
        f"Sign the revocation list again within {arguments.crl_days} days: kdm certs revoke {arguments.dir}",
    )
    return 0


def dev(arguments: argparse.Namespace) -> int:
    """Make the development certificates."""
    _say(*write_development_files(arguments.dir, force=arguments.force))
    return 0


_COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "init": init,
    "issue": issued.issue,
    "renew": issued.renew,
    "revoke": issued.revoke,
    "inspect": inspection.inspect,
    "verify": inspection.verify,
    "dev": dev,
}


def _say(*lines: object) -> None:
    for line in lines:
        say(str(line))
