"""Why kdm does something else than kubectl, each by ADR 0014."""

from __future__ import annotations

from typing import Final

CLEAR_TEXT: Final = "Without TLS kubectl leaves credentials out and goes on as nobody; kdm refuses"
"""For an address of another machine."""

WITHIN: Final = "Without TLS kubectl leaves credentials out; within one machine kdm sends them"
"""To an address of this machine, with no proxy elsewhere between."""

FRAGMENT: Final = "A fragment is a mistake, which kubectl makes part of the path"
USERINFO: Final = "Credentials belong to the user, not into an address that is told in messages"
UNKNOWN_PROXY: Final = "kubectl takes a proxy of an unknown scheme for an HTTP proxy"
