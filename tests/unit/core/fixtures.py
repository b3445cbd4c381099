"""What the tests of the service stand on."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Literal

from kdm_core import (
    ANY,
    LOCAL,
    AuditEvent,
    AuditSink,
    AuditUnavailable,
    Caller,
    Deployment,
    DeploymentRef,
    DeploymentService,
    Expect,
    Identity,
    Query,
    ServiceInstrument,
    SetTo,
    Verb,
)
from kdm_core.policy import Globs, Grant, Policy, ReplicaBounds, Subjects

WEB = DeploymentRef("shop", "web")
ALICE = Identity("alice", frozenset({"kdm:shop"}), "ab" * 32)
MALLORY = Identity("mallory")


def grant(user: str, *verbs: Verb, namespaces: str = "*", names: str = "*", maximum: int = 100, **labels: str) -> Grant:
    """Make a grant to one user."""
    return Grant(
        Subjects(users=frozenset({user})),
        frozenset(verbs),
        Globs((namespaces,)),
        names=Globs((names,)),
        labels=labels,
        replicas=ReplicaBounds(max=maximum, allow_zero=True),
    )


async def write(
    service: DeploymentService,
    name: str,
    replicas: int,
    namespace: str | None = None,
    *,
    caller: Caller = LOCAL,
    expect: Expect = ANY,
) -> Deployment:
    """Set a count by name, as somebody does who need not name a namespace."""
    change = SetTo(replicas)
    ref = service.resolve(name, namespace, Verb.SCALE, caller, change)
    return (await service.set_replicas(ref, change, caller=caller, expect=expect)).deployment


def listed(
    service: DeploymentService, namespace: str | None = None, *, caller: Caller = LOCAL
) -> tuple[Deployment, ...]:
    """List a namespace, as somebody does who need not name one."""
    return service.list(Query(service.namespace if namespace is None else namespace), caller).deployments


def policy(*grants: Grant) -> Policy:
    return Policy(grants)


class ListedAudit(AuditSink):
    """An audit trail in a list, which can be full before or after a write."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.full = False
        self.full_at_record = False

    def check(self) -> None:
        if self.full:
            raise AuditUnavailable("the disk is full")

    def record(self, event: AuditEvent) -> None:
        if self.full or self.full_at_record:
            raise AuditUnavailable("the disk is full")
        self.events.append(event)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Meter(ServiceInstrument):
    """Remembers what the service reports."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.writes: list[tuple[str, float]] = []

    def read_served(self, kind: Literal["get", "find", "list"]) -> None:
        self.reads.append(kind)

    def write(self, outcome: str, seconds: float) -> None:
        self.writes.append((outcome, seconds))


def fail(error: Exception) -> None:
    """Raise an error: for another process to run, which has to be able to import this."""
    raise error


class Timers(Clock):
    """A clock, and what was asked to happen later on it."""

    def __init__(self) -> None:
        super().__init__()
        self._due: list[tuple[float, int, _Timer]] = []
        self._count = 0

    def call_later(self, seconds: float, call: Callable[[], None]) -> _Timer:
        timer = _Timer(call)
        self._count += 1
        heapq.heappush(self._due, (self.now_s + seconds, self._count, timer))
        return timer

    @property
    def pending(self) -> int:
        """How many are still to happen."""
        return sum(not timer.cancelled for _, _, timer in self._due)

    async def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen in its order, each on a turn of its own."""
        until = self.now_s + seconds
        await turns()
        while self._due and self._due[0][0] <= until:
            at, _, timer = heapq.heappop(self._due)
            self.now_s = max(self.now_s, at)
            if not timer.cancelled:
                timer.call()
            await turns()
        self.now_s = until


class _Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


async def turns(count: int = 5) -> None:
    """Let whatever is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)
