"""The certificate files in use, which are polled for changes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from kdm_http.file_watch import POLL_S, FileChanges
from kdm_http.tls.certificate_files import Snapshot
from kdm_http.tls.context import Material, TlsConfigurationError, TlsFiles, load

WARN_AHEAD: Final = timedelta(days=7)
WARN_EVERY: Final = timedelta(days=1)
"""How long before the end of a certificate or CRL warnings begin, and how often they are repeated."""

_log = structlog.get_logger("kdm.tls")


class ReloadEvents(Protocol):
    """Called when certificate files were read."""

    def reloaded(self, not_after: Mapping[str, datetime]) -> None:
        """New certificate files were taken into use; also called once at the start.

        Args:
            not_after: When the "server" certificate ends, and the first "client_ca" and the first "crl" where there is
                one.
        """

    def reload_refused(self, reason: str) -> None:
        """Changed certificate files cannot be used: the ones in use stay."""


class ServerTls:
    """The server's TLS at this moment. Belongs to one event loop.

    Attributes:
        material: What new connections are made with. Replaced as a whole by an accepted reload.
    """

    def __init__(
        self,
        files: TlsFiles,
        *,
        minimum_version: ssl.TLSVersion,
        development: bool,
        now: Callable[[], datetime],
        events: ReloadEvents,
    ) -> None:
        """Read the files for the first time.

        Raises:
            TlsConfigurationError: They cannot be used.
        """
        self._files = files
        self._minimum_version = minimum_version
        self._development = development
        self._now = now
        self._events = events
        self._asked = asyncio.Event()
        self.material: Material = self._load(files.read())
        self._announce("certificates loaded")

    def reload(self) -> None:
        """Make ``watch`` read the files now, changed or not. Returns at once."""
        self._asked.set()

    async def _take(self, held: Snapshot) -> bool:
        """Take files into use, and return whether that was done. If they cannot be used, what is in use stays."""
        try:
            self.material = await asyncio.to_thread(self._load, held)  # OpenSSL takes its time over many lists
        except TlsConfigurationError as exc:
            self._refuse(str(exc))
            return False
        except Exception as exc:  # noqa: BLE001
            # Those who write these files must not be able to end a service that works.
            _log.exception("certificates could not be judged")
            self._refuse(f"unforeseen {type(exc).__name__}: {exc}")
            return False
        self._announce("certificates reloaded")
        return True

    def _refuse(self, reason: str) -> None:
        _log.error("certificates refused, the old ones stay in use", reason=reason)
        self._events.reload_refused(reason)

    async def watch(self, changed: Callable[[], None], interval_s: float = POLL_S) -> None:
        """Reload when asked, and when the files have changed and then stood still for one interval, until cancelled.

        Args:
            changed: Called after each accepted reload.
            interval_s: How often to read them, in seconds.
        """
        changes = FileChanges(self.material.digest)
        warned_at: datetime | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s):  # unlike wait_for of 3.11 it never swallows a cancellation
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            if warned_at is None or self._now() - warned_at >= WARN_EVERY:
                self._warn_ahead()
                warned_at = self._now()
            try:
                held = await asyncio.to_thread(self._files.read)  # a file system may not answer
            except TlsConfigurationError as exc:
                if changes.seen(str(exc)) or asked:
                    self._refuse(str(exc))
                continue
            if (changes.seen(held.digest) or asked) and await self._take(held):
                changed()

    def _warn_ahead(self) -> None:
        """Warn of certificates and lists that will soon turn clients away."""
        for what, name, end in self._ends():
            if end - self._now() < WARN_AHEAD:
                _log.warning("certificates near their end", what=what, name=name, end=end.isoformat())

    def _ends(self) -> list[tuple[str, str, datetime]]:
        """Return the kind, the owner and the end of each certificate and list."""
        material = self.material
        return [
            ("server", material.certificate.subject, material.certificate.not_after),
            *(("client_ca", ca.subject, ca.not_after) for ca in material.trust.authorities),
            *(("crl", crl.issuer, crl.end) for crl in material.trust.revocation_lists if crl.end),
        ]

    def _load(self, held: Snapshot) -> Material:
        return load(
            self._files,
            now=self._now(),
            held=held,
            minimum_version=self._minimum_version,
            development=self._development,
        )

    def _announce(self, event: str) -> None:
        certificate = self.material.certificate
        _log.info(
            event,
            subject=certificate.subject,
            not_after=certificate.not_after.isoformat(),
            client_cas=[ca.subject for ca in self.material.trust.authorities],
            crls=len(self.material.trust.revocation_lists),
        )
        not_after: dict[str, datetime] = {}
        for what, _, end in self._ends():
            not_after[what] = min(end, not_after.get(what, end))
        self._events.reloaded(not_after)
