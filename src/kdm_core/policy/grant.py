"""One grant: these subjects may do these things to these Deployments, within these bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from kdm_core.errors import PolicyError
from kdm_core.labels import LABEL_RULE, NO_LABELS, Labels, is_label_value, label_key_problem
from kdm_core.model import DeploymentRef, Identity, Verb
from kdm_core.names import MAX_REPLICAS
from kdm_core.policy.patterns import ALL, Globs, SpiffePattern, check_glob, check_principal, shown

GRANTABLE: Final = frozenset({Verb.READ, Verb.SCALE})
"""What a grant can give. ``scale`` does not imply ``read``: as in Kubernetes' RBAC, a verb is given by its name."""


def check_label(key: str, value: str) -> None:
    """Check a label and the value asked of it, as Kubernetes does.

    Raises:
        PolicyError: No object can have this label.
    """
    if problem := label_key_problem(key):
        raise PolicyError(f"{shown(key)} is no label: {problem}")
    if not is_label_value(value):
        raise PolicyError(f"{shown(value)} is no label's value: it is empty or {LABEL_RULE}")


@frozen
class Subjects:
    """Whom a grant is for: a caller whom any of the attributes names.

    Attributes:
        users: Their exact names.
        groups: The exact names of groups, one of which they are in.
        spiffe: What their SPIFFE ID matches.
        anyone: Every caller, whoever it is.

    Raises:
        PolicyError: Nobody is named, or a name cannot be one.
    """

    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    spiffe: frozenset[SpiffePattern] = frozenset()
    anyone: bool = False

    def __attrs_post_init__(self) -> None:
        for name in self.users | self.groups:
            check_principal(name)
        named = bool(self.users or self.groups or self.spiffe)
        if self.anyone == named:
            raise PolicyError(
                "'anyone' already includes the users, groups and spiffe patterns beside it"
                if named
                else "it is for nobody: name 'users', 'groups' or 'spiffe' patterns, or say 'anyone = true'"
            )

    def include(self, actor: Identity) -> bool:
        """Return whether the actor is one of them."""
        return (
            self.anyone
            or actor.user in self.users
            or not self.groups.isdisjoint(actor.groups)
            or any(pattern.match(actor.user) for pattern in self.spiffe)
        )

    def __str__(self) -> str:
        kinds = {
            "user": self.users,
            "group": self.groups,
            "spiffe": {pattern.pattern for pattern in self.spiffe},
        }
        return (
            "anyone" if self.anyone else ", ".join(f"{kind} {name!r}" for kind in kinds for name in sorted(kinds[kind]))
        )


@frozen
class ReplicaBounds:
    """The counts that a grant lets a caller ask for: ``min`` to ``max``, and zero only where it is said.

    Zero is apart from the bounds because it is apart in effect: it takes the application down. ``allow_zero`` with
    ``min = 3`` means off, or at least three.

    Attributes:
        min: The smallest count but zero, at least 1.
        max: The largest, inclusive.
        allow_zero: Whether scaling to zero is allowed.

    Raises:
        PolicyError: The bounds are no bounds.
    """

    min: int = 1
    max: int = MAX_REPLICAS
    allow_zero: bool = False

    def __attrs_post_init__(self) -> None:
        if self.min == 0:
            raise PolicyError("min: 0 is not said here: say 'allow_zero = true' to allow scaling to zero")
        for key, value in (("min", self.min), ("max", self.max)):
            if not 1 <= value <= MAX_REPLICAS:
                raise PolicyError(f"{key}: must be an integer from 1 to {MAX_REPLICAS}")
        if self.min > self.max:
            raise PolicyError(f"max: {self.max} is less than min, which is {self.min}")

    def include(self, replicas: int) -> bool:
        """Return whether the count lies within."""
        return self.min <= replicas <= self.max if replicas else self.allow_zero

    def __str__(self) -> str:
        upper = f" to {self.max}" if self.max < MAX_REPLICAS else " or more"
        return ("0, or " if self.allow_zero else "") + f"{self.min}{upper}"


ANY_COUNT: Final = ReplicaBounds(allow_zero=True)


def _read_only(labels: Mapping[str, str]) -> Mapping[str, str]:
    return Labels(labels)


@frozen
class Grant:
    """One thing that is allowed.

    Attributes:
        subjects: To whom.
        verbs: What; never implied by one another.
        namespaces: In which namespaces.
        names: To Deployments of which names.
        labels: To Deployments that have all of these labels with these values. One that is not known has none.
        replicas: To which counts ``scale`` may go.
        name: What to call the grant in explanations; without meaning.
        require_reason: Whether ``scale`` is allowed only to a caller who says why.
        override_owner: Whether ``scale`` may write what something else changes back, where a caller asks for it.

    Raises:
        PolicyError: It grants nothing.
    """

    subjects: Subjects
    verbs: frozenset[Verb]
    namespaces: Globs
    names: Globs = ALL
    labels: Mapping[str, str] = field(default=NO_LABELS, converter=_read_only, hash=False)
    replicas: ReplicaBounds = ReplicaBounds()
    name: str = ""
    require_reason: bool = False
    override_owner: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.verbs or not self.verbs <= GRANTABLE:
            raise PolicyError("verbs: must be one or more of " + ", ".join(sorted(f"'{v.value}'" for v in GRANTABLE)))
        for pattern in self.namespaces.patterns:
            check_glob(pattern, "namespace")
        for key, value in self.labels.items():
            check_label(key, value)

    @property
    def narrow(self) -> bool:
        """Whether some Deployments of a namespace may be left out."""
        return bool(self.labels) or not self.names.everything

    def covers(self, ref: DeploymentRef, labels: Mapping[str, str]) -> bool:
        """Return whether the grant is about this Deployment."""
        return (
            self.namespaces.match(ref.namespace)
            and self.names.match(ref.name)
            and (not self.labels or all(labels.get(key) == value for key, value in self.labels.items()))
        )

    def misses(
        self,
        actor: Identity,
        verb: Verb,
        ref: DeploymentRef,
        labels: Mapping[str, str],
        replicas: int | None = None,
        *,
        reason: bool = True,
        override: bool = False,
    ) -> tuple[str, ...]:
        """Return why the grant does not allow this, a reason each for a person; empty when it does."""
        reasons = []
        if not self.subjects.include(actor):
            reasons.append(f"it is for {self.subjects}")
        if verb not in self.verbs:
            reasons.append(f"it grants {', '.join(sorted(v.value for v in self.verbs))}, not {verb.value}")
        if not self.namespaces.match(ref.namespace):
            reasons.append(f"namespace '{ref.namespace}' is not among {self.namespaces}")
        if not self.names.match(ref.name):
            reasons.append(f"name '{ref.name}' is not among {self.names}")
        for key, value in sorted(self.labels.items()):
            if labels.get(key) != value:
                has = f"is '{labels[key]}'" if key in labels else "is missing"
                reasons.append(f"label '{key}' {has}, not '{value}'")
        if verb is Verb.SCALE and replicas is not None and not self.replicas.include(replicas):
            reasons.append(f"{replicas} replicas are not within {self.replicas}")
        if verb is Verb.SCALE and self.require_reason and not reason:
            reasons.append("it requires a reason")
        if verb is Verb.SCALE and override and not self.override_owner:
            reasons.append("it does not let owners be overridden")
        return tuple(reasons)
