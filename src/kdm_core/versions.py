"""Which of two versions of the cluster's state is older (KEP-5504)."""

from __future__ import annotations


def older(a: str, b: str) -> bool:
    """Return whether resourceVersion ``a`` is older than ``b``, compared as numbers (KEP-5504).

    False where one of them is no number: then the order is not known, and what arrives later counts.
    """
    return a.isdecimal() and b.isdecimal() and (len(a), a) < (len(b), b)
