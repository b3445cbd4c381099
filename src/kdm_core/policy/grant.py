"""One grant: these subjects may do these things to these Deployments, within these bounds."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import Final

from attrs import field, frozen

from kdm_core.errors import PolicyError
from kdm_core.labels import NO_LABELS, Labels
from kdm_core.model import MAX_LABEL_LENGTH, MAX_REPLICAS, MAX_SUBDOMAIN_LENGTH, DeploymentRef, Identity, Verb

GRANTABLE: Final = frozenset({Verb.READ, Verb.SCALE})
"""What a grant can give. ``scale`` does not imply ``read``: as in Kubernetes' RBAC, a verb is given by its name."""

MAX_SPIFFE_ID_LENGTH: Final = 2048
"""Longest SPIFFE ID, in bytes (SPIFFE-ID standard, section 2.3)."""

_is_glob: Final = re.compile(r"[a-z0-9.*?-]+", re.ASCII).fullmatch
_is_trust_domain: Final = re.compile(r"[a-z0-9._-]+", re.ASCII).fullmatch
_is_segment: Final = re.compile(r"[A-Za-z0-9._*?-]+", re.ASCII).fullmatch
_is_label_value: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII).fullmatch
_is_label_prefix: Final = re.compile(
    r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII
).fullmatch


def _glob(pattern: str) -> Callable[[str], object]:
    """Compile a checked glob. It matches the whole of a string or nothing."""
    return re.compile(fnmatch.translate(pattern)).match


def check_glob(pattern: str) -> str:
    """Check a pattern for names or namespaces.

    Args:
        pattern: ``*`` stands for any characters or none, ``?`` for one; the rest must be able to occur in a name.

    Raises:
        PolicyError: It could not match any name.
    """
    if len(pattern) > MAX_SUBDOMAIN_LENGTH or not _is_glob(pattern):
        raise PolicyError(
            f"{_shown(pattern)} matches no name: a pattern has lower-case letters, digits, '-' and '.', "
            "with '*' for any characters and '?' for one"
        )
    return pattern


def check_principal(name: str) -> str:
    """Check the name of a user or group.

    Raises:
        PolicyError: It is empty, or looks like a pattern, which a user's or group's name never is.
    """
    if not name or not name.isprintable():
        raise PolicyError(f"{_shown(name)} is no name: it is empty or has characters that cannot be printed")
    if "*" in name:
        raise PolicyError(f"{_shown(name)} would be taken literally: say 'anyone = true' to mean every caller")
    if name.startswith("spiffe://"):
        raise PolicyError(f"{_shown(name)} belongs under 'spiffe'")
    return name


def check_label(key: str, value: str) -> None:
    """Check a label and the value asked of it, as Kubernetes does.

    Raises:
        PolicyError: No object can have this label.
    """
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > MAX_SUBDOMAIN_LENGTH or not _is_label_prefix(prefix)):
        raise PolicyError(f"{_shown(key)} is no label: {_shown(prefix)} is no DNS-1123 subdomain")
    rule = f"at most {MAX_LABEL_LENGTH} letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
    if not _is_label_value(name):
        raise PolicyError(f"{_shown(key)} is no label: a label's name is {rule}")
    if value and not _is_label_value(value):
        raise PolicyError(f"{_shown(value)} is no label's value: it is empty or {rule}")


