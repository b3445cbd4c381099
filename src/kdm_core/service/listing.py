"""The part of a list that a query asks for and a policy shows."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter

from kdm_core.model import Deployment, Identity, Verb
from kdm_core.policy import Policy
from kdm_core.queries import Page, Query

_ref = attrgetter("ref")


def page_of(
    deployments: tuple[Deployment, ...], query: Query, policy: Policy, identity: Identity, *, unrestricted: bool
) -> Page:
    """Return a page of a list.

    Args:
        deployments: Everything there is in the query's namespace, ordered by namespace, then name.
        query: What is asked for.
        policy: Who may read what.
        identity: Who asks.
        unrestricted: Whether the policy lets them read everything in the namespace.
    """
    start = 0 if query.after is None else bisect_right(deployments, query.after, key=_ref)
    if unrestricted and not query.narrow:
        return _slice(deployments, start, query.limit)
    found: list[Deployment] = []
    narrow = query.narrow
    for each in deployments[start:] if start else deployments:
        if (unrestricted or policy.allows(identity, Verb.READ, each.ref, each.labels)) and (
            not narrow or query.selects(each)
        ):
            if len(found) == query.limit:
                return Page(tuple(found), found[-1].ref, None)
            found.append(each)
    return Page(tuple(found))


def _slice(deployments: tuple[Deployment, ...], start: int, limit: int | None) -> Page:
    end = len(deployments) if limit is None else start + limit
    page = deployments[start:end]
    remaining = max(0, len(deployments) - end)
    return Page(page, page[-1].ref if remaining else None, remaining, whole=len(page) == len(deployments))
