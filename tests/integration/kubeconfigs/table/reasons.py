"""Why kdm does something else than kubectl, each by ADR 0014."""

from __future__ import annotations

from typing import Final

CLEAR_TEXT: Final = "Without TLS kubectl leaves credentials out and goes on as nobody; kdm refuses"
"""For an address of another machine."""

WITHIN: Final = "Without TLS kubectl leaves credentials out; within one machine kdm sends them"
"""To an address of this machine, with no proxy elsewhere between."""

TYPING_ERROR: Final = "A user that is not there is a typing error"
MEANT: Final = "Another cluster than the one that was meant is worse than none"
NO_COPY: Final = "kubectl copies the old file to its new place; kdm writes nothing"
OIDC: Final = "Refresh tokens are used once: kdm and the user's kubectl would lock each other out"
PROXY_NAME: Final = "kubectl expects the server's name of the proxy, too"
FRAGMENT: Final = "A fragment is a mistake, which kubectl makes part of the path"
USERINFO: Final = "Credentials belong to the user, not into an address that is told in messages"
UNKNOWN_PROXY: Final = "kubectl takes a proxy of an unknown scheme for an HTTP proxy"
