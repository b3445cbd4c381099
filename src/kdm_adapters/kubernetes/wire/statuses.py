"""What a refusal says, whichever format it came in: Kubernetes' ``Status``, or words that are not the API's."""

from __future__ import annotations

from typing import Final

from kdm_adapters.kubernetes.wire.messages import Failure, Subject
from kdm_adapters.kubernetes.wire.retry_after import bounded_s
from kdm_adapters.kubernetes.wire.words import plain, shown

_VERSIONS: Final = frozenset({"v1", "meta.k8s.io/v1"})
"""The versions of a ``Status`` that client-go knows (``FromObject`` in k8s.io/apimachinery/pkg/api/errors)."""

_UNKNOWN_CODE: Final = 500
"""The code of an ERROR event that names none."""


def is_status(api_version: str, kind: str) -> bool:
    """Return whether an object is Kubernetes' ``Status``."""
    return kind == "Status" and api_version in _VERSIONS


def status(
    code: int,
    reason: str,
    message: str,
    causes: tuple[tuple[str, str], ...],
    retry_after_s: float,
    about: Subject,
) -> Failure:
    """Return the failure that a ``Status`` describes, its words fit to be shown.

    Args:
        code: The HTTP status code, or the one in the Status; 0 for neither.
        reason: As the Status has it.
        message: As the Status has it.
        causes: Each cause's reason and message.
        retry_after_s: When to ask again, in seconds.
        about: Which object it is about.
    """
    words = message or "; ".join(each for _, each in causes) or reason or "no explanation"
    return Failure(code or _UNKNOWN_CODE, plain(reason), plain(words), causes, bounded_s(retry_after_s), about)


def foreign(body: bytes, code: int, retry_after_s: float) -> Failure:
    """Return the failure for an answer that is no ``Status``.

    Args:
        body: What came.
        code: The HTTP status code; 0 within a watch.
        retry_after_s: When to ask again, in seconds.
    """
    return Failure(code or _UNKNOWN_CODE, "", shown(body), (), bounded_s(retry_after_s), foreign=True)
