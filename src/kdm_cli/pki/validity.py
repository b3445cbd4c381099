"""How long certificates and revocation lists are valid."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

CA_DAYS: Final = 3650
LEAF_DAYS: Final = 365
CRL_DAYS: Final = 30
"""The defaults of new CAs, leaves and revocation lists, in days."""

SKEW: Final = timedelta(minutes=5)
"""New certificates and revocation lists begin this much in the past, for clients whose clocks are behind."""
