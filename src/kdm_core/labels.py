"""Labels: which can exist, and a mapping of them that cannot be changed."""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn, Self

from kdm_core.names import MAX_LABEL_LENGTH, MAX_SUBDOMAIN_LENGTH, is_subdomain

LABEL_RULE: Final = (
    f"at most {MAX_LABEL_LENGTH} letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
)
"""What the name in a label's key must be, and a value that is not empty (``IsQualifiedName`` of Kubernetes)."""

_is_part: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII).fullmatch


class Labels(dict[str, str]):
    """A dict that refuses every change. Equal to a dict of the same items; copied, pickled and written as JSON as one.

    Deployments, and grants that ask for labels, share them between threads and callers. ``dict(labels)`` is a copy
    that may be changed.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("these labels may be shared and cannot be changed; dict(labels) is a copy that can")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


NO_LABELS: Final = Labels()


def label_key_problem(key: str) -> str:
    """Return why a string cannot be a label's key; "" where it can.

    Args:
        key: A name, perhaps with a DNS-1123 subdomain and a slash before it.
    """
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= MAX_SUBDOMAIN_LENGTH and is_subdomain(prefix)):
        return f"{_shown(prefix)} is no DNS-1123 subdomain"
    return "" if _is_part(name) else f"a label's name is {LABEL_RULE}"


def is_label_value(value: str) -> bool:
    """Return whether a string can be a label's value. It may be empty."""
    return not value or _is_part(value) is not None


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:80] + "...")
