"""Labels that cannot be changed: Deployments, and grants that ask for them, share them between threads and callers."""

from __future__ import annotations

from typing import Any, Final, NoReturn, Self


class Labels(dict[str, str]):
    """A dict that refuses every change. Equal to a dict of the same items; copied, pickled and written as JSON as one.

    ``dict(labels)`` is a copy that may be changed.
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
