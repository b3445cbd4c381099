"""What a repository brings to be tested: itself, and back doors to its cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from kdm_core.errors import KdmError
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.owners import Owner
from kdm_core.ports import DeploymentRepository


class RepositoryHarness(ABC):
    """A repository under test and back doors to its cluster, so that no test seeds or inspects through the port.

    Make a new one for each test. It may use a real cluster with other things in it: the tests touch the namespaces
    they are given and nothing else. No controllers may be at work there, or ``settle`` has to wait until they are done.

    What a method does has happened in the cluster when it returns; the repository may see it later (``settle``).

    Attributes:
        repository: Entered and synced. It watches ``namespaces`` at least; looks for owners; refuses stale reads; lets
            a follower fall ``buffer`` changes behind.
        namespaces: Two namespaces for this test alone, in alphabetical order, existing and empty.
        buffer: How many changes a follower of ``changes`` may fall behind, at least 16: few, to keep the tests short.
    """

    repository: DeploymentRepository
    namespaces: tuple[str, str]
    buffer: int

    def own(self, deployments: Iterable[Deployment]) -> list[Deployment]:
        """Return those that are the test's own, in their order."""
        return [each for each in deployments if each.ref.namespace in self.namespaces]

    @abstractmethod
    def another(self) -> DeploymentRepository:
        """Return another repository of the same cluster and configuration, not entered."""

    @abstractmethod
    async def seed(
        self, ref: DeploymentRef, replicas: int, *, labels: Mapping[str, str] | None = None, paused: bool = False
    ) -> None:
        """Create a Deployment as another client of the cluster would."""

    async def seed_owned(self, ref: DeploymentRef, replicas: int, owner: Owner) -> None:
        """Create a Deployment with the marks that an owner leaves. Not needed without ``Ability.OWNERS``.

        Args:
            ref: Its namespace and name.
            replicas: Its count.
            owner: The owner, which is no autoscaler. Where it ``holds`` the count, it is the one that creates it.
        """
        raise NotImplementedError

    async def autoscale(self, ref: DeploymentRef, target: str, owner: Owner) -> None:
        """Create a HorizontalPodAutoscaler, or replace the one that is there. Not needed without ``Ability.OWNERS``.

        Args:
            ref: Its own namespace and name.
            target: The name of the Deployment that it is for.
            owner: What it is to that: its bounds, and whether it is itself or a ScaledObject's.
        """
        raise NotImplementedError

    async def end_autoscaling(self, ref: DeploymentRef) -> None:
        """Delete a HorizontalPodAutoscaler. Not needed without ``Ability.OWNERS``.

        Args:
            ref: Its own namespace and name.
        """
        raise NotImplementedError

    @abstractmethod
    async def edit(
        self, ref: DeploymentRef, *, replicas: int | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        """Change a Deployment as another client would: what is not None."""

    @abstractmethod
    async def delete(self, ref: DeploymentRef) -> None:
        """Delete a Deployment as another client would, and wait until it is gone."""

    @abstractmethod
    async def stored_replicas(self, ref: DeploymentRef) -> int | None:
        """Return the count the cluster holds for a Deployment; None where there is none."""

    @abstractmethod
    async def settle(self) -> None:
        """Wait until the repository has seen everything that was done, and nothing happens by itself any more.

        While the watch is broken: until nothing happens by itself any more.
        """

    @abstractmethod
    async def break_watch(self) -> None:
        """Keep the repository from seeing what happens; return when it has noticed. Writes and probes still arrive.

        Another one that is entered meanwhile does not sync.
        """

    @abstractmethod
    async def heal_watch(self) -> None:
        """Let the repository see again."""

    @abstractmethod
    async def go_stale(self) -> None:
        """Break the watch, for longer than the repository was configured to bear; its clock may be a false one."""

    @abstractmethod
    async def fail(self, error: type[KdmError]) -> None:
        """Make every write fail for the reason that this error stands for; probes too where it is about reaching it."""

    @abstractmethod
    async def heal(self) -> None:
        """End what ``fail`` began."""


class ScopedRepositoryHarness(RepositoryHarness):
    """A harness whose repository watches ``namespaces`` and no others, each as a source of its own.

    Attributes:
        unwatched: A third namespace for this test alone, existing and empty, that the repository does not watch.
    """

    unwatched: str

    @abstractmethod
    async def break_watch_of(self, namespace: str) -> None:
        """Do what ``break_watch`` does for one of ``namespaces``; ``heal_watch`` ends it.

        Another repository that is entered meanwhile syncs the others.
        """

    @abstractmethod
    async def go_stale_in(self, namespace: str) -> None:
        """Do what ``go_stale`` does for one of ``namespaces``; return when the others are fresh."""
