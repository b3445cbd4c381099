"""The use cases that park: remember a count and go to zero, come back, and say what is parked."""

from __future__ import annotations

from kdm_core.errors import Forbidden, KdmError, ParkingOff
from kdm_core.labels import NO_LABELS
from kdm_core.model import ALL_NAMESPACES, LOCAL, Caller, Deployment, DeploymentRef, Verb
from kdm_core.parked import Parked
from kdm_core.parking import ParkedDeployment, ParkedState, Parking, ParkingStatus, state_of
from kdm_core.ports import DeploymentRepository, ParkingLot
from kdm_core.queries import Query
from kdm_core.service.parker import Parker, is_gone
from kdm_core.service.parking_rounds import Asked
from kdm_core.service.permission import Permission
from kdm_core.service.recording import Recorder


class Parks:
    """A part of the service, which sets what it needs."""

    _repository: DeploymentRepository
    _permission: Permission
    _recorder: Recorder
    _lot: ParkingLot | None
    _parker: Parker | None
    _sees_all: bool

    @property
    def parks(self) -> bool:
        """Whether Deployments can be parked here."""
        return self._lot is not None

    async def park(
        self,
        ref: DeploymentRef,
        *,
        caller: Caller = LOCAL,
        park_id: str | None = None,
        reason: str = "",
        dry_run: bool = False,
        override: bool = False,
    ) -> Parking:
        """Remember a Deployment's count and set it to zero. Leaves one audit event, whatever comes of it.

        One that is parked already stays as it is, with the batch that it was parked with. One that kdm woke goes back
        to zero, and keeps the count that it had when it was parked.

        Args:
            ref: Which Deployment.
            caller: Who asks. They need the permission to scale it to zero.
            park_id: What the batch is called that is restored together; None for one of its own.
            reason: Why, in the caller's own words: one line of at most 256 characters.
            dry_run: Whether only to try: everything is judged, by the cluster too, and nothing is stored.
            override: Whether to park it although an owner will change its count back.

        Returns:
            What came of it. A read that follows shows it, except for a dry run.

        Raises:
            ParkingOff: Nothing is parked here.
            NothingToPark: It is at zero, and nobody parked it.
            ParkingFull: There is no room to remember it.
            ParkingRecordUnreadable: Something is remembered of it that cannot be read.
            InvalidName, InvalidChange, DeploymentNotFound, Forbidden, Contended, AuditUnavailable, WriteRejected,
            Unavailable: As for ``set_replicas``.
        """
        return await self._who_parks().park(
            Asked(ref, caller, park_id, reason=reason, dry_run=dry_run, override=override)
        )

    async def restore(
        self,
        ref: DeploymentRef,
        *,
        caller: Caller = LOCAL,
        park_id: str | None = None,
        replicas: int | None = None,
        reason: str = "",
        dry_run: bool = False,
        override: bool = False,
    ) -> Parking:
        """Bring a parked Deployment back to the count that it had. Leaves one audit event, whatever comes of it.

        One that somebody has scaled meanwhile, or deleted and created again, is left alone. What was remembered of it
        is in the error, and is forgotten. Where it has the count already, nothing changes and it is forgotten too.

        Args:
            ref: Which Deployment.
            caller: Who asks. They need the permission to scale it to the count that is remembered.
            park_id: Only if it was parked with this batch; None for any.
            replicas: To wake it with so many replicas in place of the count it had, which stays remembered.
            reason: Why, in the caller's own words: one line of at most 256 characters.
            dry_run: Whether only to try: everything is judged, by the cluster too, and nothing is stored.
            override: Whether to restore it although an owner will change its count back.

        Returns:
            What came of it. A read that follows shows it, except for a dry run.

        Raises:
            ParkingOff: Nothing is parked here.
            NotParked: It is not parked, or not with this batch.
            ChangedSinceParked: Somebody has scaled it since, or it is another one.
            ParkingRecordUnreadable: Something is remembered of it that cannot be read.
            InvalidName, InvalidReplicas, InvalidChange, DeploymentNotFound, Forbidden, Contended, AuditUnavailable,
            WriteRejected, Unavailable: As for ``set_replicas``. What is remembered of a Deployment that does not exist
            is forgotten.
        """
        return await self._who_parks().restore(Asked(ref, caller, park_id, replicas, reason, dry_run, override))

    def parked(
        self, query: Query | None = None, caller: Caller = LOCAL, park_id: str | None = None
    ) -> tuple[ParkedDeployment, ...]:
        """Return what is remembered of Deployments that the caller may read, from memory.

        What other kdm processes have parked is there within the delay of a watch.

        Args:
            query: Which Deployments: its namespace and its selector count. None for all. One that is gone has no
                labels any more: it is there where no selector is asked for.
            caller: Who asks.
            park_id: Of this batch alone; None for any.

        Returns:
            What is remembered, ordered by namespace, then name.

        Raises:
            ParkingOff: Nothing is parked here.
            InvalidName, NamespaceNotWatched, Forbidden, CacheNotSynced, CacheStale: As for ``list``.
        """
        if self._lot is None:
            raise ParkingOff
        query = query or Query()
        identity, where = caller.identity, query.namespace
        try:
            self._permission.check_list(identity, where)
        except Forbidden as error:
            self._recorder.refusal(error, caller, where)
            raise
        self._repository.list(where)  # it says whether there is anything to compare with
        shown: list[ParkedDeployment] = []
        for ref, parked in self._lot.list():
            if where not in {ALL_NAMESPACES, ref.namespace} or park_id not in {None, parked.park_id}:
                continue
            found = self._found(ref)
            if found is None and not (self._sees_all and is_gone(self._repository, ref)):
                continue
            labels = NO_LABELS if found is None else found.labels
            if query.narrow if found is None else not query.selects(found):
                continue
            if self._permission.policy.allows(identity, Verb.READ, ref, labels):
                shown.append(ParkedDeployment(ref, parked, state_of(parked, found)))
        return tuple(shown)

    def parking_status(self) -> ParkingStatus:
        """Return how much is parked now. Never raises."""
        if self._lot is None:
            return ParkingStatus()
        try:
            records = self._lot.list()
        except KdmError:
            return ParkingStatus(unreadable=self._lot.unreadable())
        at_zero = [parked for ref, parked in records if state_of(parked, self._found(ref)) is ParkedState.PARKED]
        return ParkingStatus(len(at_zero), min((each.at for each in at_zero), default=None), self._lot.unreadable())

    def _who_parks(self) -> Parker:
        if self._parker is None:
            raise ParkingOff
        return self._parker

    def _show(self, ref: DeploymentRef, parked: Parked | None) -> None:
        """Show with the Deployment what is remembered of it."""
        self._repository.annotate_parked(ref, parked)

    def _found(self, ref: DeploymentRef) -> Deployment | None:
        try:
            return self._repository.get(ref)
        except KdmError:
            return None
