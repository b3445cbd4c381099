"""The command `kdm`. Sets up what must be in place before any other import.

That is: standard descriptors, signals, a home, OpenSSL's configuration. A process may be started with standard input,
output or error closed (``kdm serve <&- >&- 2>&-``). The next file or socket that is opened then takes that number, and
whatever is written to the terminal goes there instead.

Imports take most of a second, in which signals already come. Process 1 of a container has no default action: a SIGTERM
that nobody handles is lost, and the container's runtime kills kdm after its whole grace period. The first
20 ms, in which Python itself starts, are not covered. Once kdm serves, :mod:`kdm_http.server.signals` takes over.

OpenSSL reads its configuration when it is first used and never again, and Python 3.11 cannot set the key exchange
groups of a context (``SSLContext.set_groups`` is of 3.15). So ``openssl.cnf`` is named here, before anything imports
``ssl``. It holds for all of kdm's TLS, as a server and as a client of Kubernetes.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
from types import FrameType

_VARIABLE = "OPENSSL_CONF"
_HARMLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main() -> int:
    """Run `kdm` with the arguments of this process, and return its exit code. See :func:`kdm_cli.main.main`."""
    _open_standard_descriptors()
    serving = sys.argv[1:2] == ["serve"]
    asking = sys.argv[1:2] not in (["serve"], ["certs"], ["policy"])  # what asks a kdm handles Ctrl-C once imported
    _handle_signals(serving=serving, silent=serving or asking)
    _have_a_home()
    _configure_openssl()
    try:
        from kdm_cli import main as cli  # noqa: PLC0415  # imports ssl

        code = cli.main()
    except KeyboardInterrupt:  # of `kdm certs`, which cleans up behind itself, and `kdm policy`
        print("kdm: interrupted", file=sys.stderr)
        code = 128 + signal.SIGINT
    if serving:
        for number in _HARMLESS:  # the interpreter gives every handler back on its way out, but not this one
            signal.signal(number, signal.SIG_IGN)
    return code


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


def _handle_signals(*, serving: bool, silent: bool) -> None:
    """Let SIGTERM and SIGINT end this process at once, and have `kdm serve` outlive the others."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _exit)
        signal.signal(signal.SIGINT, _exit)
    elif silent and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback
    if serving:
        for number in _HARMLESS:
            signal.signal(number, _ignore)  # unlike SIG_IGN not inherited by the programs that kdm runs


def _exit(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)  # the exit code that shells give a process ended by a signal


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Ignore a signal that comes before kdm serves, or after."""


def _have_a_home() -> None:
    """Set HOME to / for a user without one that the system does not know, as container runtimes do.

    Importing the Kubernetes client fails without a home.
    """
    if not os.environ.get("HOME"):
        try:
            pwd.getpwuid(os.getuid())
        except KeyError:
            os.environ["HOME"] = "/"


def _configure_openssl() -> None:
    if _VARIABLE in os.environ:  # the operator's own configuration wins
        return
    os.environ[_VARIABLE] = os.path.join(os.path.dirname(__file__), "openssl.cnf")  # noqa: PTH118, PTH120 - pathlib takes time
    try:
        import ssl  # noqa: PLC0415  # not before the variable is set

        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # makes OpenSSL read it
    finally:
        del os.environ[_VARIABLE]  # the programs that a kubeconfig makes kdm run have settings of their own


if __name__ == "__main__":
    sys.exit(main())
