"""What every part of API v2's answers is made of."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from kdm_core.names import MAX_REPLICAS

Count = Annotated[int, Meta(ge=0, le=MAX_REPLICAS)]
"""A replica count."""


class Body(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A part of an answer."""
