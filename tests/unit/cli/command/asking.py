"""The command against a real kdm on memory, over mutual TLS; and what stands in for its cluster."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from attrs import frozen

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_adapters.memory.parking import MemoryParkingLot
from kdm_cli.commands import options
from kdm_core import DeploymentRef, Policy, parse_policy
from kdm_core.history import ChangeLog
from kdm_core.tracking import ChangeTracker
from unit.adapters.remote.served import Served
from unit.http.credentials import Credentials

POLICY = parse_policy("""
version = 1
[[grant]]
users = ["alice"]
verbs = ["read", "scale"]
namespaces = ["*"]
replicas = {min = 1, max = 50, allow_zero = true}
[[grant]]
users = ["bob"]
verbs = ["read"]
namespaces = ["*"]
""")


class Person(io.StringIO):
    """Standard input with somebody at a terminal, who does something before each answer.

    Args:
        answer: Does it, and returns the answer.
    """

    def __init__(self, answer: Callable[[], str]) -> None:
        super().__init__()
        self._answer = answer

    def isatty(self) -> bool:
        """Return that it is a terminal."""
        return True

    def readline(self, _: int = -1, /) -> str:  # type: ignore[override]  # typeshed knows two kinds of lines
        """Return what is answered, as a line."""
        return self._answer() + "\n"


def seat(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], str]) -> None:
    """Have somebody at the terminal. See ``Person``."""
    monkeypatch.setattr(sys, "stdin", Person(answer))
    monkeypatch.setattr(options, "has_terminal", lambda: True)  # standard error is captured


class SlowCluster(MemoryCluster):
    """A cluster whose controllers leave some Deployments alone.

    Attributes:
        held: Which.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: set[DeploymentRef] = set()

    def settle(self, ref: DeploymentRef) -> None:
        if ref not in self.held:
            super().settle(ref)

    def let_go(self, ref: DeploymentRef) -> None:
        """Let the controllers do their work after all."""
        self.held.discard(ref)
        self.settle(ref)


@frozen
class Ran:
    """What came of a command.

    Attributes:
        code: Its exit code.
        out: What it printed.
        err: What it said on standard error.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """The one line that it said on standard error, without ``kdm:`` before it."""
        (line,) = self.err.splitlines()
        assert line.startswith("kdm: ")
        return line.removeprefix("kdm: ")


class Command(Protocol):
    """Runs a command in this process."""

    def __call__(self, *arguments: str) -> Ran: ...


class Asked:
    """A kdm to ask, and its cluster.

    Args:
        served: The kdm.
        cluster: Its cluster.
    """

    def __init__(self, served: Served, cluster: SlowCluster) -> None:
        self.served = served
        self.cluster = cluster

    def create(self, name: str, replicas: int, *, held: bool = False, **labels: str) -> DeploymentRef:
        """Create a Deployment ``NAMESPACE/NAME``, settled; from then on its controllers may leave it alone."""
        ref = DeploymentRef(*name.split("/"))

        def create() -> None:
            self.cluster.held.discard(ref)
            self.cluster.create(ref, replicas, labels=labels)
            self.cluster.settle(ref)
            if held:
                self.cluster.held.add(ref)

        self.served.do(create)
        return ref

    def do(self, action: Callable[[SlowCluster], Any]) -> None:
        """Do something with the cluster."""
        self.served.do(lambda: action(self.cluster))

    def desired(self, ref: DeploymentRef) -> int:
        """Return how many are desired in the cluster."""
        return self.served.do(lambda: self.cluster.deployments[ref].replicas.desired)

    @property
    def repository(self) -> MemoryDeploymentRepository:
        """The kdm's repository, to make something go wrong with."""
        found = self.served.repository
        assert isinstance(found, MemoryDeploymentRepository)
        return found

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Make something go wrong; see ``Faults``."""
        self.served.do(lambda: setattr(self.repository.faults, name, True))
        try:
            yield
        finally:
            self.served.do(lambda: setattr(self.repository.faults, name, False))


def context_file(path: Path, served: Served, *more: Served, **others: str) -> None:
    """Write a context ``alice`` and one ``bob``; ``alice-2`` and so on for more kdm; and some of other URLs.

    Args:
        path: The file.
        served: The kdm.
        more: More of them.
        others: URLs by the names of more contexts.
    """
    credentials = served.credentials
    lines = ['current = "alice"']
    for name, leaf in (("alice", credentials.alice), ("bob", credentials.bob)):
        access = served.access(leaf, name=name)
        lines += [
            f"[contexts.{name}]",
            f'server = "{access.server}"\nca = "{access.ca}"\ncert = "{access.cert}"\nkey = "{access.key}"',
        ]
    access = served.access(credentials.alice, name="alice")
    places = [(f"alice-{number}", each.access(name="alice")) for number, each in enumerate(more, 2)]
    for name, each in [*places, *((name, access._replace(server=url)) for name, url in others.items())]:
        lines += [
            f"[contexts.{name}]",
            f'server = "{each.server}"\nca = "{each.ca}"\ncert = "{each.cert}"\nkey = "{each.key}"',
        ]
    path.write_text("\n".join(lines) + "\n")


@contextmanager
def asked(directory: Path, policy: Policy = POLICY, **how: Any) -> Iterator[Asked]:
    """Serve a kdm on memory to ask."""
    cluster = SlowCluster()
    make = lambda: MemoryDeploymentRepository(cluster=cluster)  # noqa: E731
    parts = lambda: {"tracker": ChangeTracker(ChangeLog(1000)), "parking": MemoryParkingLot()}  # noqa: E731
    with Served(directory, Credentials(), make, policy=policy, parts=parts, **how) as running:
        yield Asked(running, cluster)
