"""Reading in API v2: what kdm is, lists, and one Deployment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final

import msgspec

from kdm_core import (
    ALL_NAMESPACES,
    Caller,
    Deployment,
    DeploymentRef,
    DeploymentService,
    LabelSelector,
    NotSeenYet,
    Query,
    RolloutState,
    Trouble,
    Verb,
)
from kdm_core.bulk import MAX_ITEMS
from kdm_core.names import check_namespace
from kdm_core.scaling import MAX_REASON_LENGTH
from kdm_core.version import installed_version
from kdm_http.api.errors import MAX_BODY_BYTES, BadRequest, Refused
from kdm_http.api.replays import KEPT_S
from kdm_http.api.route import Enclosed, Found, Listing, Reply, Request, Watch
from kdm_http.api.v2 import problems
from kdm_http.api.v2.asked import boolean, count, members_of, ref_of
from kdm_http.api.v2.bodies import (
    About,
    Access,
    Bounds,
    DeploymentBody,
    Features,
    LimitsBody,
    ListMetadata,
    ReplicasBody,
    User,
)
from kdm_http.api.v2.durations import MAX_WAIT_S, duration
from kdm_http.api.v2.freshness import freshness
from kdm_http.api.v2.pages import VERSION, Continue, digest_of
from kdm_http.api.v2.tags import tag_of_deployment, tag_of_replicas

_encode = msgspec.json.Encoder().encode
_PLAIN_PAGE: Final = b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
_STREAMED: Final = ("allowWatchBookmarks", "labelSelector", "state", "watch")


def get_about(service: DeploymentService, caller: Caller, _: Request) -> About:
    """Return what answers, who asks, and what can be asked for."""
    owners = service.sync_status().owners
    return About(
        version=installed_version(),
        user=User(name=caller.identity.user, groups=sorted(caller.identity.groups)),
        features=Features(
            rollout=True,
            idempotency_key=True,
            watch=True,
            owners=bool(owners),
            parking=service.parks,
            bulk=True,
            history=service.keeps_history,
        ),
        owners_unknown=[
            f"{each.source}: {each.trouble or Trouble.NOT_READ}"
            for each in owners
            if not (each.synced and each.connected)
        ],
        limits=LimitsBody(
            max_replicas=service.max_replicas,
            max_wait_seconds=int(MAX_WAIT_S),
            max_body_bytes=MAX_BODY_BYTES,
            max_reason_length=MAX_REASON_LENGTH,
            max_bulk_items=MAX_ITEMS,
            idempotency_key_seconds=int(KEPT_S),
        ),
    )


def list_deployments(
    service: DeploymentService, caller: Caller, request: Request
) -> Listing | Awaitable[Listing] | Watch:
    """List the Deployments that the caller may read, by namespace, then name; or stream what happens to them."""
    if boolean(request.query, "watch"):
        return _watch(service, caller, request)
    if "allowWatchBookmarks" in request.query:
        raise BadRequest("allowWatchBookmarks: has no meaning without watch=true")
    if "resourceVersion" in request.query or "wait" in request.query:
        return _list_later(service, caller, request)
    return _list(service, caller, request)


def get_deployment(service: DeploymentService, caller: Caller, request: Request) -> Found | Awaitable[Found]:
    """Return one Deployment."""
    if "resourceVersion" in request.query or "wait" in request.query:
        return _get_later(service, caller, request)
    return _get(service, caller, request)


def get_replicas(service: DeploymentService, caller: Caller, request: Request) -> Found:
    """Return how many replicas are desired. Its entity tag is what a write's If-Match can name."""
    found = service.get(ref_of(request), caller)
    return _found(service, found, ReplicasBody.of, tag_of_replicas(found))


def list_problems(_: DeploymentService, __: Caller, ___: Request) -> Reply:
    """Return the page that lists all problems."""
    return _page(problems.index())


def get_problem(_: DeploymentService, __: Caller, request: Request) -> Reply:
    """Return the page of a problem."""
    kind = problems.KINDS.get(request.path["code"])
    if kind is None:
        code = request.path["code"][:80]
        raise Refused("no-such-problem", 404, f"there is no problem {code!r}; {problems.PATH} lists them")
    return _page(problems.page(kind))


def _page(html: bytes) -> Reply:
    return Reply(html, fields=_PLAIN_PAGE, media_type=b"text/html; charset=utf-8")


async def _list_later(service: DeploymentService, caller: Caller, request: Request) -> Listing:
    await _seen(service, caller, request, request.path.get("namespace", ALL_NAMESPACES))
    return _list(service, caller, request)


