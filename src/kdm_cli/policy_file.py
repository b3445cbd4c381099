"""The policy file in use, and the watch over it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from kdm_core import DeploymentService, Policy, PolicyError, parse_policy, regular_file
from kdm_http.file_watch import POLL_S, FileChanges

_log = logging.getLogger("kdm.policy")


class PolicyFile:
    """A policy that is read from a file, and again whenever the file has changed. Belongs to one event loop.

    Attributes:
        policy: The last good one.
    """

    def __init__(self, path: Path, *, reloaded: Callable[[bool], None] = lambda _: None) -> None:
        """Read the file for the first time.

        Args:
            path: The file, TOML. It may be replaced at any time.
            reloaded: Called for each changed file: True if it is in use now, False if it was refused.

        Raises:
            PolicyError: It cannot be read or is no policy; the message begins with the file's name.
        """
        self._path = path
        self._reloaded = reloaded
        content = self._read()
        self._digest = content.digest
        self.policy: Policy = self._parse(content.data)
        self._asked = asyncio.Event()
        self._announce("policy loaded")

    def reload(self) -> None:
        """Ask ``followed_by`` to read the file now, changed or not. Returns at once."""
        self._asked.set()

    @asynccontextmanager
    async def followed_by(self, service: DeploymentService, interval_s: float = POLL_S) -> AsyncIterator[None]:
        """Give a service each new policy while the context lasts. A bad file changes nothing.

        Args:
            service: Whose ``policy`` is replaced, between two requests.
            interval_s: How often the file is read, in seconds. A change is used once two readings agree.
        """
        watch = asyncio.create_task(self._watch(service, interval_s), name="kdm-policy")
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.wait({watch})
        if not watch.cancelled():
            watch.result()

    async def _watch(self, service: DeploymentService, interval_s: float) -> None:
        changes = FileChanges(self._digest)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s):  # unlike wait_for of 3.11 it never swallows a cancellation
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            # On threads: a file system may not answer, and a large policy takes a second.
            try:
                content = await asyncio.to_thread(self._read)
            except PolicyError as error:
                if changes.seen(str(error)) or asked:
                    self._refuse(error)
                continue
            if not changes.seen(content.digest) and not asked:
                continue
            try:
                self.policy = service.policy = await asyncio.to_thread(self._parse, content.data)
            except PolicyError as error:
                self._refuse(error)
            else:
                self._announce("policy loaded" if asked else "policy reloaded")
                self._reloaded(True)

    def _refuse(self, error: PolicyError) -> None:
        _log.error("policy refused, the old one stays in use", extra={"reason": str(error)})
        self._reloaded(False)

    def _read(self) -> regular_file.Content:
        try:
            return regular_file.read(self._path)
        except OSError as error:
            raise PolicyError(f"cannot read the policy {self._path}: {error.strerror}") from error

    def _parse(self, content: bytes) -> Policy:
        try:
            return parse_policy(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise PolicyError(f"{self._path}: not UTF-8: {error.reason} at byte {error.start}") from error
        except PolicyError as error:
            raise PolicyError(f"{self._path}: {error}") from error

    def _announce(self, event: str) -> None:
        count = len(self.policy.grants)
        _log.info(event, extra={"path": str(self._path), "grants": count})
        if not count:
            _log.warning("the policy has no grants: everything is denied", extra={"path": str(self._path)})
