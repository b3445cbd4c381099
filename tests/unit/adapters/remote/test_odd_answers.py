"""What is no kdm, what stands before one, and what does not answer: as the repository sees it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest

from kdm_adapters.cache.backoff import Backoff
from kdm_adapters.cache.store import Store
from kdm_adapters.remote import transport
from kdm_adapters.remote.repository import RemoteDeploymentRepository
from kdm_adapters.remote.source import Source
from kdm_adapters.remote.sse import Event
from kdm_core import ClusterTimeout, ClusterUnreachable, DeploymentRef, SourceStatus
from unit.adapters.remote.harness import Gated, remote_harness, until
from unit.adapters.remote.test_client import Talker, access_of, tls_server
from unit.http.credentials import Credentials

WEB = DeploymentRef("shop", "web")


async def reason_of(repository: RemoteDeploymentRepository, text: str) -> str:
    """Wait until the repository's status says something."""
    await until(lambda: text in repository.sync_status().reason)
    return repository.sync_status().reason


@contextmanager
def silent() -> Iterator[int]:
    """Listen where each connection is accepted, and nothing is said."""
    over = threading.Event()
    with Talker(lambda _: over.wait()) as port:
        yield port
        over.set()


class TestAnswers:
    async def test_what_is_no_stream_is_said_to_be_none(self, tmp_path: Path, credentials: Credentials) -> None:
        page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 14\r\n\r\n<h1>login</h1>"
        with tls_server(tmp_path, credentials.server, page) as port:
            access = access_of(tmp_path, credentials, f"https://127.0.0.1:{port}")
            async with RemoteDeploymentRepository(access) as repository:
                await reason_of(repository, "no stream of events")

    async def test_a_stream_that_something_else_answers_is_not_said_to_be_a_write(
        self, tmp_path: Path, credentials: Credentials
    ) -> None:
        page = b"HTTP/1.1 302 Found\r\nlocation: https://login.example/\r\ncontent-length: 0\r\n\r\n"
        with tls_server(tmp_path, credentials.server, page) as port:
            access = access_of(tmp_path, credentials, f"https://127.0.0.1:{port}")
            async with RemoteDeploymentRepository(access) as repository:
                assert "write" not in await reason_of(repository, "not kdm's (302)")

    async def test_an_error_without_an_end_is_not_read_for_ever(
        self, tmp_path: Path, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "_MAX_ERROR_BYTES", 1000)
        over = threading.Event()
        server = tls_server(tmp_path, credentials.server, b"HTTP/1.1 502 Bad\r\n\r\n" + b"x" * 2000, until=over)
        with server as port:
            access = access_of(tmp_path, credentials, f"https://127.0.0.1:{port}")
            async with RemoteDeploymentRepository(access) as repository:
                await reason_of(repository, "not kdm's (502")
            over.set()


class TestWritten:
    """Whether it was: known where nothing was sent, and where nothing could be written."""

    async def test_a_write_that_waits_for_a_handshake_is_not_written(
        self, tmp_path: Path, credentials: Credentials
    ) -> None:
        with silent() as port:
            access = access_of(tmp_path, credentials, f"https://127.0.0.1:{port}")
            async with RemoteDeploymentRepository(access, write_timeout_s=0.2) as repository:
                with pytest.raises(ClusterUnreachable, match="no connection within") as caught:
                    await repository.set_replicas(WEB, 5)
        assert caught.value.written is False

    async def test_a_write_that_waits_for_its_turn_is_not_written(
        self, kdm: Gated, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "MAX_CONNECTIONS", 1)
        async with remote_harness(kdm, write_timeout_s=1.0) as harness:
            kdm.gate.mute = True
            ref = DeploymentRef(harness.namespaces[0], "web")
            both = [harness.repository.set_replicas(ref, 5) for _ in range(2)]
            sent, waited = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(sent, ClusterTimeout)
        assert sent.written is None
        assert isinstance(waited, ClusterUnreachable)
        assert waited.written is False

    async def test_a_read_without_an_answer_wrote_nothing(self, kdm: Gated) -> None:
        async with remote_harness(kdm, write_timeout_s=0.5) as harness:
            kdm.gate.mute = True
            with pytest.raises(ClusterTimeout) as caught:
                await harness.repository.fetch(DeploymentRef(harness.namespaces[0], "web"))
        assert caught.value.written is False


class Shown:
    """What one stream shows, event by event.

    Attributes:
        resets: How often followers had to begin again.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.resets = 0
        self.source = Source(
            self.store, None, on_synced=lambda: None, on_reached=lambda _: None, on_reset=self._on_reset
        )

    def status(self, now: float) -> SourceStatus:
        return self.source.status(now, 150.0)

    def say(self, now: float, name: str, version: str, **more: object) -> None:
        body = {"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": version, **more}
        self.source.event(Event(name, msgspec.json.encode(body), "an-id"), now)

    def _on_reset(self) -> None:
        self.resets += 1


@pytest.fixture
def shown() -> Shown:
    shown = Shown()
    shown.source.opened()
    shown.say(0.0, "present", "5", replicas={"desired": 3})
    shown.say(0.0, "synced", "5", ageSeconds=0.0)
    return shown


class TestFreshness:
    def test_a_change_that_comes_late_proves_nothing_of_now(self, shown: Shown) -> None:
        """What was missed is sent again by a kdm that has been without its cluster since."""
        shown.source.opened()
        shown.say(600.0, "modified", "7", replicas={"desired": 9})
        shown.say(600.0, "bookmark", "7", ageSeconds=590.0)
        assert shown.status(600.0).age_s == 590.0
        assert shown.status(600.0).stale

    def test_an_older_state_of_another_kdm_is_as_old_as_that_says(self, shown: Shown) -> None:
        shown.source.opened()
        shown.say(1.0, "reset", "")
        shown.say(1.0, "present", "4", replicas={"desired": 2})
        shown.say(1.0, "synced", "4", ageSeconds=140.0)
        assert shown.status(2.0).age_s == 141.0


@pytest.mark.parametrize("present", [True, False])
def test_a_state_that_comes_though_it_was_not_asked_for_is_taken_as_it_is(shown: Shown, *, present: bool) -> None:
    """As where a gateway takes the id off the request: nothing is lost, nothing stays, and followers begin again."""
    shown.source.opened()
    if present:
        shown.say(1.0, "present", "6", replicas={"desired": 4})
    shown.say(1.0, "synced", "6", ageSeconds=0.0)
    assert [each.replicas.desired for each in shown.store.list()] == [4] * present
    assert shown.resets == 1
    assert shown.status(1.0).connected


def test_who_is_asked_to_wait_does_not_come_back_at_the_same_moment_as_the_others() -> None:
    after: Callable[[int], float] = lambda seed: Backoff(rng=Random(seed)).next_delay_s(0.0, at_least_s=5.0)  # noqa: E731, S311
    delays = [after(seed) for seed in range(5)]
    assert len(set(delays)) == 5
    assert min(delays) >= 5.0
