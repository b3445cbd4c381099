"""The command `kdm`, behind what has to come before every import: open descriptors, and OpenSSL's configuration.

A process may be started with standard input, output or error closed (``kdm serve <&- >&- 2>&-``). The next file or
socket that is opened then takes that number, and whatever is meant for a terminal goes there instead.

OpenSSL reads its configuration when it is first used and never again, and Python 3.11 cannot set the key exchange
groups of a context (``SSLContext.set_groups`` is of 3.15). So ``openssl.cnf`` is named here, before anything imports
``ssl``. It holds for all of kdm's TLS, as a server and as a client of Kubernetes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_VARIABLE = "OPENSSL_CONF"


def main() -> int:
    """Run `kdm` with the arguments of this process, and return its exit code. See :func:`kdm_http.cli.main`."""
    _open_standard_descriptors()
    _configure_openssl()
    from kdm_http import cli  # noqa: PLC0415  # imports ssl

    return cli.main()


def _open_standard_descriptors() -> None:
    """Open the null device in the place of each of the first three descriptors that is closed, as Go's runtime does."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: fd
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _configure_openssl() -> None:
    if _VARIABLE in os.environ:  # the operator knows better
        return
    os.environ[_VARIABLE] = str(Path(__file__).with_name("openssl.cnf"))
    try:
        import ssl  # noqa: PLC0415  # not before the variable is set

        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # has OpenSSL read it
    finally:
        del os.environ[_VARIABLE]  # the programs that a kubeconfig makes kdm run have settings of their own


if __name__ == "__main__":
    sys.exit(main())
