"""The kubeconfigs, by what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from integration.kubeconfigs.case import Case

from . import files, plugins, proxies, scalars, tls, users

__all__ = ["TABLE"]

TABLE: Final[Mapping[str, Sequence[Case]]] = {
    "Several files, and which context": files.CASES,
    "What YAML makes of it": scalars.CASES,
    "Servers and their certificates": tls.CASES,
    "Users": users.CASES,
    "Exec plugins": plugins.CASES,
    "Proxies": proxies.CASES,
}
