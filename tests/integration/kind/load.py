"""Clients that ask kdm all the time, try nothing twice, and write down what came of each request."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from integration.kdm_process import wait_until

__all__ = ["CLIENTS", "FRESH", "KEPT", "OK", "WRITE", "Broken", "Load", "Outcome"]

KEPT: Final = "kept connection"
FRESH: Final = "fresh connection"
WRITE: Final = "write"
OK: Final = "200"

CLIENTS: Final = {KEPT: 8, FRESH: 2, WRITE: 1}
PAUSES_S: Final = {KEPT: 0.025, FRESH: 0.05, WRITE: 0.5}
"""Between two requests of one client. Together they ask about 300 times a second at most."""
TIMEOUT_S: Final = 10.0
REQUESTS_TIMEOUT_S: Final = 60.0

NO_CONNECTION: Final = frozenset({"ConnectError", "ConnectTimeout"})
BROKEN_OFF: Final = frozenset({"ReadError", "ReadTimeout", "RemoteProtocolError", "WriteError", "WriteTimeout"})


@dataclass(frozen=True)
class Outcome:
    """What came of one request.

    Attributes:
        client: Which of the clients asked.
        kind: Over a connection that is kept while the server keeps it, over a fresh one, or a write.
        began_s: When it was sent, on the monotonic clock.
        took_s: Until its answer was whole, or it failed.
        connected_s: When the connection was made that it went over; None if none could be made.
        result: `OK`; another status, or an answer that is not the one expected, with its body; or the client's error.
    """

    client: int
    kind: str
    began_s: float
    took_s: float
    connected_s: float | None
    result: str

    @property
    def ended_s(self) -> float:
        """When its answer was whole, or it failed."""
        return self.began_s + self.took_s

    @property
    def error(self) -> str:
        """The client's error by its name; empty if there was an answer."""
        name, bracket, _ = self.result.partition("(")
        return name if bracket and name.isidentifier() else ""


@dataclass(frozen=True)
class Broken:
    """The requests that failed because a server was killed. Each client has one connection at a time.

    Attributes:
        under_way: Those on a connection to it: at most one for each connection there was.
        refused: Those for which no connection could be made, while new ones were still sent to it.
        others: Those that failed although no such thing explains it.
    """

    under_way: list[Outcome]
    refused: list[Outcome]
    others: list[Outcome]

    def __str__(self) -> str:
        return f"{len(self.under_way)} were under way on what was killed, {len(self.refused)} were still sent to it"


