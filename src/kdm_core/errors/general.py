"""The root of the tree of errors, and what can go wrong with any read and any write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from kdm_core.copyable import Copyable

if TYPE_CHECKING:
    from kdm_core.model import Deployment, DeploymentRef, Identity, Verb
    from kdm_core.scaling import Expect


class KdmError(Copyable):
    """The root of every error kdm raises on purpose. ``str()`` of one is fit to be shown to a caller.

    Attributes:
        code: What went wrong, as a stable slug for programs. Each class of the core has its own; see
            ``kdm_core.errors.ERRORS``.
        retryable: Whether the same request may succeed later, without anybody changing anything.
        written: Whether the write that ended with this error was stored; None where that is not known.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    written: bool | None = False


class InvalidInput(KdmError, ValueError):
    """The caller gave a value that can never be right."""

    code = "invalid-input"


class InvalidName(InvalidInput):
    """A name that no Deployment or namespace can have.

    Attributes:
        what: Of what it should be the name.
        value: The name, cut where it is very long.
        rule: What a name must be.
    """

    code = "invalid-name"

    def __init__(self, what: str, value: str, rule: str) -> None:
        self.what = what
        self.value = value if len(value) <= 80 else value[:80] + "..."
        self.rule = rule
        super().__init__(f"invalid {what} {self.value!r}: it must be {rule}")


class InvalidReplicas(InvalidInput):
    """A replica count that is no integer within the bounds.

    Attributes:
        value: The count as it would be shown, cut where it is very long.
        maximum: The largest count allowed; the smallest is 0.
    """

    code = "invalid-replicas"

    def __init__(self, value: object, maximum: int) -> None:
        try:
            shown = repr(value)
        except ValueError:  # Python refuses to write an int of more than some thousand digits
            shown = "of many digits"
        self.value = shown if len(shown) <= 40 else shown[:40] + "..."
        self.maximum = maximum
        super().__init__(f"invalid replica count {self.value}: it must be an integer from 0 to {maximum}")


class InvalidChange(InvalidInput):
    """A change of a replica count, or what is expected before it, that can never be right."""

    code = "invalid-change"


class InvalidSelector(InvalidInput):
    """A label selector that is not of Kubernetes' grammar.

    Attributes:
        selector: The selector, cut where it is very long.
        problem: What is wrong with it.
    """

    code = "invalid-selector"

    def __init__(self, selector: str, problem: str) -> None:
        self.selector = selector if len(selector) <= 200 else selector[:200] + "..."
        self.problem = problem
        super().__init__(f"invalid label selector {self.selector!r}: {problem}")


class InvalidQuery(InvalidInput):
    """A query that can never be answered."""

    code = "invalid-query"


class PolicyError(InvalidInput):
    """A policy that says something it cannot mean; the message names the key and its place."""

    code = "invalid-policy"


class DeploymentNotFound(KdmError, LookupError):
    """There is no such Deployment, as far as this repository can see.

    Attributes:
        ref: The Deployment; its name alone where no namespace was named; "" where its namespace is not watched.
    """

    code = "deployment-not-found"

    def __init__(self, ref: DeploymentRef | str) -> None:
        self.ref = ref
        found = f"{ref!r} not found in any namespace" if isinstance(ref, str) else f"'{ref}' not found"
        super().__init__(f"Deployment {found}")


class NamespaceNotWatched(DeploymentNotFound):
    """The namespace lies outside the ones this repository is configured to watch.

    Attributes:
        namespace: The namespace.
        watched: The namespaces that are watched.
    """

    code = "namespace-not-watched"

    def __init__(self, namespace: str, watched: Sequence[str]) -> None:
        self.ref = ""
        self.namespace = namespace
        self.watched = tuple(watched)
        KdmError.__init__(self, f"namespace '{namespace}' is not managed here; managed are: {', '.join(watched)}")


class AmbiguousName(KdmError, LookupError):
    """Several namespaces have a Deployment of this name, and the caller named none.

    Attributes:
        name: The name.
        namespaces: The namespaces that have one, as far as the caller may know.
    """

    code = "ambiguous-name"

    def __init__(self, name: str, namespaces: Sequence[str]) -> None:
        self.name = name
        self.namespaces = tuple(namespaces)
        super().__init__(f"Deployment '{name}' exists in several namespaces, say which: {', '.join(self.namespaces)}")


class Forbidden(KdmError):
    """kdm's own policy does not let this caller do this.

    Attributes:
        user: Who asked.
        verb: What was asked for.
        target: On what, for a person.
        namespace: Where, if that is one namespace; "" if it is not known.
    """

    code = "forbidden"
    condition: ClassVar[str] = ""

    def __init__(self, actor: Identity, verb: Verb, target: str, namespace: str = "") -> None:
        self.user = actor.user
        self.verb = verb
        self.target = target
        self.namespace = namespace
        super().__init__(f"user '{actor.user}' lacks the permission '{verb.value}' on {target}{self.condition}")


