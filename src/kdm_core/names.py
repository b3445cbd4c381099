"""What can name a Deployment or a namespace, and what can be a replica count: Kubernetes' own rules."""

from __future__ import annotations

import re
from typing import Final

from kdm_core.errors import InvalidName, InvalidReplicas

MAX_SUBDOMAIN_LENGTH: Final = 253
"""Longest name of a Deployment, in characters (RFC 1123 subdomain, as Kubernetes validates object names)."""

MAX_LABEL_LENGTH: Final = 63
"""Longest name of a namespace, in characters (RFC 1123 label, as Kubernetes validates namespace names)."""

MAX_REPLICAS: Final = 2**31 - 1
"""Largest replica count the Kubernetes API can store: ``spec.replicas`` is an int32."""

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_is_label: Final = re.compile(_LABEL, re.ASCII).fullmatch
is_subdomain: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII).fullmatch
"""Whether a string is a DNS-1123 subdomain, but for its length."""


def check_name(name: str) -> str:
    """Check that a string can name a Deployment.

    Args:
        name: The candidate name.

    Returns:
        The same name.

    Raises:
        InvalidName: It is no DNS-1123 subdomain of at most 253 characters.
    """
    if len(name) > MAX_SUBDOMAIN_LENGTH or not is_subdomain(name):
        raise InvalidName(
            "name",
            name,
            f"a DNS-1123 subdomain: at most {MAX_SUBDOMAIN_LENGTH} characters, lower-case letters, digits, '-' and "
            "'.', each dot-separated part beginning and ending with a letter or digit",
        )
    return name


def check_namespace(namespace: str) -> str:
    """Check that a string can name a namespace.

    Args:
        namespace: The candidate name.

    Returns:
        The same name.

    Raises:
        InvalidName: It is no DNS-1123 label of at most 63 characters.
    """
    if len(namespace) > MAX_LABEL_LENGTH or not _is_label(namespace):
        raise InvalidName(
            "namespace",
            namespace,
            f"a DNS-1123 label: at most {MAX_LABEL_LENGTH} characters, lower-case letters, digits and '-', beginning "
            "and ending with a letter or digit",
        )
    return namespace


def check_replicas(replicas: object, *, maximum: int = MAX_REPLICAS) -> int:
    """Check that a value can be a replica count.

    Args:
        replicas: The candidate count. ``True`` and ``3.0`` are refused: they are no integers to a caller.
        maximum: The largest count allowed, inclusive.

    Returns:
        The same count.

    Raises:
        InvalidReplicas: It is not an integer from 0 to ``maximum``.
    """
    if type(replicas) is not int or not 0 <= replicas <= maximum:
        raise InvalidReplicas(replicas, maximum)
    return replicas
