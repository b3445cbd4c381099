"""The use cases that find one Deployment: by namespace and name, or by what a name alone means."""

from __future__ import annotations

from typing import Final

from kdm_core.errors import DeploymentNotFound, Forbidden, KdmError
from kdm_core.model import ALL_NAMESPACES, LOCAL, Caller, Deployment, DeploymentRef, Verb
from kdm_core.ports import DeploymentRepository, ServiceInstrument
from kdm_core.scaling import Change, SetTo, check_reason
from kdm_core.service.permission import Permission
from kdm_core.service.recording import Recorder

_READ: Final = Verb.READ


class LookUp:
    """A part of the service, which sets what it needs."""

    _repository: DeploymentRepository
    _permission: Permission
    _recorder: Recorder
    _instrument: ServiceInstrument
    _namespace: str
    _max_replicas: int

    def get(self, ref: DeploymentRef, caller: Caller = LOCAL) -> Deployment:
        """Return one Deployment, from memory.

        Args:
            ref: Which one. It need not be a valid name: then this is what the error says.
            caller: Who asks.

        Returns:
            Its newest known state.

        Raises:
            InvalidName: A name no Deployment or namespace can have.
            DeploymentNotFound: There is none.
            Forbidden: The policy does not let the caller read it.
            CacheNotSynced, CacheStale: The repository cannot answer now.
        """
        try:
            found = self._repository.get(ref)
        except KdmError:
            pass  # what is wrong is said in the order that keeps secrets: below
        else:
            if self._permission.policy.allows(caller.identity, _READ, ref, found.labels):
                self._instrument.read_served("get")
                return found
        try:
            known = self._permission.known(ref, _READ, caller.identity)
        except Forbidden as error:
            self._recorder.refusal(error, caller, ref.namespace, ref.name)
            raise
        if known is None:
            raise DeploymentNotFound(ref)
        return known

    def find(self, name: str, namespace: str | None = None, caller: Caller = LOCAL) -> Deployment:
        """Return the Deployment that a name means, from memory: for callers that need not name a namespace.

        Args:
            name: Its name.
            namespace: Its namespace; None for the configured default, "*" for whichever has one of that name.
            caller: Who asks.

        Returns:
            Its newest known state.

        Raises:
            InvalidName, DeploymentNotFound, Forbidden, CacheNotSynced, CacheStale: As for ``get``.
            AmbiguousName: "*", and several namespaces have one that the caller may read or scale.
        """
        where = self._namespace if namespace is None else namespace
        if where != ALL_NAMESPACES:
            return self.get(DeploymentRef(where, name), caller)
        try:
            found = self._repository.find(name)
        except KdmError:
            found = ()  # as in ``get``
        if len(found) != 1 or not self._permission.policy.allows(caller.identity, _READ, found[0].ref, found[0].labels):
            try:
                found = (self._permission.the_one(name, _READ, caller.identity),)
            except Forbidden as error:
                self._recorder.refusal(error, caller, where, name)
                raise
        self._instrument.read_served("find")
        return found[0]

    def resolve(
        self,
        name: str,
        namespace: str | None,
        verb: Verb,
        caller: Caller = LOCAL,
        change: Change | None = None,
        reason: str = "",
    ) -> DeploymentRef:
        """Return which Deployment a name means: for callers that need not name a namespace.

        Permission comes first: who may not touch a name does not learn whether it exists. A failure is recorded as what
        the attempt to read or write came to; so write in the same turn of the event loop, or resolve again.

        Args:
            name: Its name.
            namespace: Its namespace; None for the configured default, "*" for whichever has one of that name.
            verb: What is to be done.
            caller: Who asks.
            change: What is to be written, where something is: it is checked, and refused, with the name.
            reason: Why it is to be written.

        Returns:
            The reference. Where a namespace was named the Deployment need not be known here: it may be new.

        Raises:
            InvalidName, Forbidden, AmbiguousName, DeploymentNotFound, CacheNotSynced, CacheStale: As for ``find``.
            InvalidReplicas, InvalidChange: The change can never be right.
        """
        where = self._namespace if namespace is None else namespace
        if verb is _READ:
            return self.find(name, where, caller).ref
        with self._recorder.attempt(caller, where, name, change) as attempt:
            if change is not None:
                change.check(self._max_replicas)
            attempt.why = check_reason(reason)
            given = bool(attempt.why)
            replicas = change.replicas if isinstance(change, SetTo) else None
            if where == ALL_NAMESPACES:
                ref = self._permission.the_one(name, verb, caller.identity, replicas, reason=given).ref
            else:
                ref = DeploymentRef(where, name)
                self._permission.known(ref, verb, caller.identity, replicas, reason=given)
            attempt.goes_on = True
            return ref
