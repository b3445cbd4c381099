"""API v2 on a running server, over mutual TLS and the memory adapter, on both event loops."""

from __future__ import annotations

from unit.http.api.v2.staging import stage
from unit.http.serving import connect, credentials, pytest_asyncio_loop_factories, start

__all__ = ["connect", "credentials", "pytest_asyncio_loop_factories", "stage", "start"]
