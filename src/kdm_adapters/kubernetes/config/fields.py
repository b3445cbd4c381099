"""Typed access to what a file or an answer says in YAML or JSON. An error names place and key, never a value."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator

from kdm_adapters.kubernetes.config.go_yaml import Json
from kdm_core.errors import InvalidInput


class InvalidClusterConfig(InvalidInput):
    """The configuration that says how to reach the cluster cannot be used. One line, without any value of it."""


class Fields:
    """A mapping in a file, and where it stands. Null and absent are the same, and so is what is not known ignored."""

    def __init__(self, where: str, value: Json, key: str = "") -> None:
        if value is not None and not isinstance(value, dict):
            raise _wrong_type(where, key, "a mapping", value)
        self.where = where
        self._prefix = f"{key}." if key else ""
        self._values: dict[str, Json] = value or {}

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def anything(self, key: str) -> Json:
        return self._values.get(key)

    def keys(self) -> Iterable[str]:
        return self._values.keys()

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "a string (write it in quotes)", value)
        return value or ""

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "true or false, without quotes", value)
        return bool(value)

    def data(self, key: str) -> bytes:
        if self._values.get(key) == []:  # to Go bytes are a list of numbers, too: here of none
            return b""
        try:
            return base64.b64decode(self.text(key).replace("\r", "").replace("\n", ""), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidClusterConfig(f"{self.where}: {self._prefix}{key} is not base64") from None

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(Fields(self.where, {each: value}).text(each) for each, value in self._list(key))

    def text_map(self, key: str) -> dict[str, str]:
        found = self.mapping(key)
        return {each: found.text(each) for each in found.keys()}  # noqa: SIM118 - it is no dict

    def mapping(self, key: str) -> Fields:
        return Fields(self.where, self._values.get(key), f"{self._prefix}{key}")

    def fields(self, key: str, *, named: str = "") -> Fields:
        if named:
            return Fields(f"{self.where}: {named}", self._values.get(key))
        return self.mapping(key)

    def items(self, key: str) -> Iterator[Fields]:
        for each, value in self._list(key):
            yield Fields(self.where, value, each)

    def extensions(self) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for item in self.items("extensions"):
            name = item.text("name")
            if found.get(name) is not None:
                raise InvalidClusterConfig(f"{self.where}: extension {name!r} is defined twice")
            found[name] = item.anything("extension")
        return found

    def _list(self, key: str) -> Iterator[tuple[str, Json]]:
        value = self._values.get(key)
        if value is not None and not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        return ((f"{self._prefix}{key}[{index}]", each) for index, each in enumerate(value or ()))

    def _wrong(self, key: str, expected: str, value: Json) -> InvalidClusterConfig:
        return _wrong_type(self.where, f"{self._prefix}{key}", expected, value)


def _wrong_type(where: str, key: str, expected: str, value: Json) -> InvalidClusterConfig:
    found = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a mapping"}
    subject = f"{where}: {key}" if key else where
    return InvalidClusterConfig(f"{subject} must be {expected}, not {found[type(value)]}")
