"""Patterns for names, namespaces and SPIFFE IDs, and exact names of users and groups: each must be able to match.

What can match nothing is a mistake that would show only when somebody is denied what they were meant to be granted, so
it is an error that says what was probably meant.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Final, Literal

from attrs import field, frozen

from kdm_core.errors import PolicyError
from kdm_core.names import MAX_LABEL_LENGTH, MAX_SUBDOMAIN_LENGTH

Kind = Literal["name", "namespace"]

MAX_TRUST_DOMAIN_LENGTH: Final = 255
"""Longest trust domain of a SPIFFE ID, in bytes (SPIFFE-ID standard, section 2.3)."""

MAX_SPIFFE_ID_LENGTH: Final = 2048
"""Longest SPIFFE ID, in bytes (SPIFFE-ID standard, section 2.3)."""

_is_glob: Final = re.compile(r"[a-z0-9.*?-]+", re.ASCII).fullmatch
_is_trust_domain: Final = re.compile(r"[a-z0-9._-]+", re.ASCII).fullmatch
_is_segment: Final = re.compile(r"[A-Za-z0-9._*?-]+", re.ASCII).fullmatch

_LONGEST: Final = {"name": MAX_SUBDOMAIN_LENGTH, "namespace": MAX_LABEL_LENGTH}
_RULES: Final = {
    "name": f"{MAX_SUBDOMAIN_LENGTH} lower-case letters, digits, '-' and '.'",
    "namespace": f"{MAX_LABEL_LENGTH} lower-case letters, digits and '-'",
}
_STEPS: Final = {
    "start": {"a": "inside"},
    "inside": {"a": "inside", "-": "hyphen", ".": "start"},
    "hyphen": {"a": "inside", "-": "hyphen"},
}
"""How a name may go on, RFC 1123: after a beginning, a letter or digit, and a hyphen; "a" is any letter or digit."""


def _glob(pattern: str) -> Callable[[str], object]:
    """Compile a checked glob. It matches the whole of a string or nothing."""
    return re.compile(fnmatch.translate(pattern)).match


def check_glob(pattern: str, kind: Kind = "name") -> str:
    """Check a pattern for names or namespaces.

    Args:
        pattern: ``*`` stands for any characters or none, ``?`` for one; the rest must be able to occur in a name.
        kind: What it is to match. Namespaces have no dots and at most 63 characters.

    Raises:
        PolicyError: It could match none; the message says what was probably meant, where that can be guessed.
    """
    if not _can_match(pattern, kind):
        meant = _probably_meant(pattern, kind)
        raise PolicyError(
            f"{shown(pattern)} matches no {kind}: one has at most {_RULES[kind]}, and begins and ends with a letter or "
            "digit; '*' stands for any characters, '?' for one" + (f"; did you mean {shown(meant)}?" if meant else "")
        )
    return pattern


def _can_match(pattern: str, kind: Kind) -> bool:
    """Whether there is a name that a pattern matches: all the ways that one may take, and their lengths."""
    if not _is_glob(pattern):
        return False
    shortest = {"start": 0}  # by where a name could be after this much of the pattern
    for char in pattern:
        if char == "*":
            for _ in _STEPS:
                shortest = _merged(shortest, _after(shortest, "a-.", kind))
        else:
            shortest = _after(shortest, "a-." if char == "?" else char if char in "-." else "a", kind)
    return shortest.get("inside", MAX_SUBDOMAIN_LENGTH + 1) <= _LONGEST[kind]


def _after(shortest: dict[str, int], chars: str, kind: Kind) -> dict[str, int]:
    """Go on by one of these characters."""
    after: dict[str, int] = {}
    for place, length in shortest.items():
        for char in chars:
            next_place = _STEPS[place].get(char)
            if next_place and not (char == "." and kind == "namespace"):
                after[next_place] = min(length + 1, after.get(next_place, length + 1))
    return after


def _merged(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {place: min(each[place] for each in (one, other) if place in each) for place in one.keys() | other.keys()}


def _probably_meant(pattern: str, kind: Kind) -> str:
    """Return the nearest pattern that can match, "" where there is none."""
    meant = pattern.strip().lower().replace("_", "-")
    if kind == "namespace":
        meant = meant.replace(".", "-")
    if not meant.strip("*?.-"):
        return ""
    if meant[0] in "-.":
        meant = "*" + meant
    if meant[-1] in "-.":
        meant += "*"
    return meant if _can_match(meant, kind) else ""


def check_principal(name: str) -> str:
    """Check the name of a user or group.

    Raises:
        PolicyError: No caller can have it: it is empty, or looks like a pattern, which a user's or group's name never
            is; the message says what was probably meant.
    """
    if not name or not name.isprintable():
        raise PolicyError(f"{shown(name)} is no name: it is empty or has characters that cannot be printed")
    if name != name.strip():
        raise PolicyError(
            f"{shown(name)} is no name: none begins or ends with a space; did you mean {shown(name.strip())}?"
        )
    if name.casefold().startswith("spiffe:"):
        raise PolicyError(f"{shown(name)} belongs under 'spiffe', where an ID begins with 'spiffe://' and has a path")
    if not name.strip("*"):
        raise PolicyError(f"{shown(name)} would be taken literally: say 'anyone = true' to mean every caller")
    if "*" in name or "?" in name:
        raise PolicyError(
            f"{shown(name)} would be taken literally: users and groups have no wildcards, so list each one by its name"
        )
    return name


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
        long = len(pattern) > MAX_SPIFFE_ID_LENGTH or len(domain) > MAX_TRUST_DOMAIN_LENGTH
        if scheme != "spiffe" or not _is_trust_domain(domain) or not segments or long:
            raise PolicyError(
                f"{shown(pattern)} matches no SPIFFE ID: it must be spiffe://<trust domain>/<path>, "
                "with wildcards in the path alone"
            )
        for place, segment in enumerate(segments, 1):
            if not _is_segment(segment) or segment in {".", ".."}:
                raise PolicyError(f"{shown(pattern)} matches no SPIFFE ID: {shown(segment)} is no segment of a path")
            if "**" in segment and (segment != "**" or place < len(segments)):
                raise PolicyError(f"{shown(pattern)}: '**' can only be the whole last segment")

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


def shown(value: str) -> str:
    """Return a string as messages show it, cut if it is long."""
    return repr(value if len(value) <= 80 else value[:80] + "...")