async def _get_later(service: DeploymentService, caller: Caller, request: Request) -> Found:
    await _seen(service, caller, request, ref_of(request))
    return _get(service, caller, request)


async def _seen(service: DeploymentService, caller: Caller, request: Request, where: str | DeploymentRef) -> None:
    """Wait until reads are as new as the query asks for."""
    version = request.query.get("resourceVersion")
    wait_s = duration("wait", request.query.get("wait", "0"))
    if version is None:
        return
    patience = request.patience
    assert patience is not None  # noqa: S101 - what waits is not called on the fast path
    patience.extend(wait_s)
    wait_s = max(0.0, min(wait_s, patience.valid_s))  # nobody reads with a certificate that expired meanwhile
    why = await patience.wait_for(service.wait_for_version(where, version, wait_s, caller))
    if why is not None:
        raise NotSeenYet(f"resourceVersion {version} was not seen: {why}")


def _watch(service: DeploymentService, caller: Caller, request: Request) -> Watch:
    """Return what is to be streamed, once it is certain that the caller could list it."""
    if others := sorted(request.query.keys() - set(_STREAMED)):
        raise BadRequest(f"{others[0]}: has no meaning beside watch=true", allowed=_STREAMED)
    namespace, selector, states = _filters(request)
    service.list(Query(namespace, limit=1), caller)
    return Watch(Query(namespace, selector, states=states), boolean(request.query, "allowWatchBookmarks"))


def _filters(request: Request) -> tuple[str, LabelSelector, frozenset[RolloutState]]:
    namespace = request.path.get("namespace", ALL_NAMESPACES)
    if namespace == ALL_NAMESPACES and "namespace" in request.path:
        check_namespace(namespace)
    selector = LabelSelector.parse(request.query.get("labelSelector", ""))
    return namespace, selector, members_of(request.query, "state", RolloutState)


def _list(service: DeploymentService, caller: Caller, request: Request) -> Listing:
    namespace, selector, states = _filters(request)
    query = request.query
    limit = count(query, "limit", 1)
    filters = digest_of(namespace, str(selector), *sorted(states))
    begun = Continue.read(query["continue"], filters) if "continue" in query else None
    page = service.list(
        Query(namespace, selector, limit, begun.after if begun else None, states),
        caller,
    )
    fresh = freshness(service, namespace)
    consistent = begun is None or begun.resource_version == fresh.resource_version
    token = None
    if page.next is not None:
        version = fresh.resource_version if consistent else ""
        token = str(Continue(VERSION, page.next.namespace, page.next.name, filters, version))
    metadata = ListMetadata(
        resource_version=fresh.resource_version,
        continue_=token,
        remaining_item_count=page.remaining,
        age_seconds=fresh.age_s,
        stale=fresh.stale,
        consistent=consistent,
    )

    def enclose(items: bytes, tag: bytes) -> Enclosed:
        # Weak: the list's age and version go on while all that is listed stays.
        said = _encode((metadata.continue_, metadata.remaining_item_count, metadata.stale, metadata.consistent))
        digest = blake2b(tag + said, digest_size=8).hexdigest()
        body = b'{"metadata":%b,"items":%b}' % (_encode(metadata), items)
        return Enclosed(body, b'W/"%b"' % digest.encode(), fresh.field)

    return Listing(page.deployments, DeploymentBody.of, namespace, page.whole, enclose)


def _get(service: DeploymentService, caller: Caller, request: Request) -> Found:
    found = service.get(ref_of(request), caller)
    if not boolean(request.query, "access"):
        return _found(service, found, DeploymentBody.of, tag_of_deployment(found, _encode(DeploymentBody.of(found))))
    access = _access(service, caller, found)  # as long as the policy is the same
    tag = tag_of_deployment(found, _encode(DeploymentBody.of(found, access)))
    return _found(service, found, lambda same: DeploymentBody.of(same, access), tag)


def _found(
    service: DeploymentService, found: Deployment, show: Callable[[Deployment], msgspec.Struct], tag: bytes
) -> Found:
    namespace = found.ref.namespace
    return Found(found, show, namespace, tag, lambda: freshness(service, namespace).field)


def _access(service: DeploymentService, caller: Caller, found: Deployment) -> Access:
    granted = service.policy.counts(caller.identity, found.ref, found.labels)
    bounds = [
        Bounds(min=each.min, max=min(each.max, service.max_replicas), allow_zero=each.allow_zero) for each in granted
    ]
    override = service.policy.allows(caller.identity, Verb.SCALE, found.ref, found.labels, override=True)
    return Access(verbs=["read", "scale"] if granted else ["read"], bounds=bounds, override=override)
