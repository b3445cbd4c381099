"""A CA of a test's own, for servers and clients of any name."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from kdm_cli.pki.authority import Authority
from kdm_cli.pki.directory import PkiDirectory

__all__ = ["Pki"]

DAYS = 30


class Pki:
    """A CA, a server's certificate and clients', in a directory as `kdm certs` keeps it.

    Args:
        path: The directory.
        name: The CA's common name.
    """

    def __init__(self, path: Path, name: str = "test CA") -> None:
        self.path = path
        self.authority = Authority.create(name, days=DAYS)
        self._directory = PkiDirectory.init(path, self.authority, {})
        self.issue_server("server")

    def issue_server(self, name: str) -> None:
        """Make a certificate for localhost; the name is that of the files."""
        pair = self.authority.issue("kdm", sans=["localhost", "127.0.0.1"], purposes=["server"], days=DAYS)
        self._directory.add(name, pair)

    def issue(self, name: str, *groups: str) -> None:
        """Make a client's certificate."""
        self._directory.add(name, self.authority.issue(name, organizations=groups, days=DAYS))

    def revoke(self, name: str) -> None:
        """Put a certificate on the revocation list."""
        self._directory.revoke([self._directory.certificate(name)])

    def settings(self) -> dict[str, str]:
        """Return the settings of a kdm that uses this CA."""
        return {
            "TLS_CERT": str(self.path / "server.pem"),
            "TLS_KEY": str(self.path / "server-key.pem"),
            "TLS_CLIENT_CA": str(self.path / "ca.pem"),
            "TLS_CLIENT_CRL": str(self.path / "crl.pem"),
        }

    def read(self, file: str) -> bytes:
        """Return the content of one of its files."""
        return (self.path / file).read_bytes()

    def context(self, name: str | None, *, trusting: Sequence[Pki] = ()) -> ssl.SSLContext:
        """Make a client's context.

        Args:
            name: Whose certificate to show; None for none.
            trusting: The CAs that the server's certificate may come from; this one where empty.
        """
        authorities = [each.read("ca.pem").decode() for each in trusting or (self,)]
        context = ssl.create_default_context(cadata="".join(authorities))
        if name is not None:
            context.load_cert_chain(self.path / f"{name}.pem", self.path / f"{name}-key.pem")
        return context