def _wild(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


@frozen
class Globs:
    """Patterns of which one must match.

    Names and namespaces are matched each on their own, so no pattern reaches across the two.

    Attributes:
        patterns: The patterns; see :func:`check_glob`.

    Raises:
        PolicyError: There is none, or one that can match nothing.
    """

    patterns: tuple[str, ...] = field()
    everything: bool = field(init=False, eq=False, repr=False)
    _exact: frozenset[str] = field(init=False, eq=False, repr=False)
    _globs: tuple[Callable[[str], object], ...] = field(init=False, eq=False, repr=False)

    @patterns.validator
    def _check(self, _attribute: object, patterns: tuple[str, ...]) -> None:
        if not patterns:
            raise PolicyError('an empty list matches nothing: use ["*"] for all')
        for pattern in patterns:
            check_glob(pattern)

    @everything.default
    def _everything(self) -> bool:
        return any(not pattern.strip("*") for pattern in self.patterns)

    @_exact.default
    def _only_exact(self) -> frozenset[str]:
        return frozenset(pattern for pattern in self.patterns if not _wild(pattern))

    @_globs.default
    def _only_globs(self) -> tuple[Callable[[str], object], ...]:
        return tuple(_glob(pattern) for pattern in self.patterns if _wild(pattern))

    def match(self, value: str) -> bool:
        """Return whether one of the patterns matches the whole value."""
        if self.everything or value in self._exact:
            return True
        for matches in self._globs:  # noqa: SIM110 - any() costs a generator on the hot path
            if matches(value):
                return True
        return False

    def __str__(self) -> str:
        return ", ".join(self.patterns)


ALL: Final = Globs(("*",))
"""Matches every name."""


@frozen
class SpiffePattern:
    """A SPIFFE ID whose path may have wildcards; its trust domain may not.

    Within one segment of the path ``*`` stands for any characters or none and ``?`` for one; neither reaches across a
    ``/``. ``**`` as the last segment stands for one or more segments.

    Attributes:
        pattern: For example ``spiffe://cluster.local/ns/*/sa/deployer``.

    Raises:
        PolicyError: It can match no SPIFFE ID.
    """

    pattern: str = field()
    _segments: tuple[Callable[[str], object], ...] = field(init=False, eq=False, repr=False)
    _open_ended: bool = field(init=False, eq=False, repr=False)

    @pattern.validator
    def _check(self, _attribute: object, pattern: str) -> None:
        scheme, _, rest = pattern.partition("://")
        domain, *segments = rest.split("/")
        long = len(pattern) > MAX_SPIFFE_ID_LENGTH
        if scheme != "spiffe" or not _is_trust_domain(domain) or not segments or long:
            raise PolicyError(
                f"{_shown(pattern)} matches no SPIFFE ID: it must be spiffe://<trust domain>/<path>, "
                "with wildcards in the path alone"
            )
        for place, segment in enumerate(segments, 1):
            if not _is_segment(segment) or segment in {".", ".."}:
                raise PolicyError(f"{_shown(pattern)} matches no SPIFFE ID: {_shown(segment)} is no segment of a path")
            if "**" in segment and (segment != "**" or place < len(segments)):
                raise PolicyError(f"{_shown(pattern)}: '**' can only be the whole last segment")

    @_segments.default
    def _compile(self) -> tuple[Callable[[str], object], ...]:
        segments = self.pattern.removeprefix("spiffe://").split("/")
        return tuple(_glob(segment) for segment in segments)

    @_open_ended.default
    def _is_open_ended(self) -> bool:
        return self.pattern.endswith("/**")

    def match(self, user: str) -> bool:
        """Return whether the user is a SPIFFE ID that the pattern describes."""
        if not user.startswith("spiffe://"):
            return False
        segments = user.removeprefix("spiffe://").split("/")
        if len(segments) < len(self._segments) or (len(segments) > len(self._segments) and not self._open_ended):
            return False
        return all(segments) and all(
            matches(segment) for matches, segment in zip(self._segments, segments, strict=False)
        )


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

    def __attrs_post_init__(self) -> None:
        if not self.verbs or not self.verbs <= GRANTABLE:
            raise PolicyError("verbs: must be one or more of " + ", ".join(sorted(f"'{v.value}'" for v in GRANTABLE)))
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
        self, actor: Identity, verb: Verb, ref: DeploymentRef, labels: Mapping[str, str], replicas: int | None = None
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
        return tuple(reasons)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:80] + "...")
