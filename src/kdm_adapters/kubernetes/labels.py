"""Labels as a cache of many Deployments wants them: half the size of a dict, and impossible to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Labels(Mapping[str, str]):
    """A few labels, looked up by going through them. Their keys may be shared with other Deployments' labels.

    Args:
        keys: The keys, none twice.
        values: Their values, in the same order.
    """

    __slots__ = ("_keys", "_values")

    def __init__(self, keys: tuple[str, ...], values: tuple[str, ...]) -> None:
        self._keys = keys
        self._values = values

    def __getitem__(self, key: str) -> str:
        try:
            return self._values[self._keys.index(key)]
        except ValueError:
            raise KeyError(key) from None

    def hold(self, labels: Mapping[str, str]) -> bool:
        """Return whether these labels are the same in the same order, which is told faster than by ``==``."""
        return self._keys == tuple(labels) and self._values == tuple(labels.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"Labels({dict(self)})"


NO_LABELS = Labels((), ())