class ReasonRequired(Forbidden):
    """The policy lets this caller do this only with a reason, and none was given. Nothing changed."""

    code = "reason-required"
    condition = " without a reason"


class OutOfBounds(KdmError):
    """A relative change would lead out of the bounds that the caller set, or kdm has. Nothing changed.

    Attributes:
        ref: The Deployment.
        current: Its count before the change.
        result: The count that the change would have led to.
        minimum: The smallest count allowed.
        maximum: The largest count allowed.
    """

    code = "out-of-bounds"

    def __init__(self, ref: DeploymentRef, current: int, result: int, minimum: int, maximum: int) -> None:
        self.ref = ref
        self.current = current
        self.result = result
        self.minimum = minimum
        self.maximum = maximum
        super().__init__(
            f"Deployment '{ref}' has {current} replicas; the change would make them {result}, "
            f"and from {minimum} to {maximum} are allowed"
        )


class PreconditionFailed(KdmError):
    """The caller attached a condition to a write, and it is not met. Nothing changed.

    Attributes:
        current: The Deployment that does not meet it; None where that does not matter.
        maybe_later: Whether a newer state of the Deployment might meet it.
    """

    code = "precondition-failed"
    current: Deployment | None = None
    maybe_later = False


class WriteRejected(KdmError):
    """The cluster understood the write and refused it. Nothing changed."""

    code = "write-rejected"


class WriteConflict(WriteRejected):
    """The Deployment is not as the write expects it. Read it again before trying again.

    Attributes:
        current: The Deployment as the cluster has it now, where that was read; None where it was not.
        expected: What the caller expected; None where it expected nothing.
    """

    code = "write-conflict"
    expected: Expect | None = None

    def __init__(self, message: str, current: Deployment | None = None) -> None:
        self.current = current
        super().__init__(message)


class WriteForbidden(WriteRejected):
    """The cluster does not let kdm do this; the message names kdm's user, the missing verb and resource, and why."""

    code = "write-forbidden"


class WriteInvalid(WriteRejected):
    """The cluster, or an admission webhook or policy in it, refuses the write; the message has its words."""

    code = "write-invalid"


class Unavailable(KdmError):
    """It cannot be answered now, and may be later. ``retry_after_s`` says when to try again, in seconds.

    Attributes:
        of_one: Whether it is about one Deployment, so that a write of another one may well succeed meanwhile.
    """

    code = "unavailable"
    retryable = True

    retry_after_s: int = 1
    of_one: bool = False


class CacheNotSynced(Unavailable):
    """No complete state has been read from the cluster yet."""

    code = "cache-not-synced"


class CacheStale(Unavailable):
    """The cached state is older than the configured bound, and reads were configured to be refused then."""

    code = "cache-stale"


class NotSeenYet(Unavailable):
    """The cache did not get as far as the version asked for in time: its source is quiet, or behind."""

    code = "not-seen-yet"


class ClusterUnreachable(Unavailable):
    """The cluster could not be reached, or could not serve. A write did not happen."""

    code = "cluster-unreachable"


class ClusterTimeout(Unavailable):
    """The cluster did not answer in time, or failed half-way. A write may have happened: read before trying again."""

    code = "cluster-timeout"
    written = None


class ClusterUnrecognized(Unavailable):
    """What answered is not the cluster's API: a gateway's page, a redirect, a server without Deployments.

    The message says what it said. A write may have happened: read before trying again.
    """

    code = "cluster-unrecognized"
    written = None


class ClusterOverloaded(Unavailable):
    """The cluster asked for fewer requests (429). A write did not happen."""

    code = "cluster-overloaded"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Contended(Unavailable):
    """Others changed the count so often that the change did not get its turn in time. Nothing changed.

    Attributes:
        ref: The Deployment.
        attempts: How often the change was tried.
    """

    code = "contended"

    def __init__(self, ref: DeploymentRef, attempts: int) -> None:
        self.ref = ref
        self.attempts = attempts
        met = f"{attempts} attempts met a conflict" if attempts else "its turn did not come in time"
        super().__init__(f"the replica count of Deployment '{ref}' is being changed by others: {met}")


class AuditUnavailable(Unavailable):
    """The audit trail cannot be written, and writes were configured to be refused then."""

    code = "audit-unavailable"

    def __init__(self, message: str, *, written: bool = False) -> None:
        super().__init__(message)
        self.written = written
