"""What a batch would do: every item is judged by policy, bounds, reason and expectations before any is written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from attrs import evolve, frozen

from kdm_core.bulk import MAX_ITEMS, Bulk, BulkChange, BulkItem, Park, Plan, Planned, Restore, Selection
from kdm_core.errors import (
    BulkTooLarge,
    DeploymentNotFound,
    InvalidQuery,
    KdmError,
    NamespaceNotWatched,
    ParkingOff,
    WriteConflict,
)
from kdm_core.model import ALL_NAMESPACES, Caller, Deployment, DeploymentRef, Verb
from kdm_core.names import check_replicas
from kdm_core.parked import Parked
from kdm_core.parking import check_may_return
from kdm_core.ports import DeploymentRepository, ParkingLot
from kdm_core.queries import Query
from kdm_core.scaling import Expect
from kdm_core.service.listing import page_of
from kdm_core.service.owning import heed
from kdm_core.service.permission import Permission

_SCALE = Verb.SCALE


@frozen
class _Asked:
    """What is to be planned.

    Attributes:
        bulk: What is asked for.
        caller: Who asks.
        records: What is remembered of parked Deployments, where some are to be restored.
    """

    bulk: Bulk
    caller: Caller
    records: Mapping[DeploymentRef, Parked]


class Planner:
    """Plans batches on behalf of callers, from memory. Only what is not there is asked for in the cluster.

    Args:
        repository: Where the Deployments are.
        permission: Who may do what.
        slots: As many requests as may be under way at a time.
        max_replicas: The largest count.
        lot: Where the counts of parked Deployments are remembered; None where nothing is parked.
        sees_all: Whether a Deployment that the repository does not have does not exist.
    """

    def __init__(
        self,
        repository: DeploymentRepository,
        permission: Permission,
        slots: asyncio.Semaphore,
        *,
        max_replicas: int,
        lot: ParkingLot | None,
        sees_all: bool,
    ) -> None:
        self._lot = lot
        self._sees_all = sees_all
        self._repository = repository
        self._permission = permission
        self._slots = slots
        self._max_replicas = max_replicas

    async def plan(self, bulk: Bulk, caller: Caller) -> Plan:
        """Judge every item.

        Args:
            bulk: What is asked for.
            caller: Who asks.

        Raises:
            InvalidInput: It can never be right, or it is too much at once (``BulkTooLarge``).
            Forbidden: The policy lets the caller read nothing at all where it selects.
            NamespaceNotWatched: The selected namespace lies outside the watched ones.
            CacheNotSynced, CacheStale: The repository cannot answer now, or it is not known yet what is parked.
        """
        of = bulk.of
        if isinstance(of, Selection):
            asked = _Asked(bulk, caller, self._records(of.change))
            found = self._select(of, caller)
            items = tuple(self._judge(Planned(each.ref, of.change, deployment=each), each, asked) for each in found)
        else:
            _check_items(of)
            items = await self._named(of, _Asked(bulk, caller, self._records(*(each.change for each in of))))
        return Plan(items, bulk.on_error, bulk.override)

    def _select(self, selection: Selection, caller: Caller) -> tuple[Deployment, ...]:
        """Return what is selected, of what the caller may read: of nothing else it learns whether it exists."""
        identity, namespace = caller.identity, selection.namespace
        self._permission.check_list(identity, namespace)
        policy = self._permission.policy
        page = page_of(
            self._repository.list(namespace),
            Query(namespace, selection.selector),
            policy,
            identity,
            unrestricted=policy.unrestricted(identity, namespace),
        )
        _check_size(len(page.deployments))
        return page.deployments

    async def _named(self, items: tuple[BulkItem, ...], asked: _Asked) -> tuple[Planned, ...]:
        planned = {each.ref: self._known(each, asked) for each in items}
        async with asyncio.TaskGroup() as group:  # what the cache lacks may be new: the cluster has the last word
            for ref, each in planned.items():
                if each.deployment is None and each.refusal is None:
                    group.create_task(self._fetched(planned, ref, asked))
        return tuple(planned.values())

    def _known(self, item: BulkItem, asked: _Asked) -> Planned:
        planned = Planned(item.ref, item.change, item.expect)
        try:
            held = self._permission.known(item.ref, _SCALE, asked.caller.identity, reason=bool(asked.bulk.reason))
        except KdmError as error:
            return evolve(planned, refusal=error)
        return planned if held is None else self._judge(planned, held, asked)

    async def _fetched(self, planned: dict[DeploymentRef, Planned], ref: DeploymentRef, asked: _Asked) -> None:
        try:
            async with self._slots:
                found = await self._permission.fetched(
                    ref, _SCALE, asked.caller.identity, reason=bool(asked.bulk.reason)
                )
        except KdmError as error:
            planned[ref] = self._absent(planned[ref], error, asked)
        else:
            planned[ref] = self._judge(planned[ref], found, asked)

    def _absent(self, planned: Planned, error: KdmError, asked: _Asked) -> Planned:
        """Judge one change of a Deployment that the cluster does not have. A restore forgets that it was parked."""
        change, record = planned.change, asked.records.get(planned.ref)
        gone = self._sees_all and isinstance(error, DeploymentNotFound) and not isinstance(error, NamespaceNotWatched)
        if not (gone and isinstance(change, Restore) and change.concerns(record)):
            return evolve(planned, refusal=error)
        warning = f"it does not exist any more: it was deleted since it was parked with {record.replicas}"
        return evolve(planned, expect=Expect(uid=record.uid), record=record, warnings=(warning,))

    def _judge(self, planned: Planned, held: Deployment, asked: _Asked) -> Planned:
        """Judge one change of a Deployment as it is known: the order is that of a single write."""
        identity, bulk = asked.caller.identity, asked.bulk
        reason = bool(bulk.reason)
        try:
            self._permission.check(held, _SCALE, identity, reason=reason)
        except KdmError as error:
            return evolve(planned, refusal=error)
        planned = evolve(planned, deployment=held, record=asked.records.get(held.ref))
        try:
            if unmet := planned.expect.unmet(held):
                raise _conflict(planned, held, unmet)
            after, warnings = self._result(planned, held)
            self._permission.check(held, _SCALE, identity, after, reason=reason)
            owners = heed(
                self._permission,
                held,
                after,
                identity,
                override=bulk.override,
                reason=reason,
                back=isinstance(planned.change, Restore),
            )
        except KdmError as error:
            return evolve(planned, refusal=error)
        expect = evolve(planned.expect, replicas=held.replicas.desired, uid=held.uid)
        if after != held.replicas.desired:
            warnings = (*warnings, *(each.message for each in owners))
        return evolve(planned, after=after, expect=expect, warnings=warnings, owners=owners)

    def _result(self, planned: Planned, held: Deployment) -> tuple[int, tuple[str, ...]]:
        """Return the count that a change leads to, and what to say of it."""
        change = planned.change
        if isinstance(change, Park | Restore):
            if isinstance(change, Park):
                check_may_return(held.ref, held.replicas.desired, self._max_replicas)
            after, warnings = change.plan(held) if isinstance(change, Park) else change.plan(held, planned.record)
            return (
                after if after == held.replicas.desired else check_replicas(after, maximum=self._max_replicas)
            ), warnings
        return change.result(held.ref, held.replicas.desired, self._max_replicas), ()

    def _records(self, *changes: BulkChange) -> Mapping[DeploymentRef, Parked]:
        """Check changes, and return what is remembered where one of them restores."""
        for each in changes:
            if isinstance(each, Park | Restore) and self._lot is None:
                raise ParkingOff
            each.check(self._max_replicas)
        if self._lot is None or not any(isinstance(each, Restore) for each in changes):
            return {}
        return dict(self._lot.list())


def _conflict(planned: Planned, held: Deployment, unmet: str) -> WriteConflict:
    error = WriteConflict(f"Deployment '{held.ref}' is not as expected: {unmet}", held)
    error.expected = planned.expect
    return error


def _check_items(items: Iterable[BulkItem]) -> None:
    refs = [each.ref for each in items]
    if not refs:
        raise InvalidQuery("items: must not be empty")
    _check_size(len(refs))
    if len(set(refs)) < len(refs):
        twice = next(each for each in refs if refs.count(each) > 1)
        raise InvalidQuery(f"items: Deployment {str(twice)[:320]!r} is there more than once")


def _check_size(total: int) -> None:
    if total > MAX_ITEMS:
        raise BulkTooLarge(total, MAX_ITEMS)


def where_of(bulk: Bulk) -> str:
    """Return in which namespace a batch changes something; "*" for several."""
    if isinstance(bulk.of, Selection):
        return bulk.of.namespace
    namespaces = {each.ref.namespace for each in bulk.of}
    return namespaces.pop() if len(namespaces) == 1 else ALL_NAMESPACES
