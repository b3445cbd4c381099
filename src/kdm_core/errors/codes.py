"""Every error of the core by its code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kdm_core.errors import bulk, owners, parking
from kdm_core.errors.general import KdmError

__all__ = ["ERRORS"]

_MODULES: Final = (bulk, owners, parking)
"""Imported so that their errors are there."""


def _below(kind: type[KdmError]) -> Iterator[type[KdmError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _below(each)


ERRORS: Final[Mapping[str, type[KdmError]]] = {each.code: each for each in _below(KdmError)}
"""Every error of the core by its code. An adapter's subclass has the code of the error it is a kind of."""
