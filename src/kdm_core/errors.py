"""What can go wrong, as a caller of the domain meets it. No error knows HTTP or Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kdm_core.model import DeploymentRef, Identity, Verb


class Copyable(Exception):
    """An error that can be copied, pickled and raised across processes, whatever its constructor takes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[Copyable], args: tuple[object, ...]) -> Copyable:
    error = kind.__new__(kind)  # its constructor would take the message for what it makes one of
    error.args = args
    return error


class KdmError(Copyable):
    """The root of every error kdm raises on purpose. ``str()`` of one is fit to be shown to a caller.

    Errors may be copied and pickled, whatever their constructors take.
    """


class InvalidInput(KdmError, ValueError):
    """The caller gave a value that can never be right."""


class InvalidName(InvalidInput):
    """A name that no Deployment or namespace can have."""

    def __init__(self, what: str, value: str, rule: str) -> None:
        shown = value if len(value) <= 80 else value[:80] + "..."
        super().__init__(f"invalid {what} {shown!r}: it must be {rule}")


class InvalidReplicas(InvalidInput):
    """A replica count that is no integer within the bounds."""

    def __init__(self, value: object, maximum: int) -> None:
        try:
            shown = repr(value)
        except ValueError:  # Python refuses to write an int of more than some thousand digits
            shown = "of many digits"
        shown = shown if len(shown) <= 40 else shown[:40] + "..."
        super().__init__(f"invalid replica count {shown}: it must be an integer from 0 to {maximum}")


class PolicyError(InvalidInput):
    """A policy that says something it cannot mean; the message names the key and its place."""


class DeploymentNotFound(KdmError, LookupError):
    """There is no such Deployment, as far as this repository can see."""

    def __init__(self, ref: DeploymentRef | str) -> None:
        super().__init__(
            f"Deployment {ref!r} not found in any namespace"
            if isinstance(ref, str)
            else f"Deployment '{ref}' not found"
        )


class NamespaceNotWatched(DeploymentNotFound):
    """The namespace lies outside the ones this repository was told to watch."""

    def __init__(self, namespace: str, watched: Sequence[str]) -> None:
        KdmError.__init__(self, f"namespace '{namespace}' is not managed here; managed are: {', '.join(watched)}")


class AmbiguousName(KdmError, LookupError):
    """Several namespaces have a Deployment of this name, and the caller named none."""

    def __init__(self, name: str, namespaces: Sequence[str]) -> None:
        self.namespaces = tuple(namespaces)
        super().__init__(f"Deployment '{name}' exists in several namespaces, say which: {', '.join(self.namespaces)}")


class Forbidden(KdmError):
    """kdm's own policy does not let this caller do this.

    Attributes:
        namespace: Where, if that is one namespace; "" if it is not known.
    """

    def __init__(self, actor: Identity, verb: Verb, target: str, namespace: str = "") -> None:
        self.namespace = namespace
        super().__init__(f"user '{actor.user}' lacks the permission '{verb.value}' on {target}")


class PreconditionFailed(KdmError):
    """The caller attached a condition to a write, and it is not met. Nothing changed."""


class WriteRejected(KdmError):
    """The cluster understood the write and refused it. Nothing changed."""


class WriteConflict(WriteRejected):
    """The Deployment changed meanwhile. Read it again before trying again."""


class WriteForbidden(WriteRejected):
    """The cluster does not let kdm do this; the message names kdm's user, the missing verb and resource, and why."""


class WriteInvalid(WriteRejected):
    """The cluster, or an admission webhook or policy in it, refuses the write; the message has its words."""


class Unavailable(KdmError):
    """It cannot be answered now, and may be later. ``retry_after_s`` says when to try again, in seconds."""

    retry_after_s: int = 1


class CacheNotSynced(Unavailable):
    """No complete state has been read from the cluster yet."""


class CacheStale(Unavailable):
    """The cached state is older than the configured bound, and reads were configured to be refused then."""


class ClusterUnreachable(Unavailable):
    """The cluster could not be reached, or could not serve. A write did not happen."""


class ClusterTimeout(Unavailable):
    """The cluster did not answer in time, or failed half-way. A write may have happened: read before trying again."""


class ClusterUnrecognized(Unavailable):
    """What answered is not the cluster's API: a gateway's page, a redirect, a server without Deployments.

    The message says what it said. A write may have happened: read before trying again.
    """


class ClusterOverloaded(Unavailable):
    """The cluster asked for fewer requests (429). A write did not happen."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AuditUnavailable(Unavailable):
    """The audit trail cannot be written, and writes were configured to be refused then."""
