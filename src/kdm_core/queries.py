"""What a caller asks for when it lists Deployments, and the part of the answer it gets."""

from __future__ import annotations

from attrs import frozen

from kdm_core.errors import InvalidQuery
from kdm_core.model import ALL_NAMESPACES, Deployment, DeploymentRef
from kdm_core.rollout import RolloutState, state_of
from kdm_core.selectors import EVERYTHING, LabelSelector


@frozen
class Query:
    """Which Deployments to list or follow. May be kept and used again.

    Attributes:
        namespace: Of one namespace; "*" for every watched one.
        selector: With which labels.
        limit: At most how many; None for all. Has no meaning for changes.
        after: Only those that come after this one, in the order of namespaces, then names; None for all. It need not
            exist. Has no meaning for changes.
        states: In one of these states; empty for any.

    Raises:
        InvalidQuery: ``limit`` is not positive.
    """

    namespace: str = ALL_NAMESPACES
    selector: LabelSelector = EVERYTHING
    limit: int | None = None
    after: DeploymentRef | None = None
    states: frozenset[RolloutState] = frozenset()

    def __attrs_post_init__(self) -> None:
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise InvalidQuery(f"limit: must be a positive integer, not {self.limit!r:.40}")

    @property
    def plain(self) -> bool:
        """Whether nothing but a namespace is asked for."""
        return self.limit is None and self.after is None and not self.narrow

    @property
    def narrow(self) -> bool:
        """Whether some Deployments of the namespace may be left out, on whichever page."""
        return bool(self.selector.requirements or self.states)

    def selects(self, deployment: Deployment) -> bool:
        """Return whether a Deployment of the namespace is asked for, on some page."""
        return self.selector.matches(deployment.labels) and (not self.states or state_of(deployment) in self.states)


@frozen
class Page:
    """The Deployments that a query found, of one snapshot.

    Whoever asks for the next page with ``after=page.next`` sees every Deployment that exists throughout exactly once:
    the order of namespaces and names is that of what never changes.

    Attributes:
        deployments: The Deployments, ordered by namespace, then name.
        next: Where the next page begins: ``after`` of its query. None where this is the last one.
        remaining: How many Deployments come after this page; None where they were not counted, because the policy or
            the selector leaves some out.
        whole: Whether this is everything the repository holds there: neither the policy nor the query left one out.
            Then ``deployments`` is the repository's own tuple: the same object until something changes.
    """

    deployments: tuple[Deployment, ...]
    next: DeploymentRef | None = None
    remaining: int | None = 0
    whole: bool = False
