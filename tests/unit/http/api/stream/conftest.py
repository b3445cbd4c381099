"""Streams on running servers."""

from __future__ import annotations

from unit.http.api.stream.streaming import open_stream, stage
from unit.http.serving import connect, credentials, pytest_asyncio_loop_factories, start

__all__ = ["connect", "credentials", "open_stream", "pytest_asyncio_loop_factories", "stage", "start"]