class Load:
    """The clients, from entering to leaving, in a thread of their own. `outcomes` may be read at any time.

    Args:
        url: Of the API.
        tls: What the clients trust and present.
        namespace: Of both Deployments.
        read: The Deployment that is read, in both dialects. It asks for one Pod.
        written: The Deployment that is scaled, once in a while, between one and two.
    """

    def __init__(self, url: str, tls: ssl.SSLContext, *, namespace: str, read: str, written: str) -> None:
        self.outcomes: Final[list[Outcome]] = []
        self._url = url
        self._tls = tls
        self._where = {"namespace": namespace}
        self._written = f"/api/v1/deployments/{written}/replicas"
        self._reads: Final = (
            (f"/deployments/{read}/replicas", {"deploymentName": read, "replicaCount": 1}),
            (f"/api/v1/deployments/{read}/replicas", {"name": read, "replicaCount": 1}),
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()  # requests under way end

    def wait_for_requests(self, count: int) -> None:
        """Wait until so many more have been answered, in whatever way."""
        wanted = len(self.outcomes) + count
        wait_until(lambda: len(self.outcomes) >= wanted, REQUESTS_TIMEOUT_S)

    def wait_for_every_client(self) -> None:
        """Wait until each client has got the right answer to a request that it sends from now on."""
        now_s = time.monotonic()
        wait_until(
            lambda: (
                len({each.client for each in list(self.outcomes) if each.began_s > now_s and each.result == OK})
                == sum(CLIENTS.values())
            ),
            REQUESTS_TIMEOUT_S,
        )

    def failures(self, *kinds: str) -> list[Outcome]:
        """Return the requests of these kinds, or of all, that were not answered as they should be."""
        return [each for each in list(self.outcomes) if each.result != OK and (not kinds or each.kind in kinds)]

    def broken(self, before_s: float, after_s: float, left_out_s: float) -> Broken:
        """Sort the requests that failed by what a killed server explains. All times are the monotonic clock's.

        Args:
            before_s: Before it was killed.
            after_s: After that: nobody has connected to it since, and whoever had before has lost the connection.
            left_out_s: When it was known that nothing is to be sent there, or when it served again.
        """
        failures = [each for each in self.failures() if each.ended_s >= before_s]
        under_way = [
            each
            for each in failures
            if each.error in BROKEN_OFF and each.connected_s is not None and each.connected_s <= after_s
        ]
        refused = [each for each in failures if each.error in NO_CONNECTION and each.began_s <= left_out_s]
        explained = under_way + refused
        return Broken(under_way, refused, [each for each in self.failures() if each not in explained])

    def summary(self) -> str:
        """Tell in a line how many requests of each kind there were, and what came of those that failed."""
        outcomes = list(self.outcomes)
        kinds = Counter(each.kind for each in outcomes)
        failed = Counter(f"{each.kind}: {each.result}" for each in outcomes if each.result != OK)
        lasted_s = max(each.ended_s for each in outcomes) - min(each.began_s for each in outcomes)
        slowest_ms = 1000 * max(each.took_s for each in outcomes)
        counts = ", ".join(f"{count} by {kind}" for kind, count in sorted(kinds.items()))
        failures = "; ".join(f"{count} {what}" for what, count in failed.most_common()) or "none"
        return (
            f"{len(outcomes)} requests in {lasted_s:.0f} s: {counts}; slowest {slowest_ms:.0f} ms; failed: {failures}"
        )

    async def _run(self) -> None:
        numbers = itertools.count()
        async with asyncio.TaskGroup() as clients:
            for kind, count in CLIENTS.items():
                for _ in range(count):
                    clients.create_task(self._ask(next(numbers), kind))

    async def _ask(self, number: int, kind: str) -> None:
        client = self._client()
        connected_s: float | None = None

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal connected_s
            if event == "connection.connect_tcp.started":
                connected_s = None
            elif event == "connection.start_tls.complete":
                connected_s = time.monotonic()

        try:
            for turn in itertools.count():
                if self._stopping.is_set():
                    return
                began_s = time.monotonic()
                try:
                    ask = self._write if kind == WRITE else self._read
                    result = await ask(client, turn, {"trace": trace})
                except httpx.HTTPError as exc:
                    result = repr(exc)
                self.outcomes.append(Outcome(number, kind, began_s, time.monotonic() - began_s, connected_s, result))
                if kind == FRESH:
                    await client.aclose()
                    client = self._client()
                await asyncio.sleep(PAUSES_S[kind])
        finally:
            await client.aclose()

    async def _read(self, client: httpx.AsyncClient, turn: int, extensions: dict[str, Any]) -> str:
        path, expected = self._reads[turn % len(self._reads)]
        return _judged(await client.get(path, params=self._where, extensions=extensions), expected)

    async def _write(self, client: httpx.AsyncClient, turn: int, extensions: dict[str, Any]) -> str:
        body = {"replicaCount": 1 + turn % 2}
        answer = await client.put(self._written, params=self._where, json=body, extensions=extensions)
        return _judged(answer, {"message": "Replica count updated successfully."})

    def _client(self) -> httpx.AsyncClient:
        # httpx tries nothing twice unless it is told to.
        return httpx.AsyncClient(base_url=self._url, verify=self._tls, trust_env=False, timeout=TIMEOUT_S)


def _judged(answer: httpx.Response, expected: dict[str, Any]) -> str:
    right = answer.status_code == 200 and answer.json() == expected
    return OK if right else f"{answer.status_code} {answer.text}"
