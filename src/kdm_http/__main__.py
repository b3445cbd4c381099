"""The command `kdm`, behind the one thing that has to come before every import: OpenSSL's configuration.

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
    _configure_openssl()
    from kdm_http import cli  # noqa: PLC0415  # imports ssl

    return cli.main()


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
