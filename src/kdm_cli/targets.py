"""What the words on the command line mean: names, counts, durations. Functions without side effects."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, NamedTuple

from kdm_cli.exits import CommandError, Exit

MAX_COUNT: Final = 2**31 - 1
"""The largest replica count that Kubernetes can store: an int32."""

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_is_namespace: Final = re.compile(_LABEL, re.ASCII).fullmatch
_is_name: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", re.ASCII).fullmatch
"""RFC 1123, as Kubernetes wants it: a namespace is a label, a Deployment's name a subdomain."""

_count: Final = re.compile(r"([+-]?)([0-9]{1,10})", re.ASCII).fullmatch
_UNITS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", re.ASCII)
_is_duration: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII).fullmatch


class Target(NamedTuple):
    """A Deployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Wish(NamedTuple):
    """A count that somebody wants a Deployment to have.

    Attributes:
        target: Which Deployment.
        replicas: The count, or by how much it changes.
        relative: Whether it is relative.
    """

    target: Target
    replicas: int
    relative: bool = False

    def __str__(self) -> str:
        return f"{self.target}={self.replicas:+d}" if self.relative else f"{self.target}={self.replicas}"


def usage(text: str) -> CommandError:
    """Return the error for arguments that mean nothing."""
    return CommandError(text, Exit.USAGE)


def namespace_of(text: str) -> str:
    """Check a namespace.

    Raises:
        CommandError: It is none.
    """
    if not _is_namespace(text):
        raise usage(f"{text[:80]!r} is no namespace: it must be of lowercase letters, digits and '-', at most 63")
    return text


def target(text: str, namespace: str) -> Target:
    """Read ``NAME`` or ``NAMESPACE/NAME``.

    Args:
        text: The word.
        namespace: Where a name without a namespace is.

    Raises:
        CommandError: It is neither.
    """
    before, slash, after = text.rpartition("/")
    if not _is_name(after) or (slash and not before):
        raise usage(f"{text[:80]!r} is no Deployment's name: expected NAME or NAMESPACE/NAME, such as web or shop/web")
    return Target(namespace_of(before) if slash else namespace, after)


def wish(text: str, namespace: str) -> Wish:
    """Read ``NAME=5``, ``NAME=+2`` or ``NAME=-1``, with ``NAMESPACE/`` before it or not.

    Args:
        text: The word.
        namespace: Where a name without a namespace is.

    Raises:
        CommandError: It is no such word.
    """
    named, equals, counted = text.partition("=")
    if not equals:
        raise usage(f"{text[:80]!r} has no count: expected {text[:80]}=5, {text[:80]}=+2 or {text[:80]}=-1")
    found = _count(counted)
    if found is None or int(found[2]) > MAX_COUNT:
        raise usage(f"{text[:80]!r}: {counted[:40]!r} is no count: expected a number such as 5, or +2 or -1 relative")
    sign = -1 if found[1] == "-" else 1
    return Wish(target(named, namespace), sign * int(found[2]), relative=bool(found[1]))


def factor(text: str) -> float:
    """Read what to multiply counts by: ``2`` or ``0.5``.

    Raises:
        CommandError: It is no number from 0 to 1000.
    """
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text, re.ASCII) or not float(text) <= 1000:
        raise usage(f"--factor {text[:40]!r}: expected a number from 0 to 1000, such as 2 or 0.5")
    return float(text)


def duration(text: str, what: str) -> float:
    """Read a duration in the notation of Go, as kubectl does.

    Args:
        text: Such as ``90s``, ``5m`` or ``1h30m``; ``0`` too.
        what: What it is for, such as ``--wait``.

    Returns:
        It in seconds.

    Raises:
        CommandError: It is none.
    """
    if text == "0":
        return 0.0
    if len(text) > 64 or not _is_duration(text):
        raise usage(f"{what} {text[:40]!r}: expected a duration such as 90s, 5m or 1h30m")
    return float(sum(Decimal(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
