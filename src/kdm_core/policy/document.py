"""The policy as a TOML document."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

from kdm_core.errors import PolicyError
from kdm_core.model import Verb
from kdm_core.policy.decision import Policy
from kdm_core.policy.grant import GRANTABLE, Grant, ReplicaBounds, Subjects, check_label
from kdm_core.policy.patterns import ALL, Globs, SpiffePattern, check_glob, check_principal

VERSION: Final = 1
"""The version of the format that this kdm reads."""

_VERBS: Final = {verb.value: verb for verb in GRANTABLE}
_KEYS: Final = (
    "name", "users", "groups", "spiffe", "anyone", "verbs", "namespaces", "names", "labels", "replicas",
    "require_reason",
    "override_owner",
)  # fmt: skip

_T = TypeVar("_T")


def parse_policy(text: str) -> Policy:
    """Read a policy from TOML.

    For example::

        version = 1

        [[grant]]
        name = "shop's operators"             # optional, shown by explanations
        users = ["alice"]                     # exact; a caller named by users, groups or spiffe is meant
        groups = ["kdm:shop"]                 # exact
        spiffe = ["spiffe://cluster.local/ns/shop/sa/*"]  # '*' and '?' within a segment, '/**' for all below
        # anyone = true                       # instead of the three: every authenticated caller
        verbs = ["read", "scale"]             # neither implies the other
        namespaces = ["shop", "shop-*"]       # globs
        names = ["web-*"]                     # globs; optional, every name without
        labels = { tier = "web" }             # optional; all of them must match, and the name too
        replicas = { min = 1, max = 10, allow_zero = true }  # for scale; by default 1 or more, and never zero
        require_reason = true                 # for scale; a change must say why
        override_owner = true                 # for scale; a change may say that owners are overridden

    Nothing is allowed that no grant allows. A policy without grants is valid and denies everything.

    Args:
        text: The document.

    Raises:
        PolicyError: It is no TOML, or not of this format; the message names the key and its place (counted from 0).
    """
    try:
        document = tomllib.loads(text.removeprefix("\ufeff"))  # the mark that some editors begin UTF-8 with
    except (ValueError, RecursionError) as error:  # ValueError: also integers too long for Python to read
        raise PolicyError(f"not TOML: {error}") from error
    if "version" not in document:
        raise PolicyError(f"version: missing; this kdm reads 'version = {VERSION}'")
    if type(document["version"]) is not int or document["version"] != VERSION:
        raise PolicyError(f"version: must be {VERSION}, the one version that this kdm reads")
    _known("", document, ("version", "grant"))
    grants = document.get("grant", [])
    if not isinstance(grants, list) or not all(isinstance(grant, dict) for grant in grants):
        raise PolicyError("grant: must be an array of tables, each headed [[grant]]")
    places: dict[str, str] = {}
    parsed = []
    for index, table in enumerate(grants):
        place = f"grant[{index}]"
        grant = _grant(place, table)
        if grant.name and grant.name in places:
            raise PolicyError(f"{place}.name: {grant.name!r} is the name of {places[grant.name]} already")
        places[grant.name] = place
        parsed.append(grant)
    return Policy(tuple(parsed))


def _grant(place: str, table: Mapping[str, object]) -> Grant:
    _known(f"{place}.", table, _KEYS)
    for key in ("verbs", "namespaces"):
        if key not in table:
            raise PolicyError(f"{place}.{key}: missing")
    verbs = _list(f"{place}.verbs", table["verbs"], _verb)
    for key in ("replicas", "require_reason", "override_owner"):
        if key in table and Verb.SCALE not in verbs:
            raise PolicyError(f"{place}.{key}: has no meaning without the verb 'scale'")
    users = _list(f"{place}.users", table["users"], check_principal) if "users" in table else ()
    groups = _list(f"{place}.groups", table["groups"], check_principal) if "groups" in table else ()
    spiffe = _list(f"{place}.spiffe", table["spiffe"], SpiffePattern) if "spiffe" in table else ()
    anyone = _boolean(f"{place}.anyone", table.get("anyone", False))
    with _at(place):
        subjects = Subjects(frozenset(users), frozenset(groups), frozenset(spiffe), anyone)
    return Grant(
        subjects=subjects,
        verbs=frozenset(verbs),
        namespaces=Globs(_list(f"{place}.namespaces", table["namespaces"], partial(check_glob, kind="namespace"))),
        names=Globs(_list(f"{place}.names", table["names"], check_glob)) if "names" in table else ALL,
        labels=_labels(f"{place}.labels", table.get("labels", {})),
        replicas=_replicas(f"{place}.replicas", table.get("replicas", {})),
        name=_string(f"{place}.name", table.get("name", "")),
        require_reason=_boolean(f"{place}.require_reason", table.get("require_reason", False)),
        override_owner=_boolean(f"{place}.override_owner", table.get("override_owner", False)),
    )


def _verb(value: str) -> Verb:
    if value not in _VERBS:
        raise PolicyError(f"{value!r} is no verb; verbs are: {', '.join(sorted(_VERBS))}")
    return _VERBS[value]


def _labels(place: str, value: object) -> Mapping[str, str]:
    labels = {}
    for key, wanted in _table(place, value).items():
        labels[key] = _string(f"{place}.{_key(key)}", wanted)
        with _at(f"{place}.{_key(key)}"):
            check_label(key, labels[key])
    return labels


def _replicas(place: str, value: object) -> ReplicaBounds:
    table = _table(place, value)
    _known(f"{place}.", table, ("min", "max", "allow_zero"))
    bounds = {key: _integer(f"{place}.{key}", table[key]) for key in ("min", "max") if key in table}
    allow_zero = _boolean(f"{place}.allow_zero", table.get("allow_zero", False))
    with _at(place, "."):
        return ReplicaBounds(**bounds, allow_zero=allow_zero)


def _known(prefix: str, table: Mapping[str, object], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known are: {', '.join(known)}"
            raise PolicyError(f"{prefix}{_key(key)}: unknown key; {hint}")


def _list(place: str, value: object, convert: Callable[[str], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise PolicyError(f"{place}: must be an array of strings")
    if not value:
        raise PolicyError(f"{place}: must not be empty")
    converted = []
    for index, each in enumerate(value):
        text = _string(f"{place}[{index}]", each)
        with _at(f"{place}[{index}]"):
            converted.append(convert(text))
    return tuple(converted)


def _table(place: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise PolicyError(f"{place}: must be a table")
    return value


def _string(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise PolicyError(f"{place}: must be a string")
    return value


def _integer(place: str, value: object) -> int:
    if type(value) is not int:
        raise PolicyError(f"{place}: must be an integer")
    return value


def _boolean(place: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise PolicyError(f"{place}: must be true or false")
    return value


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else repr(key)


@contextmanager
def _at(place: str, separator: str = ": ") -> Iterator[None]:
    """Say where what is wrong stands."""
    try:
        yield
    except PolicyError as error:
        raise PolicyError(f"{place}{separator}{error}") from error
