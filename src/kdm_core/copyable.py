"""Errors that survive copying and pickling."""

from __future__ import annotations

from typing import Any


class Copyable(Exception):
    """An error that can be copied, pickled and raised across processes, whatever its constructor takes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[Copyable], args: tuple[object, ...]) -> Copyable:
    error = kind.__new__(kind)  # its constructor would take the message for what it makes one of
    error.args = args
    return error
